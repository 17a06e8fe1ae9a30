"""What a training step costs, against numbers worked by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from regard.data.tokens import Batch, Tokens
from regard.lab.probe import Probe, probe, saved_bytes, step_bytes, step_flops, update_flops
from regard.models import build
from regard.models.interface import Decoder, EncoderDecoder, Memory, State
from regard.text.pairs import Pair
from regard.training.optimiser import hidden_matrices
from small import untrained

PAIRS = [Pair(word, " ".join("ABCDEFG"[: 1 + place % 7]), place) for place, word in enumerate(["fox", "dogs", "lazy"])]


class Product(Decoder):
    """A table of 11 vectors of 3 features, and a product with a (7, 3) matrix."""

    longest = None

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 3)
        self.output = nn.Linear(3, 7)

    def forward(self, previous: Tokens, memory: Memory) -> Tensor:
        return self.output(self.table(previous.ids))

    def start(self, memory: Memory) -> State:
        raise AssertionError("nobody decodes here")

    def step(self, last_ids: Tensor, state: State) -> tuple[Tensor, State]:
        raise AssertionError("nobody decodes here")


class Products(EncoderDecoder):
    """No encoder at all."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.decoder = Product()

    def forward(self, source: Tokens, previous: Tokens) -> Tensor:
        return self.decoder(previous, Memory(torch.empty(0, 0, 3), source.lengths[:0]))


@dataclass(frozen=True)
class Sizes:
    batch: int = 2
    target: int = 5


def batch(sizes: Sizes = Sizes(), source: int = 4) -> Batch:
    ids = torch.ones(sizes.batch, sizes.target + 1, dtype=torch.int64)
    lengths = torch.full((sizes.batch,), sizes.target + 1)
    sources = torch.ones(sizes.batch, source, dtype=torch.int64)
    return Batch(Tokens(sources, torch.full((sizes.batch,), source)), Tokens(ids, lengths))


def test_a_linear_layer_keeps_its_input_and_nothing_else() -> None:
    layer, x = nn.Linear(3, 5), torch.randn(4, 3)
    assert saved_bytes(lambda: layer(x), layer) == 4 * 3 * 4  # floats of the input; the weights are there anyway
    # an input that wants a gradient needs the weight as well, which is a parameter and costs nothing
    assert saved_bytes(lambda: layer(x.clone().requires_grad_()), layer) == 4 * 3 * 4
    # squaring keeps the output too
    assert saved_bytes(lambda: (layer(x) ** 2).sum(), layer) == 4 * 3 * 4 + 4 * 5 * 4


def test_a_storage_counts_once_and_whole() -> None:
    layer, x = nn.Linear(3, 5), torch.randn(4, 3)
    assert saved_bytes(lambda: layer(x) + layer(x[:2].repeat(2, 1)[:4]), layer) == 2 * 4 * 3 * 4
    assert saved_bytes(lambda: layer(x) + layer(x), layer) == 4 * 3 * 4
    assert saved_bytes(lambda: layer(x[:1]), layer) == 4 * 3 * 4  # a view keeps all that it looks at


def test_step_bytes_are_four_times_the_weights_and_what_is_kept() -> None:
    model, rows = Products(), batch()
    kept = saved_bytes(lambda: model(rows.source, rows.previous).sum(), model)
    positions = 2 * 5
    assert kept == positions * 8 + positions * 3 * 4  # ids of 8 bytes for the table, vectors for the product
    weights = 4 * (11 * 3 + 7 * 3 + 7)
    # the loss keeps log-probabilities (its own kind of softmax) and the mask, the gold ids, the logits' places
    assert step_bytes(model, rows) > 4 * weights + kept + positions * 7 * 4
    assert step_bytes(model, rows) == step_bytes(model, rows)


