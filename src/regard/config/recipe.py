"""A Recipe: every setting of a run, typed, frozen, strict. The model and training have files of their own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from regard.config.model import Model
from regard.config.section import Positive, Section, Text, Texts, TwoTexts, one
from regard.config.toml import toml_lines
from regard.config.training import Training


class Data(Section):
    """What is read, and how it becomes batches."""

    pairs: Texts = Field((), description="the training pairs: one file of pairs or two parallel files")
    valid: Texts = Field((), description="development pairs; none: a share of `pairs` is held out by its source")
    alignments: Annotated[Texts, BeforeValidator(one)] = Field(
        (), description="one or more files with a line of links, 0-0 2-1, for each line of `pairs`; see training.guide"
    )
    task: Text | None = Field(None, description="a generated task in place of files")
    columns: TwoTexts | None = Field(None, description="source and target column, by number from 1 or by header")
    separator: Text = Field("\t", description="what stands between the columns")
    on_bad_line: Literal["error", "skip"] = Field(
        "error", description="a line that cannot be read stops, or is skipped and counted"
    )
    hold_out: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="share of `pairs` held out for development where `valid` is empty"
    )
    longest: Positive = Field(
        1000, description="pairs with more tokens than this on a side are left out of training and counted"
    )
    tokens_per_batch: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        4000, description="padded source and target tokens in a batch, at most"
    )
    task_pairs: Positive = Field(20_000, description="pairs a generated task makes for an epoch")


class Side(Section):
    """How the text of one side becomes tokens."""

    kind: Literal["characters", "graphemes", "symbols", "words", "bpe", "unigram"] = Field(
        description="the kind of token"
    )
    vocabulary: Annotated[int, Field(ge=8, le=10_000_000)] = Field(description="most tokens in the vocabulary")
    unicode: Literal["NFC", "NFKC", "NFD", "none"] = Field("NFC", description="the Unicode form text is brought to")
    lowercase: bool = Field(False, description="lower case first")
    accents: bool = Field(True, description="false: without the marks on letters, é as e; vowel signs are lost too")


class Tokenizers(Section):
    """A tokenizer a side, or one for both."""

    source: Side
    target: Side
    joint: bool = Field(False, description="one tokenizer, with the source's settings, trained on both sides")
    neighbours: bool = Field(
        False, description="a source is read with the training pairs that begin and end most like it; the model has all"
    )

    @field_validator("neighbours")
    @classmethod
    def _neighbours_are_of_two_sides(cls, neighbours: bool, others: ValidationInfo) -> bool:
        if neighbours and others.data.get("joint"):
            raise ValueError("neighbours needs joint=false")
        if neighbours and "source" in others.data and others.data["source"].vocabulary > 1_000_000:
            raise ValueError("neighbours needs source.vocabulary of at most 1,000,000")
        return neighbours


class Decoding(Section):
    """How `translate` and `score` search unless told otherwise."""

    strategy: Literal["beam", "sampling", "alternatives"] = Field(
        "beam", description="beam search, answers drawn at random, or what else could follow a prefix"
    )
    beam: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="hypotheses kept; 1 is greedy")
    n_best: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="answers a line")
    length_penalty: Annotated[float, Field(ge=0, le=10)] = Field(
        1.0, description="alpha of the length penalty; 0 ranks by log-probability"
    )
    normalise: Literal["gnmt", "length"] = Field(
        "gnmt", description="log-probabilities are divided by ((5 + n) / 6) ** alpha, or by n ** alpha"
    )
    coverage_penalty: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="beta of GNMT's penalty for source tokens that were not looked at"
    )
    groups: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="more than 1: diverse beam search")
    diversity: Annotated[float, Field(ge=0, le=100)] = Field(
        0.5, description="what a token costs for each earlier group that takes it too"
    )
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(1.0, description="sampling: below 1 nearer to the best")
    top_k: Annotated[int, Field(ge=0, le=10**9)] = Field(0, description="sampling: from this many; 0: from all")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="sampling: from the best that hold this share")
    min_p: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="sampling: from what has at least this share of the best one's probability"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(1, description="sampling: another seed, other answers")
    no_repeat: Annotated[int, Field(ge=0, le=10**6)] = Field(
        0, description="no sequence of this many tokens twice in an answer; 0: allowed"
    )
    min_length: Annotated[int, Field(ge=0, le=10**6)] = Field(0, description="fewest target tokens")
    limit_factor: Annotated[float, Field(ge=0)] = Field(description="most target tokens: this times the source's ...")
    limit_extra: Annotated[int, Field(ge=0, le=10**9)] = Field(10, description="... plus this")
    prefix_strength: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="1: a prefix is forced; below: hypotheses that keep to it get this much probability more"
    )
    replace_unknown: bool = Field(
        False, description="an answer may hold unknown tokens, each shown as the source token it looked at most"
    )
    longest_source: Positive = Field(5000, description="a text of more tokens is refused")
    exact: bool = Field(
        False, description="each text alone in float64: the same bits of the scores too, in any batch; slow"
    )

    @property
    def search(self) -> str:
        """Its name for people: greedy, beam 5, sampling ..."""
        if self.strategy != "beam":
            return self.strategy
        if self.beam == 1:
            return "greedy"
        return f"beam {self.beam}" + (f" in {self.groups} groups" if self.groups > 1 else "")


class Recipe(Section):
    """Every setting of a run."""

    data: Data
    tokenizer: Tokenizers
    model: Model
    training: Training
    decoding: Decoding

    @field_validator("model")
    @classmethod
    def _sharing_needs_joint(cls, model: Model, others: ValidationInfo) -> Model:
        tokenizer = others.data.get("tokenizer")  # missing where it is at fault itself
        if model.share_embeddings == "all" and tokenizer and not tokenizer.joint:
            raise ValueError("share_embeddings=all needs tokenizer.joint=true")
        return model

    @field_validator("tokenizer")
    @classmethod
    def _neighbours_are_of_files(cls, tokenizer: Tokenizers, others: ValidationInfo) -> Tokenizers:
        data = others.data.get("data")
        if tokenizer.neighbours and data and data.task:
            raise ValueError("neighbours are pairs of files, and data.task makes new ones")
        return tokenizer

    @field_validator("training")
    @classmethod
    def _guiding_needs_alignments(cls, training: Training, others: ValidationInfo) -> Training:
        data = others.data.get("data")
        if training.guide and data and not data.alignments:
            raise ValueError("guide needs data.alignments, a file of links to be guided by")
        if training.guide and (training.recompute or training.compile):
            raise ValueError("guide reads an attention while it is computed: set recompute=false and compile=false")
        return training

    def to_toml(self) -> str:
        """The recipe as TOML text; `read_toml` gives an equal one back. None is "none", or left out as the default."""
        return "\n".join(toml_lines(self)) + "\n"
