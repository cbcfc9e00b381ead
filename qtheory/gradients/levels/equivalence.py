"""When a surrogate derivative is only another learning rate [schoenbauer2024].

A weight w is seen through a quantiser whose cells have length D, with thresholds b + k D, and is
moved by w <- w - r g(Q(w)) S(w), S > 0 the surrogate derivative, with the same shape in every cell.
With

    alpha = D / int over a cell of ds / S(s),    M(w) = b + alpha int_b^w ds / S(s),

M maps every cell onto itself, so Q(M(w)) = Q(w), and M'(w) = alpha / S(w). In the limit of small
rates, time t = r n,

    dw/dt = -S(w) g(Q(w))   gives   dM(w)/dt = -alpha g(Q(M(w))):

u = M(w) follows plain straight-through descent with rate alpha r, begun at M(w_0), exactly between
thresholds, for each weight by itself whatever g couples. A step of length r departs from that by
O(r**2), so after O(1 / r) iterations the two differ by O(r). A weight that stays at a threshold
passes it in shares that S on both sides weighs, so there S must be continuous: with a jump of S the
shares and the mean level are others, and the two part for good. (That O(r) outlasts thresholds
where S is continuous is checked, not proved.) alpha is the harmonic mean of S over a cell; noise
gives S the mean 1, so alpha <= 1, with equality only if S = 1.

For additive noise S is the slope of the smoothed stair of all multiples of D. Its condition S > 0
fails for noise without reach: uniform noise needs a half width of D / 2 at least, triangular noise
more than D / 2 (at D / 2 it is 0 at the levels, where 1 / S has no integral). Normal, logistic,
Student-t and Cauchy noise are admissible at every scale. In closed form, with x = (w - b) / D
(in [0, 1] for the arctangent),

    S = 1 + c cos(2 pi x)   alpha = sqrt(1 - c**2),  M = b + D atan2(k sin(pi x), cos(pi x)) / pi,
                            k = sqrt((1 - c) / (1 + c)),
    Cauchy, scale s D       alpha = tanh(2 pi s),    M = w - D sin(2 pi x) / (2 pi cosh(2 pi s)).

Adam [kingma2015] divides an average of g S by the root of one of (g S)**2. Over the memory
1 / (1 - beta2) of the averages S changes by O(r / (1 - beta2)) and cancels: the descent is that of
Adam without S, with the same start and rate, if r is small against 1 - beta2.

A stair with finitely many levels has cells of another shape at its ends: `rates_of_cells`.
The argument is ours; we know the paper's theorem from descriptions, not from the print.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.gradients.coarse.formulas import between
from qtheory.gradients.levels.descent import Quadratic, Weights
from qtheory.noise import (
    Cauchy,
    Points,
    Smoothing,
    StudentT,
    Triangular,
    Uniform,
    scale_of,
)
from qtheory.noise.families import check_positive
from qtheory.optimisers import Adam, adam_increment
from qtheory.stairs.smoothing import ripple, ripple_by_poisson, slope
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

PANELS, NODES = 64, 10

Slope: TypeAlias = Callable[[Points], Points]
"""The surrogate derivative at a distance from a threshold, both in spacings."""

Rates = Float[ndarray, "cells"]
"""alpha of each bounded cell of a stair."""


def check_admissible(noise: Smoothing, spacing: float = 1.0) -> None:
    """Raise ValueError if the slope of the stair of multiples of a spacing is 0 somewhere.

    >>> check_admissible(Uniform(0.5))
    """
    half = 0.5 * spacing
    dead = isinstance(noise, Uniform) and noise.half_width < half
    dead = dead or (isinstance(noise, Triangular) and noise.half_width <= half)
    if dead:
        raise ValueError(
            "a surrogate derivative is positive: uniform noise has a half width of at least, "
            f"triangular noise of more than half the spacing {spacing}, got {noise}"
        )


def of_noise(noise: Smoothing) -> Slope:
    """The slope of the smoothed stair of all whole numbers: scales are in spacings.

    Direct sums to 40 scales; for the heavy tails of Cauchy and Student-t waves down to exp(-40).
    Raises ValueError as `check_admissible`.

    >>> of_noise(Uniform(0.5))(np.array([0.0, 0.3])).tolist()
    [1.0, 1.0]
    """
    check_admissible(noise)
    s = scale_of(noise)
    if isinstance(noise, Cauchy | StudentT):
        terms = math.ceil(40.0 / (2.0 * math.pi * s))
        return lambda x: ripple_by_poisson(noise, x, terms)
    reach = math.ceil(1.0 + 40.0 * s)
    return lambda x: ripple(noise, x - np.floor(x), reach)


def cosine(depth: float) -> Slope:
    """1 + depth cos(2 pi x). Raises ValueError unless abs(depth) < 1."""
    if not abs(depth) < 1:
        raise ValueError(f"a depth is inside (-1, 1), got {depth}")
    return lambda x: 1.0 + depth * np.cos(2.0 * np.pi * x)


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A surrogate derivative, the same in every cell. slope: S at a distance from a threshold, in
    spacings, with period 1, continuous at 0. breaks: points of [0, 1] between which it is smooth.
    spacing: D. threshold: b, any of the thresholds; D / 2 beside levels at multiples of D.

    Raises ValueError if the slope is not positive at the nodes of its quadrature, or the spacing is
    not. That it is continuous at thresholds is not checked.
    """

    slope: Slope
    spacing: float = 1.0
    threshold: float = 0.5
    breaks: tuple[float, ...] = ()

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        check_positive("a spacing", self.spacing)
        values = self.slope(_nodes(self._edges())[0])
        if not (values > 0).all():
            raise ValueError(
                f"a surrogate derivative is positive in all of a cell, got {float(values.min())}"
            )

    def _edges(self) -> Points:
        return np.union1d(np.linspace(0.0, 1.0, PANELS + 1), np.array(self.breaks))

    @property
    def alpha(self) -> float:
        """The harmonic mean of S over a cell: what the learning rate is multiplied by.

        >>> round(Surrogate(cosine(0.8)).alpha, 12)
        0.6
        """
        x, weights = _nodes(self._edges())
        return 1.0 / float((weights / self.slope(x)).sum())

    def transport(self, w: Points) -> Points:
        """M(w), by quadrature: whole panels, then the part of one that is left.

        >>> level_and_thresholds = np.array([0.0, 0.5, -0.5])
        >>> Surrogate(cosine(0.8)).transport(level_and_thresholds).round(12).tolist()
        [0.0, 0.5, -0.5]
        """
        edges = self._edges()
        x, weights = _nodes(edges)
        whole = np.concatenate([[0.0], (weights / self.slope(x)).sum(axis=1).cumsum()])
        y = (np.asarray(w, dtype=np.float64) - self.threshold) / self.spacing
        cell = np.floor(y)
        inside = y - cell
        panel = np.clip(np.searchsorted(edges, inside, side="right") - 1, 0, edges.size - 2)
        nodes, unit = np.polynomial.legendre.leggauss(NODES)
        half = 0.5 * (inside - edges[panel])[..., None]
        part = (half * unit / self.slope(edges[panel][..., None] + half * (nodes + 1.0))).sum(-1)
        return self.threshold + self.spacing * (cell + (whole[panel] + part) / whole[-1])


