"""From the stored order to the weight's and back: every size, against torch's own permutation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import qcuda
from qcuda.kernels import native
from qcuda.kernels import order as module
from qcuda.kernels import storage as stored
from qcuda.kernels.decoding import decode
from qcuda.kernels.order import as_stored, as_weight, in_stored_order, stored_shape
from qtheory import Lattice

# Places: one, below, at and above the eight that are turned at a time; two strips; many. Channels:
# below, at and above strips of 16 and 64. Filters that do not end with a byte of trits.
SHAPES = [
    (3, 2, 2, 1), (5, 3, 1, 7), (3, 15, 2, 4), (3, 16, 3, 3), (7, 17, 3, 3), (2, 63, 4, 4),
    (3, 65, 1, 17), (2, 131, 5, 13), (1, 130, 8, 8), (2, 3, 16, 16), (1, 2, 65, 65),
    (2, 70, 2, 3, 4), (600, 67, 3, 3),
]  # fmt: skip
LATTICES = [Lattice.ternary(0.5), Lattice.uniform(-1.0, 0.5, 200)]


def kernel_of(monkeypatch) -> list[int]:
    """The calls of our kernel from now on: bytes of an element."""
    calls, library = [], native.library()

    class Watched:
        def qt_stored(self, *arguments):
            calls.append(arguments[2])
            return library.qt_stored(*arguments)

    monkeypatch.setattr(module.native, "library", Watched)
    return calls


@pytest.mark.parametrize("lattice", LATTICES, ids=["trits", "int8"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_contiguous_weight_is_the_stored_one_permuted(lattice, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    for shape in SHAPES:
        g = torch.Generator().manual_seed(math.prod(shape))
        index = torch.randint(0, lattice.size, stored_shape(shape), generator=g)
        storage = stored.storage_for(lattice)
        levels = torch.tensor(lattice.levels, dtype=torch.float32)
        for dtype in (torch.float32, torch.bfloat16):
            found = decode(
                stored.encode(index, lattice, storage), levels, torch.tensor(1.0), shape,
                int(storage), dtype, False,
            )  # fmt: skip
            assert torch.equal(found, as_weight(levels[index]).to(dtype)), shape
            assert found.is_contiguous()
    torch.set_num_threads(before)


@pytest.mark.parametrize("lattice", LATTICES, ids=["trits", "int8"])
def test_one_code_off_the_lattice_is_told_wherever_it_is(lattice):
    shape = (3, 17, 3, 3)
    storage = stored.storage_for(lattice)
    index = torch.zeros(stored_shape(shape), dtype=torch.int64)
    levels = torch.tensor(lattice.levels, dtype=torch.float32)
    for place in range(0, math.prod(shape), 13):
        state = stored.encode(index, lattice, storage)
        if lattice.size == 3:
            state[place // 4] ^= 1 << 2 * (place % 4)  # 11 becomes 10
        else:
            state[place] = 100
        with pytest.raises(ValueError, match="got 1 of 459 that are not"):
            decode(state, levels, torch.tensor(1.0), shape, int(storage), torch.float32, False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("to", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_a_gradient_in_stored_order_is_the_gradient_permuted(dtype, to, monkeypatch):
    calls = kernel_of(monkeypatch)
    for shape in SHAPES:
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        found = in_stored_order(gradient, to)
        assert torch.equal(found, as_stored(gradient).to(to)), shape
        assert found.is_contiguous() and found.shape == stored_shape(shape)
    assert calls == [to.itemsize] * len(SHAPES)


@torch.no_grad()
def test_what_our_kernel_does_not_take_is_for_torch(monkeypatch):
    """Other layouts, one place, one channel, two dimensions, and what is no plain number."""
    calls = kernel_of(monkeypatch)
    x = torch.randn(4, 6, 3, 3)
    last = x.contiguous(memory_format=torch.channels_last)
    for gradient in (last, x.transpose(0, 1), x[..., :1, :1], x[:, :1], x[0, 0], x.to("meta")):
        found = in_stored_order(gradient, torch.float32)
        assert found.is_contiguous() and found.shape == stored_shape(gradient.shape)
        if not found.is_meta:
            assert torch.equal(found, as_stored(gradient))
    assert in_stored_order(last, torch.float32).data_ptr() == last.data_ptr()  # nothing is copied
    batched = torch.func.vmap(lambda v: in_stored_order(v, torch.float32))(x[None])
    assert torch.equal(batched[0], as_stored(x))
    assert calls == []
    assert torch.equal(in_stored_order(x, torch.float32), as_stored(x)) and calls == [4]


def test_a_slot_has_the_gradient_of_a_plain_convolution():
    layer = qcuda.nn.Conv2d(17, 5, 3, LATTICES[0])
    layer.draw_levels(1, 0)
    twin = nn.Conv2d(17, 5, 3, bias=False)
    twin.weight.data = layer.weight.detach().clone()
    x = torch.randn(2, 17, 6, 6, generator=torch.Generator().manual_seed(0))
    for each in (layer, twin):
        each(x).square().sum().backward()
    assert torch.equal(layer.slot.grad, as_stored(twin.weight.grad))


def test_second_derivatives_and_batches_of_gradients_go_through():
    layer = qcuda.nn.Conv2d(3, 2, 3, LATTICES[0], scale=0.5)
    layer.draw_levels(1, 0)
    g = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
    g.requires_grad_()
    (slope,) = torch.autograd.grad(layer.weight, layer.slot, g, create_graph=True)
    (back,) = torch.autograd.grad(slope.square().sum(), g)
    assert torch.equal(back, 2 * 0.25 * g)
    batch = torch.stack([g.detach(), 2 * g.detach()])
    (slopes,) = torch.autograd.grad(layer.weight, layer.slot, batch, is_grads_batched=True)
    assert torch.equal(slopes, torch.stack([as_stored(0.5 * each) for each in batch]))
