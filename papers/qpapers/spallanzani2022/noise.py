"""Noises of [spallanzani2019] [spallanzani2022] at unit scale, and settings of the public code."""

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
    Points,
    Smoothing,
    Triangular,
    Uniform,
    characteristic,
    mean_size,
    peak,
    quantile,
    roughness,
    std_of,
    with_scale,
)
from qtheory.schedules import scale_with_mass
from qtheory.stairs.smoothing import draw, law, mode
from qtheory.stairs.stair import Stair

TEST = "tests/theory/noise/test_facts.py"
SMOOTHING_TEST = "tests/theory/stairs/test_smoothing.py"
FAMILIES: tuple[Smoothing, ...] = (Uniform(1.0), Triangular(1.0), Gaussian(1.0), Logistic(1.0))
TERNARY = Stair.nearest(Lattice.ternary())
EXACT = "formulas of a few operations on numbers below 2, each exact to 2^-53"
FIVE = "half a unit of the fifth decimal"


def waves() -> Values:
    """Largest difference of characteristic functions and a midpoint sum of cos over 10^4
    quantiles, families in order, w = .5, 1, 2, 5."""
    w = np.array([0.5, 1.0, 2.0, 5.0])
    p = (np.arange(10_000) + 0.5) / 10_000

    def error(noise: Smoothing) -> float:
        sums = np.cos(w[:, None] * quantile(noise, p)).mean(axis=1)
        return float(np.abs(sums - characteristic(noise, w)).max())

    return tuple(map(error, FAMILIES))


def first_scales() -> Values:
    """Logistic and normal, 95 % within 1/2."""
    return tuple(scale_with_mass(noise, 0.95, 0.5) for noise in (Logistic(1.0), Gaussian(1.0)))


def first_peaks() -> Values:
    """Peak gradients at a threshold of unit jump at the first scales, families in order."""
    logistic, normal = first_scales()
    scales = (0.5, 0.5, normal, logistic)
    return tuple(peak(with_scale(n, s)) for n, s in zip(FAMILIES, scales, strict=True))


def scales_without_a_middle() -> Values:
    """1 / 2 over the quantile of 2/3, families in order."""
    return tuple(0.5 / float(quantile(noise, np.array([2 / 3]))[0]) for noise in FAMILIES)


def middle_at_its_centre() -> Values:
    """Mode at 0 of a ternary stair, 1 % below and 1 % above these scales, families in order."""
    pairs = zip(FAMILIES, scales_without_a_middle(), strict=True)
    modes = [
        float(mode(TERNARY, with_scale(noise, factor * scale), np.zeros(1))[0])
        for noise, scale in pairs
        for factor in (0.99, 1.01)
    ]
    return tuple(modes)


def sums_of_laws() -> Values:
    """Largest abs(sum - 1) and smallest entry of laws, 16 levels, N(0, 1)-like inputs."""
    stair = Stair.whole(4, signed=True)
    x = np.linspace(-4.0, 4.0, 2001)
    laws = [law(stair, noise, x) for noise in FAMILIES]
    gaps = [float(np.abs(p.sum(axis=-1) - 1.0).max()) for p in laws]
    return largest(gaps), -least(float(p.min()) for p in laws)


def open_cumulative_sums() -> Values:
    """Shares of points whose float32 cumulative law ends below 1: normal noise, s = .2551, 10^5
    quantiles of N(0, 1), stairs of 3, 4 and 16 levels; a uniform number above finds no level. With
    F rounded once to float32, then with F as (1 + erf) / 2 in float32."""
    x = quantile(Gaussian(1.0), (np.arange(100_000) + 0.5) / 100_000)

    def share(stair: Stair, rounded: Callable[[Points], Points]) -> float:
        above = rounded((x[:, None] - np.array(stair.thresholds)) / 0.2551)
        ends = np.ones((len(x), 1)), np.zeros((len(x), 1))
        column = np.concatenate([ends[0], above, ends[1]], axis=1).astype(np.float32)
        total = np.cumsum(column[:, :-1] - column[:, 1:], axis=1, dtype=np.float32)[:, -1]
        return float((total < 1.0).mean())

    def once(u: Points) -> Points:
        return Gaussian(1.0).tail(-u).astype(np.float32)

    def twice(u: Points) -> Points:
        error_function = (1.0 - 2.0 * Gaussian(1.0).tail(u)).astype(np.float32)
        return np.float32(0.5) * (np.float32(1.0) + error_function)

    stairs = (TERNARY, Stair.whole(2, signed=True), Stair.whole(4, signed=True))
    return tuple(share(stair, rounded) for rounded in (once, twice) for stair in stairs)


