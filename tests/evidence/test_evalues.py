"""E-values: their mean under the claim by summation, and what they see when it is wrong."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory.evidence import (
    TILTS,
    EProcess,
    audit_terms,
    combine,
    log_audit,
    log_beta_mixture,
    samples_needed,
)

probabilities = st.one_of(st.sampled_from([1e-3, 0.25, 0.5, 0.99]), st.floats(1e-6, 1 - 1e-6))


def binomial_pmf(trials: int, p: float) -> np.ndarray:
    return np.array(
        [math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(trials + 1)]
    )


def every_outcome(size: int) -> np.ndarray:
    return np.array(list(itertools.product([False, True], repeat=size))).reshape(-1, size)


def chance(outcome: np.ndarray, p: np.ndarray) -> float:
    return float(np.where(outcome, p, 1 - p).prod())


# The mixture


@given(st.integers(0, 40), probabilities, st.floats(0.01, 1e4))
def test_the_mixture_has_mean_one(trials: int, p: float, concentration: float):
    log_e = log_beta_mixture(np.arange(trials + 1), trials, p, concentration)
    # rounding of three logarithms of at most 1e5 (the concentration's), and of the sum
    assert abs(binomial_pmf(trials, p) @ np.exp(log_e) - 1) < 1e-9


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 9), st.integers(1, 9))
def test_the_mixture_is_the_integral(successes: int, failures: int, a: int, b: int):
    """With whole a = c p and b = c (1 - p) the integral is a ratio of factorials."""

    def beta(x: int, y: int) -> Fraction:
        return Fraction(math.factorial(x - 1) * math.factorial(y - 1), math.factorial(x + y - 1))

    p = Fraction(a, a + b)
    e = beta(a + successes, b + failures) / beta(a, b) / (p**successes * (1 - p) ** failures)
    log_e = float(log_beta_mixture(successes, successes + failures, float(p), float(a + b)))
    # logarithms up to 120 log 10, each to 1e-15 or so
    assert abs(log_e - (math.log(e.numerator) - math.log(e.denominator))) < 1e-11


def test_the_mixture_of_certain_events():
    assert log_beta_mixture([0, 1, 5], 5, 0.0, 3.0).tolist() == [0.0, math.inf, math.inf]
    assert log_beta_mixture([0, 4, 5], 5, 1.0, 3.0).tolist() == [math.inf, math.inf, 0.0]


def test_the_mixture_sees_a_bias_with_the_draws_of_the_exact_test_and_a_third():
    """The power against 1e-2 by the pmf at 4/3 of the exact test's draws, level 1e-9."""
    from scipy import stats

    trials = samples_needed(0.5, 1e-2, 1e-9, 1e-3) * 4 // 3
    k = np.arange(trials + 1)
    fails = log_beta_mixture(k, trials, 0.5, 0.25 / 1e-4 - 1) >= math.log(1e9)
    assert stats.binom.pmf(k[fails], trials, 0.51).sum() >= 0.999
    assert stats.binom.pmf(k[fails], trials, 0.5).sum() <= 1e-9


# Combining


def test_combined_independent_e_values_have_mean_one():
    pmf = binomial_pmf(6, 0.3)
    single = log_beta_mixture(np.arange(7), 6, 0.3, 5.0)
    mean = math.fsum(
        pmf[a] * pmf[b] * pmf[c] * math.exp(combine(single[[a, b, c]]))
        for a, b, c in itertools.product(range(7), repeat=3)
    )
    assert abs(mean - 1) < 1e-12


def test_combining_handles_zero_and_infinity():
    assert combine([-math.inf, 0.0]) == pytest.approx(math.log(0.25))
    assert combine([math.inf, 0.0]) == combine([math.inf, -math.inf]) == math.inf
    assert combine([-math.inf]) == -math.inf
    for wrong in ([], [math.nan]):
        with pytest.raises(ValueError, match="e-value"):
            combine(wrong)


# The audit


def test_the_audit_has_mean_one_where_probabilities_are_equal():
    p = np.array([0.3] * 4 + [0.01] * 3)
    strata = np.array([0] * 4 + [1] * 3)
    mean = math.fsum(
        chance(x, p) * math.exp(log_audit(x, p, strata)) for x in every_outcome(p.size)
    )
    assert abs(mean - 1) < 1e-12


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.data())
def test_the_audit_has_mean_at_most_one(values: list[float], data: st.DataObject):
    """For every tilt and stratum, all outcomes; and at least 1 - what a bin's width costs."""
    p = np.array(values)
    strata = np.array(data.draw(st.lists(st.integers(0, 2), min_size=p.size, max_size=p.size)))
    outcomes = every_outcome(p.size)
    mean = sum(chance(x, p) * np.exp(audit_terms(x, p, strata, count=3)) for x in outcomes)
    assert (mean <= 1 + 1e-12).all()
    # log(1 + p u) on a bin lies at most u**2 / 8 / 32**2 / (1 + min(u, 0))**2 below its tangent
    u = np.expm1(np.array(TILTS))
    lost = p.size * u**2 / 8 / 32**2 / (1 + np.minimum(u, 0)) ** 2
    assert (mean >= np.exp(-lost) - 1e-12).all()


def test_the_audit_is_the_formula_where_probabilities_are_equal():
    rng = np.random.default_rng(0)
    p = rng.choice([0.02, 0.4, 0.97], 100_000)  # more than one block
    strata = rng.integers(0, 4, p.size).astype(np.uint8)
    moved = rng.random(p.size) < p
    direct = [
        [
            tilt * moved[strata == j].sum() - np.log1p(p[strata == j] * math.expm1(tilt)).sum()
            for tilt in TILTS
        ]
        for j in range(5)
    ]
    terms = audit_terms(moved, p, strata, count=5)
    np.testing.assert_allclose(terms, direct, rtol=0, atol=1e-8)  # sums of 1e5, each to 1e-16
    assert log_audit(moved, p, strata) == pytest.approx(
        float(np.log(np.exp(terms[:4] - terms.max()).mean()) + terms.max())
    )
    np.testing.assert_allclose(
        audit_terms(moved, p.astype(np.float32), strata, count=5), terms, rtol=0, atol=1e-2
    )


