"""Categorical units: means by enumeration, ReinMax exact for quadratics and no further."""

import numpy as np
import pytest

from qtheory.gradients.stochastic.categorical import (
    Simplex,
    gradient,
    jacobian,
    reinmax,
    score,
    softmax,
    straight_through,
)

K = 4


def instance(seed, quadratic=0.0, cubic=0.0):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(K, K))
    loss = Simplex(rng.normal(size=K), quadratic * (table + table.T), cubic * rng.normal(size=K))
    return loss, rng.normal(size=K)


def wrong(of, loss, a):
    return np.abs(softmax(a) @ of(loss, a) - gradient(loss, a)).max()


ROUNDING = 1e-14
"""Sums of 4 products of numbers below 4, three deep: below 90 roundings of 2**-53."""


def test_the_gradient_is_a_central_difference():
    """h**2 / 6 times a third derivative below 40, and 40 2**-53 / h."""
    loss, a = instance(1, 1.0, 1.0)
    values, h = loss.value(np.eye(K)), 1e-4
    for i, e in enumerate(np.eye(K) * h):
        slope = (softmax(a + e) @ values - softmax(a - e) @ values) / (2 * h)
        assert abs(slope - gradient(loss, a)[i]) <= 40 * h**2 / 6 + 40 * 2.0**-53 / h


def test_the_derivative_of_an_objective_is_a_central_difference():
    loss, _ = instance(2, 1.0, 1.0)
    z, h = np.random.default_rng(3).dirichlet(np.ones(K), 5), 1e-4
    for i, e in enumerate(np.eye(K) * h):
        slope = (loss.value(z + e) - loss.value(z - e)) / (2 * h)
        assert np.abs(slope - loss.gradient(z)[:, i]).max() <= 10 * h**2 + 40 * 2.0**-53 / h


@pytest.mark.parametrize("seed", range(5))
def test_who_is_exact_for_what(seed):
    linear, a = instance(seed)
    assert max(wrong(of, linear, a) for of in (straight_through, reinmax, score)) <= ROUNDING
    square, a = instance(seed, 1.0)
    assert wrong(reinmax, square, a) <= ROUNDING < 0.01 < wrong(straight_through, square, a)
    cubic, a = instance(seed, 1.0, 1.0)
    assert wrong(reinmax, cubic, a) > 1e-3
    assert wrong(score, cubic, a) <= 2 * ROUNDING
    shifted = softmax(a) @ score(cubic, a, 5.0) - gradient(cubic, a)
    assert np.abs(shifted).max() <= 4 * ROUNDING


def test_the_jacobian_is_that_of_softmax():
    """h**2 / 6 times a third derivative below 1, and 4 2**-53 / h."""
    a, h = np.array([0.3, -1.0, 2.0, 0.0]), 1e-4
    columns = [(softmax(a + e) - softmax(a - e)) / (2 * h) for e in np.eye(K) * h]
    assert np.abs(np.stack(columns) - jacobian(softmax(a))).max() <= h**2 / 6 + 4 * 2.0**-53 / h


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: Simplex(np.zeros(1), np.zeros((1, 1)), np.zeros(1)), "K >= 2 linear"),
        (lambda: Simplex(np.zeros(2), np.zeros((2, 3)), np.zeros(2)), "K x K quadratic"),
        (
            lambda: Simplex(np.zeros(2), np.array([[0.0, 1.0], [0.0, 0.0]]), np.zeros(2)),
            "symmetric",
        ),
        (lambda: score(*instance(1), np.nan), "a baseline is finite, got nan"),
        (lambda: Simplex(np.array([0, np.nan]), np.zeros((2, 2)), np.zeros(2)), "finite coeff"),
    ],
)
def test_bad_input_is_refused(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()
