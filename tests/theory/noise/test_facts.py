"""Triangular, logistic and Cauchy noise: closed forms by sympy, and facts of every law."""

import math

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from qtheory.noise import (
    EXAMPLES,
    Cauchy,
    Logistic,
    StudentT,
    Triangular,
    Uniform,
    characteristic,
    mean_size,
    peak,
    quantile,
    roughness,
    scale_of,
    std_of,
    with_scale,
)

X, S = sympy.symbols("x s", positive=True)
FAMILIES = {name: with_scale(noise, 1.0) for name, noise in EXAMPLES.items()}
# density, tail, excess right of 0 (within the half width), and where they end
SYMBOLIC = {
    "uniform": (1 / (2 * S), (S - X) / (2 * S), (S - X) ** 2 / (4 * S), S),
    "triangular": (
        (1 - X / S) / S,
        (1 - X / S) ** 2 / 2,
        S * (1 - X / S) ** 3 / 6,
        S,
    ),
    "normal": (
        sympy.exp(-(X**2) / (2 * S**2)) / (S * sympy.sqrt(2 * sympy.pi)),
        sympy.erfc(X / (S * sympy.sqrt(2))) / 2,
        S * sympy.exp(-(X**2) / (2 * S**2)) / sympy.sqrt(2 * sympy.pi)
        - X * sympy.erfc(X / (S * sympy.sqrt(2))) / 2,
        sympy.oo,
    ),
    "logistic": (
        sympy.exp(-X / S) / (S * (1 + sympy.exp(-X / S)) ** 2),
        sympy.exp(-X / S) / (1 + sympy.exp(-X / S)),
        S * sympy.log(1 + sympy.exp(-X / S)),
        sympy.oo,
    ),
}
noises = st.one_of(
    st.builds(Triangular, st.floats(1e-3, 1e3)),
    st.builds(Logistic, st.floats(1e-3, 1e3)),
    st.builds(Cauchy, st.floats(1e-3, 1e3)),
)


@pytest.mark.parametrize("family", SYMBOLIC)
def test_closed_forms_derive_from_each_other(family):
    """tail' = -density and excess' = -tail, both 0 at the end, tail(0) = 1/2: with sympy."""
    density, tail, excess, end = SYMBOLIC[family]
    assert sympy.simplify(sympy.diff(tail, X) + density) == 0
    assert sympy.simplify(sympy.diff(excess, X) + tail) == 0
    assert sympy.limit(tail, X, end) == 0 and sympy.limit(excess.subs(S, 1), X, end.subs(S, 1)) == 0
    assert sympy.simplify(tail.subs(X, 0) - sympy.Rational(1, 2)) == 0


@pytest.mark.parametrize("family", SYMBOLIC)
def test_numbers_are_those_of_the_closed_forms(family):
    """A handful of functions: 32 roundings, of numbers that are at most 2; the normal excess
    cancels to 1 / (1 + a**2) of its terms, a = 2 here."""
    noise = with_scale(FAMILIES[family], 0.8)
    points = (
        (0.0, 0.1, 0.3, 0.79, 1.6) if SYMBOLIC[family][3] == sympy.oo else (0.0, 0.1, 0.3, 0.79)
    )
    for name, form in zip(("density", "tail", "excess"), SYMBOLIC[family], strict=False):
        want = [float(form.subs({S: sympy.Rational(4, 5), X: sympy.Float(p, 30)})) for p in points]
        assert np.abs(getattr(noise, name)(np.array(points)) - want).max() <= 5 * 32 * 2.0**-53


@given(noises, st.floats(-100, 100))
def test_a_noise_is_symmetric(noise, x):
    """tail(-x) = 1 - tail(x) and excess(-x) = excess(x) + x, each within 4 roundings."""
    x = np.array([x])
    assert abs(noise.tail(-x) + noise.tail(x) - 1)[0] <= 4 * 2.0**-53
    if not isinstance(noise, Cauchy):
        bound = 8 * 2.0**-53 * (noise.excess(-np.abs(x))[0] + 1e-300)
        assert abs(noise.excess(-x) - noise.excess(x) - x)[0] <= bound


@pytest.mark.parametrize("family", FAMILIES)
def test_facts_are_integrals(family):
    """Adaptive quadrature reports its error, and these are within ten times that."""
    noise = FAMILIES[family]
    end = 1.0 if family in ("uniform", "triangular") else math.inf

    def moment(weight):
        value, error = integrate.quad(
            lambda x: 2 * weight(x) * noise.density(np.array([x]))[0],
            0,
            end,
            epsabs=1e-10,
            limit=200,
        )
        return value, 10 * error + 1e-14

    checks = [(1.0, lambda x: 1.0), (roughness(noise), lambda x: noise.density(np.array([x]))[0])]
    if math.isfinite(std_of(noise)):
        checks.append((std_of(noise) ** 2, lambda x: x * x))
    if math.isfinite(mean_size(noise)):
        checks.append((mean_size(noise), abs))
    for value, weight in checks:
        found, error = moment(weight)
        assert abs(found - value) <= error


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("frequency", [0.3, 2.0, 7.0])
def test_characteristic_functions_are_integrals(family, frequency):
    """quad with a cosine weight reports its error; 10 times that."""
    noise, bounded = FAMILIES[family], family in ("uniform", "triangular")
    value, error = integrate.quad(
        lambda x: 2 * noise.density(np.array([x]))[0],
        0,
        1.0 if bounded else np.inf,
        weight="cos",
        wvar=frequency,
        epsabs=1e-9,
    )
    assert abs(value - characteristic(noise, np.array([frequency]))[0]) <= 10 * error + 1e-13
    assert abs(characteristic(noise, np.zeros(1))[0] - 1) <= 1e-7  # below 1e-9 the limit is taken


@pytest.mark.parametrize("family", FAMILIES)
def test_quantiles_invert_the_tail(family):
    """Inverse functions are good to 1e-13 relative, and densities here are below 1 / scale."""
    noise, p = with_scale(FAMILIES[family], 3.0), np.array([1e-3, 0.2, 0.5, 0.77, 0.999])
    assert np.abs(noise.tail(-quantile(noise, p)) - p).max() <= 1e-12


def test_scale_and_std_are_not_confused():
    """Stretching by 2 doubles both, halves peak and roughness: powers of two are exact but for the
    square root and logarithm of Student's norm, 8 roundings."""
    for noise in FAMILIES.values():
        double = noise.scaled(-2.0)
        assert scale_of(double) == 2 * scale_of(noise) and std_of(double) == 2 * std_of(noise)
        for fact in (peak, roughness):
            assert abs(2 * fact(double) / fact(noise) - 1) <= 8 * 2.0**-53
        assert type(double) is type(noise)
    assert std_of(StudentT(2.0, 1.0)) == math.inf


@pytest.mark.parametrize("kind", [Triangular, Logistic, Cauchy])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_is_positive_and_finite(kind, value):
    with pytest.raises(ValueError, match="positive and finite, got"):
        kind(value)
    with pytest.raises(ValueError, match="positive and finite, got"):
        with_scale(Uniform(1.0), value)


def test_a_quantile_has_a_probability():
    for p in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="inside"):
            quantile(Uniform(1.0), np.array([p]))
