"""The census: bits in all, and copies of lattice weights found by what they hold, not by shape."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

import qcuda
from qcuda.nn.census import audit
from qcuda.nn.copies import enough
from qtheory import DST, Lattice
from qtheory.algorithms import hidden
from qtheory.optimisers import Adam

TERNARY = Lattice.ternary()
FINE = Lattice.uniform(-1.0, 0.7, 256)
LATTICES = [Lattice.binary(0.3), TERNARY, Lattice.z(3), FINE]


@pytest.fixture(autouse=True)
def _few_objects() -> Iterator[None]:
    """What was there before a test is not searched: a suite's objects would take seconds each time.

    Where tests of conversions and models ask for an audit, all of them are searched.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def drawn(layer: nn.Module, seed: int = 7) -> nn.Module:
    qcuda.nn.draw_levels(layer, seed)
    return layer


def linear(lattice: Lattice = TERNARY) -> nn.Module:
    return drawn(nn.Sequential(qcuda.nn.Linear(12, 11, lattice)))


def conv() -> nn.Module:
    return drawn(nn.Sequential(qcuda.nn.Conv2d(6, 5, 3, TERNARY)))


def test_hidden_levels_are_counted_by_what_they_show_and_their_copies_are_found():
    """A float copy of the hidden levels is one too, though nothing of it is seen."""
    own = hidden(8)
    layer = qcuda.nn.Linear(12, 11, own["lattice"], readout=own["readout"])
    model = drawn(nn.Sequential(layer))
    counts = tuple(torch.bincount(layer.weight.detach().flatten().long() + 1).tolist())
    (found,) = audit(model).layers
    assert found.counts == counts
    assert found.zeros == counts[1] / 132
    assert copies(model) == 0
    latent = torch.tensor(own["lattice"].levels, dtype=torch.float32)[layer.index]
    assert copies(model) == 1
    del latent


def copies(model: nn.Module) -> int:
    gc.collect()
    return audit(model).float_copies


def visible(model: nn.Module) -> torch.Tensor:
    return model[0].weight.detach()


HIDING = {
    "plain": lambda w: w,
    "flat": lambda w: w.flatten(),
    "transposed": lambda w: w.t().contiguous(),
    "transposed view": lambda w: w.t(),
    "float64": lambda w: w.double(),
    "float16": lambda w: w.half(),
    "bfloat16": lambda w: w.to(torch.bfloat16),
    "scaled": lambda w: w * 0.37,
    "scaled in bfloat16": lambda w: w.to(torch.bfloat16) * 0.37,
    "negative": lambda w: -w,
    "inside": lambda w: torch.cat([torch.randn(7), w.flatten(), torch.randn(9)]),
    "strided": lambda w: torch.stack([w, torch.randn_like(w)], -1)[..., 0],
    "expanded": lambda w: w.expand(3, *w.shape),
    "parameter": lambda w: nn.Parameter(w),
    "in a list": lambda w: [{"deep": [w]}],
    "in a closure": lambda w: lambda: w,
    "generator": lambda w: (x for x in [w]),
    "array": lambda w: w.numpy().copy(),
    "array, transposed": lambda w: w.numpy().T.copy(),
    "array, float64": lambda w: w.numpy().astype(np.float64),
    "array, backwards": lambda w: w.numpy().copy()[::-1, ::-1],
    "array, strided": lambda w: np.stack([w.numpy(), w.numpy() * np.pi + 1], -1)[..., 0],
    "array, other bytes": lambda w: w.numpy().astype(">f4"),
    "array, read only": lambda w: np.frombuffer(w.numpy().tobytes(), np.float32),
    "array in a tuple": lambda w: (w.numpy().copy(),),
    "array in a dictionary": lambda w: {"w": ({"x": w.numpy().copy()},)},
    "array of arrays": lambda w: np.array([w.numpy().copy(), None], dtype=object),
}


@pytest.mark.parametrize("lattice", LATTICES, ids=repr)
def test_hidden_copies_are_found_one_by_one_and_gone_when_they_are_gone(lattice: Lattice):
    model = linear(lattice)
    assert copies(model) == 0
    hidden = {how: hide(visible(model)) for how, hide in HIDING.items()}
    assert copies(model) == len(HIDING)
    hidden.clear()
    assert copies(model) == 0


