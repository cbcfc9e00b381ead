"""Formulas of smoothed stairs: what makes them laws, and equality with what NumPy evaluates."""

import numpy as np
import pytest
import sympy
from scipy.integrate import quad

from qtheory import noise
from qtheory.noise import Cauchy, Gaussian, Logistic, StudentT, Triangular, Uniform
from qtheory.stairs import smoothing, symbolic
from qtheory.stairs.stair import Stair
from qtheory.stairs.symbolic import FAMILIES, SCALE, U

UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.25, 0.5))
NUMERIC = {
    "uniform": Uniform,
    "triangular": Triangular,
    "normal": Gaussian,
    "logistic": Logistic,
    "cauchy": Cauchy,
    "student2": lambda scale: StudentT(2.0, scale),
}
MEAN_HERE, SCALE_HERE = -0.25, 23 / 32
POINTS = (np.arange(81) - 40) / 16  # exact, and off the ends of windows, which are odd 32nds

families = pytest.mark.parametrize("family", FAMILIES)


@families
def test_a_distribution_rises_from_zero_to_one_and_is_symmetric(family):
    f = symbolic.distribution(family)
    bounded = f.has(sympy.Piecewise)
    assert (f.subs(U, -1) if bounded else sympy.limit(f, U, -sympy.oo)) == 0
    assert (f.subs(U, 1) if bounded else sympy.limit(f, U, sympy.oo)) == 1
    for u in (0, sympy.Rational(1, 3), sympy.Rational(5, 7), sympy.Rational(9, 4)):
        assert sympy.simplify(f.subs(U, u) + f.subs(U, -u)) == 1
        assert symbolic.density(family).subs(U, u).evalf() >= 0


@families
@pytest.mark.parametrize(
    ("formula", "numeric"),
    [
        (symbolic.expectation, smoothing.expectation),
        (symbolic.slope, smoothing.slope),
        (symbolic.slope_in_mean, smoothing.slope_in_mean),
        (symbolic.slope_in_scale, smoothing.slope_in_scale),
    ],
)
def test_numpy_evaluates_the_formula(family, formula, numeric):
    """Numbers below 40, of three thresholds: u is rounded three times, relative 2^-51, and
    u f'(u) <= 2 f at this scale; products and sums add 2^-50: below 2^-44 in all."""
    found = numeric(UNEVEN, NUMERIC[family](SCALE_HERE), POINTS, MEAN_HERE)
    right = symbolic.evaluated(formula(UNEVEN, family), POINTS, MEAN_HERE, SCALE_HERE)
    assert np.abs(found - right).max() <= 2.0**-44


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "student2"])
def test_waves_are_integrals_of_the_density(family):
    """QUADPACK's rules for cosines, to infinity where the law goes there: within what they say
    they leave out, which is below 1e-12 of numbers up to 0.6."""
    j = sympy.Symbol("j", positive=True, integer=True)
    closed = float(symbolic.ripple(family).subs([(j, 2), (SCALE, sympy.Rational(1, 5))]))
    assert closed == pytest.approx(
        float(noise.characteristic(NUMERIC[family](0.2), np.array([4 * np.pi]))[0]), abs=1e-14
    )
    density = sympy.lambdify(U, symbolic.density(family), "mpmath")
    end = 1.0 if family in ("uniform", "triangular") else np.inf
    integral, left_out, *_ = quad(
        lambda u: float(2 * density(u)), 0.0, end, weight="cos", wvar=4 * np.pi / 5, epsabs=1e-13
    )
    assert left_out <= 1e-12
    assert abs(integral - closed) <= left_out


def test_a_family_is_one_of_those():
    with pytest.raises(ValueError, match=r"a family is one of uniform, .*, got 'gauss'"):
        symbolic.density("gauss")
    with pytest.raises(ValueError, match=r"a wave has a closed form for .*, got 'student2'"):
        symbolic.ripple("student2")
