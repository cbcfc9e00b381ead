"""Networks of stochastic binary units: every state is summed over."""

import math
from itertools import pairwise, product

import numpy as np
import pytest

from qtheory.gradients.stochastic.networks import (
    Network,
    distance,
    enumerate_states,
    expected_loss,
    gradients,
    mean_field,
    mean_field_weights,
    sample_analytic,
    score,
    straight_through,
    weight_moments,
)
from qtheory.gradients.stochastic.units import Objective
from qtheory.noise import Gaussian, Logistic, Uniform

LOGISTIC = Logistic(0.5)
ROUNDING = 1e-12
"""At most 2**15 states; pairwise sums of numbers below 100 err by less than 40 * 100 2**-53, and
a few factors of them likewise."""


def network(sizes, noise=LOGISTIC, gain=1.0, seed=1):
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(sizes))
    weights = tuple(gain * rng.normal(size=(o, i)) / np.sqrt(i) for i, o in pairs)
    return Network(weights, tuple(0.3 * gain * rng.normal(size=o) for _, o in pairs), noise)


def loss_of(units, seed=2):
    products = np.random.default_rng(seed).normal(size=2**units)
    return Objective(products, np.zeros(units), np.zeros(units))


def sum_of_units(units):
    products = np.zeros(2**units)
    products[2 ** np.arange(units)] = np.random.default_rng(3).normal(size=units)
    return Objective(products, np.zeros(units), np.zeros(units))


def inputs(size):
    return np.random.default_rng(4).normal(size=size)


def means(of, net, loss, run):
    return [m.mean for m in weight_moments(of(net, loss, run), run)]


@pytest.mark.parametrize("noise", [Logistic(0.5), Gaussian(1.0), Uniform(6.0)])
def test_gradients_are_central_differences(noise):
    """h**2 / 6 times a third derivative below 1e3, and 1e2 2**-48 / h."""
    net, loss, x, h = network((3, 3, 4, 4), noise), loss_of(4), inputs(3), 1e-4
    exact = gradients(net, loss, enumerate_states(net, x))
    for layer, (w, found) in enumerate(zip(net.weights, exact, strict=True)):
        for i, j in np.ndindex(w.shape):
            slope = 0.0
            for sign in (1.0, -1.0):
                moved = w.copy()
                moved[i, j] += sign * h
                weights = (*net.weights[:layer], moved, *net.weights[layer + 1 :])
                slope += sign * expected_loss(Network(weights, net.biases, noise), loss, x)
            assert abs(slope / (2 * h) - found[i, j]) <= 1e3 * h**2 / 6 + 1e2 * 2.0**-48 / h


def test_states_have_a_law_and_two_ways_to_the_loss():
    net, loss, x = network((5, 5, 5, 5)), loss_of(5), inputs(5)
    run = enumerate_states(net, x)
    assert len(run.probability) == 2**15 and abs(run.probability.sum() - 1) <= ROUNDING
    both = run.probability @ loss.value(run.layers[-1]), expected_loss(net, loss, x)
    assert abs(both[0] - both[1]) <= ROUNDING


def test_the_score_is_unbiased_whatever_the_baseline():
    net, loss, x = network((3, 3, 4, 4)), loss_of(4), inputs(3)
    run = enumerate_states(net, x)
    plain, shifted = (
        [m.mean for m in weight_moments(score(net, loss, run, b), run)] for b in (0.0, 7.0)
    )
    for a, b in zip(plain, shifted, strict=True):
        assert np.abs(a - b).max() <= ROUNDING


def test_the_last_layer_has_no_bias_and_the_others_do():
    net, loss, x = network((3, 3, 4, 4)), loss_of(4), inputs(3)
    run = enumerate_states(net, x)
    exact = gradients(net, loss, run)
    for of in (straight_through, sample_analytic):
        found = means(of, net, loss, run)
        assert np.abs(found[-1] - exact[-1]).max() <= ROUNDING
        assert all(distance(a, b).bias > 0.05 for a, b in zip(found[:2], exact[:2], strict=True))


def test_where_sample_analytic_is_unbiased():
    """One layer; two with a sum of units as loss; a single unit in all later layers."""
    cases = [
        (network((4, 5)), loss_of(5)),
        (network((3, 4, 5)), sum_of_units(5)),
        (network((3, 4, 1, 1)), loss_of(1)),
    ]
    for net, loss in cases:
        run = enumerate_states(net, inputs(net.weights[0].shape[1]))
        exact, found = gradients(net, loss, run), means(sample_analytic, net, loss, run)
        for a, b in zip(found, exact, strict=True):
            assert np.abs(a - b).max() <= ROUNDING
        if len(exact) > 1:
            straight = means(straight_through, net, loss, run)
            assert distance(straight[0], exact[0]).bias > 0.01


def test_straight_through_is_the_linear_part_of_sample_analytic():
    """For small weights and biases they differ by a relative O(gain**2): the second order of
    F has F'' at a, which is 0 at 0. Uniform noise wide enough for every activation, flipped or
    not, has no other part than the linear one."""
    loss, x = loss_of(4), inputs(3)
    gaps: list[float] = []
    for gain in (0.02, 0.01):
        net = network((3, 3, 4), gain=gain)
        run = enumerate_states(net, x)
        both = [of(net, loss, run)[0] for of in (straight_through, sample_analytic)]
        gaps.append(np.abs(both[0] - both[1]).max() / np.abs(both[0]).max())
    assert gaps[0] < 0.01 and 3.5 < gaps[0] / gaps[1] < 4.5  # quadratic in the gain
    net = network((3, 3, 4, 4), Uniform(60.0))
    run = enumerate_states(net, x)
    for a, b in zip(straight_through(net, loss, run), sample_analytic(net, loss, run), strict=True):
        assert np.abs(a - b).max() <= 1e-13  # numbers below 1, a hundred roundings


