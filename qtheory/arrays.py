"""Array types, named once: what the axes mean and which numbers they hold."""

from __future__ import annotations

from typing import TypeAlias

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
"""Integers 0 to 2**32; a word below its threshold moves the weight."""

Numbers: TypeAlias = int | float | np.integer | np.floating | ndarray
"""A number or an array of them; what an exact law is asked about."""
