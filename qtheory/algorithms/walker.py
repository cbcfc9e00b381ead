"""What lattice walkers share: an increment is split into whole spacings and a fraction.

The whole part is certain. One level more, in the same direction, is taken with a probability
that depends on the fraction alone. Every walker stops at the ends of its lattice.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypedDict

import numpy as np

from qtheory.arrays import Numbers, Outcomes, Pmf
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair

LEAST_TEMPERATURE = 2.0**-100


class Split(NamedTuple):
    """Start index; sign (-1 or +1), whole spacings, and the fraction in [0, 1)."""

    start: Numbers
    sign: Numbers
    whole: Numbers
    fraction: Numbers


def split(lattice: Lattice, index: Numbers, increment: Numbers) -> Split:
    """Measure increments, in weight units, in spacings by one division, and split them.

    Index and increment broadcast against each other. Beyond the size of the lattice it makes no
    difference how far, so whole is at most the size, with fraction 0. NaN is no move.

    Here the division is in float64; reference and kernels divide float32 by float32. The same
    split comes out wherever the spacing is a power of two; elsewhere a fraction can wrap at a
    whole number, and the measured increment is the rooms' quotient times the spacing.

    Raises ValueError if an index is not on the lattice.
    """
    i, x = np.broadcast_arrays(np.asarray(index), np.asarray(increment, dtype=np.float64))
    on_lattice(lattice, i)
    with np.errstate(over="ignore"):
        distance = np.minimum(np.abs(x) / lattice.spacing, lattice.size)
    distance = np.where(np.isnan(x), 0.0, distance)
    whole = np.floor(distance)
    return Split(i, np.where(x < 0, -1, 1), whole.astype(np.int64), distance - whole)


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless it is finite and at least 2**-100 spacings in float32."""
    with np.errstate(over="ignore", under="ignore"):
        number = np.float32(temperature)
    if not (math.isfinite(number) and number >= LEAST_TEMPERATURE):
        raise ValueError(
            f"a temperature is finite and at least 2**-100 spacings, got {temperature}"
        )


class Hidden(TypedDict):
    """Where a walker with hidden levels lives, and the stair through which it is read."""

    lattice: Lattice
    readout: Stair


def hidden(bits: int, levels: int = 3) -> Hidden:
    """A lattice of b bits on [-1, 1] that is read as two or three levels: `spec(**hidden(8))`.

    bits: b >= 2, for 2**b - 1 levels, Z = 2**(b - 1) - 1 on either side of 0, or for two visible
    levels 2**b. levels: visible ones, -1 and 1 or -1, 0 and 1. The thresholds of three are at
    Z // 3 + 1/2 levels from 0: parts of 85 levels each for 8 bits, 21 for 6, 5 for 4.
    With 2 bits and three levels every level is visible, and nothing is hidden.

    Raises ValueError if bits < 2 or levels is neither 2 nor 3.

    >>> [int((hidden(8)["readout"](hidden(8)["lattice"].levels) == w).sum()) for w in (-1, 0, 1)]
    [85, 85, 85]
    """
    if type(bits) is not int or bits < 2:
        raise ValueError(f"hidden levels have at least 2 bits, got {bits!r}")
    if levels == 2:
        return Hidden(lattice=Lattice.uniform(-1.0, 1.0, 2**bits), readout=Stair.step(-1.0))
    if levels != 3:
        raise ValueError(f"hidden levels are read as 2 or 3 levels, got {levels!r}")
    side = 2 ** (bits - 1) - 1
    threshold = (side // 3 + 0.5) / side
    readout = Stair((-1.0, 0.0, 1.0), (-threshold, threshold))
    return Hidden(lattice=Lattice.uniform(-1.0, 1.0, 2 * side + 1), readout=readout)


def walker_law(lattice: Lattice, parts: Split, probability: Numbers) -> Pmf:
    """Law of walkers that go one level more with the given probability, shape (..., size)."""
    sign, p = np.asarray(parts.sign), np.asarray(probability)
    near = np.asarray(parts.start) + sign * np.asarray(parts.whole)
    pmf = np.zeros((*near.shape, lattice.size))
    for position, mass in ((near, 1.0 - p), (near + sign, p)):
        end = np.clip(position, 0, lattice.size - 1)[..., None]
        np.put_along_axis(pmf, end, np.take_along_axis(pmf, end, -1) + mass[..., None], -1)
    return pmf


def one_level_law(lattice: Lattice, index: Numbers, increment: Numbers, threshold: Numbers) -> Pmf:
    """Law of walkers that go one level where |x| > threshold, in spacings, shape (..., size).

    index, increment, in weight units, and threshold broadcast. NaN is no move.
    Raises ValueError if an index is not on the lattice.
    """
    i, d = np.broadcast_arrays(np.asarray(index), np.asarray(increment, dtype=np.float64))
    on_lattice(lattice, i)
    with np.errstate(over="ignore", under="ignore"):
        x = d / lattice.spacing
    move = (x > threshold).astype(np.int64) - (x < -np.asarray(threshold))
    end = (i + move).clip(0, lattice.size - 1)
    return (np.arange(lattice.size) == end[..., None]).astype(np.float64)


def on_lattice(lattice: Lattice, index: Numbers) -> None:
    """Raises ValueError if an index is not on the lattice."""
    i = np.asarray(index)
    off = i[(i < 0) | (i >= lattice.size)]
    if off.size:
        raise ValueError(f"an index is in 0..{lattice.size - 1}, got {off[0]}")


def coin_panels(lattice: Lattice, steepness: float = 1.0) -> np.ndarray:
    """Points in spacings, 0 to the lattice's size, between which the law of a coin is smooth.

    A coin's law is smooth between multiples of half a spacing. Near a multiple it varies on the
    scale of 1 / steepness, so panels halve towards the multiple down to 1 / (2 steepness).
    """
    halvings = 1 + math.ceil(math.log2(max(1.0, steepness)))
    fractions = np.concatenate([[0.0], 2.0 ** -np.arange(halvings, 0, -1.0)])
    return np.append((np.arange(lattice.size)[:, None] + fractions).ravel(), float(lattice.size))


def realised_law(outcomes: Outcomes, size: int) -> Pmf:
    """The law that a room really has, shape (..., size): integers over 2**32.

    Raises ValueError if thresholds are not in 0..2**32 or decrease, or a destination is off the
    lattice.

    >>> realised_law(Outcomes(np.array([2**30], np.uint64), np.array([2, 1])), 3).tolist()
    [0.0, 0.75, 0.25]
    """
    cuts = outcomes.thresholds.astype(np.float64)
    ends = np.zeros((*cuts.shape[:-1], 1))
    mass = np.diff(np.concatenate([ends, cuts, ends + 2.0**32], axis=-1)) / 2.0**32
    if (mass < 0).any():
        raise ValueError(
            f"thresholds do not decrease and are in 0..2**32, got {outcomes.thresholds.tolist()}"
        )
    off = outcomes.destinations[(outcomes.destinations < 0) | (outcomes.destinations >= size)]
    if off.size:
        raise ValueError(f"an index is in 0..{size - 1}, got {off[0]}")
    pmf = np.zeros((*mass.shape[:-1], size))
    for k in range(mass.shape[-1]):
        place = outcomes.destinations[..., k, None]
        there = np.take_along_axis(pmf, place, -1)
        np.put_along_axis(pmf, place, there + mass[..., k, None], -1)
    return pmf
