"""The convex theorems of [li2017, Sec. 4]: bounds, as quoted from memory and as they can be proved.

F is convex on a set of diameter D in d dimensions, w* its minimiser, g a stochastic gradient with
E |g|**2 <= G**2, s the spacing, T the number of iterations. Bounds are on E F(average) - F(w*):

    Theorem 1, SR, strongly convex (mu), rate 1 / (mu (t + 1)):
        (1 + log(T + 1)) G**2 / (2 mu T) + sqrt(d) s G / 2
    Theorem 2, SR, convex, rate c / sqrt(t):
        D**2 / (2 c sqrt T) + c G**2 / sqrt T + sqrt(d) s G / 2
    Theorem 3, BC, gradient Lipschitz with constant L, rate c / sqrt(t):
        D**2 / (2 c sqrt T) + c G**2 / sqrt T + sqrt(d) s L D / 2
    Theorem 4, BC with Q_s, strongly convex, Hessian Lipschitz with constant L_2:
        (1 + log(T + 1)) G**2 / (2 mu T) + D L_2 d s**2 / 8

These stand on their own proofs. As quoted, the middle terms of Theorems 2 and 3 are half as large,
sqrt(T + 1) c G**2 / (2 T), the floor of Theorem 3 is sqrt(d) s L D and that of Theorem 4, which is
also said to cover Q_d, is D L_2 sqrt(d) s / 2; `quoted=True` gives those.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from qpapers.extremes import least
from qpapers.li2017.simulate import Rates
from qtheory.arrays import Pmf
from qtheory.increments import FiniteIncrements
from qtheory.lattice import Lattice


class Bound(NamedTuple):
    """optimisation: falls with the iterations. floor: does not. Both in units of F."""

    optimisation: float
    floor: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.optimisation + self.floor


class Setting(NamedTuple):
    """What the theorems speak of: constants of F, the lattice's spacing, the number of iterations.

    rate_constant: c of the rates c / sqrt(t). Units: F per weight unit for the gradient bound G,
    F per squared weight unit for the curvatures mu and L, per cubed for L_2.
    """

    iterations: int
    spacing: float
    gradient_bound: float
    dimensions: int = 1
    strong_convexity: float = 0.0
    smoothness: float = 0.0
    hessian_lipschitz: float = 0.0
    diameter: float = 0.0
    rate_constant: float = 1.0


def strongly_convex_rates(strong_convexity: float, iterations: int) -> Rates:
    """1 / (mu (t + 1)), t = 1..T."""
    return 1.0 / (strong_convexity * np.arange(2.0, iterations + 2.0))


def convex_rates(constant: float, iterations: int) -> Rates:
    """c / sqrt(t), t = 1..T."""
    return constant / np.sqrt(np.arange(1.0, iterations + 1.0))


def theorem_1(at: Setting) -> Bound:
    """SR, strongly convex [li2017, Theorem 1].

    >>> bound = theorem_1(Setting(100_000, 1.0, 1.01, strong_convexity=0.01))
    >>> round(bound.floor, 3)
    0.505
    """
    return Bound(_strongly_convex(at), 0.5 * _root(at) * at.spacing * at.gradient_bound)


def theorem_2(at: Setting, *, quoted: bool = False) -> Bound:
    """SR, convex [li2017, Theorem 2].

    >>> at = Setting(40_000, 1e-3, 1.0, diameter=1.0, rate_constant=3.0)
    >>> round(theorem_2(at).total, 5), round(theorem_2(at, quoted=True).total, 5)
    (0.01633, 0.00967)
    """
    floor = 0.5 * _root(at) * at.spacing * at.gradient_bound
    return Bound(_convex(at, quoted=quoted), floor)


def theorem_3(at: Setting, *, quoted: bool = False) -> Bound:
    """BC, convex with Lipschitz gradient [li2017, Theorem 3]."""
    floor = _root(at) * at.spacing * at.smoothness * at.diameter
    return Bound(_convex(at, quoted=quoted), floor if quoted else 0.5 * floor)


def theorem_4(at: Setting, *, quoted: bool = False) -> Bound:
    """BC with Q_s, strongly convex with Lipschitz Hessian [li2017, Theorem 4, Corollary 1].

    The proved floor is below the quoted one iff sqrt(d) s < 4.

    >>> at = Setting(200_000, 100.0, 43.31, strong_convexity=0.366, hessian_lipschitz=0.01,
    ...     diameter=100.0)
    >>> theorem_4(at).floor, theorem_4(at, quoted=True).floor
    (1250.0, 50.0)
    """
    scale = at.diameter * at.hessian_lipschitz
    if quoted:
        return Bound(_strongly_convex(at), scale * _root(at) * at.spacing / 2)
    return Bound(_strongly_convex(at), scale * at.dimensions * at.spacing**2 / 8)


def _root(at: Setting) -> float:
    return math.sqrt(at.dimensions)


def _strongly_convex(at: Setting) -> float:
    growth = 1.0 + math.log(at.iterations + 1)
    return growth * at.gradient_bound**2 / (2 * at.strong_convexity * at.iterations)


def _convex(at: Setting, *, quoted: bool) -> float:
    c, total = at.rate_constant, at.iterations
    start = at.diameter**2 / (c * math.sqrt(total))
    if quoted:
        return start + math.sqrt(total + 1) / (2 * total) * c * at.gradient_bound**2
    return 0.5 * start + c * at.gradient_bound**2 / math.sqrt(total)


# Exact runs, for what no simulation has the digits


class TwoLevels(NamedTuple):
    """A weight that hops between the levels 0 and s: exact moments of a run.

    law: probability of the upper level at each iteration t = 1..T. mean, second: E and E square of
    its average over the iterations.
    """

    law: Rates
    mean: float
    second: float


def two_levels(up: Rates, down: Rates) -> TwoLevels:
    """Moments of X_1..X_T in {0, 1}, X_1 = 0, moving up and down with the probabilities given.

    With S_t = X_1 + ... + X_t: E[S_t X_(t+1)] = up E S_t + (1 - up - down) E[S_t X_t], and
    E S_(t+1)**2 = E S_t**2 + 2 E[S_t X_(t+1)] + P(X_(t+1) = 1).

    >>> two_levels(np.full(3, 0.5), np.full(3, 0.5)).law.tolist()
    [0.0, 0.5, 0.5]
    """
    p = first = second = joint = 0.0
    law = np.empty(len(up))
    for t in range(len(up)):
        law[t] = p
        first += p
        here = joint + p  # E[S_t X_t]
        second += 2 * joint + p
        joint = up[t] * first + (1.0 - up[t] - down[t]) * here
        p = up[t] + (1.0 - up[t] - down[t]) * p
    return TwoLevels(law, first / len(up), second / len(up) ** 2)


def constant_gradient_means(
    lattice: Lattice, start: int, gradient: FiniteIncrements, learning_rates: Rates
) -> Rates:
    """E w_t, t = 1..T, of stochastic rounding whose gradient has the same law at every level.

    The law on the levels is moved once for each value of the gradient, exactly.
    Raises ValueError if the start is no level.

    >>> coin = FiniteIncrements(np.array([-1.0, 1.0]), np.array([0.5, 0.5]))
    >>> constant_gradient_means(Lattice.ternary(), 0, coin, np.full(3, 0.5)).tolist()
    [-1.0, -0.75, -0.5625]
    """
    if not 0 <= start < lattice.size:
        raise ValueError(f"an index is in 0..{lattice.size - 1}, got {start}")
    law = np.zeros(lattice.size)
    law[start] = 1.0
    means = np.empty(len(learning_rates))
    for t, rate in enumerate(learning_rates):
        means[t] = law @ lattice.levels
        moves = -rate / lattice.spacing * gradient.values
        law = sum(
            (p * _moved(law, x) for x, p in zip(moves, gradient.probabilities, strict=True)),
            np.zeros(lattice.size),
        )
    return means


def _moved(law: Pmf, move: float) -> Pmf:
    """The law after an unbiased move of so many levels, stopped at the ends."""
    whole = math.floor(move)
    fraction = move - whole
    return (1.0 - fraction) * _shifted(law, whole) + fraction * _shifted(law, whole + 1)


def _shifted(law: Pmf, levels: int) -> Pmf:
    if levels < 0:
        return _shifted(law[::-1], -levels)[::-1]
    k = least((levels, len(law) - 1))
    after = np.concatenate([np.zeros(k), law[: len(law) - k]])
    after[-1] += law[len(law) - k :].sum()
    return after


def interpolated_minimiser(derivative: Callable[[float], float], low: float, high: float) -> float:
    """Where BC with Q_s ends on the two levels low and high, in one dimension.

    BC with Q_s sees, on average, the straight line through the derivatives at the levels around
    r; r tends to its zero. Raises ValueError unless the derivative is negative at low and positive
    at high.

    >>> interpolated_minimiser(lambda w: w - 0.25, 0.0, 1.0)
    0.25
    """
    a, b = derivative(low), derivative(high)
    if not a < 0 < b:
        raise ValueError(f"the derivative changes sign between the levels, got {a} and {b}")
    return low + (high - low) * a / (a - b)
