"""The laboratory of coarse gradients: identities, brute force, closed forms, draws."""

import itertools
import math

import numpy as np
import pytest
from gradient_cases import (
    DATA,
    DEEP,
    GAUSS,
    NOISES,
    POINTS,
    ROUNDING,
    TERNARY,
    UNEVEN,
)

from qpapers.straight_through import laboratory as laboratory
from qtheory.gradients.laboratory.estimators import (
    Estimator,
    Identity,
    Window,
    annealed,
    backward,
    drawn,
    enumerated,
    passed,
    starting,
    straight_through,
)
from qtheory.gradients.laboratory.measure import FiniteData, measure
from qtheory.gradients.laboratory.plots import plot_report, plot_sweep, quantity
from qtheory.gradients.laboratory.report import Mean, compare
from qtheory.gradients.laboratory.targets import (
    smoothed_gradients,
    smoothed_losses,
)
from qtheory.gradients.networks.affine import Affine
from qtheory.gradients.networks.loss_network import LossNetwork, configurations, random_network
from qtheory.gradients.networks.stair_network import LayerNoise, StairNetwork, noises_at
from qtheory.noise import Gaussian, Logistic, Triangular, Uniform, roughness
from qtheory.stairs.smoothing import expectation, law, slope

START = starting(DATA.inputs, DATA.targets, DATA.probabilities)
WIDE = random_network((2, 14, 1), TERNARY, 0)


def one_layer(loss, stair=UNEVEN):
    return random_network((2, 3, 2), stair, 4, loss)


def labels(rows):
    return np.where(np.random.default_rng(7).random((rows, 2)) < 0.5, -1.0, 1.0)


# Identities


def test_levels_drawn_give_an_unbiased_gradient_of_a_multi_affine_loss():
    """One layer, a loss affine in each of its levels, the noise's own density: no bias, exactly."""
    data = FiniteData.equal(POINTS, labels(5))
    report = measure(one_layer("linear"), data, annealed("random", NOISES[:1]))
    assert report.exact
    for layer in report.layers:
        found = layer.against["smoothed"]
        assert found is not None and found.bias <= ROUNDING
        assert abs(found.cosine - 1) <= ROUNDING and layer.total_std > 0.1
    hard = measure(one_layer("linear"), data, straight_through(NOISES[0], 1), NOISES[:1])
    assert hard.layers[0].against["smoothed"].bias <= ROUNDING  # the slope of the loss is constant
    other = measure(
        one_layer("linear"), data, straight_through(LayerNoise(Logistic(0.3)), 1), NOISES[:1]
    )
    assert other.layers[0].against["smoothed"].relative > 0.05


def test_the_bias_of_a_squared_loss_in_one_layer_is_its_diagonal():
    """In a_j: sum_k V_kj**2 sum_i d_i f(u_i) (E h_j - (q_i + q_(i-1)) / 2), from the part
    V_kj**2 h_j**2 / 2 of the loss: the coarse gradient has 2 h_j for the difference quotient."""
    network, noise = one_layer("squared"), LayerNoise(Gaussian(0.4), 0.1)
    data = FiniteData.equal(POINTS[:1], np.array([[0.3, -0.2]]))
    rows = starting(data.inputs, data.targets, data.probabilities)
    estimator = annealed("random", (noise,))
    paths = enumerated(network, estimator, rows)
    coarse = paths.weights @ backward(network, estimator, paths)[0]
    true = smoothed_gradients(network, (noise,), data.inputs, data.targets)[0][0]
    a = network.maps[0](data.inputs)[0]
    bias = []
    for j in range(3):
        u = a[j] - 0.1 - np.array(UNEVEN.thresholds)
        mean = expectation(UNEVEN, noise.noise, a[j : j + 1], 0.1)[0]
        middle = 0.5 * (np.array(UNEVEN.levels)[1:] + np.array(UNEVEN.levels)[:-1])
        inside = (UNEVEN.jumps * noise.noise.density(u) * (mean - middle)).sum()
        bias.append((network.output.weights[:, j] ** 2).sum() * inside)
    assert np.abs(coarse - true)[-3:].max() > 0.05
    assert np.abs((coarse - true)[-3:] - bias).max() <= ROUNDING


