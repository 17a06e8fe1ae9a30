"""AER by hand, as Och and Ney 2003 define it."""

from __future__ import annotations

import pytest

from regard.metrics.alignment import Agreement, agreement
from regard.text.pairs import Links
from regard.text.pharaoh import Gold


def gold(text: str) -> Gold:
    return Gold.parse(Links(text, "gold:1"))


def test_an_example_by_hand() -> None:
    # Sure: 0-0, 1-1, 3-3; possible too: 1-2, 2-2. Found: 0-0, 1-2, 2-3, 3-3: two sure, three possible, of four.
    found = agreement([([(0, 0), (1, 2), (2, 3), (3, 3)], gold("0-0 1-1 3-3 1?2 2p2"))])
    assert found == Agreement(4, 2, 3, 3)
    assert found.precision == pytest.approx(3 / 4)
    assert found.recall == pytest.approx(2 / 3)
    assert found.error_rate == pytest.approx(1 - (2 + 3) / (4 + 3))


def test_counts_are_added_up_over_pairs() -> None:
    one, two = ([(0, 0)], gold("0-0")), ([(0, 1), (1, 0), (1, 0)], gold("0-0 1-1"))
    assert agreement([one, two]) == Agreement(3, 1, 1, 3)
    assert agreement([one]).error_rate == 0.0
    assert agreement([two]).error_rate == 1.0


def test_where_there_is_nothing() -> None:
    assert agreement([]) == agreement([([], gold(""))]) == Agreement()
    assert (Agreement().error_rate, Agreement().precision, Agreement().recall) == (0.0, 1.0, 1.0)
    assert agreement([([], gold("0-0"))]).error_rate == 1.0


def test_with_sure_links_only_it_is_one_minus_f() -> None:
    found = agreement([([(0, 0), (1, 1), (2, 1)], gold("0-0 1-1 2-2 3-3"))])
    f = 2 * found.precision * found.recall / (found.precision + found.recall)
    assert found.error_rate == pytest.approx(1 - f)
