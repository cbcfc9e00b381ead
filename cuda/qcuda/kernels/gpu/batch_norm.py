"""Launching batch norm followed by a stair: addresses and structures in, as in launch.py.

Work memory is the caller's: `partial`, of `partial_numbers` float64, and `table`, of five rows of
C float32. Formulas and the order of sums: cuda/csrc/batch_norm.h.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_void_p
from typing import NamedTuple

from qcuda.kernels import abi
from qcuda.kernels.gpu.launch import THREADS, Launcher
from qcuda.kernels.gpu.table import CHUNK

# As in cuda/csrc/batch_norm.h.
PLANE_PIECE, LANES, STRANDS = 4096, 16, 64


def parts(batch: abi.Batch) -> int:
    """Of each channel; see parts_of in the header."""
    if batch.planes:
        return batch.rows // batch.channels * -(-batch.columns // PLANE_PIECE)
    rows = max(64, -(-batch.rows // 2048), -(-4096 // batch.columns))
    return -(-batch.rows // rows)


def partial_numbers(batch: abi.Batch) -> int:
    """How many float64 the sums of all parts take."""
    return parts(batch) * 2 * (batch.channels if batch.planes else batch.columns)


class Kernels(NamedTuple):
    """The kernels of a device on a stream. Arguments are structures and device addresses."""

    launcher: Launcher
    stream: int

    def measure(
        self, batch: abi.Batch, norm: abi.Norm, x: int, sums: int, statistics: int, partial: int
    ) -> None:
        """Sums, mean and 1 / std of each channel; what the norm keeps is moved."""
        numbers = c_void_p(norm.batches), c_void_p(x), c_void_p(partial)
        self._sums("sums", batch, batch, *numbers)
        pointers = map(c_void_p, (partial, sums, statistics))
        self._run("measured", batch.channels * STRANDS, 1, batch, norm, *pointers)

    def stair(
        self,
        stair: abi.Stair,
        batch: abi.Batch,
        norm: abi.Norm,
        x: int,
        statistics: int,
        z: int,
        table: int,
    ) -> None:
        """The stair at (x - mean) gain + bias."""
        self._table(batch, norm, statistics, table)
        self._each("stair", batch, stair, batch, *map(c_void_p, (table, x, z)))

    def back(
        self,
        stair: abi.Stair,
        half_width: int,
        batch: abi.Batch,
        norm: abi.Norm,
        x: int,
        gradient: int,
        statistics: int,
        of_batch: bool,
        out: int,
        sums: int | None,
        slopes: int,
        table: int,
        partial: int,
    ) -> None:
        """The gradient of x, and unless `sums` is None those of weight and bias."""
        self._table(batch, norm, statistics, table)
        given = tuple(map(c_void_p, (half_width, table, x, gradient)))
        if sums is not None:
            self._sums("back_sums", batch, stair, batch, *given, c_void_p(partial))
            pointers = map(c_void_p, (partial, statistics, sums, slopes, table))
            whole = batch.channels * STRANDS
            self._run("returned", whole, 1, batch, c_int32(of_batch), *pointers)
        self._each("slope", batch, stair, batch, *given, c_void_p(out))

    def _table(self, batch: abi.Batch, norm: abi.Norm, statistics: int, table: int) -> None:
        pointers = c_void_p(statistics), c_void_p(table)
        self._run("table", batch.channels, 1, batch, norm, *pointers)

    def _sums(self, kernel: str, batch: abi.Batch, *arguments: ctypes._CData) -> None:
        lanes = batch.rows * -(-batch.columns // PLANE_PIECE) * LANES
        threads = lanes if batch.planes else parts(batch) * batch.columns
        self._run(f"{kernel}_{abi.NUMBERS[batch.type]}", threads, 1, *arguments)

    def _each(self, kernel: str, batch: abi.Batch, *arguments: ctypes._CData) -> None:
        name = f"{kernel}_{abi.NUMBERS[batch.type]}"
        self._run(name, batch.rows * batch.columns, CHUNK // THREADS, *arguments)

    def _run(self, kernel: str, count: int, each: int, *arguments: ctypes._CData) -> None:
        self.launcher.elementwise(f"qt_batch_{kernel}", count, each, self.stream, *arguments)
