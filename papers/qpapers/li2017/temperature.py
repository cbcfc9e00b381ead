"""The temperature of stochastic rounding, which [li2017] explain by a toy problem."""

from __future__ import annotations

import math

from qpapers.ledger import Claim, Values
from qpapers.li2017 import toy_problem
from qtheory.algorithms import StochasticRounding
from qtheory.chain import MarkovChain, gibbs_law, stationary_distribution, total_variation
from qtheory.increments import noisy_increments_at_levels
from qtheory.lattice import Lattice
from qtheory.limits.generator import limit_law
from qtheory.limits.temperature import rounding_temperature, temperature_floor
from qtheory.noise import Gaussian
from qtheory.transition import weight_chain

TEST = "tests/papers/li2017/test_toy.py"
DIGITS = "half a unit of the last decimal given; ours is exact to 1e-9"


def temperatures() -> Values:
    """T of SR at rates 1, .5, .3, .1, .01 and its floor; std 1, spacing 1/2."""
    noise = Gaussian(1.0)
    found = [rounding_temperature(noise, 0.5, rate) for rate in (1.0, 0.5, 0.3, 0.1, 0.01)]
    return *found, temperature_floor(noise, 0.5)


def large_steps() -> Values:
    """T over rate E g**2 / 2 + spacing**2 / (12 rate) at rates 1, 2, 8; std 1, spacing 1/2."""
    return tuple(
        rounding_temperature(Gaussian(1.0), 0.5, rate) / (0.5 * rate + 0.25 / (12 * rate))
        for rate in (1.0, 2.0, 8.0)
    )


def distances_from_gibbs() -> Values:
    """TV(limit law, exp(-f / T)) for f = h w**2 / 2, std 1, spacing 1/2: h = .01 and .0025, over
    h = .04."""

    def far(curvature: float) -> float:
        levels = 2 * math.ceil(6.0 / math.sqrt(curvature)) + 1
        lattice = Lattice(levels, 0.5, -0.25 * (levels - 1))
        law = limit_law(lambda w: curvature * w, Gaussian(1.0), lattice)
        loss = 0.5 * curvature * lattice.levels**2
        return total_variation(law, gibbs_law(loss, temperature_floor(Gaussian(1.0), 0.5)))

    return far(0.01) / far(0.04), far(0.0025) / far(0.04)


def variances() -> Values:
    """Stationary variance of SR on F = h w**2 / 2, h = .01, spacing 1/2, over T / h, batch sizes 1,
    4, 16 (noise 1 / sqrt B): so T falls as B**-1/2."""
    curvature, lattice = 0.01, Lattice.uniform(-40.0, 40.0, 161)
    noises = [Gaussian(1.0 / math.sqrt(b)) for b in (1, 4, 16)]
    laws = [limit_law(lambda w: curvature * w, noise, lattice) for noise in noises]
    variance = [float(law @ lattice.levels**2) for law in laws]
    return variance[1] / variance[0], variance[2] / variance[1]


def batches() -> Values:
    """E f - .2525 under the limit law, std 4 / sqrt B, B = 1, 4, 16, 64."""
    laws = (
        limit_law(toy_problem.gradient, Gaussian(4.0 / b), toy_problem.NARROW)
        for b in (1.0, 2.0, 4.0, 8.0)
    )
    return tuple(toy_problem.mean_loss(law, toy_problem.NARROW) - 0.2525 for law in laws)


def shrinking() -> Values:
    """Stationary variance of plain gradient descent, and of SR, on F = w**2 / 2 at rates .1 and
    .001, noise of std 1, spacing 1/2, in units of the larger rate's."""
    descent = [rate / (2 - rate) for rate in (0.1, 0.001)]  # v = (1 - a)**2 v + a**2
    lattice = Lattice.uniform(-6.0, 6.0, 25)
    rounding: list[float] = []
    for rate in (0.1, 0.001):
        law = stationary_distribution(_quadratic(rate, lattice))
        rounding.append(float(law @ lattice.levels**2))
    return descent[1] / descent[0], rounding[1] / rounding[0]


