"""The temperature of a walker with hidden levels, which halves with each bit."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from qpapers.hidden_levels.seen import WIDTH, walker
from qpapers.ledger import Claim, Values
from qtheory import Lattice, StochasticRounding
from qtheory.algorithms import law
from qtheory.algorithms.walker import hidden
from qtheory.chain import gibbs_law, stationary_distribution, total_variation
from qtheory.increments import ContinuousIncrements, noisy_increments_at_levels
from qtheory.limits.generator import limit_law
from qtheory.limits.temperature import (
    rounding_temperature,
    rounding_variance,
    temperature_floor,
)
from qtheory.noise import Gaussian, Points, Uniform
from qtheory.transition import weight_chain

TEST = "tests/theory/limits/test_temperature.py"
SIDES = (7, 15, 31, 63, 127)
NOISE = Uniform(1.0)


def rounding() -> Values:
    """E f (1 - f) of normal increments of std 0.1, 0.3, 0.5, 1 spacings, by the law itself."""
    spec = StochasticRounding(Lattice(41, 1.0, -20.0))
    e = np.linspace(-13.0, 13.0, 20_001)
    found: list[float] = []
    for std in (0.1, 0.3, 0.5, 1.0):
        pmf = law(spec, 20, std * e)
        moves = spec.lattice.levels
        variance = pmf @ moves**2 - (pmf @ moves) ** 2
        weights = np.exp(-0.5 * e**2)
        found.append(float(weights @ variance / weights.sum()))
    return tuple(found)


def rounding_closed() -> Values:
    """The same in closed form."""
    return tuple(rounding_variance(Gaussian(std), 1.0) for std in (0.1, 0.3, 0.5, 1.0))


def halvings() -> Values:
    """T of b bits over that of b + 1, b = 2 ... 7, at a rate where increments are below 1 / 127;
    then at one where they have a std of 0.05."""
    found: list[float] = []
    for rate in (1e-4, 0.05):
        each = [rounding_temperature(Gaussian(1.0), 1 / z, rate) for z in (1, 3, *SIDES)]
        found += [hot / cold for hot, cold in pairwise(each)]
    return tuple(found)


def shares() -> Values:
    """Share of rounding in T at std 1/4, 1, 4 spacings of the increment."""
    found: list[float] = []
    for std in (0.25, 1.0, 4.0):
        added = rounding_variance(Gaussian(std), 1.0)
        found.append(added / (added + std**2))
    return tuple(found)


def spreads() -> Values:
    """Variance over T / h on h w**2 / 2 with T = 0.01 h, uniform noise, b = 4 ... 8, by the chain
    at a learning rate of 1 / 1000, over 1 / (1 - T h)."""
    found: list[float] = []
    for z, bits in zip(SIDES, range(4, 9), strict=True):
        lattice = hidden(bits)["lattice"]
        temperature = temperature_floor(NOISE, 1 / z)
        h = temperature / 0.01
        laws = noisy_increments_at_levels(lambda w, h=h: h * w, lattice, 1e-3, NOISE)
        pi = stationary_distribution(weight_chain(StochasticRounding(lattice), laws))
        found.append(float(pi @ lattice.levels**2) / 0.01 * (1 - temperature * h))
    return tuple(found)


def well(w: Points) -> Points:
    """Two wells at -1/2 and 1/2, the left one deeper by 1/2, 1 high."""
    return (w**2 - 0.25) ** 2 / 0.0625 + 0.5 * w


def slope(w: Points) -> Points:
    """Its derivative."""
    return 4 * w * (w**2 - 0.25) / 0.0625 + 0.5


def wells() -> Values:
    """TV of the walker's law to Gibbs' for V = 2 T well, b = 5, 6, 7 over that of b + 1."""
    apart: list[float] = []
    for bits in range(5, 9):
        lattice = hidden(bits)["lattice"]
        depth = 2 * temperature_floor(NOISE, lattice.spacing)
        settled = limit_law(lambda w, depth=depth: depth * slope(w), NOISE, lattice)
        apart.append(total_variation(settled, gibbs_law(2 * well(lattice.levels), 1.0)))
    return tuple(one / two for one, two in pairwise(apart))


def shares_of_wells() -> Values:
    """Share of the left well at 8 bits, and in Gibbs' law."""
    lattice = hidden(8)["lattice"]
    depth = 2 * temperature_floor(NOISE, lattice.spacing)
    settled = limit_law(lambda w: depth * slope(w), NOISE, lattice)
    left = lattice.levels < 0
    return float(settled[left].sum()), float(gibbs_law(2 * well(lattice.levels), 1.0)[left].sum())


def strong_forces() -> Values:
    """T read off neighbours of the law over s E abs(e) / 2, forces of 0.1, 0.4, 0.8 of the half
    width of uniform noise, 6 bits."""
    found: list[float] = []
    for force in (0.1, 0.4, 0.8):
        pi = walker(6, (ContinuousIncrements(force * WIDTH, Uniform(WIDTH)),) * 3)[2]
        weak = temperature_floor(Uniform(WIDTH), 1 / 31)
        found.append(force * WIDTH / 31 / math.log(pi[1] / pi[0]) / weak)
    return tuple(found)


