"""The training section of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from regard.config.section import Positive, Section, Share, Text, Unset, one


class Training(Section):
    """How long, how fast, and what is kept."""

    steps: Positive = Field(description="optimiser steps")
    max_minutes: Annotated[Annotated[float, Field(gt=0)] | None, Unset] = Field(
        None,
        description="end after this long if that comes first; the schedule is shortened with it "
        "(results then depend on the machine)",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(1, description="of weights, order and dropout")
    begin_with: Annotated[Text | None, Unset] = Field(
        None, description="a model folder whose weights, model settings and tokenizers a training begins with"
    )
    optimiser: Literal["adam", "adamw", "muon"] = Field(
        "adamw", description="adam: no weight decay; muon: for matrices, adamw for the rest"
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="the highest of the schedule")
    schedule: Literal["inverse_sqrt", "linear", "cosine", "constant"] = Field("cosine", description="after the warm-up")
    warmup: Annotated[int, Field(ge=0, le=10**9)] = Field(description="steps from 0 to the learning rate")
    beta1: Share = Field(0.9, description="of Adam")
    beta2: Share = Field(0.98, description="of Adam")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="of adamw and muon, for matrices only")
    label_smoothing: Share = Field(0.1, description="share of the probability spread over the vocabulary")
    guide: Annotated[float, Field(ge=0, le=100)] = Field(
        0.0, description="weight of a second loss: an attention to the source is to follow data.alignments"
    )
    clip: Annotated[Annotated[float, Field(gt=0)] | None, Unset] = Field(
        1.0, description="longest gradient; none: not clipped"
    )
    accumulate: Positive = Field(1, description="batches whose gradients are added before a step")
    checkpoint_every: Positive = Field(description="steps between checkpoints; each is validated")
    patience: Annotated[Positive | None, Unset] = Field(
        None, description="stop after this many checkpoints that are no better"
    )
    average: Positive = Field(5, description="last checkpoints whose weights are averaged at the end")
    metric: Literal["loss", "wer", "per", "bleu", "chrf"] = Field(
        description="which number makes a checkpoint the best"
    )
    valid_pairs: Positive = Field(1000, description="development pairs that are decoded at a checkpoint, at most")
    ema: Share = Field(
        0.0, description="decay of a moving average of the weights, which then is validated and published; 0: none"
    )
    strikes: Positive = Field(5, description="steps in a row whose loss is no number before a run gives up")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where the model is trained")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of products (autocast); weights stay float32. auto: bfloat16 on a GPU that has it"
    )
    tf32: bool = Field(False, description="float32 products on a GPU with the 10 bits of TF32")
    recompute: bool = Field(
        False, description="blocks are computed again in the backward pass instead of kept: a third slower, less memory"
    )
    compile: bool = Field(False, description="compile the step (torch.compile): pays on a GPU")
    shard: bool = Field(
        False, description="with several processes: each keeps a share of weights and optimiser (FSDP2), not a copy"
    )
    boards: Annotated[tuple[Literal["tensorboard", "trackio"], ...], BeforeValidator(one)] = Field(
        (), description="where a training can be watched, beside the terminal: tensorboard, trackio"
    )
