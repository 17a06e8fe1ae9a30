"""One optimiser step: gradients added up over batches, pieces of them and processes; clipped; applied or not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regard.config import Training
from regard.data.batches import mix
from regard.data.tokens import Batch, Tokens
from regard.errors import TrainingError
from regard.layers.dropout import part_of_batch
from regard.models.interface import EncoderDecoder
from regard.training.loss import Loss
from regard.training.optimiser import OPTIMISERS, clip_gradients, optimiser_tensors, restore_optimiser
from regard.training.parallel import in_parallel, last_of_step, like, whole
from regard.training.world import ALONE, World, together

if TYPE_CHECKING:
    from torch.optim import Optimizer

AVERAGED = ".ema"  # ends the name of a moving average among the tensors of a checkpoint


@dataclass(frozen=True)
class Outcome:
    """What a step came to: `loss` in nats a real target token (with that of a guided head, if there is one), the
    gradient's length before clipping.

    Not `applied`: one of them is no number, and weights and optimiser are as before; an `overflow` is no fault but the
    loss scale of float16 finding its place. `left_out`: pairs that not even alone fit into memory. `stop`: a process
    was asked to stop. `seconds`: the first process's clock.
    """

    loss: float
    gradient: float
    applied: bool
    overflow: bool = False
    left_out: int = 0
    stop: bool = False
    seconds: float = 0.0


class Stepper:
    """A model in training: its optimiser, its precision, its moving average, its share of the work.

    `fits(batch)` tells whether a batch may be computed in one piece, and says the same in every process; pieces have
    the same gradient, dropout included.
    """

    def __init__(
        self,
        model: EncoderDecoder,
        training: Training,
        world: World = ALONE,
        precision: torch.dtype = torch.float32,
        fits: Callable[[Batch], bool] = lambda batch: True,
    ) -> None:
        self.model, self.training, self.world, self.fits = model, training, world, fits
        self.device = next(model.parameters()).device
        self.precision = precision
        is_plain = self.device.type == "cpu" and not training.ema and not (training.shard and world.size > 1)
        self.plain = None if is_plain else copy.deepcopy(model).cpu()  # what is judged, if not the model itself
        self.loss: nn.Module = in_parallel(Loss(model, training.guide), training, world)
        self.optimiser: Optimizer = OPTIMISERS[training.optimiser](model, training)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == torch.float16)
        self.averages = {name: tensor.detach().clone() for name, tensor in self._averaged()}

    def step(
        self,
        batches: Sequence[Batch],
        number: int,
        rate: float,
        asked: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> Outcome:
        """The step after `number` others, on batches whose gradients are added: the same as one batch of them all.

        Every process gets all batches, and computes its rows of each.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.model.train()
        targets = sum(batch.real_targets for batch in batches)
        total, left_out = self._gradients(batches, number, targets)
        mine = [total, left_out, float(asked()), clock() if self.world.is_first else 0.0]
        total, left, stops, seconds = self.world.sum(mine)
        self.scaler.unscale_(self.optimiser)
        length = clip_gradients(self.model, self.training.clip)
        applied = math.isfinite(total) and math.isfinite(length)
        if applied:
            self.scaler.step(self.optimiser)
            self._average()
        overflow = not applied and self.scaler.get_scale() > 1.0 and self.scaler.is_enabled()
        self.scaler.update()
        return Outcome(total / targets, length, applied, overflow, int(left), stops > 0, seconds)

    def _gradients(self, batches: Sequence[Batch], number: int, targets: int) -> tuple[float, int]:
        """Adds up this process's gradients; (summed loss in nats, pairs that were left out).

        Where memory runs out, it is all done again in smaller pieces, for nobody knows what was added up by then. What
        does not fit even alone is left out.
        """
        most, left_out = max(len(batch.source.ids) for batch in batches), set[tuple[int, int]]()
        while True:
            self.optimiser.zero_grad(set_to_none=True)
            try:
                return self._add_up(batches, number, targets, most, left_out), len(left_out)
            except _NoRoom as error:
                if self.world.size > 1:  # the others wait in the middle of this step
                    raise TrainingError(
                        f"process {self.world.rank} ran out of memory at step {number + 1}",
                        fix="lower data.tokens_per_batch in a new run; the last checkpoint is intact",
                    ) from None
                if error.rows > 1:
                    most = error.rows // 2
                else:
                    left_out.add(error.where)

    def _add_up(
        self, batches: Sequence[Batch], number: int, targets: int, most: int, left_out: set[tuple[int, int]]
    ) -> float:
        """The summed loss; what does not fit alone joins `left_out` as (batch, row)."""
        total = 0.0
        for index, batch in enumerate(batches):
            pieces, too_large = pieces_of(batch, self.world, self.fits, most)
            left_out.update((index, row) for row in too_large)
            pieces = [piece for piece in pieces if (index, piece.start) not in left_out]
            for place, piece in enumerate(pieces):
                torch.manual_seed(mix(self.training.seed, number, *([index] if index else [])))
                is_last = index == len(batches) - 1 and place >= len(pieces) - 1
                with last_of_step(self.loss, is_last):
                    total += self._backward(batch, index, piece, targets)
        return total

    def _backward(self, batch: Batch, index: int, piece: slice, targets: int) -> float:
        """Of rows of a batch. A process without a row computes what counts nothing: the others wait for it."""
        counts = piece.stop > piece.start
        rows = piece if counts else slice(0, 1)
        part = batch.rows(rows) if counts else _least(batch)
        # data-parallel processes take the mean of their gradients, and this is to be the sum
        weight = self.world.size / targets if counts else 0.0
        try:
            with together(), part_of_batch(rows.start, len(batch.source.ids)):
                with self._autocast():
                    loss = self.loss(part.to(self.device), self.training.label_smoothing)
                self.scaler.scale(loss * weight).backward()
        except (RuntimeError, MemoryError) as error:
            if _out_of_memory(error):
                raise _NoRoom((index, rows.start), rows.stop - rows.start) from None
            if self.training.compile and _compiler_failed(error):
                raise TrainingError(
                    f"the step could not be compiled: {_what_it_said(error)}",
                    fix="set training.compile=false, or install the compiler that torch.compile asks for",
                ) from error
            raise
        return float(loss.detach()) if counts else 0.0

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def _averaged(self) -> Iterator[tuple[str, Tensor]]:
        """Under each of its names: a weight that two parts share has two, and a saved model both."""
        return iter(self.model.named_parameters(remove_duplicate=False) if self.training.ema else ())

    @torch.no_grad()
    def _average(self) -> None:
        """Moves each average a little towards its weight (Polyak and Juditsky 1992)."""
        for name, tensor in self._averaged():
            self.averages[name].lerp_(tensor.detach(), 1.0 - self.training.ema)

    def judged(self) -> EncoderDecoder:
        """The model that is validated, on the CPU: with the moving averages where there are some.

        With sharded weights every process must ask, and the first one alone gets them.
        """
        if self.plain is None:
            return self.model
        weights = self._kept(
            {name: self.averages.get(name, tensor) for name, tensor in self.model.state_dict().items()}
        )
        if self.world.is_first:
            self.plain.load_state_dict(weights)
        return self.plain

    def scale(self) -> dict[str, float]:
        """The state of the loss scale; empty without one."""
        return {name: float(value) for name, value in self.scaler.state_dict().items()}

    def weights(self) -> dict[str, Tensor]:
        """As they are trained, on the CPU of the first process. With sharded weights every process must ask."""
        return self._kept(self.model.state_dict())

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's, and the moving averages: what a checkpoint holds beside weights. As `weights`."""
        named = optimiser_tensors(self.optimiser, self.model)
        return self._kept(named | {name + AVERAGED: tensor for name, tensor in self.averages.items()})

    def _kept(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        kept: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            complete = whole(tensor)  # the others give their shares
            if self.world.is_first:
                kept[name] = complete
        return kept

    def restore(self, tensors: Mapping[str, Tensor], scale: Mapping[str, float]) -> None:
        """Takes back what `tensors` gave, and the loss scale."""
        ours = {name: tensor for name, tensor in tensors.items() if not name.endswith(AVERAGED)}
        restore_optimiser(self.optimiser, self.model, ours)
        for name, average in self.averages.items():
            average.copy_(like(tensors[name + AVERAGED], average))
        if scale:
            self.scaler.load_state_dict(dict(scale))


def pieces_of(batch: Batch, world: World, fits: Callable[[Batch], bool], most: int) -> tuple[list[slice], range]:
    """A process's rows of a batch in as few pieces as fit, each of at most `most` rows, and the rows that fit in none.

    Processes may meet in every pass, so all make as many: as the largest share needs. Some may be empty.
    """
    count = len(batch.source.ids)
    mine, largest = world.rows(count), -(-count // world.size)
    size = min(largest, most)
    while size > 1 and not fits(batch.rows(slice(0, size))):
        size = (size + 1) // 2
    if size == 1 and not fits(batch.rows(slice(0, 1))):
        return ([slice(0, 0)] if world.size > 1 else []), range(mine.start, mine.stop)
    starts = range(mine.start, mine.start + largest, size)
    return [slice(min(mine.stop, start), min(mine.stop, start + size)) for start in starts], range(0)


def averaged(weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The moving averages of a checkpoint where it has some, else its weights."""
    return {name: tensors.get(name + AVERAGED, tensor) for name, tensor in weights.items()}


def _least(batch: Batch) -> Batch:
    """The first two tokens of the first pair: as little as a model can compute."""
    sides = (Tokens(side.ids[:1, :2], side.lengths[:1].clamp(max=2)) for side in (batch.source, batch.target))
    return Batch(*sides)


class _NoRoom(Exception):
    """Memory ran out on some `rows` of a batch; `where` is the batch's place in the step and the first of them."""

    def __init__(self, where: tuple[int, int], rows: int) -> None:
        super().__init__(where, rows)
        self.where, self.rows = where, rows


def _out_of_memory(error: BaseException) -> bool:
    words = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "not enough memory" in words
        or "can't allocate" in words
    )


def _compiler_failed(error: BaseException) -> bool:
    from torch._dynamo.exc import TorchDynamoException

    return isinstance(error, TorchDynamoException)


def _what_it_said(error: BaseException) -> str:
    """The line that names the error, if there is one; a compiler prints pages around it."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return next((line for line in lines[1:] if " error: " in line), lines[0] if lines else type(error).__name__)
