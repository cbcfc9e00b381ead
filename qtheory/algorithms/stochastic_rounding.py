"""Stochastic rounding (SR): lattice weights moved by unbiased random rounding [li2017, Eqs. 5, 6].

An increment of x lattice spacings is split into its whole part and a fraction f.
The weight moves the whole part, and one level more with probability f, so that the mean
move is x; then it stops at the ends of the lattice.
"""

from __future__ import annotations

from dataclasses import dataclass

from qtheory.algorithms.walker import split, walker_law
from qtheory.arrays import Numbers, Pmf
from qtheory.lattice import Lattice


@dataclass(frozen=True, slots=True)
class StochasticRounding:
    """What the algorithm is; no state, no randomness."""

    lattice: Lattice


def law(spec: StochasticRounding, index: Numbers, increment: Numbers) -> Pmf:
    """Exact law of the next level, shape (..., size) [li2017, Eq. 5].

    index, increment: arrays that broadcast, or numbers; the increment is in weight units. NaN
    does not move the weight; infinities go to the ends.
    Raises ValueError if the index is not on the lattice.

    >>> law(StochasticRounding(Lattice.ternary()), 1, -0.25).tolist()
    [0.25, 0.75, 0.0]
    """
    parts = split(spec.lattice, index, increment)
    return walker_law(spec.lattice, parts, parts.fraction)
