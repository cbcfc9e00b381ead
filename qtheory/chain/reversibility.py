"""Reversible chains: how to know one, and how to make one with a given law.

pi is reversible for P if its flows are symmetric, pi_i P_ij = pi_j P_ji (detailed balance).
Kolmogorov's criterion says the same without pi: along every cycle the product of the probabilities
is that of the cycle walked backwards.

Given proposals q and weights pi, flows that are symmetric by their form make P_ij = F_ij / pi_i:

    Metropolis-Hastings     F_ij = min(pi_i q_ij, pi_j q_ji)
    Barker                  F_ij = a b / (a + b),  a = pi_i q_ij, b = pi_j q_ji

F of Metropolis is the largest that moves no more than proposed; a chain with larger moves off the
diagonal has the smaller asymptotic variance, for every f [peskun1973, Thm. 2.1.1] (not verified
against the print).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain.classes import require_irreducible
from qtheory.chain.forms import AnyChain, dense
from qtheory.chain.markov import MarkovChain, OffDiagonal, PerState
from qtheory.chain.structure import positive_law

Weights = Float[ndarray, "weights"]
"""A law up to a factor, one weight for each state; compared in number by the function itself."""


def kolmogorov_criterion(chain: AnyChain) -> bool:
    """Whether every cycle has the same probability both ways, without a stationary law.

    A probability may be off by one rounding, 2**-53. A cycle of i and j over the tree of
    `unbalanced_cycle`, d_i and d_j deep, is unbalanced from 4 (d_i + d_j + 1) of these on: two for
    each of its moves, and two for each quotient in the computed weights of i and j.
    Raises ValueError if the chain is not irreducible.

    >>> ring = np.roll(np.eye(3), 1, axis=1)
    >>> kolmogorov_criterion(MarkovChain(0.5 * ring + 0.25 * ring.T))
    False
    """
    return unbalanced_cycle(chain) is None


def unbalanced_cycle(chain: AnyChain) -> list[int] | None:
    """A cycle that is walked more often one way than the other, that way round; or None.

    It is enough to look at the cycles that one edge closes over a tree: all others are products of
    these. Of them the most unbalanced is returned, by ratio; of moves that have no way straight
    back, the first, with a shortest way round.

    >>> ring = np.roll(np.eye(3), 1, axis=1)
    >>> unbalanced_cycle(MarkovChain(0.5 * ring + 0.25 * ring.T))
    [1, 2, 0]
    """
    chain = dense(chain)
    require_irreducible(chain, "Kolmogorov's criterion")
    moves = chain.off_diagonal
    one_way = np.argwhere((moves > 0) & (moves.T == 0))
    if len(one_way):
        i, j = one_way[0].tolist()
        return [i, *_shortest(moves, j, i)[:-1]]
    parent, depth, fraction, power = _tree(moves)
    forth = np.frexp(fraction[:, None] * moves)
    safe = np.where(moves > 0, forth[0], 1.0)
    shift = forth[1] + power[:, None]
    excess = np.ldexp(safe / safe.T, np.clip(shift - shift.T, -99, 99).astype(np.int32)) - 1.0
    excess[moves == 0] = 0.0
    excess -= 4.0 * (depth[:, None] + depth + 1) * 2.0**-53
    i, j = divmod(int(np.argmax(excess)), chain.size)
    return _closed_by(i, j, parent, depth) if excess[i, j] > 0 else None


def _tree(moves: OffDiagonal) -> tuple[ndarray, ndarray, PerState, ndarray]:
    """A breadth-first tree from state 0: parents, depths, and pi_i / pi_0 as it would have it,
    a fraction times a power of two."""
    size = len(moves)
    parent, depth, power = np.full(size, -1), np.full(size, -1), np.zeros(size, dtype=np.int64)
    fraction = np.ones(size)
    depth[0], order = 0, [0]
    for i in order:
        for j in np.flatnonzero((moves[i] > 0) & (depth < 0)).tolist():
            parent[j], depth[j] = i, depth[i] + 1
            up, down = np.frexp(moves[i, j]), np.frexp(moves[j, i])
            fraction[j], shift = np.frexp(fraction[i] * (up[0] / down[0]))
            power[j] = power[i] + int(up[1]) - int(down[1]) + int(shift)
            order.append(j)
    return parent, depth, fraction, power


def _closed_by(i: int, j: int, parent: ndarray, depth: ndarray) -> list[int]:
    """The cycle i, j, ..., back to i by the tree, without the last i."""
    from_i, from_j = [i], [j]
    while from_i[-1] != from_j[-1]:
        longer = from_i if depth[from_i[-1]] > depth[from_j[-1]] else from_j
        longer.append(int(parent[longer[-1]]))
    return [i, *from_j, *reversed(from_i[1:-1])] if from_j[-1] != i else [i, *from_j[:-1]]


def _shortest(moves: OffDiagonal, start: int, end: int) -> list[int]:
    """States of a shortest way, both ends included. There is one in an irreducible chain."""
    before = {start: start}
    order = [start]
    for i in order:
        if i == end:
            break
        for j in np.flatnonzero(moves[i] > 0).tolist():
            if j not in before:
                before[j] = i
                order.append(j)
    way = [end]
    while way[-1] != start:
        way.append(before[way[-1]])
    return way[::-1]


def metropolis_hastings(proposals: AnyChain, weights: Weights) -> MarkovChain:
    """The chain of moves proposed by one chain and accepted so that a given law is stationary.

    weights: the law up to a factor, positive. Flows weights_i P_ij are symmetric to one rounding.
    Raises ValueError if a weight is not positive and finite, or there is not one for each state.

    >>> flip = MarkovChain(np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> metropolis_hastings(flip, np.array([0.75, 0.25])).off_diagonal.round(6).tolist()
    [[0.0, 0.333333], [1.0, 0.0]]
    """
    there, back, weights = _proposed(proposals, weights)
    # min(q_ij, (pi_j / pi_i) q_ji) would round the flow twice
    return _chain(np.minimum(there, back), weights)


def barker(proposals: AnyChain, weights: Weights) -> MarkovChain:
    """The chain of Barker's rule, which accepts with probability b / (a + b).

    >>> flip = MarkovChain(np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> barker(flip, np.array([0.75, 0.25])).off_diagonal.tolist()
    [[0.0, 0.25], [0.75, 0.0]]
    """
    there, back, weights = _proposed(proposals, weights)
    less, more = np.minimum(there, back), np.maximum(there, back)
    with np.errstate(invalid="ignore"):
        flow = np.where(less > 0, less / (1.0 + less / np.where(more > 0, more, 1.0)), 0.0)
    return _chain(flow, weights)


def _proposed(proposals: AnyChain, weights: Weights) -> tuple[OffDiagonal, OffDiagonal, Weights]:
    moves = dense(proposals).off_diagonal
    if weights.shape != (len(moves),):
        raise ValueError(f"{len(moves)} states need as many weights, got {weights.size}")
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError(f"weights are positive and finite, got {weights.min()}")
    scaled = weights / weights.max()
    there = scaled[:, None] * moves
    return there, there.T, scaled


def _chain(flow: OffDiagonal, weights: Weights) -> MarkovChain:
    moves = flow / weights[:, None]
    return MarkovChain(moves / np.maximum(moves.sum(axis=1, keepdims=True), 1.0))


def time_reversal(chain: AnyChain) -> MarkovChain:
    """The chain seen backwards in time, pi_j P_ji / pi_i; the same for a reversible one.

    Raises ValueError if the chain is not irreducible, OverflowError if its law underflows.
    """
    chain = dense(chain)
    require_irreducible(chain, "a time reversal")
    law = positive_law(chain, "a time reversal")
    return _chain((law[:, None] * chain.off_diagonal).T, law)


def dominates(first: AnyChain, second: AnyChain) -> bool:
    """Peskun's order: no move between different states is less probable in the first chain.

    Then, the stationary law being the same, the first has the smaller asymptotic variance.
    Raises ValueError if the chains have different numbers of states.

    >>> slow = MarkovChain(np.array([[0.0, 0.25], [0.25, 0.0]]))
    >>> dominates(MarkovChain(2 * slow.off_diagonal), slow)
    True
    """
    more, less = dense(first), dense(second)
    if more.size != less.size:
        raise ValueError(
            f"chains to compare have equally many states, got {more.size} and {less.size}"
        )
    return bool((more.off_diagonal >= less.off_diagonal).all())
