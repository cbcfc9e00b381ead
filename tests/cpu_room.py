"""The CPU libraries as functions of NumPy arrays, for tests: nothing but marshalling.

Indices go in and come out as int64; states are built by the plain reference's own encoding, so a
library is only ever handed bytes that another room made.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from qcuda.kernels import abi, native
from qreference import storage as plain
from qreference.optimisers import Moments
from qtheory.algorithms import Spec, parameters, stem
from qtheory.arrays import Outcomes
from qtheory.lattice import Lattice
from qtheory.optimisers import Normalized, Optimiser

NAMES = {"SGD": "sgd", "Momentum": "momentum", "Adam": "adam", "NoneType": "given"}
REALS = {
    np.dtype(np.float32): abi.Real.FLOAT32,
    np.dtype(np.uint16): abi.Real.BFLOAT16,
    np.dtype(np.int8): abi.Real.INT8,
}

PACKED = (abi.Storage.SIXES, abi.Storage.NIBBLES, abi.Storage.TRITS)


def kernel_of(optimiser: Optimiser | None) -> str:
    if isinstance(optimiser, Normalized):
        return "momentum" if optimiser.momentum else "sgd"
    return NAMES[type(optimiser).__name__]


@dataclass
class Weights:
    """A tensor of weights: what a launch reads and writes."""

    index: np.ndarray  # int64, flat
    gradient: np.ndarray  # float32, or uint16 for bfloat16
    moments: Moments = field(default_factory=lambda: Moments(None, None))
    tensor: int = 0
    offset: int = 0
    increment: np.ndarray | None = None  # where a launch tells the increments it used

    def copy(self) -> Weights:
        moments = Moments(*(None if m is None else m.copy() for m in self.moments))
        return Weights(self.index.copy(), self.gradient, moments, self.tensor, self.offset)


@cache
def missing(level: str) -> str | None:
    """Why a level can not be tried here, or None."""
    path = native.find(f"libqtheory_{level}.so")
    if path is None:
        looked = ", ".join(map(str, native.folders()))
        return f"libqtheory_{level}.so was not built (looked in {looked})"
    base = native.find("libqtheory_v1.so")
    if base is not None and level.startswith("v"):
        highest = native.open_library(base).qt_processor_level()
        if int(level[1:]) > highest:
            return f"this processor runs x86-64-v{highest}, not {level}"
    return None


def find_level(level: str) -> Room:
    path = native.find(f"libqtheory_{level}.so")
    assert path is not None
    return Room(path)


def storages(lattice: Lattice) -> list[abi.Storage]:
    return [abi.Storage.INT8, *(one for one in PACKED if lattice.size <= one.levels)]


def encode(lattice: Lattice, index: np.ndarray, storage: abi.Storage) -> np.ndarray:
    codes = plain.to_codes(lattice, index)
    return codes if storage is abi.Storage.INT8 else plain.pack(codes, storage.bits)


def decode(lattice: Lattice, state: np.ndarray, count: int, storage: abi.Storage) -> np.ndarray:
    """Also checks legality: the reference's unpack refuses illegal trits and padding."""
    codes = state if storage is abi.Storage.INT8 else plain.unpack(state, count, storage.bits)
    return plain.from_codes(lattice, codes)


