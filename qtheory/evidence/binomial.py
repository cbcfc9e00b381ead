"""The exact binomial test: its p-value, its power, and the number of draws it needs.

S successes in n independent trials, each with the probability p that is claimed, have

    P(S >= k) = I(p; k, n - k + 1),        P(S <= k) = 1 - I(p; k + 1, n - k),

with I the regularised incomplete beta function [clopper1934], computed here to a relative 1e-10
(two thousand million trials) or better. The two-sided p-value is twice the smaller of
P(S >= s) and P(S <= s), at most 1; it fails the claim at a false-alarm rate a iff s is at least
the upper critical number, the smallest k with P(S >= k) <= a/2, or at most the lower one.

The miss of a bias b > 0 is the probability that a coin of probability p + b stays below the upper
critical number, or one of p - b above the lower one, whichever is larger; an alarm on the wrong
side detects nothing. A direction in which p +- b is no probability has no miss.

As a rule of thumb n is 84.6 p (1 - p) / b**2 for a false-alarm rate 1e-9 and a miss 1e-3, where
84.6 = (6.11 + 3.09)**2; the functions below do not use it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from qtheory.arrays import Numbers

_CHUNK = 4096


def upper_tail(successes: Numbers, trials: Numbers, p: float) -> NDArray[np.float64]:
    """P(S >= successes) of a binomial S; arguments broadcast, and may lie beyond 0..trials.

    >>> upper_tail(np.array([0, 1, 2, 3]), 2, 0.5).tolist()
    [1.0, 0.75, 0.25, 0.0]
    """
    k, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    inside = np.clip(k, 1, np.maximum(n, 1))
    tail = special.betainc(inside, np.maximum(n, 1) - inside + 1, p)
    return np.where(k <= 0, 1.0, np.where(k > n, 0.0, tail))


def lower_tail(successes: Numbers, trials: Numbers, p: float) -> NDArray[np.float64]:
    """P(S <= successes) of a binomial S; not 1 - P(S > successes), which would round a small tail.

    >>> lower_tail(np.array([-1, 0, 1, 2]), 2, 0.5).tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    k, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    inside = np.clip(k, 0, np.maximum(n - 1, 0))
    tail = special.betaincc(inside + 1, np.maximum(n, 1) - inside, p)
    return np.where(k >= n, 1.0, np.where(k < 0, 0.0, tail))


def binomial_p_value(successes: int, trials: int, p: float) -> float:
    """Two-sided p-value of `successes` in `trials` for the probability p, 0 and 1 included.

    >>> binomial_p_value(0, 10, 0.5) == 2 * 0.5**10
    True
    >>> binomial_p_value(1, 10, 0.0), binomial_p_value(0, 10, 0.0)
    (0.0, 1.0)

    Raises ValueError unless 0 <= successes <= trials and 0 <= p <= 1.
    """
    _probability(p)
    if not 0 <= successes <= trials:
        raise ValueError(f"successes lie in 0..trials, got {successes} of {trials}")
    return float(binomial_p_values(np.asarray(successes), np.asarray(trials), p))


def binomial_p_values(successes: Numbers, trials: Numbers, p: float) -> NDArray[np.float64]:
    """`binomial_p_value` for arrays of successes and trials."""
    low, high = lower_tail(successes, trials, p), upper_tail(successes, trials, p)
    return np.asarray(np.minimum(1.0, 2 * np.minimum(low, high)))


