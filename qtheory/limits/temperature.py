"""The temperature that stochastic rounding injects, and that no learning rate removes.

Per unit of learning-rate time, a rule that moves k levels adds the variance s**2 E k**2 / rate to a
weight. Half of it is the temperature T of the Gibbs law exp(-f / T) to which the weight settles
where gradients are weak [li2017, Theorem 5, in this limit]:

    T(rate) = s**2 / (2 rate) E h(rate g / s),    h the straight lines through k**2, k = 0, 1, ...
            = s E|g| / 2                          while rate |g| <= s
            ~ rate E g**2 / 2 + s**2 / (12 rate)  for large steps

Plain gradient descent and BinaryConnect have rate E g**2 / 2, which falls to 0 with the rate. The
difference is the variance of rounding itself, s**2 E f (1 - f) an iteration, f the fraction of the
increment in spacings: T = rate E g**2 / 2 + s**2 E f (1 - f) / (2 rate). With hidden levels s is
1 / Z, so that each bit halves T at a small rate; rounding is the larger part while rate |g| < s.
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


def rounding_variance(noise: LightTailed, spacing: float, mean: float = 0.0) -> float:
    """s**2 E f (1 - f), the variance that rounding adds an iteration, in weight units squared.

    noise, mean: of the increment, in weight units; f the fraction of it in spacings. By Fourier
    f (1 - f) = 1 / 6 - sum over k >= 1 of cos(2 pi k x) / (pi k)**2, so that with normal noise of
    std r spacings about a mean of m spacings

        E f (1 - f) = 1 / 6 - sum of cos(2 pi k m) exp(-2 (pi k r)**2) / (pi k)**2;

    uniform noise takes the difference of an antiderivative. It is the noise's E|x| - E x**2 while
    increments are below a spacing, and 1 / 6 when they spread over many.
    Raises ValueError if the spacing is not positive and finite.

    >>> [round(rounding_variance(noise, 1.0), 6) for noise in (Uniform(0.25), Gaussian(9.0))]
    [0.104167, 0.166667]
    """
    if not (math.isfinite(spacing) and spacing > 0):
        raise ValueError(f"a spacing is positive and finite, got {spacing}")
    m = mean / spacing
    if isinstance(noise, Uniform):
        half = noise.half_width / spacing
        share = (_integral(m + half) - _integral(m - half)) / (2.0 * half)
    else:
        r = noise.std / spacing
        k = np.arange(1.0, 1.0 + math.ceil(1.4 / r))  # beyond, the terms are below 2**-55
        terms = np.cos(2 * math.pi * k * m) * np.exp(-2 * (math.pi * k * r) ** 2)
        share = 1 / 6 - float((terms / (math.pi * k) ** 2).sum())
    return spacing**2 * share


def _integral(x: float) -> float:
    """Of f (1 - f) from 0 to x."""
    whole = math.floor(x)
    f = x - whole
    return whole / 6 + f * f / 2 - f**3 / 3
