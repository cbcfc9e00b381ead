"""Hitting times and probabilities by state elimination without subtraction.

A walk that collects reward r_i at each visit of i and ends when it exits has the mean total

    x_i = r_i + sum_j P_ij x_j,     (sum_(j != i) P_ij + exit_i) x_i = r_i + sum_(j != i) P_ij x_j.

Taking state k out adds P_ik / S_k times its moves, its exit and its reward to those of every
other state i, where S_k is the sum of what is left of its row: no term is ever negative.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain.banded import (
    BandedChain,
    banded,
    banded_total_rewards,
    has_all_neighbours,
    restricted,
)
from qtheory.chain.birth_death import BirthDeathChain, climbing_times
from qtheory.chain.elimination import eliminate
from qtheory.chain.markov import (
    FiniteChain,
    MarkovChain,
    Mask,
    OffDiagonal,
    PerState,
    reaching,
    reaching_by,
    states_of,
)

Chain: TypeAlias = MarkovChain | BirthDeathChain | BandedChain

Rewards = Float[ndarray, "levels rewards"]
"""Rewards of a visit, one column for each kind; or their mean totals."""


def total_rewards(moves: OffDiagonal, exits: PerState, rewards: Rewards) -> Rewards:
    """Mean total reward from each state until exit, which must be certain.

    Each entry has a relative error below 2 n**3 2**-53.
    Raises OverflowError if probabilities are so small that elimination underflows.
    """
    moves, extra = moves.copy(order="C"), np.column_stack([exits, rewards])
    eliminate(moves, extra, last=0)
    totals = extra[:, 1:].copy()
    for k in range(len(moves)):
        totals[k] += moves[k, :k] @ totals[:k]
    return totals


def hitting_times(chain: Chain, targets: Iterable[int]) -> PerState:
    """Mean number of iterations until a target is first visited, from each state, shape (n,).

    Zero on the targets; infinite where a target may never be visited. Errors: see `total_rewards`,
    `climbing_times` and, for banded chains, `banded_total_rewards`.
    Raises ValueError if there is no target or one is not a state; OverflowError if a time is
    above the largest float.

    >>> chain = MarkovChain(np.array([[0.0, 2.0**-100], [0.5, 0.0]]))
    >>> hitting_times(chain, [1]).tolist() == [2.0**100, 0.0]
    True
    """
    hit = _targets(chain, targets)
    if isinstance(chain, BirthDeathChain):
        first, last = np.flatnonzero(hit)[[0, -1]].tolist()
        if hit[first : last + 1].all():
            return _times_on_a_line(chain, first, last)
        chain = banded(chain)
    if isinstance(chain, BandedChain):
        return _banded_times(chain, hit)
    edges = chain.off_diagonal > 0
    doomed = ~reaching(edges, hit, ~hit)
    sure = ~reaching(edges, doomed, ~hit) & ~hit
    times = np.where(hit, 0.0, np.inf)
    inside = chain.off_diagonal[np.ix_(sure, sure)]
    exits = chain.off_diagonal[np.ix_(sure, hit)].sum(axis=1)
    times[sure] = _finite(total_rewards(inside, exits, np.ones((len(exits), 1)))[:, 0])
    return times


def _times_on_a_line(chain: BirthDeathChain, first: int, last: int) -> PerState:
    """Times to the nearest of the targets first..last."""
    if first == last == chain.size - 1:
        return climbing_times(chain.up, chain.down)
    times = np.zeros(chain.size)
    times[: first + 1] = climbing_times(chain.up[:first], chain.down[:first])
    times[last:] = climbing_times(chain.down[last:][::-1], chain.up[last:][::-1])[::-1]
    return times


def _banded_times(chain: BandedChain, hit: Mask) -> PerState:
    sure = ~hit
    if not has_all_neighbours(chain):
        doomed = ~reaching_by(chain.moves, hit, ~hit)
        sure &= ~reaching_by(chain.moves, doomed, ~hit)
    times = np.where(hit, 0.0, np.inf)
    exits = _sum_into(chain, hit)[sure]
    bands = restricted(chain, np.flatnonzero(sure))
    times[sure] = _finite(banded_total_rewards(*bands, exits, np.ones_like(exits)))
    return times


def _finite(times: PerState) -> PerState:
    """The times; infinity stands for targets that may be missed, and for nothing else."""
    if not np.isfinite(times).all():
        raise OverflowError("a mean time is above the largest float, 2**1024")
    return times


def hitting_probabilities(
    chain: Chain, targets: Iterable[int], avoiding: Iterable[int] = ()
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
    probabilities = np.where(hit, 1.0, 0.0)
    if isinstance(chain, BirthDeathChain):
        chain = banded(chain)
    if isinstance(chain, BandedChain):
        able = reaching_by(chain.moves, hit, ~hit & ~avoid) & ~hit
        wins, losses = _sum_into(chain, hit)[able], _sum_into(chain, ~hit & ~able)[able]
        bands = restricted(chain, np.flatnonzero(able))
        probabilities[able] = banded_total_rewards(*bands, wins + losses, wins)
    else:
        able = reaching(chain.off_diagonal > 0, hit, ~hit & ~avoid) & ~hit
        moves = chain.off_diagonal[able]
        wins = moves[:, hit].sum(axis=1)
        exits = wins + moves[:, ~hit & ~able].sum(axis=1)
        probabilities[able] = total_rewards(moves[:, able], exits, wins[:, None])[:, 0]
    return np.minimum(probabilities, 1.0)


def _sum_into(chain: BandedChain, states: Mask) -> PerState:
    """Probability of a move into a set, from each state."""
    total = np.zeros(chain.size)
    for j in range(min(chain.bandwidth, chain.size - 1)):
        total[: -j - 1] += np.where(states[j + 1 :], chain.above[j, : -j - 1], 0.0)
        total[j + 1 :] += np.where(states[: -j - 1], chain.below[j, j + 1 :], 0.0)
    return total


def _targets(chain: FiniteChain, targets: Iterable[int]) -> Mask:
    hit = states_of(chain, targets)
    if not hit.any():
        raise ValueError("hitting needs at least one target, got none")
    return hit