def test_levels_drawn_have_no_bias_in_the_last_hidden_layer_only():
    """A linear loss is affine in the levels of layer 2, not in those of layer 1, through it."""
    network = random_network((2, 3, 3, 1), TERNARY, 1, "linear")
    report = measure(network, DATA, annealed("random", NOISES))
    first, second, output = (layer.against["smoothed"] for layer in report.layers)
    assert first.relative > 0.02
    assert max(second.bias, output.bias) <= ROUNDING


def test_expectations_handed_on_give_the_mean_field_gradient():
    report = measure(DEEP, DATA, annealed("expectation", NOISES))
    for layer in report.layers:
        assert layer.against["mean field"].bias == 0
        assert layer.against["smoothed"].relative > 0.02
    for target in ("smoothed", "mean field", "discrete"):
        found = measure(DEEP, DATA, annealed("expectation", NOISES), targets=(target,))
        assert list(found.layers[0].against) == [target]


def test_finite_data_has_no_discrete_gradient_in_hidden_layers():
    """Its loss is a stair in the weights; in the output its gradient is that of the hard pass."""
    report = measure(DEEP, DATA, straight_through(Identity(), 2), NOISES)
    assert [layer.against["discrete"] is None for layer in report.layers] == [True, True, False]
    assert report.layers[2].against["discrete"].bias == 0
    gaussian = measure(DEEP, GAUSS, straight_through(Identity(), 2), NOISES, draws=100)
    absent = [layer.against["discrete"] is None for layer in gaussian.layers]
    assert absent == [False, True, False]
    assert report.table().count("0 almost everywhere") == 2


def test_a_closed_window_lets_nothing_through():
    """Scale 0 in layer 2: layers 1 and 2 get 0, whatever the noise of layer 1."""
    closed = (NOISES[0], LayerNoise.of(Uniform(1.0), 0.0))
    for forward in ("expectation", "mode", "hard", "random"):
        report = measure(DEEP, DATA, annealed(forward, closed))
        assert all(layer.total_std == 0 and not layer.mean.any() for layer in report.layers[:2])
        assert report.layers[2].mean.any()
    only_first = (LayerNoise(None), NOISES[1])
    report = measure(DEEP, DATA, annealed("random", only_first))
    assert not report.layers[0].mean.any() and report.layers[1].mean.any()
    assert math.isinf(
        measure(DEEP, DATA, straight_through(Identity(), 2)).layers[0].against["smoothed"].relative
    )


def test_a_wide_uniform_noise_is_the_identity():
    """Where it reaches all thresholds its slope is height / (2 half width)."""
    wide = straight_through(LayerNoise(Uniform(8.0)), 2)
    gain = straight_through(Identity(2.0 / 16.0), 2)
    window = straight_through(Window(-7.5, 7.5, 2.0 / 16.0), 2)
    reports = [measure(DEEP, DATA, e, NOISES) for e in (wide, gain, window)]
    for layers in zip(*(report.layers for report in reports), strict=True):
        assert max(np.abs(layers[0].mean - each.mean).max() for each in layers[1:]) <= ROUNDING


def test_the_narrow_clipped_identity_is_the_uniform_noise():
    """Ternary, half width 1/2: slope 1 on [-1, 1), as of the clipped identity."""
    uniform = straight_through(LayerNoise(Uniform(0.5)), 2)
    clipped = straight_through(Window(-1.0, 1.0), 2)
    a, b = (measure(DEEP, DATA, e, NOISES) for e in (uniform, clipped))
    assert all(
        np.abs(x.mean - y.mean).max() <= ROUNDING for x, y in zip(a.layers, b.layers, strict=True)
    )


