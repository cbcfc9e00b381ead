"""Smoothed stairs [spallanzani2019] [spallanzani2022]: Lipschitz bounds, ripple, W1 distances."""

from __future__ import annotations

import math

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.lattice import Lattice
from qtheory.noise import (
    Cauchy,
    Gaussian,
    Logistic,
    Smoothing,
    Triangular,
    Uniform,
    peak,
    with_scale,
)
from qtheory.stairs.smoothing import (
    distance,
    distance_bound,
    expectation,
    lipschitz,
    ripple,
    ripple_by_poisson,
    slope,
)
from qtheory.stairs.stair import Stair

TEST = "tests/theory/stairs/test_smoothing.py"
TERNARY = Stair.nearest(Lattice.ternary())
UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.3, 0.5))
FAMILIES: tuple[Smoothing, ...] = (Uniform(1.0), Triangular(1.0), Gaussian(1.0), Logistic(1.0))
PERIOD = np.linspace(-0.5, 0.5, 1001)

STAIRS = (TERNARY, UNEVEN, Stair.whole(4, signed=True))
SCALED = tuple(with_scale(noise, s) for noise in FAMILIES for s in (0.1, 0.5, 2.0))


def over_its_bounds() -> Values:
    """Largest Lipschitz constant over its bound: by peak, by variation, by spacing."""
    rows = np.array([lipschitz(stair, noise) for stair in STAIRS for noise in SCALED])
    return tuple(float(v) for v in (rows[:, :1] / rows[:, 1:]).max(axis=0))


def spacing_wins() -> Values:
    """16 levels, normal of std 2: the constant, by peak, by spacing."""
    bounds = lipschitz(Stair.whole(4, signed=True), Gaussian(2.0))
    return bounds.exact, bounds.by_peak, bounds.by_spacing


def difference_of_bounds() -> Values:
    """Largest relative difference of the bounds by peak and by variation."""
    all_bounds = [lipschitz(TERNARY, noise) for noise in (*SCALED, Cauchy(0.3))]
    return (largest(abs(b.by_variation / b.by_peak - 1) for b in all_bounds),)


def met_by_a_step() -> Values:
    """Slope of one step at its threshold over height times peak, over families: all 1."""
    step = Stair.step(-1.0)
    return tuple(
        float(slope(step, noise, np.zeros(1))[0] / (2 * peak(noise))) for noise in FAMILIES
    )


def extremes(noise: Smoothing) -> Values:
    """Smallest and largest ripple over a period."""
    values = ripple(noise, PERIOD, 60)
    return float(values.min()), float(values.max())


def ripples() -> Values:
    """Extremes: normal 1/4 and 1/2, logistic 1/4 and 1/2, triangular 1/2."""
    noises = (Gaussian(0.25), Gaussian(0.5), Logistic(0.25), Logistic(0.5), Triangular(0.5))
    return tuple(value for noise in noises for value in extremes(noise))


def flat() -> Values:
    """Largest abs(ripple - 1): uniform 1/2, 1, 3/2 and triangular 1, 2."""
    noises = (Uniform(0.5), Uniform(1.0), Uniform(1.5), Triangular(1.0), Triangular(2.0))
    return tuple(largest(abs(value - 1) for value in extremes(noise)) for noise in noises)


def two_sums() -> Values:
    """Largest difference of the ripple by the two sums: normal 1/4, logistic 1/4."""
    return tuple(
        float(np.abs(ripple(n, PERIOD, 60) - ripple_by_poisson(n, PERIOD, 30)).max())
        for n in (Gaussian(0.25), Logistic(0.25))
    )


def closed_cauchy() -> Values:
    """Largest difference of the ripple and sinh / (cosh - cos), Cauchy of scale .2."""
    w = 2 * math.pi * 0.2
    closed = math.sinh(w) / (math.cosh(w) - np.cos(2 * math.pi * PERIOD))
    return (float(np.abs(ripple_by_poisson(Cauchy(0.2), PERIOD, 40) - closed).max()),)


def narrow_distances() -> Values:
    """W1 of a ternary stair: uniform and triangular of half width 1/2."""
    return distance(TERNARY, Uniform(0.5)), distance(TERNARY, Triangular(0.5))


def shares_of_a_step() -> Values:
    """W1 over its bound, one step, four families."""
    step = Stair.step()
    return tuple(distance(step, noise) / distance_bound(step, noise) for noise in FAMILIES)


def shares_of_a_ternary() -> Values:
    """W1 over its bound, ternary stair, four families of scale 1."""
    return tuple(distance(TERNARY, noise) / distance_bound(TERNARY, noise) for noise in FAMILIES)


