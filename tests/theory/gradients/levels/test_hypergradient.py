"""Derivatives in the schedule: against sympy, mpmath, central differences and complex steps."""

import math

import mpmath
import numpy as np
import pytest
import sympy

from qtheory.gradients.levels.hypergradient import (
    Phi,
    Toy,
    curvature,
    density_derivative,
    forward_mode,
    hard_validation,
    learn,
    local,
    regression,
    reverse_mode,
    scale_slopes,
    scales,
    slope_in_scale_of_slope,
    train,
    validation,
    validation_gradient,
)
from qtheory.noise import Cauchy, Gaussian, Logistic, StudentT, Triangular, Uniform, with_scale
from qtheory.stairs.smoothing import expectation, slope, slope_in_scale
from qtheory.stairs.stair import Stair

UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.3, 0.5))
SMOOTH = (Gaussian(0.4), Logistic(0.2), StudentT(3.0, 0.3), StudentT(7.5, 0.4), Cauchy(0.2))
POINTS = np.linspace(-2.03, 1.97, 41)
PHI = Phi(0.6, 1.5)
TOYS = [regression(seed, family=f) for seed in (1, 3) for f in (Logistic(1.0), Gaussian(1.0))]

u, s = sympy.symbols("u s", positive=True)
DENSITIES = {  # of scale s
    Gaussian: sympy.exp(-(u**2) / (2 * s**2)) / (s * sympy.sqrt(2 * sympy.pi)),
    Logistic: 1 / (4 * s * sympy.cosh(u / (2 * s)) ** 2),
    Cauchy: 1 / (sympy.pi * s * (1 + u**2 / s**2)),
}


@pytest.mark.parametrize("family", DENSITIES)
def test_density_derivatives_are_those_of_sympy(family):
    """A few operations and one special function of numbers below 40: relative error 1e-13."""
    derivative = sympy.lambdify((u, s), sympy.diff(DENSITIES[family], u), "mpmath")
    for scale in (0.1, 2.0):
        for at in (-3.0, -0.4, 0.0, 0.05, 1.0, 5.0):
            exact = float(derivative(mpmath.mpf(at), mpmath.mpf(scale)))
            found = float(density_derivative(family(scale), np.array([at]))[0])
            assert abs(found - exact) <= 1e-12 * abs(exact) + 1e-300


@pytest.mark.parametrize("df", [1.5, 3.0, 30.0])
def test_the_density_derivative_of_student_with_mpmath(df):
    """mpmath differentiates its own density to 25 digits; ours uses a beta function: 1e-12."""

    def density(x):
        n = mpmath.mpf(df)
        peak = mpmath.gamma((n + 1) / 2) / (mpmath.sqrt(n * mpmath.pi) * mpmath.gamma(n / 2))
        return peak * (1 + (x / 2) ** 2 / n) ** (-(n + 1) / 2) / 2

    with mpmath.workdps(40):
        for at in (-7.0, -0.3, 0.2, 1.0):
            exact = float(mpmath.diff(density, at))
            found = float(density_derivative(StudentT(df, 2.0), np.array([at]))[0])
            assert abs(found - exact) <= 1e-12 * abs(exact)


@pytest.mark.parametrize("noise", [Uniform(1.0), Triangular(1.0)])
def test_bounded_noises_are_refused(noise):
    for call in (
        lambda: density_derivative(noise, POINTS),
        lambda: curvature(UNEVEN, noise, POINTS),
        lambda: slope_in_scale_of_slope(UNEVEN, noise, POINTS),
        lambda: regression(family=noise),
    ):
        with pytest.raises(ValueError, match="a density with a continuous derivative is needed"):
            call()