def test_a_convolution_is_found_with_its_axes_in_any_order():
    model = conv()
    orders = [(0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2), (1, 0, 3, 2)]
    hidden = [visible(model).permute(axes).contiguous() for axes in orders]
    assert copies(model) == 4
    del hidden


def test_an_array_in_a_variable_of_a_waiting_thread_is_found():
    model, ready, done = linear(), threading.Event(), threading.Event()

    def hold() -> None:
        array = visible(model).numpy().copy()
        ready.set()
        done.wait()
        del array

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    ready.wait()
    assert copies(model) == 1
    done.set()
    thread.join()
    assert copies(model) == 0


def test_what_only_has_the_shape_of_a_weight_is_no_copy():
    """Convolutions of one shape, equal layers, a batch, and other numbers on the same levels."""
    torch.manual_seed(0)
    blocks = [nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)]
    model = qcuda.quantize_(nn.Sequential(*blocks))
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 16, batch_first=True), 2, enable_nested_tensor=False
    )
    qcuda.quantize_(encoder)
    batch = torch.randn(8, 8, 3, 3)
    others = [torch.randint(-1, 2, (8, 8, 3, 3)).float() for _ in range(20)]
    others += [torch.zeros(8, 8, 3, 3), torch.ones(10**5), torch.eye(300)]
    shuffled = model[0].weight.detach().flatten()[torch.randperm(8 * 8 * 9)]
    changed = model[0].weight.detach().clone()
    changed[7, 7, 2, 2] += 1
    assert model(batch).shape == batch.shape
    for found in (audit(model), audit(encoder)):
        assert found.float_copies == 0
        assert [x.float_copies for x in found.layers] == [0] * len(found.layers)
    del others, shuffled, changed


def test_weights_that_look_alike_by_chance_are_not_searched_for():
    """Three levels: 45 weights can stand in more than 2**64 orders, 44 can not."""
    assert enough((15, 15, 15))
    assert not enough((15, 14, 15))
    assert not enough((10**9, 0, 0))
    assert not enough((0, 10**9, 2))
    zero, some = qcuda.nn.Linear(20, 20, TERNARY), drawn(qcuda.nn.Linear(5, 5, TERNARY))
    zeros, planted = torch.zeros(20, 20), some.weight.detach()
    found = audit(nn.ModuleList([zero, some]))
    assert [x.float_copies for x in found.layers] == [None, None]
    assert "not searched for 2 weights too small to tell (-)" in str(found)
    del zeros, planted


def test_copies_of_several_equal_layers_are_counted_by_place():
    model = nn.Sequential(linear()[0], linear()[0])
    hidden = [visible(model), visible(model)]
    found = audit(model)
    assert [x.float_copies for x in found.layers] == [2, 2]
    assert found.float_copies == 2
    assert f"2 floating-point copies of a lattice weight in the memory of {found.searched} " in str(
        found
    )
    del hidden


def test_gradients_and_moments_are_counted_and_are_no_copies():
    """Bits in all: state, moments and gradient while it lives."""
    model = linear()
    optimizer = qcuda.LatticeOptimizer(
        model.parameters(), DST(TERNARY), base=Adam(0.0), moments="bfloat16"
    )
    (0.5 * model[0].weight.square()).sum().backward()  # a gradient that is the weight
    optimizer.step()
    first = audit(model, optimizer)
    bits = first.layers[0]
    assert (bits.weight_bits, bits.moment_bits, bits.gradient_bits) == (2.0, 32.0, 32.0)
    assert bits.total_bits == first.total_bits == 66.0
    assert "132 lattice weights at 2.00 bits, 66.00 bits in all" in str(first)
    assert "no floating-point copy of a lattice weight in the memory of" in str(first)
    assert first.to_dict()["layers"][0]["total_bits"] == 66.0
    optimizer.zero_grad()
    assert audit(model, optimizer).total_bits == 34.0
    assert audit(model).total_bits == 2.0
