"""Discrete state transition (DST), the update rule of GXNOR-Net [deng2018].

An increment of x lattice spacings is split into its whole part and a fraction f.
The weight moves the whole part, and one level more with probability tanh(m f),
then stops at the ends of the lattice.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qtheory.algorithms.dst import DST
from qtheory.arrays import Increment, Index, Outcomes, Thresholds


def outcomes(spec: DST, index: Index, increment: Increment) -> Outcomes:
    """One level more below floor(p 2**32), with p = tanh(m f) in float64."""
    fraction = walker.split(spec.lattice, increment).fraction
    p = np.tanh(spec.nonlinearity * fraction.astype(np.float64))
    more = np.floor(p * 2.0**32).astype(np.uint64)
    return walker.coin(spec.lattice, index, increment, more)


def edge(spec: DST, thresholds: Thresholds) -> Index:
    """How far a kernel's threshold may lie from this room's, in units of 2**-32.

    The kernel's tanh is a ratio of polynomials with positive coefficients, within 5e-8 of tanh,
    evaluated in float32 with at most 28 roundings; tests/agreement/test_knife_edge.py derives it.
    """
    rounding = 28 * 2.0**-24 / (1 - 28 * 2.0**-24)
    relative = (1 + rounding) * (1 + 5e-8) - 1
    return np.ceil(thresholds * relative + 2.0**-17).astype(np.int64) + 1
