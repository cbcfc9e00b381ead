"""Steps in the backward pass: the bits of a step after it, and never two gradients at once."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qcuda
from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms import hidden
from qtheory.optimisers import Adam, Momentum, Normalized

SIZES = (7, 16, 16, 5)
HIDDEN = StochasticRounding(**hidden(8))
CASES = {
    "DST, Adam": (DST(Lattice.ternary()), Adam(0.05), {}),
    "8 bits, no moments": (HIDDEN, Normalized(0.05), {"others": Adam(0.01)}),
    "8 bits, int8 momentum": (
        HIDDEN,
        Normalized(0.05, 0.9, over="neuron"),
        {"others": Momentum(0.01), "moments": "int8"},
    ),
}
by_case = pytest.mark.parametrize("case", CASES)


class Net(nn.Module):
    def __init__(self, spec):
        super().__init__()
        readout = getattr(spec, "readout", None)
        self.layers = nn.ModuleList(
            qcuda.nn.Linear(a, b, spec.lattice, readout=readout) for a, b in pairwise(SIZES)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(b) for b in SIZES[1:])

    def forward(self, x):
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = torch.tanh(norm(layer(x)))
        return x


def made(case):
    spec, base, options = CASES[case]
    torch.manual_seed(0)
    model = Net(spec)
    for k, layer in enumerate(model.layers):
        layer.draw_levels(seed=0, tensor=k)
    return model, qcuda.LatticeOptimizer(model.parameters(), spec, base=base, seed=3, **options)


def train(model, optimizer, first, last, look=lambda: None):
    for seed in range(first, last):
        torch.manual_seed(seed)
        x, y = torch.randn(12, SIZES[0]), torch.randint(0, SIZES[-1], (12,))
        F.cross_entropy(model(x), y).backward()
        look()
        optimizer.step()
        optimizer.zero_grad()


def same(one, other):
    a, b = one.state_dict(), other.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


def state_of(optimizer):
    return [value for state in optimizer.state.values() for value in state.values()]


@by_case
def test_it_has_the_bits_of_a_step_after_the_backward_pass(case):
    model, optimizer = made(case)
    other, plain = made(case)
    train(other, plain, 0, 7)
    train(model, optimizer, 0, 2)
    with qcuda.StepInBackward(optimizer):
        train(model, optimizer, 2, 5)
    train(model, optimizer, 5, 7)  # and is an ordinary optimiser before and after
    assert same(model, other)
    assert not same(model, made(case)[0])
    assert torch.equal(optimizer.moved, plain.moved)
    assert int(optimizer.param_groups[0]["iteration"]) == 7
    for a, b in zip(state_of(optimizer), state_of(plain), strict=True):
        assert torch.equal(a, b)


@by_case
def test_no_gradient_stands_beside_another(case):
    model, optimizer = made(case)
    standing, left = [], []

    def count(_):
        standing.append(sum(p.grad is not None for p in model.parameters()))

    hooks = [p.register_post_accumulate_grad_hook(count) for p in model.parameters()]
    with qcuda.StepInBackward(optimizer):
        train(model, optimizer, 0, 2, lambda: left.append([p.grad for p in model.parameters()]))
    assert standing == [1] * (2 * len(hooks))
    assert all(gradient is None for gradients in left for gradient in gradients)


def test_what_has_no_gradient_rests_and_the_iteration_counts_on():
    """The last layer alone gets a gradient in the first step, all layers in the second."""
    runs = []
    for inside in (False, True):
        model, optimizer = made("DST, Adam")
        context = qcuda.StepInBackward(optimizer)
        if inside:
            context.__enter__()
        before = model.layers[0].index
        model.layers[2](torch.ones(2, SIZES[2])).square().sum().backward()
        optimizer.step()
        assert torch.equal(model.layers[0].index, before)
        optimizer.zero_grad()
        train(model, optimizer, 0, 1)
        if inside:
            context.__exit__(None, None, None)
        runs.append((model, optimizer))
    (one, a), (other, b) = runs
    assert same(one, other)
    assert int(a.param_groups[0]["iteration"]) == int(b.param_groups[0]["iteration"]) == 2


def test_a_second_backward_pass_is_refused_before_it_moves_anything():
    model, optimizer = made("DST, Adam")
    with qcuda.StepInBackward(optimizer):
        loss = model(torch.randn(4, SIZES[0])).square().sum()
        loss.backward(retain_graph=True)
        moved = [layer.index for layer in model.layers]
        with pytest.raises(ValueError, match="one backward pass for each"):
            loss.backward()
        for layer, index in zip(model.layers, moved, strict=True):
            assert torch.equal(layer.index, index)
        optimizer.step()


def test_an_error_leaves_an_ordinary_optimiser():
    model, optimizer = made("DST, Adam")
    with pytest.raises(KeyError), qcuda.StepInBackward(optimizer):
        raise KeyError
    loss = model(torch.randn(4, SIZES[0])).square().sum()
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("nonfinite", ["skip", "raise"])
def test_what_looks_at_all_gradients_is_refused(nonfinite):
    model, _ = made("DST, Adam")
    optimizer = qcuda.LatticeOptimizer(
        model.parameters(), DST(Lattice.ternary()), nonfinite=nonfinite
    )
    with pytest.raises(ValueError, match="nonfinite='count'"):
        qcuda.StepInBackward(optimizer)


def test_two_at_once_and_a_scale_are_refused():
    _model, optimizer = made("DST, Adam")
    with qcuda.StepInBackward(optimizer):
        with pytest.raises(ValueError, match="once"), qcuda.StepInBackward(optimizer):
            pass
        optimizer.grad_scale = torch.ones(())
        with pytest.raises(ValueError, match="GradScaler"):
            optimizer.step()
        del optimizer.grad_scale


def test_processes_that_share_the_training_are_refused(monkeypatch):
    _, optimizer = made("DST, Adam")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="several processes"):
        qcuda.StepInBackward(optimizer)
