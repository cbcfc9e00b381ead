"""Stairs under noise: against sums over every quantile, derivatives, bounds, and closed forms."""

import math

import numpy as np
import pytest
import sympy
from scipy import integrate

from qtheory.lattice import Lattice
from qtheory.noise import (
    EXAMPLES,
    Cauchy,
    Gaussian,
    Logistic,
    StudentT,
    Triangular,
    Uniform,
    mean_size,
    quantile,
    with_scale,
)
from qtheory.stairs.smoothing import (
    distance,
    distance_bound,
    draw,
    expectation,
    law,
    lipschitz,
    mode,
    ripple,
    ripple_by_poisson,
    slope,
    slope_in_mean,
    slope_in_scale,
)
from qtheory.stairs.stair import Stair

TERNARY = Stair.nearest(Lattice.ternary())
UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.3, 0.5))
NOISES = tuple(EXAMPLES.values())
POINTS = np.linspace(-2.03, 1.97, 41)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("mean", [0.0, -0.3])
def test_the_expectation_is_a_sum_over_quantiles(noise, mean):
    """Of N midpoints of (0, 1), a threshold has F N below it to within 1/2, so the sum over them is
    the expectation to within height / (2N), the law to within 1/N; and rounding."""
    n = 4000
    e = quantile(noise, (np.arange(n) + 0.5) / n)
    index = UNEVEN.index(POINTS[:, None] - mean - e)
    found = np.array(UNEVEN.levels)[index].mean(axis=1)
    error = np.abs(found - expectation(UNEVEN, noise, POINTS, mean)).max()
    assert error <= UNEVEN.height / (2 * n) + 1e-12
    measured = np.stack([(index == i).mean(axis=1) for i in range(4)], axis=-1)
    assert np.abs(measured - law(UNEVEN, noise, POINTS, mean)).max() <= 1 / n + 1e-12


@pytest.mark.parametrize("noise", NOISES)
def test_a_law_is_a_law_and_has_the_expectation(noise):
    """5 levels of at most 4: 64 roundings of 2**-53."""
    p = law(UNEVEN, noise, POINTS, 0.1)
    assert (p >= 0).all() and np.abs(p.sum(axis=-1) - 1).max() <= 64 * 2.0**-53
    means = p @ np.array(UNEVEN.levels)
    assert np.abs(means - expectation(UNEVEN, noise, POINTS, 0.1)).max() <= 4 * 64 * 2.0**-53


def test_far_levels_keep_their_digits():
    """erfc(30 / sqrt 2) / 2 = 4.9067137e-198: seven digits are compared."""
    p = law(TERNARY, Gaussian(1.0), np.array([-29.5, 29.5]))
    tail = 0.5 * math.erfc(30 / math.sqrt(2))
    assert 0 < tail < 1e-190
    assert abs(p[0, 2] / tail - 1) <= 1e-7 and abs(p[1, 0] / tail - 1) <= 1e-7


@pytest.mark.parametrize("noise", NOISES)
def test_derivatives_are_central_differences(noise):
    """Step h: error h**2 / 6 times a third derivative, below 400 levels per cubed unit here, plus
    2**-52 / h. Points are irrational, so none is within h of a kink."""
    h, x = 1e-5, POINTS + math.sqrt(2) / 1000
    bound = 400 * h * h / 6 + 4 * 8 * 2.0**-53 / h
    if isinstance(noise, Uniform | Triangular):
        bound += 1e-9  # piecewise quadratic at most: the third derivative is 0 off the kinks

    def against(up, down, exact):
        assert np.abs((up - down) / (2 * h) - exact).max() <= bound

    at = expectation
    against(at(UNEVEN, noise, x + h), at(UNEVEN, noise, x - h), slope(UNEVEN, noise, x))
    against(
        at(UNEVEN, noise, x, 0.2 + h),
        at(UNEVEN, noise, x, 0.2 - h),
        slope_in_mean(UNEVEN, noise, x, 0.2),
    )
    s = NOISES_SCALE[type(noise)](noise)
    against(
        at(UNEVEN, with_scale(noise, s + h), x),
        at(UNEVEN, with_scale(noise, s - h), x),
        slope_in_scale(UNEVEN, noise, x),
    )


NOISES_SCALE = {
    Uniform: lambda n: n.half_width,
    Triangular: lambda n: n.half_width,
    Gaussian: lambda n: n.std,
    Logistic: lambda n: n.scale,
    StudentT: lambda n: n.scale,
    Cauchy: lambda n: n.scale,
}


def test_the_slope_of_a_logistic_stair_with_sympy():
    """Height 2: the expectation is tanh(x / (2 s)), derivatives by sympy; 32 roundings."""
    x, s = sympy.symbols("x s", positive=True)
    closed = sympy.tanh(x / (2 * s))
    at, noise, step = (
        {x: sympy.Rational(3, 10), s: sympy.Rational(1, 5)},
        Logistic(0.2),
        Stair.step(-1),
    )
    point = np.array([0.3])
    for found, form in (
        (expectation(step, noise, point), closed),
        (slope(step, noise, point), sympy.diff(closed, x)),
        (slope_in_scale(step, noise, point), sympy.diff(closed, s)),
    ):
        assert abs(found[0] - float(form.subs(at))) <= 10 * 32 * 2.0**-53


