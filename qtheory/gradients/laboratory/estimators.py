"""Coarse gradients: a forward pass through stairs, a backward pass through something smoother.

The forward pass hands on expectations, most probable levels, levels without noise, or levels drawn
from the law of the noisy stair. Going back, the slope of each stair is that of a surrogate:

    a LayerNoise     sum_i d_i f(a - mean - t_i), the smoothed stair's [spallanzani2022]; 0 if none
    Identity         gain: the original straight-through estimator
    Window           gain for low <= a < high, else 0: the clipped identity

Rows carry weights that sum to one, so that a sum over every level and a mean over draws are the
same code: only their errors differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from qtheory.gradients.networks.affine import Features, Gradients, outer
from qtheory.gradients.networks.loss_network import LossNetwork, configurations
from qtheory.gradients.networks.stair_network import LayerNoise, UnitLaws
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

MOST_ROWS = 2**17
"""Paths that are enumerated at most."""

RowWeights = Float[ndarray, "rows"]
PASSES = ("expectation", "mode", "hard", "random")


@dataclass(frozen=True, slots=True)
class Identity:
    """Slope `gain` everywhere."""

    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class Window:
    """Slope `gain` for low <= a < high. Raises ValueError unless low < high."""

    low: float
    high: float
    gain: float = 1.0

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a window has low < high, got {self.low} and {self.high}")


Surrogate: TypeAlias = LayerNoise | Identity | Window


def surrogate_slope(surrogate: Surrogate, stair: Stair, a: Features) -> Features:
    """What the backward pass takes for the slope of a stair.

    >>> a = np.array([[-0.6, -0.5, 0.2, 0.5]])
    >>> surrogate_slope(Window(-0.5, 0.5, 2.0), Stair.step(), a).tolist()
    [[0.0, 2.0, 2.0, 0.0]]
    """
    match surrogate:
        case Identity():
            return np.full(a.shape, surrogate.gain)
        case Window():
            return np.where((surrogate.low <= a) & (a < surrogate.high), surrogate.gain, 0.0)
        case LayerNoise():
            return surrogate.slope(stair, a)


@dataclass(frozen=True, slots=True)
class Estimator:
    """A coarse gradient. forward: what is handed on. noises: of the forward pass, one for each
    hidden layer. surrogates: of the backward pass, likewise.

    Raises ValueError if the forward pass is not known or the numbers of layers differ.
    """

    forward: str
    noises: tuple[LayerNoise, ...]
    surrogates: tuple[Surrogate, ...]

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.forward not in PASSES:
            raise ValueError(f"a forward pass is one of {', '.join(PASSES)}, got {self.forward!r}")
        if len(self.noises) != len(self.surrogates):
            raise ValueError(
                "an estimator has a noise and a surrogate for each layer, got "
                f"{len(self.noises)} and {len(self.surrogates)}"
            )


def annealed(forward: str, noises: tuple[LayerNoise, ...]) -> Estimator:
    """Additive noise annealing: the slope is that of the noise of the forward pass."""
    return Estimator(forward, noises, noises)


def straight_through(surrogate: Surrogate, layers: int) -> Estimator:
    """Stairs forward, one surrogate backward, in so many hidden layers."""
    return Estimator("hard", (LayerNoise(None),) * layers, (surrogate,) * layers)


class Rows(NamedTuple):
    """Examples or paths. states: what each layer got, from the inputs to the last levels."""

    targets: Features
    weights: RowWeights
    pre: tuple[Features, ...]  # a_1 .. a_L
    states: tuple[Features, ...]  # x_0 .. x_L


def starting(inputs: Features, targets: Features, weights: RowWeights) -> Rows:
    """Rows before the first layer."""
    return Rows(targets, weights, (), (inputs,))


def passed(network: LossNetwork, estimator: Estimator, rows: Rows) -> Rows:
    """A forward pass that draws nothing. Raises ValueError if it is random."""
    for layer, noise in network.hidden.each_with(estimator.noises):
        a = layer.affine(rows.states[-1])
        x = noise.passed(estimator.forward, layer.stair, a)
        rows = rows._replace(pre=(*rows.pre, a), states=(*rows.states, x))
    return rows


def drawn(network: LossNetwork, estimator: Estimator, rows: Rows, rng: np.random.Generator) -> Rows:
    """A forward pass with one draw of levels for each row."""
    for layer, noise in network.hidden.each_with(estimator.noises):
        a = layer.affine(rows.states[-1])
        words = rng.integers(0, 2**32, size=a.shape, dtype=np.uint32)
        x = noise.drawn(layer.stair, a, words)
        rows = rows._replace(pre=(*rows.pre, a), states=(*rows.states, x))
    return rows


def enumerated(network: LossNetwork, estimator: Estimator, rows: Rows) -> Rows:
    """All paths of levels, each weighted by its probability; those of weight 0 are left out.

    Raises ValueError if there are more than MOST_ROWS before they are left out.
    """
    for layer, noise in network.hidden.each_with(estimator.noises):
        units, levels = len(layer.affine.bias), np.array(layer.stair.levels)
        count = len(rows.weights) * len(levels) ** units
        if count > MOST_ROWS:
            raise ValueError(
                f"at most {MOST_ROWS} paths are enumerated, got {count}: give a number of draws"
            )
        a = layer.affine(rows.states[-1])
        which = configurations(units, len(levels))
        weights = rows.weights[:, None] * together(noise.law(layer.stair, a), which)
        at, chosen = np.nonzero(weights)
        rows = Rows(
            rows.targets[at],
            weights[at, chosen],
            tuple(each[at] for each in (*rows.pre, a)),
            (*(each[at] for each in rows.states), levels[which[chosen]]),
        )
    return rows


def together(
    unit: UnitLaws, which: Int64[ndarray, "_configurations _units"]
) -> Float[ndarray, "rows _configurations"]:
    """Products over units of unit[:, j, which[:, j]]."""
    return math.prod(unit[:, j, which[:, j]] for j in range(unit.shape[1]))  # pyright: ignore


def backward(network: LossNetwork, estimator: Estimator, rows: Rows) -> tuple[Gradients, ...]:
    """Coarse gradients of each row, by layer, from the rows of a forward pass."""
    y = network.output(rows.states[-1])
    slopes = network.loss_slope(y, rows.targets)
    found = [outer(slopes, rows.states[-1])]
    above = network.output
    for number, layer in reversed([*enumerate(network.hidden.layers)]):
        steep = surrogate_slope(estimator.surrogates[number], layer.stair, rows.pre[number])
        slopes = (slopes @ above.weights) * steep
        found.append(outer(slopes, rows.states[number]))
        above = layer.affine
    return tuple(reversed(found))
