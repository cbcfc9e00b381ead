"""A Markov chain on 0..n-1 by its matrix, and what leads where."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from qtheory.arrays import TransitionMatrix
from qtheory.chain.states import Mask
from qtheory.values import rebuilt

OffDiagonal = Float[ndarray, "levels levels"]
"""Entry (i, j): probability of moving from i to j; zero for j = i."""

PerState = Float[ndarray, "levels"]
"""One real number for each state."""

PerMove = Float[ndarray, "moves"]
"""One real number for each move."""

Numbers = Int[ndarray, "moves"]
"""Of a state, for each move."""

Edges = Bool[ndarray, "levels levels"]
"""Whether j can be reached from i in one iteration."""


class Moves(NamedTuple):
    """Pairs of different states between which one iteration may lead."""

    source: Numbers
    target: Numbers


@runtime_checkable
class FiniteChain(Protocol):
    """A chain in whatever form it is stored."""

    @property
    def size(self) -> int:
        """Number of states."""
        ...

    @property
    def moves(self) -> Moves:
        """All pairs (i, j), i != j, with P_ij > 0."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MarkovChain:
    """A chain on states 0..n-1.

    off_diagonal: (n, n), entries >= 0, zero on the diagonal; row i sums to the probability of
    leaving i, at most one.

    Raises ValueError if it is not such a matrix. A row may exceed one by n roundings, 2**-52 each.
    """

    off_diagonal: OffDiagonal

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if hasattr(self.off_diagonal, "tocsr"):
            raise ValueError(
                "a matrix of numbers is needed here, and a sparse one makes a `SparseChain`, got "
                f"{type(self.off_diagonal).__name__}"
            )
        moves = np.array(self.off_diagonal, dtype=np.float64, order="C")
        if moves.ndim != 2 or moves.shape[0] != moves.shape[1] or moves.size == 0:
            raise ValueError(f"a chain is a square matrix, at least 1 by 1, got {moves.shape}")
        if not (np.isfinite(moves).all() and (moves >= 0).all()):
            raise ValueError(f"probabilities are finite and >= 0, got {moves.min()}")
        for state in np.flatnonzero(moves.diagonal()):
            p = moves[state, state]
            raise ValueError(
                f"the diagonal of a chain is written as zero, got {p} at {state}; "
                "`from_transition_matrix` takes a matrix with its diagonal"
            )
        most = float(moves.sum(axis=1).max())
        if most > 1.0 + len(moves) * 2.0**-52:
            raise ValueError(f"the probability of leaving a state is at most one, got {most!r}")
        moves.setflags(write=False)
        object.__setattr__(self, "off_diagonal", moves)

    @property
    def size(self) -> int:
        """Number of states."""
        return len(self.off_diagonal)

    @property
    def moves(self) -> Moves:
        """All pairs (i, j), i != j, with P_ij > 0."""
        source, target = np.nonzero(self.off_diagonal)
        return Moves(source, target)

    @property
    def staying(self) -> PerState:
        """P_ii, one minus the sum of the others; an absolute error of about n 2**-53."""
        return np.maximum(1.0 - self.off_diagonal.sum(axis=1), 0.0)

    @property
    def transition_matrix(self) -> TransitionMatrix:
        """The full matrix P, rows summing to one."""
        return self.off_diagonal + np.diag(self.staying)


def graph(moves: Moves, size: int, values: PerMove | None = None) -> Any:
    """A sparse matrix with a value for each move, one by default."""
    data = np.ones(len(moves.source)) if values is None else values
    return import_module("scipy.sparse").csr_array((data, tuple(moves)), shape=(size, size))


def reaching_by(moves: Moves, targets: Mask, within: Mask) -> Mask:
    """Targets, and the states that can reach them by moves from states of `within`."""
    size, used, start = len(targets), within[moves.source], np.flatnonzero(targets)
    # Backwards, and from one more state, `size`, to every target.
    source = np.concatenate([moves.target[used], np.full_like(start, size)])
    target = np.concatenate([moves.source[used], start])
    visits = import_module("scipy.sparse.csgraph").breadth_first_order
    backwards = graph(Moves(source, target), size + 1)
    reached = np.zeros(size + 1, dtype=np.bool_)
    reached[visits(backwards, size, return_predecessors=False)] = True
    return reached[:size]


def reaching(edges: Edges, targets: Mask, within: Mask) -> Mask:
    """Targets, and the states that can reach them by edges (i, j) from states i of `within`."""
    reached = targets.copy()
    frontier = targets
    while frontier.any():
        frontier = within & ~reached & edges[:, frontier].any(axis=1)
        reached |= frontier
    return reached
