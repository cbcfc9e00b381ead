"""Tests that could not fail, and tests that fail by themselves: what their numbers really say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from qreference import philox, walker
from qtheory import Lattice, StochasticRounding
from qtheory.evidence import binomial_p_value, samples_needed, smallest_bias
from qtheory.streams import Stream

ALARM, MISS = 1e-9, 1e-3


def standard_errors(tolerance: float, trials: int, p: float = 0.5) -> float:
    """How many standard errors of a frequency a tolerance is wide."""
    return tolerance / np.sqrt(p * (1 - p) / trials)


def frequency(p: float, trials: int) -> float:
    """Of moves, by the reference's stochastic rounding of p spacings."""
    spec = StochasticRounding(Lattice.ternary())
    words = philox.words(7, 1, 0, Stream.MOVE, trials)
    after = walker.step(spec, np.ones(trials, np.int64), np.full(trials, p, np.float32), words)
    return float((after == 2).mean())


@pytest.mark.parametrize(
    ("tolerance", "trials", "wide", "wrong"),
    [
        (0.07, 10**6, 140, 0.56),  # a midpoint "near" one half
        (0.064, 10**5, 40, 0.55),  # a mean within 1e-3 on a spacing of 2**-6
        (0.01, 200, 0.28, 0.5),  # and too narrow: fails on correct code three times in four
    ],
)
def test_a_tolerance_without_a_derivation(tolerance, trials, wide, wrong):
    """The tolerance lets a kernel pass that is wrong by 0.05 to 0.06; ours is told by 1e-9.

    With as many draws an exact binomial test finds the stated bias with probability 0.999.
    """
    assert standard_errors(tolerance, trials) == pytest.approx(wide, rel=0.02)
    if wide > 6:
        wrongly = round(frequency(wrong, trials) * trials)
        assert abs(wrongly / trials - 0.5) <= tolerance
        assert binomial_p_value(wrongly, trials, 0.5) <= ALARM
        assert smallest_bias(trials, 0.5, ALARM, MISS) < tolerance / 2
    else:
        inside = np.arange(np.ceil(trials * (0.5 - tolerance)), trials * (0.5 + tolerance) + 1e-9)
        passes = stats.binom.pmf(inside, trials, 0.5).sum()
        assert passes < 0.3
    right = round(frequency(0.5, trials) * trials)
    assert binomial_p_value(right, trials, 0.5) > ALARM


def test_a_few_errors_allowed_hide_a_wrong_comparison():
    """Fifteen errors in a million allowed: `word <= threshold` passes. Ours asks which differ.

    Every difference must be explained: a word between the two rooms' thresholds. None is here.
    """
    n, spec = 2**20, StochasticRounding(Lattice.ternary())
    words = philox.words(7, 1, 0, Stream.MOVE, n)
    x = np.random.default_rng(1).random(n).astype(np.float32)
    small = words < 2**24  # their float32 is exact, so an increment can sit on its word
    on = np.flatnonzero(small)[:12]
    x[on] = (words[on] / 2**32).astype(np.float32)
    threshold = walker.outcomes(spec, np.ones(n, np.int64), x).thresholds[:, 0]
    right, wrong = words < threshold, words <= threshold
    differ = np.flatnonzero(right != wrong)
    assert 12 <= differ.size <= 15
    assert (words[differ] == threshold[differ]).all()  # an edge of width 0 explains none


def test_a_nominal_level_of_chi_square_is_not_its_level():
    """A cell of expectation 0.01: Pearson's p-value is below 1e-5 once in a hundred runs.

    Every outcome is enumerated. The exact tail keeps its promise at every level.
    """
    n, p = 1000, 1e-5
    k = np.arange(30)
    chi2 = (k - n * p) ** 2 / (n * p) + (k - n * p) ** 2 / (n * (1 - p))
    nominal = stats.chi2.sf(chi2, 1)
    probability = stats.binom.pmf(k, n, p)
    rate = probability[nominal <= 1e-5].sum()
    assert rate >= 9e-3
    exact = np.array([binomial_p_value(int(j), n, p) for j in k])
    for level in (1e-2, 1e-5, 1e-9):
        assert probability[exact <= level].sum() <= level


def test_a_law_of_means_alone_does_not_tell_sr_from_half_a_move():
    """Means only: a kernel that moves two levels half as often has the right mean.

    Its transition has a level that the law gives no mass: one draw there is an exact failure.
    """
    n, p = 10**5, 0.25
    words = philox.words(8, 1, 0, Stream.MOVE, n)
    twice = np.where(words < 2**32 * p / 2, 2, 0)
    assert binomial_p_value(int(twice.sum() // 2), n, p / 2) > ALARM
    assert abs(twice.mean() - p) < 4 * np.sqrt(2 * p / n)
    assert (twice == 2).any()
    assert binomial_p_value(int((twice == 2).sum()), n, 0.0) == 0.0


def test_what_a_midpoint_test_needs():
    """Draws for a bias of 0.01 at p = 1/2, both error rates stated."""
    assert samples_needed(0.5, 1e-2, ALARM, MISS) == pytest.approx(211_778, rel=1e-3)
