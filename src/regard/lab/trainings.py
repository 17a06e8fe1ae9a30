"""The notes' claims that a training decides: each a comparison of variants and a judge of its summaries."""

from __future__ import annotations

import torch

from regard.config import Settings, merge
from regard.lab.budget import Budget
from regard.lab.compare import Comparison
from regard.lab.finding import Experiment, trained
from regard.lab.statistics import margin
from regard.lab.summary import LOWER_IS_BETTER, Summary
from regard.look.html import Table

SMALL_AND_LARGE = (60, 240)  # tokens of a batch: one pair, half a dozen
QUICK: Settings = {"training": {"checkpoint_every": 100, "valid_pairs": 300}}


def heads() -> Experiment:
    """N7."""
    return trained(
        "heads",
        "N7",
        "the number of heads does not change the number of parameters, and does change the quality",
        "about 4 minutes",
        varied=["model.heads"],
        variants=[(str(number), {"model": {"heads": number}}) for number in (1, 2, 4, 8)],
        settings={**QUICK, "data": {"task": "sort"}},
        judge=_judge_heads,
        seeds=3,
        budget=Budget(300, "steps"),
    )


def no_positions() -> Experiment:
    """N8, N9."""
    return trained(
        "no-positions",
        "N8, N9",
        "without positions the encoder sees a bag of symbols, and no bag can be reversed",
        "about 2 minutes",
        varied=["model.positions"],
        variants=[(name, {"model": {"positions": name}}) for name in ("none", "sinusoidal")],
        settings={**QUICK, "data": {"task": "reverse"}},
        judge=_judge_positions,
        seeds=3,
        budget=Budget(500, "steps"),
    )


def scaling() -> Experiment:
    """N6."""
    return trained(
        "scaling",
        "N6",
        "scores of vectors of unit variance have a variance of d unless divided by sqrt(d); undivided, softmax "
        "saturates, its gradient goes to 0, and training suffers, the more the larger a head is",
        "about 5 minutes",
        varied=["model.score", "model.heads"],
        variants=[
            (f"{score}, {number}", {"model": {"score": score, "heads": number}})
            for score in ("dot", "scaled_dot")
            for number in (1, 8)
        ],
        settings=merge(
            QUICK, {"data": {"task": "reverse"}, "model": {"size": 128}, "training": {"learning_rate": 2e-3}}
        ),
        judge=_judge_scaling,
        budget=Budget(400, "steps"),
        measure=lambda: (saturation(),),
    )


def norm_position() -> Experiment:
    """N12."""
    return trained(
        "norm-position",
        "N12",
        "with the norm after each sublayer (post-norm) training depends on a warm-up; with the norm before it "
        "(pre-norm) it depends on it less",
        "about 5 minutes",
        varied=["model.norm_first", "training.warmup"],
        variants=[
            (f"{place}, {warmup}", {"model": {"norm_first": place == "pre"}, "training": {"warmup": warmup}})
            for place in ("pre", "post")
            for warmup in (60, 0)
        ],
        settings={**QUICK, "data": {"task": "reverse"}, "model": {"layers": 4}},
        judge=_judge_norm_position,
        budget=Budget(400, "steps"),
    )


def norms_on_text() -> Experiment:
    """N22."""
    return trained(
        "norms-on-text",
        "N22",
        "text wants a norm over the features of a position; batch norm, which reads its statistics off the batch, "
        "suffers where batches are small",
        "about 5 minutes",
        varied=["model.norm", "data.tokens_per_batch"],
        variants=[
            (f"{norm}, {tokens}", {"model": {"norm": norm}, "data": {"tokens_per_batch": tokens}})
            for norm in ("layer", "batch", "instance")
            for tokens in SMALL_AND_LARGE
        ],
        settings={"data": {"task": "dates"}, "training": {"valid_pairs": 300, "learning_rate": 1e-3}},
        judge=_judge_norms,
        budget=Budget(1.2e11, "flops"),
    )


def length() -> Experiment:
    """N9, on SCAN's split by length (Lake and Baroni 2018)."""
    return trained(
        "length",
        "N9",
        "positions that know distances alone, relative or rotary ones, carry over to lengths not seen in training; "
        "positions that are added to embeddings do not",
        "about 40 minutes",
        varied=["model.positions"],
        variants=[(name, {"model": {"positions": name}}) for name in ("sinusoidal", "rotary", "relative")],
        settings={
            "data": {"task": "scan_length", "tokens_per_batch": 3000},
            "model": {
                "architecture": "transformer",
                "layers": 2,
                "size": 128,
                "heads": 8,
                "inner": 256,
                "dropout": 0.3,
            },
            # after so few steps almost no long command is right as a whole; PER tells how far each is right
            "training": {
                "checkpoint_every": 1000,
                "optimiser": "adamw",
                "learning_rate": 1e-3,
                "valid_pairs": 400,
                "metric": "per",
            },
            "decoding": {"limit_factor": 6.0},
        },
        judge=_judge_length,
        budget=Budget(3000, "steps"),
    )


