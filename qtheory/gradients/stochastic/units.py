"""One layer of stochastic binary units, by enumeration [shekhovtsov2021] [bengio2013].

Units y_i = sign(a_i - e_i), e_i independent noises with distribution function F and density f:
y_i = +1 with probability F(a_i), else -1. An objective is a function L of the units,

    L(y) = sum_S c_S prod_(i in S) y_i + sum_i d_i y_i**2 + (b y)**3,

which has derivatives off the corners of the cube too. All 2**k corners are summed over:

    expectation   E L = sum_y P(y) L(y)
    gradient      dE L / da_i = f(a_i) E[L with y_i = 1, less L with y_i = -1]

An estimator has one value at each corner, so that its mean and variance are sums:

    straight-through  (dL/dy_i) 2 g(a_i), g the density of the proxy; the chain rule with the
                      derivative of E y_i = 2 F(a_i) - 1 if g = f
    score             (L - baseline) d log P(y_i) / da_i, known as REINFORCE
    flips             f(a_i) (L with y_i = 1, less L with y_i = -1), the other units as drawn

Score and flips are unbiased. Straight-through is if L is affine in each unit (all d_i = 0, b = 0)
and g = f; `bias` says what squares and the cube add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.noise import Smoothing
from qtheory.values import own_arrays, rebuilt

Units = Float[ndarray, "units"]
"""One real number for each unit."""

States = Float[ndarray, "states units"]
"""Units -1 or +1, or one number for each unit, at each state."""

PerState = Float[ndarray, "states"]
"""One number for each state."""

MOST_UNITS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """L(y) above. products: c_S, shape (2**k,), S the ones of the binary digits of the position,
    unit 0 the last digit. squares: d_i. cubed: b.

    Raises ValueError unless shapes are (2**k,), (k,), (k,) and all is finite.

    >>> product = Objective(np.array([0.0, 0.0, 0.0, 5.0]), np.zeros(2), np.zeros(2))
    >>> product.value(np.array([[1.0, -1.0]])).tolist()
    [-5.0]
    """

    products: PerState
    squares: Units
    cubed: Units

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        k = len(self.squares)
        if len(self.products) != 2**k or len(self.cubed) != k:
            raise ValueError(
                "an objective of k units has 2**k products, k squares and k cubed, got "
                f"{len(self.products)}, {k}, {len(self.cubed)}"
            )
        for values in (self.products, self.squares, self.cubed):
            if not np.isfinite(values).all():
                raise ValueError(f"an objective has finite coefficients, got {values}")

    def value(self, y: States) -> PerState:
        """L at each row, which need not be a corner."""
        cube = (y @ self.cubed) ** 3
        return _products(y) @ self.products + y**2 @ self.squares + cube

    def gradient(self, y: States) -> States:
        """dL/dy_i at each row: a multi-affine function is a difference of two of its values.

        >>> product = Objective(np.array([0.0, 0.0, 0.0, 5.0]), np.zeros(2), np.zeros(2))
        >>> product.gradient(np.array([[1.0, -1.0]])).tolist()
        [[-5.0, 5.0]]
        """
        cube = 3.0 * (y @ self.cubed)[:, None] ** 2 * self.cubed
        slopes = [
            (_products(_put(y, i, 1.0)) - _products(_put(y, i, 0.0))) @ self.products
            for i in range(y.shape[1])
        ]
        return np.stack(slopes, axis=1) + 2.0 * self.squares * y + cube


class Moments(NamedTuple):
    """Mean and variance of an estimator, unit by unit."""

    mean: Units
    variance: Units


def _products(y: States) -> Float[ndarray, "states subsets"]:
    """prod_(i in S) y_i for every S, in the order of `Objective.products`."""
    out = np.ones((len(y), 1))
    for i in range(y.shape[1]):
        out = np.concatenate([out, out * y[:, i : i + 1]], axis=1)
    return out


def _put(y: States, unit: int, value: float) -> States:
    out = y.copy()
    out[:, unit] = value
    return out


def corners(units: int) -> States:
    """All states of -1 and +1. Raises ValueError unless there are 1 to 16 units.

    >>> corners(2).tolist()
    [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]
    """
    if not 1 <= units <= MOST_UNITS:
        raise ValueError(f"enumeration takes 1 to {MOST_UNITS} units, got {units}")
    y = np.ones((1, 0))
    for _ in range(units):
        low, high = np.full((len(y), 1), -1.0), np.full((len(y), 1), 1.0)
        y = np.block([[y, low], [y, high]])
    return y


def probability(noise: Smoothing, y: States, a: Float[ndarray, "*rows units"]) -> States:
    """P(y_i) = F(y_i a_i), unit by unit: the laws are symmetric."""
    return noise.tail(-y * a)


def law(noise: Smoothing, a: Units) -> PerState:
    """P(y) at every corner.

    >>> from qtheory.noise import Uniform
    >>> law(Uniform(1.0), np.array([0.5])).tolist()
    [0.25, 0.75]
    """
    return probability(noise, corners(len(a)), a).prod(axis=1)


def expectation(objective: Objective, noise: Smoothing, a: Units) -> float:
    """E L."""
    return float(law(noise, a) @ objective.value(corners(len(a))))


def flips(objective: Objective, noise: Smoothing, a: Units) -> States:
    """The estimator by flips, at every corner."""
    y = corners(len(a))
    gains = [
        objective.value(_put(y, i, 1.0)) - objective.value(_put(y, i, -1.0)) for i in range(len(a))
    ]
    return np.stack(gains, axis=1) * noise.density(a)


def gradient(objective: Objective, noise: Smoothing, a: Units) -> Units:
    """dE L / da.

    >>> from qtheory.noise import Uniform
    >>> square = Objective(np.array([0.0, 3.0]), np.ones(1), np.zeros(1))
    >>> gradient(square, Uniform(1.0), np.zeros(1)).tolist()
    [3.0]
    """
    return law(noise, a) @ flips(objective, noise, a)


def straight_through(
    objective: Objective, noise: Smoothing, a: Units, proxy: Smoothing | None = None
) -> States:
    """The straight-through estimator at every corner; the proxy is the noise itself by default."""
    g = (noise if proxy is None else proxy).density(a)
    return objective.gradient(corners(len(a))) * 2.0 * g


def score(objective: Objective, noise: Smoothing, a: Units, baseline: float = 0.0) -> States:
    """REINFORCE at every corner: d log P(y_i) / da_i = y_i f(a_i) / F(y_i a_i), 0 if P(y_i) is.

    Raises ValueError if the baseline is not finite.
    """
    if not np.isfinite(baseline):
        raise ValueError(f"a baseline is finite, got {baseline}")
    y = corners(len(a))
    p = probability(noise, y, a)
    slopes = np.divide(y * noise.density(a), p, out=np.zeros_like(p), where=p > 0)
    return (objective.value(y) - baseline)[:, None] * slopes


def moments(estimator: States, weights: PerState) -> Moments:
    """Mean and variance under a law of the states.

    >>> moments(np.array([[0.0], [4.0]]), np.array([0.25, 0.75]))
    Moments(mean=array([3.]), variance=array([3.]))
    """
    mean = weights @ estimator
    return Moments(mean, weights @ (estimator - mean) ** 2)


def bias(objective: Objective, noise: Smoothing, a: Units) -> Units:
    """Mean of straight-through less the gradient, with no sum over states: 2 f(a_i) times

        2 d_i E[y_i] + 2 b_i**3 + 6 b_i**2 E[y_i] sum_(j != i) b_j E[y_j]

    As a function of one unit, L is c_0 + c_1 y + c_2 y**2 + c_3 y**3; the derivative at the corner
    has 2 c_2 y + 3 c_3 beside c_1, the flip has c_3.

    >>> from qtheory.noise import Uniform
    >>> square = Objective(np.zeros(2), np.ones(1), np.zeros(1))
    >>> bias(square, Uniform(1.0), np.array([0.5])).tolist()
    [1.0]
    """
    mean = 1.0 - 2.0 * noise.tail(a)
    b = objective.cubed
    others = b @ mean - b * mean
    inner = 2.0 * objective.squares * mean + 2.0 * b**3 + 6.0 * b**2 * mean * others
    return 2.0 * noise.density(a) * inner


def bernoulli_bias(slopes: tuple[float, float], gain: float, probability_of_one: float) -> float:
    """Bias in dE l(h)/dp of straight-through, h = 1 with probability p, else 0 [bengio2013]:
    p l'(1) + (1 - p) l'(0) - (l(1) - l(0)), slopes (l'(0), l'(1)), gain l(1) - l(0).

    (p - 1/2) l'' for a quadratic l; at p = 1/2 the error of the trapezium rule for the integral
    of l'. Raises ValueError unless 0 <= p <= 1.

    >>> bernoulli_bias((0.0, 2.0), 1.0, 0.75)
    0.5
    """
    p = probability_of_one
    if not 0 <= p <= 1:
        raise ValueError(f"a probability is in [0, 1], got {p}")
    return p * slopes[1] + (1.0 - p) * slopes[0] - gain
