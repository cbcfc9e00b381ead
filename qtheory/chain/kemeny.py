"""Kemeny's constant: the mean time to a state drawn from the stationary law.

    K = sum_j pi_j E_i[T_j]     for every i alike,     T_j = 0 if i = j
      = sum of 1 / (1 - lambda) over the eigenvalues of P other than the one 1
      = sum_k F_k (1 - F_k) / (pi_k p_k)    for a birth-death chain, F_k = pi_0 + .. + pi_k

[kemeny1960, Thm. 4.4.10] (not verified against the print). The last follows from the
first with E_0[T_j] = sum over k < j of F_k / (pi_k p_k), and the sum over j > k of pi_j.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain.birth_death import BirthDeathChain, PerLink, birth_death_law
from qtheory.chain.classes import require_irreducible
from qtheory.chain.elimination import eliminate
from qtheory.chain.forms import AnyChain, dense
from qtheory.chain.markov import MarkovChain, OffDiagonal, PerState
from qtheory.chain.powers import beyond_range, within_range
from qtheory.chain.states import State, state_of
from qtheory.chain.stationary import stationary_distribution
from qtheory.chain.structure import probabilities_of_links

KeptMoves = Float[ndarray, "kept kept"]
KeptTimes = Float[ndarray, "kept"]


class Ends(NamedTuple):
    """The chain watched on a start and one other state: the mean times of a visit of the start,
    in iterations, and the probabilities of moving there and back. One number for each state."""

    visit: PerState
    there: PerState
    back: PerState


def kemeny_constant(chain: AnyChain) -> float:
    """K in iterations, from sums of non-negative terms only.

    Of the chain watched on z and j, pi_j E_z[T_j] is pi_z (mean time of a visit of z) / P(j -> z):
    no law and no time is asked for, and both may be beyond a float. z is the most probable state.
    A chain of neighbours takes times between these, O(n), with a relative error below 9 n 2**-53.
    Any other costs 3 n**3 operations, with one below 4 n**3 2**-53; observed is a few 2**-53.
    Raises ValueError, with the recurrent classes, if the chain is not irreducible; OverflowError if
    elimination underflows or K is beyond a float.

    >>> from qtheory.chain import MarkovChain
    >>> chain = MarkovChain(np.array([[0.0, 2.0**-99], [3 * 2.0**-99, 0.0]]))
    >>> kemeny_constant(chain) == 2.0**97  # 1 / (p + q)
    True
    """
    links = probabilities_of_links(chain, "Kemeny's constant")
    if links is not None:
        return within_range(_along_links(links), "Kemeny's constant")
    chain = dense(chain)
    law = stationary_distribution(chain)
    order = np.argsort(-law, kind="stable")
    ends = _ends(chain, order)
    with np.errstate(over="ignore"):
        constant = math.fsum(ends.visit / ends.back) / (1.0 + math.fsum(ends.there / ends.back))
    return within_range(constant, "Kemeny's constant")


def times_from(chain: AnyChain, start: State) -> PerState:
    """E_start[T_j], the mean time to each state j, zero at the start itself, shape (n,).

    3 n**3 operations for all targets; each entry has a relative error below 2 n**3 2**-53.
    Raises ValueError if the chain is not irreducible or the start is not a state; OverflowError
    if a time is beyond a float.
    """
    chain = dense(chain)
    first = state_of(chain.size, start)
    require_irreducible(chain, "a mean time to every state")
    order = np.concatenate([[first], np.delete(np.arange(chain.size), first)])
    try:
        ends = _ends(chain, order)
    except OverflowError as error:
        raise OverflowError(beyond_range("a mean time")) from error
    times = np.zeros(chain.size)
    with np.errstate(over="ignore", divide="ignore"):
        times[order[1:]] = ends.visit / ends.there
    return within_range(times, "a mean time")


def _ends(chain: MarkovChain, order: ndarray) -> Ends:
    """For each state but the first of `order` the chain watched on the first and on it.

    By halves: with the second half of the others eliminated the rest is a chain on the first half,
    in which a visit takes as long as it and the way through the eliminated states do; and the
    other way round. Down to two states. States that come later are eliminated earlier.
    """
    found = np.zeros((3, chain.size - 1))
    everything = np.arange(chain.size)
    waiting = [(everything, chain.off_diagonal[np.ix_(order, order)], np.ones(chain.size))]
    while waiting:
        states, moves, visit = waiting.pop()
        if len(states) == 2:
            found[:, states[1] - 1] = visit[0], moves[0, 1], moves[1, 0]
        elif len(states) > 2:
            half = (len(states) + 1) // 2
            first, second = np.arange(1, half), np.arange(half, len(states))
            for kept in (first, second):
                keep = np.concatenate([[0], kept])
                gone = np.setdiff1d(np.arange(len(states)), keep)
                waiting.append((states[keep], *_eliminated(moves, visit, keep, gone)))
    return Ends(*found)


def _eliminated(
    moves: OffDiagonal, visit: PerState, keep: ndarray, gone: ndarray
) -> tuple[KeptMoves, KeptTimes]:
    """The chain watched on the states to keep, and the mean time of a visit of them."""
    order = np.concatenate([keep, gone])
    left = moves[np.ix_(order, order)]
    extra = np.column_stack([np.zeros(len(order)), visit[order]])  # no exit, the time of a visit
    eliminate(left, extra, last=len(keep))
    return left[: len(keep), : len(keep)], extra[: len(keep), 1]


def _along_links(chain: BirthDeathChain) -> float:
    """sum F_k (1 - F_k) / (pi_k p_k): F_k times the mean time of k + 1 -> k where F_k >= 1/2, else
    (1 - F_k) times that of k -> k + 1."""
    law = birth_death_law(chain)
    below, above = np.cumsum(law)[:-1], np.cumsum(law[::-1])[::-1][1:]
    with np.errstate(over="ignore", invalid="ignore"):
        falling = _crossing_times(chain.down[::-1], chain.up[::-1])[::-1]
        climbing = _crossing_times(chain.up, chain.down)
        return math.fsum(np.where(below >= above, below * falling, above * climbing))


def _crossing_times(up: PerLink, down: PerLink) -> PerLink:
    """t_0 = 1 / up_0, t_k = (1 + down_(k-1) t_(k-1)) / up_k: the mean time of k -> k + 1."""
    if not up.size:
        return up
    times = [1.0 / float(up[0])]
    for p, q in zip(up.tolist()[1:], down.tolist(), strict=False):
        times.append((1.0 + q * times[-1]) / p)
    return np.array(times)
