"""Fair coins: whether decisions at p = 1/2 are independent of each other, at every distance.

Let b_0..b_{n-1} be bits. The agreements at lag k are A_k = #{i : b_i = b_{i+k}}, 0 <= i < n - k.
If the bits are independent and fair then A_k is binomial, n - k trials with probability 1/2:
the pairs (i, i + k) form paths, and along a path "the next bit agrees" are fair coins.
A word used twice, a counter that forgets the iteration, or lanes that share a word agree always.

With s_i = 2 b_i - 1, sum_i s_i s_{i+k} = 2 A_k - (n - k), and all lags come from one Fourier
transform of s, padded with n zeros. A sum is a whole number of known parity, so it is recovered
exactly as long as rounding stays below 1.

A window is 64 successive bits. Two windows that start at different bits of independent fair ones
are equal with probability 2**-64, also where they overlap, so among W windows any two are equal
with probability at most W (W - 1) / 2 * 2**-64 <= W**2 / 2**65.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy import fft
from numpy.typing import ArrayLike, NDArray

from qtheory.evidence.binomial import binomial_p_values

_LOOKED_AT = 1024


class WorstLag(NamedTuple):
    """The lag whose agreements are the least likely."""

    lag: int
    agreements: int
    pairs: int
    p_value: float  # times the number of lags, at most 1


@dataclass(frozen=True, slots=True)
class Repeats:
    """How many 64-bit windows equal an earlier one, and how probable one such is at most."""

    count: int
    bound: float

    @property
    def p_value(self) -> float:
        """The bound if there is a repeat, else 1."""
        return min(1.0, self.bound) if self.count else 1.0


def lag_counts(bits: ArrayLike) -> NDArray[np.int64]:
    """Agreements at the lags 0..n-1, exact; entry 0 is n.

    >>> lag_counts([True, True, False, True]).tolist()
    [4, 1, 1, 1]

    Raises ValueError unless bits are a vector of booleans, 1 to 2**28 of them.
    """
    b = _bits(bits)
    n = b.size
    length = 1 << (2 * n - 1).bit_length()  # at least 2 n - 1, so that no lag wraps around
    transform = fft.rfft(np.where(b, 1.0, -1.0), length)
    products = fft.irfft(transform.real**2 + transform.imag**2, length)[:n]
    pairs = n - np.arange(n)
    return np.rint((products + pairs) / 2).astype(np.int64)


def worst_lag(bits: ArrayLike, max_lag: int | None = None) -> WorstLag:
    """The lag 1..max_lag whose agreements have the smallest p-value, times the number of lags.

    Exact p-values are computed for the 1,024 lags with the largest (A - pairs / 2)**2 / pairs.
    To look at fewer lags than are paid for is valid, and finds the same lag unless all deviate
    little.

    Raises ValueError as `lag_counts` does, and unless 1 <= max_lag < n; default n - 1.
    """
    b = _bits(bits)
    last = b.size - 1 if max_lag is None else max_lag
    if not 1 <= last < b.size:
        raise ValueError(f"a lag is in 1..{b.size - 1}, got {last}")
    agreements = lag_counts(b)[1 : last + 1]
    pairs = b.size - np.arange(1, last + 1)
    deviation = (agreements - pairs / 2) ** 2 / pairs
    first = max(0, last - _LOOKED_AT)
    look = np.argpartition(deviation, first)[first:] if first else np.arange(last)
    values = binomial_p_values(agreements[look], pairs[look], 0.5)
    worst = int(look[values.argmin()])
    p_value = min(1.0, float(values.min()) * last)
    return WorstLag(worst + 1, int(agreements[worst]), int(pairs[worst]), p_value)


def worst_lag_p_value(bits: ArrayLike, max_lag: int | None = None) -> float:
    """The p-value of `worst_lag`: exact binomials, Bonferroni over the lags.

    >>> worst_lag_p_value([True, False] * 50) == 98 * 2 * 0.5**99 * 99 / 98
    True
    """
    return worst_lag(bits, max_lag).p_value


def repeated_windows(words: ArrayLike) -> Repeats:
    """Windows of 64 bits, at every bit, that equal an earlier one.

    words: booleans are bits; uint32 are words of 32 bits, the highest first.

    >>> repeated_windows(np.arange(2, dtype=np.uint32))
    Repeats(count=0, bound=2.710505431213761e-20)
    >>> repeated_windows(np.zeros(3, np.uint32)).count
    32

    Raises ValueError for other types, and for less than 64 bits.
    """
    array = np.asarray(words)
    if array.dtype == np.uint32 and array.ndim == 1:
        array = np.unpackbits(array.astype(">u4").view(np.uint8)).astype(bool)
    window = _bits(array).astype(np.uint64)
    if window.size < 64:
        raise ValueError(f"a window has 64 bits, got {window.size} bits")
    for width in (1, 2, 4, 8, 16, 32):  # windows of 2 * width bits from those of width bits
        window = (window[:-width] << np.uint64(width)) | window[width:]
    window.sort()
    count = int((window[1:] == window[:-1]).sum())
    return Repeats(count, window.size**2 / 2.0**65)


def _bits(bits: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(bits)
    if array.dtype != np.bool_ or array.ndim != 1 or not 1 <= array.size <= 2**28:
        raise ValueError(
            f"bits are a vector of 1 to 2**28 booleans, got {array.dtype} of shape {array.shape}"
        )
    return array
