"""From laws of the increment to the transition matrix of a weight.

    P_ij = E[law(spec, i, increment)_j],   the increment having the law that belongs to level i

Off the diagonal every entry is a sum of non-negative terms, so small probabilities keep their
digits; the diagonal is what is left to one.

Finite laws are summed. Continuous laws, in lattice spacings z:
    stochastic rounding     P(k) = E[(z - k + 1)^+] - 2 E[(z - k)^+] + E[(z - k - 1)^+]
    deterministic rounding  P(k) = P(k - 1/2 < z <= k + 1/2)
    every other algorithm   Gauss-Legendre quadrature of density times law
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.algorithms import DeterministicRounding, Spec, StochasticRounding, parameters, stem
from qtheory.arrays import Pmf, TransitionMatrix
from qtheory.chain import MarkovChain, OffDiagonal
from qtheory.increments import ContinuousIncrements, FiniteIncrements, Increments
from qtheory.noise import Points

Moves = Float[ndarray, "moves"]
"""Probabilities of 1, 2, ... levels up; the last entry is of so many or more."""

Law = TypeVar("Law", FiniteIncrements, Increments)

NODES = 20
"""Gauss-Legendre nodes on a panel."""


def law(spec: Spec, index: int, increment: float | Points) -> Pmf:
    """Exact law of the next level, shape (..., size): the `law` of the module named by the stem."""
    module = importlib.import_module(f"qtheory.algorithms.{stem(spec)}")
    return module.law(spec, np.asarray(index), np.asarray(increment, dtype=np.float64))


def realised_law(spec: Spec, index: int, increment: float, threshold: int) -> Pmf:
    """Law of the next level when one level more is taken iff a word is below the threshold.

    This is what a walker really does in float32: x = float32(increment) / float32(spacing) in
    one rounded division, the whole spacings for certain and one more with probability
    threshold / 2**32. NaN does not move the weight.
    Raises ValueError if the index is not on the lattice or the threshold not in 0..2**32.

    >>> from qtheory import Lattice
    >>> realised_law(StochasticRounding(Lattice.ternary()), 1, 0.25, 2**30).tolist()
    [0.0, 0.75, 0.25]
    """
    size = spec.lattice.size
    if not 0 <= index < size:
        raise ValueError(f"an index is in 0..{size - 1}, got {index}")
    if not 0 <= threshold <= 2**32:
        raise ValueError(f"a threshold is in 0..2**32, got {threshold}")
    with np.errstate(over="ignore", invalid="ignore"):
        x = np.float32(increment) / np.float32(spec.lattice.spacing)
    pmf = np.zeros(size)
    if np.isnan(x):
        pmf[index] = 1.0
        return pmf
    sign = -1 if x < 0 else 1
    whole = math.floor(min(abs(float(x)), float(size)))
    more = int(threshold) / 2**32
    pmf[min(max(index + sign * whole, 0), size - 1)] += 1.0 - more
    pmf[min(max(index + sign * (whole + 1), 0), size - 1)] += more
    return pmf


def off_diagonal(spec: Spec, increments: Sequence[Increments]) -> OffDiagonal:
    """Probabilities of moving from each level to each other, zero on the diagonal.

    increments: one law for each level. Raises ValueError if their number is not the lattice's size.
    """
    return _rows(spec, increments, lambda index, law_of_x: _row(spec, index, law_of_x))


def realised_off_diagonal(
    spec: Spec,
    increments: Sequence[FiniteIncrements],
    threshold: Callable[[int, float], int],
) -> OffDiagonal:
    """The same for a walker as it is computed: threshold(index, increment) in 0..2**32."""

    def row(index: int, law_of_x: FiniteIncrements) -> Pmf:
        values = law_of_x.values.tolist()
        laws = [realised_law(spec, index, x, threshold(index, x)) for x in values]
        return law_of_x.probabilities @ np.array(laws)

    return _rows(spec, increments, row)


def transition_matrix(spec: Spec, increments: Sequence[Increments]) -> TransitionMatrix:
    """Entry (i, j): probability of the next level j given the level i.

    >>> from qtheory import Lattice
    >>> from qtheory.increments import noisy_increments_at_levels
    >>> spec = StochasticRounding(Lattice.ternary())
    >>> laws = noisy_increments_at_levels(lambda w: w - 0.5, spec.lattice, 0.5)
    >>> transition_matrix(spec, laws).tolist()
    [[0.25, 0.75, 0.0], [0.0, 0.75, 0.25], [0.0, 0.25, 0.75]]
    """
    return MarkovChain(off_diagonal(spec, increments)).transition_matrix


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
    if isinstance(spec, StochasticRounding):
        return _two_sided(spec, index, increments, _stochastic_rounding_up)
    if isinstance(spec, DeterministicRounding):
        return _two_sided(spec, index, increments, _deterministic_rounding_up)
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


def _stochastic_rounding_up(increments: ContinuousIncrements, spacing: float, levels: int) -> Moves:
    """Second differences of E[(z - x)^+], or of E[(x - z)^+] below the mean, where it is smaller.

    For a move k the relative error is about 2**-48 (1 + r)**2, r the distance from the mean to k,
    or the noise's scale if that is larger, in spacings; the excess adds its own error.
    The last entry, of `levels` moves or more, is the first difference E[(z-k+1)^+] - E[(z-k)^+].
    """
    k = np.arange(levels + 2, dtype=np.float64) * spacing
    over, under = increments.excess(k) / spacing, increments.deficit(k) / spacing
    right = k >= increments.mean
    second = np.where(right[1:-1], *(f[:-2] - 2 * f[1:-1] + f[2:] for f in (over, under)))
    if levels:
        first = over[levels - 1] - over[levels]
        second[-1] = first if right[levels] else 1.0 - (under[levels] - under[levels - 1])
    return np.maximum(second, 0.0)


def _deterministic_rounding_up(
    increments: ContinuousIncrements, spacing: float, levels: int
) -> Moves:
    """P(k - 1/2 < z <= k + 1/2) from the tail beyond the mean; the last entry has no upper end."""
    edges = (np.arange(levels + 1, dtype=np.float64) + 0.5) * spacing
    above, below = increments.above(edges), increments.mirrored().above(-edges)
    right = edges[:-1] >= increments.mean
    between = np.where(right, above[:-1] - above[1:], below[1:] - below[:-1])
    if levels:
        between[-1] = above[levels - 1]
    return np.maximum(between, 0.0)


def _quadrature(spec: Spec, index: int, increments: ContinuousIncrements) -> Pmf:
    """Gauss-Legendre on panels, plus the tails beyond the lattice's size, which go to the ends.

    On a panel the integrand is analytic within the Bernstein ellipse of radius rho, and n nodes
    err by at most (64 / 15) rho**(-2 n) / (1 - rho**-2) times its size there. Panels are so
    chosen (`_panels`) that rho >= 4, so 20 nodes leave less than 2**-78: rounding dominates.
    """
    reach = spec.lattice.size * spec.lattice.spacing
    edges = _panels(spec, increments)
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


def _panels(spec: Spec, increments: ContinuousIncrements) -> Points:
    """Edges of panels, from minus to plus the lattice's size, in weight units.

    A rule is smooth between multiples of half a spacing. Near a multiple it varies on the scale
    of 1 / (its parameter): tanh(m f) has its poles at f = i pi (k + 1/2) / m, so panels halve
    towards f = 0 down to 1 / (2 m). The noise adds its own breaks.
    """
    size, spacing = spec.lattice.size, spec.lattice.spacing
    halvings = 1 + math.ceil(math.log2(max((1.0, *parameters(spec)))))
    fractions = np.concatenate([[0.0], 2.0 ** -np.arange(halvings, 0, -1.0)])
    right = (np.arange(size)[:, None] + fractions).ravel() * spacing
    own = increments.mean + increments.noise.breaks()
    edges = np.concatenate([-right, right, own, [-size * spacing, size * spacing]])
    return np.unique(edges[np.abs(edges) <= size * spacing])
