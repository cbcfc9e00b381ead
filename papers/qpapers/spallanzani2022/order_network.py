"""A small ternary network trained under scheduled noise, all seeds at once, in plain NumPy.

`layers` pairs, then a real linear layer. A pair is, with q the ternary stair (levels -1, 0, 1,
thresholds -1/2, 1/2) and a scale s of the noise that the weights and the activations share,

    z = h v(W),   y = gain (z - mean) / sqrt(variance + 1e-5) + shift,   h' = v(y)

over a minibatch. The visible v(x) depends on the forward strategy:

    expectation   E q(x - e) = F(x - 1/2) + F(x + 1/2) - 1
    mode          q(x), whatever the noise
    random        q(x - e), a random number for each x

and q(x) for s = 0. The most probable level is q(x), but for ties, if the noise ends within half a
spacing; wider noise has another mode near thresholds (`qtheory.stairs.smoothing.mode`). The
derivative used for v is f(x - 1/2) + f(x + 1/2) with the backward scale; 0 for a backward scale
of 0. Evaluation takes q and running means and variances. Arrays have the seed as first axis; runs
of one seed share data, teacher, first weights and minibatches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int8, Int64
from numpy import ndarray

from qpapers.extremes import least
from qtheory.noise import Smoothing, Uniform
from qtheory.schedules import FORWARDS
from qtheory.stairs.smoothing import density_from_the_right

Batch = Float[ndarray, "seeds _ _"]
Matrix = Float[ndarray, "seeds _ _"]
Flat = Float[ndarray, "seeds parameters"]
PerSeed = Float[ndarray, " seeds"]
Labels = Int64[ndarray, "seeds points"]

SMALL, MEMORY = 1e-5, 0.1


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network; errors unless each is at least 1."""

    layers: int = 4
    width: int = 48
    inputs: int = 10
    classes: int = 4

    def __post_init__(self) -> None:
        sizes = (self.layers, self.width, self.inputs, self.classes)
        if least(sizes) < 1:
            raise ValueError(f"sizes of a network are at least 1, got {sizes}")

    @property
    def fans(self) -> tuple[int, ...]:
        """Inputs of each quantised layer."""
        return (self.inputs, *(self.width,) * (self.layers - 1))

    @property
    def parameters(self) -> int:
        """Numbers that are trained, per seed."""
        pairs = sum(fan * self.width + 2 * self.width for fan in self.fans)
        return pairs + self.width * self.classes + self.classes


class Pair(NamedTuple):
    """Parameters of a pair, or their gradients: views of a flat array."""

    weight: Matrix
    gain: Batch  # one point
    shift: Batch


class Views(NamedTuple):
    """A flat array, seen as parameters of the network."""

    pairs: tuple[Pair, ...]
    weight: Matrix
    bias: Batch


def views(shape: Shape, flat: Flat) -> Views:
    """Parameters as views: what is written to them is written to the flat array."""
    seeds, at = len(flat), 0

    def take(rows: int, columns: int) -> Matrix:
        nonlocal at
        view = flat[:, at : at + rows * columns].reshape(seeds, rows, columns)
        at += rows * columns
        return view

    def pair(fan: int) -> Pair:
        return Pair(take(fan, shape.width), take(1, shape.width), take(1, shape.width))

    pairs = tuple(pair(fan) for fan in shape.fans)
    return Views(pairs, take(shape.width, shape.classes), take(1, shape.classes))


def first_parameters(shape: Shape, draws: list[np.random.Generator]) -> Flat:
    """Each ternary weight is one of the thresholds plus a uniform number within 1 / sqrt(fan-in);
    gains are 1, shifts and biases 0, the real layer normal with variance 1 / width. One generator
    for each seed."""
    flat = np.zeros((len(draws), shape.parameters))
    seen = views(shape, flat)
    for seed, draw in enumerate(draws):
        for pair, fan in zip(seen.pairs, shape.fans, strict=True):
            near = draw.uniform(-1.0, 1.0, (fan, shape.width)) / np.sqrt(fan)
            pair.weight[seed] = draw.choice([-0.5, 0.5], (fan, shape.width)) + near
            pair.gain[seed] = 1.0
        seen.weight[seed] = draw.standard_normal(seen.weight[seed].shape) / np.sqrt(shape.width)
    return flat


