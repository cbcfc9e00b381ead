"""From laws of the increment to the transition matrix of a weight.

    P_ij = E[law(spec, i, increment)_j],   the increment having the law that belongs to level i

Off the diagonal every entry is a sum of non-negative terms, so small probabilities keep their
digits; the diagonal is what is left to one.

Finite laws of the increment are summed. Under continuous ones an algorithm's closed form is used
if its contract has one (`steps_up`), else Gauss-Legendre quadrature of density times law.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from qtheory.algorithms.base import Spec, contract, law
from qtheory.algorithms.walker import coin_panels, realised_law
from qtheory.arrays import Moves, Outcomes, Pmf
from qtheory.chain import JointChain, MarkovChain, OffDiagonal
from qtheory.chain.joint import Backend, JointIncrements, Weights
from qtheory.chain.joint_kernel import PerAtom
from qtheory.increments import ContinuousIncrements, FiniteIncrements, Increments
from qtheory.noise import Points

Law = TypeVar("Law", FiniteIncrements, Increments)

NODES = 20
"""Gauss-Legendre nodes on a panel."""


def weight_chain(spec: Spec, increments: Sequence[Increments]) -> MarkovChain:
    """The Markov chain of one weight.

    increments: one law for each level. Raises ValueError if their number is not the lattice's size.

    >>> from qtheory import Lattice
    >>> from qtheory.algorithms.stochastic_rounding import StochasticRounding
    >>> from qtheory.increments import noisy_increments_at_levels
    >>> spec = StochasticRounding(Lattice.ternary())
    >>> laws = noisy_increments_at_levels(lambda w: w - 0.5, spec.lattice, 0.5)
    >>> weight_chain(spec, laws).transition_matrix.tolist()
    [[0.25, 0.75, 0.0], [0.0, 0.75, 0.25], [0.0, 0.25, 0.75]]
    """
    return MarkovChain(off_diagonal(spec, increments))


def off_diagonal(spec: Spec, increments: Sequence[Increments]) -> OffDiagonal:
    """Probabilities of moving from each level to each other, zero on the diagonal.

    increments: one law for each level. Raises ValueError if their number is not the lattice's size.
    """
    return _rows(spec, increments, lambda index, law_of_x: _row(spec, index, law_of_x))


def joint_chain(
    spec: Spec,
    dimension: int,
    increments: Callable[[Weights], JointIncrements],
    probabilities: PerAtom | None = None,
    *,
    memory: int = 2**26,
    backend: Backend = "auto",
) -> JointChain:
    """The chain of `dimension` weights that a spec moves at once; see `qtheory.chain.JointChain`.

    probabilities: of the atoms of the noise; one atom by default.
    """
    atoms = np.ones(1) if probabilities is None else probabilities
    own_law = partial(law, spec)
    return JointChain(spec.lattice, own_law, dimension, increments, atoms, memory, backend)


def realised_off_diagonal(
    spec: Spec,
    increments: Sequence[FiniteIncrements],
    outcomes: Callable[[int, float], Outcomes],
) -> OffDiagonal:
    """The same for a walker as a room computes it: outcomes(index, increment) of that room."""

    def row(index: int, law_of_x: FiniteIncrements) -> Pmf:
        values = law_of_x.values.tolist()
        laws = [realised_law(outcomes(index, x), spec.lattice.size) for x in values]
        return law_of_x.probabilities @ np.array(laws)

    return _rows(spec, increments, row)


def _rows(spec: Spec, increments: Sequence[Law], row: Callable[[int, Law], Pmf]) -> OffDiagonal:
    size = spec.lattice.size
    if len(increments) != size:
        raise ValueError(f"a lattice of {size} levels needs {size} laws, got {len(increments)}")
    rows = np.array([row(index, each) for index, each in enumerate(increments)])
    np.fill_diagonal(rows, 0.0)
    return rows / np.maximum(rows.sum(axis=1, keepdims=True), 1.0)


def _row(spec: Spec, index: int, increments: Increments) -> Pmf:
    """Row of the transition matrix; only its entries off the diagonal are to be used."""
    if isinstance(increments, FiniteIncrements):
        return increments.probabilities @ law(spec, index, increments.values)
    steps_up = contract(spec).steps_up
    if steps_up is not None:
        return _two_sided(spec, index, increments, steps_up)
    return _quadrature(spec, index, increments)


def _two_sided(
    spec: Spec,
    index: int,
    increments: ContinuousIncrements,
    up: Callable[[ContinuousIncrements, float, int], Moves],
) -> Pmf:
    """Moves up, and moves down as moves up of the mirrored increment."""
    size, spacing = spec.lattice.size, spec.lattice.spacing
    row = np.zeros(size)
    row[index + 1 :] = up(increments, spacing, size - 1 - index)
    row[:index] = up(increments.mirrored(), spacing, index)[::-1]
    return row


def _quadrature(spec: Spec, index: int, increments: ContinuousIncrements) -> Pmf:
    """Gauss-Legendre on panels, plus the tails where the law no longer changes.

    On a panel the integrand is analytic within the Bernstein ellipse of radius rho, and n nodes
    err by at most (64 / 15) rho**(-2 n) / (1 - rho**-2) times its size there. Panels are so
    chosen (`_panels`) that rho >= 4, so 20 nodes leave less than 2**-78: rounding dominates.
    """
    edges, reach = _panels(spec, increments)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    half = 0.5 * np.diff(edges)[:, None]
    x = (edges[:-1, None] + half * (1.0 + nodes)).ravel()
    mass = (half * weights).ravel() * increments.density(x)
    seen = mass > 0
    ends = np.array([reach])
    tails = np.concatenate([increments.above(ends), increments.mirrored().above(ends)])
    return mass[seen] @ law(spec, index, x[seen]) + tails @ law(
        spec, index, np.array([math.inf, -math.inf])
    )


def _panels(spec: Spec, increments: ContinuousIncrements) -> tuple[Points, float]:
    """Edges of panels, in weight units, and how far they reach: those of the contract, to both
    sides of 0, and the noise's own breaks."""
    own_panels = contract(spec).panels
    points = coin_panels(spec.lattice) if own_panels is None else own_panels(spec)
    right = points * spec.lattice.spacing
    reach = float(right[-1])
    own = increments.mean + increments.noise.breaks()
    edges = np.concatenate([-right, right, own])
    return np.unique(edges[np.abs(edges) <= reach]), reach
