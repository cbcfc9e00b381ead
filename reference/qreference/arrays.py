"""Array types that only this room needs; the rest are in `qtheory.arrays`."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int8, UInt8, UInt16
from numpy import ndarray

Real = Float[ndarray, "..."]
"""Real numbers, float32 or, where gradients are checked, float64."""

Decisions = Bool[ndarray, "..."]
"""One yes or no for each weight."""

Codes = Int8[ndarray, "..."]
"""Index less the lattice's centre."""

Packed = UInt8[ndarray, "bytes"]
"""Codes of 2, 4 or 6 bits, the first in the lowest bits."""

BFloat16 = UInt16[ndarray, "..."]
"""The upper halves of float32 numbers, as bits."""
