"""Deep stochastic binary networks [shekhovtsov2021]: bias and variance, layer by layer."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.gradients.stochastic.networks import (
    Layers,
    Network,
    Run,
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
from qtheory.noise import Logistic, Smoothing, Uniform

TEST = "tests/theory/gradients/stochastic/test_networks.py"
LOGISTIC = Logistic(0.5)
SEEN = "half a unit of the third decimal"
NET = "net of 5-5-5 units on 5 inputs, logistic noise of scale 1/2, weights N(0, 1/5)"


def network(sizes: tuple[int, ...], noise: Smoothing = LOGISTIC, gain: float = 1.0) -> Network:
    """Weights gain N(0, 1 / inputs), biases 0.3 gain N(0, 1)."""
    rng = np.random.Generator(np.random.PCG64(1))
    pairs = list(pairwise(sizes))
    weights = tuple(gain * rng.normal(size=(o, i)) / np.sqrt(i) for i, o in pairs)
    return Network(weights, tuple(0.3 * gain * rng.normal(size=o) for _, o in pairs), noise)


def loss_of(units: int, most: int) -> Objective:
    """Products of at most so many units, coefficients N(0, 1)."""
    drawn = np.random.Generator(np.random.PCG64(2)).normal(size=1 << units)
    kept = np.array([float(bin(s).count("1") <= most) for s in range(1 << units)])
    return Objective(drawn * kept, np.zeros(units), np.zeros(units))


def inputs(size: int) -> np.ndarray:
    """N(0, 1)."""
    return np.random.Generator(np.random.PCG64(4)).normal(size=size)


@cache
def deep() -> tuple[Network, Objective, Run]:
    """5-5-5 units, products of up to two units as loss."""
    net = network((5, 5, 5, 5))
    return net, loss_of(5, 2), enumerate_states(net, inputs(5))


def compared(table: Layers) -> list[tuple[float, float, float]]:
    """Relative bias, cosine and variance of the weights' gradients, layers 1, 2, 3."""
    net, loss, run = deep()
    pairs = zip(weight_moments(table, run), gradients(net, loss, run), strict=True)
    found = [(distance(m.mean, exact), m.variance) for m, exact in pairs]
    return [(d.bias, d.cosine, variance) for d, variance in found]


def losses() -> Values:
    """E L by states less E L by layers, sum of probabilities less 1, bias of the score in the
    three layers."""
    net, loss, run = deep()
    by_states = float(run.probability @ loss.value(run.layers[-1]))
    by_layers = expected_loss(net, loss, inputs(5))
    biases = [row[0] for row in compared(score(net, loss, run, 5.0))]
    return abs(by_states - by_layers), abs(float(run.probability.sum()) - 1.0), *biases


def straight() -> Values:
    """Relative biases, then cosines, of straight-through."""
    net, loss, run = deep()
    rows = compared(straight_through(net, loss, run))
    return *(r[0] for r in rows), *(r[1] for r in rows)


def analytic() -> Values:
    """Relative biases, then cosines, of the sample-analytic form."""
    net, loss, run = deep()
    rows = compared(sample_analytic(net, loss, run))
    return *(r[0] for r in rows), *(r[1] for r in rows)


def field() -> Values:
    """Relative biases, then cosines, of the mean field."""
    net, loss, run = deep()
    exact = gradients(net, loss, run)
    pairs = zip(mean_field_weights(net, loss, inputs(5)), exact, strict=True)
    rows = [distance(a, b) for a, b in pairs]
    return *(r.bias for r in rows), *(r.cosine for r in rows)


def variances() -> Values:
    """Variance over that of straight-through: sample-analytic, then score with E L as baseline."""
    net, loss, run = deep()
    mean = float(run.probability @ loss.value(run.layers[-1]))
    tables = (
        straight_through(net, loss, run),
        sample_analytic(net, loss, run),
        score(net, loss, run, mean),
    )
    plain, flipped, scored = ([row[2] for row in compared(table)] for table in tables)
    return (
        *(b / a for a, b in zip(plain, flipped, strict=True)),
        *(b / a for a, b in zip(plain, scored, strict=True)),
    )


