"""True gradients of a network of stairs, to judge coarse ones by.

    smoothed     of E over the noise of the loss: by enumeration of the levels of each layer
    mean field   of the loss of the network that hands on expectations: by the chain rule
    discrete     of the mean loss of the network without noise, over the data

The discrete gradient in a layer of stairs is 0 almost everywhere if the layer gets finitely many
values: over finite data, and behind another layer of stairs. There the result is None and no
number. For the first layer and inputs N(0, I) it is an integral over surfaces. Let D_ij(x) be the
loss with unit j at level i less the loss with it at level i - 1, other units as they are. Then

    dF/dw_j = sum_i E[D_ij(x) x delta(w_j x + b_j - t_i)]
            = sum_i phi((t_i - b_j) / |w_j|) / |w_j| E[D_ij(x) x, given w_j x + b_j = t_i]

where, given that, x = w_j (t_i - b_j) / |w_j|**2 + z, with z N(0, I) projected off w_j: an
expectation like others, without differences of nearby losses. For one input, z = 0: it is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.gradients.laboratory.estimators import annealed, backward, passed, starting, together
from qtheory.gradients.networks.affine import Features, Gradients, outer
from qtheory.gradients.networks.loss_network import Losses, LossNetwork, configurations
from qtheory.gradients.networks.stair_network import LayerNoise

Teacher: TypeAlias = Callable[[Features], Features]
"""Targets of inputs."""

LevelValues = Float[ndarray, "_configurations _units"]
"""Levels of the units of a layer, in all their configurations."""

Transitions = Float[ndarray, "rows _configurations"]

MOST_TRANSITIONS = 2**22


def _equal(rows: int) -> Losses:
    return np.full(rows, 1.0 / rows)


def mean_field_gradients(
    network: LossNetwork, noises: tuple[LayerNoise, ...], inputs: Features, targets: Features
) -> tuple[Gradients, ...]:
    """Gradients of the loss of each row when expectations are handed on."""
    estimator = annealed("expectation", noises)
    rows = passed(network, estimator, starting(inputs, targets, _equal(len(inputs))))
    return backward(network, estimator, rows)


class _Paths(NamedTuple):
    """Configurations of layers, the inputs' rows first, and the way from each layer to the next."""

    values: tuple[LevelValues, ...]
    to: tuple[Transitions, ...]
    slopes: tuple[tuple[Transitions, ...], ...]  # d to / d a_j, for each unit j


def _paths(network: LossNetwork, noises: tuple[LayerNoise, ...], inputs: Features) -> _Paths:
    net = _Paths((inputs,), (), ())
    for layer, noise in network.hidden.each_with(noises):
        affine, stair = layer.affine, layer.stair
        units, levels, rows = len(affine.bias), len(stair.levels), len(net.values[-1])
        if rows * levels**units > MOST_TRANSITIONS:
            raise ValueError(
                f"at most {MOST_TRANSITIONS} transitions are enumerated, got {rows} times "
                f"{levels**units}"
            )
        a, which = affine(net.values[-1]), configurations(units, levels)
        law, steep = noise.law(stair, a), noise.law_slope(stair, a)
        units_are = np.arange(units)[:, None]
        slopes = [together(np.where(units_are == j, steep, law), which) for j in range(units)]
        net = _Paths(
            (*net.values, np.array(stair.levels)[which]),
            (*net.to, together(law, which)),
            (*net.slopes, tuple(slopes)),
        )
    return net


def _losses_by_configuration(
    network: LossNetwork, last: LevelValues, targets: Features
) -> Transitions:
    y = network.output(last)
    rows, count = len(targets), len(last)
    each = network.losses(np.tile(y, (rows, 1)), np.repeat(targets, count, axis=0))
    return each.reshape(rows, count)


def smoothed_losses(
    network: LossNetwork, noises: tuple[LayerNoise, ...], inputs: Features, targets: Features
) -> Losses:
    """E over the noise of the loss of each row. Raises ValueError if there are too many levels."""
    net = _paths(network, noises, inputs)
    reached = net.to[0]
    for transitions in net.to[1:]:
        reached = reached @ transitions
    return (reached * _losses_by_configuration(network, net.values[-1], targets)).sum(axis=1)


