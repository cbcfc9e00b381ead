"""Ordinary parameters: which of torch's kernels train them, in any layout and type of numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import qcuda
from qtheory import DST, Lattice
from qtheory.optimisers import SGD, Adam, Momentum

BASES = [SGD(0.4), Momentum(0.4), Adam(0.4)]
by_base = pytest.mark.parametrize("base", BASES, ids=lambda b: type(b).__name__)
by_fused = pytest.mark.parametrize("fused", [None, True, False])
SHAPE = (2, 6, 4, 4)


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def with_gaps(x):
    return torch.stack([x, x], -1)[..., 0]


LAYOUTS = {"contiguous": torch.clone, "channels_last": channels_last, "with gaps": with_gaps}


def numbers(seed: int, dtype=torch.float32):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)).to(dtype)


def mine(base, param, **options):
    return qcuda.LatticeOptimizer([param], DST(Lattice.ternary()), base=base, seed=0, **options)


def torchs(base, param, **which):
    if isinstance(base, Adam):
        return torch.optim.Adam([param], base.learning_rate, betas=base.betas, **which)
    return torch.optim.SGD(
        [param], base.learning_rate, momentum=getattr(base, "momentum", 0.0), **which
    )


def trained(param, optimizer, gradient=torch.clone, steps=range(1, 4)):
    for seed in steps:
        param.grad = gradient(numbers(seed, param.dtype))
        optimizer.step()
    return param.detach()


@by_base
@by_fused
@pytest.mark.parametrize("of_parameter", LAYOUTS)
@pytest.mark.parametrize("of_gradient", LAYOUTS)
def test_a_layout_changes_no_number(base, fused, of_parameter, of_gradient):
    """torch's fused kernels take elements as they lie; parameters with gaps are not for them."""
    param, other = nn.Parameter(LAYOUTS[of_parameter](numbers(0))), nn.Parameter(numbers(0))
    found = trained(param, mine(base, param, fused=fused), LAYOUTS[of_gradient])
    gaps = of_parameter == "with gaps"
    which = {"foreach": True} if fused is False or gaps else {"fused": True}
    assert torch.equal(found, trained(other, torchs(base, other, **which)))
    assert found.stride() == LAYOUTS[of_parameter](numbers(0)).stride()


@by_base
def test_a_gradient_of_one_number_is_read_as_many(base):
    """As of a sum; a fused kernel would read what lies behind it."""
    param, other = nn.Parameter(numbers(0)), nn.Parameter(numbers(0))
    ones = trained(param, mine(base, param), lambda g: torch.ones(()).expand(SHAPE))
    assert torch.equal(ones, trained(other, torchs(base, other, fused=True), torch.ones_like))


@pytest.mark.parametrize("base", BASES[1:], ids=lambda b: type(b).__name__)
def test_a_layout_may_change_between_steps(base):
    """Moments follow the parameter, which `model.to(memory_format=...)` has turned."""
    param, other = nn.Parameter(numbers(0)), nn.Parameter(numbers(0))
    optimizer, plain = mine(base, param), mine(base, other)
    trained(param, optimizer), trained(other, plain)
    param.data = channels_last(param.data)
    later = trained(param, optimizer, channels_last, range(4, 7))
    assert torch.equal(later, trained(other, plain, steps=range(4, 7)))
    assert optimizer.state[param]["first"].stride() == param.stride()


@by_base
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_on_the_cpu_is_for_the_foreach_functions(base, dtype):
    """torch's fused SGD leaves whole vectors of these numbers as they are, up to torch 2.13."""
    param, other = nn.Parameter(numbers(0, dtype)), nn.Parameter(numbers(0, dtype))
    found = trained(param, mine(base, param), torch.ones_like)
    theirs = trained(other, torchs(base, other, foreach=True), torch.ones_like)
    assert torch.equal(found, theirs)
    assert (found != numbers(0, dtype)).all()


@by_base
@by_fused
def test_reals_on_the_host_skip_what_a_device_has_found(base, fused, monkeypatch):
    """Slots on a GPU, all else on the CPU: what was found there holds here too."""
    monkeypatch.setattr("qcuda.optimizer.on_host", lambda device: False)
    param = nn.Parameter(numbers(0))
    optimizer = mine(base, param, fused=fused, nonfinite="skip")
    trained(param, optimizer)
    before = [param.clone(), *(v.clone() for v in optimizer.state[param].values())]
    param.grad = numbers(4)
    param.grad[0, 0, 0, 0] = float("inf")
    optimizer.step()
    after = [param, *optimizer.state[param].values()]
    assert all(map(torch.equal, before, after))
    assert optimizer.skipped == 1


@pytest.mark.parametrize("base", BASES[:2], ids=lambda b: type(b).__name__)
def test_the_foreach_functions_skip_on_a_device_too(base, monkeypatch):
    """They can not be told what was found: the step waits for it. (Adam's need a real GPU.)"""
    for module in ("qcuda.optimizer", "qcuda.step.clock", "qcuda.step.reals"):
        monkeypatch.setattr(f"{module}.on_host", lambda device: False)
    param = nn.Parameter(numbers(0))
    optimizer = mine(base, param, fused=False, nonfinite="skip")
    trained(param, optimizer)
    before = param.detach().clone()
    param.grad = torch.full(SHAPE, float("nan"))
    optimizer.step()
    assert torch.equal(param, before)
    assert not torch.equal(trained(param, optimizer), before)
