"""Exact binomial tests: tails against rational sums, size and power against the whole pmf."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qtheory.evidence import binomial_p_value, samples_needed, smallest_bias
from qtheory.evidence.binomial import (
    binomial_p_values,
    critical_numbers,
    lower_tail,
    miss_probability,
    upper_tail,
)

probabilities = st.one_of(
    st.sampled_from([0.0, 2.0**-32, 1e-3, 0.3, 0.5, 0.9, 1 - 2.0**-32, 1.0]), st.floats(0, 1)
)


def exact_pmf(trials: int, p: float) -> list[Fraction]:
    """The binomial law over the rationals, p being the rational number that its float is."""
    q = Fraction(p)
    return [math.comb(trials, k) * q**k * (1 - q) ** (trials - k) for k in range(trials + 1)]


def float_pmf(trials: int, p: float) -> np.ndarray:
    return np.array([float(mass) for mass in exact_pmf(trials, p)])


@settings(max_examples=40)
@given(st.integers(1, 40), probabilities)
def test_tails_are_the_sums_of_the_pmf(trials: int, p: float):
    pmf = exact_pmf(trials, p)
    k = np.arange(-1, trials + 2)
    low = [float(sum(pmf[: max(0, i + 1)])) for i in k]
    high = [float(sum(pmf[max(0, i) :])) for i in k]
    # 1e-12: that of the incomplete beta function; below the smallest normal float it is 0 at most
    np.testing.assert_allclose(lower_tail(k, trials, p), low, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(upper_tail(k, trials, p), high, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(
    ("trials", "p", "deviations"),
    [(21_158_826, 0.5, 6), (2_115_835_851, 0.5, 6), (8_825_809, 1e-3, 6), (21_158_826, 0.5, 37)],
)
def test_tails_of_many_trials_are_right_to_ten_digits(trials: int, p: float, deviations: int):
    mpmath = pytest.importorskip("mpmath")
    k = int(trials * p + deviations * math.sqrt(trials * p * (1 - p)))
    with mpmath.workdps(40):
        term = mpmath.exp(
            mpmath.loggamma(trials + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(trials - k + 1)
            + k * mpmath.log(p) + (trials - k) * mpmath.log1p(-p)
        )  # fmt: skip
        ratio, tail, j = mpmath.mpf(p) / (1 - mpmath.mpf(p)), mpmath.mpf(0), k
        while term > tail * mpmath.mpf(10) ** -20:
            tail += term
            term *= mpmath.mpf(trials - j) / (j + 1) * ratio
            j += 1
        expected = float(tail)
    assert abs(float(upper_tail(k, trials, p)) / expected - 1) < 1e-10


@settings(max_examples=40)
@given(st.integers(1, 60), probabilities)
def test_the_p_value_is_valid_at_every_level(trials: int, p: float):
    """P(p-value <= a) <= a at each value that it takes, hence for all a."""
    values = binomial_p_values(np.arange(trials + 1), trials, p)
    mass = float_pmf(trials, p)
    for level in values:
        # rounding: 1e-12 of a tail, trials additions, and p-values below 1e-300 may round to 0
        assert mass[values <= level].sum() <= level * (1 + 1e-11) + 1e-300


def test_the_p_value_is_two_sided_and_impossible_outcomes_have_none():
    assert binomial_p_value(2, 10, 0.5) == binomial_p_value(8, 10, 0.5)
    assert binomial_p_value(5, 10, 0.5) == 1.0
    assert binomial_p_value(0, 7, 0.0) == binomial_p_value(7, 7, 1.0) == 1.0
    assert binomial_p_value(1, 7, 0.0) == binomial_p_value(6, 7, 1.0) == 0.0
    assert binomial_p_value(0, 0, 0.3) == 1.0


@given(st.integers(1, 50), st.floats(0.01, 0.99), st.sampled_from([1e-9, 1e-3, 0.05, 0.5]))
def test_critical_numbers_are_where_the_p_value_fails(trials: int, p: float, false_alarm: float):
    low, high = (int(a[0]) for a in critical_numbers(np.array([trials]), p, false_alarm))
    k = np.arange(trials + 1)
    fails = binomial_p_values(k, trials, p) <= false_alarm
    assert fails.tolist() == ((k <= low) | (k >= high)).tolist()


def test_critical_numbers_of_many_trials_are_those_of_each():
    trials = np.arange(900, 1400)
    together = critical_numbers(trials, 0.3, 1e-3)
    alone = [critical_numbers(trials[i : i + 1], 0.3, 1e-3) for i in range(trials.size)]
    for side in (0, 1):
        assert together[side].tolist() == [int(a[side][0]) for a in alone]


# Planning

TABLE = [  # p, bias, the design's draws at alpha 1e-9 and beta 1e-3, the smallest number of draws
    (0.5, 1e-2, 211_778, 211_618),
    (0.5, 1e-3, 21_164_563, 21_158_826),
    (0.5, 1e-4, 2_116_455_441, 2_115_835_851),
    (0.1, 1e-3, 7_648_259, 7_647_202),
    (0.9, 1e-3, 7_648_259, 7_647_202),
    (0.01, 1e-3, 874_700, 874_317),
    (0.001, 1e-4, 8_831_394, 8_825_809),
]


@pytest.mark.parametrize(("p", "bias", "design", "smallest"), TABLE)
def test_the_table_of_the_design(p: float, bias: float, design: int, smallest: int):
    """The design's numbers of draws are enough, and at most 0.08 % more than the smallest.

    Both are two-sided with 5e-10 in each tail; the design's come from a search that stopped at a
    number that suffices.
    """
    needed = samples_needed(p, bias, 1e-9, 1e-3)
    assert needed == smallest
    assert miss_probability(needed, p, bias, 1e-9) <= 1e-3
    assert miss_probability(design, p, bias, 1e-9) <= 1e-3
    assert needed <= design <= needed * 1.0008


@pytest.mark.parametrize(
    ("p", "bias", "false_alarm", "miss"),
    [
        (0.5, 0.2, 1e-3, 1e-2),
        (0.5, 0.4, 1e-9, 1e-3),
        (0.3, 0.2, 0.05, 0.1),
        (0.05, 0.2, 1e-3, 1e-2),
        (0.9, 0.3, 1e-3, 1e-2),
        (0.0, 0.1, 1e-9, 1e-3),
        (1.0, 0.1, 1e-9, 1e-3),
    ],
)
def test_the_planned_sample_is_the_smallest_by_the_pmf(
    p: float, bias: float, false_alarm: float, miss: float
):
    """Detection, summed over the outcomes that fail the claim, for every n up to the plan."""

    def enough(n: int) -> bool:
        k = np.arange(n + 1)
        fails = binomial_p_values(k, n, p) <= false_alarm
        powers = []
        if p + bias <= 1:
            powers.append(float_pmf(n, p + bias)[fails & (k > n * p)].sum())
        if p - bias >= 0:
            powers.append(float_pmf(n, p - bias)[fails & (k < n * p)].sum())
        return min(powers) >= 1 - miss

    needed = samples_needed(p, bias, false_alarm, miss)
    assert [n for n in range(1, needed + 1) if enough(n)] == [needed]


@settings(max_examples=40)
@given(
    st.sampled_from([1e-4, 0.01, 0.2, 0.5, 0.8, 1.0]),
    st.floats(0.002, 0.2),
    st.sampled_from([1e-9, 1e-3]),
    st.sampled_from([1e-3, 0.1]),
)
def test_planned_draws_detect_with_the_stated_probability(
    p: float, bias: float, false_alarm: float, miss: float
):
    """And a larger bias too, by the exact tails beyond the critical numbers."""
    needed = samples_needed(p, bias, false_alarm, miss)
    low, high = (int(a[0]) for a in critical_numbers(np.array([needed]), p, false_alarm))
    for larger in (bias, 1.5 * bias, 3 * bias):
        if p + larger <= 1:
            assert float(upper_tail(high, needed, p + larger)) >= 1 - miss - 1e-12
        if p - larger >= 0:
            assert float(lower_tail(low, needed, p - larger)) >= 1 - miss - 1e-12


@given(
    st.integers(100, 10**9),
    st.sampled_from([0.0, 2.0**-20, 0.01, 0.5, 0.9, 1.0]),
    st.sampled_from([1e-9, 1e-3]),
)
def test_the_smallest_bias_is_missed_as_stated(trials: int, p: float, false_alarm: float):
    miss = 1e-3
    bias = smallest_bias(trials, p, false_alarm, miss)
    if math.isinf(bias):
        assert miss_probability(trials, p, max(p, 1 - p), false_alarm) > miss
        return
    # p + bias is rounded to 2**-53, and a tail changes by its slope, at most sqrt(trials / p (1-p))
    assert miss_probability(trials, p, min(bias * (1 + 1e-6), max(p, 1 - p)), false_alarm) <= miss
    if bias not in (p, 1 - p):
        assert miss_probability(trials, p, bias * (1 - 1e-6), false_alarm) > miss


def test_no_draws_detect_nothing():
    assert smallest_bias(1, 0.5, 1e-9, 1e-3) == math.inf
    assert smallest_bias(100, 0.001, 1e-9, 1e-3) > 0.001  # downwards there is no room to see


def test_the_smallest_bias_of_the_planned_draws_is_the_planned_bias():
    for p, bias, _, smallest in TABLE:
        found = smallest_bias(smallest, p, 1e-9, 1e-3)
        assert bias * (1 - 1e-4) < found <= bias * (1 + 1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: binomial_p_value(3, 2, 0.5),
        lambda: binomial_p_value(-1, 2, 0.5),
        lambda: binomial_p_value(1, 2, math.nan),
        lambda: binomial_p_value(1, 2, 1.1),
        lambda: samples_needed(0.5, 0.0, 1e-9, 1e-3),
        lambda: samples_needed(0.5, 0.6, 1e-9, 1e-3),
        lambda: samples_needed(0.5, 0.1, 0.0, 1e-3),
        lambda: samples_needed(0.5, 0.1, 1e-9, 1.0),
        lambda: samples_needed(0.5, 1e-9, 1e-9, 1e-3),
        lambda: smallest_bias(0, 0.5, 1e-9, 1e-3),
    ],
)
def test_what_is_no_question_is_refused(call):
    with pytest.raises(ValueError, match="got"):
        call()
