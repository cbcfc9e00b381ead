"""Bop: one level in the direction of an increment that exceeds a threshold [helwegen2019].

The threshold is in lattice spacings and rounded to float32. At the threshold the weight stays.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qtheory.algorithms.bop import Bop
from qtheory.arrays import Increment, Index, Outcomes


def outcomes(spec: Bop, index: Index, increment: Increment) -> Outcomes:
    """One level where |x| exceeds the threshold, else none."""
    threshold = np.full(index.shape, spec.threshold, np.float32)
    return walker.one_level(spec.lattice, index, increment, threshold)
