"""The gradient laboratory on networks so small that its numbers have closed forms."""

from __future__ import annotations

import math

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.gradients.laboratory.estimators import (
    Estimator,
    Identity,
    annealed,
    backward,
    enumerated,
    starting,
    straight_through,
)
from qtheory.gradients.laboratory.measure import FiniteData, GaussianData, measure
from qtheory.gradients.laboratory.report import Report
from qtheory.gradients.laboratory.targets import (
    mean_field_gradients,
    smoothed_gradients,
    surface_gradients,
)
from qtheory.gradients.networks.affine import Affine
from qtheory.gradients.networks.loss_network import LossNetwork
from qtheory.gradients.networks.stair_network import LayerNoise
from qtheory.lattice import Lattice
from qtheory.noise import (
    Gaussian,
    Logistic,
    Smoothing,
    Triangular,
    Uniform,
    roughness,
)
from qtheory.stairs.smoothing import expectation
from qtheory.stairs.stair import Stair

TEST = "tests/theory/gradients/laboratory/test_measure.py"
TERNARY = Stair.nearest(Lattice.ternary())
UNEVEN = Stair((-1.5, 0.0, 0.5, 1.0), (-0.6, 0.1, 0.7))
FIRST = Affine(np.array([[0.9, -0.4], [0.3, 1.1], [-0.7, 0.5]]), np.array([0.1, -0.2, 0.3]))
SECOND = Affine(np.array([[0.8, -0.5, 0.6], [-0.3, 0.9, 0.4]]), np.array([0.05, -0.15]))
PAIR = Affine(np.array([[0.7, -1.1, 0.4], [0.2, 0.5, -0.9]]), np.array([0.1, -0.3]))
ONE = Affine(np.array([[0.9, -0.6]]), np.array([0.2]))
X = np.array([[0.3, -0.8], [1.2, 0.4], [-0.5, 0.6], [-1.1, -0.2]])
T2 = np.array([[1.0, -1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
DATA = FiniteData(X, T2, np.array([0.1, 0.2, 0.3, 0.4]))
DEEP_DATA = FiniteData(X, T2[:, :1], DATA.probabilities)
NOISES = (LayerNoise(Logistic(0.2)), LayerNoise(Gaussian(0.4), -0.1))
DEEP = LossNetwork.of((FIRST, SECOND, ONE), TERNARY)
ROUNDING = 3000 * 2.0**-53
PATHS = "at most 1000 paths, each a product and sum of a dozen numbers below 4, rounded to 2^-53"


def biases(report: Report) -> list[float]:
    """Of each layer against the smoothed gradient."""
    found = (layer.against["smoothed"] for layer in report.layers)
    return [each.bias for each in found if each is not None]


def multi_affine() -> Values:
    """Biases in the hidden and output layer of levels drawn, then of a noise of another scale."""
    network = LossNetwork.of((FIRST, PAIR), UNEVEN, "linear")
    right = biases(measure(network, DATA, annealed("random", NOISES[:1])))
    other = Estimator("random", NOISES[:1], (LayerNoise(Logistic(0.3)),))
    wrong = measure(network, DATA, other).layers[0].against["smoothed"]
    assert wrong is not None
    return (*right, float(wrong.relative > 0.05))


def diagonal() -> Values:
    """Largest difference between the bias in the pre-activations and its closed form."""
    network, noise = LossNetwork.of((FIRST, PAIR), UNEVEN), Gaussian(0.4)
    estimator = annealed("random", (LayerNoise(noise, 0.1),))
    x, t, one = X[:1], T2[:1], np.ones(1)
    paths = enumerated(network, estimator, starting(x, t, one))
    coarse = paths.weights @ backward(network, estimator, paths)[0]
    bias = (coarse - smoothed_gradients(network, estimator.noises, x, t)[0][0])[-3:]
    a, levels = FIRST(x)[0], np.array(UNEVEN.levels)
    u = a[:, None] - 0.1 - np.array(UNEVEN.thresholds)
    away = expectation(UNEVEN, noise, a, 0.1)[:, None] - 0.5 * (levels[1:] + levels[:-1])
    closed = (PAIR.weights**2).sum(axis=0) * ((noise.density(u) * away) @ UNEVEN.jumps)
    return (float(np.abs(bias - closed).max()), float(np.abs(bias).max() > 0.05))


def chain(weight: float, forward: str) -> float:
    """Coarse over true gradient in the first of two signs, y = sign(w sign(a - e) - e')."""
    unit = Affine(np.ones((1, 1)), np.zeros(1))
    second = Affine(np.array([[weight]]), np.zeros(1))
    network = LossNetwork.of((unit, second, unit), Stair.step(-1.0), "linear")
    noises = (LayerNoise(Logistic(1.0)),) * 2
    data = FiniteData.equal(np.zeros((1, 1)), np.ones((1, 1)))
    bias = measure(network, data, annealed(forward, noises))
    true = smoothed_gradients(network, noises, data.inputs, data.targets)[0]
    return float(bias.layers[0].mean[-1] / true[0, -1])


def chain_ratios() -> Values:
    """Levels drawn, w = 1 and 4; expectations, the same."""
    return tuple(chain(w, forward) for forward in ("random", "expectation") for w in (1.0, 4.0))


def expected_ratios() -> Values:
    """2 w f(w) / (2 F(w) - 1) and 2 w f(0) / (2 F(w) - 1)."""

    def f(x: float) -> float:
        return 1.0 / (2.0 + math.exp(x) + math.exp(-x))

    tops = [2 * w * f(w) for w in (1.0, 4.0)] + [2 * w * f(0.0) for w in (1.0, 4.0)]
    return tuple(top / math.tanh(w / 2) for top, w in zip(tops, (1.0, 4.0) * 2, strict=True))


def mean_field() -> Values:
    """Largest bias of expectations handed on, against the mean-field gradient."""
    report = measure(DEEP, DEEP_DATA, annealed("expectation", NOISES), targets=("mean field",))
    found = [layer.against["mean field"] for layer in report.layers]
    return (largest(each.bias for each in found if each is not None),)


def no_direction() -> Values:
    """Hidden layers without a discrete gradient: finite data, inputs N(0, I); and the norm that
    passes a layer whose noise is gone."""
    gauss = GaussianData(2, LossNetwork.of((FIRST, PAIR), TERNARY))
    network = LossNetwork.of((FIRST, SECOND, Affine(np.eye(2), np.zeros(2))), TERNARY)
    counts = [
        sum(layer.against["discrete"] is None for layer in report.layers)
        for report in (
            measure(network, DATA, straight_through(Identity(), 2)),
            measure(network, gauss, straight_through(Identity(), 2), draws=100),
        )
    ]
    closed = annealed("random", (NOISES[0], LayerNoise(None)))
    blocked = measure(DEEP, DEEP_DATA, closed).layers
    return (*counts, blocked[0].total_std, blocked[1].total_std)


def neuron(weights: list[float], factor: float, bias: float = 0.0) -> LossNetwork:
    """factor H(w x + b)."""
    hidden = Affine(np.array([weights]), np.array([bias]))
    return LossNetwork.of((hidden, Affine(np.array([[factor]]), np.zeros(1))), Stair.step())


def surface() -> Values:
    """The discrete gradient in w of one unit against another, by 20000 draws."""
    normals = np.random.Generator(np.random.PCG64(5)).normal(size=(20_000, 3))
    student, teacher = neuron([2.0, 0.5, -1.0], 1.5), neuron([0.3, 1.0, 0.4], 0.8)
    return tuple(surface_gradients(student, (0.0,), teacher, normals).mean(axis=0)[:3])


def expected_surface() -> Values:
    """-v v* / (2 pi |w|) times the direction of w* off w."""
    w, there = np.array([2.0, 0.5, -1.0]), np.array([0.3, 1.0, 0.4])
    off = there - (there @ w) * w / (w @ w)
    size = -1.5 * 0.8 / (2 * math.pi * float(np.linalg.norm(w)))
    return tuple(size * float(each) / float(np.linalg.norm(off)) for each in off)


def normal_cells(target: float) -> FiniteData:
    """N(0, 1) as masses in the middles of cells of 1/2000, which have 1/2 as a boundary; one target
    for all."""
    x = (np.arange(-16_000, 16_000) + 0.5) / 2000
    mass = np.exp(-0.5 * x * x)
    return FiniteData(x[:, None], np.full((x.size, 1), target), mass / mass.sum())


FAMILIES: tuple[Smoothing, ...] = (Uniform(1.0), Triangular(1.0), Gaussian(1.0), Logistic(1.0))


def variances() -> Values:
    """Var of the coarse gradient in w of H(w x - 1/2) at w = 1, times s over the roughness at
    scale one; target 1/2, s = 0.05."""
    data = normal_cells(0.5)
    found: list[float] = []
    for family in FAMILIES:
        estimator = straight_through(LayerNoise.of(family, 0.05), 1)
        report = measure(neuron([1.0], 1.0, -0.5), data, estimator, targets=())
        found.append(float(report.layers[0].std[0]) ** 2 * 0.05 / roughness(family))
    return tuple(found)


def biases_per_scale() -> Values:
    """(E G - dF/dw) / s in w of the same unit, target 0.2, normal noise, s = 0.01: stairs handed
    on, expectations, levels drawn."""
    data, noise = normal_cells(0.2), LayerNoise(Gaussian(0.01))
    network = neuron([1.0], 1.0, -0.5)
    flat = neuron([1.0], 0.0).with_map(1, Affine(np.zeros((1, 1)), np.full(1, 0.2)))
    true = surface_gradients(network, (0.0,), flat, np.ones((1, 1)))[0, 0]
    estimators = (
        straight_through(noise, 1),
        annealed("expectation", (noise,)),
        annealed("random", (noise,)),
    )
    means = [measure(network, data, e, targets=()).layers[0].mean[0] for e in estimators]
    return tuple(float(each - true) / 0.01 for each in means)


SLOPE = 0.75 * math.exp(-0.125) / math.sqrt(2 * math.pi)
"""h'(1/2) for h(x) = x phi(x)."""

CLAIMS = (
    Claim(
        id="laboratory-unbiased",
        statement="Levels drawn, own density backward, one layer of 4 levels, a loss affine in "
        "each level: no bias in either layer; with another scale backward there is one (1: yes)",
        code=measure,
        test=f"{TEST}::test_levels_drawn_give_an_unbiased_gradient_of_a_multi_affine_loss",
        printed="0, 0, 1 (derived)",
        number="ours",
        expected=(0.0, 0.0, 1.0),
        tolerance=ROUNDING,
        why=PATHS,
        run=multi_affine,
    ),
    Claim(
        id="laboratory-diagonal",
        statement="Squared loss, one layer, any stair: bias in a_j = sum_k V_kj^2 sum_i d_i f(u_i) "
        "(E h_j - (q_i + q_(i-1)) / 2); largest difference, and whether there is a bias (1: yes)",
        code=smoothed_gradients,
        test=f"{TEST}::test_the_bias_of_a_squared_loss_in_one_layer_is_its_diagonal",
        printed="0, 1 (derived)",
        number="ours",
        expected=(0.0, 1.0),
        tolerance=ROUNDING,
        why=PATHS,
        run=diagonal,
    ),
    Claim(
        id="laboratory-chain",
        statement="Two signs in a row, logistic noise, linear loss: coarse over true gradient in "
        "the first is 2 w f(w) / (2 F(w) - 1) by levels drawn, 2 w f(0) / (2 F(w) - 1) by "
        "expectations; w = 1, 4 each: drawing fades, expecting exaggerates",
        code=measure,
        test=f"{TEST}::test_two_signs_in_a_row_have_a_closed_form",
        printed="the closed forms (derived): 0.850918, 0.146574, 1.08198, 2.07463",
        number="ours",
        expected=expected_ratios(),
        tolerance=64 * 2.0**-53 * 4,
        why="64 roundings of numbers below 4",
        run=chain_ratios,
    ),
    Claim(
        id="laboratory-mean-field",
        statement="Expectations handed on, own density backward, two layers: the gradient of the "
        "mean-field loss itself; largest bias",
        code=mean_field_gradients,
        test=f"{TEST}::test_expectations_handed_on_give_the_mean_field_gradient",
        printed="0 (derived); against differences in the test",
        number="ours",
        expected=(0.0,),
        tolerance=0.0,
        why="the same operations in the same order",
        run=mean_field,
    ),
    Claim(
        id="laboratory-no-direction",
        statement="Two layers of stairs: layers whose discrete gradient is 0 almost everywhere, "
        "over finite data and over N(0, I); std of gradients in front of and at a layer at scale 0",
        code=measure,
        test=f"{TEST}::test_finite_data_has_no_discrete_gradient_in_hidden_layers",
        printed="2, 1; 0, 0 (derived)",
        number="ours",
        expected=(2.0, 1.0, 0.0, 0.0),
        tolerance=0.0,
        why="whole numbers, and products with 0",
        run=no_direction,
    ),
    Claim(
        id="laboratory-surface",
        statement="One unit v H(w x) against v* H(w* x), x N(0, I): the discrete gradient is "
        "-v v* / (2 pi) times the direction of w* off w, over the norm of w [yin2019]; by draws on "
        "the surface",
        code=surface_gradients,
        test="tests/theory/gradients/laboratory/test_targets.py::"
        "test_the_surface_integral_of_one_unit_in_closed_form",
        printed="the closed form: -0.00258343, -0.072336, -0.0413348",
        number="noted",
        expected=expected_surface(),
        tolerance=5 * 8.2e-4,
        why="5 standard errors of 20000 draws, seed 5; the largest of the three is 8.2e-4",
        run=surface,
    ),
    Claim(
        id="laboratory-variance",
        statement="H(x - 1/2) with target 1/2, stairs forward, a density of scale s backward: "
        "Var G s / R -> t^2 phi(t) / 4 at the threshold t = 1/2, the same for uniform, triangular, "
        "normal, logistic noise, R the roughness at scale 1; s = 0.05",
        code=measure,
        test=f"{TEST}::test_variance_times_scale_over_roughness_is_a_constant",
        printed="t^2 phi(t) / 4 = 0.0220 (derived)",
        number="ours",
        expected=(0.0625 * math.exp(-0.125) / math.sqrt(2 * math.pi),) * 4,
        tolerance=1.7e-4,
        why="the next term is s^2 / 8 g''(t) int u^2 f^2 / int f^2 with g = x^2 phi, g'' = 0.286, "
        "and the ratio at most 1.29 (logistic): 1.2e-4; (E G)^2 s / R is at most s (s E abs(e) "
        "h' / 2)^2 / R = 3e-5 (h' = 0.264, logistic); sums over cells err by less than 1e-6",
        run=variances,
    ),
    Claim(
        id="laboratory-bias",
        statement="The same unit, target 0.2, normal noise: E G - dF/dw = s c h'(t) + O(s^2), "
        "h = x phi(x), with c = E abs(e) / 2 for stairs handed on and c = E abs(e - e') / 4 for "
        "expectations and for levels drawn: three numbers at s = 0.01 over s",
        code=measure,
        test=f"{TEST}::test_the_bias_is_linear_in_the_scale_along_the_weight",
        printed="0.1053, 0.0745, 0.0745 (derived)",
        number="ours",
        expected=(
            SLOPE / math.sqrt(2 * math.pi),
            SLOPE / (2 * math.sqrt(math.pi)),
            SLOPE / (2 * math.sqrt(math.pi)),
        ),
        tolerance=8e-4,
        why="the next term is 0.3 s h''(t) / 2, h'' = -1.375 phi(t) = -0.484, so 7.3e-4; sums over "
        "cells err by h^2 / 24 f'(t) / s, below 1e-5",
        run=biases_per_scale,
    ),
)
