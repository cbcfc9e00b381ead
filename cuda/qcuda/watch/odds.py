"""What the exact law says about the moves of weights, and how near a kernel has to come."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qtheory.algorithms import Spec

UNSEEN = 2.0**-33  # a probability that rounds to no word at all


class Odds(NamedTuple):
    """One event for each weight: it goes to the level `far`, with probability p.

    A kernel that draws 32-bit words realises an integer multiple of 2**-32 between low and high.
    Where the law leaves no choice, p, low and high are all 1 and `certain` holds.
    """

    far: np.ndarray
    p: np.ndarray
    low: np.ndarray
    high: np.ndarray
    certain: np.ndarray
    support: np.ndarray  # (..., size): which levels are possible at all

    @property
    def width(self) -> np.ndarray:
        """How far a right kernel's probability may lie from p, to either side."""
        return np.maximum(self.high - self.p, self.p - self.low)


def predicted_moves(spec: Spec, index: np.ndarray, increments: np.ndarray) -> tuple[float, float]:
    """Mean and variance of how many weights change level in one step, by the exact law.

    Weight i moves with probability p_i = 1 - law(spec, index_i, increment_i)[index_i],
    independently of the others, so the mean is sum p_i and the variance sum p_i (1 - p_i).

    >>> from qtheory import DST, Lattice
    >>> mean, variance = predicted_moves(DST(Lattice.ternary()), np.array([1, 2]), np.full(2, 0.1))
    >>> round(mean, 6), round(variance, 6)  # the second weight is at the end of its lattice
    (0.291313, 0.20645)
    """
    from qtheory.algorithms import law

    place = np.asarray(index).reshape(-1)
    pmf = law(spec, place, np.asarray(increments, dtype=np.float64).reshape(-1))
    stay = np.take_along_axis(pmf, place[:, None], -1)[:, 0]
    moves = 1.0 - stay
    return float(moves.sum()), float((moves * stay).sum())


def measured(spec: Spec, increments: np.ndarray) -> np.ndarray:
    """Increments as kernels measure them, a float32 quotient times the spacing, in float64."""
    with np.errstate(over="ignore", under="ignore"):
        x = np.asarray(increments, np.float32) / np.float32(spec.lattice.spacing)
    return x.astype(np.float64) * spec.lattice.spacing


def choices(spec: Spec, index: np.ndarray, increments: np.ndarray) -> np.ndarray:
    """How many events of each weight can be judged: the possible levels but one, at least 1."""
    from qtheory.algorithms import law

    pmf = law(spec, index, measured(spec, increments))
    return np.maximum(1, (pmf >= UNSEEN).sum(-1) - 1)


def odds(spec: Spec, index: np.ndarray, increments: np.ndarray, turn: np.ndarray | int = 0) -> Odds:
    """One event of every weight, with the knife edge of its algorithm around its probability.

    Levels are ranked by distance from the index, the farthest first and equals from below, and
    the one whose turn it is, in a cycle of all but the last, is judged: of the two levels of a
    coin always the farther.
    """
    from qtheory.algorithms import law

    pmf = law(spec, index, measured(spec, increments))
    seen = pmf >= UNSEEN
    distance = np.where(seen, np.abs(np.arange(spec.lattice.size) - index[..., None]), -1)
    count = seen.sum(-1)
    certain = count == 1
    order = np.argsort(-distance, axis=-1, kind="stable")
    rank = (np.asarray(turn) % np.maximum(1, count - 1))[..., None]
    far = np.take_along_axis(order, rank, -1)[..., 0]
    p = np.where(certain, 1.0, np.take_along_axis(pmf, far[..., None], -1)[..., 0])
    whole, edge = np.floor(p * 2.0**32), _edge(spec, index, increments, far)
    low = np.where(certain, p, np.clip((whole - edge) / 2.0**32, 0, 1))
    high = np.where(certain, p, np.clip((whole + 1 + edge) / 2.0**32, 0, 1))
    return Odds(far, p, low, high, certain, pmf > 0)


def _edge(spec: Spec, index: np.ndarray, increments: np.ndarray, level: np.ndarray) -> np.ndarray:
    """How far a kernel's share of a level may be off, in words: the edges of its thresholds."""
    from qreference import edge, walker

    thresholds, places = walker.outcomes(spec, index, np.asarray(increments, np.float32))
    there = places == level[..., None]
    return (edge(spec, thresholds) * (there[..., 1:] != there[..., :-1])).sum(-1)
