"""Laws of noise against 40 digits of mpmath, and against what every law obeys."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory.noise import Gaussian, StudentT, Uniform

noises = st.one_of(
    st.builds(Gaussian, st.floats(1e-3, 1e3)),
    st.builds(StudentT, st.floats(1.1, 50), st.floats(1e-3, 1e3)),
    st.builds(Uniform, st.floats(1e-3, 1e3)),
)
POINTS = (0.0, 0.1, 0.7, 1.0, 3.0, 10.0, 30.0)


def gaussian_tail(a):
    return mpmath.erfc(a / mpmath.sqrt(2)) / 2


def gaussian_excess(a):
    return mpmath.npdf(a) - a * gaussian_tail(a)


def student(df):
    df = mpmath.mpf(df)
    norm = mpmath.sqrt(df) * mpmath.beta(df / 2, mpmath.mpf(1) / 2)

    def density(a):
        return (1 + a * a / df) ** (-(df + 1) / 2) / norm

    def tail(a):
        return mpmath.betainc(df / 2, mpmath.mpf(1) / 2, 0, df / (df + a * a), regularized=True) / 2

    return density, tail, lambda a: (df + a * a) / (df - 1) * density(a) - a * tail(a)


@pytest.mark.parametrize("a", POINTS)
def test_gaussian(a):
    """Rounding a by 2**-53 changes the tail by a**2 2**-53 at most, relative; its few functions
    add 16 roundings, and the excess cancels to 1 / (1 + a**2) of its terms."""
    with mpmath.workdps(40):
        tail, excess = gaussian_tail(mpmath.mpf(a)), gaussian_excess(mpmath.mpf(a))
        x, scale = np.array([2 * a]), 2
        bound = (1 + a * a) * 16 * 2.0**-53
        assert abs(Gaussian(2.0).tail(x)[0] / tail - 1) <= bound
        assert abs(Gaussian(2.0).excess(x)[0] / (scale * excess) - 1) <= bound


@pytest.mark.parametrize("df", [1.5, 3.0, 30.0])
@pytest.mark.parametrize("a", POINTS)
def test_student(df, a):
    """Density and tail are powers: rounding is multiplied by df + 1; 32 roundings in all, and the
    excess cancels to 1 / (df + 1) of its terms."""
    with mpmath.workdps(40):
        density, tail, excess = (f(mpmath.mpf(a)) for f in student(df))
        noise, x = StudentT(df, 2.0), np.array([2 * a])
        bound = (df + 1) * 32 * 2.0**-53
        assert abs(noise.density(x)[0] / (density / 2) - 1) <= bound
        assert abs(noise.tail(x)[0] / tail - 1) <= bound
        assert abs(noise.excess(x)[0] / (2 * excess) - 1) <= (df + 1) * bound


@given(noises, st.floats(-100, 100))
def test_a_noise_is_symmetric(noise, x):
    """tail(-x) = 1 - tail(x) and excess(-x) = excess(x) + x, each within 4 roundings."""
    point = np.array([x])
    assert noise.density(point) == noise.density(-point)
    assert abs(noise.tail(point) + noise.tail(-point) - 1.0)[0] <= 2.0**-51
    difference = noise.excess(-point) - noise.excess(point) - point
    assert abs(difference)[0] <= 2.0**-51 * (abs(x) + noise.excess(point)[0])


@given(noises, st.floats(-100, 100), st.floats(1e-3, 1e3))
def test_scaling_a_noise_scales_its_law(noise, x, factor):
    """factor is rounded into the scale and x into the point: 2 roundings, times the slopes bounded
    in the tests above by 51 (df) or by the Gaussian's a**2, kept below 100 here."""
    point = np.array([x * noise.breaks().max() / 400])
    scaled = noise.scaled(-factor)
    assert scaled.tail(factor * point)[0] == pytest.approx(noise.tail(point)[0], rel=400 * 2.0**-52)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("law", [Gaussian, Uniform, lambda scale: StudentT(3.0, scale)])
def test_a_scale_is_positive_and_finite(law, bad):
    with pytest.raises(ValueError, match="is positive and finite"):
        law(bad)


@pytest.mark.parametrize("df", [1.0, 0.5, math.nan, math.inf])
def test_degrees_of_freedom_leave_a_mean(df):
    with pytest.raises(ValueError, match="degrees of freedom are above 1"):
        StudentT(df, 1.0)
