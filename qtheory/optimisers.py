"""Base optimisers: from a gradient to the increment that a weight is asked to make.

SGD       increment = -lr g
momentum  b <- beta b + g                     increment = -lr b
Adam      m <- beta1 m + (1 - beta1) g
          v <- beta2 v + (1 - beta2) g g      increment = -lr' m / (sqrt(v) c + epsilon)
          with lr' = lr / (1 - beta1**t) and c = 1 / sqrt(1 - beta2**t), t = 1, 2, ...
          [kingma2015, Algorithm 1]
normalised q <- rho q + (1 - rho) mean(g g)   along each row: a neuron's weights, or the layer's
          c = 1 / sqrt(1 - rho**t)            gain = sqrt(1 - beta**2) / (sqrt(q) c), or 0 if q is 0
          without momentum, beta = 0          increment = -lr gain g
          else z <- beta z + gain g           increment = -lr z

The last needs one number a row, and none a weight unless it has momentum. Then z is a moving
average in units of what it is for uncorrelated gradients, so it is 1 on average for noise, whatever
beta is, and eight bits hold it: in units of 1/16.

All arrays are float32 and every operation is rounded to float32, in the order written and
without fused multiply-add. The scalars are computed here, once, in float64, and rounded to
float32, so every room starts from the same bits.

A gradient that is not finite changes nothing for its weight: it moves no weight and enters no
moment, so later gradients find the moments unharmed. The same holds for a gradient whose new
moments would exceed `LARGEST_MOMENT`, for example because its square overflows. The increment of
such a gradient is NaN, by which kernels count it. A row whose mean square could not be kept, as
that of a gradient which is not finite, changes nothing at all.

The mean of squares is summed in float64, in which squares are exact, in a fixed order: a row is cut
into parts of 4096; in a part, each of 32 lanes adds every 32nd element, and lanes are added in
halves; then parts are added in order. The mean is rounded to float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.values import rebuilt

Reals = Float[ndarray, "..."]
"""Numbers of one precision."""

OVER = ("layer", "neuron")
PART, LANES = 4096, 32
"""Elements of a part of a row, and lanes that add them, in sums of squares."""
UNIT = 2.0**-4
"""Of moments in int8."""

LARGEST_MOMENT = np.float32(2.0**128 - 2.0**120)
"""The largest finite bfloat16: from here, rounding a moment to bfloat16 can not reach infinity."""


class Scalars(NamedTuple):
    """The float32 numbers of one iteration, in the order in which kernels receive them."""

    learning_rate: np.float32  # lr, or lr' of Adam
    first_decay: np.float32  # beta or beta1
    first_gain: np.float32  # 1, or 1 - beta1
    second_decay: np.float32  # beta2
    second_gain: np.float32  # 1 - beta2
    second_scale: np.float32  # c
    epsilon: np.float32


def _check_learning_rate(learning_rate: float) -> None:
    if not (math.isfinite(learning_rate) and learning_rate >= 0):
        raise ValueError(f"a learning rate is finite and >= 0, got {learning_rate}")
    if learning_rate > np.finfo(np.float32).max:
        raise ValueError(f"a learning rate is finite in float32, got {learning_rate}")


def _check_decay(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} is in [0, 1), got {value}")


def power(base: float, exponent: int) -> float:
    """base**exponent by repeated squaring, in float64.

    Only multiplications, so the same bits on every machine; relative error below
    2 log2(exponent) 2**-53 to first order in base's own powers.

    >>> power(0.5, 10) == 0.5**10
    True
    """
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


@dataclass(frozen=True, slots=True)
class SGD:
    """Gradient descent. learning_rate: weight units per unit of gradient, >= 0."""

    learning_rate: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        _check_learning_rate(self.learning_rate)

    def scalars(self, iteration: int) -> Scalars:
        """The float32 numbers of iteration t = 1, 2, ..."""
        return _scalars(self.learning_rate, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Momentum:
    """Heavy ball, as torch.optim.SGD(momentum=...) without dampening [polyak1964].

    learning_rate: weight units per unit of gradient, >= 0. momentum: beta in [0, 1).
    """

    learning_rate: float
    momentum: float = 0.9

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        _check_learning_rate(self.learning_rate)
        _check_decay("momentum", self.momentum)

    def scalars(self, iteration: int) -> Scalars:
        """The float32 numbers of iteration t = 1, 2, ..."""
        return _scalars(self.learning_rate, self.momentum, 1.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam with bias correction, epsilon outside the root [kingma2015, Algorithm 1].

    learning_rate: weight units, >= 0. betas: (beta1, beta2) in [0, 1). epsilon: > 0, in units
    of the gradient.
    """

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        _check_learning_rate(self.learning_rate)
        _check_decay("beta1", self.betas[0])
        _check_decay("beta2", self.betas[1])
        if not (math.isfinite(self.epsilon) and np.float32(self.epsilon) > 0):
            raise ValueError(f"epsilon is positive and finite in float32, got {self.epsilon}")

    def scalars(self, iteration: int) -> Scalars:
        """The float32 numbers of iteration t = 1, 2, ... Raises ValueError if t < 1."""
        if iteration < 1:
            raise ValueError(f"Adam counts iterations from 1, got {iteration}")
        beta1, beta2 = self.betas
        return _scalars(
            self.learning_rate / (1.0 - power(beta1, iteration)),
            beta1,
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            1.0 / math.sqrt(1.0 - power(beta2, iteration)),
            self.epsilon,
        )


