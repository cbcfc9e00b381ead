"""Adam in real arrays of any shape, for the small networks that are trained here.

    m <- m + (1 - beta1) (g - m),   v <- v + (1 - beta2) (g g - v)
    increment = -rate m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon)

as `qtheory.optimisers` defines it [kingma2015, Algorithm 1], in the precision of the arrays.
"""

from __future__ import annotations

import math

import numpy as np

from qtheory.noise import Points
from qtheory.optimisers import Adam


def adam_increment(
    spec: Adam, first: Points, second: Points, gradient: Points, iteration: int
) -> Points:
    """The increment of iteration t = 1, 2, ...; the averages m and v, first 0, change in place.

    Raises ValueError if t < 1.

    >>> m, v = np.zeros(2), np.zeros(2)
    >>> adam_increment(Adam(0.5), m, v, np.array([0.25, -4.0]), 1).round(6).tolist()
    [-0.5, 0.5]
    """
    if iteration < 1:
        raise ValueError(f"Adam counts iterations from 1, got {iteration}")
    beta1, beta2 = spec.betas
    first += (1.0 - beta1) * (gradient - first)
    second += (1.0 - beta2) * (gradient * gradient - second)
    root = np.sqrt(second) / math.sqrt(1.0 - beta2**iteration) + spec.epsilon
    return -spec.learning_rate / (1.0 - beta1**iteration) * first / root
