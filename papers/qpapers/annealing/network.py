"""Networks that can be enumerated: two hidden units, ternary weights, a ternary teacher.

    y(x) = sum over j of v_j max(0, sum over i of A_ji x_i)

The data are all points of {-1, 0, 1}^n, labelled by a teacher of the same form, and the energy of
a student is the sum of its squared errors on all of them: a whole number, so that depths and
differences of energies are exact. Weights are ordered A by rows, then v.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain import Landscape, lattice_edges, survey
from qtheory.chain.landscape import Grid, Heights
from qtheory.lattice import Lattice

HIDDEN = 2
LATTICE = Lattice.ternary()

Teacher = tuple[int, ...]
"""Weights of the teacher."""

Outputs = Float[ndarray, "states examples"]
"""What each network says of each example."""

DEEP: Teacher = (0, 1, -1, 1, 1, 0, -1, 1)
"""relu(x1 + x2) - relu(x2 - x3): the student has to find both units; 6,561 states."""

SPARE: Teacher = (0, 0, 1, 0, 0, 1)
"""relu(x1): the student has one unit too many, so weights are free at the minimum; 729 states."""

STRICT: Teacher = (1, 1, -1, -1, 1, 1)
"""abs(x1 + x2): two units that are both needed, and two minima that no free move leaves."""


@cache
def landscape(teacher: Teacher) -> Grid:
    """The energy of every student, one axis of three levels for each weight."""
    said = outputs(len(teacher))
    wanted = said[student(teacher)]
    return ((said - wanted) ** 2).sum(axis=1).reshape((LATTICE.size,) * len(teacher))


def student(weights: Teacher) -> int:
    """The number of the state with these weights."""
    return int(np.ravel_multi_index(tuple(w + 1 for w in weights), (3,) * len(weights)))


@cache
def outputs(weights: int) -> Outputs:
    """All networks with so many weights on all their examples."""
    inputs = weights // HIDDEN - 1
    w = np.array(list(product(LATTICE.levels.tolist(), repeat=weights)))
    x = np.array(list(product((-1.0, 0.0, 1.0), repeat=inputs)))
    hidden = np.maximum(w[:, : HIDDEN * inputs].reshape(-1, HIDDEN, inputs) @ x.T, 0.0)
    return np.einsum("sjn,sj->sn", hidden, w[:, HIDDEN * inputs :])


def mean_and_std(values: Heights, law: Pmf) -> tuple[float, float]:
    """Of a number of each state, such as its energy."""
    mean = float(law @ values)
    return mean, math.sqrt(float(law @ (values - mean) ** 2))


@cache
def surveyed(teacher: Teacher) -> Landscape:
    """Valleys and depths, exact: one weight moves by one level at a time."""
    energy = landscape(teacher)
    return survey(energy.ravel().astype(np.int64).tolist(), lattice_edges(energy.shape))
