"""One categorical unit: straight-through of first and of second order [liu2023] [bengio2013].

A draw D is one of the K corners of the simplex (one-hot), with probabilities p = softmax(a).
J(q) = diag(q) - q q' is the derivative of softmax where it is q. For an objective l of D,

    gradient          dE l / da = J(p) (l(e_1), ..., l(e_K))
    straight-through  J(p) l'(D)
    ReinMax           (2 J(r) - J(p) / 2) l'(D), r = (p + D) / 2
    score             (l(D) - baseline) (D - p)

The mean of straight-through is the gradient for linear l, that of ReinMax for quadratic l too. The
formula of ReinMax is from memory, its exactness derived here: with d = D - p it is
(J(p) + d d') l'(D) / 2, for J(D) = 0. A quadratic has l(D) - l(p) = d (l'(D) + l'(p)) / 2, so
dE l / da = E[d l(D)] = (E[d d' l'(D)] + J(p) l'(p)) / 2, and l'(p) = E l'(D).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.noise import Points
from qtheory.values import own_arrays, rebuilt

Logits = Float[ndarray, "categories"]
"""One real number for each category."""

PerDraw = Float[ndarray, "draws categories"]
"""A point of the simplex, or one number for each category, at each draw."""

Losses = Float[ndarray, "draws"]
"""One number for each draw."""

AnyLogits = Float[ndarray, "_"]
AnyTable = Float[ndarray, "_ _"]
"""Shapes that are checked by whoever takes them."""

Table = Float[ndarray, "categories categories"]
"""A matrix with a row and a column for each category."""


@dataclass(frozen=True, slots=True, eq=False)
class Simplex:
    """l(z) = linear z + z quadratic z / 2 + sum_i cubic_i z_i**3 / 3 for z in the simplex.

    Raises ValueError unless there are at least two categories, the quadratic part is symmetric,
    shapes agree and all is finite.
    """

    linear: Logits
    quadratic: AnyTable
    cubic: AnyLogits

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        k = len(self.linear)
        if k < 2 or self.quadratic.shape != (k, k) or self.cubic.shape != (k,):
            raise ValueError(
                "an objective has K >= 2 linear, K x K quadratic and K cubic coefficients, got "
                f"{self.linear.shape}, {self.quadratic.shape}, {self.cubic.shape}"
            )
        if not all(np.isfinite(c).all() for c in (self.linear, self.quadratic, self.cubic)):
            raise ValueError(f"an objective has finite coefficients, got {self}")
        if not np.array_equal(self.quadratic, self.quadratic.T):
            raise ValueError(f"a quadratic part is symmetric, got {self.quadratic}")

    def value(self, z: PerDraw) -> Losses:
        """l at each row."""
        square = 0.5 * ((z @ self.quadratic) * z).sum(axis=1)
        return z @ self.linear + square + z**3 @ self.cubic / 3.0

    def gradient(self, z: PerDraw) -> PerDraw:
        """l' at each row."""
        return self.linear + z @ self.quadratic + self.cubic * z**2


def jacobian(q: Logits) -> Table:
    """J(q) = diag(q) - q q'.

    >>> jacobian(np.array([0.5, 0.5])).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    return np.diag(q) - np.outer(q, q)


def softmax(a: Points) -> Points:
    """exp(a_i) / sum_j exp(a_j) along the last axis; -inf has probability 0, and not all are.

    >>> softmax(np.array([800.0, 800.0, -np.inf])).tolist()
    [0.5, 0.5, 0.0]
    """
    powers = np.exp(a - a.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def gradient(objective: Simplex, a: Logits) -> Logits:
    """dE l(D) / da."""
    return jacobian(softmax(a)) @ objective.value(np.eye(len(a)))


def straight_through(objective: Simplex, a: Logits) -> PerDraw:
    """J(p) l'(D) for D = e_1, ..., e_K."""
    return objective.gradient(np.eye(len(a))) @ jacobian(softmax(a))


def reinmax(objective: Simplex, a: Logits) -> PerDraw:
    """(2 J((p + D) / 2) - J(p) / 2) l'(D) for D = e_1, ..., e_K.

    >>> square = Simplex(np.zeros(2), np.diag([2.0, 0.0]), np.zeros(2))
    >>> a = np.array([1.0, -1.0])
    >>> bool(np.abs(softmax(a) @ reinmax(square, a) - gradient(square, a)).max() < 1e-15)
    True
    """
    p, draws = softmax(a), np.eye(len(a))
    slopes = objective.gradient(draws)
    rows = [
        (2.0 * jacobian(0.5 * (p + draw)) - 0.5 * jacobian(p)) @ slope
        for draw, slope in zip(draws, slopes, strict=True)
    ]
    return np.stack(rows)


def score(objective: Simplex, a: Logits, baseline: float = 0.0) -> PerDraw:
    """(l(D) - baseline) (D - p) for D = e_1, ..., e_K. Raises ValueError if the baseline is not
    finite."""
    if not np.isfinite(baseline):
        raise ValueError(f"a baseline is finite, got {baseline}")
    draws = np.eye(len(a))
    return (objective.value(draws) - baseline)[:, None] * (draws - softmax(a))