def saturation(dimensions: tuple[int, ...] = (4, 16, 64, 256), keys: int = 16, draws: int = 2000) -> Table:
    """What N6 says of numbers alone: random queries and keys of unit variance, before any training."""
    rows = []
    for dimension in dimensions:
        generator = torch.Generator().manual_seed(dimension)
        query = torch.randn(draws, 1, dimension, generator=generator)
        key = torch.randn(draws, keys, dimension, generator=generator)
        scores = (query * key).sum(-1)
        plain, scaled = (_saturated(each) for each in (scores, scores / dimension**0.5))
        rows.append((f"{dimension}", *(text for pair in zip(plain, scaled, strict=True) for text in pair)))
    head = tuple(
        f"{what}\n{score}" for what in ("variance", "largest weight", "gradient") for score in ("dot", "scaled")
    )
    notes = (
        f"means over {draws:,} queries with {keys} keys; gradient: the length of that of the weights by the scores",
    )
    return Table("Scores of vectors of unit variance, untrained", ("d", *head), tuple(rows), (0,), notes)


def _saturated(scores: torch.Tensor) -> tuple[str, str, str]:
    weights = scores.softmax(-1)
    jacobian = torch.diag_embed(weights) - weights[:, :, None] * weights[:, None, :]
    numbers = scores.var(), weights.max(-1).values.mean(), jacobian.flatten(1).norm(dim=1).mean()
    return tuple(f"{float(number):.3g}" for number in numbers)  # type: ignore[return-value]


def _judge_heads(comparison: Comparison) -> tuple[bool | None, str]:
    summaries = comparison.summaries
    sizes = {summary.planned.probe.parameters for summary in summaries}
    shown = "; ".join(f"{summary.name}: {_metric(comparison, summary)}" for summary in summaries)
    same = f"All have {sizes.pop():,} parameters." if len(sizes) == 1 else "The numbers of parameters differ."
    text = f"{same} {comparison.plan.metric.upper()} by heads: {shown}."
    if sizes:
        return False, text
    if any(summary.is_clear for summary in summaries):
        return True, f"{text} Some are worse than the best by more than the spread."
    return None, f"{text} The differences are within the spread of the seeds."


def _judge_positions(comparison: Comparison) -> tuple[bool | None, str]:
    none, sinusoidal = comparison.summaries
    text = f"Without: {_metric(comparison, none)}; with: {_metric(comparison, sinusoidal)}."
    worse = _is_worse(comparison, none, sinusoidal)
    return worse, text


def _judge_scaling(comparison: Comparison) -> tuple[bool | None, str]:
    dot_large, dot_small, scaled_large, scaled_small = comparison.summaries
    large, small = _gap(comparison, dot_large, scaled_large), _gap(comparison, dot_small, scaled_small)
    text = f"Without the scale one head of all features loses {_points(large)}, eight heads lose {_points(small)}."
    return _and_more(_is_worse(comparison, dot_large, scaled_large), large, small), text


def _judge_norm_position(comparison: Comparison) -> tuple[bool | None, str]:
    pre, pre_without, post, post_without = comparison.summaries
    lost = [_gap(comparison, *pair) for pair in ((pre_without, pre), (post_without, post))]
    text = f"Without a warm-up pre-norm loses {_points(lost[0])}, post-norm {_points(lost[1])}."
    worse = _is_worse(comparison, post_without, post)
    return _and_more(worse, lost[1], lost[0]), text


def _judge_norms(comparison: Comparison) -> tuple[bool | None, str]:
    by_name = {summary.name: summary for summary in comparison.summaries}
    layer, batch = ([by_name[f"{norm}, {tokens}"] for tokens in SMALL_AND_LARGE] for norm in ("layer", "batch"))
    small, large = (_gap(comparison, ours, theirs) for ours, theirs in zip(batch, layer, strict=True))
    text = f"Against layer norm batch norm loses {_points(small)} in small batches, {_points(large)} in large ones."
    return _and_more(_is_worse(comparison, batch[0], layer[0]), small, large), text


def _judge_length(comparison: Comparison) -> tuple[bool | None, str]:
    by_name = {summary.name: summary for summary in comparison.summaries}
    added, inside = ["sinusoidal"], ["rotary", "relative"]
    text = "PER on commands longer than any in training: " + ", ".join(
        f"{name} {_metric(comparison, summary)}" for name, summary in by_name.items()
    )
    worse = [_is_worse(comparison, by_name[one], by_name[other]) for one in added for other in inside]
    return (True if True in worse else None if None in worse else False), f"{text}."


def _and_more(worse: bool | None, gap: float | None, other: float | None) -> bool | None:
    """Whether it is worse, and by more than the other; a variant that diverged has lost all there is to lose."""
    return worse if worse is None or gap is None or other is None else worse and gap > other


def _metric(comparison: Comparison, summary: Summary) -> str:
    spread = summary.numbers.get(comparison.plan.metric)
    if spread is None:
        return "diverged"
    return f"{spread.mean:.2f}" + (f" ± {spread.deviation:.2f}" if spread.deviation is not None else "")


def _gap(comparison: Comparison, one: Summary, other: Summary) -> float | None:
    """By how much one is worse than the other; None if one has no number."""
    metric = comparison.plan.metric
    if metric not in one.numbers or metric not in other.numbers:
        return None
    gap = one.numbers[metric].mean - other.numbers[metric].mean
    return gap if metric in LOWER_IS_BETTER else -gap


def _points(gap: float | None) -> str:
    return "everything (it diverged)" if gap is None else f"{gap:.2f} points"


def _is_worse(comparison: Comparison, one: Summary, other: Summary) -> bool | None:
    """Whether by more than the spread; None if the spread is not known. A run that diverged is worse."""
    if one.diverged > other.diverged:
        return True
    gap = _gap(comparison, one, other)
    if gap is None:
        return None
    metric = comparison.plan.metric
    limit = margin(one.numbers[metric], other.numbers[metric])
    return None if limit is None else gap > limit
