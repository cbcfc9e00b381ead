"""Hitting times and probabilities by state elimination without subtraction.

A walk that collects reward r_i at each visit of i and ends when it exits has the mean total

    x_i = r_i + sum_j P_ij x_j,     (sum_(j != i) P_ij + exit_i) x_i = r_i + sum_(j != i) P_ij x_j.

Taking state k out adds P_ik / S_k times its moves, its exit and its reward to those of every
other state i, where S_k is the sum of what is left of its row: no term is ever negative.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain.banded import BandedChain, banded, banded_total_rewards, has_all_neighbours
from qtheory.chain.banded import restricted as restricted_bands
from qtheory.chain.birth_death import BirthDeathChain, climbing_times
from qtheory.chain.elimination import eliminate
from qtheory.chain.forms import AnyChain, as_stored
from qtheory.chain.markov import MarkovChain, OffDiagonal, PerState, reaching, reaching_by
from qtheory.chain.powers import beyond_range, within_range
from qtheory.chain.sparse import SparseChain, restricted, sparse_total_rewards, sum_into
from qtheory.chain.states import Mask, States, mask_of

Rewards = Float[ndarray, "levels rewards"]
"""Rewards of a visit, one column for each kind; or their mean totals."""

PerInside = Float[ndarray, "inside"]
InsideRewards = Float[ndarray, "inside rewards"]
"""The same for the states of a set."""


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


def hitting_times(chain: AnyChain, targets: States) -> PerState:
    """Mean number of iterations until a target is first visited, from each state, shape (n,).

    Zero on the targets; infinite where a target may never be visited. Errors: see `total_rewards`,
    `climbing_times`, `banded_total_rewards` for banded chains, `SparseChain.cost` for sparse ones.
    Raises ValueError if there is no target or one is not a state; OverflowError if a time is
    beyond a float.

    >>> chain = MarkovChain(np.array([[0.0, 2.0**-100], [0.5, 0.0]]))
    >>> hitting_times(chain, 1).tolist() == [2.0**100, 0.0]
    True
    """
    chain = as_stored(chain)
    hit = _targets(chain.size, targets)
    if isinstance(chain, BirthDeathChain):
        first, last = np.flatnonzero(hit)[[0, -1]].tolist()
        if hit[first : last + 1].all():
            return _times_on_a_line(chain, first, last)
        chain = banded(chain)
    sure = _sure(chain, hit)
    times = np.where(hit, 0.0, np.inf)
    try:
        found = totals_within(chain, sure, into(chain, hit)[sure], np.ones((sure.sum(), 1)))
    except OverflowError as error:  # a state that is left so rarely takes as long to leave
        raise OverflowError(beyond_range("a mean time")) from error
    times[sure] = within_range(found[:, 0], "a mean time")
    return times


def _sure(chain: MarkovChain | BandedChain | SparseChain, hit: Mask) -> Mask:
    """States outside of a set that is visited from them for certain."""
    if isinstance(chain, MarkovChain):
        edges = chain.off_diagonal > 0
        doomed = ~reaching(edges, hit, ~hit)
        return ~reaching(edges, doomed, ~hit) & ~hit
    if isinstance(chain, BandedChain) and has_all_neighbours(chain):
        return ~hit
    doomed = ~reaching_by(chain.moves, hit, ~hit)
    return ~reaching_by(chain.moves, doomed, ~hit) & ~hit


def totals_within(
    chain: MarkovChain | BandedChain | SparseChain,
    inside: Mask,
    exits: PerInside,
    rewards: InsideRewards,
) -> InsideRewards:
    """Mean totals of each kind of reward within a set of states, which is left for certain.

    exits, rewards: of the states inside, in order; an exit is what leaves the set and counts.
    """
    if isinstance(chain, MarkovChain):
        return total_rewards(chain.off_diagonal[np.ix_(inside, inside)], exits, rewards)
    if not inside.any():
        return rewards
    columns = np.ascontiguousarray(rewards.T)
    if isinstance(chain, BandedChain):
        bands = restricted_bands(chain, np.flatnonzero(inside))
        found = [banded_total_rewards(*bands, exits, column) for column in columns]
    else:
        part = restricted(chain, inside)
        found = [sparse_total_rewards(part, exits, column) for column in columns]
    return np.array(found).reshape(rewards.T.shape).T


def _times_on_a_line(chain: BirthDeathChain, first: int, last: int) -> PerState:
    """Times to the nearest of the targets first..last."""
    if first == last == chain.size - 1:
        return climbing_times(chain.up, chain.down)
    times = np.zeros(chain.size)
    times[: first + 1] = climbing_times(chain.up[:first], chain.down[:first])
    times[last:] = climbing_times(chain.down[last:][::-1], chain.up[last:][::-1])[::-1]
    return times


def hitting_probabilities(chain: AnyChain, targets: States, avoiding: States = ()) -> PerState:
    """Probability of visiting a target, and before any state to avoid, from each state.

    One on the targets, zero on the states to avoid.
    Raises ValueError if there is no target, one is not a state, or one is to be avoided.

    >>> step = np.diag(np.full(3, 0.25), 1) + np.diag(np.full(3, 0.25), -1)
    >>> hitting_probabilities(MarkovChain(step), 3, avoiding=0).round(6).tolist()
    [0.0, 0.333333, 0.666667, 1.0]
    """
    chain = as_stored(chain)
    hit, avoid = _targets(chain.size, targets), mask_of(chain.size, avoiding)
    if (hit & avoid).any():
        raise ValueError(f"a target is not to be avoided, got {np.flatnonzero(hit & avoid)}")
    if isinstance(chain, BirthDeathChain):
        chain = banded(chain)
    probabilities = np.where(hit, 1.0, 0.0)
    if isinstance(chain, MarkovChain):
        able = reaching(chain.off_diagonal > 0, hit, ~hit & ~avoid) & ~hit
    else:
        able = reaching_by(chain.moves, hit, ~hit & ~avoid) & ~hit
    wins, losses = into(chain, hit)[able], into(chain, ~hit & ~able)[able]
    found = totals_within(chain, able, wins + losses, wins[:, None])
    probabilities[able] = found[:, 0]
    return np.minimum(probabilities, 1.0)


def into(chain: MarkovChain | BandedChain | SparseChain, states: Mask) -> PerState:
    """Probability of a move into a set, from each state."""
    if isinstance(chain, MarkovChain):
        return chain.off_diagonal[:, states].sum(axis=1)
    if isinstance(chain, SparseChain):
        return sum_into(chain, states)
    total = np.zeros(chain.size)
    for j in range(min(chain.bandwidth, chain.size - 1)):
        total[: -j - 1] += np.where(states[j + 1 :], chain.above[j, : -j - 1], 0.0)
        total[j + 1 :] += np.where(states[: -j - 1], chain.below[j, j + 1 :], 0.0)
    return total


def _targets(size: int, targets: States) -> Mask:
    hit = mask_of(size, targets)
    if not hit.any():
        raise ValueError("hitting needs at least one target, got none")
    return hit
