"""A step on a GPU, without one: what it asks of the device, and what a compiler makes of it.

Tensors on `meta` stand for a GPU's: the host can read none of them, and a dispatch log shows every
copy. The kernels themselves run in tests/gpu, captured and replayed.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import qcuda
from qtheory import DST, Lattice
from qtheory.optimisers import SGD, Adam, Momentum

TERNARY = Lattice.ternary()
BASES = [SGD(0.4), Momentum(0.4), Adam(0.4)]
by_base = pytest.mark.parametrize("base", BASES, ids=lambda b: type(b).__name__)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        qcuda.nn.Linear(6, 5, TERNARY, bias=True),
        nn.BatchNorm1d(5),
        qcuda.nn.Linear(5, 3, Lattice.ternary(), bias=True),
    )
    qcuda.nn.draw_levels(model, 0)
    return model


class Log(TorchDispatchMode):
    """Operations, and whether one reads a device or copies between host and device."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.waits: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        if "_local_scalar_dense" in name and args[0].device.type == "meta":
            self.waits.append(name)
        # torch's fused kernels change tensors in place, and have none for `meta`.
        out = None if "aten._fused_" in name else func(*args, **(kwargs or {}))
        self.names.append(name)
        flat = torch.utils._pytree.tree_leaves([args, kwargs, out])
        devices = {x.device.type for x in flat if isinstance(x, torch.Tensor) and x.ndim}
        if devices == {"cpu", "meta"}:
            self.waits.append(name)
        return out


@by_base
@pytest.mark.parametrize("nonfinite", ["count", "skip"])
def test_a_step_waits_for_nothing(base, nonfinite):
    """The first step, which makes moments, a later one, and one with another learning rate."""
    model = network().to("meta")
    optimizer = qcuda.LatticeOptimizer(
        model.parameters(), DST(TERNARY), base=base, seed=0, nonfinite=nonfinite
    )
    for p in model.parameters():
        p.grad = torch.zeros(p.shape, device="meta")
    for rate in (0.4, 0.4, 0.1):
        optimizer.param_groups[0]["lr"] = rate
        with Log() as log:
            optimizer.step()
        assert log.waits == []
        assert log.names.count("qtheory.scalars_.default") == 1
        assert log.names.count("qtheory.step_.default") == 1
    assert optimizer.param_groups[0]["iteration"].device.type == "meta"


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("capturable", [None, False, True])
def test_capturable_is_taken_as_torchs_optimisers_take_it(capturable, device):
    """A step on a GPU can always be captured; one on the CPU can not, which is said before it."""
    model = network().to(device)
    optimizer = qcuda.LatticeOptimizer(
        model.parameters(), DST(TERNARY), base=SGD(0.4), seed=0, capturable=capturable
    )
    for p in model.parameters():
        p.grad = torch.ones(p.shape, device=device)
    if capturable and device == "cpu":
        before = [p.tolist() for p in model.buffers()]
        with pytest.raises(ValueError, match=r"capturable=True is for .* a GPU, got one on cpu"):
            optimizer.step()
        assert [p.tolist() for p in model.buffers()] == before
        assert int(optimizer.param_groups[0]["iteration"]) == 0
        lone = qcuda.LatticeOptimizer([model[1].weight], DST(TERNARY), capturable=True)
        with pytest.raises(ValueError, match="got one on cpu"):
            lone.step()
    else:
        with Log():
            optimizer.step()
        assert optimizer.param_groups[0]["iteration"].device.type == device


def test_capturable_is_no_groups():
    group = {"params": network().parameters(), "capturable": True}
    with pytest.raises(ValueError, match=r"an optimiser's options .* got \['capturable'\]"):
        qcuda.LatticeOptimizer([group], DST(TERNARY), base=SGD(0.4))


def test_the_log_sees_a_copy_and_a_read():
    with Log() as log:
        torch.ones(3).to("meta")
    assert log.waits != []
    with Log() as log, pytest.raises(RuntimeError):
        torch.ones((), device="meta").item()
    assert log.waits != []


@by_base
def test_the_same_numbers_are_sent_once(base, monkeypatch):
    """Only what has changed is told to the device; a rate in its memory is copied there."""
    model = network()
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=base, seed=0)
    for rate, fills in ((0.4, True), (0.4, False), (0.1, True), (0.1, False)):
        optimizer.param_groups[0]["lr"] = rate
        with Log() as log:
            optimizer.send_numbers()
        assert ("aten.fill_.Scalar" in log.names) == fills
        assert float(optimizer._clocks[0].numbers[0]) == rate


def train(model, optimizer, x) -> torch.Tensor:
    optimizer.zero_grad()
    loss = model(x).square().sum()
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("what", ["step", "training step"])
def test_a_compiled_step_is_the_eager_one_and_counts(what):
    torch._dynamo.reset()
    runs = []
    for compiled in (True, False):
        model = network()
        optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=Adam(0.2), seed=0)
        each = train
        if compiled and what == "step":
            optimizer.step = torch.compile(optimizer.step, backend="eager")
        elif compiled:
            each = torch.compile(train, backend="eager")
        for k in range(4):
            each(model, optimizer, torch.randn(8, 6, generator=torch.Generator().manual_seed(k)))
        assert int(optimizer.param_groups[0]["iteration"]) == 4
        runs.append([layer.state.tolist() for layer in qcuda.nn.lattice_layers(model).values()])
    assert runs[0] == runs[1]


def test_a_step_in_one_graph_says_that_there_is_none():
    """A step checks its input, which no graph does: `fullgraph=True` is for the model."""
    torch._dynamo.reset()
    model = network()
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), seed=0)
    for p in model.parameters():
        p.grad = torch.zeros(p.shape)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"LatticeOptimizer\.step"):
        torch.compile(optimizer.step, backend="eager", fullgraph=True)()
    assert int(optimizer.param_groups[0]["iteration"]) == 0
