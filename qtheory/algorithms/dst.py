"""Discrete state transition (DST), the update rule of GXNOR-Net [deng2018].

An increment of x lattice spacings is split into its whole part and a fraction f.
The weight moves the whole part, and one level more with probability tanh(m f),
then stops at the ends of the lattice.

The paper stops the increment at the boundary before the move; stopping the weight after
the move has the same law, because the ends are levels themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qtheory.algorithms.base import Contract, Knob
from qtheory.algorithms.walker import coin_panels, split, walker_law
from qtheory.arrays import Numbers, Pmf
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt


@dataclass(frozen=True, slots=True)
class DST:
    """What the algorithm is; no state, no randomness.

    nonlinearity: m > 0, a pure number; the paper uses 3. readout: the stair through which hidden
    levels are seen, None if the levels themselves are.

    Raises ValueError if the nonlinearity is not positive and finite in float32, in which kernels
    take it.
    """

    lattice: Lattice
    nonlinearity: float = 3.0
    readout: Stair | None = None

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        with np.errstate(over="ignore", under="ignore"):
            m = np.float32(self.nonlinearity)
        if not (math.isfinite(m) and m > 0):
            raise ValueError(
                f"the nonlinearity is positive and finite in float32, got {self.nonlinearity}"
            )


def law(spec: DST, index: Numbers, increment: Numbers) -> Pmf:
    """Exact law of the next level, shape (..., size) [deng2018].

    index, increment: arrays that broadcast, or numbers; the increment is in weight units. NaN
    does not move the weight; infinities go to the ends.
    Raises ValueError if the index is not on the lattice.

    >>> law(DST(Lattice.ternary()), 1, 0.1).round(6).tolist()
    [0.0, 0.708687, 0.291313]
    """
    parts = split(spec.lattice, index, increment)
    return walker_law(spec.lattice, parts, np.tanh(spec.nonlinearity * parts.fraction))


CONTRACT = Contract(
    spec=DST,
    source="deng2018",
    knobs=(
        Knob(
            "nonlinearity",
            "a pure number",
            default=3.0,
            examples=(0.01, 0.5, 1.0, 3.0, 10.0, 40.0),
        ),
    ),
    steepness=lambda spec: spec.nonlinearity,  # tanh(m f) has its poles at f = i pi (k + 1/2) / m
    panels=lambda spec: coin_panels(spec.lattice, spec.nonlinearity),
)
