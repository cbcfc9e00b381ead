"""Networks of stochastic binary units, by enumeration [shekhovtsov2021] [shekhovtsov2020].

Layers l = 1..n of units -1 and +1 above a fixed input y^0:

    a^l = W^l y^(l-1) + b^l,   P(y^l_i = +1) = F(a^l_i),   loss L(y^n)

with an `Objective` as loss. A state is one choice of all hidden units; it has the probability
prod_l P(y^l given y^(l-1)). An estimator gives, at each state, a number for dE L / da^l_i; times
y^(l-1)_j that is one for dE L / dW^l_ij. Means and variances are sums over all states.

    score             L sum d log P / da, unbiased
    straight-through  g^n = L'(y^n), e^l = 2 f(a^l) g^l, g^(l-1) = W^l' e^l: estimator e^l
    sample-analytic   differences in place of derivatives: with y|i the layer with unit i flipped,
                      g^n_j = y_j (L(y^n) - L(y^n|j)) / 2, e^l_i = 2 f(a^l_i) g^l_i and
                      g^(l-1)_i = y_i sum_j y_j g^l_j (F(y_j a_j) - F(y_j (a_j - 2 W_ji y_i))),
                      with y_i of layer l - 1 and y_j, a_j of layer l

The sample-analytic form is derived here, from a memory of the one in [shekhovtsov2020]. Its first
order in W and in the flips of L is straight-through: F(y_j a_j) - F(y_j a_j|i) becomes
2 y_j y_i f(a_j) W_ji, and y_j (L(y) - L(y|j)) / 2 becomes dL/dy_j. All that it leaves out is that
a flip of one unit changes several units of the next layer at once; so it is unbiased for one
layer, for two if L is a sum of functions of one unit each, and where all later layers have one
unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.gradients.stochastic.units import (
    Objective,
    PerState,
    States,
    corners,
    probability,
)
from qtheory.noise import Smoothing
from qtheory.values import own_arrays, rebuilt

Matrix = Float[ndarray, "_ _"]
"""W^l: a row for each unit, a column for each input."""

Vector = Float[ndarray, "_"]
"""One number for each unit of some layer."""

Layer = Float[ndarray, "states _"]
"""One number for each state and unit of some layer."""

Layers = list[Layer]
"""A number for each state and unit, layer by layer."""

MOST_STATES = 2**16


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """weights: W^1, ..., W^n. biases: b^1, ..., b^n. noise: of every unit.

    Raises ValueError if shapes do not follow one another or there are more than 2**16 states.
    """

    weights: tuple[Matrix, ...]
    biases: tuple[Vector, ...]
    noise: Smoothing

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        sizes = [w.shape for w in self.weights]
        follow = all(above[1] == below[0] for below, above in pairwise(sizes))
        if not sizes or not follow or [len(b) for b in self.biases] != [s[0] for s in sizes]:
            raise ValueError(
                "a network has layers, each taking as many inputs as the one below has units, and "
                f"a bias for each unit, got {sizes} and {[len(b) for b in self.biases]}"
            )
        if 2**self.units > MOST_STATES:
            raise ValueError(f"enumeration takes {MOST_STATES} states, got 2**{self.units}")

    @property
    def units(self) -> int:
        """Units of all layers."""
        return sum(len(b) for b in self.biases)


class Run(NamedTuple):
    """Every state: the layers y^0..y^n, the activations a^1..a^n, and the probability."""

    layers: Layers
    activations: Layers
    probability: PerState


class WeightMoments(NamedTuple):
    """Mean and total variance, over the entries of W^l, of an estimator of dE L / dW^l."""

    mean: Matrix
    variance: float


def enumerate_states(network: Network, inputs: Vector) -> Run:
    """All states of a network above this input.

    >>> from qtheory.noise import Uniform
    >>> one = Network((np.array([[0.5]]),), (np.zeros(1),), Uniform(1.0))
    >>> enumerate_states(one, np.ones(1)).probability.tolist()
    [0.25, 0.75]
    """
    states = corners(network.units)
    ends = np.cumsum([len(b) for b in network.biases])
    layers = [np.tile(inputs, (len(states), 1)), *np.split(states, ends[:-1], axis=1)]
    activations = [
        y @ w.T + b for y, w, b in zip(layers[:-1], network.weights, network.biases, strict=True)
    ]
    factors = [
        probability(network.noise, y, a).prod(axis=1)
        for y, a in zip(layers[1:], activations, strict=True)
    ]
    return Run(layers, activations, np.prod(factors, axis=0))


def expected_loss(network: Network, objective: Objective, inputs: Vector) -> float:
    """E L, by the laws of the layers one after the other rather than of all states at once."""
    reached, law = inputs[None], np.ones(1)
    for w, b in zip(network.weights, network.biases, strict=True):
        y = corners(len(b))
        a = reached @ w.T + b
        each = [probability(network.noise, y, row).prod(axis=1) for row in a]
        reached, law = y, law @ np.stack(each)
    return float(law @ objective.value(reached))


def score(network: Network, objective: Objective, run: Run, baseline: float = 0.0) -> Layers:
    """(L - baseline) y f(a) / F(y a), layer by layer."""
    losses = (objective.value(run.layers[-1]) - baseline)[:, None]

    def of_layer(y: Layer, a: Layer) -> Layer:
        p = probability(network.noise, y, a)
        slopes = np.divide(y * network.noise.density(a), p, out=np.zeros_like(p), where=p > 0)
        return losses * slopes

    return [of_layer(y, a) for y, a in zip(run.layers[1:], run.activations, strict=True)]


def straight_through(network: Network, objective: Objective, run: Run) -> Layers:
    """e^1, ..., e^n."""
    g, found = objective.gradient(run.layers[-1]), list[Layer]()
    for w, a in zip(reversed(network.weights), reversed(run.activations), strict=True):
        found.append(2.0 * network.noise.density(a) * g)
        g = found[-1] @ w
    return found[::-1]


def _half_flips(objective: Objective, y: States) -> States:
    """y_j (L(y) - L(y|j)) / 2."""
    loss = objective.value(y)
    columns: list[PerState] = []
    for j in range(y.shape[1]):
        flipped = y.copy()
        flipped[:, j] *= -1.0
        columns.append(0.5 * y[:, j] * (loss - objective.value(flipped)))
    return np.stack(columns, axis=1)


def sample_analytic(network: Network, objective: Objective, run: Run) -> Layers:
    """The sample-analytic estimator: straight-through with differences in place of derivatives."""
    g, found = _half_flips(objective, run.layers[-1]), list[Layer]()
    for layer in reversed(range(len(network.weights))):
        y, below, a = run.layers[layer + 1], run.layers[layer], run.activations[layer]
        found.append(2.0 * network.noise.density(a) * g)
        flipped = a[:, :, None] - 2.0 * network.weights[layer] * below[:, None, :]
        now = network.noise.tail(-y * a)[:, :, None]
        change = now - network.noise.tail(-y[:, :, None] * flipped)
        g = below * ((y * g)[:, :, None] * change).sum(axis=1)
    return found[::-1]


def mean_field(network: Network, objective: Objective, inputs: Vector) -> list[Vector]:
    """dL / da^l of the network whose units are their means 2 F(a) - 1 (tanh(a / (2 scale)) for
    logistic noise): no randomness is left."""
    means, activations = [inputs], list[Vector]()
    for w, b in zip(network.weights, network.biases, strict=True):
        activations.append(w @ means[-1] + b)
        means.append(1.0 - 2.0 * network.noise.tail(activations[-1]))
    g, found = objective.gradient(means[-1][None])[0], list[Vector]()
    for w, a in zip(reversed(network.weights), reversed(activations), strict=True):
        found.append(2.0 * network.noise.density(a) * g)
        g = found[-1] @ w
    return found[::-1]


def mean_field_weights(network: Network, objective: Objective, inputs: Vector) -> list[Matrix]:
    """dL / dW^l of the same network."""
    means = [inputs]
    for w, b in zip(network.weights[:-1], network.biases[:-1], strict=True):
        means.append(1.0 - 2.0 * network.noise.tail(w @ means[-1] + b))
    slopes = mean_field(network, objective, inputs)
    return [np.outer(e, y) for e, y in zip(slopes, means, strict=True)]


def weight_moments(estimator: Layers, run: Run) -> list[WeightMoments]:
    """Mean and variance of e^l_i y^(l-1)_j under the law of the states."""
    found: list[WeightMoments] = []
    for e, y in zip(estimator, run.layers[:-1], strict=True):
        mean = (e * run.probability[:, None]).T @ y
        square = (e**2 * run.probability[:, None]).T @ y**2
        found.append(WeightMoments(mean, float((square - mean**2).sum())))
    return found


def gradients(network: Network, objective: Objective, run: Run) -> list[Matrix]:
    """dE L / dW^l, exact: the mean of the score, less the mean loss for the sake of rounding."""
    mean = float(run.probability @ objective.value(run.layers[-1]))
    return [m.mean for m in weight_moments(score(network, objective, run, mean), run)]


class Distance(NamedTuple):
    """How far a matrix is from the gradient: abs(bias) / abs(gradient), and their cosine."""

    bias: float
    cosine: float


def distance(found: Matrix, exact: Matrix) -> Distance:
    """Relative bias and cosine, entries of the matrices taken as one vector.

    Raises ValueError if one of them is 0.

    >>> distance(np.array([[0.0, 2.0]]), np.array([[0.0, 1.0]]))
    Distance(bias=1.0, cosine=1.0)
    """
    length, size = float(np.linalg.norm(found)), float(np.linalg.norm(exact))
    if length == 0 or size == 0:
        raise ValueError(f"a distance is one of gradients that are not 0, got {length}, {size}")
    cosine = float((found * exact).sum()) / (length * size)
    return Distance(float(np.linalg.norm(found - exact)) / size, cosine)
