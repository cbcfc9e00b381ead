"""The laboratory of coarse gradients: identities, brute force, differences, closed forms, draws."""

import itertools
import math

import numpy as np
import pytest
from scipy import special

from qtheory.claims import straight_through_4_laboratory as laboratory
from qtheory.gradients.estimators import (
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
from qtheory.gradients.laboratory import FiniteData, GaussianData, measure
from qtheory.gradients.laboratory_plots import plot_sweep, quantity
from qtheory.gradients.stair_network import (
    Affine,
    LayerNoise,
    StairNetwork,
    configurations,
    random_network,
)
from qtheory.gradients.targets import (
    mean_field_gradients,
    smoothed_gradients,
    smoothed_losses,
    surface_gradients,
)
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian, Logistic, Triangular, Uniform, roughness
from qtheory.quantizer import Stair
from qtheory.smoothing import expectation, law, slope

TERNARY = Stair.nearest(Lattice.ternary())
UNEVEN = Stair((-1.5, 0.0, 0.5, 1.0), (-0.6, 0.1, 0.7))
DEEP = random_network((2, 3, 3, 1), TERNARY, 1)
NOISES = (LayerNoise(Logistic(0.2)), LayerNoise(Gaussian(0.4), -0.1))
TEACHER = random_network((2, 4, 1), Stair.step(-1.0), 2)
POINTS = np.random.default_rng(0).normal(size=(5, 2))
DATA = FiniteData(POINTS, TEACHER.hard(POINTS), np.array([0.1, 0.2, 0.3, 0.25, 0.15]))
START = starting(DATA.inputs, DATA.targets, DATA.probabilities)
WIDE = random_network((2, 14, 1), TERNARY, 0)
UNITS = 2.0**-53
ROUNDING = 3000 * UNITS  # 729 paths, each a dozen products and sums of numbers below 4


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
    a = network.hidden[0](data.inputs)[0]
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
    hidden, output = network.layers
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


# Differences


def differences(network, value, h=1e-5):
    """Central differences of a number in every parameter, by layer."""
    found = []
    for number, layer in enumerate(network.layers):
        vector = layer.vector()
        each = np.empty_like(vector)
        for k in range(vector.size):
            up, down = vector.copy(), vector.copy()
            up[k] += h
            down[k] -= h
            values = [value(network.with_layer(number, layer.with_vector(v))) for v in (up, down)]
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

GAUSS = GaussianData(2, TEACHER.hard)
LINE_TEACHER = StairNetwork(
    (Affine(np.array([[1.0], [-2.0]]), np.array([0.3, 0.2])),),
    (Stair.step(-1.0),),
    Affine(np.array([[1.0, 0.7]]), np.array([0.1])),
)


def population_loss(network):
    """Mean loss over one input N(0, 1), exactly: constant between crossings of thresholds."""
    crossings = []
    for each in (network, LINE_TEACHER):
        layer = each.hidden[0]
        for w, b in zip(layer.weights[:, 0], layer.bias, strict=True):
            crossings += [(t - b) / w for t in each.stairs[0].thresholds]
    ends = np.array([-np.inf, *sorted(crossings), np.inf])
    middles = np.clip(ends[1:], -50, 50) / 2 + np.clip(ends[:-1], -50, 50) / 2
    x = middles[:, None]
    losses = network.losses(network.hard(x), LINE_TEACHER.hard(x))
    return float(np.diff(special.ndtr(ends)) @ losses)


@pytest.mark.parametrize("widths", [(1, 2, 1), (1, 3, 2, 1)])
def test_the_surface_integral_is_the_derivative_of_the_population_loss(widths):
    """For one input nothing is left to draw. Differences: third derivative of the normal law's
    function of a crossing below 100, losses below 10; and in deeper layers 0, exactly."""
    network = random_network(widths, TERNARY, 3)
    got = surface_gradients(network, (0.0,) * (len(widths) - 2), LINE_TEACHER.hard, np.ones((2, 1)))
    wanted = differences(network, population_loss)
    assert np.array_equal(got[0], got[1]) and np.abs(wanted[0]).max() > 0.05
    assert np.abs(got[0] - wanted[0]).max() <= 1e-10 / 6 * 1e3 + 2.0**-52 * 20 / 1e-5
    assert not any(each.any() for each in wanted[1:-1])
    report = measure(
        network, GaussianData(1, LINE_TEACHER.hard),
        straight_through(Identity(), len(widths) - 2), draws=2000, targets=("discrete",),
    )  # fmt: skip
    assert report.layers[0].against["discrete"].size == pytest.approx(
        np.linalg.norm(wanted[0]), abs=1e-6
    )
    bias = wanted[-1] - report.layers[-1].mean
    assert (np.abs(bias) <= 5 * report.layers[-1].mean_error).all()


def neuron(w, v):
    return StairNetwork(
        (Affine(np.array([w]), np.zeros(1)),), (Stair.step(),), Affine(np.array([[v]]), np.zeros(1))
    )


def test_the_surface_integral_of_one_unit_in_closed_form():
    """v v* / (2 pi |w|) times minus the direction of w* off w [yin2019], at 5 standard errors."""
    w, there = np.array([2.0, 0.5, -1.0]), np.array([0.3, 1.0, 0.4])
    student, teacher = neuron(w, 1.5), neuron(there, 0.8)
    normals = np.random.default_rng(5).normal(size=(20_000, 3))
    draws = surface_gradients(student, (0.0,), teacher.hard, normals)
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
        layer = network.hidden[k]
        shifted = shifted.with_layer(k, Affine(layer.weights, layer.bias - mean))
    normals = np.random.default_rng(5).normal(size=(50, 2))
    a = surface_gradients(network, (0.2, -0.3), TEACHER.hard, normals)
    b = surface_gradients(shifted, (0.0, 0.0), TEACHER.hard, normals)
    assert a.any() and np.abs(a - b).max() <= 64 * UNITS * max(np.abs(a).max(), 1)


def test_a_unit_without_weights_has_no_surface():
    with pytest.raises(ValueError, match=r"has a weight, got norms \[0.0\]"):
        surface_gradients(neuron([0.0, 0.0], 1.0), (0.0,), TEACHER.hard, np.ones((2, 2)))


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
        assert abs(a.total_std / b.total_std - 1) < 0.05
        for target in ("smoothed", "mean field"):
            x, y = a.against[target], b.against[target]
            assert abs(x.bias - y.bias) <= 5 * y.bias_error
            assert abs(x.cosine - y.cosine) <= 5 * y.cosine_error + 25 * y.bias_error**2
            assert x.size == y.size


def test_errors_are_those_of_repeated_runs():
    """200 runs of 200 draws: the std of a mean is estimated to 1 / sqrt(400) = 5 %, times 5; a
    cosine's is a sum over both vectors, at least the std and at most sqrt 2 times it, likewise."""
    estimator = annealed("random", NOISES)
    runs = [measure(DEEP, GAUSS, estimator, draws=200, seed=k).layers[1] for k in range(200)]
    means = np.array([run.mean for run in runs])
    claimed = np.mean([run.mean_error for run in runs], axis=0)
    assert np.abs(means.std(axis=0) / claimed - 1).max() < 0.25
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
    estimator = annealed("random", (LayerNoise(None, 0.1), LayerNoise(None)))
    rng = np.random.default_rng(1)
    hard = passed(DEEP, annealed("hard", estimator.noises), rows).states[-1]
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
        (lambda: LayerNoise(None, math.nan), "mean of a noise is finite, got nan"),
        (lambda: Affine(np.ones((2, 2)), np.ones(3)), r"got shapes \(3,\) and \(2, 2\)"),
        (lambda: Affine(np.full((1, 1), np.nan), np.ones(1)), "biases are finite"),
        (lambda: StairNetwork((), (), DEEP.output), "has hidden layers .* got 0 and 0"),
        (lambda: StairNetwork(DEEP.hidden, DEEP.stairs, DEEP.hidden[0]), "got 2 and 3"),
        (lambda: random_network((1, 1, 1), TERNARY, 0, "none"), "a loss is one of .*'none'"),
        (lambda: FiniteData.equal(POINTS, POINTS[:2]), "a target and a probability"),
        (lambda: FiniteData(POINTS, POINTS, np.full(5, 0.3)), "sum to one, got a sum of 1.5"),
        (lambda: measure(DEEP, GAUSS, annealed("hard", NOISES)), "a number of draws, got None"),
        (lambda: measure(DEEP, DATA, annealed("hard", NOISES), draws=1), "2 draws, got 1"),
        (lambda: measure(DEEP, DATA, annealed("hard", NOISES[:1])), "each hidden layer, 2, got 1"),
        (lambda: passed(DEEP, annealed("random", NOISES), START), "is not random"),
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
    axes = report.plot()
    assert len(axes[0].patches) == 9 and len(axes[2].patches) == 3
    ax = plot_sweep([report, report], [0.1, 0.2], "cosine", 0, "smoothed", ax=axes[1])
    assert ax.get_ylabel() == "cosine with the true gradient"
    assert quantity(report, "std", 0, "smoothed") == (report.layers[0].total_std, 0.0)
    assert math.isnan(quantity(report, "bias", 1, "discrete")[0])
    plt.close("all")
