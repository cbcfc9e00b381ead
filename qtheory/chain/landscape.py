"""Energy landscapes: Metropolis chains, their valleys, and what these say at low temperature.

A landscape is an energy for each state and undirected edges between states. The height of a path
is the greatest energy on it, and H(x, y) the least height of the paths from x to y. Three numbers
decide what a chain that proposes along edges does when the temperature is low or falls:

    depth of x    least H(x, y) - V(x) over states y below x; infinite at the global minima
    d*            the greatest depth of a local minimum that is not global [hajek1988]
    m             max over x, y of H(x, y) - V(x) - V(y) + min V [holley1988]

Annealing with T_k = c / ln(k + 2) ends at global minima if and only if c >= d*, and the gap of the
chain at temperature T is exp(-m / T) but for factors that are powers of T; both statements are not
verified against the print. All three numbers come from one sweep of union-find in order of energy,
without rounding if energies are whole or Fractions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain.markov import MarkovChain
from qtheory.chain.powers import beyond_range
from qtheory.chain.states import State, state_of

Energy: TypeAlias = Sequence[int] | Sequence[float] | Sequence[Fraction] | ndarray
"""One energy for each state."""

Edge: TypeAlias = tuple[int, int]

Grid = Float[ndarray, "..."]
"""Energies on a lattice of any dimension."""

Heights = Float[ndarray, "levels"]
"""Energies along a line."""

Rates = Float[ndarray, "links"]
"""Probabilities of crossing the links 0-1, 1-2, ... of a line in one direction."""


class Valley(NamedTuple):
    """A valley: the states at its bottom, in increasing order; the energy at which it overflows
    into a valley with a lower bottom, infinite if there is none; and its depth, the difference."""

    bottom: tuple[int, ...]
    rim: int | float | Fraction
    depth: int | float | Fraction


class Landscape(NamedTuple):
    """All valleys, by their lowest state, the deepest ones being infinite; d* and m."""

    valleys: tuple[Valley, ...]
    hajek_depth: int | float | Fraction
    relaxation_depth: int | float | Fraction


def line(size: int) -> list[Edge]:
    """Edges between neighbours on a line of so many states."""
    return [(k, k + 1) for k in range(size - 1)]


def lattice_edges(shape: Sequence[int]) -> list[Edge]:
    """Edges between neighbours on a lattice, states numbered with the first coordinate slowest.

    >>> lattice_edges((2, 2))
    [(0, 2), (1, 3), (0, 1), (2, 3)]
    """
    index = np.arange(math.prod(shape)).reshape(tuple(shape))
    pairs: list[Edge] = []
    for axis in range(len(shape)):
        low = np.delete(index, -1, axis=axis).ravel().tolist()
        high = np.delete(index, 0, axis=axis).ravel().tolist()
        pairs += zip(low, high, strict=True)
    return pairs


def survey(energy: Energy, edges: Iterable[Edge]) -> Landscape:
    """Valleys, d* and m of a connected landscape.

    States are flooded in order of energy. Where two valleys meet, the one with the higher bottom
    is full: its depth is known. Valleys with equal bottoms become one; if these are global minima,
    the height of the meeting still counts for m, as the chain has to pass between them.
    d* and m are 0 if there is nothing to overcome.
    Raises ValueError if there is no state, an energy is not finite, an edge leaves the states, or
    the landscape is not connected.

    >>> survey([0, 3, 1, 2, 1, 5, 0], line(7)).hajek_depth
    2
    >>> survey([0, 3, 1, 2, 1, 5, 0], line(7)).relaxation_depth
    5
    """
    heights, neighbours = _read(energy, edges)
    lowest = min(heights)
    parent = list(range(len(heights)))
    bottoms: dict[int, list[int]] = {}
    full: list[Valley] = []
    depth = deepest = lowest - lowest
    for state in sorted(range(len(heights)), key=lambda s: heights[s]):
        bottoms[state] = [state]
        for other in neighbours[state]:
            a, b = _root(parent, state), _root(parent, other)
            if a == b or b not in bottoms:  # the same valley, or not flooded yet
                continue
            if heights[bottoms[a][0]] < heights[bottoms[b][0]]:
                a, b = b, a  # a is the one with the higher bottom, or they are equal
            upper, rim = bottoms.pop(a), heights[state]
            climb = rim - heights[upper[0]]
            deepest = max(deepest, climb)
            if heights[upper[0]] == heights[bottoms[b][0]]:
                bottoms[b] = sorted(bottoms[b] + upper)
            elif climb > 0:
                full.append(Valley(tuple(upper), rim, climb))
                depth = max(depth, climb)
            parent[a] = b
    if len(bottoms) > 1:
        raise ValueError(f"a landscape is connected, got {len(bottoms)} parts")
    (last,) = bottoms.values()
    full.append(Valley(tuple(last), math.inf, math.inf))
    return Landscape(tuple(sorted(full, key=lambda v: v.bottom)), depth, deepest)


def communication_height(
    energy: Energy, edges: Iterable[Edge], start: State, end: State
) -> int | float | Fraction:
    """H(start, end): the least height of a path between two states.

    Raises ValueError as `survey` does, or if start or end is not a state.

    >>> communication_height([0, 3, 1, 2, 1, 5, 0], line(7), 0, 4)
    3
    """
    heights, neighbours = _read(energy, edges)
    start, end = state_of(len(heights), start), state_of(len(heights), end)
    parent, above = list(range(len(heights))), set[int]()
    for state in sorted(range(len(heights)), key=lambda s: heights[s]):
        above.add(state)
        for other in neighbours[state]:
            if other in above:
                parent[_root(parent, other)] = _root(parent, state)
        if {start, end} <= above and _root(parent, start) == _root(parent, end):
            return heights[state]
    raise ValueError("a landscape is connected, got no path between the two states")


def metropolis_rates(energy: Heights, temperature: float) -> tuple[Rates, Rates]:
    """Probabilities up and down of the Metropolis walk on a line, each half exp(-(rise)^+ / T).

    They are what `BirthDeathChain` takes. Raises ValueError if the temperature is not positive.

    >>> up, down = metropolis_rates(np.array([0.0, 1.0]), 1 / np.log(4))
    >>> up.round(12).tolist(), down.tolist()
    ([0.125], [0.5])
    """
    _check_temperature(temperature)
    rise = np.diff(energy)
    return (
        0.5 * np.exp(-np.maximum(rise, 0.0) / temperature),
        0.5 * np.exp(-np.maximum(-rise, 0.0) / temperature),
    )


def metropolis_chain(energy: Grid, temperature: float) -> MarkovChain:
    """The single-site Metropolis chain on a lattice: each neighbour proposed with 1 / (2 d).

    Its law is proportional to exp(-V / T). Raises ValueError if the temperature is not positive.

    >>> metropolis_chain(np.array([0.0, 1.0]), 1 / np.log(4)).off_diagonal.round(12).tolist()
    [[0.0, 0.125], [0.5, 0.0]]
    """
    _check_temperature(temperature)
    v = np.asarray(energy, dtype=np.float64)
    a, b = np.array(lattice_edges(v.shape)).reshape(-1, 2).T
    matrix, flat = np.zeros((v.size, v.size)), v.ravel()
    for i, j in ((a, b), (b, a)):
        matrix[i, j] = np.exp(-np.maximum(flat[j] - flat[i], 0.0) / temperature) / (2 * v.ndim)
    return MarkovChain(matrix)


def gibbs_law(energy: Grid, temperature: float) -> Pmf:
    """exp(-V / T), normalised, over the states in order.

    Raises ValueError if the temperature is not positive.

    >>> gibbs_law(np.array([0.0, np.log(3.0)]), 1.0).round(6).tolist()
    [0.75, 0.25]
    """
    _check_temperature(temperature)
    v = np.ravel(np.asarray(energy, dtype=np.float64))
    weight = np.exp(-(v - v.min()) / temperature)
    return weight / weight.sum()


def eyring_kramers_time(
    barrier: float, bottom_curvature: float, saddle_curvature: float,
    temperature: float, spacing: float,
) -> float:  # fmt: skip
    """Mean iterations from a minimum over the saddle to the other, for T and spacing to 0.

    (2 / spacing**2) (2 pi T / sqrt(V''(a) |V''(s)|)) exp((V(s) - V(a)) / T) (1 + O(T) + O(spacing))
    for the Metropolis walk on a line that proposes each neighbour with 1/2 [bovier2004; not
    verified against the print].

    barrier: V(s) - V(a). bottom_curvature, saddle_curvature: V''(a) and |V''(s)|, > 0.
    Raises ValueError if one of these, the temperature or the spacing is not positive; OverflowError
    if the time is beyond a float.

    >>> round(eyring_kramers_time(1.0, 2.0, 0.5, 1.0, 1.0), 6)
    34.158937
    """
    given = (barrier, bottom_curvature, saddle_curvature, temperature, spacing)
    if not all(math.isfinite(x) and x > 0 for x in given):
        raise ValueError(f"barrier, curvatures, temperature, spacing are positive, got {given}")
    rate = math.sqrt(bottom_curvature * saddle_curvature) / (2 * math.pi * temperature)
    logarithm = math.log(2.0) - 2.0 * math.log(spacing) - math.log(rate) + barrier / temperature
    if logarithm > 1022 * math.log(2.0):
        raise OverflowError(beyond_range("a mean time"))
    return 2.0 / spacing**2 / rate * math.exp(barrier / temperature)


def _read(
    energy: Energy, edges: Iterable[Edge]
) -> tuple[list[int | float | Fraction], list[list[int]]]:
    heights: list[int | float | Fraction] = (
        energy.tolist() if isinstance(energy, ndarray) else list(energy)
    )
    if not heights or not all(math.isfinite(h) for h in heights):
        raise ValueError(f"a landscape has at least one state and finite energies, got {heights}")
    neighbours: list[list[int]] = [[] for _ in heights]
    for a, b in edges:
        if not (0 <= a < len(heights) and 0 <= b < len(heights)):
            raise ValueError(f"an edge joins states in 0..{len(heights) - 1}, got {(a, b)}")
        neighbours[a].append(b)
        neighbours[b].append(a)
    return heights, neighbours


def _root(parent: list[int], state: int) -> int:
    """The representative of a state's part, halving the way to it."""
    while parent[state] != state:
        parent[state] = parent[parent[state]]
        state = parent[state]
    return state


def _check_temperature(temperature: float) -> None:
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"a temperature is positive and finite, got {temperature}")