def gap(gain: float) -> float:
    """Relative difference of the two forms in layer 1 of 3-4-4 units at this gain of weights."""
    net, loss = network((3, 3, 4, 4), gain=gain), loss_of(4, 4)
    run = enumerate_states(net, inputs(3))
    one, two = (of(net, loss, run)[0] for of in (straight_through, sample_analytic))
    return float(np.abs(one - two).max() / np.abs(one).max())


def linear_part() -> Values:
    """Ratio of gaps at gains .02 and .01; largest difference with wide uniform noise."""
    net, loss = network((3, 3, 4, 4), Uniform(60.0)), loss_of(4, 4)
    run = enumerate_states(net, inputs(3))
    both = zip(straight_through(net, loss, run), sample_analytic(net, loss, run), strict=True)
    return gap(0.02) / gap(0.01), largest(float(np.abs(a - b).max()) for a, b in both)


def two_layers(most: int) -> tuple[float, float, float]:
    """Relative bias in layer 1 of 4-5 units: straight-through, sample-analytic, mean field."""
    net, loss = network((3, 4, 5)), loss_of(5, most)
    run = enumerate_states(net, inputs(3))
    exact = gradients(net, loss, run)[0]
    tables = straight_through(net, loss, run), sample_analytic(net, loss, run)
    one, two = (distance(weight_moments(table, run)[0].mean, exact).bias for table in tables)
    return one, two, distance(mean_field_weights(net, loss, inputs(3))[0], exact).bias


def sums_and_pairs() -> Values:
    """A loss that is a sum of units, then one with products of two."""
    return *two_layers(1), *two_layers(2)


def one_layer() -> Values:
    """Relative bias of the mean field, of straight-through: one layer, all products."""
    net, loss = network((4, 5)), loss_of(5, 5)
    run = enumerate_states(net, inputs(4))
    exact = gradients(net, loss, run)[0]
    mean = weight_moments(straight_through(net, loss, run), run)[0].mean
    field = mean_field_weights(net, loss, inputs(4))[0]
    return distance(field, exact).bias, distance(mean, exact).bias


def narrow() -> Values:
    """Relative bias of straight-through in layer 1 of two as weights shrink: gains 1, .5, .25,
    .125; then cosines."""

    def at(gain: float) -> tuple[float, float]:
        net, loss = network((3, 4, 5), gain=gain), loss_of(5, 1)
        run = enumerate_states(net, inputs(3))
        mean = weight_moments(straight_through(net, loss, run), run)[0].mean
        return distance(mean, gradients(net, loss, run)[0])

    found = [at(gain) for gain in (1.0, 0.5, 0.25, 0.125)]
    return *(f[0] for f in found), *(f[1] for f in found)


