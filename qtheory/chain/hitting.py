"""Hitting times and probabilities by state elimination without subtraction.

A walk that collects reward r_i at each visit of i and ends when it exits has the mean total

    x_i = r_i + sum_j P_ij x_j,     (sum_(j != i) P_ij + exit_i) x_i = r_i + sum_(j != i) P_ij x_j.

Taking state k out adds P_ik / S_k times its moves, its exit and its reward to those of every
other state i, where S_k is the sum of what is left of its row: no term is ever negative.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain.markov import (
    MarkovChain,
    Mask,
    OffDiagonal,
    PerState,
    reaching,
    states_of,
)

Rewards = Float[ndarray, "levels rewards"]
"""Rewards of a visit, one column for each kind; or their mean totals."""


def total_rewards(moves: OffDiagonal, exits: PerState, rewards: Rewards) -> Rewards:
    """Mean total reward from each state until exit, which must be certain.

    Each entry has a relative error below 2 n**3 2**-53.
    Raises OverflowError if probabilities are so small that elimination underflows.
    """
    moves, exits, totals = moves.copy(), exits.copy(), rewards.astype(np.float64)
    size = len(moves)
    leaving = np.empty(size)
    for k in range(size - 1, -1, -1):
        leaving[k] = moves[k, :k].sum() + exits[k]
        if leaving[k] == 0.0:
            raise OverflowError(f"elimination underflowed: state {k} is left with probability 0")
        share = moves[:k, k] / leaving[k]
        moves[:k, :k] += np.outer(share, moves[k, :k])
        exits[:k] += share * exits[k]
        totals[:k] += np.outer(share, totals[k])
    for k in range(size):
        totals[k] = (totals[k] + moves[k, :k] @ totals[:k]) / leaving[k]
    return totals


def hitting_times(chain: MarkovChain, targets: Iterable[int]) -> PerState:
    """Mean number of iterations until a target is first visited, from each state, shape (n,).

    Zero on the targets; infinite where a target may never be visited.
    Raises ValueError if there is no target or one is not a state.

    >>> chain = MarkovChain(np.array([[0.0, 2.0**-100], [0.5, 0.0]]))
    >>> hitting_times(chain, [1]).tolist() == [2.0**100, 0.0]
    True
    """
    hit = _targets(chain, targets)
    edges = chain.off_diagonal > 0
    doomed = ~reaching(edges, hit, ~hit)
    sure = ~reaching(edges, doomed, ~hit) & ~hit
    times = np.where(hit, 0.0, np.inf)
    inside = chain.off_diagonal[np.ix_(sure, sure)]
    exits = chain.off_diagonal[np.ix_(sure, hit)].sum(axis=1)
    times[sure] = total_rewards(inside, exits, np.ones((len(exits), 1)))[:, 0]
    return times


def hitting_probabilities(
    chain: MarkovChain, targets: Iterable[int], avoiding: Iterable[int] = ()
) -> PerState:
    """Probability of visiting a target, and before any state to avoid, from each state.

    One on the targets, zero on the states to avoid.
    Raises ValueError if there is no target, one is not a state, or one is to be avoided.

    >>> step = np.diag(np.full(3, 0.25), 1) + np.diag(np.full(3, 0.25), -1)
    >>> hitting_probabilities(MarkovChain(step), [3], avoiding=[0]).round(6).tolist()
    [0.0, 0.333333, 0.666667, 1.0]
    """
    hit, avoid = _targets(chain, targets), states_of(chain, avoiding)
    if (hit & avoid).any():
        raise ValueError(f"a target is not to be avoided, got {np.flatnonzero(hit & avoid)}")
    able = reaching(chain.off_diagonal > 0, hit, ~hit & ~avoid) & ~hit
    moves = chain.off_diagonal[able]
    wins = moves[:, hit].sum(axis=1)
    exits = wins + moves[:, ~hit & ~able].sum(axis=1)
    probabilities = np.where(hit, 1.0, 0.0)
    probabilities[able] = total_rewards(moves[:, able], exits, wins[:, None])[:, 0]
    return np.minimum(probabilities, 1.0)


def _targets(chain: MarkovChain, targets: Iterable[int]) -> Mask:
    hit = states_of(chain, targets)
    if not hit.any():
        raise ValueError("hitting needs at least one target, got none")
    return hit
