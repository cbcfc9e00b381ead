"""Hyper-gradients of a network of two layers, with a schedule for each.

Weights W of layer 1 and a of layer 2 are seen through the smoothed ternary stair v at scales s_1
and s_2, hidden units through v at s_1, as a pair shares its noise [spallanzani2022]:

    z = x v(W; s_1) / sqrt(d),   h = v(z; s_1),   o = h v(a; s_2) / sqrt(m),

and the loss is the mean of (o - y)**2 / 2.

A tangent pass carries derivatives in all parameters of the schedules along with the backward pass:
every v and v' in it moves by v' dx + v_s ds and v'' dx + v'_s ds. Full batches, gradient descent,
s_l = floor + beta_l (1 - k / T)**alpha_l, validation at the floor. Where learning rate and slopes
are large, training is sensitive to its start and hyper-gradients too large to be of use [metz2019].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.gradients.levels import hypergradient
from qtheory.gradients.levels.hypergradient import (
    LOGISTIC,
    TERNARY,
    Phi,
    curvature,
    descend,
    slope_in_scale_of_slope,
)
from qtheory.noise import Points, with_scale
from qtheory.stairs.smoothing import expectation, slope, slope_in_scale

Directions = Float[ndarray, " directions"]
Phis = Float[ndarray, "layers 2"]
"""beta and alpha of each layer."""


class Sample(NamedTuple):
    """Inputs and targets."""

    x: Float[ndarray, "points inputs"]
    y: Float[ndarray, " points"]


class State(NamedTuple):
    """Weights of the two layers, or anything of their shapes behind a first axis."""

    first: Points
    second: Points


@dataclass(frozen=True, slots=True)
class TwoLayers:
    """Data, first weights and how they are trained. Raises ValueError unless numbers are > 0."""

    training: Sample
    validation: Sample
    start: State
    learning_rate: float = 0.3
    iterations: int = 200
    floor: float = 0.1

    def __post_init__(self) -> None:
        if not (self.floor > 0 and self.learning_rate > 0 and self.iterations > 0):
            raise ValueError(
                "floor, learning rate and iterations are positive, got "
                f"{self.floor}, {self.learning_rate}, {self.iterations}"
            )


def teacher(seed: int = 1, inputs: int = 6, hidden: int = 5, points: int = 64) -> TwoLayers:
    """Targets of a network with ternary weights and a stair of noise scale .3, and noise of std
    .1; 4 times as many points for validation. First weights normal with std .5."""
    draw = np.random.default_rng(seed)
    true = State(
        draw.integers(-1, 2, (inputs, hidden)).astype(float),
        draw.choice([-1.0, 1.0], hidden),
    )

    def sample(n: int) -> Sample:
        x = draw.standard_normal((n, inputs))
        z = x @ true.first / math.sqrt(inputs)
        h = expectation(TERNARY, with_scale(LOGISTIC, 0.3), z)
        y = h @ true.second / math.sqrt(hidden) + 0.1 * draw.standard_normal(n)
        return Sample(x, y)

    train, further = sample(points), sample(4 * points)
    start = State(0.5 * draw.standard_normal((inputs, hidden)), 0.5 * draw.standard_normal(hidden))
    return TwoLayers(train, further, start)


class Seen(NamedTuple):
    """v and v' at a point, and how they move in each direction (first axis)."""

    value: Points
    rise: Points
    moved: Points
    moved_rise: Points


def seen(x: Points, scale: float, dx: Points, ds: Directions) -> Seen:
    """v(x; s), v'(x; s) and their tangents."""
    noise = with_scale(LOGISTIC, scale)
    rise = slope(TERNARY, noise, x)
    along = ds.reshape(-1, *(1,) * x.ndim)
    return Seen(
        expectation(TERNARY, noise, x),
        rise,
        rise * dx + slope_in_scale(TERNARY, noise, x) * along,
        curvature(TERNARY, noise, x) * dx + slope_in_scale_of_slope(TERNARY, noise, x) * along,
    )


class Pass(NamedTuple):
    """Loss, gradient, and the gradient's tangents."""

    loss: float
    gradient: State
    moved: State


