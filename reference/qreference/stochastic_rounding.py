"""Stochastic rounding (SR): lattice weights moved by unbiased random rounding [li2017, Eqs. 5, 6].

An increment of x lattice spacings is split into its whole part and a fraction f.
The weight moves the whole part, and one level more with probability f,
then stops at the ends of the lattice.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qreference.arrays import Real
from qtheory.algorithms.stochastic_rounding import StochasticRounding
from qtheory.arrays import Increment, Index, Thresholds, Words


def init(spec: StochasticRounding, weights: Real) -> Index:
    """The nearest levels. Raises ValueError if a weight is not finite."""
    return spec.lattice.nearest(weights)


def threshold(spec: StochasticRounding, index: Index, increment: Increment) -> Thresholds:
    """floor(f 2**32); the product is exact."""
    fraction = walker.split(spec.lattice, increment).fraction
    return np.floor(fraction.astype(np.float64) * 2.0**32).astype(np.uint64)


def step(spec: StochasticRounding, index: Index, increment: Increment, words: Words) -> Index:
    """Move every weight once. A word moves a weight one level more iff below its threshold."""
    more = words < threshold(spec, index, increment)
    return walker.move(spec.lattice, index, increment, more)


def read(spec: StochasticRounding, index: Index, words: Words | None = None) -> Real:
    """The levels themselves, float32; nothing is random about them."""
    return walker.read(spec.lattice, index)
