"""Taking states out of a chain without subtraction, a block at a time [grassmann1985].

When state k is taken out, a walk that would go to k goes on to where k leads: for i, j < k

    P_ij <- P_ij + P_ik (P_kj / S_k),      S_k = sum of P_kj over j < k, plus its exit,

and S_k is a sum, never 1 - P_kk. Quotients P_kj / S_k are at most one, so nothing overflows.
The states of a block are brought up to date when their turn comes, all others once for each block,
by one product of matrices. This orders the same sums of non-negative terms differently, and the
bound of each entry counts terms only.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain.markov import OffDiagonal, PerState

Extra = Float[ndarray, "levels extra"]
"""Columns that are carried along: the exit, then rewards."""

SMALLEST = 2.0**-1022
BLOCK = 96  # states; 32 to 96 are alike within a third for 2000 states
ROWS = 256  # that are brought up to date together, so that a product stays in a cache


def eliminate(moves: OffDiagonal, extra: Extra, last: int) -> PerState:
    """Take out the states n-1, ..., `last`, in place; returns S, shape (n,), zero for the others.

    Afterwards moves[k, :k] and extra[k] are those of k when it was taken out, over S_k, and
    moves[:k, k] is P_ik. The diagonal holds numbers nobody reads.
    Raises OverflowError if a sum falls below 2**-1022, where floats have fewer digits: the at most
    n**2 products in it that underflow err by 2**-1075 each, 2**-53 of any larger sum.
    """
    leaving = np.zeros(len(moves))
    room = np.empty(ROWS * len(moves))
    for end in range(len(moves), last, -BLOCK):
        start = max(end - BLOCK, last)
        for k in range(end - 1, start - 1, -1):
            out = slice(k + 1, end)
            moves[k, :k] += moves[k, out] @ moves[out, :k]
            extra[k] += moves[k, out] @ extra[out]
            leaving[k] = moves[k, :k].sum() + extra[k, 0]
            if leaving[k] < SMALLEST:
                raise OverflowError(
                    f"elimination underflowed: state {k} is left with probability {leaving[k]}"
                )
            moves[:k, k] += moves[:k, out] @ moves[out, k]
            moves[k, :k] /= leaving[k]
            with np.errstate(over="ignore"):  # a total beyond floats is infinite
                extra[k] /= leaving[k]
        rest, block = slice(0, start), slice(start, end)
        for first in range(0, start, ROWS):
            some = slice(first, min(first + ROWS, start))
            product = room[: (some.stop - first) * start].reshape(-1, start)
            moves[some, rest] += np.matmul(moves[some, block], moves[block, rest], out=product)
        extra[rest] += moves[rest, block] @ extra[block]
    return leaving