def tangent_pass(
    sample: Sample,
    at: State,
    scales: Float[ndarray, "2"],
    along: State,
    ds: Float[ndarray, "directions 2"],
) -> Pass:
    """Backward pass and its derivative in the directions (along, ds), product rule by product
    rule."""
    (x, y), n = sample, len(sample.y)
    root_d, root_m = math.sqrt(x.shape[1]), math.sqrt(at.second.size)
    a = seen(at.first, float(scales[0]), along.first, ds[:, 0])
    b = seen(at.second, float(scales[1]), along.second, ds[:, 1])
    h = seen(x @ a.value / root_d, float(scales[0]), x @ a.moved / root_d, ds[:, 0])
    error = (h.value @ b.value / root_m - y) / n
    d_error = (h.moved @ b.value + np.einsum("nm,km->kn", h.value, b.moved)) / (root_m * n)
    outer = h.value.T @ error / root_m
    d_outer = (np.einsum("knm,n->km", h.moved, error) + d_error @ h.value) / root_m
    back = error[:, None] * b.value / root_m
    d_back = d_error[..., None] * b.value + error[:, None] * b.moved[:, None, :]
    d_back = d_back / root_m
    inner = x.T @ (back * h.rise) / root_d
    d_inner = x.T @ (d_back * h.rise + back * h.moved_rise) / root_d
    gradient = State(a.rise * inner, b.rise * outer)
    moved = State(a.moved_rise * inner + a.rise * d_inner, b.moved_rise * outer + b.rise * d_outer)
    return Pass(0.5 * n * float(error @ error), gradient, moved)


def scales(net: TwoLayers, phis: Phis) -> Float[ndarray, "iterations layers"]:
    """Scales at every iteration. Raises ValueError unless beta > 0 and alpha >= 0."""
    if not ((phis[:, 0] > 0).all() and (phis[:, 1] >= 0).all()):
        raise ValueError(f"beta > 0 and alpha >= 0 in every layer, got {phis.tolist()}")
    return np.stack([hypergradient.scales(net, Phi(*row)) for row in phis.tolist()], axis=1)


def _directions(net: TwoLayers, phis: Phis) -> Float[ndarray, "iterations parameters layers"]:
    """ds / dphi at every iteration: a layer's scale moves with its own beta and alpha."""
    found = np.zeros((net.iterations, 4, 2))
    for layer, row in enumerate(phis.tolist()):
        own = slice(2 * layer, 2 * layer + 2)
        found[:, own, layer] = hypergradient.scale_slopes(net, Phi(*row))
    return found


class Outcome(NamedTuple):
    """Validation loss, weights, and the derivative of that loss in beta and alpha of layers."""

    loss: float
    weights: State
    hypergradient: Phis


def train(net: TwoLayers, phis: Phis) -> Outcome:
    """Train with tangents in beta_1, alpha_1, beta_2, alpha_2.

    >>> net = teacher(1)
    >>> train(net, np.array([[0.5, 2.0], [0.5, 2.0]])).hypergradient.shape
    (2, 2)
    """
    w = net.start
    j = State(np.zeros((4, *w.first.shape)), np.zeros((4, *w.second.shape)))
    for at, ds in zip(scales(net, phis), _directions(net, phis), strict=True):
        here = tangent_pass(net.training, w, at, j, ds)
        j = State(*(a - net.learning_rate * g for a, g in zip(j, here.moved, strict=True)))
        w = State(*(a - net.learning_rate * g for a, g in zip(w, here.gradient, strict=True)))
    last = tangent_pass(net.validation, w, np.full(2, net.floor), j, np.zeros((4, 2)))
    into = np.einsum("kij,ij->k", j.first, last.gradient.first) + j.second @ last.gradient.second
    return Outcome(last.loss, w, into.reshape(2, 2))


def hard_loss(net: TwoLayers, w: State) -> float:
    """The validation loss with hard stairs everywhere."""
    x, y = net.validation
    h = TERNARY(x @ TERNARY(w.first) / math.sqrt(x.shape[1]))
    error = h @ TERNARY(w.second) / math.sqrt(w.second.size) - y
    return 0.5 * float(np.mean(error**2))


class Learnt(NamedTuple):
    """Schedules tried and their losses, in expectation and hard."""

    phis: tuple[Phis, ...]
    losses: tuple[float, ...]
    hard: tuple[float, ...]


def learn(net: TwoLayers, phis: Phis, changes: int, rate: float) -> Learnt:
    """`descend` on beta and alpha of both layers."""
    path = descend(phis, lambda p: train(net, p), changes, rate)
    return Learnt(
        tuple(p for p, _ in path),
        tuple(found.loss for _, found in path),
        tuple(hard_loss(net, found.weights) for _, found in path),
    )