def smoothed_gradients(
    network: LossNetwork, noises: tuple[LayerNoise, ...], inputs: Features, targets: Features
) -> tuple[Gradients, ...]:
    """Gradients of `smoothed_losses`, by layer: forward probabilities r_l(c) of configurations c,
    backward values v_l(c) = E[loss, given c], and dv_(l-1)/da_j between them.

    Raises ValueError if there are too many levels.
    """
    net = _paths(network, noises, inputs)
    depth = len(network.hidden.layers)
    reached = [net.to[0]]
    for transitions in net.to[1:]:
        reached.append(reached[-1] @ transitions)
    found = [_output_gradients(network, net.values[-1], reached[-1], targets)]
    values = _losses_by_configuration(network, net.values[-1], targets)
    for number in reversed(range(1, depth)):
        inside = [reached[number - 1] * (values @ by.T) for by in net.slopes[number]]
        got = net.values[number]
        found.append(np.concatenate([*(each @ got for each in inside), *_sums(inside)], axis=1))
        values = values @ net.to[number].T
    first = np.stack([(by * values).sum(axis=1) for by in net.slopes[0]], axis=1)
    return tuple(reversed([*found, outer(first, inputs)]))


def _sums(inside: list[Transitions]) -> list[Float[ndarray, "rows 1"]]:
    return [each.sum(axis=1, keepdims=True) for each in inside]


def _output_gradients(
    network: LossNetwork, last: LevelValues, reached: Transitions, targets: Features
) -> Gradients:
    """E[dloss/dy (x_L, 1)] of each row."""
    rows, count = reached.shape
    y = network.output(last)
    slopes = network.loss_slope(np.tile(y, (rows, 1)), np.repeat(targets, count, axis=0))
    weighted = slopes.reshape(rows, count, -1) * reached[:, :, None]
    products = np.einsum("rco,ci->roi", weighted, last).reshape(rows, -1)
    return np.concatenate([products, weighted.sum(axis=1)], axis=1)


def hard_output_gradients(
    network: LossNetwork, means: tuple[float, ...], inputs: Features, targets: Features
) -> Gradients:
    """Gradients in the output layer of the loss of each row, without noise."""
    estimator = annealed("hard", tuple(LayerNoise(None, mean) for mean in means))
    rows = passed(network, estimator, starting(inputs, targets, _equal(len(inputs))))
    return backward(network, estimator, rows)[-1]


def surface_gradients(
    network: LossNetwork, means: tuple[float, ...], teacher: Teacher, normals: Features
) -> Gradients:
    """Draws whose mean is the discrete gradient in the first layer, for inputs N(0, I).

    normals: independent N(0, 1), a row for each draw. Raises ValueError if a unit has no weights:
    then its threshold is no surface.
    """
    first, stair = network.hidden.layers[0].affine, network.hidden.layers[0].stair
    size = np.linalg.norm(first.weights, axis=1)
    if (size == 0).any():
        raise ValueError(f"each unit of the first layer has a weight, got norms {size.tolist()}")
    gradients = np.zeros((len(normals), len(size), first.weights.shape[1] + 1))
    for j, w in enumerate(first.weights):
        along = w / size[j]
        across = normals - np.outer(normals @ along, along)
        if len(along) == 1:
            across = np.zeros_like(normals)
        for i, threshold in enumerate(stair.thresholds):
            far = (threshold + means[0] - first.bias[j]) / size[j]
            density = math.exp(-0.5 * far * far) / (math.sqrt(2 * math.pi) * size[j])
            x = far * along + across
            jump = _loss_with(network, means, teacher, x, j, stair.levels[i + 1])
            jump = jump - _loss_with(network, means, teacher, x, j, stair.levels[i])
            gradients[:, j, :-1] += density * jump[:, None] * x
            gradients[:, j, -1] += density * jump
    weights = gradients[:, :, :-1].reshape(len(normals), -1)
    return np.concatenate([weights, gradients[:, :, -1]], axis=1)


def _loss_with(
    network: LossNetwork,
    means: tuple[float, ...],
    teacher: Teacher,
    x: Features,
    unit: int,
    level: float,
) -> Losses:
    """The loss at inputs x when a unit of the first layer is at a level, whatever it gets."""
    (first, mean), *others = network.hidden.each_with(means)
    state = first.stair(first.affine(x) - mean)
    state[:, unit] = level
    for layer, mean in others:
        state = layer.stair(layer.affine(state) - mean)
    return network.losses(network.output(state), teacher(x))