def critical_numbers(
    trials: NDArray[np.int64], p: float, false_alarm: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lower and upper critical number for every entry of `trials`, an increasing array.

    -1 or n + 1 where no outcome of n trials fails the claim on that side.
    """
    first, last = trials[:1], trials[-1:]
    zero = np.zeros_like(first)
    ends = [_critical(n, p, false_alarm / 2, zero, n + 1) for n in (first, last)]
    # both numbers grow with n, so those at the ends enclose the others
    low = _bisect_low(trials, p, false_alarm / 2, ends[0][0], ends[1][0])
    high = _bisect_high(trials, p, false_alarm / 2, ends[0][1], ends[1][1])
    return low, high


def _critical(
    n: NDArray[np.int64], p: float, tail: float, lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return _bisect_low(n, p, tail, lo - 1, hi - 2), _bisect_high(n, p, tail, lo, hi)


def _bisect_high(
    n: NDArray[np.int64], p: float, tail: float, lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The smallest k of lo..hi with P(S >= k) <= tail, which hi is known to satisfy."""
    lo, hi = np.broadcast_to(lo, n.shape), np.broadcast_to(hi, n.shape)
    while (lo < hi).any():
        middle = (lo + hi) // 2
        small = upper_tail(middle, n, p) <= tail
        lo, hi = np.where(small, lo, np.minimum(middle + 1, hi)), np.where(small, middle, hi)
    return hi.astype(np.int64)


def _bisect_low(
    n: NDArray[np.int64], p: float, tail: float, lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The largest k of lo..hi with P(S <= k) <= tail, which lo is known to satisfy."""
    lo, hi = np.broadcast_to(lo, n.shape), np.broadcast_to(hi, n.shape)
    while (lo < hi).any():
        middle = (lo + hi + 1) // 2
        small = lower_tail(middle, n, p) <= tail
        lo, hi = np.where(small, middle, lo), np.where(small, hi, np.maximum(middle - 1, lo))
    return lo.astype(np.int64)


def miss_probability(trials: int, p: float, bias: float, false_alarm: float) -> float:
    """The miss of a bias by the exact two-sided test of so many trials.

    >>> miss_probability(211_757, 0.5, 1e-2, 1e-9) <= 1e-3
    True

    Raises ValueError as `samples_needed` does.
    """
    _check(p, bias, false_alarm, 0.5)
    return float(_misses(np.array([trials]), p, bias, false_alarm, 0)[0])


def _misses(
    trials: NDArray[np.int64], p: float, bias: float, false_alarm: float, grace: int
) -> NDArray[np.float64]:
    """The misses if the critical numbers were `grace` successes less extreme."""
    low, high = critical_numbers(trials, p, false_alarm)
    misses = np.zeros(trials.shape)
    if p + bias <= 1:
        misses = np.maximum(misses, lower_tail(high - 1 - grace, trials, p + bias))
    if p - bias >= 0:
        misses = np.maximum(misses, upper_tail(low + 1 + grace, trials, p - bias))
    return misses


def samples_needed(p: float, bias: float, false_alarm: float, miss: float) -> int:
    """The smallest number of trials whose exact test at `false_alarm` misses a bias of either sign
    with probability at most `miss`. A larger bias is missed less.

    The power of an exact test rises and falls with n as critical numbers change, by less than one
    success: a few draws more may miss a little more often, so ask `smallest_bias` what another
    number finds. A randomised test, which alarms on the edge with the probability that makes its
    false-alarm rate exact, is at least as powerful, and its power never falls with n. So once a
    test with critical numbers one success less extreme misses too often, every smaller n does.

    >>> samples_needed(0.0, 0.5, 1e-9, 1e-3)  # one success is enough, and 2**-10 < 1e-3
    10

    Raises ValueError unless p is a probability, false_alarm and miss are between 0 and 1, the
    bias is positive and p + bias or p - bias is a probability.
    """
    _check(p, bias, false_alarm, miss)
    few, enough = 0, 1
    while _misses(np.array([enough]), p, bias, false_alarm, 1)[0] > miss:
        few, enough = enough, 2 * enough
        if enough > 2**52:
            raise ValueError(f"a bias that 2**52 draws can tell is larger, got {bias}")
    while enough - few > 1:
        middle = (few + enough) // 2
        if _misses(np.array([middle]), p, bias, false_alarm, 1)[0] > miss:
            few = middle
        else:
            enough = middle
    while True:
        trials = np.arange(few + 1, few + 1 + _CHUNK)
        found = np.flatnonzero(_misses(trials, p, bias, false_alarm, 0) <= miss)
        if found.size:
            return int(trials[found[0]])
        few += _CHUNK


def smallest_bias(trials: int, p: float, false_alarm: float, miss: float) -> float:
    """The smallest b such that so many trials miss no bias of b or more, of either sign, with
    probability above `miss`; infinite if they can miss any.

    Where one direction is never detected b is the room in it, p or 1 - p: no bias beyond it exists.

    >>> smallest_bias(10, 0.0, 1e-9, 2.0**-10)
    0.5

    Raises ValueError unless trials >= 1, p is a probability, and false_alarm and miss are between
    0 and 1.
    """
    _check(p, 0.5, false_alarm, miss)
    if trials < 1:
        raise ValueError(f"a test has at least one trial, got {trials}")
    lows, highs = critical_numbers(np.array([trials]), p, false_alarm)
    low, high = int(lows[0]), int(highs[0])
    up = float(special.betainccinv(high, trials - high + 1, miss)) if high <= trials else math.inf
    down = float(special.betaincinv(low + 1, trials - low, miss)) if low >= 0 else -math.inf
    if up == math.inf and down == -math.inf:
        return math.inf
    return max(min(up - p, 1 - p), min(p - down, p))


def _probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"a probability is between 0 and 1, got {p}")


def _check(p: float, bias: float, false_alarm: float, miss: float) -> None:
    _probability(p)
    if not 0 < false_alarm < 1:
        raise ValueError(f"a false-alarm rate is between 0 and 1, got {false_alarm}")
    if not 0 < miss < 1:
        raise ValueError(f"a miss is between 0 and 1, got {miss}")
    if not 0 < bias <= max(p, 1 - p):
        raise ValueError(f"a bias is positive and leads to a probability, got {p} and {bias}")
