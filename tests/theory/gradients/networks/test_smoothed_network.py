"""Smoothed activations against integrals, and networks against the composite bound."""

import dataclasses
import math

import numpy as np
import pytest
import sympy
from scipy import integrate

from qtheory.gradients.networks.affine import Affine
from qtheory.gradients.networks.smoothed_network import (
    HARD_TANH,
    IDENTITY,
    RELU,
    Layer,
    PiecewiseLinear,
    bound,
    error_bound,
    expectation,
    forward,
    random_relu_network,
    sharper_bound,
    slope,
    smoothed,
)
from qtheory.noise import (
    EXAMPLES,
    Logistic,
    Uniform,
    mean_size,
)
from qtheory.stairs.smoothing import variation

NOISES = tuple(EXAMPLES.values())[:5]
UNEVEN = PiecewiseLinear((-1.0, 0.2, 0.5), (2.0, -3.0, 0.5), slope=-0.25, constant=0.1)
ACTIVATIONS = (RELU, HARD_TANH, IDENTITY, UNEVEN)
POINTS = np.linspace(-2.0, 2.0, 17)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_closed_forms(noise, activation):
    """Quadrature on (-60, 60), within ten times its error and what the tails hold: slopes are at
    most 2 in size, so 2 (excess(57) + 120 tail(57)) on each side."""
    far = np.array([57.0])
    rest = 4 * float(noise.excess(far)[0] + 120 * noise.tail(far)[0])
    for x in POINTS[::4]:
        kinks = [x - k for k in activation.kinks]
        want, error = integrate.quad(
            lambda e, x=x: activation(np.array([x - e]))[0] * noise.density(np.array([e]))[0],
            -60,
            60,
            points=sorted({*kinks, -0.7, 0.0, 0.7}),
            limit=400,
        )
        found = expectation(activation, noise, np.array([x]))[0]
        assert abs(found - want) <= 10 * error + rest + 1e-12


def test_the_smoothed_relu_with_sympy():
    """Logistic noise: the integral of the sigmoid, s log(1 + exp(x / s)); 16 roundings of 1."""
    x, s = sympy.symbols("x s", positive=True)
    closed = s * sympy.log(1 + sympy.exp(x / s))
    at = {x: sympy.Rational(3, 10), s: sympy.Rational(1, 5)}
    found = expectation(RELU, Logistic(0.2), np.array([0.3]))[0]
    assert abs(found - float(closed.subs(at))) <= 16 * 2.0**-53
    found = slope(RELU, Logistic(0.2), np.array([0.3]))[0]
    assert abs(found - float(sympy.diff(closed, x).subs(at))) <= 16 * 2.0**-53


@pytest.mark.parametrize("noise", NOISES)
def test_a_hinge_errs_most_at_its_kink(noise):
    """Grid of 64ths, with the kinks; roundings of numbers up to 4."""
    x = np.arange(-256, 257) / 64
    error = np.abs(expectation(RELU, noise, x) - RELU(x))
    assert abs(error.max() - 0.5 * mean_size(noise)) <= 4 * 2.0**-53 * 4
    assert error.argmax() == 256
    for activation in ACTIVATIONS:
        found = np.abs(expectation(activation, noise, x) - activation(x)).max()
        assert found <= error_bound(activation, noise) + 64 * 2.0**-53
    assert error_bound(RELU, noise) == 0.5 * mean_size(noise)
    assert error_bound(IDENTITY, noise) == 0.0


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slopes_are_derivatives_and_are_lipschitz(noise, activation):
    """Integral of the slope between two points, within ten times the error of the quadrature."""
    a, b = -1.3, 0.9
    want = np.diff(expectation(activation, noise, np.array([a, b])))[0]
    found, error = integrate.quad(
        lambda x: slope(activation, noise, np.array([x]))[0], a, b, limit=400
    )
    assert abs(found - want) <= 10 * error + 1e-12
    grid = np.linspace(-3, 3, 6001)
    values = slope(activation, noise, grid)
    assert np.abs(values).max() <= activation.lipschitz + 1e-12
    steepest = np.abs(np.diff(values)).max() / (grid[1] - grid[0])
    assert steepest <= activation.lipschitz * variation(noise) + 1e-11


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("seed", range(4))
def test_the_composite_bound_holds(noise, seed):
    network = random_relu_network((3, 8, 12, 2), seed)
    x = np.random.default_rng(seed).uniform(-2, 2, (500, 3))
    noises = tuple(noise.scaled(f) for f in (1.0, 0.3, 2.0))
    error = np.abs(smoothed(network, noises, x) - forward(network, x)).max()
    assert 0 < error <= sharper_bound(network, noises)
    assert sharper_bound(network, noises) * 2 == pytest.approx(bound(network, noises), rel=1e-14)


def test_the_bound_is_the_sum_of_the_layers():
    """Weights of known row sums 3 and 4: noise 1 passes both, noise 2 the second."""
    first = Layer(Affine(np.array([[1.0, -2.0], [0.5, 0.5]]), np.zeros(2)), RELU)
    second = Layer(Affine(np.array([[-4.0, 0.0]]), np.zeros(1)), HARD_TANH)
    network = (first, second)
    assert (first.affine.norm, second.affine.norm) == (3.0, 4.0)
    noises = (Uniform(1.0), Uniform(3.0))
    assert bound(network, noises) == 4.0 * 0.5 + 1.5
    assert sharper_bound(network, noises) == 4.0 * 0.25 + 1.5


def test_a_common_scale_comes_out():
    """Powers of 2 commute with rounding, so this is exact; one more noise breaks it."""
    network = random_relu_network((3, 8, 8, 1), 5)
    small = tuple(
        Layer(dataclasses.replace(each.affine, bias=each.affine.bias / 8), each.activation)
        for each in network
    )
    x = np.random.default_rng(5).uniform(-2, 2, (100, 3))
    noises = (Uniform(0.5),) * 3
    found = 8 * smoothed(small, tuple(n.scaled(0.125) for n in noises), x / 8)
    assert np.array_equal(found, smoothed(network, noises, x))
    assert not np.array_equal(8 * smoothed(small, noises, x / 8), found)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: PiecewiseLinear((0.0,), ()), "a bend for each kink, got 1 kinks and 0"),
        (lambda: PiecewiseLinear((1.0, 0.0), (1.0, 1.0)), "finite and increase"),
        (lambda: PiecewiseLinear((0.0,), (math.nan,)), "bends, slope and constant are finite"),
        (lambda: PiecewiseLinear((math.inf,), (1.0,)), "finite and increase"),
        (
            lambda: smoothed(random_relu_network((1, 1), 0), (), np.zeros((1, 1))),
            "a noise for each",
        ),
        (lambda: bound((), ()), "a network has layers"),
        (
            lambda: bound(random_relu_network((1, 2), 0) * 2, (Uniform(1.0),) * 2),
            "taking the units of the one before",
        ),
    ],
)
def test_bad_input_is_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
