"""Ladder (b): the kernel decides as the plain reference does, given the same words.

Stochastic and deterministic rounding to the last decision. DST takes its tanh in another
precision: a decision may differ where the word lies within the knife edge of the threshold.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np

from qcuda.kernels import abi
from qcuda.validate.kernels import library_kernel
from qcuda.watch.odds import knife_edge
from qtheory.algorithms import DST, SPECS, Spec
from qtheory.evidence import Claim
from qtheory.lattice import Lattice
from qtheory.streams import Stream

SEED, TENSOR, ITERATION = 20180401, 3, 17


def claims(level: str, library: ctypes.CDLL, stems: list[str], draws: int) -> Iterator[Claim]:
    """What a library of a level is held to."""
    yield _words(f"{level}: words = Philox4x32-10 of the reference", library, draws)
    for name in stems:
        for storage, lattice in (
            (abi.Storage.INT8, Lattice.z(2)),
            (abi.Storage.TRITS, Lattice.ternary()),
        ):
            spec = SPECS[name](lattice)
            title = f"{level}: {name}: moves = the reference's, {storage.name.lower()}"
            yield _compare(title, library, spec, _increments(spec, draws // 2 + 1), storage)
        if SPECS[name] is DST:
            title = f"{level}: dst: words placed on the edge"
            yield _compare(title, library, *_on_the_edge(draws // 4 + 1))


def _words(name: str, library: ctypes.CDLL, draws: int) -> Claim:
    """Every stream, from where the block number outgrows 32 bits."""
    from qreference import philox

    wrong, each = 0, draws // len(Stream) + 1
    for stream in Stream:
        got, first = np.empty(each, np.uint32), 2**34 - each // 2
        place = (SEED, ITERATION, TENSOR, int(stream), first, each)
        library.qt_words(*place, got.ctypes.data, 2)
        expected = philox.words(SEED, ITERATION, TENSOR, stream, each, first)
        wrong += int((got != expected).sum())
    return Claim(name, "exact", each * len(Stream), wrong, 0.0)


def _increments(spec: Spec, draws: int) -> np.ndarray:
    spacing = spec.lattice.spacing
    x = np.random.default_rng(SEED).normal(0, 1.2, draws)
    x[::7] = np.round(x[::7] * 4) / 4  # ties and whole spacings
    return (x * spacing).astype(np.float32)


def _on_the_edge(draws: int) -> tuple[Spec, np.ndarray]:
    """DST with every increment chosen so that its threshold is its word, as near as floats go."""
    from qreference import philox

    spec = DST(Lattice.ternary())
    words = philox.words(SEED, ITERATION, TENSOR, Stream.MOVE, draws)
    certain = np.tanh(spec.nonlinearity * (1 - 2.0**-24))
    p = np.minimum(words / 2.0**32, certain)
    return spec, (np.arctanh(p) / spec.nonlinearity).astype(np.float32)


def _compare(
    name: str,
    library: ctypes.CDLL,
    spec: Spec,
    increments: np.ndarray,
    storage: abi.Storage = abi.Storage.INT8,
) -> Claim:
    """Differences between a library's moves and the reference's; DST's may lie on the edge."""
    from qreference import algorithm, philox

    plain = algorithm(spec)
    index = np.arange(increments.size) % spec.lattice.size
    words = philox.words(SEED, ITERATION, TENSOR, Stream.MOVE, increments.size)
    expected = plain.step(spec, index, increments, words)
    place = {"seed": SEED, "iteration": ITERATION, "tensor": TENSOR}
    differ = expected != library_kernel(library, storage)(index, increments, spec=spec, **place)
    if not isinstance(spec, DST):
        return Claim(name, "exact", increments.size, int(differ.sum()), 0.0)
    thresholds = plain.threshold(spec, index, increments)
    away = np.abs(words.astype(np.int64) - thresholds.astype(np.int64))
    on_edge = away <= knife_edge(thresholds / 2.0**32)
    detail = f"{int(differ.sum())} differ; {int(on_edge.sum())} words on the edge"
    wrong = int((differ & ~on_edge).sum())
    return Claim(name, "exact", increments.size, wrong, 0.0, detail=detail)
