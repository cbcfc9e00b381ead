"""What lattice walkers share, in float32, each operation rounded once.

An algorithm says where a weight may go, and the integer thresholds between these places
(`outcomes`); a word picks the place in whose interval it falls. Many are coins: an increment of
x spacings has a direction, whole spacings and a remaining fraction; the whole spacings are
certain, one level more is taken if the word is below one threshold, and the ends stop everything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import qreference
from qreference.arrays import Real
from qtheory.algorithms import Spec, readout
from qtheory.arrays import Increment, Index, Outcomes, Thresholds, Words
from qtheory.lattice import Lattice


class Split(NamedTuple):
    """An increment in spacings."""

    sign: Index  # -1 or +1
    whole: Index  # 0 .. size
    fraction: Real  # float32, in [0, 1)


def spacings(lattice: Lattice, increment: Increment) -> Real:
    """Increments in spacings: one division, rounded to float32. NaN becomes 0."""
    with np.errstate(over="ignore", under="ignore"):
        x = increment.astype(np.float32) / np.float32(lattice.spacing)
    return np.where(np.isnan(x), np.float32(0), x)


def split(lattice: Lattice, increment: Increment) -> Split:
    """Direction, whole spacings and remaining fraction, exact but for the division.

    Beyond the size of the lattice it makes no difference how far: the size, with fraction 0. NaN
    becomes (+1, 0, 0).
    """
    x = spacings(lattice, increment)
    distance = np.minimum(np.abs(x), np.float32(lattice.size))
    whole = np.floor(distance)
    sign = np.where(x < 0, -1, 1)
    return Split(sign.astype(np.int64), whole.astype(np.int64), distance - whole)


def coin(lattice: Lattice, index: Index, increment: Increment, more: Thresholds) -> Outcomes:
    """Two places: one level more than the whole spacings for words below `more`, else these."""
    sign, whole, _ = split(lattice, increment)
    places = np.stack([index + sign * (whole + 1), index + sign * whole], axis=-1)
    return Outcomes(more[..., None], places)


def one_level(lattice: Lattice, index: Index, increment: Increment, threshold: Real) -> Outcomes:
    """One level in the direction of x where |x| > threshold, in spacings, else none.

    Thresholds on words are 0 and 2**32: the words decide nothing.
    """
    x = spacings(lattice, increment)
    certain = np.stack([x < -threshold, x <= threshold], axis=-1)
    thresholds = np.where(certain, np.uint64(2**32), np.uint64(0))
    return Outcomes(thresholds, index[..., None] + np.array([-1, 0, 1]))


def outcomes(spec: Spec, index: Index, increment: Increment) -> Outcomes:
    """The thresholds of a spec's algorithm and the places between them, stopped at the ends.

    A NaN increment leaves one place, where the weight is. Raises ValueError if an index is not on
    the lattice.
    """
    check(spec.lattice, index)
    own = qreference.algorithm(spec).outcomes(spec, index, increment)
    stays = np.isnan(increment)[..., None]
    thresholds = np.where(stays, np.uint64(0), own.thresholds)
    places = np.clip(own.destinations, 0, spec.lattice.size - 1)
    return Outcomes(thresholds, np.where(stays, index[..., None], places))


def init(spec: Spec, weights: Real) -> Index:
    """The nearest levels. Raises ValueError if a weight is not finite."""
    return spec.lattice.nearest(weights)


def step(spec: Spec, index: Index, increment: Increment, words: Words) -> Index:
    """Move every weight once, to the destination in whose interval its word falls."""
    thresholds, destinations = outcomes(spec, index, increment)
    passed = (words[..., None] >= thresholds).sum(axis=-1, dtype=np.int64)
    return np.take_along_axis(destinations, passed[..., None], axis=-1)[..., 0]


def read(spec: Spec, index: Index) -> Real:
    """What the forward pass sees of every weight, float32, in weight units.

    Raises ValueError if an index is not on the lattice.
    """
    check(spec.lattice, index)
    return readout(spec).astype(np.float32)[index]


def check(lattice: Lattice, index: Index) -> None:
    """Raises ValueError if an index is not on the lattice."""
    off = index[(index < 0) | (index >= lattice.size)]
    if off.size:
        raise ValueError(f"an index is in 0..{lattice.size - 1}, got {off[0]}")


def uniform(lattice: Lattice, words: Words) -> Index:
    """A level for each word, equally likely up to size / 2**32: floor(word size / 2**32).

    >>> uniform(Lattice.ternary(), np.array([0, 2**31, 2**32 - 1], np.uint32)).tolist()
    [0, 1, 2]
    """
    return ((words.astype(np.uint64) * lattice.size) >> 32).astype(np.int64)