@dataclass(frozen=True, slots=True)
class Layer:
    """Noise of one pair at one time. Scales are 0 or positive; forward: see FORWARDS.

    Raises ValueError for a negative scale or an unknown strategy.
    """

    family: Smoothing
    forward: str
    forward_scale: float
    backward_scale: float

    def __post_init__(self) -> None:
        if self.forward not in FORWARDS:
            raise ValueError(f"a strategy is one of {', '.join(FORWARDS)}, got {self.forward!r}")
        if least((self.forward_scale, self.backward_scale)) < 0:
            raise ValueError(
                "scales are at least 0, got "
                f"{self.forward_scale} forward and {self.backward_scale} backward"
            )

    def visible(self, x: Batch, draw: np.random.Generator) -> Batch:
        """v(x); a random strategy takes its words from `draw`."""
        if self.forward_scale == 0 or self.forward == "mode":
            return _stair(x)
        noise = self.family.scaled(self.forward_scale)
        if self.forward == "expectation":
            return noise.tail(0.5 - x) - noise.tail(0.5 + x)
        u = draw.random(x.shape, dtype=x.dtype)
        below, above = u < noise.tail(0.5 - x), u < noise.tail(-0.5 - x)
        return (below.astype(x.dtype) + above) - x.dtype.type(1)

    def slope(self, x: Batch) -> Batch:
        """The derivative that takes the place of v'(x); the backward scale is not 0."""
        noise = self.family.scaled(self.backward_scale)
        if isinstance(noise, Uniform):
            h = noise.half_width
            windows = _from(x, 0.5 - h, 0.5 + h) + _from(x, -0.5 - h, h - 0.5)
            return windows * x.dtype.type(0.5 / h)
        return density_from_the_right(noise, x - 0.5) + density_from_the_right(noise, x + 0.5)


def _from(x: Batch, low: float, high: float) -> Int8[ndarray, "..."]:
    """1 for low <= x < high, else 0."""
    return ((x >= low) & (x < high)).view(np.int8)


def _stair(x: Batch) -> Batch:
    return (x >= 0.5).astype(x.dtype) - (x < -0.5)


class Trace(NamedTuple):
    """What a forward pass of a pair leaves for the backward pass."""

    inputs: Batch
    visible: Matrix
    centred: Batch
    std: Batch
    before: Batch  # y, before the activation


class Moments(NamedTuple):
    """Means and variances of one pair over points."""

    mean: Batch
    variance: Batch


def forward(
    seen: Views, noises: tuple[Layer, ...], x: Batch, draw: np.random.Generator
) -> tuple[Batch, list[Trace], list[Moments]]:
    """Logits in training, and what is left behind."""
    traces: list[Trace] = []
    moments: list[Moments] = []
    for pair, noise in zip(seen.pairs, noises, strict=True):
        visible = noise.visible(pair.weight, draw)
        z = x @ visible
        mean = z.mean(axis=1, keepdims=True)
        z -= mean
        variance = np.square(z).mean(axis=1, keepdims=True)
        std = np.sqrt(variance + SMALL)
        z /= std
        y = pair.gain * z + pair.shift
        traces.append(Trace(x, visible, z, std, y))
        moments.append(Moments(mean, variance))
        x = noise.visible(y, draw)
    traces.append(Trace(x, seen.weight, x, x, x))
    return x @ seen.weight + seen.bias, traces, moments


def loss_slope(logits: Batch, labels: Labels) -> tuple[PerSeed, Batch]:
    """Mean cross-entropy in nats, and its derivative in the logits."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=-1, keepdims=True)
    at = labels[..., None]
    losses = np.log(total) - np.take_along_axis(shifted, at, -1)
    p /= total
    np.put_along_axis(p, at, np.take_along_axis(p, at, -1) - 1.0, -1)
    p /= logits.shape[1]
    return losses.mean(axis=(1, 2)), p


def backward(
    seen: Views,
    noises: tuple[Layer, ...],
    traces: list[Trace],
    slope: Batch,
    gradient: Views,
) -> None:
    """Write gradients; those below a layer whose backward scale is 0 stay 0."""
    top = traces[-1]
    gradient.weight[:] = top.inputs.swapaxes(1, 2) @ slope
    gradient.bias[:] = slope.sum(axis=1, keepdims=True)
    above = slope @ top.visible.swapaxes(1, 2)
    for pair, noise, trace, out in reversed(
        list(zip(seen.pairs, noises, traces[:-1], gradient.pairs, strict=True))
    ):
        if noise.backward_scale == 0:
            return
        above *= noise.slope(trace.before)
        out.shift[:] = above.sum(axis=1, keepdims=True)
        out.gain[:] = (above * trace.centred).sum(axis=1, keepdims=True)
        n = above.shape[1]
        inner = above - out.shift / n - trace.centred * (out.gain / n)
        inner *= pair.gain / trace.std
        weight = trace.inputs.swapaxes(1, 2) @ inner
        out.weight[:] = weight * noise.slope(pair.weight)
        above = inner @ trace.visible.swapaxes(1, 2)


def hard_logits(seen: Views, running: list[Moments], x: Batch) -> Batch:
    """Logits of the deployed network: ternary stairs, running means and variances."""
    for pair, moment in zip(seen.pairs, running, strict=True):
        z = (x @ _stair(pair.weight) - moment.mean) / np.sqrt(moment.variance + SMALL)
        x = _stair(pair.gain * z + pair.shift)
    return x @ seen.weight + seen.bias
