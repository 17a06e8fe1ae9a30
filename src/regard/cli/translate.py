"""`regard translate`: lines in, as many lines out."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from regard import __version__
from regard.cli.models import Mates, Run

if TYPE_CHECKING:
    from regard.cli.asking import Asking
    from regard.config import Decoding
    from regard.translator import Lexicon, Translation, Translator
    from regard.translator.aligning import Aligner


def translate(
    run: Run,
    file: Annotated[str, typer.Argument(help="A text file, a sentence a line (.gz, .zst too); - is stdin.")] = "-",
    beam: Annotated[int | None, typer.Option(help="Hypotheses kept; 1 is greedy [default: the recipe's].")] = None,
    n_best: Annotated[int | None, typer.Option(help="Answers a line, as SCORE TAB ANSWER lines, best first.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any decoding.KEY=VALUE; `regard info --settings` lists them.")
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw answers: decoding.strategy=sampling.")] = False,
    mbr: Annotated[str | None, typer.Option(help="Draw --samples and give those of least risk by this metric.")] = None,
    samples: Annotated[int, typer.Option(help="How many --mbr draws.", min=1, max=1000)] = 32,
    alternatives: Annotated[
        int | None, typer.Option(help="What else could follow the prefix: this many answers, each greedy from there.")
    ] = None,
    mates: Mates = None,
    weights: Annotated[str | None, typer.Option(help="Of an ensemble, one a model: 2,1,1.")] = None,
    average: Annotated[str, typer.Option(help="An ensemble's: probabilities or log_probabilities.")] = "probabilities",
    prefix: Annotated[str, typer.Option(help="How every answer begins.")] = "",
    require: Annotated[list[str] | None, typer.Option(help="A phrase that every answer holds; repeatable.")] = None,
    forbid: Annotated[list[str] | None, typer.Option(help="A phrase that no answer holds; repeatable.")] = None,
    glossary: Annotated[
        str | None, typer.Option(help="SOURCE TAB TARGET lines: the target is required where the source term stands.")
    ] = None,
    lexicon: Annotated[
        str | None, typer.Option(help="SOURCE TAB TARGET lines, or cmudict: what stands there is answered from it.")
    ] = None,
    requests: Annotated[
        bool, typer.Option("--requests", help="Lines are JSON: text, prefix, required, forbidden.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="The same bits of the scores in any batch; slow.")] = False,
    batch_size: Annotated[int, typer.Option(help="Sentences decoded together.")] = 64,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where it is computed.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with scores and symbols.")] = False,
    align: Annotated[bool, typer.Option("--align", help="Add the links of words: ANSWER ||| 0-0 2-1.")] = False,
    align_by: Annotated[str | None, typer.Option(help="Where links are read: cross.1.3[:norms][:next].")] = None,
    units: Annotated[Literal["words", "tokens"] | None, typer.Option("--align-units", help="To be linked.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Write the search, step by step, as JSON lines.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="A new file for the answers, made in parts: killed, repeated, it goes on.")
    ] = None,
) -> None:
    """Translate a file or stdin. One line out for each line in; a blank line stays blank.

    Links are source-answer, counted from 0, of what spaces separate; of tokens where a side's are characters.
    """
    from regard.cli.asking import asking
    from regard.cli.searching import load, options

    _check_place(out, trace)
    chosen = options(settings or [], sample, exact, mbr, alternatives)
    asked = asking(file, as_json=requests, prefix=prefix, require=require or [], forbid=forbid or [], glossary=glossary)
    models = [run, *(mates or [])]
    drawn = samples if mbr else alternatives or n_best
    manner = Manner(chosen, beam, drawn, batch_size, mbr, n_best or 1, as_json)
    job = Job(load(models, weights, average, device), asked, manner).aligning(align, align_by, units)
    job = job.consulting(lexicon, trace)
    if out:
        _write_parts(job, out, {"models": _hashes(models), "weights": weights, "average": average, "device": device})
    else:
        _write_stream(job, trace)


@dataclass(frozen=True)
class Manner:
    """How each line is answered and shown: `drawn` answers are searched for, `wanted` of them are shown under `mbr`."""

    options: dict[str, Any]
    beam: int | None
    drawn: int | None
    batch_size: int
    mbr: str | None
    wanted: int
    as_json: bool


@dataclass(frozen=True)
class Job:
    """A translator, what is asked of it, and how."""

    translator: Translator
    asking: Asking
    manner: Manner
    aligner: Aligner | None = None
    lexicon: Lexicon | None = None

    def aligning(self, wanted: bool, by: str | None, units: Literal["words", "tokens"] | None) -> Job:
        """With the links of each answer, if one of these says so. UsageError if it is not known where to read them."""
        from regard.translator.aligning import aligner

        if not (wanted or by or units):
            return self
        return replace(self, aligner=aligner(self.translator, by, units, self.manner.batch_size))

    def consulting(self, lexicon: str | None, trace: Path | None) -> Job:
        """With a lexicon to answer from, if there is one. UsageError for what such answers do not keep to or have."""
        from regard.errors import UsageError
        from regard.translator import Lexicon

        if lexicon is None:
            return self
        others = {**self.asking.conditions(), "--mbr": self.manner.mbr, "--align": self.aligner, "--trace": trace}
        if named := next((name for name, value in others.items() if value), None):
            message = f"what a lexicon answers is not searched, so it does not go with {named}"
            raise UsageError(message, fix=f"leave out --lexicon or {named}")
        return replace(self, lexicon=Lexicon.load(lexicon, self.translator.tokenizers))

    def write(self, lines: Iterable[str], out: TextIO, steps: TextIO | None = None, first: int = 1) -> None:
        """The answers to the lines, the first of which has the number `first`. DataError says `line 1` of that one."""
        from regard.cli.answering import write_answers

        manner = self.manner
        results: Iterable[Translation] = self.translator.translate(
            self.asking.requests(lines, first),
            beam=manner.beam,
            n_best=manner.drawn,
            options=manner.options,
            batch_size=manner.batch_size,
            trace=steps is not None,
            lexicon=self.lexicon,
        )
        if metric := manner.mbr:
            from regard.metrics.risk import least_risk

            results = (least_risk(result, metric, manner.wanted) for result in results)
        aligned = self.aligner.answers(results) if self.aligner else ((result, ()) for result in results)
        write_answers(aligned, out, steps, self._shown(), self.translator.tokenizers.target, first)

    def _shown(self) -> int | None:
        if self.manner.as_json:
            return None
        return self.manner.wanted if self.manner.mbr else self._decoding().n_best

    def _decoding(self) -> Decoding:
        return self.translator.decoding(self.manner.options, beam=self.manner.beam, n_best=self.manner.drawn)

    def record(self) -> dict[str, object]:
        """All that the answers depend on beside the lines and the models, in JSON's types."""
        asking, manner = self.asking, self.manner
        decoding = self._decoding().model_dump(mode="json")
        return {
            "regard": __version__,
            **{f"decoding.{name}": value for name, value in decoding.items()},
            "batch_size": manner.batch_size,
            "mbr": manner.mbr and [manner.mbr, manner.wanted],
            "json": manner.as_json,
            "requests": asking.as_json,
            "prefix": asking.prefix,
            "require": list(asking.require),
            "forbid": list(asking.forbid),
            **({"align": [self.aligner.choice.name, self.aligner.units]} if self.aligner else {}),
            **({"lexicon": self.lexicon.digest[:16]} if self.lexicon else {}),
            "glossary": None if asking.glossary is None else _sha256(json.dumps(asking.glossary).encode()),
        }


