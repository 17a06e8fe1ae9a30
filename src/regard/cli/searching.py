"""From options of `translate` and `score` to settings of the decoding section, and to one model or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.config import merge, parse_override
from regard.errors import UsageError
from regard.metrics import METRICS

if TYPE_CHECKING:
    from regard.translator import Translator

AVERAGES = ("probabilities", "log_probabilities")


def options(
    overrides: Sequence[str],
    sample: bool = False,
    exact: bool = False,
    mbr: str | None = None,
    alternatives: int | None = None,
) -> dict[str, Any]:
    """Settings of the decoding section; UsageError for those of another."""
    settings: dict[str, Any] = {}
    for override in overrides:
        settings = merge(settings, parse_override(override))
    other = sorted(settings.keys() - {"decoding"})
    if other:
        raise UsageError(
            f"a trained model has its {other[0]} settings already", fix="only decoding.KEY=VALUE can be set here"
        )
    if mbr is not None and mbr not in METRICS:
        raise UsageError(f"there is no metric {mbr!r}", fix=f"choose one of {', '.join(METRICS)}")
    if alternatives is not None and (sample or mbr):
        raise UsageError("alternatives are chosen, not drawn", fix="leave --sample and --mbr out, or --alternatives")
    strategy = "sampling" if sample or mbr else "alternatives" if alternatives is not None else None
    shortcuts = {"strategy": strategy, "exact": exact or None}
    return {**settings.get("decoding", {}), **{key: value for key, value in shortcuts.items() if value is not None}}


def load(folders: Sequence[Path], weights: str | None, average: str, device: str = "cpu") -> Translator:
    """One model, or an ensemble, on a device, in a process that keeps its heap."""
    from regard.cli.processes import local_rank
    from regard.device import choose_device
    from regard.heap import keep_heap
    from regard.translator import Translator

    keep_heap()
    if average not in AVERAGES:
        raise UsageError(f"there is no average of {average!r}", fix=f"choose one of {', '.join(AVERAGES)}")
    if weights is not None and len(folders) == 1:
        raise UsageError("weights are for an ensemble", fix="name its other models by --with RUN")
    place = choose_device(device, local_rank(), asked="--device ", fix="leave --device out: a CPU answers the same")
    return Translator.load_ensemble(folders, _numbers(weights), average, place)  # type: ignore[arg-type]


def _numbers(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(each) for each in text.split(",")]
    except ValueError:
        raise UsageError(f"weights are numbers such as 2,1,1, found {text!r}") from None
