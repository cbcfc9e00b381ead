"""How long stochastic rounding takes: mixing times as the learning rate falls [li2017, Theorem 6].

The epsilon-mixing time M is the smallest number of iterations after which, from every start, the
law is within epsilon of the stationary one in total variation. With A the generator of
`qtheory.limits.generator` and s the first time at which exp(t A) is that close to its own limit,
rate * M tends to s as the rate falls, and gap(T) / rate tends to the gap of A: time is all that a
small learning rate costs.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg  # pyright: ignore[reportMissingTypeStubs]

from qtheory.arrays import Pmf, TransitionMatrix
from qtheory.chain import OffDiagonal, stationary_distribution
from qtheory.limits.generator import slowed


def time_to_mix(rates: OffDiagonal, epsilon: float = 0.25) -> float:
    """s of the generator with these rates off the diagonal, to a relative error of 1e-12.

    Raises ValueError if epsilon is not in (0, 1) or the law is not unique.

    >>> round(time_to_mix(np.array([[0.0, 0.5], [0.5, 0.0]])), 6)  # log 2
    0.693147
    """
    law = stationary_distribution(slowed(rates))
    _check(epsilon)
    generator = rates - np.diag(rates.sum(axis=1))
    high = 1.0 / float(rates.max())
    while _worst(_exponential(generator, high), law) > epsilon:
        high *= 2.0
    low = 0.0
    while high - low > 1e-12 * high:
        middle = 0.5 * (low + high)
        far = _worst(_exponential(generator, middle), law) > epsilon
        low, high = (middle, high) if far else (low, middle)
    return high


def _check(epsilon: float) -> None:
    if not 0 < epsilon < 1:
        raise ValueError(f"a distance to mix to is in (0, 1), got {epsilon}")


def _exponential(generator: TransitionMatrix, time: float) -> TransitionMatrix:
    power: TransitionMatrix = linalg.expm(generator * time)  # pyright: ignore
    return power


def _worst(power: TransitionMatrix, law: Pmf) -> float:
    """The largest total variation from the law over all starts."""
    return 0.5 * float(np.abs(power - law).sum(axis=1).max())
