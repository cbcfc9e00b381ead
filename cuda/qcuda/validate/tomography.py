"""Hidden words read off a black box, by bisection of the probability.

With seed, iteration and tensor fixed, the word of an element decides whether it moves under each
increment. Launches with other increments therefore bracket it: from 2**-64 to 1 there are 2**29
fractions that float32 can write, so 29 launches end at two neighbours among them, one that left
the element and one that moved it, and the word lies between their thresholds. Nothing is asked
but the moves: it works on a release build and exposes wrong counters, shared lanes and coarse
words without false alarms.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from qcuda.validate.kernels import Kernel, launch
from qcuda.watch.odds import knife_edge
from qtheory.algorithms import DST, SPECS, Spec
from qtheory.evidence import Claim
from qtheory.lattice import Lattice
from qtheory.streams import Stream

LAUNCHES = 29
SMALLEST = 2.0**-64
PLACES = ((0, 0), (1, 0), (0, 1), (2**32 - 1, 5))  # (iteration, tensor)
COUNT = 2**16 + 5
Thresholds = Callable[[Spec, np.ndarray], np.ndarray]


class Bracket(NamedTuple):
    """Fractions of a spacing: the greatest that left an element, the next, which moved it."""

    left: np.ndarray  # float32
    moved: np.ndarray  # float32; 1 where no fraction moved it


def specs(stem: str) -> list[Spec]:
    """A packed lattice and one of int8 codes; for DST also with thresholds up to certainty."""
    cls = SPECS[stem]
    if cls is DST:
        return [DST(Lattice.ternary()), DST(Lattice.z(2), 10.0)]
    return [cls(Lattice.ternary()), cls(Lattice.z(2))]


def bisect(
    kernel: Kernel, spec: Spec, count: int, *, seed: int, iteration: int, tensor: int
) -> Bracket:
    """The bracket of every element; odd elements are asked downwards, even ones upwards."""
    index = np.full(count, 1 if spec.lattice.size > 2 else 0, np.int64)
    sign = np.ones(count, np.float32)
    if spec.lattice.size > 2:
        sign[1::2] = -1
    low = np.full(count, np.float32(SMALLEST).view(np.int32), np.int64)
    high = np.full(count, np.float32(1).view(np.int32), np.int64)
    for _ in range(LAUNCHES):
        middle = (low + high) // 2
        fraction = middle.astype(np.int32).view(np.float32)
        increments = sign * fraction * np.float32(spec.lattice.spacing)
        place = {"seed": seed, "iteration": iteration, "tensor": tensor}
        moved = kernel(index, increments, spec=spec, **place) != index
        low, high = np.where(moved, low, middle), np.where(moved, middle, high)
    assert (high - low == 1).all()
    return Bracket(low.astype(np.int32).view(np.float32), high.astype(np.int32).view(np.float32))


def reference_thresholds(spec: Spec, fraction: np.ndarray) -> np.ndarray:
    """Thresholds of the plain reference, int64; certainty at fraction 1."""
    from qreference import algorithm

    x = np.minimum(fraction, np.float32(1 - 2.0**-24)) * np.float32(spec.lattice.spacing)
    found = algorithm(spec).threshold(spec, np.ones(x.size, np.int64), x).astype(np.int64)
    return np.where(fraction == 1, 2**32, found)


def library_thresholds(library: ctypes.CDLL) -> Thresholds:
    """The thresholds that a CPU library says it uses."""

    def thresholds(spec: Spec, fraction: np.ndarray) -> np.ndarray:
        x = np.minimum(fraction, np.float32(1 - 2.0**-24)) * np.float32(spec.lattice.spacing)
        codes, out = np.zeros(x.size, np.int8), np.empty(x.size, np.uint64)
        library.qt_thresholds(
            ctypes.byref(launch(spec, 0)), codes.ctypes.data, x.ctypes.data, x.size,
            out.ctypes.data,
        )  # fmt: skip
        return np.where(fraction == 1, 2**32, out.astype(np.int64))

    return thresholds


def claim(
    name: str, kernel: Kernel, spec: Spec, *, seed: int, own: Thresholds | None = None
) -> Claim:
    """Every recovered bracket contains the word that the generator gives the element.

    A bracket runs from one threshold to the next, the reference's, widened by the knife edge
    where the algorithm has one. With `own` the kernel's own thresholds are held to that edge, and
    the word has to lie between them, without any widening. A word beyond the threshold of every
    fraction (as one in 200 of DST's with m = 3) is held to that.
    """
    from qreference import philox

    wrong, widths, beyond = 0, [], 0
    for iteration, tensor in PLACES:
        place = {"seed": seed, "iteration": iteration, "tensor": tensor}
        found = bisect(kernel, spec, COUNT, **place)
        words = philox.words(seed, iteration, tensor, Stream.MOVE, COUNT).astype(np.int64)
        ends = [reference_thresholds(spec, fraction) for fraction in found]
        edges = [_edge(spec, end) for end in ends]
        bad = (words < ends[0] - edges[0]) | (words >= ends[1] + edges[1])
        if own is not None:
            ours = [own(spec, fraction) for fraction in found]
            bad |= (words < ours[0]) | (words >= ours[1])
            for end, edge, mine in zip(ends, edges, ours, strict=True):
                bad |= np.abs(mine - end) > edge
            ends = ours
        wrong += int(bad.sum())
        reached = found.moved < 1
        beyond += int((~reached).sum())
        widths.append((ends[1] - ends[0])[reached])
    width = np.concatenate(widths)
    detail = f"{LAUNCHES} launches; brackets of {int(np.median(width))} in 2**32, at most "
    detail += f"{width.max()}; {beyond} words beyond all thresholds"
    return Claim(name, "exact", COUNT * len(PLACES), wrong, 0.0, detail=detail)


def _edge(spec: Spec, thresholds: np.ndarray) -> np.ndarray:
    """Half-width of the knife edge, none at certainty."""
    if not isinstance(spec, DST):
        return np.zeros_like(thresholds)
    inside = thresholds < 2**32
    return np.where(inside, knife_edge(thresholds / 2.0**32), 0)
