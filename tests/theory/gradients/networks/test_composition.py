"""Smoothed stair networks against 400 digits, against `smoothing`, and against their bounds."""

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from qtheory.gradients.networks.affine import Affine
from qtheory.gradients.networks.composition import (
    copies,
    deviation,
    error_bounds,
    gap_above,
    on_thresholds,
    one_step_bound,
    output,
    power_noises,
    smoothed,
)
from qtheory.gradients.networks.random import random_levels, ternary_network
from qtheory.gradients.networks.stair_network import LayerNoise, StairLayer, StairNetwork
from qtheory.lattice import Lattice
from qtheory.noise import Cauchy, Gaussian, Logistic, StudentT, Triangular, Uniform
from qtheory.stairs import smoothing
from qtheory.stairs.stair import Stair

mpmath.mp.dps = 400

STEP, TERNARY = Stair.step(), Stair.nearest(Lattice.ternary())
FAMILIES = (
    Cauchy(1.0),
    StudentT(2.0, 1.0),
    StudentT(3.0, 1.0),
    Logistic(1.0),
    Gaussian(1.0),
    Uniform(1.0),
    Triangular(1.0),
)
DOWN = ternary_network(1, 1, Stair.step(tie="down"), 0, "none")
CLOSED: dict[object, Callable[[mpf], mpf]] = {
    Cauchy(1.0): lambda u: mpf(1) / 2 + mpmath.atan(u) / mpmath.pi,
    StudentT(2.0, 1.0): lambda u: (1 + u / mpmath.sqrt(2 + u * u)) / 2,
    Logistic(1.0): lambda u: 1 / (1 + mpmath.exp(-u)),
    Uniform(1.0): lambda u: min(max((1 + u) / 2, mpf(0)), mpf(1)),
    Gaussian(1.0): mpmath.ncdf,
}


def many_digits(network, noises, x, cdf):
    """Outputs by the definition of the smoothed stair, nothing but sums and F. noises: (m, s)."""
    features = [mpf(float(v)) for v in x]
    for layer, (m, s) in zip(network.layers, noises, strict=True):
        levels = [mpf(v) for v in layer.stair.levels]
        following = []
        for row, b in zip(layer.affine.weights, layer.affine.bias, strict=True):
            z = sum((mpf(float(w)) * f for w, f in zip(row, features, strict=True)), mpf(float(b)))
            total = levels[0]
            for t, low, high in zip(layer.stair.thresholds, levels, levels[1:], strict=False):
                total += (high - low) * cdf((z - mpf(t) + m) / s)
            following.append(total)
        features = following
    return features


def powers(exponents, lam, kappa=2, sign=1):
    return [(sign * mpf(lam) ** p, mpf(lam) ** (kappa * p)) for p in exponents]