def _nodes(edges: Points) -> tuple[Points, Points]:
    """Gauss-Legendre nodes and weights on the panels between edges, shape (panels, nodes)."""
    nodes, weights = between(edges, NODES)
    return nodes.reshape(-1, NODES), weights.reshape(-1, NODES)


def noisy_stair(noise: Smoothing, spacing: float = 1.0) -> Surrogate:
    """The surrogate of the nearest multiple of a spacing under noise, scales in weight units.

    Raises ValueError as `check_admissible`.

    >>> round(noisy_stair(Cauchy(0.1)).alpha, 12) == round(math.tanh(0.2 * math.pi), 12)
    True
    """
    check_positive("a spacing", spacing)
    unit = noise.scaled(1.0 / spacing)
    breaks: tuple[float, ...] = ()
    if isinstance(unit, Uniform | Triangular):
        breaks = tuple(sorted({unit.half_width % 1.0, -unit.half_width % 1.0}))
    return Surrogate(of_noise(unit), spacing, 0.5 * spacing, breaks)


def cosine_transport(depth: float, x: Points) -> Points:
    """M(b + x) - b for 0 <= x <= 1, S = 1 + depth cos(2 pi x), spacing 1: closed form.

    Raises ValueError unless abs(depth) < 1, so that S > 0.

    >>> cosine_transport(0.8, np.array([0.0, 0.5, 1.0])).round(12).tolist()
    [0.0, 0.5, 1.0]
    """
    if not abs(depth) < 1:
        raise ValueError(f"the depth of a positive wave is inside (-1, 1), got {depth}")
    narrow = math.sqrt((1.0 - depth) / (1.0 + depth))
    return np.arctan2(narrow * np.sin(np.pi * x), np.cos(np.pi * x)) / np.pi