def sigmoid(a):
    """F of logistic noise of scale 1/2."""
    return 1.0 / (1.0 + math.exp(-2.0 * a))


def plain_density(a):
    return 2.0 * sigmoid(a) * sigmoid(-a)


def plain_state(net, x, row):
    """Probability of a state, and (W, units below, activations, units) of every layer."""
    below, total, found = x, 1.0, []
    for w, b, y in zip(net.weights, net.biases, row, strict=True):
        a = [sum(w[i, j] * below[j] for j in range(len(below))) + b[i] for i in range(len(b))]
        total *= math.prod(sigmoid(y[i] * a[i]) for i in range(len(b)))
        found.append((w, below, a, y))
        below = y
    return total, found


def plain_estimates(found, g, flips):
    """e of every layer by the chain rule or by flips of single units; g: of the last layer."""
    rows = []
    for w, below, a, y in reversed(found):
        rows.append([2.0 * plain_density(a[j]) * g[j] for j in range(len(y))])

        def change(i, j, w=w, below=below, a=a, y=y):
            if not flips:
                return 2.0 * plain_density(a[j]) * w[j, i]
            moved = sigmoid(y[j] * a[j]) - sigmoid(y[j] * (a[j] - 2.0 * w[j, i] * below[i]))
            return below[i] * y[j] * moved

        g = [sum(g[j] * change(i, j) for j in range(len(y))) for i in range(len(below))]
    return rows[::-1]


def test_estimators_by_a_plain_loop_over_states():
    """Products and sums of Python numbers for 3-2-3-2 units and all products of the last two as
    loss: numbers below 100, at most 100 roundings of 2**-53 each."""
    net, loss, x = network((3, 2, 3, 2)), loss_of(2), inputs(3)
    c, run = loss.products, enumerate_states(net, x)
    states = np.concatenate(run.layers[1:], axis=1)
    ours = [of(net, loss, run) for of in (straight_through, sample_analytic, score)]
    for row in product(*(product((-1.0, 1.0), repeat=k) for k in (2, 3, 2))):
        (at,) = np.flatnonzero((states == [u for layer in row for u in layer]).all(axis=1))
        p, found = plain_state(net, x, row)
        assert abs(run.probability[at] - p) <= 100 * 2.0**-53
        y = row[-1]
        top = [c[1] + c[3] * y[1], c[2] + c[3] * y[0]]
        value = c[0] + c[1] * y[0] + c[2] * y[1] + c[3] * y[0] * y[1]
        scores = [
            [value * y[i] * plain_density(a[i]) / sigmoid(y[i] * a[i]) for i in range(len(y))]
            for _, _, a, y in found
        ]
        plain = plain_estimates(found, top, False), plain_estimates(found, top, True), scores
        for table, rows in zip(ours, plain, strict=True):
            for mine, theirs in zip(table, rows, strict=True):
                assert np.abs(mine[at] - theirs).max() <= 1e4 * 2.0**-53


def test_the_mean_field_is_exact_for_one_layer_and_multi_affine_losses():
    net, loss, x = network((4, 5)), loss_of(5), inputs(4)
    exact = gradients(net, loss, enumerate_states(net, x))
    assert np.abs(mean_field_weights(net, loss, x)[0] - exact[0]).max() <= ROUNDING


def test_the_mean_field_gradient_is_a_central_difference():
    """tanh(a / (2 scale)) units; h**2 / 6 times 1e2, and 1e2 2**-53 / h."""
    net, loss, x, h = network((3, 4, 4)), loss_of(4), inputs(3), 1e-4

    def value(shift):
        first = np.tanh(net.weights[0] @ x + net.biases[0] + shift)  # scale 1/2
        second = np.tanh(net.weights[1] @ first + net.biases[1])
        return loss.value(second[None])[0]

    found = mean_field(net, loss, x)[0]
    for i, e in enumerate(np.eye(4) * h):
        slope = (value(e) - value(-e)) / (2 * h)
        assert abs(slope - found[i]) <= 1e2 * h**2 + 1e2 * 2.0**-53 / h


def test_variances_are_second_moments():
    net, loss, x = network((2, 2, 2)), loss_of(2), inputs(2)
    run = enumerate_states(net, x)
    table = straight_through(net, loss, run)
    (first, _) = weight_moments(table, run)
    entries = np.einsum("si,sj->sij", table[0], run.layers[0])
    spread = np.tensordot(run.probability, (entries - first.mean) ** 2, 1)
    assert abs(spread.sum() - first.variance) <= ROUNDING


@pytest.mark.parametrize(
    ("weights", "biases", "rule"),
    [
        ((), (), "a network has layers"),
        ((np.ones((2, 3)), np.ones((2, 3))), (np.ones(2), np.ones(2)), "as many inputs"),
        ((np.ones((2, 3)),), (np.ones(3),), "a bias for each unit"),
        ((np.ones((9, 2)), np.ones((9, 9))), (np.ones(9), np.ones(9)), r"got 2\*\*18"),
    ],
)
def test_bad_networks_are_refused(weights, biases, rule):
    with pytest.raises(ValueError, match=rule):
        Network(weights, biases, Logistic(1.0))


def test_a_distance_from_no_gradient_is_refused():
    with pytest.raises(ValueError, match=r"not 0, got 1\.0, 0\.0"):
        distance(np.ones((1, 1)), np.zeros((1, 1)))
