"""Finite-sample tests of a whole law: counts of levels against their exact pmf.

Counts N_1..N_L of n independent draws from a pmf p are multinomial; each N_l alone is binomial.

    cells   The smallest of the binomial p-values, times the number of cells (Bonferroni).
    order   D = max_l |F_n(l) - F(l)| between the distribution functions, and the inequality
            P(D >= d) <= 2 exp(-2 n d**2) for every n, d and law [massart1990].

Cells see a narrow difference, order one that is spread over many neighbouring levels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qtheory.evidence.binomial import binomial_p_value


def dkw_p_value(counts: ArrayLike, pmf: ArrayLike) -> float:
    """P-value of the largest difference between the distribution functions of ordered levels.

    >>> dkw_p_value([75, 25], [0.5, 0.5]) == 2 * math.exp(-2 * 100 * 0.25**2)
    True

    Raises ValueError unless counts and pmf have one shape, counts are whole and not all zero, and
    probabilities are in 0..1 and sum to one.
    """
    n, p = _cells(counts, pmf)
    total = int(n.sum())
    expected = np.cumsum(p)[:-1]
    distance = np.abs(np.cumsum(n)[:-1] / total - expected).max(initial=0.0)
    return min(1.0, 2 * math.exp(-2 * total * distance**2))


def multinomial_p_value(counts: ArrayLike, pmf: ArrayLike) -> float:
    """The smallest exact binomial p-value of a cell, times the number of cells that can err.

    A cell of probability 0 or 1 fails with probability zero under its law, so it costs nothing.

    >>> multinomial_p_value([10, 0, 0], [0.5, 0.5, 0.0]) == 2 * 2 * 0.5**10
    True
    >>> multinomial_p_value([9, 0, 1], [0.5, 0.5, 0.0])
    0.0

    Raises ValueError as `dkw_p_value` does.
    """
    n, p = _cells(counts, pmf)
    total = int(n.sum())
    values = [binomial_p_value(int(count), total, float(q)) for count, q in zip(n, p, strict=True)]
    return min(1.0, min(values) * max(1, int(((p > 0) & (p < 1)).sum())))


def _cells(counts: ArrayLike, pmf: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    n, p = np.asarray(counts), np.asarray(pmf, dtype=np.float64)
    if n.shape != p.shape or n.ndim != 1:
        raise ValueError(f"counts and pmf have one shape (levels,), got {n.shape} and {p.shape}")
    if n.dtype.kind not in "iu" or (n < 0).any() or not n.any():
        raise ValueError(f"counts are whole numbers >= 0, and one of them is positive, got {n}")
    if not ((p >= 0) & (p <= 1)).all() or abs(p.sum() - 1) > p.size * 2.0**-50:
        raise ValueError(f"probabilities are in 0..1 and sum to one, got the sum {p.sum()}")
    return n.astype(np.int64), p
