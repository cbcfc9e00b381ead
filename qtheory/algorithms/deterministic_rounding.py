"""Deterministic rounding (R): the nearest level after each increment [li2017, Eqs. 3, 4].

A weight that is asked to go half a spacing or more goes to the next level; below that it
stays, which is why small learning rates freeze it.

Tie rule: half-way points go away from the value 0, and upwards if the half-way point is 0,
as in Q_d(w) = sign(w) D floor(|w| / D + 1/2) with sign(0) = +1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qtheory.algorithms.walker import split, walker_law
from qtheory.arrays import Numbers, Pmf
from qtheory.lattice import Lattice


@dataclass(frozen=True, slots=True)
class DeterministicRounding:
    """What the algorithm is; no state, no randomness."""

    lattice: Lattice


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