def cauchy_transport(scale: float, w: Points) -> Points:
    """M(w) under Cauchy noise, levels at the whole numbers: closed form; x = w - 1/2."""
    waves = np.sin(2.0 * np.pi * (w - 0.5))
    return w - waves / (2.0 * np.pi * math.cosh(2.0 * np.pi * scale))


def rates_of_cells(stair: Stair, noise: Smoothing) -> Rates:
    """alpha of each bounded cell of a stair: its length over the integral of 1 / slope.

    The end cells are unbounded and have none. With unequal rates no single learning rate does.

    >>> from qtheory.noise import Gaussian
    >>> rates_of_cells(Stair.whole(3, signed=True), Gaussian(0.5)).round(3).tolist()
    [0.977, 1.0, 1.0, 1.0, 1.0, 0.977]
    """

    def rate(low: float, high: float) -> float:
        x, weights = _nodes(np.linspace(low, high, PANELS + 1))
        return (high - low) / float((weights / slope(stair, noise, x)).sum())

    return np.array([rate(a, b) for a, b in pairwise(stair.thresholds)])


def surrogate_descent(
    problem: Quadratic, surrogate: Surrogate, start: Weights, learning_rate: float, iterations: int
) -> Weights:
    """The latent after w <- w - r A (Q(w) - w*) S(w)."""
    w = start
    for _ in range(iterations):
        at = (w - surrogate.threshold) / surrogate.spacing
        w = w - learning_rate * problem.gradient(w) * surrogate.slope(at)
    return w


def plain_descent(
    problem: Quadratic, start: Weights, learning_rate: float, iterations: int
) -> Weights:
    """The latent after w <- w - r A (Q(w) - w*)."""
    w = start
    for _ in range(iterations):
        w = w - learning_rate * problem.gradient(w)
    return w


def gap(
    problem: Quadratic, surrogate: Surrogate, start: Weights, learning_rate: float, time: float
) -> float:
    """The largest abs(M(w_n) - u_n) over the weights, n = time / r, u the plain descent with rate
    alpha r from M(w_0); weight units. Raises ValueError unless the learning rate is positive."""
    check_positive("a learning rate", learning_rate)
    n = round(time / learning_rate)
    w = surrogate_descent(problem, surrogate, start, learning_rate, n)
    u = plain_descent(problem, surrogate.transport(start), surrogate.alpha * learning_rate, n)
    return float(np.abs(surrogate.transport(w) - u).max())


def adam_descent(
    problem: Quadratic,
    surrogate: Surrogate | None,
    start: Weights,
    optimiser: Adam,
    iterations: int,
) -> Weights:
    """The latent after Adam [kingma2015, Algorithm 1] on A (Q(w) - w*) S(w), S = 1 for None."""
    w, first, second = start, np.zeros_like(start), np.zeros_like(start)
    for n in range(1, iterations + 1):
        g = problem.gradient(w)
        if surrogate is not None:
            g = g * surrogate.slope((w - surrogate.threshold) / surrogate.spacing)
        w = w + adam_increment(optimiser, first, second, g, n)
    return w
