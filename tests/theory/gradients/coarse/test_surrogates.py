"""Coarse gradients of noise: quadrature, mixtures of windows, limits, orders of the bias, signs."""

import math

import numpy as np
import pytest
from scipy import integrate

from qpapers.yin2019.samples import INSTANCE, settings
from qtheory.gradients.coarse.formulas import (
    Layer,
    Setting,
    filter_gradient,
    geometry,
    identity_gradient,
    products,
)
from qtheory.gradients.coarse.surrogates import (
    CLIPPED_RELU,
    IDENTITY,
    RELU,
    Window,
    bias,
    coarse_gradient,
    coarse_gradient_by_quadrature,
    correlation,
    moments,
    quadrature_moments,
    small_noise_bias,
    window_moments,
)
from qtheory.noise import (
    EXAMPLES,
    Cauchy,
    Gaussian,
    Logistic,
    StudentT,
    Triangular,
    peak,
    scale_of,
    with_scale,
)

NOISES = tuple(EXAMPLES.values())
WITH_STD = NOISES[:4]
ANGLES = (0.0, 1e-6, 0.3, math.pi / 2, 2.5, math.pi - 1e-6, math.pi)
SURROGATES = (*NOISES, IDENTITY, RELU, CLIPPED_RELU, Window(-0.2, 3.0, 0.5))


@pytest.mark.parametrize("surrogate", [s for s in SURROGATES if isinstance(s, Window)] + [*NOISES])
@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("length", [0.05, 1.0, 20.0])
def test_closed_moments_are_those_of_quadrature(surrogate, angle, length):
    """Each is an expectation of a number below 1 times the peak: 1000 roundings; at angles of 1e-6
    the panel about 0 is that narrow, and nothing is lost."""
    top = surrogate.height if isinstance(surrogate, Window) else peak(surrogate)
    found, exact = moments(surrogate, length, angle), quadrature_moments(surrogate, length, angle)
    assert np.abs(np.subtract(found, exact)).max() <= 1000 * 2.0**-53 * max(top, 1.0)


DERIVATIVES = {
    Gaussian: lambda n, h: h / n.std**2 * float(n.density(np.array([h]))[0]),
    Triangular: lambda n, h: 1 / n.half_width**2 if h < n.half_width else 0.0,
    Logistic: lambda n, h: (
        math.tanh(h / (2 * n.scale)) / n.scale * float(n.density(np.array([h]))[0])
    ),
    Cauchy: lambda n, h: 2 * h / (n.scale**2 + h * h) * float(n.density(np.array([h]))[0]),
}


@pytest.mark.parametrize("noise", [Gaussian(0.4), Triangular(0.7), Logistic(0.2), Cauchy(0.2)])
@pytest.mark.parametrize("angle", [0.3, 2.5])
def test_a_unimodal_density_is_a_mixture_of_windows(noise, angle):
    """f(x) = integral of 1{abs(x) < h} (-f'(h)) dh, so moments are integrals of closed ones, with
    no density under the integral of a normal law; scipy's own error is below 1e-9."""
    slope = DERIVATIVES[type(noise)]
    found = moments(noise, 0.8, angle)
    ends = (0.0, 0.7) if isinstance(noise, Triangular) else (0.0, math.inf)
    for k, value in enumerate(found):
        exact, error = integrate.quad(
            lambda h, k=k: slope(noise, h) * window_moments(Window(-h, h), 0.8, angle)[k], *ends,
            epsabs=1e-11, limit=400,
        )  # fmt: skip
        assert abs(value - exact) <= error + 1e-10


@pytest.mark.parametrize("std", [0.25, 1.0])
def test_moments_by_two_dimensional_integrals(std):
    """a1 and a2 from their definition: f(|w| r cos b) phi(r) over the half plane where a filter
    fires, b the angle of the patch to w. r goes to 12, where phi is below 1e-31; 400 nodes resolve
    a density of std 1/4 to rounding, 1e-12."""
    noise, g = Gaussian(std), geometry(INSTANCE)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    r, dr = 6 * (nodes + 1), 6 * weights

    def half_plane(middle):
        b, db = middle + math.pi / 2 * nodes, math.pi / 2 * weights
        x = r[:, None] * np.cos(b)
        mass = noise.density(g.length * x) * np.exp(-(r[:, None] ** 2) / 2) / (2 * math.pi)
        mass *= (r * dr)[:, None] * db
        return (mass * x).sum(), (mass * r[:, None] * np.sin(b)).sum()

    found = moments(noise, g.length, g.angle)
    assert abs(found.own - half_plane(0.0)[0]) <= 1e-12
    assert np.abs(np.subtract(found[2:], half_plane(g.angle))).max() <= 1e-12


@pytest.mark.parametrize("at", [INSTANCE, *settings(20, 11)])
def test_little_noise_gives_the_true_gradient(at):
    """The distance from the truth is the expansion's to a relative order of s**2 / sin**2 |w|**2:
    1e-4 along u and 3e-4 along n for s = 1e-3 of the smaller length."""
    small = 1e-3 * geometry(at).length * math.sin(geometry(at).angle)
    for noise in WITH_STD:
        thin = with_scale(noise, small)
        found, leading = bias(at, thin), small_noise_bias(at, thin)
        rest = 4.0 * abs(leading.across)
        assert abs(found.along - leading.along) <= 1e-4 * leading.along + rest
        assert abs(found.across - leading.across) <= 1e-4 * abs(leading.across) + 1e-12 * (
            1 + np.linalg.norm(filter_gradient(at))
        )


