"""Tests of whole laws: valid at every level, by summation over all counts."""

import itertools
import math

import numpy as np
import pytest

from qtheory.evidence import dkw_p_value, multinomial_p_value, samples_needed

LAWS = [
    [0.5, 0.5], [0.1, 0.9], [0.2, 0.3, 0.5], [0.0, 0.4, 0.6], [0.05, 0.05, 0.1, 0.8], [1.0, 0.0],
]  # fmt: skip


def all_counts(draws: int, cells: int):
    """Every way to put `draws` into `cells`."""
    for bars in itertools.combinations(range(draws + cells - 1), cells - 1):
        edges = [-1, *bars, draws + cells - 1]
        yield np.array([b - a - 1 for a, b in itertools.pairwise(edges)])


def chance(counts: np.ndarray, pmf: list[float]) -> float:
    ways = math.factorial(int(counts.sum()))
    for n in counts:
        ways //= math.factorial(int(n))
    return ways * math.prod(p ** int(n) for n, p in zip(counts, pmf, strict=True))


@pytest.mark.parametrize("pmf", LAWS)
@pytest.mark.parametrize("test", [dkw_p_value, multinomial_p_value])
def test_the_p_value_is_valid_at_every_level(test, pmf: list[float]):
    table = [(test(c, pmf), chance(c, pmf)) for c in all_counts(12, len(pmf))]
    assert math.fsum(mass for _, mass in table) == pytest.approx(1)
    for level, _ in table:
        # rounding: 1e-12 of a tail
        assert math.fsum(mass for value, mass in table if value <= level) <= level * (1 + 1e-11)


def test_a_level_that_can_not_be_is_impossible():
    assert multinomial_p_value([5, 0, 1], [0.5, 0.5, 0.0]) == 0.0
    assert multinomial_p_value([6, 0], [1.0, 0.0]) == dkw_p_value([6, 0], [1.0, 0.0]) == 1.0


def test_a_cell_off_by_the_bias_is_found_with_its_share_of_the_budget():
    """Counts at their mean under a bias 5 % above the planned one; a planned one is missed once
    in a thousand, and its mean is three standard deviations beyond the critical number."""
    pmf, bias, cells = np.array([0.2, 0.5, 0.3]), 0.01, 3
    draws = max(samples_needed(p, bias, 1e-9 / cells, 1e-3) for p in pmf)
    wrong = np.round((pmf + np.array([1.05, 0, -1.05]) * bias) * draws).astype(int)
    assert multinomial_p_value(wrong, pmf) <= 1e-9
    assert multinomial_p_value(np.round(pmf * draws).astype(int), pmf) == 1.0


def test_order_sees_what_is_spread_over_levels():
    """Sixty levels, each 3e-4 off, in the same direction over each half."""
    levels, draws = 60, 400_000
    pmf = np.full(levels, 1 / levels)
    off = 3e-4 * np.where(np.arange(levels) < 30, 1, -1)
    wrong = np.round((pmf + off) * draws).astype(int)
    assert dkw_p_value(wrong, pmf) < 1e-20
    assert multinomial_p_value(wrong, pmf) > 1e-9


@pytest.mark.parametrize("test", [dkw_p_value, multinomial_p_value])
@pytest.mark.parametrize(
    ("counts", "pmf"),
    [
        ([1, 2], [1.0]),
        ([0, 0], [0.5, 0.5]),
        ([1, -1], [0.5, 0.5]),
        ([0.5, 1.5], [0.5, 0.5]),
        ([1, 2], [0.5, 0.6]),
        ([1, 2], [1.5, -0.5]),
        ([1, 2], [math.nan, 0.5]),
    ],
)
def test_what_are_no_counts_is_refused(test, counts, pmf):
    with pytest.raises(ValueError, match=r"counts|probabilities"):
        test(counts, pmf)


def test_a_refusal_of_counts_names_them():
    with pytest.raises(ValueError, match=r"one of them is positive, got \[ 1 -1\]"):
        dkw_p_value(np.array([1, -1]), np.array([0.5, 0.5]))