def test_two_signs_in_a_row_have_a_closed_form():
    """y = sign(w sign(a - e) - e'), a = 0: true slope 2 f(0) (2 F(w) - 1); the coarse one has
    2 w f(w) for the last factor if levels are drawn, 2 w f(0) if expectations are handed on."""

    def f(x):
        return float(Logistic(1.0).density(np.array([x]))[0])

    for w in (0.5, -2.0, 4.0):
        assert laboratory.chain(w, "random") == pytest.approx(
            2 * w * f(w) / math.tanh(w / 2), abs=ROUNDING
        )
        assert laboratory.chain(w, "expectation") == pytest.approx(
            2 * w * f(0.0) / math.tanh(w / 2), abs=ROUNDING
        )


@pytest.mark.parametrize("s", [0.1, 0.02])
def test_variance_times_scale_over_roughness_is_a_constant(s):
    """Stairs forward, symmetric errors +-1/2, so the next term is of order s**2: at most 0.29 / 8
    of it times int u**2 f**2 / R < 1.3, and the mean squared, below 0.01 s**2."""
    for family in laboratory.FAMILIES:
        estimator = straight_through(LayerNoise.of(family, s), 1)
        network = laboratory.neuron([1.0], 1.0, -0.5)
        report = measure(network, laboratory.normal_cells(0.5), estimator, targets=())
        limit = 0.0625 * math.exp(-0.125) / math.sqrt(2 * math.pi)
        found = report.layers[0].std[0] ** 2 * s / roughness(family)
        assert abs(found - limit) <= (1.3 * 0.29 / 8 + 0.01) * s * s + 1e-5


def test_the_bias_is_linear_in_the_scale_along_the_weight():
    """Per scale: E abs(e) h' / 2 for stairs, E abs(e - e') h' / 4 for expectations and levels."""
    claim = next(c for c in laboratory.CLAIMS if c.id == "laboratory-bias")
    values = claim.obtain()
    assert claim.matches(values)
    assert abs(values[1] - values[2]) <= 1e-9 and values[0] > 1.3 * values[1]


# Brute force


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_moments_are_sums_over_levels(loss):
    """Straight from the definition, level by level, in one layer of three units of four levels."""
    network, noise = one_layer(loss), LayerNoise(Triangular(0.9), 0.2)
    data = FiniteData(POINTS, labels(5), DATA.probabilities)
    report = measure(network, data, annealed("random", (noise,)))
    first, second = np.zeros((2, 9)), np.zeros((2, 9))
    hidden, output = network.maps
    for x, t, p in zip(POINTS, data.targets, data.probabilities, strict=True):
        a = hidden.weights @ x + hidden.bias
        chances = law(UNEVEN, noise.noise, a, 0.2)
        steep = slope(UNEVEN, noise.noise, a, 0.2)
        for which in itertools.product(range(4), repeat=3):
            h = np.array([UNEVEN.levels[i] for i in which])
            y = output.weights @ h + output.bias
            dy = y - t if loss == "squared" else -t / (1 + np.exp(t * y))
            da = (output.weights.T @ dy) * steep
            chance = p * math.prod(chances[j, which[j]] for j in range(3))
            for k, g in enumerate(
                (np.append(np.outer(da, x), da), np.append(np.outer(dy, h), dy).ravel())
            ):
                padded = np.zeros(9)
                padded[: g.size] = g[:9]
                first[k] += chance * padded
                second[k] += chance * padded**2
    for k, layer in enumerate(report.layers):
        n = layer.mean.size
        assert np.abs(layer.mean - first[k, :n]).max() <= ROUNDING
        assert np.abs(layer.std**2 - (second - first**2)[k, :n]).max() <= 4 * ROUNDING


def test_the_smoothed_loss_is_a_mean_over_all_paths():
    estimator = annealed("random", NOISES)
    paths = enumerated(DEEP, estimator, starting(DATA.inputs, DATA.targets, DATA.probabilities))
    each = DEEP.losses(DEEP.output(paths.states[-1]), paths.targets)
    losses = smoothed_losses(DEEP, NOISES, DATA.inputs, DATA.targets)
    assert abs(paths.weights.sum() - 1) <= ROUNDING
    assert abs(paths.weights @ each - DATA.probabilities @ losses) <= 4 * ROUNDING
    assert configurations(3, 3).shape == (27, 3)