CLAIMS = (
    Claim(
        id="network-exact",
        statement=f"{NET}: E L by 32768 states and by layers, sum of probabilities less 1, "
        "relative bias of the score with a baseline in layers 1, 2, 3",
        code=score,
        test=f"{TEST}::test_the_score_is_unbiased_whatever_the_baseline",
        printed="0 (derived)",
        number="ours",
        expected=(0.0,) * 5,
        tolerance=1e-12,
        why="pairwise sums of 2^15 terms below 100: 40 roundings, a gradient above 0.1",
        run=losses,
    ),
    Claim(
        id="network-straight",
        statement="The same, loss of products of up to two units: straight-through is unbiased in "
        "the last layer only: relative biases of layers 1, 2, 3, cosines",
        code=straight_through,
        test=f"{TEST}::test_estimators_by_a_plain_loop_over_states",
        printed="0 and 1 in the last layer (derived); all as seen: 0.337, 0.132, 0, 0.943, "
        "0.993, 1",
        number="ours",
        expected=(0.337, 0.132, 0.0, 0.943, 0.993, 1.0),
        tolerance=0.5e-3,
        why=SEEN,
        run=straight,
    ),
    Claim(
        id="network-analytic",
        statement="The same for the sample-analytic form, differences in place of derivatives",
        code=sample_analytic,
        test=f"{TEST}::test_estimators_by_a_plain_loop_over_states",
        printed="0 and 1 in the last layer (derived); all as seen: 0.378, 0.062, 0, 0.972, "
        "0.998, 1",
        number="ours",
        expected=(0.378, 0.062, 0.0, 0.972, 0.998, 1.0),
        tolerance=0.5e-3,
        why=SEEN,
        run=analytic,
    ),
    Claim(
        id="network-field",
        statement="The same for the mean field, whose units are 2 F(a) - 1 = tanh(a)",
        code=mean_field,
        test=f"{TEST}::test_the_mean_field_gradient_is_a_central_difference",
        printed="biased in every layer; seen: 1.421, 0.733, 0.565, 0.985, 0.968, 0.935",
        number="ours",
        expected=(1.421, 0.733, 0.565, 0.985, 0.968, 0.935),
        tolerance=0.5e-3,
        why=SEEN,
        run=field,
    ),
    Claim(
        id="network-variance",
        statement="The same net: variance over that of straight-through, sample-analytic in layers "
        "1, 2, 3, then score with E L as baseline",
        code=weight_moments,
        test=f"{TEST}::test_estimators_by_a_plain_loop_over_states",
        printed="1 for sample-analytic in the last layer (derived); the score varies more "
        "the more layers are above; seen: 1.113, 0.899, 1, 47.396, 19.231, 4.131",
        number="ours",
        expected=(1.113, 0.899, 1.0, 47.396, 19.231, 4.131),
        tolerance=0.5e-3,
        why=SEEN,
        run=variances,
    ),
    Claim(
        id="network-linear",
        statement="Straight-through is the linear part of the sample-analytic form: ratio of "
        "their gaps at gains .02 and .01 of all weights, 3-4-4 units; largest difference where F "
        "is linear at every activation, uniform noise of half width 60",
        code=sample_analytic,
        test=f"{TEST}::test_straight_through_is_the_linear_part_of_sample_analytic",
        printed="4 in the limit, 0 (derived)",
        number="ours",
        expected=(4.0, 0.0),
        tolerance=0.01,
        why="the next term is relatively gain^2 = 4e-4 times a constant below 20",
        run=linear_part,
    ),
    Claim(
        id="network-sums",
        statement="Two layers of 4-5 units, loss a sum of units: bias in layer 1 of "
        "straight-through, of sample-analytic, of the mean field; then with products of two",
        code=sample_analytic,
        test=f"{TEST}::test_where_sample_analytic_is_unbiased",
        printed="0 for sample-analytic with a sum (derived); all as seen: 0.187, 0, 0.174, "
        "0.203, 0.136, 0.73",
        number="ours",
        expected=(0.187, 0.0, 0.174, 0.203, 0.136, 0.730),
        tolerance=0.5e-3,
        why=SEEN,
        run=sums_and_pairs,
    ),
    Claim(
        id="network-one-layer",
        statement="One layer, multi-affine loss: the mean field L(E y) is E L, so its gradient is "
        "exact too: relative bias of it, of straight-through",
        code=mean_field,
        test=f"{TEST}::test_the_mean_field_is_exact_for_one_layer_and_multi_affine_losses",
        printed="0, 0 (derived)",
        number="ours",
        expected=(0.0, 0.0),
        tolerance=1e-12,
        why="sums of 32 terms below 100: 100 roundings, a gradient above 1",
        run=one_layer,
    ),
    Claim(
        id="network-narrow",
        statement="Relative bias of straight-through in layer 1 of 4-5 units, loss a sum of units, "
        "as weights and biases shrink: gains 1, 1/2, 1/4, 1/8; cosines",
        code=straight_through,
        test=f"{TEST}::test_straight_through_is_the_linear_part_of_sample_analytic",
        printed="falls by 4 with each halving in the limit (derived); seen: 0.1866, "
        "0.0659, 0.0227, 0.0064, 0.995, 0.9998, 1, 1",
        number="ours",
        expected=(0.1866, 0.0659, 0.0227, 0.0064, 0.9950, 0.9998, 1.0, 1.0),
        tolerance=0.5e-4,
        why="half a unit of the fourth decimal",
        run=narrow,
    ),
)
