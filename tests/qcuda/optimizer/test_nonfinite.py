"""Gradients with infinities and NaN: counted, skipped or refused, and never silent."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import qcuda
from qcuda.errors import InputError
from qcuda.step import groups
from qtheory import DST, Lattice
from qtheory.optimisers import SGD, Adam, Momentum

TERNARY = Lattice.ternary()
NAN, INF = float("nan"), float("inf")
BASES = [SGD(0.4), Momentum(0.4), Adam(0.4)]
by_base = pytest.mark.parametrize("base", BASES, ids=lambda b: type(b).__name__)
by_value = pytest.mark.parametrize("value", [NAN, INF, -INF])


def pair(base, **options):
    """A lattice layer, a real parameter and their optimiser."""
    layer = qcuda.nn.Linear(40, 5, TERNARY, bias=False)
    layer.draw_levels(1, 0)
    real = nn.Parameter(torch.ones(3))
    optimizer = qcuda.LatticeOptimizer(
        [layer.slot, real], DST(TERNARY), base=base, seed=2, **options
    )
    return layer, real, optimizer


def gradients(layer, real, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer.slot.grad = torch.randn(5, 40, generator=generator)
    real.grad = torch.randn(3, generator=generator)


def everything(layer, real, optimizer) -> list:
    state = [(k, v.tolist()) for s in optimizer.state.values() for k, v in s.items()]
    iteration = int(optimizer.param_groups[0]["iteration"])
    return [layer.state.tolist(), real.tolist(), state, iteration]


@by_base
@by_value
def test_by_default_a_weight_stays_is_counted_and_trains_on(base, value):
    """One bad gradient costs its weight one iteration, and a warning comes once."""
    layer, real, optimizer = pair(base)
    gradients(layer, real, 1)
    optimizer.step()
    gradients(layer, real, 2)
    layer.slot.grad[2] = value
    before = layer.index[2].clone()
    kept = {k: v[2].clone() for k, v in optimizer.state[layer.slot].items()}
    with pytest.warns(RuntimeWarning, match="40 increments of lattice weights were not numbers"):
        optimizer.step()
    assert torch.equal(layer.index[2], before)
    assert all(torch.equal(optimizer.state[layer.slot][k][2], v) for k, v in kept.items())
    assert optimizer.nan.tolist() == [40]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(3, 9):
            gradients(layer, real, seed)
            optimizer.step()
    assert (layer.index[2] != before).any()
    assert real.isfinite().all()


@by_base
def test_by_default_a_real_parameter_takes_what_the_base_makes_of_it(base):
    layer, real, optimizer = pair(base)
    gradients(layer, real, 1)
    real.grad[1] = NAN
    optimizer.step()
    assert real.isfinite().tolist() == [True, False, True]
    assert optimizer.nan.tolist() == [0]


@by_base
@by_value
@pytest.mark.parametrize("where", ["lattice", "real"])
def test_skip_changes_nothing_and_counts(base, value, where):
    layer, real, optimizer = pair(base, nonfinite="skip")
    twin, other, plain = pair(base, nonfinite="skip")
    for each in ((layer, real), (twin, other)):
        gradients(*each, 1)
    optimizer.step()
    plain.step()
    before = everything(layer, real, optimizer)
    gradients(layer, real, 2)
    (layer.slot.grad if where == "lattice" else real.grad).view(-1)[1] = value
    optimizer.step()
    assert everything(layer, real, optimizer) == before
    assert (optimizer.skipped, optimizer.nan.tolist()) == (1, [0])
    for each, one in (((layer, real), optimizer), ((twin, other), plain)):
        gradients(*each, 3)
        one.step()
    assert everything(layer, real, optimizer) == everything(twin, other, plain)


@by_base
@pytest.mark.parametrize("where", ["lattice", "real"])
def test_raise_names_the_parameter_and_changes_nothing(base, where):
    layer = qcuda.nn.Linear(4, 5, TERNARY, bias=True)
    optimizer = qcuda.LatticeOptimizer(
        layer.named_parameters(), DST(TERNARY), base=base, nonfinite="raise", seed=0
    )
    for p in layer.parameters():
        p.grad = torch.ones_like(p) if p is layer.bias else torch.ones(5, 4)
    (layer.slot if where == "lattice" else layer.bias).grad[1] = INF
    before = (layer.state.tolist(), layer.bias.tolist())
    name = "slot" if where == "lattice" else "bias"
    with pytest.raises(InputError, match=rf"nonfinite='raise', got others in {name}$"):
        optimizer.step()
    assert (layer.state.tolist(), layer.bias.tolist()) == before
    assert int(optimizer.param_groups[0]["iteration"]) == 0
    assert optimizer.state == {}


def test_a_mode_is_one_of_three():
    with pytest.raises(ValueError, match="nonfinite is one of count, skip, raise, got 'ignore'"):
        pair(SGD(0.1), nonfinite="ignore")


def pretend_a_device(monkeypatch) -> None:
    """As on a GPU, whose memory the host does not read: all decisions are made by kernels."""
    for module in ("qcuda.optimizer", "qcuda.step.clock", "qcuda.step.reals"):
        monkeypatch.setattr(f"{module}.on_host", lambda device: False)
    assert groups.on_host(torch.device("cpu"))


@pytest.fixture
def on_a_device(monkeypatch):
    pretend_a_device(monkeypatch)


@by_base
@by_value
def test_on_a_device_a_skipped_step_changes_nothing_either(base, value, on_a_device):
    """Scalars become NaN there, by which neither moments nor weights change; counts stay."""
    layer, real, optimizer = pair(base, nonfinite="skip")
    twin, other, plain = pair(base, nonfinite="skip")
    for seed, bad in ((1, False), (2, True), (3, False), (4, True), (5, False)):
        gradients(layer, real, seed)
        if bad:
            layer.slot.grad[0, 0] = value
        optimizer.step()
        if not bad:
            gradients(twin, other, seed)
            plain.step()
        assert everything(layer, real, optimizer) == everything(twin, other, plain)
    assert optimizer.skipped == 2
    assert optimizer.moved.tolist() == plain.moved.tolist()
    assert optimizer.nan.tolist() == [0]


@by_base
def test_grad_scalers_notes_are_read(base, on_a_device):
    """Its contract on a GPU: `grad_scale` is still in the gradients, `found_inf` says to skip.

    It counts the devices that found one, while torch's fused kernels skip at 1 alone.
    """
    layer, real, optimizer = pair(base)
    twin, other, plain = pair(base)
    for seed, found in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 2.0)):
        gradients(layer, real, seed)
        for p in (layer.slot, real):
            p.grad *= 2.0**10
        optimizer.grad_scale = torch.tensor(2.0**10)
        optimizer.found_inf = torch.tensor([found])
        optimizer.step()
        del optimizer.grad_scale, optimizer.found_inf
        if not found:
            gradients(twin, other, seed)
            plain.step()
        assert everything(layer, real, optimizer) == everything(twin, other, plain)
    assert optimizer.skipped == 2
    assert int(optimizer.param_groups[0]["iteration"]) == 2
