"""The toy problem of [li2017]: SR stays warm, BC cools, and the temperature that explains it."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from qpapers.li2017 import toy_problem
from qpapers.li2017.simulate import BC_NEAREST, SR, simulate
from qtheory import Lattice, StochasticRounding
from qtheory.algorithms.base import law
from qtheory.chain import (
    evolve,
    gibbs_law,
    recurrent_classes,
    stationary_distribution,
    total_variation,
)
from qtheory.limits.generator import limit_law
from qtheory.limits.temperature import rounding_temperature, temperature_floor
from qtheory.noise import Gaussian, Uniform


def test_the_objective_has_three_parabolas():
    """The gradient is the slope of the loss, by central differences: exact for parabolas up to
    rounding, 2**-52 / 1e-4; kinks are left out."""
    w = np.linspace(-2.0, 8.0, 997)
    w = w[(np.abs(w - 1) > 1e-3) & (np.abs(w - 3.5) > 1e-3)]
    slope = (toy_problem.loss(w + 1e-4) - toy_problem.loss(w - 1e-4)) / 2e-4
    assert np.abs(slope - toy_problem.gradient(w)).max() <= 1e-9
    ends = toy_problem.loss(np.nextafter(np.array([1.0, 3.5]), 0)) - toy_problem.loss(
        np.array([1.0, 3.5])
    )
    assert np.abs(ends - np.array([0.0, -0.0025])).max() <= 1e-14
    with pytest.raises(ValueError, match=r"4\.5 and 5\.0 are levels"):
        toy_problem.near_the_minimiser(np.ones(3) / 3, Lattice.ternary())


@pytest.mark.parametrize(("std", "loss"), [(1.0, 0.311739), (3.0, 0.526892)])
def test_the_loss_of_stochastic_rounding_does_not_fall(std: float, loss: float):
    """Six decimals are given. The share of the best levels is far from one."""
    for rate in (0.03, 0.001):
        law = stationary_distribution(toy_problem.chain(rate, Gaussian(std)))
        assert abs(toy_problem.mean_loss(law) - loss) <= 0.6e-6
        assert toy_problem.near_the_minimiser(law) < 0.9
    assert toy_problem.mean_loss(law) > 0.2525 + 0.05


def test_binary_connect_settles_on_the_best_levels():
    """From 4.0 r goes to 4.75 within 1 / (2 rate) log 100 iterations; after 4,000, of 500 replicas
    none is elsewhere but for a chance of 500 exp(-.25**2 / (rate / 2)), 1e-8 at this rate. SR, on
    the same draws of gradients, has the exact share .884; Hoeffding for 500 at 1e-9 is .147."""
    rate, start = 0.005, np.full((500, 1), toy_problem.START)

    def gradient(w: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        return toy_problem.gradient(w) + draws.standard_normal(w.shape)

    rates = np.full(4000, rate)
    latent, walker = (
        simulate(rule, gradient, toy_problem.WIDE, start, rates, np.random.default_rng(8))
        for rule in (BC_NEAREST, SR)
    )

    def near(w: np.ndarray) -> float:
        return float((np.abs(w - toy_problem.MINIMISER) < 0.3).mean())

    assert near(latent.visible) == 1.0
    assert abs(near(walker.visible) - 0.884) <= 0.147
    assert near(walker.visible) < 1.0


def test_without_noise_weights_are_absorbed():
    chain = toy_problem.chain(0.1, None, toy_problem.NARROW)
    assert [13, 14] in recurrent_classes(chain)
    after = evolve(chain, np.eye(chain.size)[12], 10**4)
    assert after[13] + after[14] >= 1 - 1e-12


def test_a_million_iterations_may_not_be_enough():
    chain = toy_problem.chain(0.001, Gaussian(0.5), toy_problem.NARROW)
    law, starts = stationary_distribution(chain), np.eye(chain.size)
    assert total_variation(evolve(chain, starts[4], 10**6), law) > 0.5  # from 0
    assert total_variation(evolve(chain, starts[12], 10**6), law) < 1e-9  # from 4.0


# Temperature


@pytest.mark.parametrize("noise", [Gaussian(1.0), Uniform(1.3)])
@pytest.mark.parametrize("rate", [0.1, 0.7, 3.0])
def test_the_temperature_is_half_the_variance_of_a_move(noise: Gaussian | Uniform, rate: float):
    """E k**2 by quadrature over the exact law of SR, 20 nodes between the law's kinks, which lie at
    multiples of s / rate: exact for a polynomial density, and to 1e-9 for the Gaussian's."""
    lattice, s = Lattice(201, 0.5, -50.0), 0.5
    edges = np.unique(np.concatenate([np.arange(-60, 61) * s / rate, noise.breaks()]))
    edges = edges[np.abs(edges) <= float(noise.breaks()[-1])]
    nodes, weights = np.polynomial.legendre.leggauss(20)
    half = 0.5 * np.diff(edges)[:, None]
    g = (edges[:-1, None] + half * (1 + nodes)).ravel()
    mass = (half * weights).ravel() * noise.density(g)
    keep = np.abs(rate * g) < 40
    moves = np.arange(201) - 100.0
    spread = law(StochasticRounding(lattice), 100, rate * g[keep]) @ moves**2
    assert (
        abs(s**2 / (2 * rate) * float(mass[keep] @ spread) - rounding_temperature(noise, s, rate))
        <= 1e-9
    )


