"""Stochastic rounding (SR): lattice weights moved by unbiased random rounding [li2017, Eqs. 5, 6].

An increment of x lattice spacings is split into its whole part and a fraction f.
The weight moves the whole part, and one level more with probability f,
then stops at the ends of the lattice.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qtheory.algorithms.stochastic_rounding import StochasticRounding
from qtheory.arrays import Increment, Index, Outcomes


def outcomes(spec: StochasticRounding, index: Index, increment: Increment) -> Outcomes:
    """One level more below floor(f 2**32); the product is exact."""
    fraction = walker.split(spec.lattice, increment).fraction
    more = np.floor(fraction.astype(np.float64) * 2.0**32).astype(np.uint64)
    return walker.coin(spec.lattice, index, increment, more)
