"""Everything a run is made of, in memory: corpus, model, device, and how much of a batch fits at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import torch

from regard import __version__
from regard.data.batches import Order, epoch_batches
from regard.data.corpus import Corpus, FileCorpus, GeneratedCorpus, Left, PairEncoder
from regard.data.origin import Origin, open_origin, require_some
from regard.data.tokens import Batch
from regard.device import choose_device, choose_precision, set_products
from regard.errors import UsageError
from regard.models.interface import EncoderDecoder
from regard.trainer.beginning import new_model
from regard.trainer.job import Job
from regard.training.memory import SAFE, Footprint, free_bytes, measure
from regard.training.optimiser import state_bytes
from regard.training.parallel import check_parallel
from regard.training.recompute import recompute_blocks
from regard.training.world import World


@dataclass(frozen=True)
class Setup:
    """A job with its data and its model, before the first step or as a checkpoint left it."""

    job: Job
    world: World
    origin: Origin
    corpus: Corpus
    left: Left
    model: EncoderDecoder
    device: torch.device
    precision: torch.dtype
    footprint: Footprint | None = None  # None: memory cannot be measured here
    room: float = 0.0  # bytes for what a step holds beside weights and optimiser

    @cached_property
    def order(self) -> Order:
        """The batches of the first epoch."""
        data, training = self.job.recipe.data, self.job.recipe.training
        return epoch_batches(self.corpus.epoch(0), data.tokens_per_batch, training.seed, 0)

    def fits(self) -> Callable[[Batch], bool]:
        """Whether a step on a batch, in one piece, finds room; everything does where memory cannot be measured."""
        footprint, room = self.footprint, self.room
        return (lambda batch: footprint.batch(batch) <= room) if footprint else (lambda batch: True)

    def longest(self) -> int:
        """Tokens of the longest pair, both sides."""
        pairs = self.corpus.epoch(0)
        return int((pairs.source.lengths + pairs.target.lengths).max())


def set_up(job: Job, world: World) -> Setup:
    """UsageError if the processes differ in version or data, or the device is not there."""
    recipe = job.recipe
    device = choose_device(recipe.training.device, world.local_rank)
    set_products(recipe.training)
    origin = open_origin(recipe.data, recipe.training.seed)
    world.require_same("version of regard", __version__, "install the same version on every machine")
    world.require_same("training pairs", origin.content[:12], "give every machine the same files")
    corpus, left = world.first_here(lambda: _corpus(origin, job))
    model = new_model(recipe, job.tokenizers).to(device)
    check_parallel(model, world)
    if recipe.training.recompute:
        recompute_blocks(model)
    setup = Setup(job, world, origin, corpus, left, model, device, choose_precision(recipe.training.precision, device))
    _require_enough_rows(setup)
    return _measured(setup)


def _corpus(origin: Origin, job: Job) -> tuple[Corpus, Left]:
    """The training pairs as ids: memory-mapped from the cache, or drawn anew each epoch."""
    links = job.recipe.training.guide > 0
    encoder = PairEncoder(job.tokenizers.source, job.tokenizers.target, job.recipe.data.longest, links)
    if origin.redraw:
        return GeneratedCorpus(origin.redraw, encoder), Left()
    pairs, left = encoder.on_disk(origin.train, origin.content, origin.bad_lines)
    require_some(len(pairs), f"{left.blank} blank, {left.too_long} longer than data.longest")
    return FileCorpus(pairs), left


def _require_enough_rows(setup: Setup) -> None:
    """A process without a row in any batch would only wait."""
    size, budget = setup.world.size, setup.job.recipe.data.tokens_per_batch
    pairs = setup.corpus.epoch(0)
    shortest = int((pairs.source.lengths + pairs.target.lengths).min())
    most = min(len(pairs), max(1, budget // shortest))
    if size > most:
        raise UsageError(
            f"{size} processes cannot share a batch of data.tokens_per_batch={budget}: it holds {most} pairs at most",
            fix=f"start at most {most} processes, or give more tokens to a batch",
        )


def _measured(setup: Setup) -> Setup:
    """Processes cut a batch into as many pieces each: all go by what the first one measured, and the least room."""
    room, world, footprint = _room(setup), setup.world, None
    if world.is_first and room is not None:
        recipe = setup.job.recipe
        tokens = recipe.data.tokens_per_batch // world.size
        footprint = measure(setup.model, recipe.training, setup.precision, setup.longest(), tokens, room)
    found = json.loads(world.share(lambda: json.dumps(footprint and asdict(footprint)).encode()))
    rooms = world.gather(-1.0 if room is None else room)
    if found is None or min(rooms) < 0:
        return setup
    return replace(setup, footprint=Footprint(tuple(found["lengths"]), tuple(found["row_bytes"])), room=min(rooms))


def _room(setup: Setup) -> float | None:
    """Bytes for what a step of this process holds beside weights and optimiser; None where that cannot be known."""
    free = free_bytes(setup.device)
    if free is None:
        return None
    here = 1 if setup.device.type == "cuda" else int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1.0, SAFE * free / here - held(setup))


def held(setup: Setup) -> int:
    """Bytes of weights, gradients and what the optimiser keeps."""
    weights = sum(parameter.nbytes for parameter in setup.model.parameters())
    return 2 * weights + state_bytes(setup.model, setup.job.recipe.training.optimiser)


def fitted(setup: Setup) -> Setup:
    """With data.tokens_per_batch lowered to what fits into the memory of every process."""
    footprint, recipe, size = setup.footprint, setup.job.recipe, setup.world.size
    if footprint is None:
        return setup
    most = size * footprint.most_tokens(setup.room, setup.longest())
    if most >= recipe.data.tokens_per_batch:
        return setup
    why = f"a step of {recipe.data.tokens_per_batch:,} tokens would not fit into {setup.room / 1e9:.1f} GB"
    return replace(setup, job=setup.job.with_budget(int(most), why))