class Room:
    """One library."""

    def __init__(self, path: Path) -> None:
        self.library = native.open_library(path)

    def words(
        self,
        seed: int,
        iteration: int,
        tensor: int,
        stream: int,
        count: int,
        offset: int = 0,
        threads: int = 1,
    ) -> np.ndarray:
        out = np.full(count + 1, 0xDEADBEEF, np.uint32)  # the last one is a fence
        now = np.array([iteration], np.int64)
        self.library.qt_words(
            seed, now.ctypes.data, tensor, stream, offset, count, out.ctypes.data, threads
        )
        assert out[-1] == 0xDEADBEEF
        return out[:-1]

    def launch(
        self,
        spec: Spec,
        optimiser: Optimiser | None,
        storage: abi.Storage,
        seed: int,
        first: Weights,
    ) -> abi.Launch:
        lattice = spec.lattice
        kept = first.moments.first
        return abi.launch(
            abi.spec(lattice.spacing, lattice.zero, lattice.size, parameters(spec)),
            seed=seed,
            rule=stem(spec),
            optimiser=kernel_of(optimiser),
            storage=storage,
            gradient_type=REALS[first.gradient.dtype],
            moment_type=abi.Real.FLOAT32 if kept is None else REALS[kept.dtype],
        )

    def step(
        self,
        spec: Spec,
        optimiser: Optimiser | None,
        tensors: Sequence[Weights],
        *,
        seed: int,
        iteration: int,
        storage: abi.Storage = abi.Storage.INT8,
        threads: int = 1,
    ) -> np.ndarray:
        """One launch, in place; optimiser None takes gradients for increments.

        Returns the counters, shape (tensors, 2): moved and NaN.
        """
        states = [encode(spec.lattice, t.index, storage) for t in tensors]
        fenced = [np.concatenate([s.view(np.uint8), np.full(8, 0xA5, np.uint8)]) for s in states]
        scalars = np.zeros(7, np.float32)
        if optimiser is not None:
            scalars[:] = optimiser.scalars(iteration)
        gains = [self.gains(t, scalars, threads) for t in tensors]
        rows = [
            abi.Tensor(
                state.ctypes.data,
                t.gradient.ctypes.data,
                0 if t.moments.first is None else t.moments.first.ctypes.data,
                0 if t.moments.second is None else t.moments.second.ctypes.data,
                0 if t.increment is None else t.increment.ctypes.data,
                t.index.size,
                t.offset,
                t.tensor,
                0,
                0 if gain is None else gain.ctypes.data,
                0 if gain is None else t.index.size // gain.size,
            )
            for state, t, gain in zip(fenced, tensors, gains, strict=True)
        ]
        counters = np.zeros((len(tensors), 2), np.int64)
        now = np.array([iteration], np.int64)  # named: an address alone keeps nothing alive
        launch = self.launch(spec, optimiser, storage, seed, tensors[0])
        error = self.library.qt_step_all(
            ctypes.byref(launch), abi.tensors(rows), len(rows), scalars.ctypes.data,
            now.ctypes.data, counters.ctypes.data, threads,
        )  # fmt: skip
        assert error == 0
        for bytes_, state, t in zip(fenced, states, tensors, strict=True):
            assert (bytes_[-8:] == 0xA5).all(), "a byte behind the state was written"
            after = bytes_[:-8].view(state.dtype)
            t.index = decode(spec.lattice, after, t.index.size, storage)
        return counters

    def gains(self, t: Weights, scalars: np.ndarray, threads: int) -> np.ndarray | None:
        """Those of the gradient, whose mean squares move; None if it has none."""
        square = t.moments.square
        if square is None:
            return None
        gain = np.full(square.size + 1, 77, np.float32)  # the last one is a fence
        row = abi.Rows(
            t.gradient.ctypes.data, square.ctypes.data, gain.ctypes.data, t.index.size,
            t.index.size // square.size,
        )  # fmt: skip
        error = self.library.qt_squares(
            ctypes.byref(row), 1, int(REALS[t.gradient.dtype]), scalars.ctypes.data, threads
        )
        assert error == 0
        assert gain[-1] == 77
        return gain[:-1]

    def outcomes(self, spec: Spec, index: np.ndarray, increment: np.ndarray) -> Outcomes:
        codes = plain.to_codes(spec.lattice, index)
        launch = self.launch(spec, None, abi.Storage.INT8, 0, Weights(index, increment))
        return native.outcomes(self.library, launch, codes, increment)

    def read(
        self,
        lattice: Lattice,
        index: np.ndarray,
        storage: abi.Storage,
        real: abi.Real,
        threads: int = 1,
    ) -> np.ndarray:
        """Visible weights, float32 or the bits of the other types."""
        state, scale = encode(lattice, index, storage), np.ones(1, np.float32)
        levels = lattice.levels.astype(np.float32)
        dtype = np.float32 if real is abi.Real.FLOAT32 else np.uint16
        out = np.full(index.size + 1, 77, dtype)
        error = self.library.qt_decode(
            int(storage), levels.ctypes.data, scale.ctypes.data, lattice.size, state.ctypes.data,
            index.size, out.ctypes.data, int(real), 1, 1, threads,
        )  # fmt: skip
        assert error == 0
        assert out[-1] == 77
        return out[:-1]
