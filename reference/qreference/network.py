"""Training of a two-layer network with lattice weights, every line by hand [deng2018].

    linear -> batch norm -> multi-step activation -> linear -> batch norm -> squared hinge

The two weight matrices live on a lattice and only there: they are read for a pass, and moved
by the spec's algorithm. Gains and biases of the batch norms are real and follow their own
base optimiser. In the random counter the weight matrices are tensors 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from qreference import layers, optimisers, stairs, walker
from qreference.arrays import Real
from qreference.layers import Features, Inputs, Labels, Normalised, Outputs, Weights
from qreference.optimisers import Moments
from qreference.philox import words
from qreference.stairs import NoisyStair, multi_step
from qtheory.algorithms import Spec
from qtheory.arrays import Index
from qtheory.optimisers import Adam, Optimiser
from qtheory.streams import Stream


@dataclass(frozen=True, slots=True)
class Config:
    """A network and how it is trained.

    inputs, hidden, classes: numbers of features. spec, optimiser: of the weights.
    real_optimiser: of gains and biases. averaging: weight of the newest batch in the running
    averages. epsilon: added to variances.
    """

    inputs: int
    hidden: int
    classes: int
    spec: Spec
    seed: int = 0
    optimiser: Optimiser = field(default_factory=Adam)
    real_optimiser: Optimiser = field(default_factory=Adam)
    activation: NoisyStair = field(default_factory=multi_step)
    averaging: float = 0.1
    epsilon: float = 1e-5


class Parameters(NamedTuple):
    """What a pass sees of a layer, or the gradient with respect to it."""

    weights: Weights
    gain: Features
    bias: Features


@dataclass(frozen=True, slots=True)
class LayerState:
    """A linear layer on a lattice, and the batch norm after it."""

    index: Index  # shape (outputs, inputs)
    gain: Features
    bias: Features
    moments: Moments
    gain_moments: Moments
    bias_moments: Moments
    running_mean: Features
    running_variance: Features  # of unbiased variances


class NetworkState(NamedTuple):
    """Everything that training changes."""

    first: LayerState
    second: LayerState


class Pass(NamedTuple):
    """One forward and backward pass."""

    loss: float
    gradients: tuple[Parameters, Parameters]
    norms: tuple[Normalised, Normalised]


class Record(NamedTuple):
    """What happened in an iteration; pairs are for the first and the second layer."""

    loss: float
    gradients: tuple[Parameters, Parameters]
    moved: tuple[int, int]
    nan: tuple[int, int]


def init(config: Config, dtype: type[np.floating[Any]] = np.float32) -> NetworkState:
    """Weights uniform over the levels, gains one, biases zero; dtype is that of real numbers."""

    def layer(tensor: int, outputs: int, inputs: int) -> LayerState:
        drawn = words(config.seed, 0, tensor, Stream.INITIALISE, outputs * inputs)
        return LayerState(
            index=walker.uniform(config.spec.lattice, drawn).reshape(outputs, inputs),
            gain=np.ones(outputs, dtype),
            bias=np.zeros(outputs, dtype),
            moments=optimisers.init(config.optimiser, (outputs, inputs)),
            gain_moments=optimisers.init(config.real_optimiser, (outputs,)),
            bias_moments=optimisers.init(config.real_optimiser, (outputs,)),
            running_mean=np.zeros(outputs, dtype),
            running_variance=np.ones(outputs, dtype),
        )

    return NetworkState(
        layer(0, config.hidden, config.inputs), layer(1, config.classes, config.hidden)
    )


def visible(config: Config, layer: LayerState) -> Parameters:
    """What a pass sees of a layer, in the type of its gain."""
    weights = walker.read(config.spec, layer.index)
    return Parameters(weights.astype(layer.gain.dtype), layer.gain, layer.bias)


def loss_and_gradients(
    config: Config, parameters: tuple[Parameters, Parameters], inputs: Inputs, labels: Labels
) -> Pass:
    """Forward, then backward. The activation's derivative is its surrogate."""
    first, second = parameters
    norm1 = layers.batch_norm(
        layers.linear(inputs, first.weights), first.gain, first.bias, config.epsilon
    )
    hidden = stairs.activate(config.activation, norm1.y, "hard")
    norm2 = layers.batch_norm(
        layers.linear(hidden, second.weights), second.gain, second.bias, config.epsilon
    )
    loss, dscores = layers.squared_hinge(norm2.y, labels)

    dlinear2, dgain2, dbias2 = layers.batch_norm_gradients(norm2, second.gain, dscores)
    dhidden, dweights2 = layers.linear_gradients(hidden, second.weights, dlinear2)
    dy1 = dhidden * stairs.derivative(config.activation, norm1.y)
    dlinear1, dgain1, dbias1 = layers.batch_norm_gradients(norm1, first.gain, dy1)
    _, dweights1 = layers.linear_gradients(inputs, first.weights, dlinear1)
    gradients = (
        Parameters(dweights1, dgain1, dbias1),
        Parameters(dweights2, dgain2, dbias2),
    )
    return Pass(loss, gradients, (norm1, norm2))


