"""Ladder (b): the kernel decides as the plain reference does, given the same words.

To the last decision where both compute the same integer thresholds. Where they do not, as with a
tanh in another precision, a decision may differ if the word lies within the declared edge.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache

import numpy as np

from qcuda.kernels import abi
from qcuda.validate import aim
from qcuda.validate.kernels import Draw, library_kernel
from qtheory.algorithms import Spec, spec_class
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
            spec = spec_class(name)(lattice)
            title = f"{level}: {name}: moves = the reference's, {storage.name.lower()}"
            yield _compare(title, library, spec, _increments(spec, draws // 2 + 1), storage)
        if aim.has_edge(spec_class(name)(Lattice.ternary())):
            title = f"{level}: {name}: words placed on the edge"
            yield _compare(title, library, *_on_the_edge(name, draws // 4 + 1))


def _words(name: str, library: ctypes.CDLL, draws: int) -> Claim:
    """Every stream, from where the block number outgrows 32 bits."""
    from qreference import philox

    wrong, each, now = 0, draws // len(Stream) + 1, np.array([ITERATION], np.int64)
    for stream in Stream:
        got, first = np.empty(each, np.uint32), 2**34 - each // 2
        place = (SEED, now.ctypes.data, TENSOR, int(stream), first, each)
        library.qt_words(*place, got.ctypes.data, 2)
        expected = philox.words(SEED, ITERATION, TENSOR, stream, each, first)
        wrong += int((got != expected).sum())
    return Claim(name, "exact", each * len(Stream), wrong, 0.0)


def _increments(spec: Spec, draws: int) -> np.ndarray:
    spacing = spec.lattice.spacing
    x = np.random.default_rng(SEED).normal(0, 1.2, draws)
    x[::7] = np.round(x[::7] * 4) / 4  # ties and whole spacings
    return (x * spacing).astype(np.float32)


@cache
def _on_the_edge(stem: str, draws: int) -> tuple[Spec, np.ndarray]:
    """Steps up from the middle whose first threshold is their word, as near as floats go."""
    from qreference import philox

    spec = spec_class(stem)(Lattice.ternary())
    words = philox.words(SEED, ITERATION, TENSOR, Stream.MOVE, draws)
    middle = np.full(draws, spec.lattice.centre)
    return spec, aim.steps(spec, middle, words.astype(np.int64))


def _compare(
    name: str,
    library: ctypes.CDLL,
    spec: Spec,
    increments: np.ndarray,
    storage: abi.Storage = abi.Storage.INT8,
) -> Claim:
    """Differences between a library's moves and the reference's that no edge explains.

    Where an algorithm has an edge w, a word within w of a threshold may fall to either side.
    """
    from qreference import philox

    index = np.arange(increments.size) % spec.lattice.size
    words = philox.words(SEED, ITERATION, TENSOR, Stream.MOVE, increments.size)
    draw = Draw(spec, SEED, ITERATION, TENSOR)
    after = library_kernel(library, storage)(index, increments, draw)
    wrong, differ, on_edge = unexplained(spec, index, increments, words, after)
    detail = "" if on_edge is None else f"{differ} differ; {on_edge} words on the edge"
    return Claim(name, "exact", increments.size, wrong, 0.0, detail=detail)


def unexplained(
    spec: Spec, index: np.ndarray, increments: np.ndarray, words: np.ndarray, after: np.ndarray
) -> tuple[int, int, int | None]:
    """Moves that are not the reference's, first those that no edge explains, then all of them.

    Last the number of words on the edge, None where the algorithm has none. All arrays are (n,).
    """
    from qreference import edge, walker

    thresholds, places = walker.outcomes(spec, index, increments)
    width = edge(spec, thresholds)
    away = words.astype(np.int64)[:, None] - thresholds.astype(np.int64)
    passed = (away >= 0).sum(-1)
    differ = int((after != np.take_along_axis(places, passed[:, None], -1)[:, 0]).sum())
    if not width.any():
        return differ, differ, None
    least, most = (away > width).sum(-1), (away >= -width).sum(-1)
    rank = np.arange(places.shape[1])
    allowed = (least[:, None] <= rank) & (rank <= most[:, None]) & (places == after[:, None])
    return int((~allowed.any(-1)).sum()), differ, int((least != most).sum())
