"""Bop, the binary optimiser: a weight flips when its gradient insists [helwegen2019].

    m <- (1 - gamma) m + gamma g
    w <- -w   where |m| > tau and m has the sign of w

A descent by m that is large enough moves the weight away from its sign, and nothing else moves it.
In increments: with `qtheory.optimisers.Momentum(gamma s, momentum=1 - gamma)`, s the spacing of the
lattice, the increment is x = -m spacings, and a weight goes one level in the direction of x,
stopped at the ends, if |x| > threshold. On two levels that is Bop, and the threshold is tau. On
more levels the same rule holds at each. No word is used.

The tie rule, |m| = tau, is ours: the weight stays. Texts have both > and >=, and the authors'
public code sets such a weight to +1, whatever it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qtheory.algorithms.base import Contract, Knob
from qtheory.algorithms.walker import one_level_law
from qtheory.arrays import Numbers, Pmf
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt


@dataclass(frozen=True, slots=True)
class Bop:
    """What the algorithm is; no state, no randomness.

    threshold: tau > 0, in lattice spacings of the increment, rounded to float32. readout: the stair
    through which hidden levels are seen, None if the levels themselves are.

    Raises ValueError if the threshold is not positive and finite in float32.
    """

    lattice: Lattice
    threshold: float = 1.0
    readout: Stair | None = None

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        with np.errstate(over="ignore", under="ignore"):
            threshold = np.float32(self.threshold)
        if not (math.isfinite(threshold) and threshold > 0):
            raise ValueError(f"a threshold is positive and finite in float32, got {self.threshold}")


def law(spec: Bop, index: Numbers, increment: Numbers) -> Pmf:
    """Exact law of the next level, shape (..., size): all mass on one level [helwegen2019].

    index, increment: arrays that broadcast, or numbers; the increment is in weight units. NaN
    does not move the weight.
    Raises ValueError if the index is not on the lattice.

    >>> law(Bop(Lattice.binary(), 0.25), 1, np.array([-0.5, -0.75, 0.75])).tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    return one_level_law(spec.lattice, index, increment, np.float64(np.float32(spec.threshold)))


CONTRACT = Contract(
    spec=Bop,
    source="helwegen2019",
    destinations="neighbours",
    knobs=(
        Knob(
            "threshold",
            "lattice spacings of the increment",
            default=1.0,
            examples=(1.0, 1e-8, 0.1, 0.5, 3.0),
        ),
    ),
    panels=lambda spec: np.array([0.0, float(np.float32(spec.threshold))]),
)
