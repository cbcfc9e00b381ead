"""Stairs: quantisers with any levels and any thresholds, and a tie rule with a name.

A stair has levels q_0 < ... < q_T and thresholds t_1 < ... < t_T; jumps are d_i = q_i - q_(i-1):

    q(x) = q_0 + sum_i d_i H(x - t_i).

The tie rule says what H(0) is [spallanzani2022]:

    "up"     1: the upper level, q is right-continuous (H+)
    "down"   0: the lower level
    "away"   the level away from 0; a threshold at 0 itself goes up, as `Lattice.nearest`
    "inward" the level towards 0; a threshold at 0 itself goes up
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from qtheory.arrays import Index, Levels
from qtheory.lattice import Lattice
from qtheory.noise import Points
from qtheory.values import rebuilt

TIE_RULES = ("up", "down", "away", "inward")


def _increases(values: tuple[float, ...]) -> bool:
    return all(np.isfinite(values)) and all(np.diff(values) > 0)


@dataclass(frozen=True, slots=True)
class Stair:
    """A stair function.

    levels: T + 1 >= 2 values, increasing, in units of the output. thresholds: T values, increasing,
    in units of the input. tie: the level at a threshold.

    Raises ValueError if values do not increase or are not finite, if there is not one level more
    than thresholds, or if the tie rule is not known.
    """

    levels: tuple[float, ...]
    thresholds: tuple[float, ...]
    tie: str = "up"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if len(self.thresholds) < 1 or len(self.levels) != len(self.thresholds) + 1:
            raise ValueError(
                "a stair has a threshold and one level more than thresholds, got "
                f"{len(self.levels)} levels and {len(self.thresholds)} thresholds"
            )
        for name, values in (("levels", self.levels), ("thresholds", self.thresholds)):
            if not _increases(values):
                raise ValueError(f"the {name} of a stair are finite and increase, got {values}")
        if self.tie not in TIE_RULES:
            raise ValueError(f"a tie rule is one of {', '.join(TIE_RULES)}, got {self.tie!r}")

    @classmethod
    def step(cls, low: float = 0.0, high: float = 1.0, tie: str = "up") -> Stair:
        """One step at 0: the Heaviside function, or the sign for low = -1.

        >>> Stair.step(-1.0)(np.array([-0.1, 0.0])).tolist()
        [-1.0, 1.0]
        """
        return cls((low, high), (0.0,), tie)

    @classmethod
    def nearest(cls, lattice: Lattice, tie: str = "up") -> Stair:
        """The nearest level of a lattice: thresholds are the midpoints.

        >>> Stair.nearest(Lattice.ternary()).thresholds
        (-0.5, 0.5)
        """
        levels = tuple(float(level) for level in lattice.levels)
        middles = tuple(0.5 * (a + b) for a, b in pairwise(levels))
        return cls(levels, middles, tie)

    @classmethod
    def whole(
        cls, bits: int, *, signed: bool, balanced: bool = False, spacing: float = 1.0
    ) -> Stair:
        """Whole multiples of a spacing [spallanzani2022]: 0 to 2**bits - 1, less 2**(bits - 1) if
        signed, without the most negative if balanced.

        Raises ValueError if bits < 1, or balanced without signed, or one level only is left.

        >>> Stair.whole(2, signed=True, balanced=True).levels
        (-1.0, 0.0, 1.0)
        """
        if bits < 1 or (balanced and not signed):
            raise ValueError(
                "a whole stair has bits >= 1, and is balanced only if signed, got "
                f"bits {bits}, signed {signed}, balanced {balanced}"
            )
        low = (-(2 ** (bits - 1)) if signed else 0) + balanced
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        levels = tuple(spacing * k for k in range(low, high + 1))
        return cls(levels, tuple(spacing * (k + 0.5) for k in range(low, high)))

    @classmethod
    def multi_step(cls, order: int, threshold: float = 0.5) -> Stair:
        """The activation of order N_2 = 0, 1, ... of GXNOR-Net [deng2018], at |x| if N_2 > 0.

        K = 2**(N_2 - 1) levels k / K above 0 start at t_k = r + (k - 1)(1 - r) / K, where r is the
        threshold; the activation is sign(x) q(|x|), and |x| = t_k is not yet level k. Order 0 is
        the sign, +1 at 0, and is given whole.

        Raises ValueError if the order is below 0, or r is negative, infinite, or not below 1 for
        an order above 1.

        >>> Stair.multi_step(2)
        Stair(levels=(0.0, 0.5, 1.0), thresholds=(0.5, 0.75), tie='down')
        """
        if order < 0:
            raise ValueError(f"the order of an activation is >= 0, got {order}")
        if not 0 <= threshold < (1 if order > 1 else math.inf):
            raise ValueError(
                f"the first threshold is >= 0, and below 1 for order > 1, got {threshold}"
            )
        if order == 0:
            return cls.step(-1.0)
        steps = 2 ** (order - 1)
        thresholds = tuple(threshold + k * (1 - threshold) / steps for k in range(steps))
        return cls(tuple(k / steps for k in range(steps + 1)), thresholds, "down")

    @property
    def jumps(self) -> Levels:
        """d_i = q_i - q_(i-1), shape (T,)."""
        return np.diff(np.array(self.levels))

    @property
    def height(self) -> float:
        """The total jump q_T - q_0."""
        return self.levels[-1] - self.levels[0]

    def index(self, x: Points) -> Index:
        """Positions of the levels at x, 0 to T. Raises ValueError if a value is NaN.

        >>> Stair((0.0, 5.0, 6.0), (-1.0, 1.0), "away").index(np.array([-1.0, 0.0, 1.0])).tolist()
        [0, 1, 2]
        """
        x = np.asarray(x, dtype=np.float64)
        if np.isnan(x).any():
            raise ValueError("a stair takes numbers, got NaN")
        up = np.searchsorted(self.thresholds, x, side="right")
        down = np.searchsorted(self.thresholds, x, side="left")
        away, inward = np.where(x >= 0, up, down), np.where(x <= 0, up, down)
        chosen = {"up": up, "down": down, "away": away, "inward": inward}[self.tie]
        return np.asarray(chosen, dtype=np.int64)

    def reaches(self, threshold: float) -> bool:
        """Whether a value on a threshold has the upper level, by the tie rule.

        >>> stair = Stair((-1.0, 0.0, 1.0), (-0.5, 0.5), "inward")
        >>> stair.reaches(-0.5), stair.reaches(0.5)
        (True, False)
        """
        match self.tie:
            case "up":
                return True
            case "down":
                return False
            case "away":
                return threshold >= 0
            case _:
                return threshold <= 0

    def __call__(self, x: Points) -> Points:
        """The levels at x. Raises ValueError if a value is NaN."""
        return np.array(self.levels)[self.index(x)]