@dataclass(frozen=True, slots=True)
class Normalized:
    """The gradient over its running rms along a layer or a neuron, with or without momentum.

    Block-normalised gradient descent, as of [yu2017], with one running mean square a block as in
    [zhang2024]; without momentum it keeps no number for a weight.

    learning_rate: weight units that a gradient of one rms moves a weight, >= 0. momentum: beta in
    [0, 1), 0 for none. decay: rho in [0, 1), of the running mean square. over: "layer", or
    "neuron", which is the first axis of a weight as it is stored.
    """

    learning_rate: float
    momentum: float = 0.0
    decay: float = 0.99
    over: str = "layer"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        _check_learning_rate(self.learning_rate)
        _check_decay("momentum", self.momentum)
        _check_decay("decay", self.decay)
        if self.over not in OVER:
            raise ValueError(f"a gradient is normalised over one of {OVER}, got {self.over!r}")

    def scalars(self, iteration: int) -> Scalars:
        """The float32 numbers of iteration t = 1, 2, ... Raises ValueError if t < 1."""
        if iteration < 1:
            raise ValueError(f"running means count iterations from 1, got {iteration}")
        return _scalars(
            self.learning_rate,
            self.momentum,
            math.sqrt(1.0 - self.momentum * self.momentum),
            self.decay,
            1.0 - self.decay,
            1.0 / math.sqrt(1.0 - power(self.decay, iteration)),
            0.0,
        )

    def rows(self, shape: tuple[int, ...]) -> int:
        """How many running mean squares a weight of a shape has."""
        return shape[0] if self.over == "neuron" and shape else 1


def adam_increment(
    spec: Adam, first: Reals, second: Reals, gradient: Reals, iteration: int
) -> Reals:
    """Adam in the precision of its arrays, which have any shape: the increment of t = 1, 2, ...

        m <- m + (1 - beta1) (g - m),   v <- v + (1 - beta2) (g g - v)
        increment = -lr m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon)

    first, second: m and v, which begin as 0 and change in place. Where m or v would not be finite
    they stay, and the increment is NaN. For the small networks of the exact room and of papers;
    kernels are held to the float32 equations above.

    Raises ValueError if t < 1.

    >>> m, v = np.zeros(2), np.zeros(2)
    >>> adam_increment(Adam(0.5), m, v, np.array([0.25, -4.0]), 1).round(6).tolist()
    [-0.5, 0.5]
    """
    if iteration < 1:
        raise ValueError(f"Adam counts iterations from 1, got {iteration}")
    beta1, beta2 = spec.betas
    with np.errstate(over="ignore", invalid="ignore"):
        m = first + (1.0 - beta1) * (gradient - first)
        v = second + (1.0 - beta2) * (gradient * gradient - second)
        possible = np.isfinite(m) & np.isfinite(v)
        root = np.sqrt(v) / math.sqrt(1.0 - beta2**iteration) + spec.epsilon
        increment = -spec.learning_rate / (1.0 - beta1**iteration) * m / root
    np.copyto(first, m, where=possible)
    np.copyto(second, v, where=possible)
    return np.where(possible, increment, np.nan).astype(increment.dtype)


def _scalars(*values: float) -> Scalars:
    with np.errstate(over="ignore"):
        scalars = Scalars(*(np.float32(value) for value in values))
    if not all(math.isfinite(scalar) for scalar in scalars):
        raise ValueError(f"an optimiser's numbers are finite in float32, got {values}")
    return scalars


Optimiser: TypeAlias = SGD | Momentum | Adam | Normalized

OPTIMISERS: dict[str, type[Optimiser]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adam": Adam,
    "normalized": Normalized,
}
