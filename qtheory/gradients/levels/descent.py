"""Descent with gradients taken at the nearest levels: w <- w - r grad L(Q(w)).

A potential, for one weight [wenshoj2025]. With L(w) = h (w - w*)**2 / 2 the straight-through
gradient is

    h (q(w) - w*) = d/dw h [(w - w*)**2 / 2 - (w - q(w))**2 / 2]     off thresholds,

the full-precision loss less the squared distance to the nearest level: a push away from it. For a
quadratic loss of several weights, with the Hessian A not diagonal, there is no such potential:
around a rectangle that the threshold of weight 1 cuts, the line integral of A (Q(w) - w*) is
A_12 D times the height of the rectangle, D the spacing.

A bound. Let L have an M-Lipschitz gradient, abs(grad L)**2 >= 2 mu (L - L*), and r <= 1 / M. With
g = grad L(Q(w)), by the descent lemma and <a, b> = (a**2 + b**2 - (a - b)**2) / 2,

    L(w - r g) <= L(w) - r <grad L(w), g> + M r**2 g**2 / 2
               <= L(w) - (r/2) grad L(w)**2 - (r/2) (1 - M r) g**2 + (r/2) M**2 abs(w - Q(w))**2
               <= L(w) - r mu (L(w) - L*) + (r/2) M**2 d D**2 / 4,

as each of d weights is within D / 2 of its level. Summing the geometric series,

    L(w_n) - L* <= (1 - r mu)**n (L(w_0) - L*) + M**2 d D**2 / (8 mu).

The floor is attained in the limit: if A is the identity and targets are just above levels, latents
creep to their thresholds, D / 2 from there, and L - L* comes to d D**2 / 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.noise import Points
from qtheory.noise.families import check_positive
from qtheory.values import own_arrays, rebuilt

Weights = Float[ndarray, "weights"]
"""One number for each weight, in weight units."""

Given = Float[ndarray, "_ _"]
"""Second derivatives of a quadratic loss, whose shape the problem itself checks."""

Excess = Float[ndarray, "iterations"]
"""L(w_n) - L*, one number for each iteration from n = 0."""


def nearest_level(w: Points, spacing: float = 1.0) -> Points:
    """The nearest whole multiple of the spacing; a tie goes up.

    >>> nearest_level(np.array([-0.5, 0.5, 0.75]), 0.5).tolist()
    [-0.5, 0.5, 1.0]
    """
    return spacing * np.floor(w / spacing + 0.5)


def hidden_loss(w: Points, target: float, spacing: float = 1.0) -> Points:
    """(w - w*)**2 / 2 - (w - q(w))**2 / 2: what straight-through descent of one weight descends.

    >>> hidden_loss(np.array([0.25, 0.5]), 0.25).tolist()
    [-0.03125, -0.09375]
    """
    return 0.5 * (w - target) ** 2 - 0.5 * (w - nearest_level(w, spacing)) ** 2


@dataclass(frozen=True, slots=True, eq=False)
class Quadratic:
    """L(w) = (w - w*)' A (w - w*) / 2, weights on the multiples of a spacing.

    hessian: A, symmetric, positive definite. target: w*, finite. spacing: > 0.
    Raises ValueError otherwise, or if shapes differ.
    """

    hessian: Given
    target: Weights
    spacing: float = 1.0

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        check_positive("a spacing", self.spacing)
        if self.hessian.shape != (self.target.size, self.target.size):
            raise ValueError(
                "a Hessian has a row and a column for each weight, got the shape "
                f"{self.hessian.shape} and {self.target.size} weights"
            )
        if not (self.target.size and np.isfinite(self.target).all()):
            raise ValueError(f"targets are finite, one at least, got {self.target.tolist()}")
        symmetric = np.array_equal(self.hessian, self.hessian.T)  # so no entry is a NaN
        if not (symmetric and np.isfinite(self.hessian).all() and self.curvatures[0] > 0):
            raise ValueError(
                f"a Hessian is symmetric and positive definite, got {self.hessian.tolist()}"
            )

    @property
    def curvatures(self) -> tuple[float, float]:
        """mu and M, the least and the largest eigenvalue."""
        values = np.linalg.eigvalsh(self.hessian)
        return float(values[0]), float(values[-1])

    @property
    def floor(self) -> float:
        """M**2 d D**2 / (8 mu).

        >>> Quadratic(np.eye(2), np.zeros(2), 0.5).floor
        0.0625
        """
        mu, most = self.curvatures
        return most**2 * self.target.size * self.spacing**2 / (8.0 * mu)

    def loss(self, w: Weights) -> float:
        """L(w); L* is 0."""
        e = w - self.target
        return float(0.5 * e @ self.hessian @ e)

    def gradient(self, w: Weights) -> Weights:
        """A (Q(w) - w*)."""
        return self.hessian @ (nearest_level(w, self.spacing) - self.target)


def excess(problem: Quadratic, start: Weights, learning_rate: float, iterations: int) -> Excess:
    """L(w_n) - L* of the latent weights, n = 0, ..., iterations."""
    w, found = start, [problem.loss(start)]
    for _ in range(iterations):
        w = w - learning_rate * problem.gradient(w)
        found.append(problem.loss(w))
    return np.array(found)


def bound(problem: Quadratic, start: Weights, learning_rate: float, iterations: int) -> Excess:
    """(1 - r mu)**n (L(w_0) - L*) + M**2 d D**2 / (8 mu).

    Raises ValueError unless 0 < r <= 1 / M.
    """
    mu, most = problem.curvatures
    if not 0 < learning_rate <= 1.0 / most:
        raise ValueError(
            f"the bound holds for learning rates in (0, 1 / M], got {learning_rate} and M = {most}"
        )
    n = np.arange(iterations + 1.0)
    return (1.0 - learning_rate * mu) ** n * problem.loss(start) + problem.floor


def circulation(problem: Quadratic, corner: Weights, sides: tuple[float, float]) -> float:
    """Line integral of A (Q(w) - w*), two weights, counter-clockwise around a rectangle.

    The gradient is constant between thresholds, so midpoints of the pieces are exact.
    """
    (x, y), (width, height) = corner, sides
    around = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
    total = 0.0
    for a, b in pairwise([np.array(point) for point in around]):
        for low, high in pairwise(_cuts(a, b, problem.spacing)):
            middle = a + 0.5 * (low + high) * (b - a)
            total += (high - low) * float(problem.gradient(middle) @ (b - a))
    return total


def _cuts(a: Weights, b: Weights, spacing: float) -> list[float]:
    """Where a segment meets thresholds, as parts of its length, with 0 and 1."""
    axis = int(np.argmax(np.abs(b - a)))
    begin, end = float(a[axis]), float(b[axis])
    low, high = min(begin, end) / spacing, max(begin, end) / spacing
    at = [(k + 0.5) * spacing for k in range(math.floor(low) - 1, math.ceil(high) + 1)]
    parts = [(t - begin) / (end - begin) for t in at]
    return [0.0, *sorted(part for part in parts if 0 < part < 1), 1.0]


def random_quadratic(rng: np.random.Generator, weights: int, condition: float) -> Quadratic:
    """A Hessian with eigenvalues from 1 to the condition number, evenly spaced in logarithm, in a
    random basis; targets normal with std 2, spacing 1."""
    basis = np.linalg.qr(rng.standard_normal((weights, weights)))[0]
    values = np.geomspace(1.0, condition, weights)
    hessian = (basis * values) @ basis.T
    return Quadratic(0.5 * (hessian + hessian.T), 2.0 * rng.standard_normal(weights))
