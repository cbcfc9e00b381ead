"""Straight-through estimators as smoothing noises, and what is none."""

# sympy has few types.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import sympy

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.noise import Cauchy, Gaussian, Logistic, Points, Smoothing, Triangular, Uniform
from qtheory.stairs import symbolic
from qtheory.stairs.smoothing import expectation, slope, slope_in_mean, slope_in_scale
from qtheory.stairs.stair import Stair
from qtheory.stairs.surrogates import OTHERS, VARIANTS, Variant, identity_as_limit, mass_up_to
from qtheory.stairs.symbolic import X, evaluated

TEST = "tests/theory/stairs/test_surrogates.py"
UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.25, 0.5))
FAMILIES: tuple[tuple[str, Smoothing], ...] = (
    ("uniform", Uniform(0.71875)),
    ("triangular", Triangular(0.71875)),
    ("normal", Gaussian(0.71875)),
    ("logistic", Logistic(0.71875)),
    ("cauchy", Cauchy(0.71875)),
)
IDENTITY, RELU, SWISH = OTHERS
Formulas: TypeAlias = Callable[[Stair, str], sympy.Expr]
Numeric: TypeAlias = Callable[[Stair, Smoothing, Points, float], Points]
COUNTED = "an integral done by sympy, exactly"


def differences() -> Values:
    """Slope less surrogate, simplified by sympy, for every variant."""
    return tuple(float(variant.difference()) for variant in VARIANTS)


def masses() -> Values:
    """The integral of each surrogate over the height of its step."""
    return tuple(float(variant.mass()) / variant.height for variant in VARIANTS)


def open_masses() -> Values:
    """Integrals of the ReLU's, then the identity's surrogate from -r to r, r = 1, 10, 100."""
    return tuple(mass_up_to(variant, r) for variant in (RELU, IDENTITY) for r in (1, 10, 100))


def limits() -> Values:
    """2 a times the slope under uniform noise of half width a, at 0 and 5, for a = 1, 10, 100."""
    scaled = [identity_as_limit(sympy.Integer(a)) for a in (1, 10, 100)]
    return tuple(float(sympy.N(s.subs(X, x))) for s in scaled for x in (0, 5))


def swish() -> Values:
    """Mass of the sign swish's surrogate, its zero, and its least value."""
    x = np.linspace(0.0, 12.0, 12_001)
    values = SWISH.at(x)
    zero = sympy.nsolve(SWISH.surrogate, X, 2.5)  # pyright: ignore
    return float(SWISH.mass()), float(zero), float(values.min())  # pyright: ignore


def formulas() -> Values:
    """Largest difference of NumPy and formula: expectation and its three derivatives, five laws,
    33 points, mean -1/4, scale 23/32."""
    x = (np.arange(33) - 16) / 8

    pairs = (
        (symbolic.expectation, expectation),
        (symbolic.slope, slope),
        (symbolic.slope_in_mean, slope_in_mean),
        (symbolic.slope_in_scale, slope_in_scale),
    )

    def error(formula: Formulas, numeric: Numeric, name: str, noise: Smoothing) -> float:
        right = evaluated(formula(UNEVEN, name), x, -0.25, 0.71875)
        return float(np.abs(numeric(UNEVEN, noise, x, -0.25) - right).max())

    return tuple(largest(error(f, g, *family) for family in FAMILIES) for f, g in pairs)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="dictionary-slopes",
        statement="Slope of a step under a noise less the surrogate derivative: clipped identity "
        "and uniform 1, approximate sign and triangular 1, tanh and logistic 1/2, sigmoid and "
        "logistic 1, erf and normal 1/sqrt 2, clipped ReLU and uniform 1/2 of mean 1/2, "
        "arctangent and Cauchy 1, square root and Student 2 degrees 1/sqrt 2",
        code=Variant.difference,
        test=f"{TEST}::test_a_smoothed_step_has_the_surrogate_for_its_slope",
        printed="0 each (derived; which paper has which pair is not verified)",
        number="ours",
        expected=(0.0,) * len(VARIANTS),
        tolerance=0.0,
        why="simplified to 0 by sympy",
        run=differences,
    ),
    Claim(
        id="dictionary-mass",
        statement="The mass of each surrogate is the height of its step: their quotient",
        code=Variant.mass,
        test=f"{TEST}::test_a_smoothed_step_has_the_surrogate_for_its_slope",
        printed="1 each",
        number="ours",
        expected=(1.0,) * len(VARIANTS),
        tolerance=0.0,
        why=COUNTED,
        run=masses,
    ),
    Claim(
        id="dictionary-open",
        statement="The one-sided window 1(x > 0) of the ReLU has infinite mass, so no smoothed "
        "step has it for its derivative; nor the identity: mass within r = 1, 10, 100",
        code=mass_up_to,
        test=f"{TEST}::test_an_open_window_has_infinite_mass",
        printed="r; 2 r",
        number="ours",
        expected=(1.0, 10.0, 100.0, 2.0, 20.0, 200.0),
        tolerance=0.0,
        why=COUNTED,
        run=open_masses,
        printed_of="1, 10, 100, 2, 20, 200",
    ),
    Claim(
        id="dictionary-limit",
        statement="but the identity is a limit: 2 a times the slope under uniform noise of half "
        "width a is 1 on [-a, a): at x = 0 and 5, a = 1, 10, 100",
        code=identity_as_limit,
        test=f"{TEST}::test_the_identity_is_a_limit_whose_mass_grows",
        printed="1, 0, then 1",
        number="ours",
        expected=(1.0, 0.0, 1.0, 1.0, 1.0, 1.0),
        tolerance=0.0,
        why="whole numbers",
        run=limits,
    ),
    Claim(
        id="dictionary-negative",
        statement="A surrogate of the right mass may be none either: the sign swish, d/dx of "
        "2 σ(x) (1 + x (1 - σ(x))) - 1, is negative where abs(x) is above a bound: mass, it, least "
        "value",
        code=Variant.at,
        test=f"{TEST}::test_the_sign_swish_has_the_mass_and_is_negative",
        printed="2, 2.39936, -0.07383 (ours)",
        number="ours",
        expected=(2.0, 2.39936, -0.07383),
        tolerance=5e-6,
        why="half a unit of the fifth decimal; the least of points 1e-3 apart is within 1e-7",
        run=swish,
    ),
    Claim(
        id="dictionary-formulas",
        statement="Formulas derived by sympy from the distribution functions, and NumPy: largest "
        "difference for expectation, slope, and derivatives in mean and scale",
        code=symbolic.expectation,
        test="tests/theory/stairs/test_symbolic.py::test_numpy_evaluates_the_formula",
        printed="0",
        number="ours",
        expected=(0.0,) * 4,
        tolerance=2.0**-44,
        why="numbers below 40 of three thresholds, u rounded three times: 2^-51 relative; sums and "
        "products add 2^-50",
        run=formulas,
    ),
)
