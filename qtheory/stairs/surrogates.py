"""Straight-through estimators that are smoothing noises, and some that are not.

A variant replaces the derivative of a step of height h at 0 by a surrogate g. It is the slope of
the step under an additive noise if and only if g / h is a density:

    g >= 0    and    the integral of g is h                                   (mass)

and then f = g / h is the density of mean + noise. Some variants are limits of smoothings, c g_a
with c growing (identity); a window that is open to one side has infinite mass for every c, and no
smoothed step has it for its derivative. A surrogate that changes its sign is none either. That
annealed noise contains these variants is said in [spallanzani2022]; the pairs are derived here.

Formulas are sympy's, so that masses are exact. Names are those in use; we have not
verified which paper was the first to use which.
"""

# sympy has few types.
# pyright: basic

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sympy

from qtheory.noise import Points
from qtheory.stairs import symbolic
from qtheory.stairs.stair import Stair
from qtheory.stairs.symbolic import MEAN, SCALE, Formula, U, X


class Smoothed(NamedTuple):
    """The noise behind a variant: family of `closed_forms`, scale and mean, in units of x."""

    family: str
    scale: Formula
    mean: Formula


@dataclass(frozen=True, slots=True)
class Variant:
    """A surrogate for the derivative of a step at 0.

    name: in the field. height: of the step, 1 for Heaviside, 2 for the sign. surrogate: g(x).
    noise: what smooths the step to it, or None.
    """

    name: str
    height: int
    surrogate: Formula
    noise: Smoothed | None = None

    def slope(self) -> Formula:
        """Derivative of the step under the noise. Raises ValueError if there is no noise."""
        if self.noise is None:
            raise ValueError(f"a slope is that of a smoothed step, got {self.name}, which is none")
        step = Stair.step(0.0, float(self.height))
        parts = [(SCALE, self.noise.scale), (MEAN, self.noise.mean)]
        return symbolic.slope(step, self.noise.family).subs(parts)

    def difference(self) -> Formula:
        """The slope less the surrogate, simplified; 0 proves that the noise is behind it.

        Raises ValueError if there is no noise.
        """
        folded = sympy.simplify(sympy.piecewise_fold(self.slope() - self.surrogate))
        return sympy.simplify(sympy.factor(folded, deep=True))  # pyright: ignore[reportReturnType]

    def mass(self) -> Formula:
        """The integral of g over the line; oo if there is none."""
        return sympy.integrate(self.surrogate, (X, -sympy.oo, sympy.oo))

    def at(self, x: Points) -> Points:
        """g at points, in levels per unit of x."""
        return np.asarray(sympy.lambdify(X, self.surrogate, "numpy")(x), dtype=np.float64) + 0 * x


def _window(value: Formula | int, low: float, high: float) -> Formula:
    inside = sympy.And(sympy.Ge(X, sympy.nsimplify(low)), sympy.Lt(X, sympy.nsimplify(high)))
    return sympy.Piecewise((sympy.sympify(value), inside), (0, True))


def _smooth(family: str, scale: Formula | int, mean: Formula | int = 0) -> Smoothed:
    return Smoothed(family, sympy.sympify(scale), sympy.sympify(mean))


_HALF = sympy.Rational(1, 2)
_TENT = sympy.Piecewise((0, X < -1), (2 + 2 * X, X < 0), (2 - 2 * X, X < 1), (0, True))

VARIANTS = (
    Variant("clipped identity", 2, _window(1, -1, 1), _smooth("uniform", 1)),
    Variant("approximate sign", 2, _TENT, _smooth("triangular", 1)),
    Variant("tanh", 2, 1 - sympy.tanh(X) ** 2, _smooth("logistic", _HALF)),
    Variant("sigmoid", 1, sympy.exp(-X) / (1 + sympy.exp(-X)) ** 2, _smooth("logistic", 1)),
    Variant("erf", 2, sympy.diff(sympy.erf(X), X), _smooth("normal", 1 / sympy.sqrt(2))),
    Variant("clipped ReLU", 1, _window(1, 0, 1), _smooth("uniform", _HALF, _HALF)),
    Variant("arctangent", 1, 1 / (sympy.pi * (1 + X**2)), _smooth("cauchy", 1)),
    Variant(
        "square root",
        2,
        (1 + X**2) ** sympy.Rational(-3, 2),
        _smooth("student2", 1 / sympy.sqrt(2)),
    ),
)
"""Smoothed steps."""

_SIGMOID = 1 / (1 + sympy.exp(-X))
SIGN_SWISH = 2 * _SIGMOID * (1 + X * (1 - _SIGMOID)) - 1
"""A smooth sign that overshoots: it falls from -1 to -1.2, rises to 1.2 and falls back to 1."""

OTHERS = (
    Variant("identity", 1, sympy.Integer(1)),
    Variant("ReLU", 1, sympy.Piecewise((0, X <= 0), (1, True))),
    Variant("sign swish", 2, sympy.diff(SIGN_SWISH, X)),
)
"""No smoothed step: infinite mass, infinite mass, negative where abs(x) > 2.4."""


def identity_as_limit(half_width: Formula) -> Formula:
    """2 a times the slope of a unit step under uniform noise of half width a: 1 on [-a, a).

    It tends to the identity as a grows, with the factor: the mass 2 a of it does not stay h.

    >>> identity_as_limit(sympy.Integer(3)).subs(X, 2)
    1
    """
    slope = symbolic.slope(Stair.step(), "uniform")
    return 2 * half_width * slope.subs({SCALE: half_width, MEAN: 0})


def mass_up_to(variant: Variant, reach: float) -> float:
    """The integral of g from -reach to reach."""
    r = sympy.nsimplify(reach)
    return float(sympy.integrate(variant.surrogate, (X, -r, r)))


def shape(family: str) -> Formula:
    """The surrogate of a family at unit scale and height: its density, in x."""
    return symbolic.density(family).subs(U, X)
