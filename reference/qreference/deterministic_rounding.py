"""Deterministic rounding (R): the nearest level after each increment [li2017, Eqs. 3, 4].

An increment of x lattice spacings is split into its whole part and a fraction f.
The weight moves the whole part, and one level more iff f is more than a half,
then stops at the ends of the lattice.

Tie rule: half-way points go away from the value 0, and upwards if the half-way point is 0.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qtheory.algorithms.deterministic_rounding import DeterministicRounding
from qtheory.arrays import Increment, Index, Outcomes


def outcomes(spec: DeterministicRounding, index: Index, increment: Increment) -> Outcomes:
    """The threshold is 2**32, always, or 0, never: the words decide nothing.

    The half-way point is exact in float32 for lattices of less than 2**22 levels.
    """
    sign, whole, fraction = walker.split(spec.lattice, increment)
    half_way = (index + sign * (whole + 0.5)).astype(np.float32)
    outward = np.where(half_way >= np.float32(spec.lattice.zero), sign > 0, sign < 0)
    more = (fraction > 0.5) | ((fraction == 0.5) & outward)
    certain = np.where(more, np.uint64(2**32), np.uint64(0))
    return walker.coin(spec.lattice, index, increment, certain)
