"""Stairs under noise as formulas: the symbolic twin of `qtheory.stairs.smoothing`.

A law of noise is given by its distribution function F(u) at unit scale. All else is derived from
it by sympy, with u_i = (x - mean - t_i) / scale:

    density        f = F'
    expectation    q_0 + sum_i d_i F(u_i)
    slope          its derivative in x; likewise in the mean and in the scale

so that the formulas that NumPy evaluates can be held to derivatives nobody wrote by hand.
"""

# sympy has few types.
# pyright: basic

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import numpy as np
import sympy

from qtheory.noise import Points
from qtheory.stairs.stair import Stair

Formula: TypeAlias = sympy.Expr

U, X, MEAN = sympy.symbols("u x mu", real=True)
SCALE = sympy.Symbol("s", positive=True)

_HALF = sympy.Rational(1, 2)
_DISTRIBUTIONS: dict[str, Formula] = {
    "uniform": sympy.Piecewise((0, U < -1), (1, U >= 1), ((1 + U) / 2, True)),
    "triangular": sympy.Piecewise(
        (0, U < -1), ((1 + U) ** 2 / 2, U < 0), (1 - (1 - U) ** 2 / 2, U < 1), (1, True)
    ),
    "normal": _HALF * (1 + sympy.erf(U / sympy.sqrt(2))),
    "logistic": 1 / (1 + sympy.exp(-U)),
    "cauchy": _HALF + sympy.atan(U) / sympy.pi,
    "student2": _HALF + U / (2 * sympy.sqrt(2 + U**2)),
}
FAMILIES = tuple(_DISTRIBUTIONS)
"""Names of the laws; student2 is Student's t with 2 degrees of freedom."""


def distribution(family: str) -> Formula:
    """F(u) at unit scale. Raises ValueError if the family is not known.

    >>> distribution("logistic")
    1/(1 + exp(-u))
    """
    if family not in _DISTRIBUTIONS:
        raise ValueError(f"a family is one of {', '.join(FAMILIES)}, got {family!r}")
    return _DISTRIBUTIONS[family]


def density(family: str) -> Formula:
    """f(u) = F'(u) at unit scale; at the ends of a bounded law, the derivative from the right.

    >>> density("cauchy")
    1/(pi*(u**2 + 1))
    >>> [density("uniform").subs(U, end) for end in (-1, 1)]
    [1/2, 0]
    """
    return sympy.diff(distribution(family), U)


def expectation(stair: Stair, family: str) -> Formula:
    """E q(x - mean - scale e) as a formula in x, mu and s.

    >>> expectation(Stair.step(), "logistic")
    1/(1 + exp(-(-mu + x)/s))
    """
    levels = [sympy.nsimplify(level) for level in stair.levels]
    thresholds = [sympy.nsimplify(t) for t in stair.thresholds]
    terms = [
        (above - below) * distribution(family).subs(U, (X - MEAN - t) / SCALE)
        for (below, above), t in zip(pairwise(levels), thresholds, strict=True)
    ]
    return sympy.Add(levels[0], *terms)


def slope(stair: Stair, family: str) -> Formula:
    """d/dx of the expectation."""
    return sympy.diff(expectation(stair, family), X)


def slope_in_mean(stair: Stair, family: str) -> Formula:
    """d/dmean of the expectation."""
    return sympy.diff(expectation(stair, family), MEAN)


def slope_in_scale(stair: Stair, family: str) -> Formula:
    """d/dscale of the expectation.

    >>> sympy.simplify(slope_in_scale(Stair.step(), "cauchy"))
    (mu - x)/(pi*(s**2 + (mu - x)**2))
    """
    return sympy.diff(expectation(stair, family), SCALE)


def evaluated(formula: Formula, x: Points, mean: float, scale: float) -> Points:
    """Values of a formula at points, worked out in 30 digits from the numbers as they are.

    >>> evaluated(slope(Stair.step(), "cauchy"), np.zeros(1), 0.0, 1.0).round(6).tolist()
    [0.31831]
    """
    fixed = formula.subs([(MEAN, sympy.Rational(mean)), (SCALE, sympy.Rational(scale))])
    values = [sympy.N(fixed.subs(X, sympy.Rational(float(p))), 30) for p in np.ravel(x)]
    return np.array([float(value) for value in values]).reshape(np.shape(x))


def ripple(family: str) -> Formula:
    """Characteristic function E cos(w e) at w = 2 pi j s: the j-th wave of the slope of the stair
    with thresholds at all integers is twice that times cos(2 pi j x). A formula in s and j.

    Known characteristic functions, which the tests integrate; Student's is refused.

    >>> ripple("uniform")
    sin(2*pi*j*s)/(2*pi*j*s)
    """
    j = sympy.Symbol("j", positive=True, integer=True)
    w = 2 * sympy.pi * j * SCALE
    closed = {
        "uniform": sympy.sin(w) / w,
        "triangular": 2 * (1 - sympy.cos(w)) / w**2,
        "normal": sympy.exp(-(w**2) / 2),
        "logistic": sympy.pi * w / sympy.sinh(sympy.pi * w),
        "cauchy": sympy.exp(-w),
    }
    if family not in closed:
        raise ValueError(f"a wave has a closed form for {', '.join(closed)}, got {family!r}")
    return closed[family]
