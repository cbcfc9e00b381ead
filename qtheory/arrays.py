"""Array types, named once: what the axes mean and which numbers they hold."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt32, UInt64
from numpy import ndarray

Levels = Float[ndarray, "levels"]
"""Permitted values in increasing order, in weight units."""

Pmf = Float[ndarray, "... levels"]
"""Probabilities of the levels; sums to one."""

TransitionMatrix = Float[ndarray, "levels levels"]
"""Entry (i, j): probability of the next level j given the level i."""

Index = Int64[ndarray, "..."]
"""Positions on a lattice, 0 to size - 1."""

Increment = Float32[ndarray, "..."]
"""Real changes that a base optimiser proposes, in weight units."""

Words = UInt32[ndarray, "..."]
"""Random bits, one word of 32 for each weight."""

Thresholds = UInt64[ndarray, "..."]
"""Integers 0 to 2**32; a word is below its threshold or not."""

Moves = Float[ndarray, "moves"]
"""Probabilities of 1, 2, ... levels up; the last entry is of so many or more."""

Numbers: TypeAlias = int | float | np.integer | np.floating | ndarray
"""A number or an array of them; what an exact law is asked about."""


class Outcomes(NamedTuple):
    """Where weights may go, and the cumulative integer thresholds between these places.

    thresholds: shape (..., K - 1), not decreasing, 0 .. 2**32. destinations: indices, shape
    (..., K). A weight goes to destination k iff exactly k thresholds are at most its 32-bit word:
    with T_0 = 0 and T_K = 2**32 that has probability (T_(k+1) - T_k) / 2**32.
    """

    thresholds: Thresholds
    destinations: Index
