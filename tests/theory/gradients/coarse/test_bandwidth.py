"""Coarse gradients as kernel estimates: against scipy's quadrature, samples and leading orders."""

import math

import numpy as np
import pytest
import sympy
from scipy import integrate

from qtheory.gradients.coarse.bandwidth import (
    PEAK,
    TwoLayers,
    best_scale,
    bias,
    bias_constant,
    matched,
    mean_square_error,
    optimal_scale,
    second_moment,
    surface_mean,
    through_layers,
    variance,
    variance_constant,
    window_square,
)
from qtheory.noise import (
    EXAMPLES,
    Cauchy,
    Gaussian,
    Logistic,
    StudentT,
    Triangular,
    Uniform,
    roughness,
    std_of,
    with_scale,
)

FAMILIES = tuple(with_scale(noise, 1.0) for noise in EXAMPLES.values())[:4]
ONE = TwoLayers(1.1)
TWO = TwoLayers(0.8, (1.0, 1.0), (1.0, 1.0))  # a third of E g**2 is of pairs at scale 1
FOUR = TwoLayers(2.0, (1.0, 0.5, -0.5, 2.0), (1.0, -1.0, 2.0, 0.5))


@pytest.mark.parametrize("noise", [*FAMILIES, StudentT(3.0, 0.4), Cauchy(0.2)])
@pytest.mark.parametrize("angle", [0.3, 1.1, 2.0])
def test_the_surface_mean_is_an_expectation(noise, angle):
    """E[y k | x] by scipy's quadrature over y, then over x: within ten times its own errors."""
    found = surface_mean(TwoLayers(angle), noise)

    def inner(x):
        low = -x / math.tan(angle)
        return integrate.quad(lambda y: y * PEAK * math.exp(-y * y / 2), low, 40)[0]

    def outer(x):
        return noise.density(np.array([x]))[0] * PEAK * math.exp(-x * x / 2) * inner(x)

    cuts = [0.0, *[c for c in noise.breaks() if abs(c) < 12]]
    want, error = integrate.quad(outer, -12, 12, points=sorted(set(cuts)), limit=400)
    assert abs(found - want) <= 10 * error + 1e-10


@pytest.mark.parametrize(
    ("model", "noise"),
    [
        (ONE, Uniform(0.6)),
        (ONE, Logistic(0.3)),
        (TWO, Gaussian(1.0)),
        (TWO, Uniform(0.6)),
        (FOUR, Triangular(0.5)),
        (FOUR, Gaussian(0.4)),
    ],
)
def test_moments_are_those_of_samples(model, noise):
    """300 000 samples of g; five standard errors, 1.2e-6 of false alarms for a pair."""
    rng = np.random.default_rng(5)
    v, t = np.array(model.output), np.array(model.teacher)
    x, y = rng.standard_normal((2, 300_000, v.size))
    k = x * math.cos(model.angle) + y * math.sin(model.angle) > 0
    g = ((x > 0) @ v - k @ t) * ((noise.density(x) * y) @ v)
    mean = model.surface_gradient + bias(model, noise)
    for sample, want in ((g, mean), (g * g, second_moment(model, noise))):
        assert abs(sample.mean() - want) <= 5 * sample.std() / math.sqrt(sample.size)
    assert abs(g.var() / variance(model, noise) - 1) < 0.06  # and so a factor of two is seen


def test_the_bias_constant_is_a_second_derivative():
    """phi(x) phi(x cot theta) = exp(-x**2 / (2 sin**2)) / (2 pi): half its curvature times E e**2,
    with the sign turned; four roundings."""
    x, angle = sympy.symbols("x theta", positive=True)
    product = sympy.exp(-(x**2) / 2 - x**2 / sympy.tan(angle) ** 2 / 2) / (2 * sympy.pi)
    curvature = float(sympy.diff(product, x, 2).subs({x: 0, angle: sympy.Rational(11, 10)}))
    for noise in FAMILIES:
        want = -curvature / 2 * std_of(noise) ** 2
        assert abs(bias_constant(ONE, noise) / want - 1) <= 16 * 2.0**-53


@pytest.mark.parametrize("family", FAMILIES)
def test_bias_and_second_moment_have_their_leading_order(family):
    """The next order is s**2 times E e**4 / (4 sin**2 E e**2) <= 4.4 relatively in the bias, and
    s**2 int e**2 f**2 / (2 int f**2) < 1 in the second moment of one unit; s = .01."""
    noise = with_scale(family, 0.01)
    assert abs(bias(ONE, noise) / (bias_constant(ONE, family) * 1e-4) - 1) <= 4.4e-4
    leading = variance_constant(ONE) * roughness(noise)
    assert abs(second_moment(ONE, noise) / leading - 1) <= 1e-4


