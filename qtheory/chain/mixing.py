"""How fast the law of a chain approaches its stationary law.

    d(t) = max_i TV(P**t(i, .), pi),    TV(p, q) = (1/2) sum |p - q|

d falls with t. The mixing time is the first t with d(t) <= distance, by convention 1/4
[levin2017, Eq. (4.30)]. For a reversible chain with absolute spectral gap g and eps < 1/2

    (1 / g - 1) ln(1 / (2 eps)) <= mixing time <= ceil(ln(1 / (eps min pi)) / g)

[levin2017, Thm. 12.4 and 12.5] (not verified against the print).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain.classes import period, require_irreducible
from qtheory.chain.forms import AnyChain, dense
from qtheory.chain.markov import MarkovChain, PerState
from qtheory.chain.spectrum import relaxation_time
from qtheory.chain.stationary import is_reversible, stationary_distribution
from qtheory.chain.structure import composed

MAX_SQUARINGS = 1100
"""Squarings after which a chain is given up as unmixed: links go down to 2**-1074."""

Law = Float[ndarray, "levels"]
OtherLaw = Float[ndarray, "others"]
"""Two laws whose lengths are compared by the function, with its own words."""


class Bounds(NamedTuple):
    """A number lies in lower..upper."""

    lower: float
    upper: float


def total_variation(p: Law, q: OtherLaw) -> float:
    """(1/2) sum |p - q|, in [0, 1]; an absolute error of 2 * 2**-53 at most.

    Raises ValueError if the two are not laws on the same number of levels.

    >>> total_variation(np.array([0.5, 0.5]), np.array([0.25, 0.75]))
    0.25
    """
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if p.ndim != 1 or p.shape != q.shape:
        raise ValueError(f"two laws have one length, got shapes {p.shape} and {q.shape}")
    for law in (p, q):
        if not ((law >= 0).all() and abs(math.fsum(law) - 1.0) <= (law.size + 1) * 2.0**-52):
            raise ValueError(f"a law is >= 0 and sums to one, got {law.tolist()}")
    return min(0.5 * math.fsum(np.abs(p - q)), 1.0)


def distances(chain: AnyChain, iterations: Sequence[int]) -> PerState:
    """d(t) at increasing times t >= 0, shape (times,).

    A time costs two products of matrices for each of its bits beyond the time before.
    Absolute error below t (n + 4) 2**-53, as a square doubles what it squares; for large t see
    `mixing_time`. Raises ValueError if the times do not increase or one is negative.
    """
    chain = dense(chain)
    law = stationary_distribution(chain)
    times = list(iterations)
    if any(b < a for a, b in zip([0, *times], times, strict=False)):
        raise ValueError(f"times increase from 0, got {times}")
    now = MarkovChain(np.zeros_like(chain.off_diagonal))
    found: list[float] = []
    for elapsed in np.diff([0, *times]):
        now = composed(now, _power(chain, int(elapsed)))
        found.append(_distance(now, law))
    return np.array(found)


def mixing_time(chain: AnyChain, distance: float = 0.25) -> int:
    """The first number of iterations t with d(t) <= distance.

    By repeated squaring, then by halves: 2 log2(t) products of matrices. The diagonal stays
    implied, so links of 1e-100 are crossed after 2**400 iterations as they should. A product is
    exact but for (n + 3) 2**-53 off the diagonal, relative, and an absolute error of as much from
    the diagonals, which counts where states hardly ever rest. So t is exact while t (n + 4) 2**-53
    is below the margin of d at t - 1 and t; beyond, observed is 2 log2(t) (n + 3) 2**-53, relative.

    Raises ValueError if the chain is periodic or has more than one recurrent class (it never
    mixes), or the distance is not in `least_distance(n)` .. 1; OverflowError if t is above
    2**MAX_SQUARINGS, or moves are so rare that their products underflow.

    >>> mixing_time(MarkovChain(np.array([[0.0, 0.25], [0.25, 0.0]])))
    1
    """
    chain = dense(chain)
    law = stationary_distribution(chain)
    least = least_distance(chain.size)
    if not least <= distance < 1.0:
        raise ValueError(f"a distance is in {least:.3g} .. 1, got {distance}")
    turns = period(chain)
    if turns > 1:
        raise ValueError(f"only an aperiodic chain mixes, got period {turns}; see `lazy`")
    if _distance(MarkovChain(np.zeros_like(chain.off_diagonal)), law) <= distance:
        return 0
    powers = [chain]
    while _distance(powers[-1], law) > distance:
        if len(powers) > MAX_SQUARINGS:
            raise OverflowError(f"a mixing time is counted up to 2**{MAX_SQUARINGS}, got more")
        powers.append(composed(powers[-1], powers[-1]))
    if len(powers) == 1:
        return 1
    unmixed, time = powers[-2], 2 ** (len(powers) - 2)
    for k in range(len(powers) - 3, -1, -1):
        later = composed(unmixed, powers[k])
        if _distance(later, law) > distance:
            unmixed, time = later, time + 2**k
    return time + 1


def least_distance(size: int) -> float:
    """The smallest distance that rounding leaves resolved: (2 n**3 + 2200 n (n + 4)) 2**-53.

    The stationary law errs by 2 n**3 2**-53; each of at most MAX_SQUARINGS = 1100 squarings (links
    down to the smallest float) moves the law of the power by 2 (n - 1) times its relative error.

    >>> least_distance(10) < 1e-10
    True
    """
    return (2.0 * size**3 + 2.0 * MAX_SQUARINGS * size * (size + 4)) * 2.0**-53


def mixing_bounds(chain: AnyChain, distance: float = 0.25) -> Bounds:
    """Bounds of the mixing time from the absolute spectral gap, which they are as exact as.

    Infinite above if the least probable state has probability 0 in a float.
    Raises ValueError if the chain is not reversible and irreducible, or is periodic, or the
    distance is not in 0 .. 1/2.
    """
    chain = dense(chain)
    require_irreducible(chain, "a bound by the spectral gap")
    if not 0 < distance < 0.5:
        raise ValueError(f"a distance is in 0 .. 1/2 for these bounds, got {distance}")
    if not is_reversible(chain):
        raise ValueError("these bounds need a reversible chain, got one that is not")
    turns = period(chain)
    if turns > 1:
        raise ValueError(f"only an aperiodic chain mixes, got period {turns}; see `lazy`")
    relaxation = relaxation_time(chain)
    least = float(stationary_distribution(chain).min())
    rarest = -math.log(least) if least > 0 else math.inf
    upper = relaxation * (rarest - math.log(distance))
    return Bounds(
        max(relaxation - 1.0, 0.0) * -math.log(2.0 * distance),
        float(math.ceil(upper)) if math.isfinite(upper) else math.inf,
    )


def _distance(chain: MarkovChain, law: Pmf) -> float:
    """max_i TV(row i, law), the sum of what a row has too much, or of what it lacks."""
    return float(0.5 * np.abs(chain.transition_matrix - law).sum(axis=1).max())


def _power(chain: MarkovChain, iterations: int) -> MarkovChain:
    result = MarkovChain(np.zeros_like(chain.off_diagonal))
    while iterations:
        if iterations & 1:
            result = composed(result, chain)
        iterations >>= 1
        if iterations:
            chain = composed(chain, chain)
    return result