def test_ends_of_a_window_are_counted_once():
    """Unit spacing and half width 1/2: windows tile the line, so the slope is 1 at every level but
    the last, from the right; closed at both ends it would be 2 at 0."""
    assert slope(TERNARY, Uniform(0.5), np.array([-1.0, 0.0, 1.0])).tolist() == [1.0, 1.0, 0.0]
    x = np.arange(-128, 129) / 64
    assert np.array_equal(expectation(TERNARY, Uniform(0.5), x), np.clip(x, -1, 1))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("stair", [TERNARY, UNEVEN, Stair.step()])
def test_lipschitz_bounds(noise, stair):
    """The constant is at least the slope on a grid and at most each bound, up to 1e-12 of rounding;
    on the grid of step h it is reached to h times the slope's slope, at most 100 (not uniform)."""
    bounds = lipschitz(stair, noise)
    grid = np.linspace(-3, 3, 60001)
    found = slope(stair, noise, grid).max()
    assert found <= bounds.exact + 1e-12
    assert bounds.exact - found <= 1e-4 * 100
    assert max(bounds.exact - each for each in bounds[1:]) <= 1e-12
    assert abs(bounds.by_peak - bounds.by_variation) <= 1e-12


def test_a_stair_of_one_step_meets_the_bound_by_peak():
    for noise in NOISES:
        bounds = lipschitz(Stair.step(-1.0), noise)
        assert abs(bounds.exact / bounds.by_peak - 1) <= 4 * 2.0**-53


@pytest.mark.parametrize("noise", [Gaussian(0.25), Logistic(0.25), StudentT(5.0, 0.2)])
def test_ripple_by_two_sums(noise):
    """Direct terms left out beyond 200: below 2 * density(200) * 200; waves beyond 40: exp(-40)."""
    x = np.linspace(-0.5, 0.5, 21)
    left_out = 400 * noise.density(np.array([199.0]))[0]
    difference = np.abs(ripple(noise, x, 200) - ripple_by_poisson(noise, x, 40)).max()
    assert difference <= left_out + 1e-13


def test_ripple_of_a_cauchy_noise_in_closed_form():
    """sinh(2 pi s) / (cosh(2 pi s) - cos(2 pi x)): waves are exp(-2 pi s j), a geometric sum."""
    s, x = 0.2, np.linspace(-0.5, 0.5, 21)
    closed = math.sinh(2 * math.pi * s) / (math.cosh(2 * math.pi * s) - np.cos(2 * math.pi * x))
    assert np.abs(ripple_by_poisson(Cauchy(s), x, 40) - closed).max() <= 1e-13


@pytest.mark.parametrize("noise", NOISES[:5])
@pytest.mark.parametrize("mean", [0.0, -0.3, 2.0])
def test_the_distance_is_an_integral(noise, mean):
    """Against the midpoint rule with step h = 1/1000: its error is below h times the total
    variation of the difference, at most twice the height; tails beyond 60 hold height * excess."""
    h = 1e-3
    x = np.arange(-60, 60, h) + 0.5 * h
    found = np.abs(expectation(UNEVEN, noise, x, mean) - UNEVEN(x)).sum() * h
    rest = 2 * UNEVEN.height * noise.excess(np.array([55.0]))[0]
    value = distance(UNEVEN, noise, mean)
    assert abs(found - value) <= 2 * h * UNEVEN.height + rest
    assert value <= distance_bound(UNEVEN, noise, mean) + 1e-12


def test_the_distance_bound_is_met_by_one_step():
    """E abs(mean + e) by quadrature, within ten times its error."""
    for noise in NOISES[:5]:
        want, error = integrate.quad(
            lambda x, n=noise: abs(x - 0.3) * n.density(np.array([x]))[0],
            -60,
            60,
            points=[-0.7, 0.0, 0.3, 0.7],
            limit=400,
        )
        rest = 2 * noise.excess(np.array([59.0]))[0] + 60 * 2 * noise.tail(np.array([59.0]))[0]
        value = distance(Stair.step(), noise, -0.3)
        assert abs(value - want) <= 10 * error + rest + 1e-12
        assert abs(value - mean_size(noise, -0.3)) <= 1e-14
    assert distance(TERNARY, Cauchy(1.0)) == math.inf == distance_bound(TERNARY, Cauchy(1.0))


def test_draws_have_the_law():
    """All words of 16 bits: each count of a level is off by 1 at most, two ends of its interval."""
    words = (np.arange(2**16, dtype=np.uint32) << 16) + 2**15
    for noise in NOISES:
        for x in (-1.0, 0.1, 0.5, 9.0):
            drawn = draw(UNEVEN, noise, np.full(2**16, x), words)
            measured = np.bincount(drawn, minlength=4) / 2**16
            assert np.abs(measured - law(UNEVEN, noise, np.array(x))).max() <= 2.0**-16
    ends = np.array([0, 2**32 - 1], dtype=np.uint32)
    assert draw(UNEVEN, Gaussian(1.0), np.array([1e9, -1e9]), ends).tolist() == [3, 0]


def test_the_mode_is_the_stair_under_little_bounded_noise():
    """Off ties; at a tie of a symmetric noise both levels have probability 1/2: the lowest wins."""
    x = np.arange(-128, 128) / 64 + 1 / 128
    for noise in (Uniform(0.5), Triangular(0.5)):
        assert np.array_equal(mode(TERNARY, noise, x), TERNARY.index(x))
        assert mode(TERNARY, noise, np.array([-0.5, 0.5])).tolist() == [0, 1]
    assert mode(TERNARY, Uniform(1.6), np.array([0.0]))[0] != 1  # the middle is never chosen
