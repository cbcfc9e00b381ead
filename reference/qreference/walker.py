"""What lattice walkers share, in float32, each operation rounded once.

An increment of x spacings has a direction, whole spacings and a remaining fraction. The whole
spacings are certain; an algorithm decides about one level more; the ends stop everything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qreference.arrays import Decisions, Real
from qtheory.arrays import Increment, Index, Words
from qtheory.lattice import Lattice


class Split(NamedTuple):
    """An increment in spacings."""

    sign: Index  # -1 or +1
    whole: Index  # 0 .. size
    fraction: Real  # float32, in [0, 1)


def split(lattice: Lattice, increment: Increment) -> Split:
    """Direction, whole spacings and remaining fraction.

    One division, rounded to float32; what follows is exact. Beyond the size of the lattice it
    makes no difference how far: the size, with fraction 0. NaN becomes (+1, 0, 0).
    """
    with np.errstate(over="ignore", under="ignore"):
        x = increment.astype(np.float32) / np.float32(lattice.spacing)
    x = np.where(np.isnan(x), np.float32(0), x)
    distance = np.minimum(np.abs(x), np.float32(lattice.size))
    whole = np.floor(distance)
    sign = np.where(x < 0, -1, 1)
    return Split(sign.astype(np.int64), whole.astype(np.int64), distance - whole)


def move(lattice: Lattice, index: Index, increment: Increment, more: Decisions) -> Index:
    """Every weight moves its whole spacings, those with `more` one level more.

    Raises ValueError if an index is not on the lattice.
    """
    check(lattice, index)
    sign, whole, _ = split(lattice, increment)
    return np.clip(index + sign * (whole + more), 0, lattice.size - 1)


def check(lattice: Lattice, index: Index) -> None:
    """Raises ValueError if an index is not on the lattice."""
    off = index[(index < 0) | (index >= lattice.size)]
    if off.size:
        raise ValueError(f"an index is in 0..{lattice.size - 1}, got {off[0]}")


def read(lattice: Lattice, index: Index) -> Real:
    """The level of every weight, rounded to float32, in weight units.

    Raises ValueError if an index is not on the lattice.
    """
    check(lattice, index)
    return lattice.levels.astype(np.float32)[index]


def uniform(lattice: Lattice, words: Words) -> Index:
    """A level for each word, equally likely up to size / 2**32: floor(word size / 2**32).

    >>> uniform(Lattice.ternary(), np.array([0, 2**31, 2**32 - 1], np.uint32)).tolist()
    [0, 1, 2]
    """
    return ((words.astype(np.uint64) * lattice.size) >> 32).astype(np.int64)
