"""The C ABI of the kernels in Python: mirrors of cuda/csrc/abi.h and core.h, for CPU and GPU.

Only ctypes and numpy: importing this file loads no library and no torch. Sizes are asserted
below, field names and order are those of the headers (a test compares the offsets with the
compiler's).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from enum import IntEnum

from qcuda.kernels import source

# Places in the lists of cuda/csrc/optimisers.h. Rules are listed by `source.stems()`.
OPTIMISERS = ("given", "sgd", "momentum", "adam")
MOMENTS = {"given": 0, "sgd": 0, "momentum": 1, "adam": 2}  # moments an optimiser keeps
SCALARS = (*OPTIMISERS, "normalized")  # what has scalars of its own


# As in qtheory.streams, which is not imported: this file is read where only numpy and torch are.
MAX_SEED = 2**64 - 1
MAX_ELEMENT = 2**58 - 1


class Error(IntEnum):
    """Which rule a launch breaks, as the functions of cuda/csrc/cpu/library.cpp return it."""

    OK = 0
    BAD_RULE = 1
    BAD_OPTIMISER = 2
    BAD_STORAGE = 3
    BAD_REAL = 4
    BAD_SIZE = 5
    BAD_CODE = 6
    BAD_LEVEL = 7

    @property
    def words(self) -> str:
        """What is wrong, for people."""
        return _WRONG[self]


_WRONG = {
    Error.OK: "nothing wrong",
    Error.BAD_RULE: "an algorithm that the library does not have",
    Error.BAD_OPTIMISER: "an optimiser that the library does not have",
    Error.BAD_STORAGE: "a storage that it does not have",
    Error.BAD_REAL: "a type of numbers that it does not read or write",
    Error.BAD_SIZE: "a lattice that does not fit the storage",
    Error.BAD_CODE: "a code that is off the lattice",
    Error.BAD_LEVEL: "a level that is NaN",
}


class Storage(IntEnum):
    """How indices are stored: codes of 8, 2, 4 or 6 bits, the first in the lowest bits."""

    INT8 = 0
    TRITS = 1
    NIBBLES = 2
    SIXES = 3

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return (8, 2, 4, 6)[self]

    @property
    def levels(self) -> int:
        """The most levels that it holds: one of the four trits is illegal."""
        return (256, 3, 16, 64)[self]

    def bytes(self, count: int) -> int:
        """Bytes that `count` weights take."""
        return (count * self.bits + 7) // 8


ON_GPU = (Storage.INT8, Storage.TRITS)  # those that its kernels read so far


class Real(IntEnum):
    """Type of numbers: float16 is for visible weights only, int8 for moments only."""

    FLOAT32 = 0
    BFLOAT16 = 1
    FLOAT16 = 2
    INT8 = 3

    @property
    def bytes(self) -> int:
        """Bytes of one number."""
        return {Real.FLOAT32: 4, Real.INT8: 1}.get(self, 2)


GRADIENTS = (Real.FLOAT32, Real.BFLOAT16)
VISIBLE = (*GRADIENTS, Real.FLOAT16)
MOMENT_TYPES = (*GRADIENTS, Real.INT8)


class Spec(ctypes.Structure):
    """A lattice and the numbers of an algorithm."""

    _fields_ = (
        ("spacing", ctypes.c_float),
        ("zero", ctypes.c_float),
        ("size", ctypes.c_int32),
        ("parameter", ctypes.c_float * 4),
    )


class Launch(ctypes.Structure):
    """What all tensors of a launch share."""

    _fields_ = (
        ("seed", ctypes.c_uint64),
        ("rule", ctypes.c_int32),
        ("optimiser", ctypes.c_int32),
        ("storage", ctypes.c_int32),
        ("gradient_type", ctypes.c_int32),
        ("moment_type", ctypes.c_int32),
        ("spec", Spec),
    )


class Tensor(ctypes.Structure):
    """One tensor of a multi-tensor launch. Pointers are plain integers, 0 for none."""

    _fields_ = (
        ("state", ctypes.c_void_p),
        ("gradient", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("second", ctypes.c_void_p),
        ("increment", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("tensor", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("gain", ctypes.c_void_p),
        ("row", ctypes.c_int64),
    )


class Rows(ctypes.Structure):
    """One tensor whose mean squares are taken, as in cuda/csrc/squares.h."""

    _fields_ = (
        ("gradient", ctypes.c_void_p),
        ("square", ctypes.c_void_p),
        ("gain", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("row", ctypes.c_int64),
    )


class Counters(ctypes.Structure):
    """What a launch adds to, for each tensor."""

    _fields_ = (("moved", ctypes.c_int64), ("nan", ctypes.c_int64))


# As in cuda/csrc/stair.h: types of numbers by their place, and the most thresholds.
NUMBERS = ("float32", "bfloat16", "float16", "float64")
MOST_STEPS = 128


class Stair(ctypes.Structure):
    """A stair as an activation, as in cuda/csrc/stair.h."""

    _fields_ = (
        ("steps", ctypes.c_int32),
        ("folded", ctypes.c_int32),
        ("up", ctypes.c_int32),
        ("triangular", ctypes.c_int32),
        ("lowest", ctypes.c_double),
        ("threshold", ctypes.c_double * MOST_STEPS),
        ("jump", ctypes.c_double * MOST_STEPS),
    )


class Reading(ctypes.Structure):
    """How a latent is read, as in cuda/csrc/reading.h; words by their places in `readings`."""

    _fields_ = (
        ("steps", ctypes.c_int32),
        ("shown", ctypes.c_int32),
        ("unit", ctypes.c_int32),
        ("gain", ctypes.c_int32),
        ("factor", ctypes.c_int32),
        ("gain_slope", ctypes.c_int32),
        ("steadied", ctypes.c_int32),
        ("noise", ctypes.c_int32),
        ("window", ctypes.c_int32),
        ("window_noise", ctypes.c_int32),
        ("scale", ctypes.c_double),
        ("window_scale", ctypes.c_double),
        ("low", ctypes.c_double),
        ("high", ctypes.c_double),
        ("zeros", ctypes.c_double),
        ("threshold", ctypes.c_double * MOST_STEPS),
        ("level", ctypes.c_double * (MOST_STEPS + 1)),
        ("up", ctypes.c_uint8 * MOST_STEPS),
    )


class Batch(ctypes.Structure):
    """An input of batch norm as rows of one length, as in cuda/csrc/batch_norm.h."""

    _fields_ = (
        ("type", ctypes.c_int32),
        ("planes", ctypes.c_int32),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("channels", ctypes.c_int64),
    )


class Norm(ctypes.Structure):
    """What a batch norm keeps, as in cuda/csrc/batch_norm.h. Pointers are integers, or None."""

    _fields_ = (
        ("mean", ctypes.c_void_p),
        ("variance", ctypes.c_void_p),
        ("batches", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("share", ctypes.c_double),
        ("eps", ctypes.c_double),
        ("running_type", ctypes.c_int32),
        ("type", ctypes.c_int32),
    )


_SIZES = (
    (Spec, 28),
    (Launch, 56),
    (Tensor, 80),
    (Rows, 40),
    (Counters, 16),
    (Stair, 24 + 16 * MOST_STEPS),
    (Reading, 88 + 17 * MOST_STEPS),
    (Batch, 32),
    (Norm, 64),
)
for _structure, _bytes in _SIZES:
    if ctypes.sizeof(_structure) != _bytes:
        raise ImportError(
            f"{_structure.__name__} takes {_bytes} bytes in the C ABI, "
            f"got {ctypes.sizeof(_structure)}"
        )


def spec(spacing: float, zero: float, size: int, parameters: Sequence[float] = ()) -> Spec:
    """A Spec from the lattice's numbers and the algorithm's own, at most four."""
    if len(parameters) > 4:
        raise ValueError(f"an algorithm has at most four parameters, got {len(parameters)}")
    padded = (*parameters, *(0.0,) * (4 - len(parameters)))
    return Spec(spacing, zero, size, (ctypes.c_float * 4)(*padded))


def launch(
    spec: Spec,
    *,
    seed: int,
    rule: str,
    optimiser: str,
    storage: Storage = Storage.INT8,
    gradient_type: Real = Real.FLOAT32,
    moment_type: Real = Real.FLOAT32,
) -> Launch:
    """A Launch, from the names of a rule and an optimiser."""
    rules = source.stems()
    if rule not in rules:
        raise ValueError(f"a rule is one of {', '.join(rules)}, got {rule!r}")
    if optimiser not in OPTIMISERS:
        raise ValueError(f"an optimiser is one of {', '.join(OPTIMISERS)}, got {optimiser!r}")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"a seed is in 0..{MAX_SEED}, got {seed}")
    return Launch(
        seed,
        rules.index(rule),
        OPTIMISERS.index(optimiser),
        storage,
        gradient_type,
        moment_type,
        spec,
    )


def tensors(rows: Sequence[Tensor]) -> ctypes.Array[Tensor]:
    """A contiguous table of Tensors."""
    return (Tensor * len(rows))(*rows)


def table(columns: Sequence[Sequence[int]]) -> ctypes.Array[Tensor]:
    """The same from columns: addresses of state, gradient, first, second and increment, then
    counts, offsets, tensor numbers (which leave four bytes 0), addresses of gains and weights of a
    row."""
    return (Tensor * len(columns[0])).from_buffer(_as_bytes(columns))


def rows(columns: Sequence[Sequence[int]]) -> ctypes.Array[Rows]:
    """Rows, from addresses of gradients, mean squares and gains, counts, and weights of a row."""
    return (Rows * len(columns[0])).from_buffer(_as_bytes(columns))


def _as_bytes(columns: Sequence[Sequence[int]]) -> bytearray:
    table = [number for row in zip(*columns, strict=True) for number in row]
    return bytearray(struct.pack(f"={len(table)}Q", *table))
