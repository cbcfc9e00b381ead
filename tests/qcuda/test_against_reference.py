"""The torch path and the plain network, side by side for fifty iterations on digits.

Sums of float32 products depend on their order, so gradients of the two rooms differ in their last
bits, and one such bit may flip a decision and then everything after. Therefore: (1) both are
handed the same gradients, and everything is equal; (2) both compute their own from the same
weights, every iteration anew, and what may differ is bounded.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import qcuda
from qreference import network, philox, stairs, walker
from qreference.network import Config
from qreference.stairs import multi_step
from qtheory import DST, Lattice, StochasticRounding
from qtheory.optimisers import SGD, Adam
from qtheory.streams import Stream

TERNARY = Lattice.ternary()
ACTIVATION = multi_step(1, 0.5, 0.5)


@cache
def all_digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return (data.data / 8 - 1).astype(np.float32), data.target.astype(np.int64)


def digits(t: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(t * 100, (t + 1) * 100) % 1700
    inputs, labels = all_digits()
    return inputs[rows], labels[rows]


def torch_network(config: Config) -> nn.Sequential:
    model = nn.Sequential(
        qcuda.nn.Linear(config.inputs, config.hidden, config.spec.lattice),
        nn.BatchNorm1d(config.hidden),
        qcuda.nn.MultiStep(1, threshold=0.5, half_width=0.5),
        qcuda.nn.Linear(config.hidden, config.classes, config.spec.lattice),
        nn.BatchNorm1d(config.classes),
    )
    qcuda.nn.draw_levels(model, config.seed)
    return model


def squared_hinge(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    t = 2 * nn.functional.one_hot(labels, scores.shape[1]) - 1
    return (1 - t * scores).clamp_min(0).square().mean()


@pytest.mark.parametrize("spec", [StochasticRounding(TERNARY), DST(TERNARY)], ids=repr)
def test_the_same_gradients_give_the_same_training(spec):
    """Same start, then 50 iterations: 2560 weights, moments and counters, all equal.

    DST's thresholds differ by 1.7e-6 at most, so of 128000 words 0.2 are expected between them in
    the worst case; which are is known, as words are: none.
    """
    config = Config(64, 32, 10, spec, seed=4, optimiser=Adam(0.05), real_optimiser=Adam(0.01))
    state, model = network.init(config), torch_network(config)
    layers = (model[0], model[3])
    slots = [layer.slot for layer in layers]
    optimizer = qcuda.LatticeOptimizer(slots, spec, base=Adam(0.05), seed=4)
    total = np.zeros(2, np.int64)
    for t in range(1, 51):
        state, record = network.step(config, state, *digits(t), t)
        for slot, gradient in zip(slots, record.gradients, strict=True):
            slot.grad = torch.from_numpy(gradient.weights)
        optimizer.step()
        total += record.moved
        for layer, theirs in zip(layers, state, strict=True):
            assert (layer.index.numpy() == theirs.index).all()
            kept = optimizer.state[layer.slot]
            assert (kept["first"].numpy() == theirs.moments.first).all()
            assert (kept["second"].numpy() == theirs.moments.second).all()
    assert optimizer.moved.tolist() == total.tolist()
    assert min(total) > 100


def synchronise(model: nn.Sequential, state: network.NetworkState) -> None:
    for k, layer in enumerate(state):
        model[3 * k].set_index(torch.from_numpy(layer.index))
        with torch.no_grad():
            model[3 * k + 1].weight.copy_(torch.from_numpy(layer.gain))
            model[3 * k + 1].bias.copy_(torch.from_numpy(layer.bias))


def in_double(config: Config, state: network.NetworkState, x, y) -> network.Pass:
    parameters = (network.visible(config, layer) for layer in state)
    wide = tuple(network.Parameters(*(a.astype(np.float64) for a in p)) for p in parameters)
    return network.loss_and_gradients(config, wide, x.astype(np.float64), y)


def near_a_jump(result: network.Pass) -> bool:
    """Whether some pre-activation is so near to a jump that rounding may take it across.

    Jumps: the threshold 1/2 and the window's ends 0 and 1. A normalised feature is about 20
    roundings of numbers below 10 away from exact: 20 * 10 * 2**-24 = 1.2e-5.
    """
    y = np.abs(result.norms[0].y)
    return bool(min(np.abs(y - jump).min() for jump in (0, 0.5, 1)) < 1.2e-5)


def error(ours: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(ours.astype(np.float64) - exact))))


def test_each_iteration_from_the_same_weights():
    """Fifty iterations, each begun from the reference's weights.

    Gradients: both rooms use float32, so torch may err at most twice as much as the plain network
    (root mean square, against float64), or by half an ulp of the largest entry.
    Losses: with scores off by d, entrywise and measured, a mean of squares of margins m is off by
    mean(2 m |d| + d^2), plus the roundings of a sum of 1000 positive terms (at most 1010 of them
    one after the other).
    Indices: exactly those of the plain step on torch's gradient; they differ from the plain run's
    only where the word lies between the thresholds of the two increments.
    """
    spec = StochasticRounding(TERNARY)
    config = Config(64, 32, 10, spec, seed=4, optimiser=SGD(30.0), real_optimiser=Adam(0.01))
    state, model = network.init(config), torch_network(config)
    layers, compared, flips = (model[0], model[3]), 0, 0
    for t in range(1, 51):
        x, y = digits(t)
        synchronise(model, state)
        optimizer = qcuda.LatticeOptimizer(
            [layer.slot for layer in layers], spec, base=SGD(30.0), seed=4
        )
        optimizer.param_groups[0]["iteration"] = t - 1
        scores = model(torch.from_numpy(x))
        loss = squared_hinge(scores, torch.from_numpy(y))
        model.zero_grad()
        loss.backward()
        optimizer.step()
        exact = in_double(config, state, x, y)
        before = state
        state, record = network.step(config, state, x, y, t)
        indices = [layer.index.numpy() for layer in layers]
        flips += check_moves(spec, before, state, layers, indices, record, t)
        if near_a_jump(exact):
            continue
        compared += 1
        check_loss(float(loss.detach()), scores.detach().numpy(), exact, y)
        for layer, plain, wide in zip(layers, record.gradients, exact.gradients, strict=True):
            naive = error(plain.weights, wide.weights)
            floor = 2.0**-25 * np.abs(wide.weights).max()
            assert error(layer.slot.grad.numpy(), wide.weights) <= max(2 * naive, floor)
    assert compared >= 25
    assert flips <= 10  # 128000 decisions, gradients 1e-6 of a spacing apart


def check_loss(loss: float, scores: np.ndarray, exact: network.Pass, labels: np.ndarray) -> None:
    wide = exact.norms[1].y
    t = 2 * np.eye(10)[labels] - 1
    off = np.abs(scores - wide)
    spread = np.mean(2 * np.maximum(0, 1 - t * wide) * off + off**2)
    assert abs(loss - exact.loss) <= spread + 1010 * 2.0**-24 * exact.loss


def check_moves(spec, before, after, layers, indices, record, t) -> int:
    flips = 0
    for tensor, layer in enumerate(layers):
        old = (before.first, before.second)[tensor].index
        plain = (after.first, after.second)[tensor].index
        words = philox.words(4, t, tensor, Stream.MOVE, old.size).reshape(old.shape)
        ours, theirs = (
            -(np.float32(30.0) * g)
            for g in (layer.slot.grad.numpy(), record.gradients[tensor].weights)
        )
        assert (indices[tensor] == walker.step(spec, old, ours, words)).all()
        differ = indices[tensor] != plain
        a, b = (walker.outcomes(spec, old, v).thresholds[..., 0] for v in (ours, theirs))
        between = (words < a) != (words < b)
        assert not (differ & ~between & (np.floor(np.abs(ours)) == np.floor(np.abs(theirs)))).any()
        flips += int(differ.sum())
    return flips


def test_the_same_start():
    config = Config(64, 32, 10, DST(Lattice.z(2)), seed=11)
    for layer, theirs in zip(
        (torch_network(config)[0], torch_network(config)[3]), network.init(config), strict=True
    ):
        assert (layer.index.numpy() == theirs.index).all()


def test_the_same_activation():
    x = np.random.default_rng(0).normal(0, 1, 1000).astype(np.float32)
    ours = qcuda.nn.MultiStep(1, threshold=0.5, half_width=0.5)(torch.from_numpy(x))
    assert (ours.numpy() == stairs.activate(ACTIVATION, x, "hard")).all()
