"""Stochastic rounding (SR): lattice weights moved by unbiased random rounding [li2017, Eqs. 5, 6].

An increment of x lattice spacings is split into its whole part and a fraction f.
The weight moves the whole part, and one level more with probability f, so that the mean
move is x; then it stops at the ends of the lattice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qtheory.algorithms.base import Contract
from qtheory.algorithms.walker import split, walker_law
from qtheory.arrays import Moves, Numbers, Pmf
from qtheory.increments.laws import ContinuousIncrements
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair


@dataclass(frozen=True, slots=True)
class StochasticRounding:
    """What the algorithm is; no state, no randomness.

    readout: the stair through which hidden levels are seen, None if the levels themselves are.
    """

    lattice: Lattice
    readout: Stair | None = None


def law(spec: StochasticRounding, index: Numbers, increment: Numbers) -> Pmf:
    """Exact law of the next level, shape (..., size) [li2017, Eq. 5].

    index, increment: arrays that broadcast, or numbers; the increment is in weight units. NaN
    does not move the weight; infinities go to the ends.
    Raises ValueError if the index is not on the lattice.

    >>> law(StochasticRounding(Lattice.ternary()), 1, -0.25).tolist()
    [0.25, 0.75, 0.0]
    """
    parts = split(spec.lattice, index, increment)
    return walker_law(spec.lattice, parts, parts.fraction)


def steps_up(increments: ContinuousIncrements, spacing: float, levels: int) -> Moves:
    """Second differences of E[(z - x)^+], or of E[(x - z)^+] below the mean, where it is smaller.

    For a move k the relative error is about 2**-48 (1 + r)**2, r the distance from the mean to k,
    or the noise's scale if that is larger, in spacings; the excess adds its own error.
    The last entry, of `levels` moves or more, is the first difference E[(z-k+1)^+] - E[(z-k)^+].
    """
    k = np.arange(levels + 2, dtype=np.float64) * spacing
    over, under = increments.excess(k) / spacing, increments.deficit(k) / spacing
    right = k >= increments.mean
    second = np.where(right[1:-1], *(f[:-2] - 2 * f[1:-1] + f[2:] for f in (over, under)))
    if levels:
        first = over[levels - 1] - over[levels]
        second[-1] = first if right[levels] else 1.0 - (under[levels] - under[levels - 1])
    return np.maximum(second, 0.0)


CONTRACT = Contract(spec=StochasticRounding, source="li2017", steps_up=steps_up)
