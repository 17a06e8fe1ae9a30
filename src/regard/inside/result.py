"""What a look inside gives: every attention of one answer, how each of its tokens was chosen, second opinions.

Arrays are float32 tensors on the CPU. T counts the tokens of the answer, its end among them if it ended; S those of the
source and its end. `to_json` and `from_json` lose nothing; docs/look.md describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from regard.errors import DataError

KIND, VERSION = "regard.look", 1
START, END = "⟨start⟩", "⟨end⟩"
Part = Literal["encoder", "decoder", "cross"]
PARTS: dict[Part, str] = {
    "encoder": "each source token to the source",
    "decoder": "each step to what was written before it",
    "cross": "each step to the source",
}


@dataclass(frozen=True)
class Side:
    """A text as tokens. If it `ends`, the last token is END, whatever the text says itself.

    `words` are spans of tokens, (first, one past the last), that cover all of them in order.
    """

    text: str
    tokens: tuple[str, ...]
    words: tuple[tuple[int, int], ...]
    ends: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """What a decoder that writes these tokens reads at each step: START and all but the last."""
        return (START, *self.tokens)[: len(self.tokens)]


@dataclass(frozen=True)
class Attention:
    """All heads of one attention [H, Q, K]. Rows sum to 1; what may not be attended to is exactly 0.

    Layers and heads count from 0, each part's for itself: `encoder.2.5` is head 5 of layer 2. Queries and keys are, of
    the encoder: the source; of the decoder: the steps, and their inputs; of cross: the steps, and the source. `norms`
    are the lengths of what each key really adds to a query's state, weight and value and output matrix together
    (Kobayashi et al. 2020).
    """

    part: Part
    layer: int
    weights: Float[Tensor, "H Q K"]
    norms: Float[Tensor, "H Q K"] | None = None

    @property
    def name(self) -> str:
        """Such as `encoder.2`."""
        return f"{self.part}.{self.layer}"


@dataclass(frozen=True)
class Candidate:
    """A token that could have stood at a step."""

    token: str
    log_probability: float


@dataclass(frozen=True)
class Guess:
    """What the output layer makes of a decoder layer's state: its best token, and what it gives the one written."""

    token: str
    log_probability: float
    written: float


@dataclass(frozen=True)
class Step:
    """How a token came to be written: the best `alternatives` (itself among them, if it is one), best first.

    `early` has the guess after each layer but the last, where the decoder shows its layers.
    """

    token: str
    log_probability: float
    alternatives: tuple[Candidate, ...]
    early: tuple[Guess, ...] = ()


@dataclass(frozen=True)
class Alignment:
    """Links (source word, answer word), counted from 0, and what they were read from, such as `cross.1.3`."""

    links: tuple[tuple[int, int], ...]
    by: str


@dataclass(frozen=True)
class Search:
    """How the answer was found and what it scored; score = log_probability / length_penalty + coverage.

    `name`: "greedy", "beam 5", "forced" (the answer was given) ... `trace`: a dict a step as decoding/trace.py
    describes, where each candidate has its `token` too, and the total of a forbidden one is None; empty if nothing was
    searched.
    """

    name: str
    score: float
    log_probability: float
    length_penalty: float = 1.0
    coverage: float = 0.0
    finished: bool = True
    met: bool = True
    trace: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Look:
    """One answer and how it came about.

    `changed`: heads that were not as trained, such as ("encoder.2.5 x 0",). `opinions`: by name, what mattered among
    the source for each step [T, S], from other methods than attention; see inside/opinions.py. `greedy`: the other
    search, to stand beside the beam.
    """

    model: str
    source: Side
    target: Side
    search: Search
    attentions: tuple[Attention, ...]
    steps: tuple[Step, ...]
    opinions: Mapping[str, Float[Tensor, "T S"]] = field(default_factory=dict)
    alignment: Alignment | None = None
    greedy: Search | None = None
    greedy_text: str = ""
    changed: tuple[str, ...] = ()

    def of(self, part: Part) -> tuple[Attention, ...]:
        """The layers of a part; none if the model has no such attention."""
        return tuple(each for each in self.attentions if each.part == part)

    def _repr_html_(self) -> str:
        """What a notebook shows: the page, in a frame of its own."""
        from regard.inside.page import embedded

        return embedded([self])

    def to_json(self) -> str:
        """All of it as one JSON object; numbers in full."""
        plain = asdict(self, dict_factory=_without_tensors)
        return json.dumps({"kind": KIND, "version": VERSION, **plain}, ensure_ascii=False, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Look:
        """What `to_json` wrote, with equal arrays. DataError for anything else."""
        try:
            read = json.loads(text)
            if (read["kind"], read["version"]) != (KIND, VERSION):
                raise DataError(f"wanted {KIND} version {VERSION}, found {read['kind']} version {read['version']}")
            return _look(read)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise DataError(f"is no JSON of a look: {type(error).__name__} {error}") from None


def _without_tensors(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in items}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _look(read: dict[str, Any]) -> Look:
    width, length = len(read["source"]["tokens"]), len(read["target"]["tokens"])
    return Look(
        model=read["model"],
        source=_side(read["source"]),
        target=_side(read["target"]),
        search=_search(read["search"]),
        attentions=tuple(_attention(each) for each in read["attentions"]),
        steps=tuple(_step(each) for each in read["steps"]),
        opinions={name: torch.tensor(rows).view(length, width) for name, rows in read["opinions"].items()},
        alignment=read["alignment"] and Alignment(_pairs(read["alignment"]["links"]), read["alignment"]["by"]),
        greedy=read["greedy"] and _search(read["greedy"]),
        greedy_text=read["greedy_text"],
        changed=tuple(read["changed"]),
    )


def _side(read: dict[str, Any]) -> Side:
    return Side(read["text"], tuple(read["tokens"]), _pairs(read["words"]), read["ends"])


def _pairs(read: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((first, second) for first, second in read)


def _search(read: dict[str, Any]) -> Search:
    return Search(**{**read, "trace": tuple(read["trace"])})


def _attention(read: dict[str, Any]) -> Attention:
    norms = None if read["norms"] is None else torch.tensor(read["norms"])
    return Attention(read["part"], read["layer"], torch.tensor(read["weights"]), norms)


def _step(read: dict[str, Any]) -> Step:
    alternatives = tuple(Candidate(**each) for each in read["alternatives"])
    return Step(read["token"], read["log_probability"], alternatives, tuple(Guess(**each) for each in read["early"]))