def test_the_bias_shrinks_the_gradient():
    for model in (ONE, FOUR):
        for family in FAMILIES:
            assert bias(model, family) * model.surface_gradient < 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_best_scale_is_a_minimum_and_tends_to_the_law(family):
    """Relative distance of both scales is about s**2 (the next order of the bias), with a factor
    below 4 for a scale whose std is 1."""
    std = std_of(family)
    for samples in (10**4, 10**6, 10**8):
        best, law = best_scale(ONE, family, samples), optimal_scale(ONE, family, samples)
        assert abs(best / law - 1) <= 4 * (law * std) ** 2
        least = mean_square_error(ONE, with_scale(family, best), samples)
        for factor in (0.9, 1.1):
            assert mean_square_error(ONE, with_scale(family, best * factor), samples) > least


def test_least_error_at_the_law():
    """Bias**2 is a quarter of the variance there: 5 B**2 s***4 in all, to the next order .5 s."""
    s = optimal_scale(ONE, Gaussian(1.0), 10**8)
    least = mean_square_error(ONE, Gaussian(s), 10**8)
    assert abs(least / (5 * bias_constant(ONE, Gaussian(1.0)) ** 2 * s**4) - 1) <= 0.5 * s


def test_matched_laws_have_one_roughness():
    for family in (*FAMILIES, Cauchy(3.0), StudentT(4.0, 0.1)):
        assert abs(roughness(matched(family, Uniform(0.25))) / 2.0 - 1) <= 8 * 2.0**-53


def test_equal_roughness_makes_families_alike():
    """What is left is of first order in s, the squared mean: .127 s / R over the least ratio."""

    def spread(noises):
        found = [variance(ONE, noise) for noise in noises]
        return max(found) / min(found)

    beside = Uniform(0.1)
    alike = spread([matched(f, beside) for f in FAMILIES])
    assert alike - 1 <= 0.1 * 0.127 / 0.5
    assert spread([f.scaled(std_of(beside) / std_of(f)) for f in FAMILIES]) > 1.1
    assert spread([with_scale(f, 0.1) for f in FAMILIES]) > 4


@pytest.mark.parametrize("noise", [Uniform(0.3), Gaussian(0.2)])
def test_the_window_by_closed_forms(noise):
    """Uniform: Phi over the window; normal: density**2 is a normal one of std / sqrt 2 times R."""
    t = 0.7
    if isinstance(noise, Uniform):
        inside = math.erf((t + 0.3) / math.sqrt(2)) - math.erf((t - 0.3) / math.sqrt(2))
        want = 0.5 * inside / 0.6**2
    else:
        var = 1 + 0.2**2 / 2
        want = roughness(noise) * PEAK / math.sqrt(var) * math.exp(-t * t / (2 * var))
    assert abs(window_square(noise, t) / want - 1) <= 1e-13


def test_layers_against_samples_and_their_factor():
    """100 000 chains, three layers, five standard errors; then each layer's factor, whose next
    order is s**2, with even terms only since both sides of 0 are summed."""
    rng, noise, coupling = np.random.default_rng(6), Uniform(0.5), 0.7
    z, product = rng.standard_normal(100_000), 1.0
    for _ in range(3):
        product = product * noise.density(z)
        z = coupling * np.sign(z) + rng.standard_normal(z.size)
    for power in (1, 2):
        sample = product**power
        want = through_layers(noise, coupling, 3, power)
        assert abs(sample.mean() - want) <= 5 * sample.std() / math.sqrt(sample.size)
    little = Gaussian(0.01)
    growth = through_layers(little, coupling, 4, 2) / through_layers(little, coupling, 3, 2)
    factor = roughness(little) * PEAK * math.exp(-(coupling**2) / 2)
    assert abs(growth / factor - 1) <= 1e-4


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: TwoLayers(0.0), "an angle is inside"),
        (lambda: TwoLayers(1.0, (1.0,), (1.0, 2.0)), "as many outputs as its teacher"),
        (lambda: TwoLayers(1.0, (), ()), "at least one"),
        (lambda: TwoLayers(1.0, (1.0, 1.0), (1.0, -1.0)), "not 0, got 0.0"),
        (lambda: bias_constant(ONE, Cauchy(1.0)), "noise with a variance"),
        (lambda: optimal_scale(ONE, Gaussian(1.0), 0), "at least one sample, got 0"),
        (lambda: mean_square_error(ONE, Gaussian(1.0), -3), "at least one sample, got -3"),
        (lambda: through_layers(Gaussian(1.0), 0.5, 0), "at least one layer, got 0"),
    ],
)
def test_bad_models_are_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
