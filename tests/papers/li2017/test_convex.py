"""The convex theorems of [li2017] for stochastic rounding: bounds, floors, and what breaks them."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from qpapers.li2017.convex_bounds import (
    Setting,
    constant_gradient_means,
    convex_rates,
    strongly_convex_rates,
    theorem_1,
    theorem_2,
    two_levels,
)
from qpapers.li2017.simulate import SR, simulate
from qtheory import Lattice, StochasticRounding
from qtheory.chain import evolve, stationary_distribution
from qtheory.increments import FiniteIncrements
from qtheory.limits.generator import joint_generator, limit_law, slowed, states_of_product
from qtheory.noise import Gaussian, Noise, StudentT, Uniform
from qtheory.transition import weight_chain


def test_moments_on_two_levels_are_those_of_every_path():
    """All 2**6 paths, by their probabilities; a few additions of numbers of size one."""
    up, down = np.linspace(0.1, 0.9, 7), np.linspace(0.8, 0.3, 7)
    found = two_levels(up, down)
    mean = second = 0.0
    law = np.zeros(7)
    for path in product((0, 1), repeat=6):
        x, p = (0, *path), 1.0
        for t in range(6):
            moves = up[t] if x[t] == 0 else down[t]
            p *= moves if x[t + 1] != x[t] else 1 - moves
        law += p * np.array(x)
        mean += p * sum(x) / 7
        second += p * (sum(x) / 7) ** 2
    assert np.abs(found.law - law).max() <= 1e-15
    assert abs(found.mean - mean) <= 1e-15 and abs(found.second - second) <= 1e-15


def test_means_under_a_constant_gradient_are_those_of_the_chain():
    """Five iterations of a 6 by 6 matrix."""
    lattice, rates = Lattice.uniform(0.0, 1.0, 6), np.array([0.9, 0.5, 0.3, 0.1, 0.2])
    gradient = FiniteIncrements(np.array([-0.7, 0.2, 1.3]), np.array([0.25, 0.25, 0.5]))
    found = constant_gradient_means(lattice, 2, gradient, rates)
    law = np.eye(6)[2]
    for t, rate in enumerate(rates):
        assert abs(found[t] - law @ lattice.levels) <= 1e-14
        increments = FiniteIncrements(-rate * gradient.values, gradient.probabilities)
        law = evolve(weight_chain(StochasticRounding(lattice), [increments] * 6), law, 1)
    with pytest.raises(ValueError, match=r"an index is in 0\.\.5, got 6"):
        constant_gradient_means(lattice, 6, gradient, rates)


@pytest.mark.parametrize("curvature", [1.0, 3.0])
@pytest.mark.parametrize("iterations", [1, 10, 300])
def test_theorem_1_holds_on_every_example(curvature: float, iterations: int):
    """Five standard errors are added to the mean: a false alarm has probability 3e-7."""
    target, replicas = 0.3, 300
    lattice, start = Lattice.uniform(-2.0, 2.0, 9), np.full((replicas, 2), -2.0)

    def gradient(w: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        return curvature * (w - target) + draws.standard_normal(w.shape)

    rates = strongly_convex_rates(1.0, iterations)
    run = simulate(SR, gradient, lattice, start, rates, np.random.default_rng(1))
    losses = 0.5 * curvature * ((run.visible_mean - target) ** 2).sum(axis=1)
    most = math.sqrt(2 * ((2.3 * curvature) ** 2 + 1))
    at = Setting(iterations, lattice.spacing, most, 2, strong_convexity=1.0)
    assert losses.mean() + 5 * losses.std() / math.sqrt(replicas) <= theorem_1(at).total


@pytest.mark.parametrize("offset", [0.01, 0.2, 0.4])
def test_the_floor_of_theorem_1_is_attained(offset: float):
    """F = |w - offset|: hops up and down are as likely, so the mean of F(w_t) - F* is 1/2 up to the
    first iteration's (1/2 - offset) / T; the average's loss is 1/2 - offset. A floor smaller by a
    tenth would be broken."""
    iterations = 20_000
    rates = convex_rates(0.5, iterations)
    moments = two_levels(rates, rates)
    upper = float(moments.law.mean())
    mean_loss = upper * (1 - offset) + (1 - upper) * offset
    floor = theorem_1(Setting(iterations, 1.0, 1.0, strong_convexity=1.0)).floor
    assert abs(mean_loss - floor) <= 0.5 / iterations
    assert abs(moments.mean - offset - (floor - offset)) <= 0.5 / iterations
    assert mean_loss > 0.9 * floor


def quadratic_sides(
    curvature: float, target: float, noise: Noise, *, drift: float = 0.0
) -> tuple[float, float]:
    """E F - F* and (s / 4) E|g|, under the law of a gradient with so much drift."""
    lattice = Lattice.uniform(-8.0, 8.0, 33)

    def gradient(w: np.ndarray) -> np.ndarray:
        return curvature * (w - target)

    law = limit_law(lambda w: gradient(w) + drift, noise, lattice)
    g = gradient(lattice.levels)
    size = noise.excess(g) + noise.excess(-g)
    return float(law @ (g * (lattice.levels - target))) / 2, lattice.spacing / 4 * float(law @ size)


@pytest.mark.parametrize("curvature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("noise", [Gaussian(1.0), Uniform(2.0), StudentT(30.0, 0.7)])
def test_on_quadratics_the_floor_is_a_quarter_of_the_gradient(curvature: float, noise: Noise):
    """The lattice's ends are at least 8 stds of the law away, but for Student noise at the least
    curvature: its law falls like a geometric one, 1e-9 there."""
    left, right = quadratic_sides(curvature, 0.2, noise)
    assert abs(left / right - 1) <= 1e-8
    assert left >= 0.125 * 2 * float(noise.excess(np.zeros(1))[0])  # the lower bound, by Jensen
    wrong = quadratic_sides(curvature, 0.2, noise, drift=0.3)
    assert abs(wrong[0] / wrong[1] - 1) > 0.01


def test_the_floor_of_a_coupled_quadratic_uses_the_l1_norm():
    """Two dimensions, another Hessian than the ledger's; the l2 norm would be far off."""
    hessian, target = np.array([[2.0, -0.5], [-0.5, 1.0]]), np.array([0.1, -0.2])
    lattice, noises = Lattice.uniform(-3.5, 3.5, 15), (Gaussian(0.7), Uniform(1.0))
    points = states_of_product(lattice, 2)
    g = (points - target) @ hessian
    rates = joint_generator(lambda x: (x - target) @ hessian, noises, lattice)
    law = stationary_distribution(slowed(rates))
    sizes = np.stack([n.excess(g[:, k]) + n.excess(-g[:, k]) for k, n in enumerate(noises)])
    excess = float(law @ (g * (points - target)).sum(axis=1)) / 2
    assert abs(0.125 * float(law @ sizes.sum(axis=0)) / excess - 1) <= 1e-8
    assert abs(0.125 * float(law @ np.sqrt((sizes**2).sum(axis=0))) / excess - 1) > 0.1


