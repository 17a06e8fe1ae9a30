"""SCAN: commands to actions, all 20,910 of them from its grammar (Lake and Baroni 2018), split by length.

    jump twice after walk left        I_TURN_LEFT I_WALK I_JUMP I_JUMP

Training has the commands of up to 22 actions, development the longer ones (to 48): the published split that shows
whether a model carries over to lengths it has not seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from regard.text.pairs import Pair

LONGEST_TRAINED = 22  # actions
VERBS = {"walk": ["I_WALK"], "look": ["I_LOOK"], "run": ["I_RUN"], "jump": ["I_JUMP"], "turn": []}
TURNS = {"left": ["I_TURN_LEFT"], "right": ["I_TURN_RIGHT"]}
TIMES = {"": 1, " twice": 2, " thrice": 3}


def scan_length_pairs(long: bool) -> list[Pair]:
    """The 16,990 pairs to train on, or the 3,920 `long` ones."""
    chosen = [(command, actions) for command, actions in _commands() if (len(actions) > LONGEST_TRAINED) == long]
    return [Pair(command, " ".join(actions), line) for line, (command, actions) in enumerate(chosen, 1)]


def _commands() -> Iterator[tuple[str, list[str]]]:
    phrases = [(verb + times, actions * count) for verb, actions in _verbs() for times, count in TIMES.items()]
    yield from phrases
    for first, before in phrases:
        for second, after in phrases:
            yield f"{first} and {second}", before + after
            yield f"{first} after {second}", after + before


def _verbs() -> Iterator[tuple[str, list[str]]]:
    """A verb with or without a direction: turn once, twice (opposite), or four times, acting each time (around)."""
    for verb, action in VERBS.items():
        if action:
            yield verb, action
        for direction, turn in TURNS.items():
            yield f"{verb} {direction}", turn + action
            yield f"{verb} opposite {direction}", turn + turn + action
            yield f"{verb} around {direction}", (turn + action) * 4