@pytest.mark.parametrize("noise", SMOOTH)
@pytest.mark.parametrize("mean", [0.0, -0.3])
def test_second_derivatives_are_central_differences(noise, mean):
    """Step h = 1e-5: h**2 / 6 times a fourth derivative, below 4e4 here, is 7e-7; rounding of
    slopes below 32 over h is 1e-9. The mixed one by x of d/ds, too: the order does not matter."""
    h, bound = 1e-5, 7e-7
    size = noise.std if isinstance(noise, Gaussian) else noise.scale

    def scaled(e):
        return with_scale(noise, size + e)

    up, down = slope(UNEVEN, noise, POINTS + h, mean), slope(UNEVEN, noise, POINTS - h, mean)
    assert np.abs((up - down) / (2 * h) - curvature(UNEVEN, noise, POINTS, mean)).max() <= bound
    mixed = slope_in_scale_of_slope(UNEVEN, noise, POINTS, mean)
    by_scale = slope(UNEVEN, scaled(h), POINTS, mean) - slope(UNEVEN, scaled(-h), POINTS, mean)
    assert np.abs(by_scale / (2 * h) - mixed).max() <= bound
    by_x = slope_in_scale(UNEVEN, noise, POINTS + h, mean)
    by_x = by_x - slope_in_scale(UNEVEN, noise, POINTS - h, mean)
    assert np.abs(by_x / (2 * h) - mixed).max() <= bound
    assert np.abs(mixed).max() > 1.0


@pytest.mark.parametrize("toy", TOYS)
def test_local_derivatives_are_central_differences(toy):
    """Step 1e-6 at scale .3: h**2 / 6 times third derivatives below 1e4, and rounding 1e-15 / h."""
    h, w = 1e-6, toy.start
    found = local(toy, w, 0.3)
    for j in range(w.size):
        e = h * np.eye(w.size)[j]
        column = (local(toy, w + e, 0.3).gradient - local(toy, w - e, 0.3).gradient) / (2 * h)
        assert np.abs(column - found.in_weights[:, j]).max() <= 5e-9
    rate = (local(toy, w, 0.3 + h).gradient - local(toy, w, 0.3 - h).gradient) / (2 * h)
    assert np.abs(rate - found.in_scale).max() <= 5e-9
    noise = with_scale(toy.family, 0.3)

    def loss(x):
        return toy.training.value(expectation(Stair((-1.0, 0, 1.0), (-0.5, 0.5)), noise, x))

    for j in range(w.size):
        e = h * np.eye(w.size)[j]
        assert abs((loss(w + e) - loss(w - e)) / (2 * h) - found.gradient[j]) <= 5e-9


def loss_of(toy, beta, alpha):
    return validation(toy, train(toy, scales(toy, Phi(beta, alpha)))[-1])


@pytest.mark.parametrize("toy", TOYS)
def test_hypergradients_are_central_differences(toy):
    """Step 1e-5: h**2 / 6 times a third derivative of the size of the gradient times 100 is 2e-9
    of it, and rounding 1e-15 / h is 1e-10: 1e-5 of the larger component is far above both."""
    h, found = 1e-5, forward_mode(toy, PHI).hypergradient
    beta, alpha = PHI
    measured = np.array(
        [
            loss_of(toy, beta + h, alpha) - loss_of(toy, beta - h, alpha),
            loss_of(toy, beta, alpha + h) - loss_of(toy, beta, alpha - h),
        ]
    ) / (2 * h)
    assert np.abs(found - measured).max() <= 1e-5 * np.abs(found).max()