# Draws


def test_draws_are_within_five_errors_of_the_enumeration():
    """Means by component, bias and cosine, of a random pass over finite data."""
    estimator = annealed("random", NOISES)
    exact = measure(DEEP, DATA, estimator)
    by_draws = measure(DEEP, DATA, estimator, draws=40_000, seed=3)
    assert not by_draws.exact
    for a, b in zip(exact.layers, by_draws.layers, strict=True):
        assert (b.mean_error > 0).all() and not a.mean_error.any()
        assert (np.abs(a.mean - b.mean) <= 5 * b.mean_error).all()
        assert abs(a.total_std - b.total_std) <= 5 * b.total_std_error < 0.1 * a.total_std
        assert (np.abs(a.std - b.std) <= 5 * b.std_error).all() and (b.std_error > 0).all()
        assert a.total_std_error == 0 and not a.std_error.any()
        for target in ("smoothed", "mean field"):
            x, y = a.against[target], b.against[target]
            assert abs(x.bias - y.bias) <= 5 * y.bias_error
            assert abs(x.cosine - y.cosine) <= 5 * y.cosine_error + 25 * y.bias_error**2
            assert x.size == y.size


@pytest.mark.parametrize("known", ["neither", "the coarse one", "the true one"])
def test_the_error_of_a_cosine_is_the_jackknifes(known):
    """Sum over both vectors of the error with the other one fixed; the jackknife of n = 2000 draws
    differs from the first order by a relative 1 / n times a few, and within 2 %."""
    rng = np.random.default_rng(3)
    away = np.array([[2.0, 1.0, 0.0, -1.0], [1.0, 1.0, 1.0, 1.0]])
    draws = [rng.normal(size=(2000, 4)) + each for each in away]
    means = [each.mean(axis=0) for each in draws]
    fixed = [known == "the coarse one", known == "the true one"]
    given = [
        Mean(mean, None if still else each)
        for mean, each, still in zip(means, draws, fixed, strict=True)
    ]

    def cosine(u, v):
        return (u @ v) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v)

    wanted = 0.0
    for k in range(2):
        if not fixed[k]:
            without = (2000 * means[k] - draws[k]) / 1999
            values = cosine(without, means[1 - k])
            wanted += math.sqrt(1999 * values.var())
    found = compare(*given)
    assert abs(found.cosine - cosine(means[0], means[1])) <= 8 * 2.0**-53
    assert abs(found.cosine_error / wanted - 1) < 0.02


def test_errors_are_those_of_repeated_runs():
    """200 runs of 200 draws: the std of a mean is estimated to 1 / sqrt(400) = 5 %, times 5; a
    cosine's is a sum over both vectors, at least the std and at most sqrt 2 times it, likewise."""
    estimator = annealed("random", NOISES)
    runs = [measure(DEEP, GAUSS, estimator, draws=200, seed=k).layers[1] for k in range(200)]
    means = np.array([run.mean for run in runs])
    claimed = np.mean([run.mean_error for run in runs], axis=0)
    assert np.abs(means.std(axis=0) / claimed - 1).max() < 0.25
    stds = np.std([run.total_std for run in runs])
    assert abs(stds / np.mean([run.total_std_error for run in runs]) - 1) < 0.25
    cosines = np.array([run.against["smoothed"].cosine for run in runs])
    errors = np.mean([run.against["smoothed"].cosine_error for run in runs])
    assert 0.75 * cosines.std() < errors


def test_shared_inputs_cancel():
    """Gaussian inputs, expectations: each row is its own true gradient, so bias and error are 0."""
    report = measure(DEEP, GAUSS, annealed("expectation", NOISES), draws=500)
    for layer in report.layers:
        assert layer.against["mean field"].bias == 0 == layer.against["mean field"].bias_error
    drawn_again = measure(DEEP, GAUSS, annealed("expectation", NOISES), draws=500)
    assert np.array_equal(drawn_again.layers[0].mean, report.layers[0].mean)  # the same seed


