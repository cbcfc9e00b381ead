"""Eigenvalues of chains of birth and death, to nearly the last digit however small.

With pi_k P_(k,k+1) symmetrised, I - P = C'C where C is bidiagonal with the entries sqrt(up_k) and
-sqrt(down_k), so the rates 1 - lambda other than 0 are the eigenvalues of CC'. Its factor LDL' at
a shift x has the pivots

    t_0 = up_0 - x,   D_k = t_k + down_k,   t_k = up_k t_(k-1) / D_(k-1) - x,

of which as many are negative as there are rates below x [fernando1994]. The pivots computed are
exactly those of a chain whose up_k differ by at most three roundings and down_k by one, so that
rates differ by at most 4 n of them, relative [demmel1990]: no rate is too small to be found.
A bracket is divided in seventeen; the compiled loop then narrows it with pivots of two doubles.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from qtheory.chain import native
from qtheory.chain.birth_death import BirthDeathChain

Shifts = Float[ndarray, "shifts"]
Counts = Int64[ndarray, "shifts"]

PARTS = 16  # shifts looked at together
LEAST = 2.0**-1000
"""Rates below this are not told apart from zero."""


def rates_below(chain: BirthDeathChain, shifts: Shifts, *, fine: bool = False) -> Counts:
    """How many rates 1 - lambda, that of the law left out, are below each of at most 16 shifts.

    Exact for a chain whose probabilities differ, relative, by three roundings of 2**-53, or of
    2**-102 if `fine`, which needs the compiled loop. All links go both ways.
    """
    library = native.library()
    if library is None:
        return _plain_count(chain, shifts)
    padded, counts = np.ones(PARTS), np.empty(PARTS, dtype=np.int64)
    padded[: len(shifts)] = shifts
    links = [native.address(a) for a in (chain.up, chain.down)]
    library.qt_chain_birth_death_count(
        *links, len(chain.up), native.address(padded), int(fine), counts.ctypes.data
    )
    return counts[: len(shifts)]


def _plain_count(chain: BirthDeathChain, shifts: Shifts) -> Counts:
    ratio, below = np.ones(len(shifts)), np.zeros(len(shifts), dtype=np.int64)
    for up, down in zip(chain.up.tolist(), chain.down.tolist(), strict=True):
        t = up * ratio - shifts
        pivot = t + down
        pivot[pivot == 0.0] = down * 2.0**-60  # less than a rounding of down
        ratio = t / pivot
        below += pivot < 0.0
    return below


def rate(chain: BirthDeathChain, number: int) -> float:
    """The rate 1 - lambda of mode `number`, 1 being the slowest but the law, and n-1 the fastest.

    Relative error below 2**-51 + 4 n 2**-102 by the compiled loop, (4 n + 4) 2**-53 by the plain
    one: 4 n roundings of the count, the rest from the last bracket.
    Raises ValueError if there is no such mode, a link does not go both ways, or the rate is below
    2**-1000.

    >>> walk = BirthDeathChain(np.full(2, 0.25), np.full(2, 0.25))
    >>> [rate(walk, 1), rate(walk, 2)]
    [0.25, 0.75]
    """
    if not 1 <= number < chain.size:
        raise ValueError(f"a mode is in 1..{chain.size - 1}, got {number}")
    if not min(chain.up.min(), chain.down.min()) > 0:
        raise ValueError("rates need links that go both ways, got one of probability 0")
    if rates_below(chain, np.array([LEAST]))[0] >= number:
        raise ValueError(f"rates are to be above 2**-1000, got a smaller one of mode {number}")
    low, high = _narrowed(chain, number, LEAST, 4.0, fine=False)
    if native.available():
        error = (4.0 * chain.size + 4.0) * 2.0**-53
        return _narrowed(chain, number, low * (1 - error), high * (1 + error), fine=True)[0]
    return low


def _narrowed(
    chain: BirthDeathChain, number: int, low: float, high: float, *, fine: bool
) -> tuple[float, float]:
    """Neighbouring floats: the rate is the first or between them."""
    while True:
        inner = _between(low, high)
        if not inner.size:
            return low, high
        enough = rates_below(chain, inner, fine=fine) >= number
        first = int(np.argmax(enough)) if enough.any() else len(inner)
        low = float(inner[first - 1]) if first else low
        high = float(inner[first]) if first < len(inner) else high


def _between(low: float, high: float) -> Shifts:
    """Numbers that divide low..high into at most 17 parts, by ratios if it is wide."""
    if high > 2 * low:
        points = np.exp2(np.linspace(math.log2(low), math.log2(high), PARTS + 2)[1:-1])
    else:
        points = np.linspace(low, high, PARTS + 2)[1:-1]
    return np.unique(points[(low < points) & (points < high)])


def absolute_gap(chain: BirthDeathChain) -> float:
    """1 - max |lambda| over the eigenvalues other than that of the law.

    If it belongs to a slow mode, lambda > 0, its relative error is that of `rate`. That of an
    oscillating mode is 2 minus the fastest rate: the same error, absolute and twice as large.
    """
    slow = rate(chain, 1)
    # No rate exceeds twice the probability of leaving a state (Gershgorin).
    if slow <= 2.0 - 2.0 * chain.most_leaving:
        return slow
    fast = rate(chain, chain.size - 1)
    return float(min(slow, max(2.0 - fast, 0.0)))
