"""Hidden words read off a black box, by bisection of the probability.

With seed, iteration and tensor fixed, the word of an element decides where it goes under each
increment. Launches with other increments therefore bracket it: from 2**-64 to 1 there are 2**29
fractions that float32 can write, so 29 launches end at two neighbours among them, between which the
word changes sides at a threshold, and the word lies between the two thresholds. Nothing is asked
but the moves: it works on a release build and exposes wrong counters, shared lanes and coarse
words without false alarms.

Steps up ask about the first of the cumulative thresholds, steps down about the last; a coin has
only one. Other thresholds of an algorithm are not asked about.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from qcuda.kernels import native
from qcuda.validate import aim
from qcuda.validate.aim import Room
from qcuda.validate.kernels import Draw, Kernel, launch
from qtheory.algorithms import Spec, spec_class
from qtheory.arrays import Outcomes
from qtheory.evidence import Claim
from qtheory.lattice import Lattice
from qtheory.streams import Stream

PLACES = ((0, 0), (1, 0), (0, 1), (2**32 - 1, 5))  # (iteration, tensor)
COUNT = 2**16 + 5


class Bracket(NamedTuple):
    """Steps in spacings, float32: the last before the word changed sides, and the next.

    A threshold that no step reached leaves SMALLEST on the left, or `aim.reach` on the right.
    """

    left: np.ndarray
    right: np.ndarray


class Asked(NamedTuple):
    """Elements of a spec: where they start, and which threshold their steps ask about."""

    spec: Spec
    index: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]
    sign: np.ndarray  # of the steps, float32: odd elements are asked downwards, if there is room

    def increments(self, steps: np.ndarray) -> np.ndarray:
        """In weight units; a step of `aim.reach` is stopped just below it."""
        most = np.nextafter(np.float32(aim.reach(self.spec)), np.float32(0))
        return self.sign * np.minimum(steps, most) * np.float32(self.spec.lattice.spacing)

    def thresholds(self, steps: np.ndarray, room: Room = aim.reference) -> np.ndarray:
        """int64: the first threshold of steps up, the last of steps down."""
        found = room(self.spec, self.index, self.increments(steps)).thresholds
        return self._ends(found.astype(np.int64))

    def edges(self, steps: np.ndarray) -> np.ndarray:
        """Half-widths of the knife edge around these thresholds of the reference."""
        from qreference import edge

        found = aim.reference(self.spec, self.index, self.increments(steps)).thresholds
        return self._ends(edge(self.spec, found))

    def falling(self) -> np.ndarray:
        """Whether the threshold falls as the step grows."""
        near, far = np.float32(aim.SMALLEST), np.float32(aim.reach(self.spec))
        count = self.index.size
        return self.thresholds(np.full(count, near)) > self.thresholds(np.full(count, far))

    def _ends(self, columns: np.ndarray) -> np.ndarray:
        return np.where(self.sign > 0, columns[:, 0], columns[:, -1])


def asked(spec: Spec, count: int) -> Asked:
    """Elements next to the lower end, or at it if there are two levels only."""
    inner = spec.lattice.size > 2
    sign = np.ones(count, np.float32)
    if inner:
        sign[1::2] = -1
    return Asked(spec, np.full(count, int(inner), np.int64), sign)


def specs(stem: str) -> list[Spec]:
    """A packed lattice, and one of int8 codes with larger knobs: up to certainty."""
    return [spec_class(stem)(Lattice.ternary()), aim.turned(stem, Lattice.z(2), 1)]


def bisect(kernel: Kernel, count: int, draw: Draw) -> Bracket:
    """The bracket of every element."""
    elements = asked(draw.spec, count)
    falling, most = elements.falling(), aim.reach(draw.spec)
    middle = elements.increments(np.full(count, np.float32(0.5)))
    places = aim.reference(draw.spec, elements.index, middle).destinations

    def passed(steps: np.ndarray) -> np.ndarray:
        after = kernel(elements.index, elements.increments(steps), draw)
        below = np.where(elements.sign > 0, after == places[:, 0], after != places[:, -1])
        return below ^ falling

    return Bracket(*aim.bisect(count, most, passed))


def library_room(library: ctypes.CDLL) -> Room:
    """The outcomes that a CPU library says it uses."""

    def room(spec: Spec, index: np.ndarray, increments: np.ndarray) -> Outcomes:
        codes = (index - spec.lattice.centre).astype(np.int8)
        return native.outcomes(library, launch(spec, 0), codes, increments)

    return room


def claim(name: str, kernel: Kernel, spec: Spec, *, seed: int, own: Room | None = None) -> Claim:
    """Every recovered bracket contains the word that the generator gives the element.

    A bracket runs from one threshold to the next, the reference's, widened by the knife edge
    where the algorithm has one. With `own` the kernel's own thresholds are held to that edge, and
    the word has to lie between them, without any widening. A word beyond the threshold of every
    step (as one in 200 of DST's with m = 3) is held to that.
    """
    from qreference import philox

    wrong, widths, beyond, elements = 0, [], 0, asked(spec, COUNT)
    for iteration, tensor in PLACES:
        found = bisect(kernel, COUNT, Draw(spec, seed, iteration, tensor))
        words = philox.words(seed, iteration, tensor, Stream.MOVE, COUNT).astype(np.int64)
        low, high = limits(elements, found)
        edges = _ordered(elements, found, *(elements.edges(end) for end in found), 0, 0)
        bad = (words < low - edges[0]) | (words >= high + edges[1])
        if own is not None:
            ours = limits(elements, found, own)
            bad |= (words < ours[0]) | (words >= ours[1])
            for mine, end, edge in zip(ours, (low, high), edges, strict=True):
                bad |= np.abs(mine - end) > edge
            low, high = ours
        wrong += int(bad.sum())
        reached = (found.left > aim.SMALLEST) & (found.right < aim.reach(spec))
        beyond += int((~reached).sum())
        widths.append((high - low)[reached])
    width = np.concatenate(widths)
    detail = f"{aim.launches(aim.reach(spec))} launches; brackets of {int(np.median(width))} "
    detail += f"in 2**32, at most {width.max()}; {beyond} words beyond all thresholds"
    return Claim(name, "exact", COUNT * len(PLACES), wrong, 0.0, detail=detail)


def limits(
    elements: Asked, found: Bracket, room: Room = aim.reference
) -> tuple[np.ndarray, np.ndarray]:
    """First and last but one of the words in a bracket, int64, where a room puts its ends."""
    return _ordered(elements, found, *(elements.thresholds(end, room) for end in found), 0, 2**32)


def _ordered(
    elements: Asked, found: Bracket, left: np.ndarray, right: np.ndarray, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """What belongs to the lower and to the upper end; first and last where no step reached it."""
    falling = elements.falling()
    none_left = found.left == np.float32(aim.SMALLEST)
    none_right = found.right == np.float32(aim.reach(elements.spec))
    below, above = (
        np.where(falling, none_right, none_left),
        np.where(falling, none_left, none_right),
    )
    low, high = np.where(falling, right, left), np.where(falling, left, right)
    return np.where(below, first, low), np.where(above, last, high)
