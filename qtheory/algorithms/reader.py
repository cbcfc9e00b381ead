"""What readers share: a real latent is read through a stair, with or without noise before it.

A method is a row of data, its `Reading`. With the stair q, noise e and latent x a weight shows

    visible    q(x) without noise, else q(x - e), drawn anew at each read with one word a weight
    slope      1: the gradient of the visible weight is that of the latent (straight through)

and after a step the latent is stopped at -bound and bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qtheory.algorithms.base import Spec, contract
from qtheory.arrays import Pmf
from qtheory.noise import Points, Smoothing
from qtheory.stairs import smoothing
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt


@dataclass(frozen=True, slots=True)
class Reading:
    """How a latent is read.

    stair: levels, thresholds and the rule for ties. noise: added before the stair, None for none.
    bound: where the latent is stopped, in weight units.

    Raises ValueError if the bound is not positive.
    """

    stair: Stair
    noise: Smoothing | None = None
    bound: float = math.inf

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ValueError(f"the bound of a latent is positive, got {self.bound}")


def reading_law(reading: Reading, latent: Points) -> Pmf:
    """Exact law of the visible level, shape (..., levels). Raises ValueError if a latent is NaN.

    >>> from qtheory.noise import Uniform
    >>> reading_law(Reading(Stair.step(-1.0), Uniform(1.0)), np.array([-2.0, 0.5])).tolist()
    [[1.0, 0.0], [0.25, 0.75]]
    """
    x = np.asarray(latent, dtype=np.float64)
    shown = np.eye(len(reading.stair.levels))[reading.stair.index(x)]
    return shown if reading.noise is None else smoothing.law(reading.stair, reading.noise, x)


def reading_law_of(spec: Spec, latent: Points) -> Pmf:
    """The same for a reader's spec. Raises TypeError if it is no reader."""
    own = contract(spec).reading
    if own is None:
        raise TypeError(f"a reader has a reading, got {type(spec).__name__}")
    return reading_law(own(spec), latent)