def step(
    config: Config, state: NetworkState, inputs: Inputs, labels: Labels, iteration: int
) -> tuple[NetworkState, Record]:
    """Iteration t = 1, 2, ... on one batch."""
    parameters = (visible(config, state.first), visible(config, state.second))
    x = inputs.astype(state.first.gain.dtype)
    loss, gradients, norms = loss_and_gradients(config, parameters, x, labels)
    first, moved1, nan1 = _update(config, state.first, gradients[0], norms[0], iteration, 0)
    second, moved2, nan2 = _update(config, state.second, gradients[1], norms[1], iteration, 1)
    return NetworkState(first, second), Record(loss, gradients, (moved1, moved2), (nan1, nan2))


def scores(config: Config, state: NetworkState, inputs: Inputs) -> Outputs:
    """What the network says in use, when batch norms take their running averages."""
    x = inputs.astype(state.first.gain.dtype)
    hidden = stairs.activate(config.activation, _in_use(config, state.first, x), "hard")
    return _in_use(config, state.second, hidden)


def _in_use(config: Config, layer: LayerState, x: Inputs) -> Outputs:
    weights, gain, bias = visible(config, layer)
    inverse_std = 1 / np.sqrt(layer.running_variance + config.epsilon)
    return gain * (layers.linear(x, weights) - layer.running_mean) * inverse_std + bias


def _update(
    config: Config,
    layer: LayerState,
    gradient: Parameters,
    norm: Normalised,
    iteration: int,
    tensor: int,
) -> tuple[LayerState, int, int]:
    """Move the weights, step gain and bias, renew the running averages."""
    index, moments, moved, nan = optimisers.train_step(
        config.spec,
        config.optimiser,
        layer.index,
        layer.moments,
        gradient.weights,
        seed=config.seed,
        iteration=iteration,
        tensor=tensor,
    )
    real = config.real_optimiser
    for_gain, gain_moments = optimisers.increment(
        real, layer.gain_moments, gradient.gain, iteration
    )
    for_bias, bias_moments = optimisers.increment(
        real, layer.bias_moments, gradient.bias, iteration
    )
    examples = len(norm.y)
    unbiased = norm.variance * (examples / (examples - 1))
    after = LayerState(
        index=index,
        gain=layer.gain + for_gain,
        bias=layer.bias + for_bias,
        moments=moments,
        gain_moments=gain_moments,
        bias_moments=bias_moments,
        running_mean=_average(config, layer.running_mean, norm.mean),
        running_variance=_average(config, layer.running_variance, unbiased),
    )
    return after, moved, nan


def _average(config: Config, running: Features, newest: Real) -> Features:
    return (1 - config.averaging) * running + config.averaging * newest