@given(st.integers(0, 2**32 - 1))
def test_binning_keeps_31_of_32_parts_of_the_evidence_of_a_tilt(seed: int):
    """The audit's loss against the formula, beside the variance term l**2 p (1-p) / 2."""
    rng = np.random.default_rng(seed)
    p = rng.random(2000) ** rng.choice([1, 3, 10])
    moved = rng.random(p.size) < p
    tilt = 0.01  # the variance term is that of a small tilt
    exact = tilt * moved.sum() - np.log1p(p * math.expm1(tilt)).sum()
    lost = exact - audit_terms(moved, p, tilts=[tilt])[0, 0]
    assert -1e-9 <= lost <= tilt**2 * (p * (1 - p)).sum() / 2 / 32 * 1.02 + 1e-9


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((4, 3, 0.5, 1.0), "successes lie in 0..trials, got 4 of 3"),
        ((1, 3, 1.5, 1.0), "0 <= p <= 1, got 1.5"),
        ((1, 3, [0.5, math.nan], 1.0), "0 <= p <= 1, got nan"),
        ((1, 3, 0.5, 0.0), "a concentration is > 0, got 0.0"),
    ],
)
def test_a_mixture_refuses_what_is_no_bet(arguments, rule):
    with pytest.raises(ValueError, match=rule):
        log_beta_mixture(*arguments)


def test_the_audit_refuses_what_is_no_audit():
    x, p = np.zeros(3, bool), np.full(3, 0.5)
    for wrong in (
        lambda: audit_terms(x.astype(int), p),
        lambda: audit_terms(x, p[:2]),
        lambda: audit_terms(x, p + 1),
        lambda: audit_terms(x, p * np.nan),
        lambda: audit_terms(x, p, np.zeros(2, int)),
        lambda: audit_terms(x, p, np.array([0, 1, -1])),
        lambda: audit_terms(x, p, np.array([0, 1, 2]), count=2),
    ):
        with pytest.raises(ValueError, match=r"probability|strata"):
            wrong()
    assert audit_terms(x[:0], p[:0]).tolist() == [[0.0] * len(TILTS)]


def test_an_audit_finds_a_kernel_whose_probability_is_one_part_in_fifty_too_large():
    """Detection from the exact law of the number of moves, at false alarm 1e-9, for the average
    over the default tilts."""
    from scipy import stats

    n, p = 3_000_000, 0.1
    k = np.arange(int(0.095 * n), int(0.11 * n))
    tilt = np.array(TILTS)
    log_e = k[:, None] * tilt - n * np.log1p(p * np.expm1(tilt))
    largest = log_e.max(axis=1)
    average = largest + np.log(np.exp(log_e - largest[:, None]).mean(axis=1))
    fails = average >= math.log(1e9)
    assert stats.binom.pmf(k[fails], n, p * 1.02).sum() >= 0.999
    some = int(k[fails][0])
    moved = np.arange(n) < some
    assert log_audit(moved, np.full(n, p)) == pytest.approx(average[fails][0], abs=1e-6)


# Processes


def test_a_process_averages_products_and_remembers_its_peak():
    process = EProcess()
    process.multiply(np.log([4.0, 1.0]))
    process.multiply(np.log([4.0, 1.0]))
    assert process.log_e == pytest.approx(math.log(17 / 2))
    process.multiply(np.log([0.25, 0.5]))
    assert process.peak == pytest.approx(math.log(17 / 2))
    assert process.rejects(0.2) and not process.rejects(0.1)
    resumed = EProcess(process.terms.copy(), process.peak)
    for p in (process, resumed):
        p.multiply([1.0, -1.0])
    assert resumed.log_e == process.log_e and resumed.peak == process.peak


def test_a_process_ends_at_zero_and_refuses_nonsense():
    process = EProcess()
    process.multiply([-math.inf, 0.0])
    process.multiply([math.inf, 0.0])
    assert process.log_e == pytest.approx(math.log(0.5))
    for wrong in ([0.0, math.nan], [0.0, 0.0, 0.0]):
        with pytest.raises(ValueError, match="e-value"):
            process.multiply(wrong)
    with pytest.raises(ValueError, match="false-alarm"):
        process.rejects(0.0)


def test_a_process_ever_rejects_with_the_stated_probability_at_most():
    """All 2**9 paths of fair coins: the probability that the average product ever reaches 1/a."""
    flips = 9
    peaks = []
    for path in every_outcome(flips):
        process = EProcess()
        for x in path:
            process.multiply(audit_terms(np.array([x]), np.array([0.5]), tilts=(-0.5, 0.5, 1.0)))
        peaks.append(process.peak)
    for false_alarm in (0.7, 0.5, 0.2, 0.1):
        assert np.mean(np.array(peaks) >= -math.log(false_alarm)) <= false_alarm


def test_products_by_tilt_see_what_a_product_of_averages_does_not():
    """A bias of one in ten of rare moves, over 400 iterations; means, so no luck is involved."""
    n, p = 1000, 0.02
    together, averaged = EProcess(), EProcess()
    for _ in range(400):
        moved = np.arange(n) < n * p * 1.1
        terms = audit_terms(moved, np.full(n, p))
        together.multiply(terms)
        averaged.multiply(log_audit(moved, np.full(n, p)))
    assert together.rejects(1e-9) and not averaged.rejects(1e-9)
