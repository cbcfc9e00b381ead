"""Two layers: gradients, their tangents and hyper-gradients against central differences."""

import math

import numpy as np
import pytest

from qpapers.spallanzani2022.hypergradient_network import (
    State,
    TwoLayers,
    hard_loss,
    learn,
    scales,
    tangent_pass,
    teacher,
    train,
)

SAME = np.array([[0.5, 2.0], [0.5, 2.0]])
UNEQUAL = np.array([[0.4, 2.5], [0.7, 1.2]])
AT = np.array([0.3, 0.45])


def plain_loss(net, w, at):
    """Written out with tanh: the logistic stair is the mean of two of them, times 2, less 0."""

    def stair(x, s):
        return 0.5 * (np.tanh((x - 0.5) / (2 * s)) + np.tanh((x + 0.5) / (2 * s)))

    x, y = net.training
    h = stair(x @ stair(w.first, at[0]) / math.sqrt(x.shape[1]), at[0])
    return 0.5 * np.mean((h @ stair(w.second, at[1]) / math.sqrt(len(w.second)) - y) ** 2)


def directions(net, seed=3, count=3):
    draw = np.random.default_rng(seed)
    along = State(*(draw.standard_normal((count, *a.shape)) for a in net.start))
    return along, draw.standard_normal((count, 2))


def test_a_pass_is_the_gradient_of_the_plain_loss():
    """Step 1e-6: third derivatives below 1e3 and rounding 1e-16 / h: 1e-9."""
    net = teacher(1)
    found = tangent_pass(net.training, net.start, AT, *directions(net))
    assert abs(found.loss - plain_loss(net, net.start, AT)) <= 1e-15
    along, _ = directions(net, seed=4)
    for k in range(3):
        ends = [
            State(net.start.first + e * along.first[k], net.start.second + e * along.second[k])
            for e in (1e-6, -1e-6)
        ]
        measured = (plain_loss(net, ends[0], AT) - plain_loss(net, ends[1], AT)) / 2e-6
        inner = (found.gradient.first * along.first[k]).sum()
        inner += found.gradient.second @ along.second[k]
        assert abs(measured - inner) <= 1e-9
        assert abs(inner) > 1e-3


def test_tangents_are_central_differences_of_the_gradient():
    """Weights and scales move together; step 1e-6, as above with derivatives below 1e4: 1e-8."""
    net, h = teacher(2), 1e-6
    along, ds = directions(net)
    found = tangent_pass(net.training, net.start, AT, along, ds).moved
    for k in range(3):

        def gradient(e, k=k):
            w = State(net.start.first + e * along.first[k], net.start.second + e * along.second[k])
            return tangent_pass(net.training, w, AT + e * ds[k], along, ds).gradient

        for up, down, exact in zip(gradient(h), gradient(-h), found, strict=True):
            assert np.abs((up - down) / (2 * h) - exact[k]).max() <= 1e-8
            assert np.abs(exact[k]).max() > 1e-3


@pytest.mark.parametrize(("seed", "phis"), [(1, SAME), (2, UNEQUAL)])
def test_hypergradients_of_layers_are_central_differences(seed, phis):
    """Step 1e-5: as for one layer, 1e-5 of the largest."""
    net, h = teacher(seed), 1e-5
    found = train(net, phis).hypergradient
    for layer in range(2):
        for k in range(2):
            step = np.zeros((2, 2))
            step[layer, k] = h
            measured = (train(net, phis + step).loss - train(net, phis - step).loss) / (2 * h)
            assert abs(measured - found[layer, k]) <= 1e-5 * np.abs(found).max()


def test_learning_schedules_of_layers_reduces_the_loss():
    net = teacher(1)
    found = learn(net, SAME, 3, 0.4)
    assert len(found.losses) > 1
    assert all(b < a for a, b in zip(found.losses, found.losses[1:], strict=False))
    assert found.losses[-1] == train(net, found.phis[-1]).loss
    assert all((phis > 0).all() for phis in found.phis)


def test_the_hard_loss_by_a_loop_over_points():
    """Hidden levels are whole numbers, so only the sum of squares is rounded: 256 terms."""
    net = teacher(3)
    found, (x, y) = hard_loss(net, net.start), net.validation
    total = 0.0

    def hard(v):
        return (1.0 if v >= 0.5 else 0.0) - (1.0 if v < -0.5 else 0.0)

    first, second = np.vectorize(hard)(net.start.first), np.vectorize(hard)(net.start.second)
    for point, target in zip(x, y, strict=True):
        h = [hard(float(v)) for v in point @ first / math.sqrt(6)]
        total += 0.5 * (np.dot(h, second) / math.sqrt(5) - target) ** 2 / len(y)
    assert abs(found - total) <= 256 * 2.0**-50


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda n: TwoLayers(*n, iterations=0), "are positive"),
        (lambda n: scales(teacher(1), np.array([[0.0, 1.0], [0.5, 1.0]])), "beta > 0"),
        (lambda n: scales(teacher(1), np.array([[0.5, 1.0], [0.5, -1.0]])), "alpha >= 0"),
        (lambda n: learn(teacher(1), np.array([[0.5, 1.0], [0.5, 0.0]]), 1, 0.1), "are positive"),
    ],
)
def test_bad_networks_are_refused(make, rule):
    net = teacher(1)
    with pytest.raises(ValueError, match=rule):
        make((net.training, net.validation, net.start))
