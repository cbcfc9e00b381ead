"""Small networks of stairs, written out so that all their levels can be enumerated.

    a_l = W_l x_(l-1) + b_l,   x_l = q_l(a_l - mean_l - e_l),   l = 1 .. L;   y = W x_L + b

with a stair q_l and a noise e_l for each layer, independent for each unit; the output is real.
Losses of the output y against a target t, of the same shape:

    "squared"    sum (y - t)**2 / 2
    "logistic"   sum log(1 + exp(-t y)), targets -1 and +1
    "linear"     -sum t y, which is affine in each level of the last layer

Parameters of a layer are one vector: its weights row by row, then its biases. Rows of an array are
examples, or paths through the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from qtheory.noise import Smoothing
from qtheory.quantizer import Stair
from qtheory.smoothing import density_from_the_right, expectation, law, mode

Features = Float[ndarray, "rows _features"]
"""One vector for each row: inputs, pre-activations, levels or outputs."""

Losses = Float[ndarray, "rows"]
Matrix = Float[ndarray, "_outputs _inputs"]
Bias = Float[ndarray, "_outputs"]
Parameters = Float[ndarray, "_parameters"]
Gradients = Float[ndarray, "rows _parameters"]
UnitLaws = Float[ndarray, "rows _units _levels"]

LevelValues = Float[ndarray, "_configurations _units"]
"""Levels of the units of a layer, in all their configurations."""

LOSSES = ("squared", "logistic", "linear")


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """a = W x + b. weights: shape (outputs, inputs). bias: shape (outputs,).

    Raises ValueError if the shapes do not fit or a number is not finite.
    """

    weights: Matrix
    bias: Bias

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.bias.shape != self.weights.shape[:1]:
            raise ValueError(
                "an affine map has a bias for each row of weights, got shapes "
                f"{self.bias.shape} and {self.weights.shape}"
            )
        if not (np.isfinite(self.weights).all() and np.isfinite(self.bias).all()):
            raise ValueError(f"weights and biases are finite, got {self.weights}, {self.bias}")

    def __call__(self, x: Features) -> Features:
        return x @ self.weights.T + self.bias

    def vector(self) -> Parameters:
        """Weights row by row, then biases."""
        return np.concatenate([self.weights.ravel(), self.bias])

    def with_vector(self, vector: Parameters) -> Affine:
        """The same shapes, other numbers."""
        count = self.weights.size
        return Affine(vector[:count].reshape(self.weights.shape), vector[count:].copy())


@dataclass(frozen=True, slots=True)
class LayerNoise:
    """Noise before the stair of a layer: x becomes x - mean - e. None: no noise, the stair itself.

    >>> from qtheory.noise import Uniform
    >>> LayerNoise.of(Uniform(1.0), 0.0, -0.5)
    LayerNoise(noise=None, mean=-0.5)
    """

    noise: Smoothing | None
    mean: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.mean):
            raise ValueError(f"the mean of a noise is finite, got {self.mean}")

    @classmethod
    def of(cls, family: Smoothing, scale: float, mean: float = 0.0) -> LayerNoise:
        """The family at a scale >= 0 of a schedule, in units of the scale of `family`."""
        if not (np.isfinite(scale) and scale >= 0):
            raise ValueError(f"a scale of a schedule is finite and >= 0, got {scale}")
        return cls(family.scaled(scale) if scale > 0 else None, mean)

    def unit_law(self, stair: Stair, a: Features) -> UnitLaws:
        """P(level i) of each unit."""
        if self.noise is None:
            return np.eye(len(stair.levels))[stair.index(a - self.mean)]
        return law(stair, self.noise, a, self.mean)

    def unit_slope(self, stair: Stair, a: Features) -> UnitLaws:
        """d/da P(level i) = f(u_i) - f(u_(i+1)); 0 without noise, almost everywhere."""
        if self.noise is None:
            return np.zeros((*a.shape, len(stair.levels)))
        u = a[..., None] - self.mean - np.array(stair.thresholds)
        f = density_from_the_right(self.noise, u)
        none = np.zeros((*a.shape, 1))
        return -np.diff(np.concatenate([none, f, none], axis=-1), axis=-1)

    def passed(self, forward: str, stair: Stair, a: Features) -> Features:
        """What a unit hands on: the expectation, the most probable level, or the level without
        noise; without noise all are the last, and the mean shifts it too."""
        if self.noise is None or forward == "hard":
            return stair(a - self.mean)
        if forward == "expectation":
            return expectation(stair, self.noise, a, self.mean)
        return np.array(stair.levels)[mode(stair, self.noise, a, self.mean)]


def noises_at(
    family: Smoothing, scales: Sequence[float], means: Sequence[float] | None = None
) -> tuple[LayerNoise, ...]:
    """A schedule at one time: a scale >= 0, in units of that of `family`, and a mean, by default 0,
    for each layer. Raises ValueError if a scale is negative or there are not as many means.

    >>> from qtheory.noise import Uniform
    >>> noises_at(Uniform(0.5), [1.0, 0.0])
    (LayerNoise(noise=Uniform(half_width=0.5), mean=0.0), LayerNoise(noise=None, mean=0.0))
    """
    means = [0.0] * len(scales) if means is None else means
    if len(means) != len(scales):
        raise ValueError(
            f"a schedule has a mean for each scale, got {len(means)} and {len(scales)}"
        )
    return tuple(LayerNoise.of(family, s, mean) for s, mean in zip(scales, means, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class StairNetwork:
    """hidden: W_l, b_l of each layer of stairs, stairs: q_l. output: W, b. loss: see the module.

    Raises ValueError if there is no hidden layer, not a stair for each, a width that does not fit,
    or a loss that is not known.
    """

    hidden: tuple[Affine, ...]
    stairs: tuple[Stair, ...]
    output: Affine
    loss: str = "squared"

    def __post_init__(self) -> None:
        if not self.hidden or len(self.stairs) != len(self.hidden):
            raise ValueError(
                "a network has hidden layers and a stair for each, got "
                f"{len(self.hidden)} and {len(self.stairs)}"
            )
        for before, after in pairwise((*self.hidden, self.output)):
            if after.weights.shape[1] != before.weights.shape[0]:
                raise ValueError(
                    "a layer has an input for each unit before it, got "
                    f"{after.weights.shape[1]} and {before.weights.shape[0]}"
                )
        if self.loss not in LOSSES:
            raise ValueError(f"a loss is one of {', '.join(LOSSES)}, got {self.loss!r}")

    @property
    def layers(self) -> tuple[Affine, ...]:
        """Hidden ones, then the output."""
        return (*self.hidden, self.output)

    def with_layer(self, number: int, layer: Affine) -> StairNetwork:
        """Another affine map in place of layer `number`; the output is the last."""
        layers = [*self.layers]
        layers[number] = layer
        return StairNetwork(tuple(layers[:-1]), self.stairs, layers[-1], self.loss)

    def losses(self, y: Features, targets: Features) -> Losses:
        """The loss of each row."""
        match self.loss:
            case "squared":
                each = 0.5 * (y - targets) ** 2
            case "logistic":
                each = np.logaddexp(0.0, -targets * y)
            case _:
                each = -targets * y
        return each.sum(axis=-1)

    def loss_slope(self, y: Features, targets: Features) -> Features:
        """d loss / d y of each row."""
        match self.loss:
            case "squared":
                return y - targets
            case "logistic":
                return -targets * special.expit(-targets * y)
            case _:
                return -targets + 0.0 * y

    def hard(self, x: Features) -> Features:
        """The output without noise.

        >>> line = Affine(np.ones((1, 1)), np.zeros(1))
        >>> StairNetwork((line,), (Stair.step(),), line).hard(np.array([[-0.1], [0.0]])).tolist()
        [[0.0], [1.0]]
        """
        for layer, stair in zip(self.hidden, self.stairs, strict=True):
            x = stair(layer(x))
        return self.output(x)


def random_network(
    widths: tuple[int, ...], stair: Stair, seed: int, loss: str = "squared"
) -> StairNetwork:
    """Weights N(0, 1 / inputs), biases N(0, 1/16); widths from inputs to outputs.

    >>> [a.weights.shape for a in random_network((2, 3, 1), Stair.step(), 0).layers]
    [(3, 2), (1, 3)]
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    layers = [
        Affine(rng.normal(size=(n, m)) / np.sqrt(m), 0.25 * rng.normal(size=n))
        for m, n in pairwise(widths)
    ]
    return StairNetwork(tuple(layers[:-1]), (stair,) * (len(layers) - 1), layers[-1], loss)


def configurations(units: int, levels: int) -> Int64[ndarray, "configurations units"]:
    """All positions that so many units of so many levels can have.

    >>> configurations(2, 2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    return np.indices((levels,) * units).reshape(units, -1).T.astype(np.int64)


def outer(slopes: Features, inputs: Features) -> Gradients:
    """Gradients in the parameters of an affine map, one for each row, from those in its values."""
    products = (slopes[:, :, None] * inputs[:, None, :]).reshape(len(slopes), -1)
    return np.concatenate([products, slopes], axis=1)