def _quadratic(rate: float, lattice: Lattice) -> MarkovChain:
    laws = noisy_increments_at_levels(lambda w: w, lattice, rate, Gaussian(1.0))
    return weight_chain(StochasticRounding(lattice), laws)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="temperature",
        statement="Effective temperature of SR, std 1, s = 1/2, η = 1, 0.5, 0.3, 0.1, 0.01, and "
        "its floor s E abs(g) / 2",
        code=rounding_temperature,
        test=f"{TEST}::test_the_temperature_has_a_floor",
        printed="0.5215, 0.2920, 0.2196, 0.1995, 0.1995; 0.1995 (sampled)",
        number="noted",
        expected=(0.5215, 0.2920, 0.2196, 0.1995, 0.1995, 0.1995),
        tolerance=1e-3,
        why="the numbers given were sampled; 2 10^6 draws of g^2 / 2 have a standard error of 5e-4",
        run=temperatures,
        verdict="holds corrected",
    ),
    Claim(
        id="temperature-large",
        statement="Large steps: T over η E g^2 / 2 + s^2 / (12 η), η = 1, 2, 8",
        code=rounding_temperature,
        test=f"{TEST}::test_the_temperature_has_a_floor",
        printed="1",
        number="noted",
        expected=(1.0, 1.0, 1.0),
        tolerance=1e-9,
        why="what is left is exp(-2 (pi η std / s)^2), below 1e-30 (Poisson summation)",
        run=large_steps,
    ),
    Claim(
        id="temperature-sgd",
        statement="The temperature that is missing: variance at η = 0.001 over that at 0.1, "
        "F = w^2 / 2, for plain gradient descent (and r of BC) and for SR",
        code=temperature_floor,
        test=f"{TEST}::test_gradient_descent_cools_and_stochastic_rounding_does_not",
        printed="0.0095; 1 (ours)",
        number="ours",
        expected=(0.001 / 1.999 * 1.9 / 0.1, 1.0),
        tolerance=1e-4,
        why="jumps of two levels have probability exp(-12) at η = 0.1",
        run=shrinking,
    ),
    Claim(
        id="gibbs",
        statement="Weak gradients: the limit law tends to exp(-f / T), T = s E abs(g) / 2; TV for "
        "f = h w^2 / 2 at h = 0.01 and 0.0025 over that at 0.04: order h",
        code=gibbs_law,
        test=f"{TEST}::test_weak_gradients_give_the_gibbs_law",
        printed="1/4, 1/16 (ours)",
        number="ours",
        expected=(0.25, 0.0625),
        tolerance=0.01,
        why="the next order is relative h, 0.04",
        run=distances_from_gibbs,
    ),
    Claim(
        id="batch-quadratic",
        statement="Batch size anneals SR: T ~ B^(-1/2), so four times the batch halves the "
        "variance on a wide quadratic; B = 4 over 1, 16 over 4",
        code=limit_law,
        test=f"{TEST}::test_the_batch_size_is_what_cools_stochastic_rounding",
        printed="1/2, 1/2",
        number="noted",
        expected=(0.5, 0.5),
        tolerance=0.02,
        why="E abs(g) exceeds that of the noise by half of h^2 var(w) B, at most 0.016",
        run=variances,
    ),
    Claim(
        id="batch-toy",
        statement="Toy problem, std 4 / sqrt B: E f - 0.2525 under the limit law, B = 1, 4, 16, 64",
        code=limit_law,
        test=f"{TEST}::test_the_batch_size_is_what_cools_stochastic_rounding",
        printed="0.382, 0.163, 0.0592, 0.0135",
        number="noted",
        expected=(0.382, 0.163, 0.0592, 0.0135),
        tolerance=0.5e-3,
        why=DIGITS,
        run=batches,
    ),
)
