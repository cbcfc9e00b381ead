"""What lattice walkers share: an increment is split into whole spacings and a fraction.

The whole part is certain. One level more, in the same direction, is taken with a probability
that depends on the fraction alone. Every walker stops at the ends of its lattice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.typing import ArrayLike

from qtheory.arrays import Pmf
from qtheory.lattice import Lattice


class Split(NamedTuple):
    """An increment in spacings: sign (-1 or +1), whole spacings, and the fraction in [0, 1)."""

    index: Int[ndarray, "..."]
    sign: Int[ndarray, "..."]
    whole: Int[ndarray, "..."]
    fraction: Float[ndarray, "..."]


def split(lattice: Lattice, index: ArrayLike, increment: ArrayLike) -> Split:
    """Measure increments, in weight units, in spacings by one division, and split them.

    Index and increment broadcast against each other. Beyond the size of the lattice it makes no
    difference how far, so whole is at most the size, with fraction 0. NaN is no move.
    Raises ValueError if an index is not on the lattice.
    """
    i, x = np.broadcast_arrays(np.asarray(index), np.asarray(increment, dtype=np.float64))
    off = (i < 0) | (i >= lattice.size)
    if off.any():
        raise ValueError(f"an index is in 0..{lattice.size - 1}, got {i[off].flat[0]}")
    with np.errstate(over="ignore"):
        distance = np.minimum(np.abs(x) / lattice.spacing, lattice.size)
    distance = np.where(np.isnan(x), 0.0, distance)
    whole = np.floor(distance)
    return Split(i, np.where(x < 0, -1, 1), whole.astype(np.int64), distance - whole)


def walker_law(lattice: Lattice, parts: Split, probability: Float[ndarray, "..."]) -> Pmf:
    """Law of walkers that go one level more with the given probability, shape (..., size)."""
    pmf = np.zeros((*parts.index.shape, lattice.size))
    near = parts.index + parts.sign * parts.whole
    for position, mass in ((near, 1.0 - probability), (near + parts.sign, probability)):
        end = np.clip(position, 0, lattice.size - 1)[..., None]
        np.put_along_axis(pmf, end, np.take_along_axis(pmf, end, -1) + mass[..., None], -1)
    return pmf