def wide_and_summed() -> Values:
    """Largest difference of W1 and a midpoint sum, ternary, scale 1, mean -.3, four families."""
    x = np.arange(-45.0, 45.0, 1e-3) + 0.5e-3

    def difference(noise: Smoothing) -> float:
        gaps = np.abs(expectation(TERNARY, noise, x, -0.3) - TERNARY(x))
        return abs(float(gaps.sum()) * 1e-3 - distance(TERNARY, noise, -0.3))

    return (largest(map(difference, FAMILIES)),)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="lipschitz-bounds",
        statement="Lipschitz constant over (q_T - q_0) f_max / s, (q_T - q_0) TV(f) / 2s, d "
        "(f_max / s + 1 / D): largest of 3 stairs, 4 families, 3 scales; at most 1",
        code=lipschitz,
        test=f"{TEST}::test_lipschitz_bounds",
        printed="at most 1",
        number="noted",
        expected=(1.0, 1.0, 1.0),
        tolerance=1e-14,
        why="sums of 15 terms, each rounded to 2^-53",
        run=over_its_bounds,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="lipschitz-unimodal",
        statement="The bounds by peak and by variation agree for unimodal densities: largest "
        "relative difference",
        code=lipschitz,
        test=f"{TEST}::test_lipschitz_bounds",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=1e-13,
        why="the variation adds at most 200 differences of densities, each rounded to 2^-53",
        run=difference_of_bounds,
    ),
    Claim(
        id="lipschitz-step",
        statement="One step: slope at its threshold over the bound by peak, four families",
        code=lipschitz,
        test=f"{TEST}::test_a_stair_of_one_step_meets_the_bound_by_peak",
        printed="1, 1, 1, 1",
        number="noted",
        expected=(1.0, 1.0, 1.0, 1.0),
        tolerance=1e-15,
        why="the same density, twice: 4 roundings",
        run=met_by_a_step,
    ),
    Claim(
        id="lipschitz-many",
        statement="16 unit jumps, normal noise of std 2: the constant is near 1, the bound by "
        "spacing stays at 1 + f_max / s, the bound by peak grows with the number of levels",
        code=lipschitz,
        test=f"{TEST}::test_lipschitz_bounds",
        printed="1, 15 / (2 sqrt 2π), 1 + 1 / (2 sqrt 2π)",
        number="noted",
        expected=(1.0, 15 / (2 * math.sqrt(2 * math.pi)), 1 + 1 / (2 * math.sqrt(2 * math.pi))),
        tolerance=1e-3,
        why="15 thresholds within 7 of the middle: P(abs(e) > 7) = 4.7e-4 at std 2; the other two"
        " exact",
        run=spacing_wins,
        printed_of="1, 15/(2*sqrt(2*pi)), 1 + 1/(2*sqrt(2*pi))",
    ),
    Claim(
        id="ripple-extremes",
        statement="Slope of the stair of integers, smallest and largest: normal 1/4, 1/2, "
        "logistic 1/4, 1/2, triangular 1/2",
        code=ripple,
        test=f"{TEST}::test_ripple_by_two_sums",
        printed=".4319 1.5968, .9856 1.0144, .8601 1.1440, .9980 1.0020, 0 2",
        number="noted",
        expected=(0.4319, 1.5968, 0.9856, 1.0144, 0.8601, 1.1440, 0.9980, 1.0020, 0.0, 2.0),
        tolerance=0.5e-4,
        why="half a unit of the fourth decimal",
        run=ripples,
    ),
    Claim(
        id="ripple-flat",
        statement="Exactly 1, the identity STE inside the range: uniform 1/2, 1, 3/2 and "
        "triangular 1, 2; largest difference",
        code=ripple,
        test=f"{TEST}::test_ends_of_a_window_are_counted_once",
        printed="0",
        number="noted",
        expected=(0.0, 0.0, 0.0, 0.0, 0.0),
        tolerance=4e-15,
        why="121 terms, at most 4 not 0, of points rounded to 2^-54",
        run=flat,
    ),
    Claim(
        id="ripple-poisson",
        statement="Poisson summation, 1 + 2 sum φ(2πj) cos(2πjx): largest difference from the "
        "direct sum, normal 1/4, logistic 1/4",
        code=ripple_by_poisson,
        test=f"{TEST}::test_ripple_by_two_sums",
        printed="0, 0",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=1e-14,
        why="waves left out are below exp(-30 π^2 / 2), direct terms below exp(-200); 121 "
        "roundings of numbers below 1",
        run=two_sums,
    ),
    Claim(
        id="ripple-cauchy",
        statement="Cauchy noise (ours): sinh(2πs) / (cosh(2πs) - cos(2πx)), s = 0.2: largest "
        "difference",
        code=ripple_by_poisson,
        test=f"{TEST}::test_ripple_of_a_cauchy_noise_in_closed_form",
        printed="0",
        number="ours",
        expected=(0.0,),
        tolerance=1e-13,
        why="waves left out are below exp(-50); rounding of a sum of 40 terms",
        run=closed_cauchy,
    ),
    Claim(
        id="w1-narrow",
        statement="W1 distance of the smoothed ternary stair, uniform and triangular of half "
        "width 1/2, meets (q_T - q_0) E abs(ν)",
        code=distance,
        test=f"{TEST}::test_the_distance_is_an_integral",
        printed="0.50000, 0.33333",
        number="noted",
        expected=(0.5, 1 / 3),
        tolerance=1e-15,
        why="a handful of roundings of numbers below 1",
        run=narrow_distances,
    ),
    Claim(
        id="w1-step",
        statement="W1 over its bound, one step under the four families, scale 1: equality",
        code=distance,
        test=f"{TEST}::test_the_distance_bound_is_met_by_one_step",
        printed="1, 1, 1, 1",
        number="noted",
        expected=(1.0, 1.0, 1.0, 1.0),
        tolerance=2e-15,
        why="8 roundings",
        run=shares_of_a_step,
    ),
    Claim(
        id="w1-wide",
        statement="and strictly less for a ternary stair under noises that overlap, scale 1",
        code=distance_bound,
        test=f"{TEST}::test_the_distance_is_an_integral",
        printed="below 1",
        number="noted",
        expected=(1.0, 1.0, 1.0, 1.0),
        tolerance=0.0,
        why="an inequality; found below 0.95",
        run=shares_of_a_ternary,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="w1-sum",
        statement="W1 against a midpoint sum of step 1e-3, ternary, scale 1, mean -0.3: largest "
        "difference",
        code=distance,
        test=f"{TEST}::test_the_distance_is_an_integral",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=8e-3,
        why="the sum errs by at most the step times the variation of the difference, 2 (q_T - "
        "q_0) = 4, doubled",
        run=wide_and_summed,
    ),
)
