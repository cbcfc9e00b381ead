"""Batch norm and a stair: the GPU kernels, emulated, against the CPU library, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from activation_cases import both
from torch import nn

from qcuda.kernels import batch_norm as kernels
from qcuda.kernels.gpu import batch_norm as gpu
from qcuda.nn import BatchStair, MultiStep
from qcuda.nn.stairs import odd_stair

# Short planes and long ones, of several pieces, few columns and many, odd lengths; channels_last.
SHAPES = (
    (5, 3, 8, 9),
    (2, 3, 70, 67),
    (1, 2, 97, 89),
    (70, 7),
    (150, 5, 3, 1),
    (3, 300, 2, 1),
    (9000, 3),
)


@pytest.fixture
def emulated(launcher, monkeypatch):
    """Operators find the emulated device where a tensor is on the CPU, if asked to."""
    found = {"on": False}
    monkeypatch.setattr(
        kernels, "_kernels", lambda _: gpu.Kernels(launcher, 0) if found["on"] else None
    )

    def on(device: bool) -> None:
        found["on"] = device

    return on


def drawn(shape, dtype, layout, seed):
    generator = torch.Generator().manual_seed(seed)
    x = (
        torch.randn(shape, generator=generator) * 2
        + torch.arange(shape[1]).reshape(1, -1, *(1 for _ in shape[2:])) % 3
    )
    x = x.to(dtype)
    return x.to(memory_format=torch.channels_last) if layout == "wide" else x


def passes(module, x, gradient):
    x = x.detach().requires_grad_()
    out = module(x)
    out.backward(gradient)
    parameters = [p.grad for p in module.parameters()]
    return [out.detach(), x.grad, *parameters, *(b.clone() for b in module.norm.buffers())]


@pytest.mark.parametrize("dtype", kernels.TYPES, ids=str)
@pytest.mark.parametrize("layout", ["planes", "wide"])
@pytest.mark.parametrize(
    ("order", "window"), [(1, "rectangular"), (0, "rectangular"), (2, "triangular")]
)
def test_kernels_agree_with_the_cpu(dtype, layout, order, window, emulated):
    """Levels, slopes, gradients of parameters and running numbers, in training and evaluation."""
    for number, shape in enumerate(SHAPES if order == 1 else SHAPES[:4]):
        if layout == "wide" and len(shape) < 4:
            continue
        kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
        norm = kind(shape[1], momentum=None if number % 2 else 0.25)
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(-1.5, 1.25, shape[1]))
            norm.bias.copy_(torch.linspace(0.5, -0.5, shape[1]))
        module = BatchStair(norm, MultiStep(order, half_width=0.6, window=window))
        x, gradient = (drawn(shape, dtype, layout, seed) for seed in (1, 2))
        for training in (True, False):
            found = []
            for device in (False, True):
                emulated(device)
                found.append(passes(copy.deepcopy(module).train(training), x, gradient))
            assert all(map(torch.equal, *found)), (shape, training)
            assert len(found[0][0].unique()) == (2 * order + 1 if order else 2)
            assert found[0][1].abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_of_the_norm_and_no_parameters(dtype, emulated):
    x, gradient = drawn((6, 5, 9, 3), dtype, "planes", 1), drawn((6, 5, 9, 3), dtype, "planes", 2)
    for module in (
        BatchStair(nn.BatchNorm2d(5), MultiStep()).to(dtype),
        BatchStair(nn.BatchNorm2d(5, affine=False, track_running_stats=False), MultiStep()),
    ):
        found = []
        for device in (False, True):
            emulated(device)
            found.append(passes(copy.deepcopy(module), x, gradient))
        assert all(map(torch.equal, *found))


def test_an_address_of_no_vector(emulated):
    """A slice that begins two bytes after a multiple of 16 is read a number at a time."""
    room = torch.randn(6 * 5 * 27 + 1).bfloat16()
    x = room[1:].view(6, 5, 9, 3)
    module = BatchStair(nn.BatchNorm2d(5), MultiStep())
    found = []
    for device in (False, True):
        emulated(device)
        found.append(both(copy.deepcopy(module), x, x.flip(0)))
    assert x.data_ptr() % 16 == 2 and all(map(torch.equal, *found))


@pytest.mark.parametrize("layout", ["planes", "wide"])
def test_partial_sums_fill_their_room(layout, emulated, monkeypatch):
    """As many as `partial_numbers` says, whose rules are those of the header, and none behind."""
    emulated(True)
    for shape in SHAPES:
        if layout == "wide" and len(shape) < 4:
            continue
        x = drawn(shape, torch.float32, layout, 1)
        count = gpu.partial_numbers(kernels._as_it_lies(x)[1])
        room = torch.full((count + 64,), torch.nan, dtype=torch.float64)
        monkeypatch.setattr(kernels, "_partial", lambda x, batch, room=room: room)
        torch.ops.qtheory.batch_measure(x, None, None, None, 0.0, 0.0)
        assert room[:count].isfinite().all() and room[count:].isnan().all()


def test_a_captured_pass_counts_batches_when_it_is_replayed(launcher, machine, monkeypatch):
    """Nothing is read on the host: three replays move running numbers as three passes do."""
    x = drawn((5, 3, 8, 9), torch.float32, "planes", 1)
    norms = [nn.BatchNorm2d(3, momentum=None) for _ in range(2)]
    call = torch.ops.qtheory.batch_measure

    def measure(norm):
        numbers = norm.running_mean, norm.running_var, norm.num_batches_tracked
        return call(x, *numbers, None, norm.eps)

    def capture(stream):
        monkeypatch.setattr(kernels, "_kernels", lambda _: gpu.Kernels(launcher, stream))
        kept.append(measure(norms[0]))

    kept = []
    monkeypatch.setattr(kernels, "_partial", lambda x, batch: room)
    room = torch.empty(gpu.partial_numbers(kernels._as_it_lies(x)[1]), dtype=torch.float64)
    replay = machine.capture(capture)
    monkeypatch.setattr(kernels, "_kernels", lambda _: None)
    for count in (1, 2, 3):
        replay()
        wanted = measure(norms[1])
        assert norms[0].num_batches_tracked == norms[1].num_batches_tracked == count
        assert torch.equal(norms[0].running_var, norms[1].running_var)
        assert all(map(torch.equal, kept[0], wanted))


def test_levels_are_those_of_the_stair(emulated):
    """Against the stair itself, at statistics that change nothing: ties, zeros and NaN."""
    x = torch.tensor([0.5, -0.5, 1.0, 0.0, -0.0, 1e-40, float("inf"), -0.75, 0.25]).repeat(3, 1)
    module, statistics = MultiStep(2), torch.tensor([[0.0], [1.0]]).repeat(1, 9)
    stair = module.stair
    emulated(True)
    z = torch.ops.qtheory.batch_stair(
        x, statistics, None, None, stair.thresholds, stair.levels, True, False
    )
    wanted = odd_stair(x, module.scale, stair, "uniform")
    assert torch.equal(z, wanted) and torch.equal(z.signbit(), wanted.signbit())