def frequencies() -> Values:
    """Largest difference of the law and the share of every 16-bit word that draws a level, times
    2^16: ternary stair, five points, families in order."""
    words = (np.arange(2**16, dtype=np.uint32) << 16) + np.uint32(2**15)

    def error(noise: Smoothing, x: float) -> float:
        drawn = draw(TERNARY, noise, np.full(2**16, x), words)
        counts = np.bincount(drawn, minlength=3)
        return float(np.abs(counts - 2**16 * law(TERNARY, noise, np.array(x))).max())

    return tuple(largest(error(n, x) for x in (-3.0, -0.5, 0.1, 0.7, 2.0)) for n in FAMILIES)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="family-std",
        statement="std of unit scale: uniform, triangular, normal, logistic",
        code=std_of,
        test=f"{TEST}::test_facts_are_integrals",
        printed=".57735, .40825, 1, 1.81380",
        number="noted",
        expected=(3**-0.5, 6**-0.5, 1.0, math.pi / math.sqrt(3)),
        tolerance=4e-15,
        why=EXACT,
        run=lambda: tuple(map(std_of, FAMILIES)),
    ),
    Claim(
        id="family-peak",
        statement="Peak density at unit scale, same order",
        code=peak,
        test=f"{TEST}::test_numbers_are_those_of_the_closed_forms",
        printed="1/2, 1, .39894, 1/4",
        number="noted",
        expected=(0.5, 1.0, 1 / math.sqrt(2 * math.pi), 0.25),
        tolerance=4e-15,
        why=EXACT,
        run=lambda: tuple(map(peak, FAMILIES)),
    ),
    Claim(
        id="family-size",
        statement="E abs(noise) at unit scale, same order",
        code=mean_size,
        test=f"{TEST}::test_facts_are_integrals",
        printed="1/2, 1/3, .79788, 2 log 2",
        number="noted",
        expected=(0.5, 1 / 3, math.sqrt(2 / math.pi), 2 * math.log(2)),
        tolerance=4e-15,
        why=EXACT,
        run=lambda: tuple(map(mean_size, FAMILIES)),
        printed_of="1/2, 1/3, sqrt(2/pi), 2*log(2)",
    ),
    Claim(
        id="family-roughness",
        statement="Integral of density^2 at unit scale, same order",
        code=roughness,
        test=f"{TEST}::test_facts_are_integrals",
        printed="1/2, 2/3, .28209, 1/6",
        number="noted",
        expected=(0.5, 2 / 3, 0.5 / math.sqrt(math.pi), 1 / 6),
        tolerance=4e-15,
        why=EXACT,
        run=lambda: tuple(map(roughness, FAMILIES)),
    ),
    Claim(
        id="family-waves",
        statement="Characteristic functions sin(w) / w, (sin(w/2) / (w/2))^2, exp(-w^2/2), "
        "πw / sinh(πw): "
        "largest difference from sums over 10^4 quantiles, w = 0.5, 1, 2, 5",
        code=characteristic,
        test=f"{TEST}::test_characteristic_functions_are_integrals",
        printed="0",
        number="noted",
        expected=(0.0, 0.0, 0.0, 0.0),
        tolerance=5.2e-3,
        why="a midpoint sum errs by the variation over 2 N: 5 times the range of quantiles, below "
        "20, is 5e-3; and by 2 / N beyond them",
        run=waves,
    ),
    Claim(
        id="setting-scale",
        statement="First scales with 95 % of the mass within 1/2: logistic 1 / (2 log 39), normal "
        "0.5 / (sqrt 2 erfinv .95)",
        code=scale_with_mass,
        test="tests/theory/test_schedules.py::test_the_scale_with_a_mass",
        printed="0.136479, 0.255107 (public code)",
        number="noted",
        expected=(0.136479, 0.255107),
        tolerance=0.5e-6,
        why="half a unit of the sixth decimal",
        run=first_scales,
    ),
    Claim(
        id="setting-peak",
        statement="Gradient at a threshold with unit jump at the first scales: uniform and "
        "triangular at 0.5, normal, logistic",
        code=peak,
        test=f"{SMOOTHING_TEST}::test_a_stair_of_one_step_meets_the_bound_by_peak",
        printed="1, 2, 1.5638, 1.8318",
        number="noted",
        expected=(1.0, 2.0, 1.5638, 1.8318),
        tolerance=0.5e-4,
        why="half a unit of the fourth decimal",
        run=first_peaks,
    ),
    Claim(
        id="stair-mode",
        statement="The middle of a ternary stair is not the mode at its own centre once F(0.5/s) < "
        "2/3: largest scales, uniform, triangular, normal, logistic",
        code=mode,
        test=f"{SMOOTHING_TEST}::test_the_mode_is_the_stair_under_little_bounded_noise",
        printed="1.5, 2.725, 1.161, 0.7213 = 0.5 / log 2",
        number="noted",
        expected=(1.5, 2.725, 1.161, 0.7213),
        tolerance=0.5e-3,
        why="half a unit of the third decimal",
        run=scales_without_a_middle,
    ),
    Claim(
        id="stair-mode-sides",
        statement="Mode at the centre 1 % below and above these scales, position in (0, 1, 2)",
        code=mode,
        test=f"{SMOOTHING_TEST}::test_the_mode_is_the_stair_under_little_bounded_noise",
        printed="middle, an end",
        number="noted",
        expected=(1.0, 0.0) * 4,
        tolerance=0.0,
        why="whole numbers; ends are equally probable up to rounding, the lowest is taken",
        run=middle_at_its_centre,
        printed_of="1, 0",
    ),
    Claim(
        id="stair-law",
        statement="Laws of 16 levels under the four noises: largest abs(sum - 1), largest negative "
        "entry",
        code=law,
        test=f"{SMOOTHING_TEST}::test_a_law_is_a_law_and_has_the_expectation",
        printed="0, none",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=64 * 2.0**-53,
        why="16 differences of tails, each rounded to 2^-53 or less, and their sum",
        run=sums_of_laws,
    ),
    Claim(
        id="stair-open",
        statement="Cumulative laws in float32 end below 1, so a draw may find no level: share of "
        "inputs N(0, 1), normal noise of std 0.2551, stairs of 3, 4, 16 levels, F rounded once; "
        "the same with F as (1 + erf) / 2 in float32: the routine decides",
        code=open_cumulative_sums,
        test=f"{SMOOTHING_TEST}::test_draws_have_the_law",
        printed="2.5 %, 4.4 %, 7.0 % for 3, 4, 16 levels (derived; inputs, F unknown); "
        "seen: 0.0233, 0.0305, 0.0761, 0.0067, 0.0088, 0.022",
        number="ours",
        expected=(0.0233, 0.0305, 0.0761, 0.0067, 0.0088, 0.0220),
        tolerance=0.001,
        why="another exact F moves 1 % of these shares (float32 in place of float64 differences "
        "x - t: 2e-4), 10^5 points instead of all another 3e-4",
        run=open_cumulative_sums,
        verdict="holds corrected",
    ),
    Claim(
        id="stair-frequencies",
        statement="Draws have the law: largest difference of a count over all 16-bit words from "
        "2^16 P(level), ternary stair, five points, four families",
        code=draw,
        test=f"{SMOOTHING_TEST}::test_draws_have_the_law",
        printed="at most 1",
        number="noted",
        expected=(1.0, 1.0, 1.0, 1.0),
        tolerance=1e-10,
        why="words are the middles of 2^16 equal cells, so each of a level's two ends misplaces "
        "half a word; rounding 2^-52 times 2^16",
        run=frequencies,
        guard=True,
        relation="<=",
    ),
)
