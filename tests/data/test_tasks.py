"""Generated tasks: right answers, pure functions of the seed, and a validation set training never sees."""

import re
from collections import Counter
from datetime import date, datetime, timedelta

import pytest

from regard.data.dates import MONTHS, ORDINALS, STYLES, WEEKDAYS, number_in_words, ordinal_number, year_in_words
from regard.data.tasks import TASKS, draw, task_named
from regard.errors import UsageError

YEARS = {year_in_words(year): year for year in range(1800, 2100)}
DIGIT_TASKS = ["copy", "sort", "reverse"]
ANSWERS = {"copy": list, "sort": sorted, "reverse": lambda digits: list(reversed(digits))}


@pytest.mark.parametrize("name", DIGIT_TASKS)
def test_digits_of_every_length_with_the_right_answer(name):
    pairs = TASKS[name].pairs(1, 5000)
    for pair in pairs:
        assert re.fullmatch(r"[0-9]( [0-9]){0,9}", pair.source)
        assert pair.target == " ".join(ANSWERS[name](pair.source.split(" ")))
    lengths = Counter(len(pair.source.split(" ")) for pair in pairs)
    assert sorted(lengths) == list(range(1, 11))
    assert all(400 < count < 600 for count in lengths.values())


@pytest.mark.parametrize("name", TASKS)
def test_pairs_are_a_pure_function_of_seed_and_count(name):
    task = TASKS[name]
    assert task.name == name
    assert task.pairs(7, 50) == task.pairs(7, 50)
    assert task.pairs(7, 20) == task.pairs(7, 50)[:20]
    assert task.pairs(7, 50) != task.pairs(8, 50)
    assert [pair.line for pair in task.pairs(7, 50)] == list(range(1, 51))
    assert task.pairs(7, 0) == []


@pytest.mark.parametrize("name", TASKS)
def test_draws_are_pure_and_epochs_differ(name):
    task = TASKS[name]
    assert draw(task, 1, 0, 3000) == draw(task, 1, 0, 3000)
    assert draw(task, 1, 0, 3000)[:100] == draw(task, 1, 0, 100)
    assert [pair.line for pair in draw(task, 1, 0, 3000)] == list(range(1, 3001))
    streams = [tuple(draw(task, seed, epoch, 100)) for seed in (1, 2) for epoch in (-1, 0, 1)]
    assert len(set(streams)) == len(streams)
    assert draw(task, 1, 0, 0) == []


def test_streams_are_pinned():
    """Another machine and another Python draw the same."""
    assert [pair.source for pair in draw(TASKS["reverse"], 1, 0, 3)] == ["5 3 4 7 7 5 9 1 7", "9 0 9 1 1 4", "3 1 4"]
    assert [pair.source for pair in draw(TASKS["dates"], 1, -1, 2)] == ["february 8 , 2099", "April 10th, 1995"]


@pytest.mark.parametrize("name", TASKS)
def test_training_never_holds_a_validation_source_or_its_answer(name):
    task = TASKS[name]
    long = {
        pair
        for seed in (1, 2)
        for pair in draw(task, seed, -1, 2000)
        if len(pair.target.split(" ")) > 3 or name == "dates"
    }
    training = [pair for epoch in range(2) for pair in draw(task, 3, epoch, 8_000)]
    assert len(long) > 1000
    assert not {pair.source for pair in long} & {pair.source for pair in training}
    assert not {pair.target for pair in long} & {pair.target for pair in training}


@pytest.mark.parametrize("name", DIGIT_TASKS)
@pytest.mark.parametrize("epoch", [-1, 0])
def test_lengths_are_drawn_equally_often(name, epoch):
    lengths = Counter(len(pair.source.split(" ")) for pair in draw(TASKS[name], 5, epoch, 2000))
    assert sorted(lengths) == list(range(1, 11))
    assert all(120 < count < 280 for count in lengths.values())


@pytest.mark.parametrize("name", DIGIT_TASKS)
def test_training_has_all_the_short_sources(name):
    seen = {pair.source for pair in draw(TASKS[name], 1, 0, 20_000) if len(pair.source) <= 3}
    assert len(seen) == 110


def test_epochs_below_the_validation_set_are_refused():
    with pytest.raises(UsageError, match="epoch -2"):
        draw(TASKS["copy"], 1, -2, 1)


def test_unknown_task_names_the_known():
    assert task_named("sort") is TASKS["sort"]
    with pytest.raises(UsageError, match="copy, sort, reverse, dates"):
        task_named("addition")


def test_each_style_says_its_date():
    day = date(1984, 3, 5)
    assert [style(day) for style in STYLES] == [
        "the fifth of march nineteen eighty four",
        "march the fifth , nineteen eighty four",
        "march 5 , 1984",
        "5 march 1984",
        "Monday, 5 March 1984",
        "Mon 5 Mar 1984",
        "March 5th, 1984",
        "the 5th of March, 1984",
    ]


def test_dates_are_read_back_by_the_standard_library():
    for pair in TASKS["dates"].pairs(3, 2000):
        assert read(pair.source) == datetime.strptime(pair.target, "%Y-%m-%d").date()


def read(text):
    """A reader written apart from the writer: words to numbers by search, the rest by strptime."""
    text = re.sub(r"\b(\d+)(st|nd|rd|th)\b", r"\1", text.lower())
    if text.split(" ")[0] in {name[:3] for name in WEEKDAYS} or "day," in text:
        text = text.split(" ", 1)[1]
    words = [word for word in re.split(r"[ ,]+", text) if word not in ("the", "of")]
    (month,) = (number for number, name in enumerate(MONTHS, 1) if name in words or name[:3] in words)
    words = [word for word in words if word[:3] != MONTHS[month - 1][:3]]
    if any(word.isdigit() for word in words):
        day, year = sorted(map(int, words))
        return date(year, month, day)
    split = max(n for n in (1, 2) if " ".join(words[:n]) in ORDINALS)
    day = ORDINALS.index(" ".join(words[:split])) + 1
    return date(YEARS[" ".join(words[split:])], month, day)


def test_every_day_stays_in_range():
    days = [date.fromisoformat(pair.target) for pair in TASKS["dates"].pairs(4, 4000)]
    assert date(1800, 1, 1) <= min(days) < date(1805, 1, 1)
    assert date(2095, 1, 1) < max(days) < date(2099, 12, 31) + timedelta(days=1)


@pytest.mark.parametrize(
    ("year", "words"),
    [
        (1800, "eighteen hundred"),
        (1904, "nineteen oh four"),
        (1910, "nineteen ten"),
        (1984, "nineteen eighty four"),
        (2000, "two thousand"),
        (2004, "two thousand four"),
        (2010, "twenty ten"),
        (2090, "twenty ninety"),
    ],
)
def test_years_as_they_are_said(year, words):
    assert year_in_words(year) == words


def test_no_two_years_and_no_two_days_sound_alike():
    assert len(YEARS) == 300
    assert len({number_in_words(number) for number in range(100)}) == 100
    assert len(set(ORDINALS)) == 31
    assert [ordinal_number(day) for day in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 31)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "31st"]
    )
