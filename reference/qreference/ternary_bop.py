"""Ternary Bop: one level in the direction of an increment beyond a threshold, after [helwegen2019].

The level in the middle, if there is one, has a threshold of its own. Thresholds are in lattice
spacings and rounded to float32.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qtheory.algorithms.ternary_bop import TernaryBop
from qtheory.arrays import Increment, Index, Outcomes


def outcomes(spec: TernaryBop, index: Index, increment: Increment) -> Outcomes:
    """One level where |x| exceeds the threshold of the weight's level, else none."""
    outer = np.float32(spec.threshold)
    in_the_middle = index == spec.lattice.size - 1 - index  # as many levels below as above
    threshold = np.where(in_the_middle, outer * np.float32(spec.hysteresis), outer)
    return walker.one_level(spec.lattice, index, increment, threshold)
