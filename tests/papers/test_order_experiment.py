"""The toy network: smoothed stairs, gradients against central differences, and how runs go."""

import dataclasses
import math

import numpy as np
import pytest

from qpapers.spallanzani2022 import order_experiment as experiment
from qpapers.spallanzani2022.order_experiment import (
    Setting,
    accuracy,
    at_epoch,
    constant,
    paired,
    static,
    task,
    tied,
)
from qpapers.spallanzani2022.order_network import (
    Layer,
    Shape,
    backward,
    first_parameters,
    forward,
    hard_logits,
    loss_slope,
    views,
)
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian, Logistic, StudentT, Triangular, Uniform, roughness
from qtheory.schedules import Policy
from qtheory.stairs.smoothing import expectation, slope
from qtheory.stairs.stair import Stair

TERNARY = Stair.nearest(Lattice.ternary())
NOISES = (Uniform(1.0), Triangular(1.0), Gaussian(1.0), Logistic(1.0), StudentT(3.0, 1.0))
POINTS = np.arange(-160, 161).reshape(1, 1, -1) / 64  # ties and ends of windows among them
SMALL = Shape(layers=2, width=5, inputs=3, classes=4)
TINY = Setting(
    shape=Shape(layers=3, width=8, inputs=4, classes=3),
    points=400,
    further=300,
    hidden=8,
    epochs=8,
    period=2,
    batch=50,
    drop_at=7,
    seeds=2,
)


def draws(n=1):
    return np.random.default_rng(n)


@pytest.mark.parametrize("noise", NOISES)
def test_a_pair_sees_the_smoothed_stair(noise):
    """Two routes to the same sums of at most 3 terms below 4: 16 roundings of 4 * 2**-53."""
    layer = Layer(noise, "expectation", 0.5, 0.5)
    scaled = noise.scaled(0.5)
    gap = layer.visible(POINTS, draws()) - expectation(TERNARY, scaled, POINTS)
    assert np.abs(gap).max() <= 64 * 2.0**-53
    assert np.abs(layer.slope(POINTS) - slope(TERNARY, scaled, POINTS)).max() <= 64 * 2.0**-53


def test_without_noise_and_in_the_mode_a_pair_sees_the_stair():
    for layer in (
        Layer(Uniform(1.0), "expectation", 0.0, 0.5),
        Layer(Uniform(1.0), "mode", 0.5, 0),
    ):
        assert np.array_equal(layer.visible(POINTS, draws()), TERNARY(POINTS))


def test_random_levels_have_the_expectation():
    """Of 10^6 draws of levels -1, 0, 1 the mean is within 6 / sqrt(4e6): std at most 1/2 where the
    uniform noise reaches one threshold; false alarms 7 * 2e-9."""
    layer = Layer(Uniform(1.0), "random", 0.5, 0.5)
    for x in (-1.0, -0.7, -0.25, 0.0, 0.1, 0.6, 0.95):
        found = layer.visible(np.full((1, 1, 10**6), x), draws())
        assert set(np.unique(found)) <= {-1.0, 0.0, 1.0}
        assert abs(found.mean() - x) <= 6 / math.sqrt(4e6)


def test_gradients_are_central_differences():
    """Step h = 1e-6: rounding 2**-52 / h = 2e-10 of a loss near 1, and h**2 times a third
    derivative below 1e3: together below 1e-8. Logistic noise, so the loss is smooth."""
    noises = tuple(Layer(Logistic(1.0), "expectation", s, s) for s in (0.3, 0.2))
    flat = first_parameters(SMALL, [draws(1), draws(2)])
    rng, h = draws(3), 1e-6
    flat += 0.1 * rng.standard_normal(flat.shape)
    x, y = rng.standard_normal((2, 12, 3)), rng.integers(0, 4, (2, 12))

    def losses():
        return loss_slope(forward(views(SMALL, flat), noises, x, rng)[0], y)[0]

    found = np.zeros_like(flat)
    logits, traces, _ = forward(views(SMALL, flat), noises, x, rng)
    backward(views(SMALL, flat), noises, traces, loss_slope(logits, y)[1], views(SMALL, found))
    measured = np.zeros_like(flat)
    for k in range(flat.shape[1]):
        flat[:, k] += h
        up = losses()
        flat[:, k] -= 2 * h
        measured[:, k] = (up - losses()) / (2 * h)
        flat[:, k] += h
    assert np.abs(found - measured).max() <= 1e-8
    assert (np.abs(found) > 1e-4).mean() > 0.5


