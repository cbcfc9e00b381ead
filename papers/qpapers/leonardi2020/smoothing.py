"""Smoothing layer by layer [leonardi2020]: constants, the composite bound, and how it scales."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.gradients.networks.affine import Affine
from qtheory.gradients.networks.smoothed_network import (
    HARD_TANH,
    RELU,
    Layer,
    Network,
    PiecewiseLinear,
    bound,
    error_bound,
    expectation,
    forward,
    random_relu_network,
    sharper_bound,
    slope,
    smoothed,
)
from qtheory.noise import Gaussian, Logistic, StudentT, Triangular, Uniform, mean_size, quantile
from qtheory.stairs.smoothing import variation

TEST = "tests/theory/gradients/networks/test_smoothed_network.py"
NOISES = (Uniform(1.0), Triangular(1.0), Gaussian(1.0), Logistic(1.0), StudentT(3.0, 1.0))
LEAKY = PiecewiseLinear((0.0,), (0.9,), slope=0.1)
ACTIVATIONS = (RELU, HARD_TANH, LEAKY)
GRID = np.linspace(-4.0, 4.0, 1025)
WIDTHS, SEEDS, POINTS = (3, 16, 16, 16, 1), (0, 1, 2), 2000


def relu_constants() -> Values:
    """Largest abs(relu^nu - relu) on the grid, in which the kink is, less E abs(nu) / 2."""
    return tuple(
        float(np.abs(expectation(RELU, noise, GRID) - RELU(GRID)).max()) - 0.5 * mean_size(noise)
        for noise in NOISES
    )


def uniform_form() -> Values:
    """Half width 0.3: error at 0, and the largest difference from (x + h)**2 / (4 h) inside."""
    noise, inside = Uniform(0.3), np.linspace(-0.3, 0.3, 601)
    closed = (inside + 0.3) ** 2 / 1.2
    difference = np.abs(expectation(RELU, noise, inside) - closed).max()
    return float(expectation(RELU, noise, np.zeros(1))[0]), float(difference)


def over_quantiles() -> Values:
    """Largest abs(E s(x - nu) - mean over N quantiles) over (E abs(nu) Lam), three activations."""
    n = 2000
    found = [0.0] * len(ACTIVATIONS)
    for noise in NOISES:
        e = quantile(noise, (np.arange(n) + 0.5) / n)
        for a, activation in enumerate(ACTIVATIONS):
            sums = activation(GRID[::16, None] - e).mean(axis=1)
            error = np.abs(sums - expectation(activation, noise, GRID[::16])).max()
            found[a] = largest((found[a], float(error) / (activation.lipschitz * mean_size(noise))))
    return tuple(found)


def slopes() -> Values:
    """Steepest quotient of (s^nu)' over Lam TV(f), the largest of five noises, three activations;
    the quotient is over neighbours of a grid with spacing 1/128."""
    spacing = float(GRID[1] - GRID[0])
    return tuple(
        largest(
            float(np.abs(np.diff(slope(activation, noise, GRID))).max())
            / (spacing * activation.lipschitz * variation(noise))
            for noise in NOISES
        )
        for activation in ACTIVATIONS
    )


def _error(network: Network, scale: float, seed: int) -> float:
    """Largest error of the output, uniform noise of that half width, inputs within 1."""
    x = np.random.default_rng(100 + seed).uniform(-1, 1, (POINTS, WIDTHS[0]))
    noises = (Uniform(scale),) * len(network)
    return float(np.abs(smoothed(network, noises, x) - forward(network, x)).max())


def over_bound() -> Values:
    """Error over bound and over the sharper bound, for three nets."""
    found = list[float]()
    for seed in SEEDS:
        network = random_relu_network(WIDTHS, seed)
        noises = (Uniform(0.3),) * len(network)
        error = _error(network, 0.3, seed)
        found += [error / bound(network, noises), error / sharper_bound(network, noises)]
    return tuple(found)


def loose() -> Values:
    """Errors of the three nets."""
    return tuple(_error(random_relu_network(WIDTHS, seed), 0.3, seed) for seed in SEEDS)


def _scaled(network: Network, factor: float) -> Network:
    """The network with all biases times the factor."""
    return tuple(
        replace(layer, affine=replace(layer.affine, bias=factor * layer.affine.bias))
        for layer in network
    )


def linear() -> Values:
    """Phi^(nu/4)(x / 4) of the net with biases / 4, times 4, less Phi^nu(x): largest difference;
    the bound for nu / 4 over that for nu."""
    x = np.random.default_rng(7).uniform(-1, 1, (POINTS, WIDTHS[0]))
    network = random_relu_network(WIDTHS, 0)
    wide, narrow = (Uniform(0.25),) * len(network), (Uniform(0.0625),) * len(network)
    small = smoothed(_scaled(network, 0.25), narrow, 0.25 * x)
    difference = np.abs(4.0 * small - smoothed(network, wide, x)).max()
    return float(difference), bound(network, narrow) / bound(network, wide)


def attained() -> Values:
    """abs(relu(u) + relu(v)) of two hinges at their kinks: error over sharper bound, five noises;
    both weights 1, so that errors add up."""
    inner = Layer(Affine(np.ones((2, 1)), np.zeros(2)), RELU)
    outer = Layer(Affine(np.ones((1, 2)), np.zeros(1)), PiecewiseLinear((), (), slope=1.0))
    network = (inner, outer)
    zero = np.zeros((1, 1))
    return tuple(
        float(smoothed(network, (noise, noise), zero)[0, 0])
        / sharper_bound(network, (noise, noise))
        for noise in NOISES
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="smooth-relu",
        statement="sup abs(relu^ν - relu) = E abs(ν) / 2, at the kink: difference of the two "
        "sides; uniform, triangular, normal, logistic, Student-t with 3 df, scale 1",
        code=error_bound,
        test=f"{TEST}::test_a_hinge_errs_most_at_its_kink",
        printed="0: the constant is E abs(ν) / 2",
        number="ours",
        expected=(0.0, 0.0, 0.0, 0.0, 0.0),
        tolerance=2.0**-50,
        why="the excess at 0 on both sides; elsewhere excess(x) + x - x has roundings of numbers "
        "up to 4: 2 of 2^-52",
        run=relu_constants,
    ),
    Claim(
        id="smooth-uniform",
        statement="Uniform noise of half width s = 0.3: error s / 4 at 0, and (x + s)^2 / (4 s) on "
        "[-s, s], largest difference",
        code=expectation,
        test=f"{TEST}::test_closed_forms",
        printed=".075, 0",
        number="ours",
        expected=(0.075, 0.0),
        tolerance=1e-15,
        why="polynomials of degree 2 in numbers below 1: 8 roundings of 2^-53",
        run=uniform_form,
    ),
    Claim(
        id="smooth-forms",
        statement="E s(x - ν) in closed form against means over N = 2000 quantiles, ReLU, hard "
        "tanh, leaky ReLU, five noises: largest difference over Lam E abs(ν)",
        code=expectation,
        test=f"{TEST}::test_closed_forms",
        printed="0",
        number="ours",
        expected=(0.0, 0.0, 0.0),
        tolerance=0.01,
        why="at most the W1 distance of the law and its quantiles; for Student-t with 3 df, the "
        "widest, the last is at 16.4: 33 / (4 N) = .004 inside, 2 excess(16.4) = .004 beyond, and "
        "E abs(ν) = 1.1: .0075",
        run=over_quantiles,
    ),
    Claim(
        id="smooth-slope",
        statement="(s^ν)' has the Lipschitz constant Lam TV(f): steepest quotient over it, largest "
        "of five noises, same activations",
        code=slope,
        test=f"{TEST}::test_slopes_are_derivatives_and_are_lipschitz",
        printed="at most 1; 1/2 for the ReLU",
        number="ours",
        expected=(1.0, 1.0, 1.0),
        tolerance=1e-12,
        why="a bound; quotients of differences over 1/128: 256 roundings of 2^-53",
        run=slopes,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="smooth-bound",
        statement="sup abs(Φ^ν - Φ) <= sum_l Lam_l E abs(ν_l) prod_(k>l) norm(W_k) Lam_k in the "
        "norm of the largest row sum: three random 3-16-16-16-1 ReLU nets, half width 0.3, error "
        "over bound, and over the bound with each ReLU's own constant, half of it",
        code=bound,
        test=f"{TEST}::test_the_composite_bound_holds",
        printed="at most 1 (.044, .031, .042 with other nets)",
        number="ours",
        expected=(1.0,) * 6,
        tolerance=0.0,
        why="a bound, far from equality here",
        run=over_bound,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="smooth-loose",
        statement="Errors of these nets",
        code=smoothed,
        test=f"{TEST}::test_the_composite_bound_holds",
        printed=".072, .050, .083 with other nets",
        number="ours",
        expected=(0.068, 0.068, 0.068),
        tolerance=0.05,
        why="the mean of the three numbers to match plus or minus three of their standard "
        "deviations (.017): other seeds, so the size only",
        run=loose,
        guard=True,
        printed_of="(0.072 + 0.050 + 0.083)/3",
    ),
    Claim(
        id="smooth-linear",
        statement="A ReLU net is linear in a common scale of inputs, biases and noises: largest "
        "abs(4 Φ^(ν/4)(x/4) - Φ^ν(x)); bound for ν/4 over bound for ν",
        code=smoothed,
        test=f"{TEST}::test_a_common_scale_comes_out",
        printed="0, 1/4",
        number="ours",
        expected=(0.0, 0.25),
        tolerance=0.0,
        why="powers of 2 commute with rounding",
        run=linear,
    ),
    Claim(
        id="smooth-attained",
        statement="The sum of two ReLUs at their kinks attains the bound with the ReLU's own "
        "constant: error over bound, five noises",
        code=sharper_bound,
        test=f"{TEST}::test_a_hinge_errs_most_at_its_kink",
        printed="1",
        number="ours",
        expected=(1.0,) * 5,
        tolerance=2.0**-51,
        why="the excess at 0 on both sides; two roundings",
        run=attained,
    ),
)
