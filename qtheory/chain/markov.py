"""A Markov chain, its classes and its evolution.

States i and j communicate if each can be reached from the other; a class is a maximal set of
such states. A class that cannot be left is recurrent, and a chain with one class is irreducible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from qtheory.arrays import Pmf, TransitionMatrix

OffDiagonal = Float[ndarray, "levels levels"]
"""Entry (i, j): probability of moving from i to j; zero for j = i."""

PerState = Float[ndarray, "levels"]
"""One real number for each state."""

Mask = Bool[ndarray, "levels"]
"""A set of states."""

Edges = Bool[ndarray, "levels levels"]
"""Whether j can be reached from i in one iteration."""


@dataclass(frozen=True, slots=True, eq=False)
class MarkovChain:
    """A chain on states 0..n-1.

    off_diagonal: (n, n), entries >= 0, zero on the diagonal; row i sums to the probability of
    leaving i, at most one.

    Raises ValueError if it is not such a matrix. A row may exceed one by n roundings, 2**-52 each.
    """

    off_diagonal: OffDiagonal

    def __post_init__(self) -> None:
        moves = np.array(self.off_diagonal, dtype=np.float64)
        if moves.ndim != 2 or moves.shape[0] != moves.shape[1] or moves.size == 0:
            raise ValueError(f"a chain is a square matrix, at least 1 by 1, got {moves.shape}")
        if not (np.isfinite(moves).all() and (moves >= 0).all()):
            raise ValueError(f"probabilities are finite and >= 0, got {moves.min()}")
        if moves.diagonal().any():
            raise ValueError("the diagonal of a chain is implied and written as zero")
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
    def staying(self) -> PerState:
        """P_ii, one minus the sum of the others; an absolute error of about n 2**-53."""
        return np.maximum(1.0 - self.off_diagonal.sum(axis=1), 0.0)

    @property
    def transition_matrix(self) -> TransitionMatrix:
        """The full matrix P, rows summing to one."""
        return self.off_diagonal + np.diag(self.staying)


def communication_classes(chain: MarkovChain) -> list[list[int]]:
    """Classes of communicating states, each in increasing order, by their lowest state.

    >>> communication_classes(MarkovChain(np.array([[0.0, 0.5], [0.0, 0.0]])))
    [[0], [1]]
    """
    edges = chain.off_diagonal > 0
    everywhere = np.ones(chain.size, dtype=np.bool_)
    left = everywhere.copy()
    classes: list[list[int]] = []
    while left.any():
        first = np.zeros(chain.size, dtype=np.bool_)
        first[np.argmax(left)] = True
        both = reaching(edges, first, everywhere) & reaching(edges.T, first, everywhere)
        classes.append(np.flatnonzero(both).tolist())
        left &= ~both
    return classes


def recurrent_classes(chain: MarkovChain) -> list[list[int]]:
    """The classes that cannot be left.

    >>> recurrent_classes(MarkovChain(np.array([[0.0, 0.5], [0.0, 0.0]])))
    [[1]]
    """

    def closed(states: list[int]) -> bool:
        return not np.delete(chain.off_diagonal[states], states, axis=1).any()

    return [states for states in communication_classes(chain) if closed(states)]


def is_irreducible(chain: MarkovChain) -> bool:
    """Whether every state can be reached from every other."""
    return len(communication_classes(chain)) == 1


def states_of(chain: MarkovChain, states: Iterable[int]) -> Mask:
    """A set of states as a mask. Raises ValueError if one is not in 0..n-1."""
    mask = np.zeros(chain.size, dtype=np.bool_)
    for state in states:
        if not 0 <= state < chain.size:
            raise ValueError(f"a state is in 0..{chain.size - 1}, got {state}")
        mask[state] = True
    return mask


def reaching(edges: Edges, targets: Mask, within: Mask) -> Mask:
    """Targets, and the states that can reach them by edges (i, j) from states i of `within`."""
    reached = targets.copy()
    frontier = targets
    while frontier.any():
        frontier = within & ~reached & edges[:, frontier].any(axis=1)
        reached |= frontier
    return reached


def evolve(chain: MarkovChain, initial: Pmf, iterations: int) -> Pmf:
    """The law after so many iterations, initial P**iterations, shape (n,).

    By repeated squaring. Each square keeps the diagonal implied, so weak links survive any number
    of iterations and no probability leaks.
    Raises ValueError if the iterations are negative, or `initial` is not a law on the states.

    >>> flip = MarkovChain(np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> evolve(flip, np.array([1.0, 0.0]), 10**15 + 1).tolist()
    [0.0, 1.0]
    """
    if iterations < 0:
        raise ValueError(f"a number of iterations is >= 0, got {iterations}")
    now = np.array(initial, dtype=np.float64)
    if now.shape != (chain.size,):
        raise ValueError(f"a law has one entry for each of {chain.size} states, got {now.shape}")
    if not ((now >= 0).all() and abs(now.sum() - 1.0) <= (chain.size + 1) * 2.0**-52):
        raise ValueError(f"a law is >= 0 and sums to one, got {now.tolist()}")
    while iterations:
        if iterations & 1:
            now = now * chain.staying + now @ chain.off_diagonal
        iterations >>= 1
        if iterations:
            chain = _squared(chain)
    return now


def _squared(chain: MarkovChain) -> MarkovChain:
    """Two iterations as one. Off the diagonal: stay then move, move then stay, or move twice."""
    moves, stay = chain.off_diagonal, chain.staying
    twice = moves @ moves + moves * (stay[:, None] + stay[None, :])
    np.fill_diagonal(twice, 0.0)
    return MarkovChain(twice / np.maximum(twice.sum(axis=1, keepdims=True), 1.0))
