"""The temperature that stochastic rounding injects, and that no learning rate removes.

Per unit of learning-rate time, a rule that moves k levels adds the variance s**2 E k**2 / rate to a
weight. Half of it is the temperature T of the Gibbs law exp(-f / T) to which the weight settles
where gradients are weak [li2017, Theorem 5, in this limit]:

    T(rate) = s**2 / (2 rate) E h(rate g / s),    h the straight lines through k**2, k = 0, 1, ...
            = s E|g| / 2                          while rate |g| <= s
            ~ rate E g**2 / 2 + s**2 / (12 rate)  for large steps

Plain gradient descent and BinaryConnect have rate E g**2 / 2, which falls to 0 with the rate.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from qtheory.noise import Gaussian, Noise, Uniform

LightTailed: TypeAlias = Gaussian | Uniform
"""Noises whose tails are worth nothing beyond their last break."""


def rounding_temperature(noise: LightTailed, spacing: float, learning_rate: float) -> float:
    """T(rate) of stochastic rounding for a gradient that is noise alone, in units of the loss.

    h(z) = |z| + 2 sum over k >= 1 of (|z| - k)^+, so T is a sum of positive terms.
    Raises ValueError if the learning rate or the spacing is not positive and finite.

    >>> [round(rounding_temperature(Gaussian(1.0), 0.5, rate), 4) for rate in (1.0, 0.01)]
    [0.5208, 0.1995]
    """
    for name, value in (("a learning rate", learning_rate), ("a spacing", spacing)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is positive and finite, got {value}")
    unit = spacing / learning_rate  # one level, in units of the gradient
    beyond = float(noise.breaks()[-1])
    k = np.arange(1.0, math.floor(beyond / unit) + 2.0)
    return spacing * float(noise.excess(np.zeros(1))[0] + 2.0 * noise.excess(k * unit).sum())


def temperature_floor(noise: Noise, spacing: float) -> float:
    """s E|g| / 2, the temperature of rounding, and of DST, at every small learning rate.

    >>> round(temperature_floor(Gaussian(1.0), 0.5), 4)
    0.1995
    """
    return spacing * float(noise.excess(np.zeros(1))[0])