@pytest.mark.parametrize("hard", [0, 1])
def test_nothing_passes_a_hard_layer(hard):
    """With a backward scale of 0 the pair itself and all below it have zero gradients."""
    scales = [0.3, 0.3]
    scales[hard] = 0.0
    noises = tuple(Layer(Uniform(1.0), "mode", 0.3, s) for s in scales)
    flat, rng = first_parameters(SMALL, [draws(1)]), draws(3)
    found = views(SMALL, np.zeros_like(flat))
    x, y = rng.standard_normal((1, 40, 3)), rng.integers(0, 4, (1, 40))
    logits, traces, _ = forward(views(SMALL, flat), noises, x, rng)
    backward(views(SMALL, flat), noises, traces, loss_slope(logits, y)[1], found)
    reached = [np.abs(pair.weight).max() > 0 for pair in found.pairs]
    assert reached == [k > hard for k in range(2)]
    assert np.abs(found.weight).max() > 0


def test_views_cover_the_flat_array_once():
    flat = np.zeros((2, SMALL.parameters))
    seen = views(SMALL, flat)
    for array in (*(a for pair in seen.pairs for a in pair), seen.weight, seen.bias):
        array += 1.0
    assert np.array_equal(flat, np.ones_like(flat))


def test_deployed_logits_are_those_of_a_plain_loop():
    """Hard inputs of small whole numbers and one product: 64 roundings of numbers below 64."""
    flat = first_parameters(SMALL, [draws(5)])
    seen, x = views(SMALL, flat), draws(6).standard_normal((1, 7, 3))
    rng = draws(7)
    _, _, moments = forward(seen, (Layer(Uniform(1.0), "mode", 0.5, 0.5),) * 2, x, rng)
    for point, found in zip(x[0], hard_logits(seen, moments, x)[0], strict=True):
        h = point
        for pair, moment in zip(seen.pairs, moments, strict=True):
            z = h @ TERNARY(pair.weight[0])
            h = (z - moment.mean[0, 0]) / np.sqrt(moment.variance[0, 0] + 1e-5)
            h = TERNARY(h * pair.gain[0, 0] + pair.shift[0, 0])
        assert np.abs(h @ seen.weight[0] + seen.bias[0, 0] - found).max() <= 64 * 64 * 2.0**-53


def test_a_run_repeats_and_learns():
    """Three classes: chance is 33 %. The majority is at most 50 % here, shown by the labels."""
    run = static(TINY, "mode")
    setting = dataclasses.replace(TINY, epochs=40, drop_at=35, period=10)
    first, again = accuracy(setting, run), accuracy(setting, run)
    assert np.array_equal(first, again)
    labels = task(setting).further_labels
    assert max(np.bincount(row).max() for row in labels) <= 0.5 * setting.further
    assert (first > 55.0).all()


def test_policies_give_the_layers_their_scales():
    run = tied(TINY, Policy("partition"))
    assert [n.forward_scale for n in at_epoch(run, 3)] == [0.0, 0.125, 0.5]
    assert [n.backward_scale for n in at_epoch(run, 3)] == [0.0, 0.125, 0.5]
    run = constant(TINY, Policy("partition", reverse=True))
    assert [n.forward_scale for n in at_epoch(run, 3)] == [0.5, 0.25, 0.0]
    assert [n.backward_scale for n in at_epoch(run, 3)] == [0.5, 0.5, 0.5]


def test_differences_are_paired():
    """A shift common to both sides changes nothing; mean 2, variance 2/3, 4 seeds."""
    shift, gaps = np.array([5.0, 1.0, 7.0, 0.0]), np.array([1.0, 2.0, 2.0, 3.0])
    mean, error = paired(shift + gaps, shift)
    assert mean == 2.0
    assert abs(error - math.sqrt((2 / 3) / 4)) <= 1e-15


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Shape(layers=0), "sizes of a network are at least 1"),
        (lambda: Setting(batch=300), "a batch divides the points"),
        (lambda: Setting(seeds=0), "at least 1"),
        (lambda: Setting(learning_rate=0.0), "a learning rate is positive"),
        (lambda: Layer(Uniform(1.0), "hard", 0.5, 0.5), "a strategy is one of"),
        (lambda: Layer(Uniform(1.0), "mode", 0.5, -0.5), "scales are at least 0"),
        (lambda: paired(np.zeros(1), np.zeros(1)), "at least two seeds"),
    ],
)
def test_bad_settings_are_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()


def test_families_have_equal_roughness():
    """Roughness 1 for the first scales of all families: 8 roundings of numbers near 1."""
    for run in experiment.runs(Setting()).values():
        assert abs(roughness(run.family) - 1.0) <= 8 * 2.0**-53
        first = at_epoch(run, 0)[0]
        assert first.family.scaled(0.5) == run.family


def test_all_runs_have_names_of_their_own():
    assert len(experiment.runs(Setting())) == 19
