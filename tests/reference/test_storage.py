"""Codes, trits and bfloat16: exact round trips, exact laws, refused rubbish."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qreference import storage
from qtheory.lattice import Lattice


@pytest.mark.parametrize("size", [2, 3, 5, 129, 255, 256])
def test_codes_are_indices_less_the_centre(size):
    lattice = Lattice.uniform(-1.0, 1.0, size)
    index = np.arange(size)
    codes = storage.to_codes(lattice, index)
    assert codes.dtype == np.int8
    assert [int(code) for code in codes] == [i - size // 2 for i in range(size)]
    assert storage.from_codes(lattice, codes).tolist() == index.tolist()


def test_codes_off_the_lattice_and_lattices_too_large_are_refused():
    with pytest.raises(ValueError, match=r"an index is in 0..2, got 3"):
        storage.from_codes(Lattice.ternary(), np.array([0, 2], np.int8))
    with pytest.raises(ValueError, match=r"an index is in 0..1, got 2"):
        storage.from_codes(Lattice.binary(), np.array([-1, 0, 1], np.int8))
    with pytest.raises(ValueError, match="at most 256 levels, got 257"):
        storage.to_codes(Lattice.uniform(0.0, 1.0, 257), np.array([0]))


def test_every_byte_of_four_trits():
    """Of 256 bytes, the 81 without a lane 10 are legal, and each is what packing makes."""
    legal = {}
    for lanes in itertools.product([0, 1, -1], repeat=4):
        byte = sum((code & 0b11) << 2 * lane for lane, code in enumerate(lanes))
        legal[byte] = list(lanes)
    for byte in range(256):
        trits = np.array([byte], np.uint8)
        if byte in legal:
            assert storage.unpack(trits, 4).tolist() == legal[byte]
            assert storage.pack(np.array(legal[byte], np.int8)).tolist() == [byte]
        else:
            with pytest.raises(ValueError, match="a trit is 00, 01 or 11, got 10 at element"):
                storage.unpack(trits, 4)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 63, 64, 65])
def test_trits_come_back_whatever_their_number(count):
    codes = np.random.default_rng(count).integers(-1, 2, count).astype(np.int8)
    trits = storage.pack(codes)
    assert trits.shape == (-(-count // 4),)
    assert trits.dtype == np.uint8
    assert storage.unpack(trits, count).tolist() == codes.tolist()


def test_the_first_trit_is_in_the_lowest_bits_and_padding_is_zero():
    assert storage.pack(np.array([1, -1, 0, 1, -1], np.int8)).tolist() == [0b01_00_11_01, 0b11]
    with pytest.raises(ValueError, match="the bits after 3 codes are zero, got 0b01001101"):
        storage.unpack(np.array([0b01_00_11_01], np.uint8), 3)
    with pytest.raises(ValueError, match="5 codes of 2 bits take 2 bytes, got 1"):
        storage.unpack(np.zeros(1, np.uint8), 5)
    with pytest.raises(ValueError, match=r"a code of 2 bits is in -1\.\.1, got 2"):
        storage.pack(np.array([0, 2], np.int8))
    with pytest.raises(ValueError, match="got -128"):
        storage.pack(np.array([-128], np.int8))


@pytest.mark.parametrize("bits", [4, 6])
def test_every_code_of_four_and_six_bits_comes_back(bits):
    codes = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)).astype(np.int8)
    for count in (0, 1, 2, 3, codes.size, codes.size - 1):
        packed = storage.pack(codes[:count], bits)
        assert packed.size == -(-count * bits // 8)
        assert (storage.unpack(packed, count, bits) == codes[:count]).all()
    with pytest.raises(ValueError, match=f"a code of {bits} bits is in -{2 ** (bits - 1)}"):
        storage.pack(np.array([2 ** (bits - 1)], np.int8), bits)
    with pytest.raises(ValueError, match="the bits after 1 codes are zero"):
        storage.unpack(np.array([0xFF], np.uint8), 1, bits)


def test_widening_is_exact_for_every_bfloat16():
    every = np.arange(2**16, dtype=np.uint16)
    wide = storage.widen(every)
    assert wide.dtype == np.float32
    assert (wide.view(np.uint32) == every.astype(np.uint32) << 16).all()
    assert storage.widen(np.array([0x3F80, 0xC040, 0x7F80], np.uint16)).tolist() == [1, -3, np.inf]


every_low_half = np.arange(2**16, dtype=np.uint32) | 0xABCD0000
FINITE = [0.0, -0.0, 1.0, -1.0, 1.00390625, 3.1415927, -2.7182817, 1e-45, -1e-40, 1.1754942e-38,
          0.1, -1e30, 3.3895314e38]  # fmt: skip


@pytest.mark.parametrize("value", FINITE)
def test_stochastic_rounding_to_bfloat16_has_an_exact_law(value):
    """Over all 16-bit words the mean is the number itself, and only its neighbours occur."""
    x = np.float32(value)
    bits = int(x.view(np.uint32))
    after = storage.round_stochastically(np.full(2**16, x), every_low_half)
    low, dropped = bits >> 16, bits & 0xFFFF
    assert np.count_nonzero(after == low) == 2**16 - dropped
    assert np.count_nonzero(after == low + 1) == dropped
    # Sums of 2**16 multiples of 2**-16 of one bfloat16 spacing: exact in float64.
    assert storage.widen(after).astype(np.float64).mean() == float(x)


def test_the_largest_number_rounds_to_infinity_as_often_as_the_bits_say():
    x = np.uint32(0x7F7FFFFF).view(np.float32)
    after = storage.round_stochastically(np.full(2**16, x), every_low_half)
    assert np.count_nonzero(after == 0x7F80) == 0xFFFF
    assert np.count_nonzero(after == 0x7F7F) == 1


def test_infinities_and_nan_stay_what_they_are():
    bits = np.array([0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x7FC00000], np.uint32)
    values = bits.view(np.float32)
    for edge in (0, 0xFFFFFFFF):
        after = storage.round_stochastically(values, np.full(5, edge, np.uint32))
        assert after.tolist() == [0x7F80, 0xFF80, 0x7FC0, 0xFFFF, 0x7FC0]
