"""Lattices: the equally spaced, ordered sets of values a weight may take.

A lattice of n levels with spacing s and lowest level a is {a, a + s, ..., a + (n - 1) s}.
A weight is stored as its index, so a value off the lattice cannot be written down.

The discrete space of GXNOR-Net is Z_N = {(k / 2**(N-1) - 1) H : k = 0..2**N} [deng2018],
2**N + 1 levels for N >= 1 and the two levels -H, +H for N = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qtheory.arrays import Index, Levels
from qtheory.values import rebuilt


@dataclass(frozen=True, slots=True)
class Lattice:
    """Equally spaced levels.

    size: number of levels, at least 2.
    spacing: distance between neighbouring levels, in weight units.
    low: the lowest level, in weight units.

    Raises ValueError if size < 2, or spacing is not positive and finite in float32 (in which
    kernels measure increments), or low is not finite in float32.
    """

    size: int
    spacing: float
    low: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if type(self.size) is not int:
            raise ValueError(f"a lattice size is a whole number, got {self.size!r}")
        if self.size < 2:
            raise ValueError(f"a lattice needs at least two levels, got {self.size}")
        with np.errstate(over="ignore", under="ignore"):
            spacing, low = np.float32(self.spacing), np.float32(self.low)
        if not (math.isfinite(spacing) and spacing > 0):
            raise ValueError(
                f"a lattice spacing is positive and finite in float32, got {self.spacing}"
            )
        if not math.isfinite(low):
            raise ValueError(f"the lowest level is finite in float32, got {self.low}")

    @classmethod
    def z(cls, order: int, bound: float = 1.0) -> Lattice:
        """Z_N of [deng2018] on [-bound, bound], N = order >= 0.

        >>> Lattice.z(1).levels.tolist()
        [-1.0, 0.0, 1.0]
        >>> Lattice.z(2).size
        5
        """
        if type(order) is not int or order < 0:
            raise ValueError(f"the order of Z_N is a whole number >= 0, got {order!r}")
        return cls.uniform(-bound, bound, 2**order + 1 if order else 2)

    @classmethod
    def binary(cls, bound: float = 1.0) -> Lattice:
        """{-bound, +bound}."""
        return cls.z(0, bound)

    @classmethod
    def ternary(cls, bound: float = 1.0) -> Lattice:
        """{-bound, 0, +bound}."""
        return cls.z(1, bound)

    @classmethod
    def uniform(cls, low: float, high: float, size: int) -> Lattice:
        """`size` levels from low to high, both included.

        >>> Lattice.uniform(0.0, 1.0, 5).spacing
        0.25
        """
        if not high > low:
            raise ValueError(f"a lattice needs low < high, got low {low} and high {high}")
        if size < 2:
            raise ValueError(f"a lattice needs at least two levels, got {size}")
        return cls(size=size, spacing=(high - low) / (size - 1), low=low)

    @property
    def high(self) -> float:
        """The highest level, in weight units."""
        return self.low + self.spacing * (self.size - 1)

    @property
    def levels(self) -> Levels:
        """All levels in increasing order, shape (size,), in weight units."""
        return self.low + self.spacing * np.arange(self.size, dtype=np.float64)

    @property
    def zero(self) -> float:
        """Position of the value 0 in units of the index; need not be whole, nor on the lattice.

        It decides ties, so it is the float32 that kernels compare with.

        >>> Lattice.binary().zero
        0.5
        """
        return float(np.float32(-self.low / self.spacing))

    @property
    def centre(self) -> int:
        """The index that is stored as code 0: size // 2. Codes are index - centre.

        The codes of a ternary lattice are -1, 0, +1; of a binary one -1, 0.
        """
        return self.size // 2

    def nearest(self, weights: np.ndarray) -> Index:
        """Index of the nearest level; ties go away from the value 0, and at 0 itself upwards.

        This is Q_d of [li2017, Eq. 3] on a bounded lattice: values beyond the ends stop there.
        Raises ValueError if a weight is not finite.

        >>> Lattice.ternary().nearest(np.array([-0.5, 0.49, 0.5, 7.0])).tolist()
        [0, 1, 2, 2]
        """
        weights = np.asarray(weights, dtype=np.float64)
        if not np.isfinite(weights).all():
            raise ValueError("weights are finite, got NaN or infinity")
        position = np.clip((weights - self.low) / self.spacing, 0, self.size - 1)
        below = np.floor(position)
        fraction = position - below
        up = (fraction > 0.5) | ((fraction == 0.5) & (position >= self.zero))
        return (below + up).astype(np.int64)
