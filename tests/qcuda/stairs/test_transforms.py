"""Noisy stairs under torch.func, and derivatives that there are not."""

from __future__ import annotations

import pytest
import torch

from qcuda.nn import NoisyStair, number_stairs
from qcuda.nn.stairs import FAMILIES, FORWARDS
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair

UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.3, 0.5))
families = pytest.mark.parametrize("family", FAMILIES)
forwards = pytest.mark.parametrize("forward", FORWARDS)


def layer(forward):
    made = NoisyStair(Stair.nearest(Lattice.ternary()), forward=forward)
    number_stairs(made, 7)
    return made


@forwards
def test_slopes_of_slopes_are_refused(forward):
    x, w = torch.zeros(3, requires_grad=True), torch.ones(3, requires_grad=True)
    (slope,) = torch.autograd.grad((w * layer(forward)(x)).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once, got a second derivative"):
        slope.sum().backward()


@forwards
@families
def test_torch_func(forward, family):
    """Gradients of examples, for the input and for a scale that is learned; draws are those of the
    whole batch, whose first axis is mapped."""
    module = NoisyStair(UNEVEN, family=family, scale=0.4, forward=forward, learned=True)
    number_stairs(module, 7)
    x = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(1))
    numbers = dict(module.named_parameters())

    def loss(numbers, v):
        return torch.func.functional_call(module, numbers, (v,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss, argnums=(0, 1)), in_dims=(None, 0))
    scales, inputs = each(numbers, x)
    leaf = x.clone().requires_grad_()
    loss(numbers, leaf).backward()
    assert torch.equal(inputs, leaf.grad)
    total = scales["scale"].sum()
    assert abs(total - module.scale.grad) <= 1e-12 * (1 + abs(total))  # sums of 90 in float64
    if forward != "hard":
        twice = torch.func.grad(lambda v: torch.func.grad(loss, argnums=1)(numbers, v).sum())
        with pytest.raises(RuntimeError, match="got a second derivative"):
            twice(x)
