"""Writing to a visible weight is refused; what is computed from it is an ordinary tensor."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import qcuda
from qtheory import Lattice

TERNARY = Lattice.ternary(0.3)


WRITES = {
    "assigned": lambda layer: setattr(layer, "weight", torch.zeros(2, 3)),
    "a parameter": lambda layer: setattr(layer, "weight", nn.Parameter(torch.zeros(2, 3))),
    "data": lambda layer: setattr(layer.weight, "data", torch.zeros(2, 3)),
    "copied": lambda layer: layer.weight.copy_(torch.zeros(2, 3)),
    "without gradients": lambda layer: torch.no_grad()(layer.weight.zero_)(),
    "an element": lambda layer: layer.weight.__setitem__((0, 0), 1.0),
    "multiplied": lambda layer: layer.weight.__imul__(2),
    "xavier": lambda layer: nn.init.xavier_uniform_(layer.weight),
    "normal": lambda layer: nn.init.normal_(layer.weight),
    "zeros": lambda layer: nn.init.zeros_(layer.weight),
    "in data": lambda layer: layer.weight.data.zero_(),
}


@pytest.mark.parametrize("name", WRITES)
def test_writing_to_a_weight_is_refused(name):
    layer = qcuda.nn.Linear(3, 2, TERNARY)
    layer.draw_levels(0, 0)
    before = layer.state.clone()
    with pytest.raises(ValueError, match=r"read from its layer's indices, got a write: set_index"):
        WRITES[name](layer)
    assert torch.equal(layer.state, before)


def test_what_is_computed_from_a_weight_is_an_ordinary_tensor():
    layer = qcuda.nn.Linear(3, 2, TERNARY)
    for made in (layer.weight * 2, layer.weight.detach(), layer.weight.clone(), layer.weight.T):
        assert type(made) is torch.Tensor
    layer.weight.detach().clone().zero_()
    compiled = torch.compile(lambda w: w.square().sum(), fullgraph=True, backend="eager")
    assert compiled(layer.weight) == layer.weight.square().sum()