@pytest.mark.parametrize("lam", [0.3, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("exponents", [(2, 1), (1, 1), (1, 2), (1, 3), (1, 4)])
@pytest.mark.parametrize("family", CLOSED)
def test_two_layers_against_400_digits(family, exponents, lam):
    """(m - K e) / s has a relative error of about 8 roundings over the least of abs(1 - K e / m),
    above 0.01 here, and a tail exp(-u**2 / 2) at most u**2 times that: 1400 where it is not 0."""
    for count, at in ((4, 0.0), (1, 0.0), (4, 0.5)):
        network, x = copies(count, at)
        found = output(network, power_noises(family, exponents, lam), x).item()
        want = float(many_digits(network, powers(exponents, lam), x[0], CLOSED[family])[0])
        assert abs(found - want) <= 1400 * 8 * 2.0**-53 / 0.01 * want


@pytest.mark.parametrize(
    ("family", "exponents"),
    [
        (Cauchy(1.0), (1, 2, 3)),
        (Cauchy(1.0), (3, 2, 1)),
        (StudentT(2.0, 1.0), (1, 3, 9)),
        (StudentT(2.0, 1.0), (1, 1, 1)),
        (Uniform(1.0), (1, 3, 9)),
    ],
)
@pytest.mark.parametrize("lam", [0.1, 0.005])
def test_lattice_networks_against_400_digits(family, exponents, lam):
    """At lam = .005 the last mean of (1, 3, 9) is 2e-21: errors rounded beside 1 would decide.
    Sums of 12 terms that cancel to lam of their size, then K / lam more: 1e-16 * 12 / lam**2."""
    for stair, spacing in ((STEP, 1.0), (TERNARY, 0.5)):
        network = ternary_network(12, 3, stair, seed=3, biases="lattice", spacing=spacing)
        x = random_levels(stair, 3, 12, seed=4)
        noises = power_noises(family, exponents, lam)
        found = deviation(network, noises, x)
        for point, hard, error in zip(x, network(x), found, strict=True):
            want = many_digits(network, powers(exponents, lam), point, CLOSED[family])
            exact = [float(w - mpf(float(h))) for w, h in zip(want, hard, strict=True)]
            assert np.abs(error - exact).max() <= 2.0**-53 * 12 / lam**2


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_is_the_expectation_of_its_stair(family):
    """Another formula for the same; and base + residual is the value. 16 roundings of 4."""
    stair = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.3, 0.5))
    draws = np.random.default_rng(1)
    layer = StairLayer(Affine(draws.normal(size=(5, 3)), draws.normal(size=5)), stair)
    x = draws.normal(size=(50, 3))
    noise = LayerNoise(family.scaled(0.4), -0.2)
    found = smoothed(StairNetwork((layer,)), (noise,), x)[0]
    z = layer.affine(x)
    want = smoothing.expectation(stair, family.scaled(0.4), z, mean=-0.2)
    assert np.abs(found.value - want).max() <= 4 * 16 * 2.0**-53
    assert np.abs(found.base + found.residual - found.value).max() <= 4 * 16 * 2.0**-53
    assert np.abs(found.residual).max() <= 0.5 * stair.height


def test_no_noise_is_the_stair_network():
    network = ternary_network(8, 3, TERNARY, seed=1, biases="lattice", spacing=0.5)
    x = random_levels(TERNARY, 50, 8, seed=2)
    none = (LayerNoise(None),) * 3
    assert (on_thresholds(network, x) > 0).any()
    assert np.array_equal(output(network, none, x), network(x))
    assert not deviation(network, none, x).any()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("exponents", [(3, 2, 1), (1, 1, 1), (1, 2, 3)])
def test_errors_are_below_their_bounds(family, exponents):
    """Up to the rounding of sums, 2**-40."""
    for biases in ("lattice", "generic"):
        network = ternary_network(6, 3, TERNARY, seed=5, biases=biases, spacing=0.5)
        x = random_levels(TERNARY, 20, 6, seed=6)
        for lam in (0.3, 0.03):
            noises = power_noises(family, exponents, lam)
            bounds, hard = error_bounds(network, noises, x), x
            for layer, at, bound in zip(
                network.layers, smoothed(network, noises, x), bounds, strict=True
            ):
                hard = layer(hard)
                assert np.abs(at.base - hard + at.residual).max() <= bound + 2.0**-40


@pytest.mark.parametrize("at", [0.0, -0.25, -0.5, -0.75])
@pytest.mark.parametrize("mean", [0.0, -0.25, -0.5])
def test_the_bound_without_noise_is_the_error(at, mean):
    """A mean that reaches the threshold above takes it: ties go up. Quarters are exact."""
    network, x = copies(1, at)
    first, noises = StairNetwork(network.layers[:1]), (LayerNoise(None, mean),)
    error = abs(deviation(first, noises, x).item())
    assert error == float((at >= 0) != (at >= mean)) == error_bounds(first, noises, x)[0]
    assert one_step_bound(1.0, LayerNoise(None, 0.25), math.inf, 0.0) == 1  # a level is lost


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("exponents", [(2, 1), (1, 1), (1, 2)])
def test_copies_attain_the_bound(family, exponents):
    """The worst case that K allows: relative error of a tail as in the two-layer test."""
    network, x = copies(4, 0.0)
    for lam in (0.3, 0.1, 0.01):
        noises = power_noises(family, exponents, lam)
        error = -deviation(network, noises, x).item()
        assert error == pytest.approx(error_bounds(network, noises, x)[-1], rel=1e-9)


