"""Deterministic rounding (R): the nearest level after each increment [li2017, Eqs. 3, 4].

A weight that is asked to go half a spacing or more goes to the next level; below that it
stays, which is why small learning rates freeze it.

Tie rule: half-way points go away from the value 0, and upwards if the half-way point is 0,
as in Q_d(w) = sign(w) D floor(|w| / D + 1/2) with sign(0) = +1.
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
class DeterministicRounding:
    """What the algorithm is; no state, no randomness.

    readout: the stair through which hidden levels are seen, None if the levels themselves are.
    """

    lattice: Lattice
    readout: Stair | None = None


def law(spec: DeterministicRounding, index: Numbers, increment: Numbers) -> Pmf:
    """Exact law of the next level, shape (..., size): all mass on one level [li2017, Eq. 4].

    index, increment: arrays that broadcast, or numbers; the increment is in weight units. NaN
    does not move the weight; infinities go to the ends.
    Raises ValueError if the index is not on the lattice.

    >>> law(DeterministicRounding(Lattice.ternary()), 1, 0.5).tolist()
    [0.0, 0.0, 1.0]
    """
    parts = split(spec.lattice, index, increment)
    half_way = parts.start + parts.sign * (parts.whole + 0.5)
    outward = np.where(half_way >= spec.lattice.zero, parts.sign > 0, parts.sign < 0)
    more = (parts.fraction > 0.5) | ((parts.fraction == 0.5) & outward)
    return walker_law(spec.lattice, parts, more.astype(np.float64))


def steps_up(increments: ContinuousIncrements, spacing: float, levels: int) -> Moves:
    """P(k - 1/2 < z <= k + 1/2) from the tail beyond the mean; the last entry has no upper end."""
    edges = (np.arange(levels + 1, dtype=np.float64) + 0.5) * spacing
    above, below = increments.above(edges), increments.mirrored().above(-edges)
    right = edges[:-1] >= increments.mean
    between = np.where(right, above[:-1] - above[1:], below[1:] - below[:-1])
    if levels:
        between[-1] = above[levels - 1]
    return np.maximum(between, 0.0)


CONTRACT = Contract(spec=DeterministicRounding, source="li2017", steps_up=steps_up)