def _write_stream(job: Job, trace: Path | None) -> None:
    """Each answer to standard output as soon as it is known."""
    from regard.cli.streams import lines_out, located
    from regard.text.pairs import read_lines

    file = job.asking.file
    with lines_out() as out, located(file), trace.open("w", encoding="utf-8") if trace else nullcontext() as steps:
        job.write(read_lines(file), out, steps)


def _write_parts(job: Job, out: Path, record: dict[str, object]) -> None:
    """All answers to a new file, by as many processes as there are."""
    from regard.cli.parts import Parts
    from regard.cli.processes import Place, share_threads
    from regard.cli.streams import located
    from regard.translator.translator import AHEAD

    def answer(first: int, lines: list[str]) -> str:
        text = io.StringIO()
        with located(job.asking.file, first - 1):
            job.write(lines, text, first=first)
        return text.getvalue()

    share_threads()
    job.write([], io.StringIO())  # what no line could be answered with is said before anything is made
    # What a translator reads ahead and sorts into batches: so the batches are those of the stream, to the bit.
    size = job.manner.batch_size * AHEAD
    Parts(job.asking.file, out, {**record, **job.record()}, size, answer).write(Place.this())


def _check_place(out: Path | None, trace: Path | None) -> None:
    """UsageError, before anything is loaded, for what several processes or parts cannot do."""
    from regard.cli.parts import require_new
    from regard.cli.processes import Place
    from regard.errors import UsageError

    place = Place.this()
    if out is None:
        if place.size > 1:
            fix = "add --out FILE, which they write together in order"
            raise UsageError(f"{place.size} processes cannot share one standard output", fix=fix)
        return
    if trace:
        fix = "leave --out out; for a trace, a few lines will do"
        raise UsageError("a trace is written as the search goes, not in parts", fix=fix)
    require_new(out, place)


def _hashes(folders: Sequence[Path]) -> list[str]:
    """Of each model folder, which its manifest stands for. They are verified when they are loaded."""
    from regard.folder import MANIFEST

    return [_sha256((folder / MANIFEST).read_bytes()) for folder in folders]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
