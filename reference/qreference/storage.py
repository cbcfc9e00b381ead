"""How weights and moments are stored: codes in 8, 6, 4 or 2 bits, reals as bfloat16.

A code is an index less the lattice's centre, in two's complement, the first in the lowest bits; the
bits after the last weight are zero. Of two bits 00 / 01 / 11 are 0 / +1 / -1, and 10 is illegal.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qreference.arrays import BFloat16, Codes, Packed, Real
from qtheory.arrays import Index, Words
from qtheory.lattice import Lattice
from qtheory.optimisers import UNIT

ILLEGAL = -2  # the trit 10


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


def pack(codes: Codes, bits: int = 2) -> Packed:
    """Codes of so many bits, in C order, one after the other from the lowest bit on.

    bits: 2 for trits, 4 or 6. Raises ValueError if a code does not fit, or is the trit -2.
    """
    low, high = (-1, 1) if bits == 2 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    flat = codes.reshape(-1).astype(np.int64)
    outside = flat[(flat < low) | (flat > high)]
    if outside.size:
        raise ValueError(f"a code of {bits} bits is in {low}..{high}, got {outside[0]}")
    lanes = (flat[:, None] >> np.arange(bits)) & 1
    return np.packbits(lanes.astype(np.uint8).reshape(-1), bitorder="little")


def unpack(packed: Packed, count: int, bits: int = 2) -> Codes:
    """The first `count` codes, shape (count,).

    Raises ValueError if there are more or fewer bytes than they need, if one is the trit -2, or if
    the bits after the last one are not zero.
    """
    size = -(-count * bits // 8)
    if packed.size != size:
        raise ValueError(f"{count} codes of {bits} bits take {size} bytes, got {packed.size}")
    stream = np.unpackbits(packed, bitorder="little").astype(np.int64)
    if stream[count * bits :].any():
        raise ValueError(f"the bits after {count} codes are zero, got {int(packed[-1]):#010b}")
    lanes = stream[: count * bits].reshape(count, bits)
    codes = lanes @ (1 << np.arange(bits)) - (lanes[:, -1] << bits)
    illegal = np.flatnonzero((codes == ILLEGAL) & (bits == 2))
    if len(illegal):
        raise ValueError(f"a trit is 00, 01 or 11, got 10 at element {illegal[0]}")
    return codes.astype(np.int8)


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
