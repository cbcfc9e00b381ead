"""A small classifier trained by relaxed quantisation, on relaxed or on drawn levels [louizos2019].

Inputs of N(0, 1) in 10 dimensions, labels the largest of 5 outputs of a random teacher with 16
hidden units. The student has 32 hidden units relu(W_1 x + b_1) and 5 outputs W_2 h + b_2. W_1, W_2
and h are quantised to the same number of bits, weights to a signed lattice, h from 0; each of the
three has a spacing and a scale of logistic noise of its own, and all parameters are learned by
Adam, spacings and scales as logarithms. Training starts from a student trained without
quantisation. Tests use the nearest level. Local lattices have up to 3 levels to each side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from qtheory.gradients.stochastic.categorical import softmax
from qtheory.gradients.stochastic.relaxed_quantization import Slopes, gumbel
from qtheory.noise import Points
from qtheory.optimisers import Adam, adam_increment

Matrix = Float[ndarray, "rows columns"]
Labels = Int64[ndarray, "rows"]
Parameters = dict[str, Points]

SIDE = 3
"""Levels of a local lattice to each side of the nearest one."""

INPUTS, TEACHER, HIDDEN, CLASSES, EXAMPLES = 10, 16, 32, 5, 2000


@dataclass(frozen=True, slots=True)
class Setting:
    """bits: of weights and hidden units. on_draws: levels are drawn forward (straight-through)
    instead of relaxed. seed: of data, start and noise. Iterations are those without, then with
    quantisation.

    Raises ValueError unless bits >= 2 and iterations, batch, rate and temperature are positive.
    """

    bits: int
    on_draws: bool
    seed: int
    temperature: float = 1.0
    first_iterations: int = 400
    iterations: int = 400
    batch: int = 64
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        if self.bits < 2:
            raise ValueError(f"a student has bits >= 2, got {self.bits}")
        numbers = (self.temperature, self.first_iterations, self.iterations, self.batch)
        if not all(x > 0 for x in (*numbers, self.learning_rate)):
            raise ValueError(
                f"temperature, iterations, batch and rate are positive, got {numbers} and "
                f"{self.learning_rate}"
            )


class WholeLevels(NamedTuple):
    """Least and greatest n of a lattice of levels n times its spacing, and spacing and scale."""

    lowest: int
    highest: int
    spacing: float
    scale: float


class Sample(NamedTuple):
    """A value in place of x and the slopes that lead back."""

    value: Points
    slopes: Slopes


Quantiser = Callable[[str, Points], Sample]
"""Which array it is and the array, to the value in its place."""


class Data(NamedTuple):
    """Rows of inputs and their labels."""

    inputs: Matrix
    labels: Labels


def sample(
    of: WholeLevels,
    x: Points,
    uniforms: Float[ndarray, "... local"],
    temperature: float,
    on_draws: bool,
) -> Sample:
    """The relaxed value of x, or a draw, with the slopes of the relaxed value: the functions of
    `qtheory.gradients.stochastic.relaxed_quantization`, for logistic noise on 7 local levels."""
    nearest = np.clip(np.rint(x / of.spacing), of.lowest, of.highest)
    n = nearest[..., None] + np.arange(-SIDE, SIDE + 1.0)
    s = of.scale
    a, b = (n - 0.5) * of.spacing - x[..., None], (n + 0.5) * of.spacing - x[..., None]
    (up, upper), (down, lower) = _softplus(-b / s), _softplus(a / s)
    logits = np.where((n >= of.lowest) & (n <= of.highest), -up - down, -np.inf) + gumbel(uniforms)
    z = softmax(logits / temperature)
    means = (z * n).sum(axis=-1)
    rise = 1.0 / (s * math.expm1(of.spacing / s))
    tilt = of.spacing * z * (n - means[..., None]) / temperature
    upper, lower = upper / s, lower / s
    spread = (upper + rise) * (n + 0.5) - (lower + rise) * (n - 0.5)
    slopes = Slopes(
        (tilt * (lower - upper)).sum(axis=-1),
        means + (tilt * spread).sum(axis=-1),
        (tilt * (lower * a - upper * b)).sum(axis=-1) / s,
    )
    drawn = np.take_along_axis(n, logits.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    return Sample(of.spacing * (drawn if on_draws else means), slopes)


def _softplus(t: Points) -> tuple[Points, Points]:
    """log(1 + exp t) and its derivative, the sigmoid, from one exponential."""
    e = np.exp(-np.abs(t))
    return np.maximum(t, 0.0) + np.log(1.0 + e), np.where(t > 0, 1.0, e) / (1.0 + e)


def nearest_level(of: WholeLevels, x: Points) -> Points:
    """The level used in tests."""
    return of.spacing * np.clip(np.rint(x / of.spacing), of.lowest, of.highest)


def task(seed: int) -> tuple[Data, Data]:
    """Training and test data of one teacher."""
    rng = np.random.Generator(np.random.PCG64(seed))
    first = rng.normal(size=(INPUTS, TEACHER)) / math.sqrt(INPUTS)
    second = rng.normal(size=(TEACHER, CLASSES))
    x = rng.normal(size=(2 * EXAMPLES, INPUTS))
    labels = (np.maximum(x @ first, 0.0) @ second).argmax(axis=1).astype(np.int64)
    return (
        Data(x[:EXAMPLES], labels[:EXAMPLES]),
        Data(x[EXAMPLES:], labels[EXAMPLES:]),
    )


def start(seed: int) -> Parameters:
    """Weights of a student before any training: N(0, 2 / inputs), biases 0."""
    rng = np.random.Generator(np.random.PCG64((seed, 1)))
    return {
        "W1": rng.normal(size=(INPUTS, HIDDEN)) * math.sqrt(2 / INPUTS),
        "b1": np.zeros(HIDDEN),
        "W2": rng.normal(size=(HIDDEN, CLASSES)) * math.sqrt(2 / HIDDEN),
        "b2": np.zeros(CLASSES),
    }


def unchanged(name: str, x: Points) -> Sample:
    """No quantisation."""
    return Sample(x, Slopes(np.ones_like(x), np.zeros_like(x), np.zeros_like(x)))


def loss_and_gradients(
    p: Parameters, data: Data, quantiser: Quantiser = unchanged
) -> tuple[float, Parameters]:
    """Mean cross-entropy, and its derivatives in all parameters with the slopes of the quantiser;
    of "spacing W1" and the like, which are logarithms, if they are parameters."""
    first, second = quantiser("W1", p["W1"]), quantiser("W2", p["W2"])
    before = data.inputs @ first.value + p["b1"]
    hidden = quantiser("h", np.maximum(before, 0.0))
    odds = softmax(hidden.value @ second.value + p["b2"])
    rows = np.arange(len(data.labels))
    loss = -float(np.log(np.maximum(odds[rows, data.labels], 1e-300)).mean())
    odds[rows, data.labels] -= 1.0
    to_out = odds / len(rows)
    to_hidden = to_out @ second.value.T
    to_before = to_hidden * hidden.slopes.x * (before > 0)
    to_first, to_second = data.inputs.T @ to_before, hidden.value.T @ to_out
    found = {
        "W1": to_first * first.slopes.x,
        "b1": to_before.sum(axis=0),
        "W2": to_second * second.slopes.x,
        "b2": to_out.sum(axis=0),
    }
    samples = (("W1", to_first, first), ("W2", to_second, second), ("h", to_hidden, hidden))
    for name, to, got in samples:
        for key, slope in (("spacing", got.slopes.spacing), ("scale", got.slopes.scale)):
            if (full := f"{key} {name}") in p:
                found[full] = np.exp(p[full]) * (to * slope).sum(keepdims=True).ravel()
    return loss, found


def levels_of(p: Parameters, name: str, bits: int) -> WholeLevels:
    """The lattice of W1, W2 (signed) or h (from 0), with its present spacing and scale."""
    lowest = 0 if name == "h" else -(1 << bits - 1)
    spacing, scale = (float(np.exp(p[f"{key} {name}"][0])) for key in ("spacing", "scale"))
    return WholeLevels(lowest, lowest + (1 << bits) - 1, spacing, scale)


def with_lattices(p: Parameters, data: Data, bits: int) -> Parameters:
    """Spacings such that the lattice just holds all weights, or all hidden units of the data;
    scales a third of them."""
    hidden = np.maximum(data.inputs @ p["W1"] + p["b1"], 0.0)
    out = dict(p)
    for name, values in (("W1", p["W1"]), ("W2", p["W2"]), ("h", hidden)):
        most = (1 << bits) - 1 if name == "h" else 1 << bits - 1
        spacing = float(np.abs(values).max()) / most
        out[f"spacing {name}"] = np.array([math.log(spacing)])
        out[f"scale {name}"] = np.array([math.log(spacing / 3)])
    return out


def adam(
    p: Parameters, gradients: Callable[[Parameters], Parameters], iterations: int, rate: float
) -> Parameters:
    """Parameters after so many iterations of Adam with its usual decays."""
    spec = Adam(rate)
    first, second = ({k: np.zeros_like(w) for k, w in p.items()} for _ in range(2))
    for t in range(1, iterations + 1):
        g = gradients(p)
        p = {k: w + adam_increment(spec, first[k], second[k], g[k], t) for k, w in p.items()}
    return p


def _batch(rng: np.random.Generator, data: Data, size: int) -> Data:
    rows = rng.integers(len(data.labels), size=size)
    return Data(data.inputs[rows], data.labels[rows])


def first_training(setting: Setting) -> Parameters:
    """The student without quantisation."""
    data, _ = task(setting.seed)
    rng = np.random.Generator(np.random.PCG64((setting.seed, 2)))

    def gradients(p: Parameters) -> Parameters:
        return loss_and_gradients(p, _batch(rng, data, setting.batch))[1]

    return adam(start(setting.seed), gradients, setting.first_iterations, setting.learning_rate)


def training(setting: Setting, p: Parameters) -> Parameters:
    """The student with quantisation, from parameters without."""
    data, _ = task(setting.seed)
    rng = np.random.Generator(np.random.PCG64((setting.seed, 3)))

    def gradients(p: Parameters) -> Parameters:
        def quantiser(name: str, x: Points) -> Sample:
            uniforms = rng.uniform(1e-12, 1.0, size=(*x.shape, 2 * SIDE + 1))
            of = levels_of(p, name, setting.bits)
            return sample(of, x, uniforms, setting.temperature, setting.on_draws)

        return loss_and_gradients(p, _batch(rng, data, setting.batch), quantiser)[1]

    begun = with_lattices(p, data, setting.bits)
    return adam(begun, gradients, setting.iterations, setting.learning_rate)


def error(p: Parameters, seed: int, bits: int | None) -> float:
    """Share of test rows misclassified, with nearest levels; without quantisation if no bits."""
    _, data = task(seed)

    def read(name: str, x: Points) -> Points:
        return x if bits is None else nearest_level(levels_of(p, name, bits), x)

    hidden = read("h", np.maximum(data.inputs @ read("W1", p["W1"]) + p["b1"], 0.0))
    chosen = (hidden @ read("W2", p["W2"]) + p["b2"]).argmax(axis=1)
    return float((chosen != data.labels).mean())