def test_the_temperature_has_a_floor():
    """It never falls below s E|g| / 2 and reaches it: at once for bounded noise."""
    for noise, size in ((Gaussian(1.0), math.sqrt(2 / math.pi)), (Uniform(2.0), 1.0)):
        floor = temperature_floor(noise, 0.5)
        assert abs(floor - 0.25 * size) <= 1e-15
        curve = [rounding_temperature(noise, 0.5, rate) for rate in 2.0 ** np.arange(-9.0, 4.0)]
        assert all(a <= b for a, b in pairwise(curve))
        assert curve[0] == floor
    assert (
        rounding_temperature(Uniform(2.0), 0.5, 0.25)
        == 0.25
        < rounding_temperature(Uniform(2.0), 0.5, 0.26)
    )
    with pytest.raises(ValueError, match="a learning rate is positive and finite, got 0"):
        rounding_temperature(Gaussian(1.0), 0.5, 0.0)
    with pytest.raises(ValueError, match="a temperature is positive and finite"):
        gibbs_law(np.zeros(2), -1.0)


def wide(curvature: float, std: float) -> tuple[Lattice, np.ndarray]:
    """A lattice of spacing 1/2 that holds 8 stds of the law of a quadratic, and that law."""
    floor = temperature_floor(Gaussian(std), 0.5)
    reach = math.ceil(16 * math.sqrt(floor / curvature))
    lattice = Lattice(2 * reach + 1, 0.5, -0.5 * reach)
    return lattice, limit_law(lambda w: curvature * w, Gaussian(std), lattice)


def test_weak_gradients_give_the_gibbs_law():
    """The distance falls like the curvature: a factor of 4, up to 4 % relative at h = .04."""
    floor = temperature_floor(Gaussian(1.0), 0.5)
    far: list[float] = []
    for curvature in (0.04, 0.01):
        lattice, found = wide(curvature, 1.0)
        loss = 0.5 * curvature * lattice.levels**2
        far.append(total_variation(found, gibbs_law(loss, floor)))
        assert total_variation(found, gibbs_law(loss, 1.2 * floor)) > 0.02
    assert abs(far[0] / far[1] - 4) <= 0.16


def test_the_batch_size_is_what_cools_stochastic_rounding():
    """Variance T / h with T ~ B**-1/2, up to relative h / 2; the toy's excess falls with B."""
    variances: list[float] = []
    for batch in (1, 4):
        lattice, found = wide(0.01, 1 / math.sqrt(batch))
        variances.append(float(found @ lattice.levels**2))
    assert abs(variances[1] / variances[0] - 0.5) <= 0.005
    excess = [
        toy_problem.mean_loss(
            limit_law(toy_problem.gradient, Gaussian(std), toy_problem.NARROW), toy_problem.NARROW
        )
        - 0.2525
        for std in (4.0, 2.0, 1.0, 0.5)
    ]
    assert np.abs(np.array(excess) - [0.382, 0.163, 0.0592, 0.0135]).max() <= 0.5e-3


def test_gradient_descent_cools_and_stochastic_rounding_does_not():
    """r of BC far from thresholds is plain descent, variance rate / (2 - rate); SR keeps its own.
    Within five standard errors of a variance, sqrt(2 / 2000)."""
    rate, lattice = 0.02, Lattice.uniform(-6.0, 6.0, 25)

    def gradient(w: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        return w + draws.standard_normal(w.shape)

    start, rates = np.zeros((2000, 1)), np.full(400, rate)
    run = simulate(SR, gradient, lattice, start, rates, np.random.default_rng(9))
    exact = limit_law(lambda w: w, Gaussian(1.0), lattice) @ lattice.levels**2
    assert abs(float(run.visible.var()) / float(exact) - 1) <= 5 * math.sqrt(2 / 2000) + 1e-3
    assert float(exact) > 10 * rate / (2 - rate)
