"""Codes, trits and visible weights."""

from __future__ import annotations

import numpy as np
import pytest
from cpu_room import PACKED, Weights, storages

from qcuda.kernels import abi, source
from qreference import storage as plain
from qreference import walker
from qtheory.algorithms import StochasticRounding
from qtheory.lattice import Lattice

SIZES = [0, 1, 2, 3, 4, 5, 63, 64, 65, 575, 576, 577, 1153, 36863, 36864, 36865]
SIZES += [49_151, 49_152, 49_153, 100_003]  # a run has 1536 weights, a task 32 runs
LATTICES = [
    Lattice.binary(0.3), Lattice.ternary(), Lattice.z(2, 0.7), Lattice.uniform(-1.3, 0.1, 129),
    Lattice.uniform(-1.0, 1.0, 255), Lattice(256, 0.01, -2.0), Lattice(3, 1e-41, -1e-41),
    Lattice(3, 3e38, -3e38),
]  # fmt: skip


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Nearest, ties to even, by way of float64 spacing: another route than adding to bits."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    unit = 2.0 ** (np.maximum(exponent, -125) - 8)
    with np.errstate(over="ignore"):
        rounded = (np.rint(values / unit) * unit).astype(np.float32)
    assert (np.abs(mantissa) < 1).all()
    return (rounded.view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("lattice", LATTICES, ids=repr)
@pytest.mark.parametrize("threads", [1, 2])
def test_visible_weights(room, lattice, threads):
    levels = lattice.levels.astype(np.float32)
    for count in SIZES:
        index = np.random.default_rng(count).integers(0, lattice.size, count)
        index[: lattice.size] = np.arange(lattice.size)[:count]
        expected = levels[index]
        spec = StochasticRounding(lattice)
        assert (walker.read(spec, index) == expected).all()
        for storage in storages(lattice):
            wide = room.read(lattice, index, storage, abi.Real.FLOAT32, threads)
            half = room.read(lattice, index, storage, abi.Real.BFLOAT16, threads)
            assert wide.tobytes() == expected.tobytes()
            assert half.tobytes() == to_bfloat16(expected).tobytes()


@pytest.mark.parametrize("storage", PACKED, ids=lambda one: one.name)
def test_pack_and_unpack(room, storage):
    low, high = (-1, 2) if storage is abi.Storage.TRITS else (-storage.levels // 2,) * 2
    for count in SIZES:
        codes = np.random.default_rng(count).integers(low, abs(high), count).astype(np.int8)
        packed = np.full(storage.bytes(count) + 1, 0x5A, np.uint8)
        room.library.qt_pack(int(storage), codes.ctypes.data, count, packed.ctypes.data)
        assert packed[-1] == 0x5A
        assert (packed[:-1] == plain.pack(codes, storage.bits)).all()
        back = np.full(count + 1, 99, np.int8)
        room.library.qt_unpack(int(storage), packed.ctypes.data, count, back.ctypes.data)
        assert back[-1] == 99
        assert (back[:-1] == codes).all()


def test_the_codes_are_the_published_ones(room):
    """00 / 01 / 11 for 0 / +1 / -1, the first in the lowest bits."""
    codes, packed = np.array([1, -1, 0, 1, -1], np.int8), np.zeros(2, np.uint8)
    room.library.qt_pack(1, codes.ctypes.data, 5, packed.ctypes.data)
    assert packed.tolist() == [0b01_00_11_01, 0b00_00_00_11]
    assert plain.pack(np.array([1, -1, -8], np.int8), 4).tolist() == [0b1111_0001, 0b1000]
    assert plain.pack(np.array([1, -1, 31], np.int8), 6).tolist() == [
        0b11_000001,
        0b1111_1111,
        0b01,
    ]
    for storage in (0, 4, -1):
        assert room.library.qt_pack(storage, codes.ctypes.data, 5, packed.ctypes.data) != 0
        assert room.library.qt_unpack(storage, packed.ctypes.data, 5, codes.ctypes.data) != 0


@pytest.mark.parametrize("real", abi.VISIBLE, ids=lambda one: one.name)
@pytest.mark.parametrize("threads", [1, 2])
def test_numbers_that_are_trits_are_packed_and_others_refused(room, real, threads):
    as_stored = {
        abi.Real.FLOAT32: lambda x: x.copy(),
        abi.Real.BFLOAT16: lambda x: (x.view(np.uint32) >> 16).astype(np.uint16),
        abi.Real.FLOAT16: lambda x: x.astype(np.float16),
    }[real]

    def packed(values, room_for):
        data, made = as_stored(values), np.full(room_for, 0x5A, np.uint8)
        pointers = data.ctypes.data, len(data), made.ctypes.data
        return room.library.qt_trits(int(real), *pointers, threads), made

    for count in SIZES:
        codes = np.random.default_rng(count).integers(-1, 2, count)
        numbers = -(-codes).astype(np.float32)  # a zero is -0
        size = abi.Storage.TRITS.bytes(count)
        error, made = packed(numbers, size + 1)
        assert error == 0 and made[-1] == 0x5A
        assert (made[:-1] == plain.pack(codes.astype(np.int8), 2)).all()
        for place in sorted({0, count // 2, count - 1}) if count else ():
            for other in (0.5, -1.5, 2.0, np.inf, np.nan) if count < 600 else (0.5,):
                wrong = numbers.copy()
                wrong[place] = other
                assert packed(wrong, size)[0] != 0


def test_illegal_trits_are_counted(room):
    """All 256 bytes, at every length that ends inside them; padding is not looked at."""
    for byte in range(256):
        lanes = [byte >> shift & 3 for shift in (0, 2, 4, 6)]
        for length in range(5):
            trits = np.array([byte], np.uint8)
            got = room.library.qt_illegal(trits.ctypes.data, length)
            assert got == lanes[:length].count(2)
    trits = np.random.default_rng(0).integers(0, 256, 1000).astype(np.uint8)
    lanes = np.stack([trits >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1).reshape(-1)
    for count in (3999, 4000, 2, 1021):
        assert room.library.qt_illegal(trits.ctypes.data, count) == (lanes[:count] == 2).sum()


@pytest.mark.parametrize("count", range(1, 10))
def test_padding_stays_zero_and_neighbours_stay(room, count):
    """A step rewrites whole bytes; `decode` of the room refuses padding that is not zero."""
    spec = StochasticRounding(Lattice.ternary())
    weights = Weights(np.ones(count, np.int64), np.full(count, -1.0, np.float32))
    room.step(spec, None, [weights], seed=1, iteration=1, storage=abi.Storage.TRITS)
    assert (weights.index == 0).all()


def test_wrong_launches_are_refused_and_change_nothing(room):
    spec = StochasticRounding(Lattice.ternary())
    weights = Weights(np.ones(8, np.int64), np.ones(8, np.float32))
    good = room.launch(spec, None, abi.Storage.INT8, 1, weights)
    changes = {
        "rule": (len(source.stems()), -1), "optimiser": (4, -1), "storage": (4, -1),
        "gradient_type": (2, -1), "moment_type": (2, -1),
    }  # fmt: skip
    bad = [(name, value) for name, values in changes.items() for value in values]
    state = np.zeros(8, np.int8)
    row = abi.Tensor(state.ctypes.data, weights.gradient.ctypes.data, 0, 0, 0, 8, 0, 0, 0)
    numbers, counters = np.zeros(7, np.float32), np.zeros(2, np.int64)
    now = np.ones(1, np.int64)

    def step(launch: abi.Launch) -> int:
        return room.library.qt_step_all(
            abi.ctypes.byref(launch), abi.ctypes.byref(row), 1, numbers.ctypes.data,
            now.ctypes.data, counters.ctypes.data, 1,
        )  # fmt: skip

    for name, value in bad:
        launch = abi.Launch.from_buffer_copy(good)
        setattr(launch, name, value)
        assert step(launch) != 0
    for storage, size in ((0, 1), (0, 257), (1, 1), (1, 4)):
        launch = abi.Launch.from_buffer_copy(good)
        launch.storage, launch.spec.size = storage, size
        assert step(launch) != 0
    assert not state.any()
    assert not counters.any()
    assert step(good) == 0
    assert (state == 1).all()
