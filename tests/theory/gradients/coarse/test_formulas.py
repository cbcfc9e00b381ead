"""Formulas of a layer of thresholds: Monte Carlo, finite differences, sympy, and each other."""

import math

import numpy as np
import pytest
import sympy

from qpapers.yin2019.samples import INSTANCE, deviations, estimate, settings
from qtheory.gradients.coarse.formulas import (
    Layer,
    Setting,
    clipped_relu_gradient,
    filter_gradient,
    geometry,
    identity_correlation,
    identity_gradient,
    loss,
    output_gradient,
    p_and_q,
    products,
    relu_correlation,
    relu_gradient,
    xi,
)
from qtheory.gradients.coarse.surrogates import (
    CLIPPED_RELU,
    IDENTITY,
    RELU,
    coarse_gradient,
    coarse_gradient_by_quadrature,
    window_moments,
)
from qtheory.noise import Cauchy, Gaussian, Uniform

MANY = settings(200, 7)


def scale_of_gradient(at):
    """A bound on what the terms of a gradient add up to: (|v| + |v*|)**2 (m + 1)."""
    v, teacher = at.student.output, at.teacher.output
    return float((np.linalg.norm(v) + np.linalg.norm(teacher)) ** 2) * (v.size + 1)


def test_every_formula_by_monte_carlo():
    """1e6 samples, 5 standard errors for each of 23 components: a false alarm has probability
    23 * 6e-7 for an unknown seed. A difference of 10 standard errors, 0.02 here, is found."""
    surrogates = (RELU, IDENTITY, CLIPPED_RELU, Gaussian(0.5), Gaussian(0.1), Uniform(1.0))
    assert max(deviations(INSTANCE, surrogates, 1_000_000, 1)) <= 5
    assert estimate(INSTANCE, (RELU, IDENTITY), 100_000, 2).error.max() < 0.02


@pytest.mark.parametrize("seed", range(6))
def test_other_settings_by_monte_carlo(seed):
    """As above with 5e4 samples; Cauchy noise has the heaviest tail, so goes by quadrature."""
    (at,) = settings(1, seed)
    assert max(deviations(at, (RELU, IDENTITY, CLIPPED_RELU, Cauchy(0.3)), 50_000, seed)) <= 5


def differences(at, h):
    """Central differences of the loss in v and w."""
    v, w = at.student.output, at.student.filter

    def move(dv, dw):
        return loss(Setting(at.teacher, Layer(v + dv, w + dw)))

    in_v = [(move(h * e, 0 * w) - move(-h * e, 0 * w)) / (2 * h) for e in np.eye(v.size)]
    in_w = [(move(0 * v, h * e) - move(0 * v, -h * e)) / (2 * h) for e in np.eye(w.size)]
    return np.array(in_v + in_w)


@pytest.mark.parametrize("at", [INSTANCE, *settings(30, 3)])
def test_gradients_are_differences_of_the_loss(at):
    """The error at h is a third of the change from 2h to h, to leading order; three times that is
    allowed, and rounding of a loss below 4 scales over h."""
    h = 1e-4 * geometry(at).length * math.sin(geometry(at).angle)
    near, far = differences(at, h), differences(at, 2 * h)
    allowed = np.abs(near - far) + 32 * scale_of_gradient(at) * 2.0**-52 / h
    found = np.concatenate([output_gradient(at), filter_gradient(at)])
    assert (np.abs(found - near) <= allowed).all()
    assert (allowed <= 1e-4 * (1 + np.abs(found).max())).all()


def mean_square(a):
    """E y**2 by pairs of patches: both fire with probability 1/2 if they are one, else 1/4."""
    m = len(a)
    return sum(a[i] * a[j] / (2 if i == j else 4) for i in range(m) for j in range(m))


def test_the_loss_and_its_gradient_by_sympy():
    """At the instance with the angle as an arc cosine, 30 digits."""
    v, w = sympy.symbols("v:4"), sympy.symbols("w:3")
    teacher, target = (
        (1, -1, 2, sympy.Rational(1, 2)),
        (sympy.Rational(3, 5), sympy.Rational(4, 5), 0),
    )
    length = sympy.sqrt(sum(x * x for x in w))
    angle = sympy.acos(sum(x * y for x, y in zip(w, target, strict=True)) / length)
    # y fires on a patch and y* on another with probability 1/4; on the same, (pi - t) / 2 pi
    both = sum(
        v[i]
        * teacher[j]
        * ((sympy.pi - angle) / (2 * sympy.pi) if i == j else sympy.Rational(1, 4))
        for i in range(4)
        for j in range(4)
    )
    whole = mean_square(v) / 2 - both + mean_square(teacher) / 2
    at = dict(zip((*v, *w), (0.5, -1, 1.5, 1, 1, 0.5, -0.5), strict=True))
    at = {key: sympy.Rational(value) for key, value in at.items()}
    assert abs(loss(INSTANCE) - float(whole.subs(at))) <= 1e-14
    exact = [float(sympy.diff(whole, x).subs(at).evalf(30)) for x in (*v, *w)]
    found = np.concatenate([output_gradient(INSTANCE), filter_gradient(INSTANCE)])
    assert np.abs(found - exact).max() <= 1e-14


