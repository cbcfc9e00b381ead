"""What a trainee does: schedules, baselines, threads, and moves against the exact law."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import pytest
import torch
from torch import nn

from qcuda.data.digits import load, split
from qcuda.models import digits
from qcuda.models.baselines import RealLayer, clip_latent
from qcuda.nn import NoisyStair, lattice_layers
from qcuda.optimizer import LatticeOptimizer
from qcuda.train.config import METHODS, TrainConfig
from qcuda.train.loop import hinge_loss, learning_rate_factor, start, train_epoch
from qcuda.watch.odds import predicted_moves
from qtheory import DST, Lattice
from qtheory.optimisers import Adam

FALSE_ALARMS = 1e-9


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_learning_rates_fall_from_the_first_to_the_last(schedule: str):
    config = TrainConfig(schedule=schedule, epochs=11, final=0.01)
    factors = [learning_rate_factor(config, epoch) for epoch in range(11)]
    middle = {"cosine": (1 + 0.01) / 2, "exponential": math.sqrt(0.01)}[schedule]
    assert factors[0] == 1
    assert factors[5] == pytest.approx(middle)
    assert factors[10] == pytest.approx(0.01)
    assert all(a > b for a, b in pairwise(factors))


def test_a_scheduler_moves_the_lattice_weights_too():
    config = TrainConfig(epochs=3, examples=60, channels=2, hidden=8, final=0.1)
    trainee, examples = start(config, "dst", 0), load()
    parts = split(examples.labels, config)
    for _ in range(3):
        train_epoch(config, trainee, examples.take(parts.train), examples.take(parts.validation))
    rates = [record["learning_rate"] for record in trainee.records[1:]]
    first = config.dst_learning_rate
    assert rates == pytest.approx([first, first * 0.55, first * 0.1])


@pytest.mark.parametrize("architecture", ["cnn", "mlp"])
def test_methods_differ_in_weights_and_activations_alone(architecture: str):
    config = TrainConfig(architecture=architecture, channels=4, hidden=16)
    built = {method: digits.build(config, method, 0) for method in METHODS}
    shapes = {
        method: [tuple(next(w.parameters()).shape) for w in digits.weight_layers(model).values()]
        for method, model in built.items()
    }
    assert shapes["dst"] == shapes["full"] == shapes["ste"]
    names = [[type(m).__name__ for m in model.children()] for model in built.values()]
    ordinary = [[n for n in row if n.startswith(("Batch", "Max", "Flat"))] for row in names]
    assert ordinary[0] == ordinary[1] == ordinary[2]
    # Every weight layer of dst is on a lattice, first and last included.
    assert len(lattice_layers(built["dst"])) == len(shapes["dst"])
    assert not any(isinstance(m, nn.Linear | nn.Conv2d) for m in built["dst"].modules())
    assert not any(isinstance(m, NoisyStair) for m in built["full"].modules())


@pytest.mark.parametrize(("levels", "lattice"), [(2, Lattice.binary()), (3, Lattice.ternary())])
def test_straight_through_weights_are_the_nearest_levels(levels: Literal[2, 3], lattice: Lattice):
    layer = RealLayer((1, 9), levels=levels)
    below = math.nextafter(0.5, 0)
    points = torch.tensor([[-1.0, -0.5, -below, -0.0, 0.0, 0.3, below, 0.5, 1.0]])
    with torch.no_grad():
        layer.latent.copy_(points)
    nearest = lattice.levels[lattice.nearest(layer.latent.detach().numpy())]
    assert layer.visible.tolist() == nearest.tolist()
    layer.visible.backward(torch.arange(9.0)[None])
    assert layer.latent.grad.tolist() == [list(range(9))]
    with torch.no_grad():
        layer.latent.mul_(3)
    clip_latent(layer)
    assert layer.latent.abs().max() == 1


def test_first_weights_of_the_baselines_are_uniform():
    """10**5 words: the mean of U(-b, b) has std b / sqrt(3 n); 7 std is 3e-12 two-sided."""
    for levels, bound in ((3, 1.0), (2, 1.0), (None, 0.1)):
        layer = RealLayer((1000, 100), levels=levels)
        layer.draw(0, 0)
        assert bound * 0.999 < layer.latent.abs().max() <= bound
        assert abs(layer.latent.mean()) < 7 * bound / math.sqrt(3 * 10**5)


def test_the_loss_is_the_squared_hinge():
    logits = torch.tensor([[2.0, -0.5, 0.25]])
    expected = (0 + 0.5**2 + 1.25**2) / 3
    assert hinge_loss(logits, torch.tensor([0])).item() == pytest.approx(expected)


def test_equal_gradients_move_equal_weights_with_any_number_of_threads():
    """What is promised of threads: words and moves. Sums inside torch's own layers are not, so
    gradients, and with them whole runs, may differ; `threads` is therefore part of a config."""
    before, states = torch.get_num_threads(), []
    gradient = torch.randn(1000, 300, generator=torch.Generator().manual_seed(0))
    for threads in (1, 2):
        torch.set_num_threads(threads)
        layer = digits.lattice_nn.Linear(300, 1000, Lattice.ternary())
        layer.draw_levels(4, 0)
        optimizer = LatticeOptimizer([layer.slot], DST(Lattice.ternary()), base=Adam(0.05), seed=4)
        for sign in (1, -1, 1):
            layer.slot.grad = sign * gradient
            optimizer.step()
        states.append((layer.state.clone(), optimizer.moved.tolist()))
    torch.set_num_threads(before)
    assert states[0][1][0] > 10**4
    assert torch.equal(states[0][0], states[1][0])
    assert states[0][1] == states[1][1]


def allowed(variance: float, tests: int) -> float:
    """How far a sum of independent coins may be from its mean, by Bernstein's inequality.

    P(|S - mean| >= t) <= 2 exp(-t**2 / (2 (variance + t / 3))), which is set to the share of the
    false alarms that one of so many tests may have.
    """
    log = math.log(2 * tests / FALSE_ALARMS)
    return log / 3 + math.sqrt(log**2 / 9 + 2 * log * variance)


def test_moves_of_a_training_run_have_the_exact_law():
    """Probes of every layer in every epoch. Increments are given when words are drawn, so the
    bound holds for each probe by itself, and over all of them by the union bound: a correct
    kernel fails with probability 1e-9 at most. The largest probes see a rate that is off by an
    eighth, with the same probability of missing it.
    """
    config = TrainConfig(
        architecture="mlp", hidden=512, epochs=4, examples=500, dst_learning_rate=0.5
    )
    trainee, examples = start(config, "dst", 0), load()
    parts = split(examples.labels, config)
    for _ in range(config.epochs):
        train_epoch(config, trainee, examples.take(parts.train), examples.take(parts.validation))
    probes = []
    for record in trainee.records[1:]:
        found = record["probe"]
        probes += zip(found["measured"], found["mean"], found["variance"], strict=True)
    assert len(probes) == 4 * 3
    for measured, mean, variance in probes:
        assert abs(measured - mean) <= allowed(variance, len(probes))
    mean, variance = max(values[1:] for values in probes)
    assert 2 * allowed(8 / 7 * variance, len(probes)) < mean / 7


@pytest.mark.parametrize("nonlinearity", [2.5, 3.5])
def test_another_law_is_noticed(nonlinearity: float):
    """The test above bites: with m = 2.5 or 3.5 in the law, moves with m = 3 are too many or
    too few."""
    lattice = Lattice.ternary()
    layer = digits.lattice_nn.Linear(300, 1000, lattice)
    layer.draw_levels(0, 0)
    optimizer = LatticeOptimizer([layer.slot], DST(lattice, 3.0), base=Adam(0.05))
    layer.slot.grad = torch.randn(1000, 300, generator=torch.Generator().manual_seed(0))
    before = layer.index
    optimizer.step()
    measured = int((layer.index != before).sum())
    increments = optimizer.increments(layer.slot).numpy()
    mean, variance = predicted_moves(DST(lattice, 3.0), before.numpy(), increments)
    assert abs(measured - mean) <= allowed(variance, 1)
    mean, variance = predicted_moves(DST(lattice, nonlinearity), before.numpy(), increments)
    assert abs(measured - mean) > allowed(variance, 1)
