"""Stochastic binary units: enumeration against differences, and the biases against their forms."""

import numpy as np
import pytest

from qtheory.gradients.stochastic.units import (
    Objective,
    bernoulli_bias,
    bias,
    corners,
    expectation,
    flips,
    gradient,
    law,
    moments,
    score,
    straight_through,
)
from qtheory.noise import Cauchy, Gaussian, Logistic, StudentT, Triangular, Uniform, peak

NOISES = (
    Uniform(2.5),
    Triangular(2.5),
    Gaussian(0.9),
    Logistic(0.5),
    StudentT(3.0, 0.7),
    Cauchy(0.4),
)
K = 5
A = np.array([0.7, -1.2, 0.1, 1.9, -0.4])


def objective(squares=0.0, cubed=0.0):
    rng = np.random.default_rng(5)
    parts = rng.normal(size=2**K), rng.normal(size=K), rng.normal(size=K)
    return Objective(parts[0], squares * parts[1], cubed * parts[2])


def rounding(loss, noise):
    """L has 32 products, 5 squares and a cube of 5, so 50 roundings of the sum M of their sizes;
    a mean over 32 states has 32 more. Weights of the states times the slopes of an estimator are at
    most 4 peaks in all."""
    sizes = np.abs(loss.products).sum() + 3 * np.abs(loss.squares).sum()
    return 4 * peak(noise) * 100 * 2.0**-53 * (sizes + 6 * np.abs(loss.cubed).sum() ** 3)


@pytest.mark.parametrize("noise", NOISES)
def test_the_gradient_is_a_central_difference(noise):
    """Step h: h**2 / 6 times a third derivative, below 8 max abs(L) < 400 here, plus rounding of
    80 max(L) 2**-53 / h. No unit is within h of an end of a bounded noise."""
    loss, h = objective(1.0, 1.0), 1e-4
    found = gradient(loss, noise, A)
    most = np.abs(loss.value(corners(K))).max()
    for i, e in enumerate(np.eye(K) * h):
        slope = (expectation(loss, noise, A + e) - expectation(loss, noise, A - e)) / (2 * h)
        third = 8 * most / min(noise_scale(noise), 1.0) ** 3
        assert abs(slope - found[i]) <= h**2 / 6 * third + 80 * most * 2.0**-53 / h


def noise_scale(noise):
    return 0.4 / peak(noise)


def test_the_derivative_of_an_objective_is_a_central_difference_off_the_corners():
    """A cubic: the error is h**2 times b_i**3 < 30, and rounding 200 2**-53 * 50 / h."""
    loss, h = objective(1.0, 1.0), 1e-4
    y = np.random.default_rng(6).uniform(-1, 1, (7, K))
    for i, e in enumerate(np.eye(K) * h):
        slope = (loss.value(y + e) - loss.value(y - e)) / (2 * h)
        assert np.abs(slope - loss.gradient(y)[:, i]).max() <= 30 * h**2 + 1e4 * 2.0**-53 / h


@pytest.mark.parametrize("noise", NOISES)
def test_score_and_flips_are_unbiased_for_every_objective(noise):
    loss = objective(1.0, 1.0)
    exact, weights = gradient(loss, noise, A), law(noise, A)
    for estimator in (score(loss, noise, A), score(loss, noise, A, 3.0), flips(loss, noise, A)):
        assert np.abs(moments(estimator, weights).mean - exact).max() <= rounding(loss, noise)


@pytest.mark.parametrize("noise", NOISES)
def test_straight_through_is_unbiased_for_multi_affine_objectives(noise):
    loss = objective()
    found = moments(straight_through(loss, noise, A), law(noise, A)).mean
    assert np.abs(found - gradient(loss, noise, A)).max() <= rounding(loss, noise)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("squares", "cubed"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_the_bias_of_squares_and_a_cube(noise, squares, cubed):
    loss = objective(squares, cubed)
    found = moments(straight_through(loss, noise, A), law(noise, A)).mean
    wrong = found - gradient(loss, noise, A)
    assert np.abs(wrong - bias(loss, noise, A)).max() <= rounding(loss, noise)
    assert np.abs(wrong).max() > 0.01


@pytest.mark.parametrize("proxy", NOISES[1:])
def test_another_proxy_scales_every_unit_by_a_ratio_of_densities(proxy):
    loss, noise = objective(), NOISES[0]
    found = moments(straight_through(loss, noise, A, proxy), law(noise, A)).mean
    ratio = proxy.density(A) / noise.density(A)
    assert np.abs(found - ratio * gradient(loss, noise, A)).max() <= 4 * rounding(loss, proxy)
    assert np.abs(ratio - 1).max() > 0.1


def test_variances_are_those_of_draws():
    """400000 states drawn: standard error of a variance sqrt((m4 - v**2) / n); 7 of them, 15
    numbers: a false alarm once in 3e10."""
    loss, noise, n = objective(1.0, 1.0), Logistic(0.5), 400_000
    weights = law(noise, A)
    drawn = np.random.default_rng(7).choice(2**K, size=n, p=weights)
    for of in (straight_through, score, flips):
        table = of(loss, noise, A)
        exact, sample = moments(table, weights), table[drawn]
        error = np.sqrt(weights @ (table - exact.mean) ** 4 - exact.variance**2) / np.sqrt(n)
        assert (np.abs(sample.var(axis=0) - exact.variance) <= 7 * error).all()
        assert (7 * error < 0.2 * exact.variance + 1e-12).all()  # what is detected


def test_flips_vary_less_than_the_score():
    """Flips are the mean of the score over the unit itself, so they cannot vary more."""
    loss = objective(1.0, 1.0)
    for noise in NOISES:
        weights = law(noise, A)
        less, more = (moments(of(loss, noise, A), weights).variance for of in (flips, score))
        assert (less <= more * (1 + 1e-12)).all() and (less < 0.9 * more).any()


def test_a_law_is_a_product():
    weights, y = law(Uniform(2.5), A), corners(K)
    assert abs(weights.sum() - 1) <= 2.0**-48
    above = np.array([weights[y[:, i] > 0].sum() for i in range(K)])
    assert np.abs(above - (A + 2.5) / 5).max() <= 2.0**-48


def test_the_bias_of_one_bernoulli_unit():
    """l = h**2 / 2 * c: (p - 1/2) c; l = h**3: trapezium rule, l''' / 12 = 1/2 at p = 1/2."""
    for p in (0.0, 0.25, 0.5, 1.0):
        assert bernoulli_bias((0.0, 3.0), 1.5, p) == (p - 0.5) * 3.0
        assert bernoulli_bias((2.0, 2.0), 2.0, p) == 0.0
    assert bernoulli_bias((0.0, 3.0), 1.0, 0.5) == 0.5


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: Objective(np.zeros(3), np.zeros(2), np.zeros(2)), r"2\*\*k products.*got 3, 2, 2"),
        (lambda: Objective(np.full(2, np.nan), np.zeros(1), np.zeros(1)), "finite coefficients"),
        (lambda: corners(17), "1 to 16 units, got 17"),
        (lambda: bernoulli_bias((0.0, 1.0), 1.0, 1.5), r"in \[0, 1\], got 1.5"),
        (lambda: score(objective(), Logistic(1.0), A, np.inf), "a baseline is finite, got inf"),
    ],
)
def test_bad_input_is_refused(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()
