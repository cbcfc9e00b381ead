"""Smoothed stairs [spallanzani2019] [spallanzani2022]: expectation, derivatives, mode and draws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qpapers.extremes import largest, least
from qpapers.ledger import Claim, Values
from qtheory.lattice import Lattice
from qtheory.noise import (
    Gaussian,
    Logistic,
    Smoothing,
    Triangular,
    Uniform,
    quantile,
    with_scale,
)
from qtheory.stairs.smoothing import (
    draw,
    expectation,
    mode,
    slope,
    slope_in_mean,
    slope_in_scale,
)
from qtheory.stairs.stair import Stair

TEST = "tests/theory/stairs/test_smoothing.py"
TERNARY = Stair.nearest(Lattice.ternary())
UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.3, 0.5))
FAMILIES: tuple[Smoothing, ...] = (Uniform(1.0), Triangular(1.0), Gaussian(1.0), Logistic(1.0))


def over_quantiles() -> Values:
    """Largest difference of the expectation and a sum over 2000 quantiles, times 2N / height:
    four families, scales .3 and 1, means 0 and -.5."""
    n, x = 2000, np.linspace(-3.0, 3.0, 25)
    p = (np.arange(n) + 0.5) / n

    def error(noise: Smoothing, mean: float) -> float:
        sums = UNEVEN(x[:, None] - mean - quantile(noise, p)).mean(axis=1)
        return float(np.abs(sums - expectation(UNEVEN, noise, x, mean)).max())

    scaled = [with_scale(noise, s) for noise in FAMILIES for s in (0.3, 1.0)]
    worst = largest(error(noise, mean) for noise in scaled for mean in (0.0, -0.5))
    return (worst * 2 * n / UNEVEN.height,)


def finite_differences() -> Values:
    """Largest difference from central differences relative to the largest derivative: in x, in the
    mean, in the scale; four families, scale .6; h = 1e-5."""
    h, x = 1e-5, np.linspace(-2.0, 2.0, 41) + math.sqrt(2) / 1000

    def error(found: np.ndarray, at: Callable[[float], np.ndarray]) -> float:
        return float(np.abs((at(h) - at(-h)) / (2 * h) - found).max() / np.abs(found).max())

    def errors(noise: Smoothing) -> tuple[float, float, float]:
        return (
            error(slope(UNEVEN, noise, x), lambda e: expectation(UNEVEN, noise, x + e)),
            error(slope_in_mean(UNEVEN, noise, x), lambda e: expectation(UNEVEN, noise, x, e)),
            error(
                slope_in_scale(UNEVEN, noise, x),
                lambda e: expectation(UNEVEN, with_scale(noise, 0.6 + e), x),
            ),
        )

    rows = np.array([errors(with_scale(noise, 0.6)) for noise in FAMILIES])
    return tuple(float(v) for v in rows.max(axis=0))


def clipped_identity() -> Values:
    """Largest abs(E - clip(x, -1, 1)), and of slope - 1 on [-1, 1), 1/64 apart: ternary, uniform
    of half width 1/2."""
    x = np.arange(-160, 161) / 64
    inside = x[(x >= -1) & (x < 1)]
    gap = np.abs(expectation(TERNARY, Uniform(0.5), x) - np.clip(x, -1, 1)).max()
    return float(gap), float(np.abs(slope(TERNARY, Uniform(0.5), inside) - 1).max())


def counted_at_ends() -> Values:
    """Slope at 0 of the same, from the right; and with both closed ends of the window counted."""
    closed = Uniform(0.5).density(-np.array(TERNARY.thresholds)) @ TERNARY.jumps
    return float(slope(TERNARY, Uniform(0.5), np.zeros(1))[0]), float(closed)


def tends_up() -> Values:
    """Expectation at the threshold 1/2 of a ternary stair, normal noise of std .01, three means."""
    x = np.array([0.5])
    return tuple(float(expectation(TERNARY, Gaussian(0.01), x, m)[0]) for m in (-0.1, 0.1, 0.0))


def draws_at_the_ends() -> Values:
    """Lowest and highest position drawn with the words 0 and 2^32 - 1 at 4001 points, 16 levels,
    four families."""
    stair, x = Stair.whole(4, signed=True), np.linspace(-12.0, 12.0, 4001)
    words = [np.full(x.shape, w, dtype=np.uint32) for w in (0, 2**32 - 1)]
    drawn = [draw(stair, noise, x, w) for noise in FAMILIES for w in words]
    return float(least(d.min() for d in drawn)), float(largest(d.max() for d in drawn))


def hard_modes() -> Values:
    """Points at which mode and ternary stair differ, 1/128 off the 64ths: uniform and triangular
    of half width 1/2."""
    x = np.arange(-128, 128) / 64 + 1 / 128
    return tuple(
        float((mode(TERNARY, noise, x) != TERNARY.index(x)).sum())
        for noise in (Uniform(0.5), Triangular(0.5))
    )


def monte_carlo() -> Values:
    """Largest difference of the mean of N = 10^5 draws and the expectation, times sqrt N: ternary
    stair, nine points, scales 0.3 and 1, means 0 and -0.5, families in order."""
    generator = np.random.default_rng(2022)
    x, n = np.linspace(-2.0, 2.0, 9), 100_000

    def error(noise: Smoothing, mean: float) -> float:
        e = quantile(noise, generator.random(n))
        found = TERNARY(x[:, None] - mean - e).mean(axis=1)
        return float(np.abs(found - expectation(TERNARY, noise, x, mean)).max()) * math.sqrt(n)

    return tuple(
        largest(error(with_scale(noise, s), m) for s in (0.3, 1.0) for m in (0.0, -0.5))
        for noise in FAMILIES
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="stair-expectation",
        statement="E q(x - ν) = q_0 + sum d_i F(x - μ - t_i): largest difference from a sum "
        "over N = "
        "2000 quantiles, in units of height / 2N; four families, scales 0.3 and 1, μ = 0 and "
        "-0.5",
        code=expectation,
        test=f"{TEST}::test_the_expectation_is_a_sum_over_quantiles",
        printed="at most 1",
        number="noted",
        expected=(1.0,),
        tolerance=1e-8,
        why="a threshold has N F quantiles below it to within 1/2; rounding 2^-52 times 2N",
        run=over_quantiles,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="stair-monte-carlo",
        statement="The same by drawing: largest difference from the mean of N = 10^5 draws, in "
        "units of 1 / sqrt N; ternary stair, nine points, two scales, two means, four families",
        code=expectation,
        test=f"{TEST}::test_the_expectation_is_a_sum_over_quantiles",
        printed="below 5",
        number="noted",
        expected=(5.0, 5.0, 5.0, 5.0),
        tolerance=0.0,
        why="the std of a value in [-1, 1] is at most 1, so 5 is 5 standard errors or more",
        run=monte_carlo,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="stair-derivatives",
        statement="Backward formula, and derivatives in mean and scale, against central "
        "differences: largest error over largest derivative, in x, μ, s",
        code=slope_in_scale,
        test=f"{TEST}::test_derivatives_are_central_differences",
        printed="0 to 1e-6",
        number="noted",
        expected=(0.0, 0.0, 0.0),
        tolerance=1e-6,
        why="step 1e-5: h^2 / 6 times a third derivative below 400 is 7e-9, rounding 1e-15 / h is"
        " 1e-10; derivatives are above 1",
        run=finite_differences,
    ),
    Claim(
        id="stair-clip",
        statement="Ternary stair, uniform noise of half width 1/2: expectation is clip(x, -1, "
        "1), slope 1 inside: largest differences",
        code=expectation,
        test=f"{TEST}::test_ends_of_a_window_are_counted_once",
        printed="0, 0",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=0.0,
        why="64ths, halves and their sums are exact",
        run=clipped_identity,
    ),
    Claim(
        id="stair-ends",
        statement="Slope of the same at 0: derivative from the right, and with both closed "
        "ends of the window counted, as in the public code",
        code=slope,
        test=f"{TEST}::test_ends_of_a_window_are_counted_once",
        printed="1, 2",
        number="noted",
        expected=(1.0, 2.0),
        tolerance=0.0,
        why="exact",
        run=counted_at_ends,
    ),
    Claim(
        id="stair-mean",
        statement="Value at the threshold 1/2 as noise vanishes (normal, std 0.01): mean -0.1 "
        "tends to the upper level (H+), +0.1 to the lower, 0 to the middle",
        code=expectation,
        test=f"{TEST}::test_the_expectation_is_a_sum_over_quantiles",
        printed="1, 0, 1/2",
        number="noted",
        expected=(1.0, 0.0, 0.5),
        tolerance=1e-15,
        why="tail of 10 stds is 8e-24; a rounding of 1",
        run=tends_up,
    ),
    Claim(
        id="stair-draw",
        statement="Positions drawn with the extreme words, 4001 inputs, 16 levels, four families: "
        "lowest and highest",
        code=draw,
        test=f"{TEST}::test_draws_have_the_law",
        printed="0, 15: none outside",
        number="noted",
        expected=(0.0, 15.0),
        tolerance=0.0,
        why="whole numbers",
        run=draws_at_the_ends,
    ),
    Claim(
        id="stair-hard",
        statement="Uniform and triangular noise up to half the spacing: inputs off ties where "
        "the mode is not the hard stair",
        code=mode,
        test=f"{TEST}::test_the_mode_is_the_stair_under_little_bounded_noise",
        printed="0, 0",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=0.0,
        why="a count",
        run=hard_modes,
    ),
)
