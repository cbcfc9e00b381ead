"""Kemeny's constant: the mean time to a state drawn from the stationary law.

    K = sum_j pi_j E_i[T_j]     for every i alike,     T_j = 0 if i = j
      = sum of 1 / (1 - lambda) over the eigenvalues of P other than the one 1
      = sum_k F_k (1 - F_k) / (pi_k p_k)    for a birth-death chain, F_k = pi_0 + .. + pi_k

[kemeny1960, Thm. 4.4.10] (not verified against the print). The last follows from the
first with E_0[T_j] = sum over k < j of F_k / (pi_k p_k), and the sum over j > k of pi_j.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain.elimination import eliminate
from qtheory.chain.markov import OffDiagonal, PerState
from qtheory.chain.structure import (
    AnyChain,
    Links,
    dense,
    links_of,
    positive_law,
    require_irreducible,
)

KeptMoves = Float[ndarray, "kept kept"]
KeptTimes = Float[ndarray, "kept"]


def kemeny_constant(chain: AnyChain) -> float:
    """K in iterations, from sums of non-negative terms only.

    A chain of neighbours takes the closed form, O(n) if it is a `BirthDeathChain`, with a relative
    error below that of its law and 3 n 2**-53. Any other costs 3 n**3 operations, with one below
    4 n**3 2**-53 (n**3 each for pi and E_i[T_j], doubled); observed is a few 2**-53.
    Raises ValueError, with the recurrent classes, if the chain is not irreducible; OverflowError if
    a probability of the law, or a flow, is out of a float's range.

    >>> from qtheory.chain import MarkovChain
    >>> chain = MarkovChain(np.array([[0.0, 2.0**-99], [3 * 2.0**-99, 0.0]]))
    >>> kemeny_constant(chain) == 2.0**97  # 1 / (p + q)
    True
    """
    links = links_of(chain, "Kemeny's constant")
    if links is not None:
        return _closed_form(links)
    chain = dense(chain)
    law = positive_law(chain, "Kemeny's constant")
    times = times_from(chain, int(np.argmax(law)))
    if not np.isfinite(times).all():
        raise OverflowError("Kemeny's constant needs times below 2**1024")
    return math.fsum(law * times)


def times_from(chain: AnyChain, start: int) -> PerState:
    """E_start[T_j], the mean time to each state j, zero at the start itself, shape (n,).

    By halves: with the second half of the targets eliminated the rest is a chain on the first
    half, in which a visit takes as long as it and the way through the eliminated states do; and
    the other way round. Down to two states, where E = time of a visit / probability of the move.
    3 n**3 operations for all targets; each entry has a relative error below 2 n**3 2**-53.
    Raises ValueError if the chain is not irreducible or the start is not a state.
    """
    chain = dense(chain)
    if not 0 <= start < chain.size:
        raise ValueError(f"a state is in 0..{chain.size - 1}, got {start}")
    require_irreducible(chain, "a mean time to every state")
    order = np.concatenate([[start], np.delete(np.arange(chain.size), start)])
    found = np.zeros(chain.size)
    waiting = [(order, chain.off_diagonal[np.ix_(order, order)], np.ones(chain.size))]
    while waiting:
        states, moves, visit = waiting.pop()
        if len(states) == 2:
            found[states[1]] = visit[0] / moves[0, 1]
        elif len(states) > 2:
            half = (len(states) + 1) // 2
            first, second = np.arange(1, half), np.arange(half, len(states))
            for kept in (first, second):
                keep = np.concatenate([[0], kept])
                gone = np.setdiff1d(np.arange(len(states)), keep)
                waiting.append((states[keep], *_eliminated(moves, visit, keep, gone)))
    return found


def _eliminated(
    moves: OffDiagonal, visit: PerState, keep: ndarray, gone: ndarray
) -> tuple[KeptMoves, KeptTimes]:
    """The chain watched on the states to keep, and the mean time of a visit of them."""
    order = np.concatenate([keep, gone])
    left = moves[np.ix_(order, order)]
    extra = np.column_stack([np.zeros(len(order)), visit[order]])  # no exit, the time of a visit
    eliminate(left, extra, last=len(keep))
    return left[: len(keep), : len(keep)], extra[: len(keep), 1]


def _closed_form(links: Links) -> float:
    """sum F_k (1 - F_k) / (pi_k p_k), both F_k and 1 - F_k being sums."""
    law = links.law
    below, above = np.cumsum(law)[:-1], np.cumsum(law[::-1])[::-1][1:]
    terms = np.maximum(below, above) * (np.minimum(below, above) / links.flow)
    return math.fsum(terms)