def test_a_hard_layer_draws_nothing():
    rows = starting(POINTS, DATA.targets, DATA.probabilities)
    estimator = annealed("random", (LayerNoise(None, 0.7), LayerNoise(None)))
    rng = np.random.default_rng(1)
    hard = passed(DEEP, annealed("hard", estimator.noises), rows).states[-1]
    assert not np.array_equal(DEEP.hidden(POINTS), hard)  # the mean counts
    assert np.array_equal(drawn(DEEP, estimator, rows, rng).states[-1], hard)
    assert np.array_equal(enumerated(DEEP, estimator, rows).states[-1], hard)


# Bad input, text and pictures


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Estimator("soft", NOISES, NOISES), "forward pass is one of .*, got 'soft'"),
        (lambda: Estimator("hard", NOISES, NOISES[:1]), "each layer, got 2 and 1"),
        (lambda: Window(1.0, 1.0), "low < high, got 1.0 and 1.0"),
        (lambda: LayerNoise.of(Uniform(1.0), -1.0), "scale of a schedule .* got -1.0"),
        (lambda: noises_at(Uniform(1.0), [1.0], []), "mean for each scale, got 0 and 1"),
        (lambda: LayerNoise(None, math.nan), "mean of a noise is finite, got nan"),
        (lambda: Affine(np.ones((2, 2)), np.ones(3)), r"got shapes \(3,\) and \(2, 2\)"),
        (lambda: Affine(np.full((1, 1), np.nan), np.ones(1)), "biases are finite"),
        (lambda: StairNetwork(()), r"has layers, .* got weights of shapes \[\]"),
        (lambda: LossNetwork(DEEP.hidden, DEEP.maps[0]), r"\(3, 3\), \(3, 2\)"),
        (lambda: random_network((1, 1, 1), TERNARY, 0, "none"), "a loss is one of .*'none'"),
        (lambda: FiniteData.equal(POINTS, POINTS[:2]), "a target and a probability"),
        (lambda: FiniteData(POINTS, POINTS, np.full(5, np.nan)), "sum to one, got a sum of nan"),
        (lambda: FiniteData(POINTS, POINTS, np.full(5, 0.3)), "sum to one, got a sum of 1.5"),
        (lambda: measure(DEEP, GAUSS, annealed("hard", NOISES)), "a number of draws, got None"),
        (lambda: measure(DEEP, DATA, annealed("hard", NOISES), draws=1), "2 draws, got 1"),
        (lambda: measure(DEEP, DATA, annealed("hard", NOISES[:1])), "each of 2 layers, got 1"),
        (lambda: measure(DEEP, DATA, annealed("hard", NOISES), NOISES[:1]), "2 layers, got 1"),
        (lambda: random_network((1,), TERNARY, 0), "a network has layers"),
        (lambda: passed(DEEP, annealed("random", NOISES), START), "hard is passed, got 'random'"),
        (
            lambda: measure(WIDE, DATA, annealed("random", NOISES[:1])),
            "at most 131072 paths",
        ),
        (
            lambda: smoothed_losses(WIDE, NOISES[:1], POINTS, POINTS),
            "at most 4194304 transitions",
        ),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_report_as_text_and_pictures():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    report = measure(DEEP, GAUSS, annealed("random", NOISES), draws=100)
    lines = report.table().splitlines()
    assert len(lines) == 1 + 3 * 3 and len({len(line) for line in lines}) == 1
    assert "+-" in lines[1]
    axes = plot_report(report)
    assert len(axes[0].patches) == 9 and len(axes[2].patches) == 3
    ax = plot_sweep([report, report], [0.1, 0.2], "cosine", 0, "smoothed", ax=axes[1])
    assert ax.get_ylabel() == "cosine with the true gradient"
    assert quantity(report, "std", 0, "smoothed") == (
        report.layers[0].total_std,
        report.layers[0].total_std_error,
    )
    assert math.isnan(quantity(report, "bias", 1, "discrete")[0])
    plt.close("all")
