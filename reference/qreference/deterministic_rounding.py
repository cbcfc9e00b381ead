"""Deterministic rounding (R): the nearest level after each increment [li2017, Eqs. 3, 4].

An increment of x lattice spacings is split into its whole part and a fraction f.
The weight moves the whole part, and one level more iff f is more than a half,
then stops at the ends of the lattice.

Tie rule: half-way points go away from the value 0, and upwards if the half-way point is 0.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qreference.arrays import Real
from qtheory.algorithms.deterministic_rounding import DeterministicRounding
from qtheory.arrays import Increment, Index, Thresholds, Words


def init(spec: DeterministicRounding, weights: Real) -> Index:
    """The nearest levels. Raises ValueError if a weight is not finite."""
    return spec.lattice.nearest(weights)


def threshold(spec: DeterministicRounding, index: Index, increment: Increment) -> Thresholds:
    """2**32, always, or 0, never: the words decide nothing.

    The half-way point is exact in float32 for lattices of less than 2**22 levels.
    """
    sign, whole, fraction = walker.split(spec.lattice, increment)
    half_way = (index + sign * (whole + 0.5)).astype(np.float32)
    outward = np.where(half_way >= np.float32(spec.lattice.zero), sign > 0, sign < 0)
    more = (fraction > 0.5) | ((fraction == 0.5) & outward)
    return np.where(more, np.uint64(2**32), np.uint64(0))


def step(spec: DeterministicRounding, index: Index, increment: Increment, words: Words) -> Index:
    """Move every weight once. A word moves a weight one level more iff below its threshold."""
    more = words < threshold(spec, index, increment)
    return walker.move(spec.lattice, index, increment, more)


def read(spec: DeterministicRounding, index: Index, words: Words | None = None) -> Real:
    """The levels themselves, float32; nothing is random about them."""
    return walker.read(spec.lattice, index)