@pytest.mark.parametrize(
    ("formula", "surrogate"),
    [
        (identity_gradient, IDENTITY),
        (relu_gradient, RELU),
        (clipped_relu_gradient, CLIPPED_RELU),
    ],
)
def test_printed_formulas_follow_from_the_general_rule(formula, surrogate):
    """By closed moments and by quadrature: 1000 roundings of the terms that are added."""
    for at in MANY:
        limit = 1000 * 2.0**-53 * scale_of_gradient(at)
        assert np.abs(formula(at) - coarse_gradient(at, surrogate)).max() <= limit
        assert np.abs(formula(at) - coarse_gradient_by_quadrature(at, surrogate)).max() <= limit


def test_the_relu_formula_as_printed_is_the_one_without_a_fraction():
    """cos(t/2) (n + w*) / |n + w*| = (n + w*) / 2 where n + w* is not 0."""
    for at in MANY:
        g, p = geometry(at), products(at)
        middle = g.n + g.target
        second = math.cos(g.angle / 2) * p.inner * middle / np.linalg.norm(middle)
        printed = (p.h / 2 * g.n - second) / math.sqrt(2 * math.pi)
        short = math.pi - g.angle  # |n + w*| has this relative rounding
        limit = 64 * 2.0**-53 * scale_of_gradient(at) / short
        assert np.abs(printed - relu_gradient(at)).max() <= limit


def test_correlations_with_the_true_gradient():
    """Inner products, with rounding as of their factors."""
    for at in MANY:
        truth = filter_gradient(at)
        limit = 64 * 2.0**-53 * scale_of_gradient(at) * float(np.linalg.norm(truth))
        for formula, closed in (
            (identity_gradient, identity_correlation),
            (relu_gradient, relu_correlation),
        ):
            assert closed(at) > 0
            assert abs(float(formula(at) @ truth) - closed(at)) <= limit


def test_p_and_q_and_xi():
    """p(0) = (1 - exp(-1 / 2|w|**2)) / sqrt(2 pi), q(0) = 0; p(pi) = q(pi) = 0; xi by its
    derivative, central differences with h = 1e-4: error below h**2. Where the series ends, a step
    of 1e-13 changes xi by 3e-12 of itself; the term left out is 1e-14 of it, cancelling 1e-13."""
    for length in (0.03, 0.5, 1.0, 4.0, 30.0):
        p, q = p_and_q(0.0, length)
        assert abs(p + math.expm1(-0.5 / length**2) / math.sqrt(2 * math.pi)) <= 1e-14
        assert abs(q) <= 1e-15
        assert max(map(abs, p_and_q(math.pi, length))) <= 1e-15
    r, h = np.linspace(0.01, 6, 100), 1e-4
    slope = (xi(r + h) - xi(r - h)) / (2 * h)
    assert np.abs(slope - r**2 * np.exp(-(r**2) / 2)).max() <= 1e-8
    assert abs(xi(np.array(0.1)) / xi(np.array(0.1 - 1e-13)) - 1) <= 4e-12


@pytest.mark.parametrize("length", [1e-4, 0.2, 1.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize("angle", [0.0, 1e-3, 0.5, 2.0, 3.1])
def test_p_and_q_for_filters_of_any_length(length, angle):
    """Against the closed form of a window, 100 roundings of numbers below 1."""
    found, closed = p_and_q(angle, length), window_moments(CLIPPED_RELU, length, angle)
    assert np.abs(np.subtract(found, (closed.along, closed.across))).max() <= 100 * 2.0**-53


@pytest.mark.parametrize("scale", [1.0, -1.0, 3.0, -0.2])
def test_parallel_filters(scale):
    """Angles of exactly 0 and pi although lengths are rounded; the kink's gradient is 0."""
    w = np.array([0.3, -0.7, 0.1])
    at = Setting(Layer(np.ones(2), w), Layer(np.ones(2), scale * w))
    assert geometry(at).angle == (0.0 if scale > 0 else math.pi)
    assert not filter_gradient(at).any()


def test_small_angles_keep_their_digits():
    """At an angle of 1e-9 an arc cosine of float64 would be 0 or 2e-8."""
    teacher = Layer(np.ones(1), np.array([1.0, 0.0]))
    at = Setting(teacher, Layer(np.ones(1), np.array([1.0, 1e-9])))
    assert abs(geometry(at).angle - 1e-9) <= 1e-23


@pytest.mark.parametrize(
    ("output", "filter_", "match"),
    [
        (np.ones(0), np.ones(2), "one row"),
        (np.ones(1), np.ones(1), "two weights"),
        (np.ones(1), np.array([1.0, np.nan]), "finite"),
        (np.ones(1), np.zeros(2), "not 0"),
        (np.ones(1), np.full(2, 1e-200), "a length in"),
        (np.ones(1), np.full(2, 1e200), "a length in"),
    ],
)
def test_bad_layers(output, filter_, match):
    with pytest.raises(ValueError, match=match):
        Layer(output, filter_)


def test_bad_settings():
    with pytest.raises(ValueError, match="same shapes"):
        Setting(Layer(np.ones(1), np.ones(2)), Layer(np.ones(2), np.ones(2)))
    with pytest.raises(ValueError, match="two samples"):
        estimate(INSTANCE, (RELU,), 1, 0)
