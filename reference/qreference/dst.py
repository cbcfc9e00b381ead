"""Discrete state transition (DST), the update rule of GXNOR-Net [deng2018].

An increment of x lattice spacings is split into its whole part and a fraction f.
The weight moves the whole part, and one level more with probability tanh(m f),
then stops at the ends of the lattice.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qreference.arrays import Real
from qtheory.algorithms.dst import DST
from qtheory.arrays import Increment, Index, Thresholds, Words


def init(spec: DST, weights: Real) -> Index:
    """The nearest levels. Raises ValueError if a weight is not finite."""
    return spec.lattice.nearest(weights)


def threshold(spec: DST, index: Index, increment: Increment) -> Thresholds:
    """floor(p 2**32) with p = tanh(m f) in float64: p = 0 never moves, p = 1 always does."""
    fraction = walker.split(spec.lattice, increment).fraction
    p = np.tanh(spec.nonlinearity * fraction.astype(np.float64))
    return np.floor(p * 2.0**32).astype(np.uint64)


def step(spec: DST, index: Index, increment: Increment, words: Words) -> Index:
    """Move every weight once. A word moves a weight one level more iff below its threshold."""
    more = words < threshold(spec, index, increment)
    return walker.move(spec.lattice, index, increment, more)


def read(spec: DST, index: Index, words: Words | None = None) -> Real:
    """The levels themselves, float32; nothing is random about them."""
    return walker.read(spec.lattice, index)