def complex_loss(toy, beta, alpha):
    """Training and validation in complex numbers, logistic noise, written out once more: E q is
    (tanh((w - 1/2) / 2s) + tanh((w + 1/2) / 2s)) / 2."""

    def tanhs(w, scale):
        return np.tanh((w - 0.5) / (2 * scale)), np.tanh((w + 0.5) / (2 * scale))

    w = toy.start.astype(complex)
    for k in range(toy.iterations):
        scale = toy.floor + beta * (1 - k / toy.iterations) ** alpha
        a, b = tanhs(w, scale)
        outer = toy.training.hessian @ (0.5 * (a + b) - toy.training.centre)
        w = w - toy.learning_rate * (2 - a * a - b * b) / (4 * scale) * outer
    d = 0.5 * sum(tanhs(w, toy.floor)) - toy.validation.centre
    return 0.5 * d @ toy.validation.hessian @ d


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hypergradients_are_complex_steps(seed):
    """Im L(phi + i h) / h at h = 1e-30 has no error of the step. 200 iterations of 100 roundings,
    in a contracting map: 1e-11 of the larger component."""
    toy, (beta, alpha), h = regression(seed), PHI, 1e-30
    found = forward_mode(toy, PHI).hypergradient
    exact = np.array(
        [complex_loss(toy, beta + 1j * h, alpha), complex_loss(toy, beta, alpha + 1j * h)]
    )
    assert abs(exact[0].real - loss_of(toy, *PHI)) <= 1e-12
    assert np.abs(found - exact.imag / h).max() <= 1e-11 * np.abs(found).max()


@pytest.mark.parametrize("toy", TOYS)
def test_forward_and_reverse_mode_agree(toy):
    """Two orders of the same products: 1e-12 of the larger component."""
    found = forward_mode(toy, PHI)
    reverse = reverse_mode(toy, scales(toy, PHI)) @ scale_slopes(toy, PHI)
    assert np.abs(reverse - found.hypergradient).max() <= 1e-12 * np.abs(found.hypergradient).max()
    assert np.array_equal(found.weights, train(toy, scales(toy, PHI))[-1])


def test_reverse_mode_gives_every_scale():
    """Central differences in single scales, step 1e-5, as above: 1e-5 of the largest."""
    toy, h = TOYS[0], 1e-5
    at = scales(toy, PHI)
    found = reverse_mode(toy, at)
    for k in np.argsort(np.abs(found))[[0, 100, 198, 199]]:
        up, down = at.copy(), at.copy()
        up[k] += h
        down[k] -= h
        ends = [validation(toy, train(toy, x)[-1]) for x in (up, down)]
        assert abs((ends[0] - ends[1]) / (2 * h) - found[k]) <= 1e-5 * np.abs(found).max()


def test_the_gradient_of_validation():
    toy, h = TOYS[0], 1e-6
    w = toy.start
    for j in range(w.size):
        e = h * np.eye(w.size)[j]
        measured = (validation(toy, w + e) - validation(toy, w - e)) / (2 * h)
        assert abs(measured - validation_gradient(toy, w)[j]) <= 1e-6  # third derivative below 1e5


def test_deployed_weights_do_not_see_a_small_change():
    toy = TOYS[0]
    values = {hard_validation(toy, train(toy, scales(toy, Phi(b, 1.5)))[-1]) for b in (0.6, 0.6001)}
    assert len(values) == 1


@pytest.mark.parametrize(("seed", "rate"), [(1, 0.2), (3, 0.2), (4, 4.0)])
def test_learning_a_schedule_reduces_the_loss(seed, rate):
    """A change by a factor of e^4 is too long and is halved."""
    found = learn(regression(seed), PHI, changes=3, rate=rate)
    assert all(b < a for a, b in zip(found.losses, found.losses[1:], strict=False))
    assert len(found.phis) == len(found.losses) > 1
    assert all(min(phi) > 0 for phi in found.phis)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda t: Toy(t.training, t.validation, t.start, t.family, floor=0.0), "are positive"),
        (lambda t: regression(points=0), "has weights and points, got 8 and 0"),
        (lambda t: scales(t, Phi(-1.0, 1.0)), "scales are positive"),
        (lambda t: scales(t, Phi(0.5, -1.0)), "alpha >= 0"),
        (lambda t: scales(t, Phi(math.nan, 1.0)), "scales are positive"),
        (lambda t: learn(t, Phi(0.0, 1.0), 1, 0.1), "beta and alpha are positive"),
    ],
)
def test_bad_toys_are_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make(TOYS[0])
