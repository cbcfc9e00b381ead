"""The structure of a chain: its matrix, its period, its recurrent classes and their laws.

The period of a state is the greatest common divisor of the lengths of all ways back to it; it is
the same for all states of a class. A chain of period d moves in a circle through d cyclic classes,
and its law need not converge.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Pmf, TransitionMatrix
from qtheory.chain.banded import BandedChain
from qtheory.chain.birth_death import BirthDeathChain, closed_spans
from qtheory.chain.markov import MarkovChain, PerState, recurrent_classes
from qtheory.chain.stationary import stationary_distribution

PerLink = Float[ndarray, "links"]
"""One number for each pair of neighbours."""

MAX_DENSE = 20_000
"""Most states of a chain that is written out as a matrix, 3 GiB."""


@runtime_checkable
class Structured(Protocol):
    """A chain that is stored in another form than a matrix."""

    @property
    def size(self) -> int:
        """Number of states."""
        ...

    def to_dense(self) -> MarkovChain:
        """The same chain as a matrix."""
        ...


AnyChain: TypeAlias = MarkovChain | Structured
"""A chain in whatever form."""


def dense(chain: AnyChain) -> MarkovChain:
    """The chain as a matrix. Raises ValueError if it has more than MAX_DENSE states."""
    if isinstance(chain, MarkovChain):
        return chain
    if chain.size > MAX_DENSE:
        raise ValueError(f"this needs a matrix, of at most {MAX_DENSE} states, got {chain.size}")
    return chain.to_dense()


def as_stored(chain: AnyChain) -> MarkovChain | BirthDeathChain | BandedChain:
    """The chain itself where hitting and laws know its form, or else its matrix."""
    return chain if isinstance(chain, BirthDeathChain | BandedChain) else dense(chain)


def from_transition_matrix(matrix: TransitionMatrix) -> MarkovChain:
    """The chain of a full matrix, whose diagonal is dropped: it is implied.

    What the diagonal says about a weak link is thereby unused; where probabilities off the
    diagonal are known, make the chain from them.
    Raises ValueError if the matrix is not square, an entry is negative or not finite, or a row's
    sum is further from one than n + 1 roundings, 2**-52 each.

    >>> from_transition_matrix(np.array([[0.75, 0.25], [0.5, 0.5]])).off_diagonal.tolist()
    [[0.0, 0.25], [0.5, 0.0]]
    """
    full = np.array(matrix, dtype=np.float64)
    if full.ndim != 2 or full.shape[0] != full.shape[1] or full.size == 0:
        raise ValueError(f"a chain is a square matrix, at least 1 by 1, got {full.shape}")
    bad = ~np.isfinite(full) | (full < 0)
    if bad.any():
        i, j = np.argwhere(bad)[0].tolist()
        raise ValueError(f"probabilities are finite and >= 0, got {full[i, j]} at ({i}, {j})")
    sums = np.array([math.fsum(row) for row in full])
    worst = int(np.argmax(np.abs(sums - 1.0)))
    if abs(sums[worst] - 1.0) > (len(full) + 1) * 2.0**-52:
        raise ValueError(f"rows sum to one, got {float(sums[worst])!r} in row {worst}")
    np.fill_diagonal(full, 0.0)
    return MarkovChain(full / np.maximum(full.sum(axis=1, keepdims=True), 1.0))


def require_irreducible(chain: MarkovChain, quantity: str) -> None:
    """Raises ValueError, with the recurrent classes, unless each state leads to each other."""
    classes = recurrent_classes(chain)
    if len(classes) > 1 or len(classes[0]) < chain.size:
        raise ValueError(
            f"{quantity} needs an irreducible chain, got one of {chain.size} states whose "
            "recurrent classes are " + ", ".join(str(states) for states in classes)
        )


class Links(NamedTuple):
    """A birth-death chain's links between k and k + 1: the law pi of the n states, and for each
    of the n - 1 links P(k -> k + 1), P(k + 1 -> k) and the flow pi_k P(k -> k + 1)."""

    law: Pmf
    up: PerLink
    down: PerLink
    flow: PerLink


def links_of(chain: AnyChain, quantity: str) -> Links | None:
    """The links of a chain that moves to neighbours only, or None if it moves further.

    A `BirthDeathChain` is not written out, and costs O(n).
    Raises ValueError, naming the quantity, if the chain is not irreducible; OverflowError if a
    probability of its law, or a flow, is below 2**-1022.
    """
    if isinstance(chain, BirthDeathChain):
        if not ((chain.up > 0).all() and (chain.down > 0).all()):
            closed = ", ".join(map(str, closed_spans(chain)))
            raise ValueError(
                f"{quantity} needs an irreducible chain, got one of {chain.size} states whose "
                f"recurrent classes are {closed}"
            )
        up, down = chain.up, chain.down
    else:
        chain = dense(chain)
        require_irreducible(chain, quantity)
        moves = chain.off_diagonal
        if np.triu(moves, 2).any() or np.tril(moves, -2).any():
            return None
        up, down = moves.diagonal(1), moves.diagonal(-1)
    law = positive_law(chain, quantity)
    flow = law[:-1] * up
    if flow.size and flow.min() < 2.0**-1022:
        raise OverflowError(f"{quantity} needs flows within a float's range, got {flow.min()}")
    return Links(law, up, down, flow)


def positive_law(chain: AnyChain, quantity: str) -> Pmf:
    """The stationary law of an irreducible chain, for quotients: no entry has underflowed.

    Raises OverflowError, naming the quantity and the state, if one is below 2**-1022.
    """
    law = stationary_distribution(as_stored(chain))
    least = int(np.argmin(law))
    if law[least] < 2.0**-1022:
        raise OverflowError(
            f"{quantity} needs a law within a float's range, got {law[least]} in state {least}"
        )
    return law


def holding(chain: MarkovChain) -> PerState:
    """P_ii, where up to n roundings, n 2**-52, count as none.

    A row of numbers that were rounded misses one by so much; such a state is never meant to stay.
    """
    stay = chain.staying
    return np.where(stay <= chain.size * 2.0**-52, 0.0, stay)


def period(chain: AnyChain) -> int:
    """Period of the one recurrent class; 1 if the chain is aperiodic.

    By levels of a breadth-first search: the greatest common divisor of level_i + 1 - level_j over
    all edges (i, j). A diagonal entry below n 2**-52 counts as zero (`holding`).
    Raises ValueError, with the classes, if there is more than one recurrent class.

    >>> period(MarkovChain(np.roll(np.eye(4), 1, axis=1)))
    4
    """
    chain = dense(chain)
    states = _recurrent(chain)
    if holding(chain)[states].any():
        return 1
    edges = chain.off_diagonal[np.ix_(states, states)] > 0
    level = np.full(len(states), -1)
    level[0], depth, divisor = 0, 0, 0
    frontier = np.array([0])
    while frontier.size:
        follows = edges[frontier].any(axis=0)
        seen = level[follows & (level >= 0)]
        divisor = math.gcd(divisor, *(depth + 1 - np.unique(seen)).tolist())
        depth += 1
        frontier = np.flatnonzero(follows & (level < 0))
        level[frontier] = depth
    return max(divisor, 1)


def cyclic_classes(chain: AnyChain) -> list[list[int]]:
    """States of the recurrent class by their turn: from each of them the chain goes to the next.

    >>> cyclic_classes(MarkovChain(np.array([[0, 0.5, 0.5], [1.0, 0, 0], [1.0, 0, 0]])))
    [[0], [1, 2]]
    """
    chain = dense(chain)
    turns, states = period(chain), _recurrent(chain)
    edges = chain.off_diagonal > 0
    turn, now = np.full(chain.size, -1), np.array([states[0]])
    step = 0
    while now.size:
        turn[now] = step % turns
        step += 1
        now = np.flatnonzero(edges[now].any(axis=0) & (turn < 0))
    return [np.flatnonzero(turn == k).tolist() for k in range(turns)]


def lazy(chain: AnyChain) -> MarkovChain:
    """The chain that rests half of the time: aperiodic, of the same law, twice as slow."""
    return MarkovChain(0.5 * dense(chain).off_diagonal)


def composed(first: MarkovChain, second: MarkovChain) -> MarkovChain:
    """An iteration of `first`, then one of `second`.

    Off the diagonal: stay and move, move and stay, or move twice. Every entry has a relative error
    below (n + 3) 2**-53, and an absolute one of as much from the rounding of the diagonals.
    """
    moves = first.off_diagonal @ second.off_diagonal
    moves += first.staying[:, None] * second.off_diagonal
    moves += first.off_diagonal * second.staying
    np.fill_diagonal(moves, 0.0)
    return MarkovChain(moves / np.maximum(moves.sum(axis=1, keepdims=True), 1.0))


def stationary_laws(chain: AnyChain) -> list[Pmf]:
    """The stationary law on each recurrent class, in order; all others are mixtures of these.

    >>> [law.tolist() for law in stationary_laws(MarkovChain(np.zeros((2, 2))))]
    [[1.0, 0.0], [0.0, 1.0]]
    """
    chain = dense(chain)
    laws: list[Pmf] = []
    for states in recurrent_classes(chain):
        law = np.zeros(chain.size)
        closed = MarkovChain(chain.off_diagonal[np.ix_(states, states)])
        law[states] = stationary_distribution(closed)
        laws.append(law)
    return laws


def _recurrent(chain: MarkovChain) -> list[int]:
    classes = recurrent_classes(chain)
    if len(classes) > 1:
        raise ValueError(
            f"a period belongs to one recurrent class, got {len(classes)}: "
            + ", ".join(str(states) for states in classes)
        )
    return classes[0]
