"""Mirror steps: against a numerical minimiser, and the forms against each other."""

import math

import numpy as np
import pytest
from scipy import optimize

from qtheory.gradients.stochastic.mirror import (
    bernoulli_step,
    dual_step,
    entropic_step,
    lift,
    mirror_step,
    project,
    relative_entropy,
    tanh_step,
)
from qtheory.noise import Cauchy, Gaussian, Logistic, StudentT, Triangular, Uniform

W = np.array([-0.99, -0.3, 0.0, 0.25, 0.9])
G = np.array([-2.0, 1.5, 0.3, -0.7, 4.0])
UNBOUNDED = (Gaussian(0.7), Logistic(0.5), StudentT(3.0, 1.0), Cauchy(0.5))


@pytest.mark.parametrize("mean", [0.02, 0.4, 0.9])
@pytest.mark.parametrize("slope", [-3.0, 0.5])
def test_a_step_minimises_what_it_says(mean, slope):
    """A bounded search to 1e-10. The curvature is at least 4 / rate, and the function, below 8 in
    size, is flat to 4 roundings of that within sqrt(2 * 32 * 2**-53 * rate / 4) = 4e-8."""
    rate = 0.7

    def cost(m):
        return slope * m + float(relative_entropy(np.array(m), np.array(mean))) / rate

    found = optimize.minimize_scalar(
        cost, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}
    )
    step = bernoulli_step(np.array([mean]), np.array([slope]), rate)[0]
    assert abs(found.x - step) <= 1e-7


def test_an_entropic_step_minimises_what_it_says():
    """No neighbour in the simplex is lower, and both categories are a Bernoulli mean."""
    p, g, rate = np.array([0.1, 0.2, 0.7]), np.array([1.0, -2.0, 0.5]), 0.4
    step = entropic_step(p, g, rate)

    def cost(q):
        return g @ q + (q * np.log(q / p)).sum() / rate

    for i, j in [(0, 1), (1, 2), (2, 0)]:
        for h in (1e-3, -1e-3):
            moved = step + h * (np.eye(3)[i] - np.eye(3)[j])
            assert cost(moved) > cost(step)
    two = entropic_step(np.array([0.3, 0.7]), np.array([2.0, 0.0]), rate)[0]
    one = bernoulli_step(np.array([0.3]), np.array([2.0]), rate)[0]
    assert abs(two - one) <= 8 * 2.0**-53


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_md_tanh_is_an_additive_step_of_the_artanh(beta):
    """(1 + w) / (1 - w) has relative error 4 2**-53 at w = -.99 after the subtraction: 2**-53 of
    w is 100 2**-53 of 1 + w; results are below 1."""
    found = tanh_step(W, G, 0.2, beta)
    assert np.abs(found - np.tanh(np.arctanh(W) - beta * 0.2 * G)).max() <= 256 * 2.0**-53


def test_md_tanh_is_the_mirror_step_of_the_mean():
    """m = (1 + w) / 2, and the gradient in m is twice that in w."""
    step = bernoulli_step(0.5 * (1 + W), 2 * G, 0.2)
    assert np.abs(2 * step - 1 - tanh_step(W, G, 0.2)).max() <= 256 * 2.0**-53


@pytest.mark.parametrize("noise", UNBOUNDED)
def test_a_projection_and_its_mirror_map(noise):
    """Two inverse functions of relative error 1e-13 where the mass left is at least 0.005."""
    assert np.abs(project(noise, lift(noise, W)) - W).max() <= 1e-12
    moved = mirror_step(noise, W, G, 0.1)
    assert ((moved - W) * G < 0).all()
    assert (dual_step(lift(noise, W), G, 0.1) == lift(noise, W) - 0.1 * G).all()


def test_the_usual_proxies_are_projections():
    """Differences of two tails, each rounded three times."""
    x = np.linspace(-2.0, 2.0, 33)
    inner = np.clip(x, -1, 1)
    for noise, form in (
        (Uniform(1.0), inner),
        (Logistic(0.5), np.tanh(x)),
        (Triangular(1.0), inner * (2 - abs(inner))),
    ):
        assert np.abs(project(noise, x) - form).max() <= 8 * 2.0**-53


def test_logistic_noise_gives_md_tanh():
    """u of scale 1 / (2 beta) moves by rate g, beta u by beta rate g."""
    found = mirror_step(Logistic(1 / 6), W, G, 0.2)
    assert np.abs(found - tanh_step(W, G, 0.2, 3.0)).max() <= 512 * 2.0**-53


def test_the_dual_form_comes_back_from_a_rounded_one():
    """tanh 20 is 1 in float64: a step of w cannot be written, one of u can."""
    u = np.array([20.0])
    w = project(Logistic(0.5), u)
    assert w[0] == 1.0
    with pytest.raises(ValueError, match=r"a mean of a mirror step is inside \(-1, 1\), got"):
        tanh_step(w, np.ones(1), 1.0)
    back = project(Logistic(0.5), dual_step(u, np.full(1, 19.0), 1.0))
    assert abs(back[0] - math.tanh(1.0)) <= 4 * 2.0**-53


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: bernoulli_step(np.array([1.0]), np.ones(1), 1.0), r"inside \(0, 1\), got"),
        (lambda: bernoulli_step(np.array([0.5]), np.ones(1), 0.0), "rate of a mirror step"),
        (lambda: tanh_step(W, G, 0.1, beta=np.nan), "the beta of a mirror step"),
        (lambda: entropic_step(np.array([0.5, 0.6]), np.ones(2), 1.0), "sums to 1, got"),
        (lambda: entropic_step(np.array([0.0, 1.0]), np.ones(2), 1.0), "positive and sums"),
        (lambda: lift(Uniform(1.0), W), "positive density, got Uniform"),
        (lambda: lift(Triangular(1.0), W), "positive density, got Triangular"),
    ],
)
def test_bad_input_is_refused(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()
