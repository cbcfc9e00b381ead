"""Networks with binary convolutions: what holds exactly, in runs of a second."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qcuda.data.digits import load
from qcuda.data.source import Examples
from qcuda.models.baselines import RealLayer, read_as
from qcuda.nn.slot import GradientSlot
from qcuda.optimizer import LatticeOptimizer
from qpapers.li2017.networks import above, below, paired
from qpapers.li2017.training import (
    METHODS,
    Outcome,
    Setting,
    every_shift,
    iterate,
    network,
    optimiser,
    run,
    settle,
    signs,
)
from qtheory.algorithms import DeterministicRounding
from qtheory.lattice import Lattice
from qtheory.optimisers import Adam

TINY = Setting(channels=(2, 4), epochs=2, drops=(1,), examples=160)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return {name: run(name, TINY, 3) for name in METHODS}


def test_nearest_rounding_is_a_frozen_network_bit_for_bit(outcomes: dict[str, Outcome]):
    """Adam asks for 0.073 at most, and a sign needs 1."""
    nearest, frozen, stochastic = (outcomes[name] for name in ("r", "frozen", "sr"))
    assert torch.equal(nearest.first, nearest.last) and nearest.changed == (0.0, 0.0)
    assert torch.equal(nearest.logits, frozen.logits) and nearest.error == frozen.error
    assert min(stochastic.changed) > 0
    assert not torch.equal(stochastic.logits, frozen.logits)


def test_methods_start_from_the_same_numbers(outcomes: dict[str, Outcome]):
    binary = [outcome.first for name, outcome in outcomes.items() if name != "adam"]
    assert all(torch.equal(first, binary[0]) for first in binary)
    models = {name: network(TINY, method, 3) for name, method in METHODS.items()}
    linear = [m.get_submodule("linear").get_parameter("weight") for m in models.values()]
    assert all(torch.equal(weight, linear[0]) for weight in linear)
    assert not torch.equal(signs(models["sr"]), signs(network(TINY, METHODS["sr"], 4)))


def test_a_run_has_the_same_bits_again(outcomes: dict[str, Outcome]):
    again = run("sr", TINY, 3)
    assert torch.equal(again.logits, outcomes["sr"].logits)
    assert again.changed == outcomes["sr"].changed and again.asked == outcomes["sr"].asked


def test_every_other_weight_is_trained():
    """The frozen network leaves out its convolutions alone."""
    batch = every_shift(load(), 0).take(torch.arange(20))
    model = network(TINY, METHODS["frozen"], 0)
    ordinary = {n: p for n, p in model.named_parameters() if not isinstance(p, GradientSlot)}
    before = {name: p.detach().clone() for name, p in ordinary.items()}
    first, optimizer = signs(model), optimiser(TINY, METHODS["frozen"], 0, model)
    assert optimizer.slots == []
    iterate(model, optimizer, batch)
    assert torch.equal(signs(model), first)
    moved = {name for name, p in before.items() if not torch.equal(p, model.get_parameter(name))}
    assert {name.split(".")[0] for name in moved} == {"norm0", "norm1", "linear"}


def test_larger_batches_take_fewer_iterations(outcomes: dict[str, Outcome]):
    """160 examples: ten iterations an epoch, one with batches of 128. The first of all asks
    Adam's bound for one gradient, the learning rate, of every weight whose gradient is not tiny."""
    first = outcomes["big_sr"].asked[0]
    assert first == pytest.approx(TINY.learning_rate, rel=1e-3)
    assert 2 * first < outcomes["sr"].asked[0] <= 10 * 7.3 * first
    assert outcomes["long_sr"].asked[0] > 2 * first  # eight passes, as many iterations
    assert all(outcomes[name].asked == (0.0, 0.0) for name in ("adam", "bc", "r", "frozen"))


@pytest.mark.parametrize(
    ("gradient_at", "clipped", "same"),
    [("visible", True, True), ("latent", True, False), ("visible", False, False)],
)
def test_binary_connect_is_its_definition(gradient_at: str, clipped: bool, same: bool):
    """r <- clip(r + Adam(g(sign r)), -1, 1) in plain NumPy, for one linear layer; and what is not.

    In float64 a gradient errs by 1e-17, its terms being below 1; where it is above 1e-8, as is
    asserted, the ratio m / sqrt(v), below 8, errs by 1e-8 at most, and 40 increments by 2e-8.
    """
    draws = np.random.default_rng(0)
    inputs, labels = 0.1 * draws.standard_normal((12, 7)), draws.integers(0, 4, 12)
    start, rate = draws.uniform(-1, 1, (4, 7)), 0.05
    layer = RealLayer((4, 7), read_as(2)).double()
    with torch.no_grad():
        layer.latent.copy_(torch.from_numpy(start))
    model = nn.Sequential(layer)
    rule = DeterministicRounding(Lattice.binary())
    optimizer = LatticeOptimizer(model.parameters(), rule, base=Adam(rate))
    batch = Examples(torch.from_numpy(inputs), torch.from_numpy(labels))

    latent, first, second, least = start.copy(), np.zeros((4, 7)), np.zeros((4, 7)), np.inf
    for t in range(1, 41):
        iterate(model, optimizer, batch)
        seen = np.where(latent < 0, -1.0, 1.0) if gradient_at == "visible" else latent
        odds = np.exp(inputs @ seen.T)
        wrong = odds / odds.sum(1, keepdims=True) - np.eye(4)[labels]
        gradient = wrong.T @ inputs / len(labels)
        least = min(least, np.abs(gradient).min())
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        ratio = first / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        latent = latent - rate * ratio
        latent = np.clip(latent, -1, 1) if clipped else latent
    difference = np.abs(layer.latent.detach().numpy() - latent).max()
    assert (difference <= 2e-8) == same
    if same:
        assert least > 1e-8
        assert np.any(np.abs(latent) == 1) and np.any((latent < 0) != (start < 0))


def test_every_shift_of_an_image_is_seen_once():
    images = load().take(torch.arange(3))
    moved = every_shift(images, 1)
    assert moved.images.shape == (27, 1, 8, 8) and torch.equal(moved.labels[9:12], images.labels)
    assert torch.equal(moved.images[12:15], images.images)  # the fifth of nine is in place
    assert torch.equal(moved.images[:3, :, 1:, 1:], images.images[:, :, :-1, :-1])
    assert torch.equal(every_shift(images, 0).images, images.images)


def test_normalisation_is_measured_with_the_last_weights():
    model, images = network(TINY, METHODS["sr"], 0), load().images[:200]
    norm = model.get_submodule("norm0")
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    assert norm.running_mean.tolist() == [0.0, 0.0]
    settle(model, images)
    expected = model[:2](images).mean((0, 2, 3))
    assert not model.training and torch.equal(norm.running_mean.sign(), expected.sign())
    torch.testing.assert_close(norm.running_mean, expected)
    settle(model.train(), images)  # nothing of an earlier measurement is kept
    torch.testing.assert_close(norm.running_mean, expected)


def test_pairs_are_compared():
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3)."""
    low, high = [5.0, 1.0, 3.0], [6.0, 3.0, 6.0]
    mean, t = paired(high, low)
    assert (mean, t) == pytest.approx((2.0, 2 * 3**0.5))
    assert below(low, [high, high]) == pytest.approx((2.0, 2.0, t, t))
    assert above(high, [low]) == pytest.approx((2.0, t))
    assert paired(low, high)[1] == pytest.approx(-t)
