"""True gradients of stair networks: against differences, and closed forms of the discrete one."""

import math

import numpy as np
import pytest
from gradient_cases import DATA, NOISES, TEACHER, TERNARY, UNIT
from scipy import special

from qtheory.gradients.laboratory.estimators import (
    Identity,
    annealed,
    passed,
    starting,
    straight_through,
)
from qtheory.gradients.laboratory.measure import GaussianData, measure
from qtheory.gradients.laboratory.targets import (
    mean_field_gradients,
    smoothed_gradients,
    smoothed_losses,
    surface_gradients,
)
from qtheory.gradients.networks.affine import Affine
from qtheory.gradients.networks.loss_network import LossNetwork, random_network
from qtheory.stairs.stair import Stair

# Differences


def differences(network, value, h=1e-5):
    """Central differences of a number in every parameter, by layer."""
    found = []
    for number, layer in enumerate(network.maps):
        vector = layer.vector()
        each = np.empty_like(vector)
        for k in range(vector.size):
            up, down = vector.copy(), vector.copy()
            up[k] += h
            down[k] -= h
            values = [value(network.with_map(number, layer.with_vector(v))) for v in (up, down)]
            each[k] = (values[0] - values[1]) / (2 * h)
        found.append(each)
    return found


@pytest.mark.parametrize("loss", ["squared", "logistic", "linear"])
@pytest.mark.parametrize("kind", ["smoothed", "mean field"])
def test_true_gradients_are_central_differences(loss, kind):
    """Step h: h**2 / 6 times a third derivative, below 2e4 (density's second derivative below
    0.13 / 0.2**3, inputs below 3, losses below 10), and 2**-52 * 20 / h."""
    network = random_network((2, 3, 3, 1), TERNARY, 1, loss)
    targets = np.sign(DATA.targets) if loss == "logistic" else DATA.targets
    if kind == "smoothed":

        def value(net):
            return DATA.probabilities @ smoothed_losses(net, NOISES, DATA.inputs, targets)

        got = smoothed_gradients(network, NOISES, DATA.inputs, targets)
    else:
        rows = starting(DATA.inputs, targets, DATA.probabilities)

        def value(net):
            at = passed(net, annealed("expectation", NOISES), rows).states[-1]
            return DATA.probabilities @ net.losses(net.output(at), targets)

        got = mean_field_gradients(network, NOISES, DATA.inputs, targets)
    bound = 1e-10 / 6 * 2e4 + 2.0**-52 * 20 / 1e-5
    for exact, wanted in zip(got, differences(network, value), strict=True):
        assert np.abs(wanted).max() > 1e-2
        assert np.abs(DATA.probabilities @ exact - wanted).max() <= bound


# The discrete gradient over Gaussian inputs

LINE_TEACHER = LossNetwork.of(
    (
        Affine(np.array([[1.0], [-2.0]]), np.array([0.3, 0.2])),
        Affine(np.array([[1.0, 0.7]]), np.array([0.1])),
    ),
    Stair.step(-1.0),
)


def population_loss(network):
    """Mean loss over one input N(0, 1), exactly: constant between crossings of thresholds."""
    crossings = []
    for each in (network, LINE_TEACHER):
        layer = each.hidden.layers[0]
        for w, b in zip(layer.affine.weights[:, 0], layer.affine.bias, strict=True):
            crossings += [(t - b) / w for t in layer.stair.thresholds]
    ends = np.array([-np.inf, *sorted(crossings), np.inf])
    middles = np.clip(ends[1:], -50, 50) / 2 + np.clip(ends[:-1], -50, 50) / 2
    x = middles[:, None]
    losses = network.losses(network(x), LINE_TEACHER(x))
    return float(np.diff(special.ndtr(ends)) @ losses)


@pytest.mark.parametrize("widths", [(1, 2, 1), (1, 3, 2, 1)])
def test_the_surface_integral_is_the_derivative_of_the_population_loss(widths):
    """For one input nothing is left to draw. Differences: third derivative of the normal law's
    function of a crossing below 100, losses below 10; and in deeper layers 0, exactly."""
    network = random_network(widths, TERNARY, 3)
    got = surface_gradients(network, (0.0,) * (len(widths) - 2), LINE_TEACHER, np.ones((2, 1)))
    wanted = differences(network, population_loss)
    assert np.array_equal(got[0], got[1]) and np.abs(wanted[0]).max() > 0.05
    assert np.abs(got[0] - wanted[0]).max() <= 1e-10 / 6 * 1e3 + 2.0**-52 * 20 / 1e-5
    assert not any(each.any() for each in wanted[1:-1])
    report = measure(
        network, GaussianData(1, LINE_TEACHER),
        straight_through(Identity(), len(widths) - 2), draws=2000, targets=("discrete",),
    )  # fmt: skip
    assert report.layers[0].against["discrete"].size == pytest.approx(
        np.linalg.norm(wanted[0]), abs=1e-6
    )
    bias = wanted[-1] - report.layers[-1].mean
    assert (np.abs(bias) <= 5 * report.layers[-1].mean_error).all()


def neuron(w, v):
    maps = Affine(np.array([w]), np.zeros(1)), Affine(np.array([[v]]), np.zeros(1))
    return LossNetwork.of(maps, Stair.step())


def test_the_surface_integral_of_one_unit_in_closed_form():
    """v v* / (2 pi |w|) times minus the direction of w* off w, at 5 standard errors."""
    w, there = np.array([2.0, 0.5, -1.0]), np.array([0.3, 1.0, 0.4])
    student, teacher = neuron(w, 1.5), neuron(there, 0.8)
    normals = np.random.default_rng(5).normal(size=(20_000, 3))
    draws = surface_gradients(student, (0.0,), teacher, normals)
    off = there - (there @ w) * w / (w @ w)
    wanted = -1.5 * 0.8 / (2 * math.pi * np.linalg.norm(w)) * off / np.linalg.norm(off)
    error = draws.std(axis=0, ddof=1)[:3] / math.sqrt(len(draws))
    assert (
        np.abs(draws.mean(axis=0)[:3] - wanted).max() <= 5 * error.max() < 0.1 * abs(wanted).max()
    )
    assert np.abs(draws[:, :3] @ w).max() <= 1e-12  # nothing along w


def test_a_mean_moves_the_surfaces():
    """A mean is a bias with the other sign, in every layer."""
    network = random_network((2, 3, 2, 1), TERNARY, 3)
    shifted = network
    for k, mean in enumerate((0.2, -0.3)):
        layer = network.maps[k]
        shifted = shifted.with_map(k, Affine(layer.weights, layer.bias - mean))
    normals = np.random.default_rng(5).normal(size=(50, 2))
    a = surface_gradients(network, (0.2, -0.3), TEACHER, normals)
    b = surface_gradients(shifted, (0.0, 0.0), TEACHER, normals)
    assert a.any() and np.abs(a - b).max() <= 64 * UNIT * max(np.abs(a).max(), 1)


def test_a_unit_without_weights_has_no_surface():
    with pytest.raises(ValueError, match=r"has a weight, got norms \[0.0\]"):
        surface_gradients(neuron([0.0, 0.0], 1.0), (0.0,), TEACHER, np.ones((2, 2)))
