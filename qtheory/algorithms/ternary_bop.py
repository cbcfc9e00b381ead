"""Ternary Bop: Bop [helwegen2019] on three or more levels, with hysteresis and reset; it is ours.

Bop flips a weight of two levels when a moving average of its gradient is beyond a threshold. It has
one place to go from each level, so nothing says how it should treat a level between two others. An
increment of x lattice spacings moves the weight one level in its direction, stopped at the ends, if

    |x| > threshold                on the outer levels
    |x| > hysteresis threshold     on the level in the middle, if there is one

so a hysteresis below 1 makes that level, 0 of a ternary weight, easier to leave than to reach. A
weight that moves begins its momentum anew: what it remembers was said of the level that it left.
No word is used.

It is meant with `qtheory.optimisers.Normalized(learning_rate, momentum=0.97, over="neuron")`, whose
momentum is in units of what it is for noise. With a learning rate of one spacing the threshold is
that many standard deviations of the noise; a smaller rate makes moves rarer. With moments in int8
a ternary weight takes ten bits in all.
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
class TernaryBop:
    """What the algorithm is; no state, no randomness.

    threshold: of the outer levels, > 0, in lattice spacings of the increment. hysteresis: the
    threshold of the level in the middle over that of the others, > 0; without effect where the
    number of levels is even. Both are rounded to float32, and so is their product, which kernels
    compare with. readout: the stair through which hidden levels are seen, None if the levels
    themselves are.

    Raises ValueError if the threshold, the hysteresis or their product is not positive and finite
    in float32.
    """

    lattice: Lattice
    threshold: float = 2.0
    hysteresis: float = 0.7
    readout: Stair | None = None

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        for name, number in (("threshold", self.threshold), ("hysteresis", self.hysteresis)):
            with np.errstate(over="ignore", under="ignore"):
                rounded = np.float32(number)
            if not (math.isfinite(rounded) and rounded > 0):
                raise ValueError(f"a {name} is positive and finite in float32, got {number}")
        with np.errstate(over="ignore", under="ignore"):
            inner = np.float32(self.threshold) * np.float32(self.hysteresis)
        if not (math.isfinite(inner) and inner > 0):
            raise ValueError(
                "threshold times hysteresis is positive and finite in float32, got "
                f"{self.threshold} times {self.hysteresis}"
            )


def thresholds(spec: TernaryBop) -> tuple[float, float]:
    """Of the outer levels and of the level in the middle, in spacings, as kernels round them."""
    outer = np.float32(spec.threshold)
    return float(outer), float(outer * np.float32(spec.hysteresis))


def law(spec: TernaryBop, index: Numbers, increment: Numbers) -> Pmf:
    """Exact law of the next level, shape (..., size): all mass on one level.

    index, increment: arrays that broadcast, or numbers; the increment is in weight units. NaN
    does not move the weight.
    Raises ValueError if the index is not on the lattice.

    >>> law(TernaryBop(Lattice.ternary(), 2.0, 0.5), np.array([0, 1]), 1.5).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    outer, inner = thresholds(spec)
    middle = 2 * np.asarray(index) == spec.lattice.size - 1
    return one_level_law(spec.lattice, index, increment, np.where(middle, inner, outer))


def panels(spec: TernaryBop) -> np.ndarray:
    """0 and both thresholds, in spacings: the law is constant between them and beyond."""
    return np.unique([0.0, *thresholds(spec)])


CONTRACT = Contract(
    spec=TernaryBop,
    source="helwegen2019",
    destinations="neighbours",
    knobs=(
        Knob(
            "threshold",
            "lattice spacings of the increment",
            default=2.0,
            examples=(2.0, 0.5, 1.0, 2.0**-20, 1e6),
        ),
        Knob(
            "hysteresis",
            "the middle level's threshold over the others'",
            default=0.7,
            examples=(0.7, 1.0, 0.25, 2.0),
        ),
    ),
    forgets=True,
    panels=panels,
)