def test_compact_noise_is_exact_from_the_edge_on():
    """Edge at m = s + K e and gam = m + s + K e; the next number of three digits is beyond it."""
    unit = StairLayer(Affine(np.ones((1, 1)), np.zeros(1)), STEP)
    for family in (Uniform(0.25), Triangular(0.25)):
        for mean, at, exact in (
            (-0.25, 0.0, True),
            (-0.249, 0.0, False),
            (-0.25, -0.5, True),
            (-0.25, -0.499, False),
            (-0.25, -0.001, False),
        ):
            noise = LayerNoise(family, mean)
            x = np.full((1, 1), at)
            error = deviation(StairNetwork((unit,)), (noise,), x).item()
            assert (error == 0) is exact
            assert (one_step_bound(1.0, noise, gap_above(unit, x), 0.0) == 0) is (
                exact and at != -0.001
            )
    assert one_step_bound(1.0, LayerNoise(Uniform(0.25), -0.5), math.inf, 0.25) == 0
    assert one_step_bound(1.0, LayerNoise(Uniform(0.25), -0.5), math.inf, 0.251) > 0
    assert one_step_bound(3.0, LayerNoise(Uniform(0.25), -0.5), 1.0, 0.251) == pytest.approx(0.006)


@pytest.mark.parametrize("family", FAMILIES)
def test_mean_zero_leaves_a_half_on_thresholds(family):
    """1/2 is exact: a tail at 0. A mean of ten scales takes it to 1 within the tail at 10."""
    network, x = copies(1, 0.0)
    first = StairNetwork(network.layers[:1])
    assert output(first, (LayerNoise(family.scaled(1e-6)),), x).item() == 0.5
    moved = output(first, (LayerNoise(family.scaled(1e-6), -1e-5),), x).item()
    assert moved >= 1 - family.tail(np.array([9.99]))[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("moves", [0.0, 1.0])
def test_off_thresholds_any_order_converges(family, moves):
    """Thresholds at 1/2, whole pre-activations: the last layer errs by at most G(0.49 / s_3), that
    of Cauchy noise being the largest, below s_3; and so do those before it, times K = 24."""
    network = ternary_network(24, 3, Stair((0.0, 1.0), (0.5,)), seed=1, biases="lattice")
    x = random_levels(STEP, 200, 24, seed=2)
    assert not on_thresholds(network, x).any()
    for exponents in ((3, 2, 1), (1, 1, 1), (1, 2, 3), (1, 3, 9)):
        noises = power_noises(family, exponents, 0.001)
        noises = tuple(LayerNoise(n.noise, moves * n.mean) for n in noises)
        error = np.abs(deviation(network, noises, x)).max()
        assert error <= 0.001 ** (2 * exponents[-1])
        assert error > 0 or family not in FAMILIES[:3]


def test_on_thresholds_the_order_matters():
    """The other way: one unit in eight on its threshold, and a plateau in reversed order."""
    network = ternary_network(24, 3, STEP, seed=1, biases="lattice")
    x = random_levels(STEP, 200, 24, seed=2)
    assert 0.05 < on_thresholds(network, x).mean() < 0.25
    right, reversed_ = (
        np.abs(deviation(network, power_noises(Cauchy(1.0), p, 0.001), x)).mean()
        for p in ((3, 2, 1), (1, 2, 3))
    )
    assert right < 0.001 and reversed_ > 0.01


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: output(DOWN, (LayerNoise(None),), np.zeros((1, 1))), "tie rule up, got 'down'"),
        (lambda: error_bounds(DOWN, (LayerNoise(None),), np.zeros((1, 1))), "up, got 'down'"),
        (lambda: error_bounds(copies(1, 0.0)[0], (), np.zeros((1, 1))), "each of 2 layers, got 0"),
        (lambda: StairNetwork(()), "a network has layers"),
        (lambda: power_noises(Cauchy(1.0), (1.0,), 1.0), r"inside \(0, 1\), got 1.0"),
        (lambda: smoothed(copies(1, 0.0)[0], (), np.zeros((1, 1))), "each of 2 layers, got 0"),
        (lambda: ternary_network(0, 1, STEP, 0, "none"), "a positive width"),
        (lambda: ternary_network(1, 1, STEP, 0, "none", spacing=0.0), "a positive width"),
    ],
)
def test_bad_input_is_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