@pytest.mark.parametrize("noise", WITH_STD)
def test_orders_of_the_bias(noise):
    """From s = 1e-2 to 1e-3 times the scale: slopes of logarithms 1, 2, 1 up to the next order,
    which is below 5 s, and rounding 1e-16 over a bias of 1e-7."""
    wide, thin = (with_scale(noise, s * scale_of(noise)) for s in (1e-2, 1e-3))
    a, b = bias(INSTANCE, wide), bias(INSTANCE, thin)
    slopes = [math.log10(abs(x / y)) for x, y in zip(a, b, strict=True)]
    assert np.abs(np.subtract(slopes, (1, 2, 1))).max() <= 0.05


def test_without_a_std_the_bias_along_u_is_not_of_second_order():
    """Cauchy: E min(e**2, 1) is of first order in the scale, so from 1e-4 to 1e-5 a slope of 1."""
    a, b = bias(INSTANCE, Cauchy(1e-4)), bias(INSTANCE, Cauchy(1e-5))
    assert abs(math.log10(a.across / b.across) - 1) <= 0.02
    with pytest.raises(ValueError, match="finite std"):
        small_noise_bias(INSTANCE, Cauchy(0.1))


@pytest.mark.parametrize("noise", NOISES)
def test_much_noise_gives_the_identity(noise):
    """f(x) is f(0) up to the curvature or slope there: relative 1e3 x**2 / s**2 at most for smooth
    laws, abs(x) / s for the triangle, with s = 1e6 and abs(x) below 20."""
    wide = with_scale(noise, 1e6)
    limit = 1e-4 * np.linalg.norm(identity_gradient(INSTANCE))
    found = coarse_gradient(INSTANCE, wide) / peak(wide)
    assert np.abs(found - identity_gradient(INSTANCE)).max() <= limit


@pytest.mark.parametrize("at", settings(60, 5))
def test_no_surrogate_climbs(at):
    """The inner product with the true gradient is that of the formula, and positive."""
    truth = filter_gradient(at)
    size = float(np.sum(at.student.output**2) + np.sum(at.teacher.output**2)) * 7
    for surrogate in SURROGATES:
        found = float(coarse_gradient(at, surrogate) @ truth)
        top = max(peak(surrogate), 1.0) if not isinstance(surrogate, Window) else 1.0
        limit = 1000 * 2.0**-53 * size * top * float(np.linalg.norm(truth))
        assert abs(found - correlation(at, surrogate)) <= limit
        assert correlation(at, surrogate) > 0


def test_correlation_with_normal_noise_as_a_formula():
    """(v'v*)**2 C sin(t) / (K (2 pi)**(3/2) |w|), 32 roundings."""
    for at in settings(50, 9):
        g, s = geometry(at), 0.3
        tau = s / math.hypot(s, g.length)
        kappa = math.hypot(math.sin(g.angle), tau * math.cos(g.angle))
        c = 1 / math.sqrt(2 * math.pi * (s * s + g.length**2))
        exact = products(at).inner ** 2 * c * math.sin(g.angle)
        exact /= kappa * (2 * math.pi) ** 1.5 * g.length
        assert abs(correlation(at, Gaussian(s)) / exact - 1) <= 32 * 2.0**-53


@pytest.mark.parametrize("noise", [Logistic(0.2), StudentT(3.0, 0.3), Triangular(0.7)])
def test_stretching_filter_and_noise_divides_the_gradient(noise):
    """The density of 3 e at 3 x is f(x) / 3, so is the coarse gradient; 1000 roundings."""
    at = INSTANCE
    large = Setting(at.teacher, Layer(at.student.output, 3 * at.student.filter))
    a = coarse_gradient_by_quadrature(at, noise)
    b = coarse_gradient_by_quadrature(large, noise.scaled(3.0))
    assert np.abs(a - 3 * b).max() <= 1e-13


@pytest.mark.parametrize(
    ("length", "angle"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 4.0), (1.0, math.nan)]
)
def test_moments_are_of_a_filter(length, angle):
    with pytest.raises(ValueError, match="a positive length and an angle"):
        moments(RELU, length, angle)


def test_an_expansion_needs_outputs_that_are_not_orthogonal():
    teacher = Layer(np.array([1.0, 1.0]), np.array([1.0, 0.0]))
    at = Setting(teacher, Layer(np.array([1.0, -1.0]), np.array([1.0, 1.0])))
    with pytest.raises(ValueError, match="v'v\\* that is not 0"):
        small_noise_bias(at, Gaussian(0.1))


@pytest.mark.parametrize(("low", "high", "height"), [(1, 1, 1), (2, 1, 1), (0, 1, 0), (0, 1, -1)])
def test_bad_windows(low, high, height):
    with pytest.raises(ValueError, match="window"):
        Window(float(low), float(high), float(height))
