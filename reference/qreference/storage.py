"""How weights and moments are stored: codes as int8 or as trits, reals as bfloat16.

A code is an index less the lattice's centre. Trits are two bits a weight, in two's complement:
00 / 01 / 11 for 0 / +1 / -1, four to a byte, the first in the lowest bits; 10 is illegal, and
the bits after the last weight are zero.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qreference.arrays import BFloat16, Codes, Real, Trits
from qtheory.arrays import Index, Words
from qtheory.lattice import Lattice
from qtheory.optimisers import UNIT

ILLEGAL = 0b10


def to_codes(lattice: Lattice, index: Index) -> Codes:
    """Codes of indices. Raises ValueError if the lattice has more than 256 levels."""
    if lattice.size > 256:
        raise ValueError(f"int8 codes hold at most 256 levels, got {lattice.size}")
    walker.check(lattice, index)
    return (index - lattice.centre).astype(np.int8)


def from_codes(lattice: Lattice, codes: Codes) -> Index:
    """Indices of codes. Raises ValueError if a code is off the lattice."""
    index = codes.astype(np.int64) + lattice.centre
    walker.check(lattice, index)
    return index


def pack(codes: Codes) -> Trits:
    """Four codes to a byte, in C order. Raises ValueError if a code is not -1, 0 or +1."""
    outside = codes[np.abs(codes.astype(np.int64)) > 1]
    if outside.size:
        raise ValueError(f"a trit is -1, 0 or +1, got {outside[0]}")
    flat = codes.reshape(-1)
    lanes = np.zeros((-(-flat.size // 4), 4), dtype=np.uint8)
    lanes.reshape(-1)[: flat.size] = flat.astype(np.uint8) & 0b11
    return lanes[:, 0] | lanes[:, 1] << 2 | lanes[:, 2] << 4 | lanes[:, 3] << 6


def unpack(trits: Trits, count: int) -> Codes:
    """The first `count` codes, shape (count,).

    Raises ValueError if there are more or fewer bytes than `count` trits need, if one of them
    is illegal, or if the bits after the last one are not zero.
    """
    if trits.size != -(-count // 4):
        raise ValueError(f"{count} trits take {-(-count // 4)} bytes, got {trits.size}")
    lanes = np.stack([trits >> shift & 0b11 for shift in (0, 2, 4, 6)], axis=-1).reshape(-1)
    illegal = np.flatnonzero(lanes == ILLEGAL)
    if illegal.size:
        raise ValueError(f"a trit is 00, 01 or 11, got 10 at element {illegal[0]}")
    if lanes[count:].any():
        raise ValueError(f"the bits after {count} trits are zero, got {int(trits[-1]):#010b}")
    return np.array([0, 1, 0, -1], dtype=np.int8)[lanes[:count]]


def widen(values: BFloat16) -> Real:
    """The same numbers as float32, exactly."""
    return (values.astype(np.uint32) << 16).view(np.float32)


def round_stochastically(values: Real, words: Words) -> BFloat16:
    """float32 to bfloat16, away from zero with probability (dropped bits) / 2**16.

    The mean is the number itself. Only the low 16 bits of a word are used: they are added to
    the number's bits, and the carry decides. Infinities stay themselves; a NaN stays one, its
    quiet bit set, so that truncation cannot turn it into an infinity.
    """
    bits = values.view(np.uint32)
    bits = bits | np.where(np.isnan(values), np.uint32(0x00400000), np.uint32(0))
    added = np.where(np.isfinite(values), words & np.uint32(0xFFFF), np.uint32(0))
    return ((bits + added) >> 16).astype(np.uint16)


def round_to_units(values: Real, words: Words) -> Codes:
    """float32 moments to int8 units of 1/16, up with the probability of the fraction.

    The fraction is taken to the nearest 2**-16; the low 16 bits of a word decide. Numbers beyond
    127 units stop there.
    """
    units = np.clip(values * np.float32(1 / UNIT), -127, 127).astype(np.float32)
    fixed = ((units + np.float32(128)) * np.float32(2**16)).astype(np.int64)
    return ((fixed + (words & np.uint32(0xFFFF)) >> 16) - 128).astype(np.int8)