@pytest.mark.parametrize("kappa", [1.0, 2.0, 4.0])
def test_averaging_gains_one_plus_the_condition_number(kappa: float):
    """autocorrelation (s / t)**kappa: the limit 1 / (1 + kappa) is reached like 1 / T."""
    iterations = 5000
    hop = 0.5 * kappa * strongly_convex_rates(1.0, iterations)
    moments = two_levels(hop, hop)
    ratio = (moments.second - moments.mean + 0.25) / 0.25
    assert abs(ratio - 1 / (1 + kappa)) <= 2 / iterations


def test_the_counterexample_to_theorem_2_as_quoted():
    """A tenth of the iterations and levels of the ledger's: exact, so no tolerance is needed. The
    mean is within five standard errors of a simulation, too."""
    iterations, k, drift = 8000, 5.0, 0.15
    spread, rates = math.sqrt(1 - drift**2), convex_rates(k, iterations)
    lattice = Lattice.uniform(0.0, 1.0, 401)
    coin = FiniteIncrements(np.array([drift - spread, drift + spread]), np.array([0.5, 0.5]))
    loss = drift * float(constant_gradient_means(lattice, 0, coin, rates).mean())
    at = Setting(iterations, lattice.spacing, 1.0, diameter=1.0, rate_constant=k)
    assert theorem_2(at, quoted=True).total < loss < theorem_2(at).total

    def gradient(w: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        return drift + spread * np.where(draws.random(w.shape) < 0.5, -1.0, 1.0)

    start, draws = np.zeros((200, 1)), np.random.default_rng(2)
    losses = drift * simulate(SR, gradient, lattice, start, rates, draws).visible_mean
    assert abs(losses.mean() - loss) <= 5 * losses.std() / math.sqrt(200)
