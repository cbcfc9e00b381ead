"""What the exact law says about the moves of weights, and how near a kernel has to come."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

import numpy as np

from qtheory.algorithms import DST, Spec, stem


class Odds(NamedTuple):
    """Two-point laws: a weight goes to `far` with probability p, else to a level nearer by.

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
    place = np.asarray(index).reshape(-1)
    pmf = law_of(spec)(spec, place, np.asarray(increments, dtype=np.float64).reshape(-1))
    stay = np.take_along_axis(pmf, place[:, None], -1)[:, 0]
    moves = 1.0 - stay
    return float(moves.sum()), float((moves * stay).sum())


def law_of(spec: Spec) -> Callable[..., np.ndarray]:
    """The law of a spec's stem."""
    return import_module(f"qtheory.algorithms.{stem(spec)}").law


def measured(spec: Spec, increments: np.ndarray) -> np.ndarray:
    """Increments as kernels measure them, a float32 quotient times the spacing, in float64."""
    with np.errstate(over="ignore", under="ignore"):
        x = np.asarray(increments, np.float32) / np.float32(spec.lattice.spacing)
    return x.astype(np.float64) * spec.lattice.spacing


def knife_edge(probability: np.ndarray) -> np.ndarray:
    """How far DST's threshold in a kernel may lie from floor(2**32 p) of the plain reference.

    The kernel's tanh is a ratio of polynomials with positive coefficients, within 5e-8 of tanh,
    evaluated in float32 with at most 28 roundings; tests/agreement/test_knife_edge.py derives it.
    """
    rounding = 28 * 2.0**-24 / (1 - 28 * 2.0**-24)
    relative = (1 + rounding) * (1 + 5e-8) - 1
    return np.ceil(2.0**32 * probability * relative + 2.0**-17).astype(np.int64) + 1


def odds(spec: Spec, index: np.ndarray, increments: np.ndarray) -> Odds:
    """The two-point law of every weight, with the knife edge of its algorithm around it."""
    pmf = law_of(spec)(spec, index, measured(spec, increments))
    support = pmf > 0
    distance = np.where(support, np.abs(np.arange(spec.lattice.size) - index[..., None]), -1)
    far = distance.argmax(-1)
    p = np.take_along_axis(pmf, far[..., None], -1)[..., 0]
    certain = support.sum(-1) == 1
    whole = np.floor(p * 2.0**32)
    edge = knife_edge(p) if isinstance(spec, DST) else np.zeros_like(p)
    low = np.where(certain, p, np.clip((whole - edge) / 2.0**32, 0, 1))
    high = np.where(certain, p, np.clip((whole + 1 + edge) / 2.0**32, 0, 1))
    return Odds(far, p, low, high, certain, support)