def test_flops_of_a_product_are_two_each_way() -> None:
    # forward 2 B T D V; backward as many for the weights, and as many for the vectors
    assert step_flops(Products(), batch()) == 3 * 2 * (2 * 5) * 3 * 7
    assert step_flops(Products(), batch(Sizes(2, 10))) == 3 * 2 * (2 * 10) * 3 * 7


@pytest.mark.parametrize("architecture", ["transformer", "recurrent", "convolutional"])
def test_flops_grow_with_the_batch_alone(architecture: str) -> None:
    model = untrained({"model": {"architecture": architecture}}).model
    assert step_flops(model, batch(Sizes(4))) == 2 * step_flops(model, batch(Sizes(2)))


def test_the_fused_kernel_is_counted_as_the_products_it_stands_for() -> None:
    """300 keys: the CPU's fused kernel, which torch's counter does not know."""
    model = untrained({"model": {"dropout": 0.0}}).model
    rows = batch(source=300)
    fused = step_flops(model, rows)
    for module in model.modules():
        if hasattr(module, "plain"):
            module.plain = True
    assert step_flops(model, rows) == fused


def test_lstm_is_counted() -> None:
    cells = [{"model": {"architecture": "recurrent", "cell": cell}} for cell in ("gru", "lstm")]
    gru, lstm = (step_flops(untrained(settings).model, batch()) for settings in cells)
    assert lstm > gru


def test_a_probe_is_of_the_model_that_will_be_trained() -> None:
    translator = untrained()
    found = probe(translator.recipe, translator.tokenizers, PAIRS)
    assert found.parameters == sum(parameter.numel() for parameter in translator.model.parameters())
    assert found.source_length == round((4 + 5 + 5) / 3)  # letters and the end
    assert found.step_tokens == (4 + 5 + 5) + (2 + 3 + 4)  # one batch: sources with their ends, targets with theirs
    assert found.step_seconds > 0
    assert found.step_flops > 0
    costs = build(translator.recipe.model, 30, 30).encoder.costs(found.source_length)
    assert (costs and costs.longest_path) == found.longest_path
    again = probe(translator.recipe, translator.tokenizers, PAIRS)
    assert Probe(**{**vars(found), "step_seconds": 0.0}) == Probe(**{**vars(again), "step_seconds": 0.0})


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_batch_that_is_nearly_empty_weighs_the_same_wherever_a_seed_puts_it(seed: int) -> None:
    pairs = [Pair("fox", "A B C", line) for line in range(29)]  # seven batches of four, and one alone
    translator = untrained({"data": {"tokens_per_batch": 40}, "training": {"seed": seed}})
    one = probe(translator.recipe, translator.tokenizers, pairs[:1]).step_flops
    found = probe(translator.recipe, translator.tokenizers, pairs)
    assert found.step_flops == pytest.approx(29 / 8 * one)
    assert found.step_tokens == pytest.approx(29 / 8 * 8)  # 8 tokens a pair, with their ends


def test_accumulated_batches_are_one_step() -> None:
    one, two = (
        probe(translator.recipe, translator.tokenizers, PAIRS)
        for translator in (untrained(), untrained({"training": {"accumulate": 2}}))
    )
    assert (two.step_flops, two.step_tokens) == (2 * one.step_flops, 2 * one.step_tokens)
    assert two.step_bytes == one.step_bytes


def test_flops_of_muon_are_those_of_its_five_iterations() -> None:
    translator = untrained({"training": {"optimiser": "muon"}})
    model, training = translator.model, translator.recipe.training
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    products = 0
    for matrix in hidden_matrices(model):
        narrow, wide = sorted(matrix.shape)
        products += 5 * 2 * narrow * narrow * (wide + narrow + wide)  # X X', its square, their sum times X
    assert update_flops(model, training) == products
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert update_flops(model, training.model_copy(update={"optimiser": "adamw"})) == 0
    with_muon, without = (
        probe(each.recipe, each.tokenizers, PAIRS)
        for each in (translator, untrained({"training": {"optimiser": "adamw"}}))
    )
    assert with_muon.step_flops == without.step_flops + products