CLAIMS = (
    Claim(
        id="temperature-variance",
        statement="Rounding adds the variance s^2 f (1 - f) an iteration; E f (1 - f) of normal "
        "increments of std r = 0.1, 0.3, 0.5, 1 spacings, by the law and then in closed form, 1/6 "
        "- sum over k of exp(-2 (pi k r)^2) / (pi k)^2: E abs(x) - E x^2 at small r, 1/6 at large",
        code=rounding_variance,
        test=f"{TEST}::test_it_is_the_variance_of_the_law",
        printed="0.069788, 0.149500, 0.165938, 0.166667, twice",
        number="ours",
        expected=(0.069788, 0.149500, 0.165938, 0.166667) * 2,
        tolerance=1e-6,
        why="half a unit of the sixth decimal, and as much of the sum over 20,001 points",
        run=lambda: (*rounding(), *rounding_closed()),
    ),
    Claim(
        id="temperature-bits",
        statement="T of b bits over that of b + 1, b = 2 ... 7: at small learning rates the ratio "
        "of Z, 3, 7/3, 15/7, ..., whatever the noise; at increments of std 0.05 more bits stop "
        "paying where s falls below them",
        code=rounding_temperature,
        test=f"{TEST}::test_the_temperature_is_that_of_descent_and_of_rounding",
        printed="3, 7/3, 15/7, 31/15, 63/31, 127/63; 3.000, 2.326, 1.764, 1.212, 1.052, 1.013",
        number="ours",
        expected=(
            *(3.0, 7 / 3, 15 / 7, 31 / 15, 63 / 31, 127 / 63),
            *(3.0, 2.326, 1.764, 1.212, 1.052, 1.013),
        ),
        tolerance=5e-4,
        why="half a unit of the third decimal",
        run=halvings,
    ),
    Claim(
        id="temperature-share",
        statement="Share of rounding in T, the rest being that of the latent, at increments of std "
        "1/4, 1 and 4 spacings: the knee of the temperature is where s is the increment",
        code=rounding_variance,
        test=f"{TEST}::test_the_temperature_is_that_of_descent_and_of_rounding",
        printed="0.6867, 1/7, 1/97",
        number="ours",
        expected=(0.6867, 1 / 7, 1 / 97),
        tolerance=5e-5,
        why="half a unit of the fourth decimal; at 1 spacing E f (1 - f) is 1/6 to 3e-10",
        run=shares,
    ),
    Claim(
        id="temperature-quadratic",
        statement="F = h w^2 / 2, uniform noise of half width 1, T = s / 4 at a hundredth of h: "
        "the variance is (T / h) / (1 - T h) exactly, as E abs(g) is 1/2 + h^2 w^2 / 2; chain over "
        "formula, b = 4 ... 8",
        code=weight_chain,
        test="tests/papers/test_hidden_levels.py::test_the_spread_in_a_quadratic_is_exact",
        printed="1, five times",
        number="ours",
        expected=(1.0,) * 5,
        tolerance=2e-5,
        why="with 4 bits the force exceeds the noise from 2.8 stds on, where E abs(g) is less than "
        "the formula's by some 2e-3 of itself times the share of 0.5 %; with more bits it does not "
        "where the law is",
        run=spreads,
    ),
    Claim(
        id="temperature-wells",
        statement="Two wells, V = 2 T ((4 w^2 - 1)^2 + w / 2): TV of the law to exp(-V / T) falls "
        "with the square of force over noise, so with (Z' / Z)^2 a bit; b = 5, 6, 7 over b + 1",
        code=gibbs_law,
        test="tests/papers/test_hidden_levels.py::test_two_wells_have_the_law_of_gibbs",
        printed="(31/15)^2, (63/31)^2, (127/63)^2",
        number="ours",
        expected=((31 / 15) ** 2, (63 / 31) ** 2, (127 / 63) ** 2),
        tolerance=0.15,
        why="the next order is the fourth power, relative (force / noise)^2, 0.03 at 5 bits where "
        "the law is",
        run=wells,
        printed_of="(31/15)**2, (63/31)**2, (127/63)**2",
    ),
    Claim(
        id="temperature-deep",
        statement="There share of the left well, 8 bits, and in Gibbs' law",
        code=limit_law,
        test="tests/papers/test_hidden_levels.py::test_two_wells_have_the_law_of_gibbs",
        printed="0.70351, 0.70350",
        number="ours",
        expected=(0.70351, 0.70350),
        tolerance=1e-5,
        why="twice half a unit of the fifth decimal",
        run=shares_of_wells,
    ),
    Claim(
        id="temperature-strong",
        statement="A force of a share d of uniform noise's half width has its own temperature, "
        "T 2 d / ln((1 + d) / (1 - d)), at any fineness: T read off the law of 6 bits over s E "
        "abs(e) / 2, d = 0.1, 0.4, 0.8",
        code=temperature_floor,
        test="tests/papers/test_hidden_levels.py::test_a_strong_force_has_its_own_temperature",
        printed="0.996658, 0.944178, 0.728191",
        number="ours",
        expected=tuple(2 * d / math.log((1 + d) / (1 - d)) for d in (0.1, 0.4, 0.8)),
        tolerance=1e-9,
        why="neighbours of a stationary law of 63 levels, some hundred roundings each",
        run=strong_forces,
        printed_of="2*0.1/log(1.1/0.9), 2*0.4/log(1.4/0.6), 2*0.8/log(1.8/0.2)",
    ),
)
