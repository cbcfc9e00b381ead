"""Gradient slots: every use of their values is refused; what tools need of a parameter works."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim.swa_utils import AveragedModel

import qcuda
from qcuda.nn.slot import GradientSlot
from qtheory import DST, Lattice
from qtheory.optimisers import SGD

TERNARY = Lattice.ternary()


def network() -> nn.Sequential:
    model = nn.Sequential(qcuda.nn.Conv2d(3, 4, 3, TERNARY), nn.Flatten(), nn.Linear(4, 2))
    qcuda.nn.draw_levels(model, 0)
    model(torch.ones(1, 3, 3, 3)).sum().backward()
    return model


def slot() -> GradientSlot:
    return network()[0].slot


def averaged() -> None:
    model = network()
    AveragedModel(model).update_parameters(model)


def ema() -> None:
    model, twin = network(), network()
    for a, b in zip(twin.parameters(), model.parameters(), strict=True):
        a.data.mul_(0.9).add_(b.data, alpha=0.1)


VALUES = {
    "norm of a method": lambda: slot().norm(),
    "norm": lambda: torch.norm(slot()),
    "linalg": lambda: torch.linalg.vector_norm(slot()),
    "sum": lambda: torch.stack([p.sum() for p in network().parameters()]),
    "stack": lambda: torch.stack([slot(), slot()]),
    "foreach": lambda: torch._foreach_norm([slot()]),
    "penalty": lambda: sum((p**2).sum() for p in network().parameters()),
    "l1": lambda: sum(p.abs().sum() for p in network().parameters()),
    "vector": lambda: parameters_to_vector(network().parameters()),
    "to a vector": lambda: vector_to_parameters(torch.zeros(118), network().parameters()),
    "average": averaged,
    "moving average": ema,
    "clone": lambda: slot().detach().clone(),
    "numpy": lambda: slot().numpy(),
    "list": lambda: slot().tolist(),
    "data": lambda: slot().data,
    "set data": lambda: setattr(slot(), "data", torch.zeros(4, 3, 3, 3)),
    "written": lambda: torch.no_grad()(slot().copy_)(torch.zeros(4, 3, 3, 3)),
    "drawn": lambda: nn.init.normal_(slot()),
    "functional": lambda: nn.functional.linear(torch.ones(1, 3), slot()),
    "operator": lambda: slot() + 1,
    "reversed operator": lambda: torch.ones(1) * slot(),
    "comparison": lambda: bool((slot() == 0).any()),
    "index": lambda: slot()[0],
    "isnan": lambda: torch.isnan(slot()).any(),
    "distributed": lambda: torch._C._nn.flatten_dense_tensors([slot()]),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_of_a_slot_are_refused(name):
    with pytest.raises(ValueError, match=r"a gradient and no values, got '\w+': .*layer\.weight"):
        VALUES[name]()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
        lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.1),
        lambda p: torch.optim.AdamW(p, 0.1, foreach=True),
        lambda p: torch.optim.RMSprop(p, 0.1),
    ],
)
def test_another_optimiser_is_told_whose_work_it_is(make):
    model = network()
    with pytest.raises(ValueError, match=r"moved by qcuda\.LatticeOptimizer"):
        make(model.parameters()).step()


def test_what_is_asked_of_a_parameter_is_answered():
    """Shapes and sizes, gradients and hooks, tensors like it: what tools do with parameters."""
    one = slot()
    assert one.shape == one.size() == (4, 3, 3, 3) and one.numel() == one.nelement() == 108
    assert one.dim() == one.ndim == 4 and len(one) == 4 and one.element_size() == 4
    assert one.dtype == torch.float32 and one.device.type == "cpu" and not one.is_cuda
    assert one.is_floating_point() and torch.is_floating_point(one) and one.is_leaf
    assert one.untyped_storage().nbytes() == 4 and one.stride() == (0, 0, 0, 0)
    assert torch.zeros_like(one).shape == one.new_zeros(4, 3, 3, 3).shape
    assert not torch.isnan(torch.zeros_like(one)).any()
    assert "GradientSlot(shape=(4, 3, 3, 3)" in repr(one) and f"{one}" == repr(one)
    assert one.requires_grad_(False).requires_grad is False
    assert hash(one) == id(one) and one in {one}


def test_gradients_are_clipped_scaled_and_dropped():
    model = network()
    before = torch.cat([p.grad.flatten() for p in model.parameters()])
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert abs(norm - before.norm()) <= 128 * 2.0**-24 * norm
    for foreach in (True, False):
        nn.utils.clip_grad_value_(model.parameters(), 1e-3, foreach=foreach)
    assert model[0].slot.grad.abs().max() <= 1e-3
    seen = []
    model[0].slot.register_hook(lambda g: seen.append(g.shape))
    model[0].slot.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.shape))
    model(torch.ones(1, 3, 3, 3)).sum().backward()
    assert seen == [(4, 3, 3, 3)] * 2
    model.zero_grad(set_to_none=False)
    assert (model[0].slot.grad == 0).all()
    model.zero_grad()
    assert model[0].slot.grad is None


def test_a_slot_without_its_layer_is_refused_by_the_optimiser():
    lone = pickle.loads(pickle.dumps(copy.deepcopy(slot())))
    assert lone.owner() is None and lone.shape == (4, 3, 3, 3)
    with pytest.raises(
        ReferenceError, match=r"layer of a gradient slot exists .*, got a slot without a layer"
    ):
        qcuda.LatticeOptimizer([lone], DST(TERNARY), base=SGD(0.1))


def test_what_else_lies_in_a_list_with_slots_goes_on():
    """Sums over parameters that leave slots out, as a weight penalty should."""
    model = network()
    ordinary = [p for p in model.parameters() if not isinstance(p, GradientSlot)]
    assert len(ordinary) == 2
    assert torch.isfinite(parameters_to_vector(ordinary)).all()
