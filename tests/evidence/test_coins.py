"""Fair coins: exact counts by Fourier transform, and laws by enumeration of all bits."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory.evidence import (
    binomial_p_value,
    lag_counts,
    repeated_windows,
    smallest_bias,
    worst_lag,
    worst_lag_p_value,
)
from qtheory.evidence.coins import Repeats


def fair(size: int, seed: int = 20180401) -> np.ndarray:
    return np.random.default_rng(seed).random(size) < 0.5


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_lag_counts_are_those_of_a_loop(bits: list[bool]):
    b = np.array(bits)
    direct = [int((b[: b.size - k] == b[k:]).sum()) for k in range(b.size)]
    assert lag_counts(b).tolist() == direct


@pytest.mark.parametrize("size", [2**17 - 1, 2**17, 2**17 + 1])
@pytest.mark.parametrize("kind", ["fair", "equal", "alternating"])
def test_lag_counts_of_many_bits_are_exact(size: int, kind: str):
    b = {"fair": fair(size), "equal": np.ones(size, bool), "alternating": np.arange(size) % 2 == 0}
    counts = lag_counts(b[kind])
    for k in (0, 1, 2, 3, 4096, size // 2, size - 2, size - 1):
        assert counts[k] == (b[kind][: size - k] == b[kind][k:]).sum()


def test_rounding_of_the_transform_stays_far_below_one():
    """Four million equal bits have the largest sums there are; all lags are known: n - k."""
    size = 4_000_000
    assert np.array_equal(lag_counts(np.ones(size, bool)), size - np.arange(size))


def test_agreements_of_fair_bits_are_binomial():
    """All words of ten bits: at every lag the law of A_k is binomial(n - k, 1/2)."""
    size = 10
    words = np.array(list(itertools.product([False, True], repeat=size)))
    counts = np.array([lag_counts(w) for w in words])
    for k in range(1, size):
        law = [math.comb(size - k, a) * 2**k for a in range(size - k + 1)]
        assert np.bincount(counts[:, k], minlength=size - k + 1).tolist() == law


def test_the_p_value_of_the_worst_lag_is_valid_at_every_level():
    words = np.array(list(itertools.product([False, True], repeat=12)))
    values = np.array([worst_lag_p_value(w) for w in words])
    for level in np.unique(values):
        assert (values <= level).mean() <= level * (1 + 1e-11)


@pytest.mark.parametrize("size", [2, 100, 3000])
def test_the_worst_lag_is_the_smallest_p_value_times_the_lags(size: int):
    b = fair(size)
    b[size // 3 : size // 2] = b[: size // 2 - size // 3]
    counts = lag_counts(b)
    values = [binomial_p_value(int(counts[k]), size - k, 0.5) for k in range(1, size)]
    found = worst_lag(b)
    assert found.p_value == min(1.0, min(values) * (size - 1))
    assert (found.agreements, found.pairs) == (counts[found.lag], size - found.lag)
    assert worst_lag(b, 1).p_value == values[0]


@pytest.mark.parametrize("lag", [1, 2, 4, 1000, 33_333])
def test_a_dependence_as_small_as_can_be_detected_is_found(lag: int):
    """Bits that copy the one `lag` before with probability 2 b, b being the smallest bias found
    with a miss of 1e-9 at a false alarm of 1e-9: both rates of this test are 1e-9."""
    size = 200_000
    rng = np.random.default_rng(7)
    bias = smallest_bias(size - lag, 0.5, 1e-9 / (size - 1), 1e-9)
    assert bias < 0.017
    b = fair(size)
    copies = rng.random(size) < 2 * bias
    for i in range(lag, size):
        if copies[i]:
            b[i] = b[i - lag]
    found = worst_lag(b)
    assert found.p_value <= 1e-9 and found.lag == lag
    assert worst_lag_p_value(fair(size)) > 1e-9


@pytest.mark.parametrize("lag", [0, 3, -1])
def test_a_lag_that_is_not_there_is_refused(lag: int):
    with pytest.raises(ValueError, match=r"a lag is in 1\.\.2"):
        worst_lag([True, False, True], lag)


# Windows


def test_windows_are_those_of_a_dictionary():
    b = np.concatenate([fair(500), fair(300, 1), fair(500)])
    windows = [tuple(b[i : i + 64]) for i in range(b.size - 63)]
    found = repeated_windows(b)
    assert found.count == len(windows) - len(set(windows)) == 437
    assert found.bound == found.p_value == len(windows) ** 2 / 2**65
    assert repeated_windows(fair(1300)).p_value == 1.0


def test_words_are_their_bits_highest_first():
    words = np.random.default_rng(3).integers(0, 2**32, 40, dtype=np.uint32)
    words[30:] = words[:10]
    bits = np.array([(int(w) >> (31 - i)) & 1 for w in words for i in range(32)], dtype=bool)
    assert repeated_windows(words) == repeated_windows(bits)
    assert repeated_windows(words).count == 10 * 32 - 63


def test_two_windows_of_one_word_in_half_a_million_are_found():
    bits = fair(500_000)
    bits[400_003:400_067] = bits[70_001:70_065]
    found = repeated_windows(bits)
    assert found.count >= 1 and found.p_value < 1e-8


def test_overlapping_windows_are_equal_with_the_same_probability():
    """Windows of w bits instead of 64, all words: P(window i = window j) = 2**-w, any overlap."""
    w, size = 4, 10
    words = np.array(list(itertools.product([False, True], repeat=size)))
    for i, j in itertools.combinations(range(size - w + 1), 2):
        assert (words[:, i : i + w] == words[:, j : j + w]).all(axis=1).mean() == 2.0**-w


def test_a_single_window_repeats_nothing():
    assert repeated_windows(fair(64)) == Repeats(0, 2.0**-65)


@pytest.mark.parametrize("bits", [np.zeros(63, bool), np.zeros(1, np.uint32), np.zeros(99), []])
def test_what_has_no_window_is_refused(bits):
    with pytest.raises(ValueError, match="got"):
        repeated_windows(bits)
