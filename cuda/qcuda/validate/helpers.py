"""Bit for bit, as compare.py: the GPU kernels beside the steps, against the CPU library."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from qcuda.kernels import abi, source
from qcuda.kernels.gpu.launch import Launcher
from qcuda.kernels.gpu.table import PART, Memory
from qcuda.validate.compare import Array, Machine, case_of, codes_of, reals


def check_scalars(machine: Machine, launcher: Launcher, library: Any) -> list[str]:
    """qt_scalars of every optimiser at random numbers and iterations, skipped ones among them."""
    rng, wrong = np.random.default_rng(4), []
    for number in range(400):
        optimiser = abi.SCALARS[number % len(abi.SCALARS)]
        rate, epsilon = 10.0 ** rng.uniform(-9, 2, 2)
        numbers = np.array([rate, rng.uniform(), 1 - 10.0 ** rng.uniform(-9, 0), epsilon])
        iteration = np.array([int(2.0 ** rng.uniform(0, 32)) - 1], np.int64)
        found_inf = np.array([number % 7 == 0], np.float32)
        scalars = np.zeros(7, np.float32)
        memory = [
            machine.upload(a.view(np.uint8)) for a in (numbers, iteration, found_inf, scalars)
        ]
        told, now, infinite, made = map(machine.address, memory)
        launcher.scalars(optimiser, told, now, infinite, made, machine.stream())
        arrays = (numbers, iteration, found_inf, scalars)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
        library.qt_scalars(number % len(abi.SCALARS), *pointers)
        for name, array, got in zip(
            ("iteration", "scalars"), arrays[1::2], memory[1::2], strict=True
        ):
            if machine.download(got).tobytes() != array.tobytes():
                wrong.append(f"{name} of {optimiser} {numbers.tolist()}")
    return wrong


def check_words(machine: Machine, launcher: Launcher, library: Any) -> list[str]:
    """qt_words at every offset within two blocks, at block 2**32, and unaligned."""
    wrong = []
    for first in (*range(8), 4 * 2**32 - 3, 2**58 - 3000):
        for count, shift in ((1, 0), (9, 1), (2053, 0)):
            want = np.zeros(count, np.uint32)
            seed, now, tensor, stream = 2**63 + 12345, np.array([2**32 - 1]), 77, 3
            c, at = ctypes, ctypes.c_void_p
            library.qt_words(
                c.c_uint64(seed), at(now.ctypes.data), c.c_uint32(tensor), c.c_uint32(stream),
                c.c_int64(first), c.c_int64(count), at(want.ctypes.data), 1,
            )  # fmt: skip
            out = Array.of(np.zeros(count, np.uint32), shift)
            memory, iteration = machine.upload(out.data), machine.upload(now.view(np.uint8))
            address = machine.address(memory) + out.lead
            launcher.words(
                seed, machine.address(iteration), tensor, stream, first, count, address,
                machine.stream(),
            )  # fmt: skip
            if not Array.of(want, shift).same(machine.download(memory)):
                wrong.append(f"words of {count} elements from {first} on")
    return wrong


def check_decode(machine: Machine, launcher: Launcher, library: Any) -> list[str]:
    """Visible weights of every storage and type, codes off the lattice among them."""
    rng, wrong = np.random.default_rng(1), []
    for storage, size in ((0, 2), (0, 3), (0, 256), (0, 16), (1, 2), (1, 3)):
        levels = rng.standard_normal(size).astype(np.float32)
        scale = np.array([0.3], np.float32)
        for real in abi.VISIBLE:
            for count, shift in ((5, 1), (4099, 0), (8192, 0), (4097, 3)):
                state = Array.of(rng.integers(0, 256, count).astype(np.uint8), shift)
                kind = np.float32 if real is abi.Real.FLOAT32 else np.uint16
                out = Array.of(np.zeros(count, kind), shift)
                numbers = (levels.view(np.uint8), scale.view(np.uint8))
                device = [machine.upload(a) for a in (*numbers, state.data, out.data)]
                table, factor, source, to = map(machine.address, device)
                launcher.decode(
                    storage, table, factor, size, source + state.lead, count, to + out.lead, real,
                    machine.stream(),
                )  # fmt: skip
                c = ctypes
                library.qt_decode(
                    storage, c.c_void_p(levels.ctypes.data), c.c_void_p(scale.ctypes.data), size,
                    c.c_void_p(state.data.ctypes.data + state.lead), c.c_int64(count),
                    c.c_void_p(out.data.ctypes.data + out.lead), real, *[c.c_int64(1)] * 2, 1,
                )  # fmt: skip
                if not out.same(machine.download(device[3])):
                    wrong.append(f"decode storage {storage} size {size} {real.name} {count}")
    return wrong


def check_outcomes(machine: Machine, launcher: Launcher, library: Any) -> list[str]:
    """Thresholds and destinations of every rule, ties and specials among the increments."""
    wrong, count = [], 5001
    for rule in source.stems():
        case = case_of(len(rule), rule, "given", 0, 0, 0)
        rng = np.random.default_rng(2)
        codes = codes_of(rng, count, case.launch.spec.size, abi.Storage.INT8)
        increments = reals(rng, count, abi.Real.FLOAT32, 1.0)
        places = library.qt_destinations(ctypes.byref(case.launch))
        want = np.zeros((count, places - 1), np.uint64), np.zeros((count, places), np.int32)
        library.qt_outcomes(
            ctypes.byref(case.launch),
            *(ctypes.c_void_p(array.ctypes.data) for array in (codes, increments)),
            ctypes.c_int64(count),
            *(ctypes.c_void_p(array.ctypes.data) for array in want),
        )
        empty = [np.zeros(array.nbytes, np.uint8) for array in want]
        parts = (codes.view(np.uint8), increments.view(np.uint8), *empty)
        memory = [machine.upload(part) for part in parts]
        a, b, thresholds, destinations = map(machine.address, memory)
        stream = machine.stream()
        launcher.outcomes(case.launch, a, b, count, thresholds, destinations, stream)
        for name, array, got in zip(("thresholds", "destinations"), want, memory[2:], strict=True):
            if machine.download(got).tobytes() != array.tobytes():
                wrong.append(f"{name} of {rule}")
    return wrong


# (rows, weights of a row): around the lanes of a part, parts, and turns of the lane that adds.
ROWS = ((1, 1), (3, 31), (0, 0), (5, 33), (2, PART), (2, 33 * PART + 1), (700, 27), (1, 32 * PART))


def check_squares(machine: Machine, launcher: Launcher, library: Any) -> list[str]:
    """Running mean squares and gains of two iterations, rows that are not finite among them."""
    wrong, count = [], ctypes.c_int64(len(ROWS))
    scalars = np.array([0.1, 0.9, 0.4, 0.99, 0.01, 7.1, 0.0], np.float32)
    numbers, here = machine.upload(scalars.view(np.uint8)), ctypes.c_void_p(scalars.ctypes.data)
    for kind in abi.GRADIENTS:
        rng, room = np.random.default_rng(int(kind)), []
        ours = [_of_rows(rng, place, kind) for place in range(len(ROWS))]
        theirs = [[machine.upload(array.data) for array in arrays] for arrays in ours]

        def work(size: int, room: list[Any] = room) -> Memory:
            room.append(machine.upload(np.full(size, 0xA5, np.uint8)))
            return Memory(machine.address(room[-1]), room[-1])

        table = _table(ours, [[array.data.ctypes.data for array in arrays] for arrays in ours])
        copy, stream = (
            _table(ours, [list(map(machine.address, m)) for m in theirs]),
            machine.stream(),
        )
        for _ in range(2):
            library.qt_squares(table, count, int(kind), here, 1)
            launcher.squares(copy, kind, machine.address(numbers), stream, work)
        for place, (arrays, memory) in enumerate(zip(ours, theirs, strict=True)):
            for name, number in (("square", 1), ("gain", 2)):
                if not arrays[number].same(machine.download(memory[number])):
                    wrong.append(f"{name} of {ROWS[place]} {kind.name.lower()}")
    return wrong


def _of_rows(rng: np.random.Generator, place: int, kind: abi.Real) -> list[Array]:
    """Gradients, mean squares, and room for gains; every second tensor has finite means."""
    rows, row = ROWS[place]
    x = reals(rng, rows * row, abi.Real.FLOAT32, 1.0)
    if place % 2:
        x = np.where(np.abs(x) < 1e15, x, np.float32(0.5)).astype(np.float32)
    gradient = x if kind is abi.Real.FLOAT32 else (x.view(np.uint32) >> 16).astype(np.uint16)
    square = np.abs(rng.standard_normal(rows)).astype(np.float32)
    empty = np.zeros(rows, np.float32)
    return [Array.of(gradient, place % 3), *(Array.of(x, 0, "float32") for x in (square, empty))]


def _table(arrays: list[list[Array]], addresses: list[list[int]]) -> ctypes.Array[abi.Rows]:
    starts = [
        [address + array.lead for address, array in zip(some, part, strict=True)]
        for some, part in zip(addresses, arrays, strict=True)
    ]
    counts, lengths = [n * row for n, row in ROWS], [row for _, row in ROWS]
    return abi.rows([*map(list, zip(*starts, strict=True)), counts, lengths])
