"""Chains that move by at most b: elimination in O(n b**2), with no matrix.

States are taken out from the last down, as in `qtheory.chain.elimination`. State n is entered from,
and sends to, n-b..n-1 only, so the moves that replace it stay within the band [grassmann1985].
The compiled loop carries numbers of two doubles; the plain one rounds every operation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from qtheory.arrays import Pmf
from qtheory.chain import native
from qtheory.chain.birth_death import PIECE, BirthDeathChain
from qtheory.chain.markov import MarkovChain, Moves, OffDiagonal, PerState
from qtheory.chain.powers import law_of, shifted
from qtheory.values import rebuilt

Band = Float[ndarray, "bandwidth levels"]
"""Entry (j, k): the probability of a move by j + 1 from state k."""

Given = Float[ndarray, "_ _"]
"""A band whose shape the chain itself checks."""

States = Int64[ndarray, "chosen"]
"""Numbers of states, increasing."""

COMPILED_BANDWIDTH = 61
"""Most that the compiled loop takes; wider bands are served by the plain one, in matrix form."""


@dataclass(frozen=True, slots=True, eq=False)
class BandedChain:
    """A chain on 0..n-1 that moves by at most b.

    above, below: (b, n), above[j, k] = P(k -> k+j+1) and below[j, k] = P(k -> k-j-1); zero where
    the move would leave 0..n-1.

    Raises ValueError if a probability is not finite, negative, or of a move out of 0..n-1, or if
    a state is left with a probability above one; 2 b roundings, 2**-52 each, are let pass.

    >>> BandedChain(np.array([[0.5, 0.25, 0.0]]), np.array([[0.0, 0.5, 1.0]])).to_dense().size
    3
    """

    above: Given
    below: Given

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        above, below = (np.array(a, dtype=np.float64, order="C") for a in (self.above, self.below))
        if above.ndim != 2 or above.shape != below.shape or not above.size:
            raise ValueError(
                f"a band has one entry for each distance and state, got {above.shape} "
                f"and {below.shape}"
            )
        for band in (above, below):
            least = band.min()
            if not least >= 0:  # NaN compares false; infinity exceeds one
                raise ValueError(f"probabilities are finite and >= 0, got {least}")
        if any(above[j, max(above.shape[1] - j - 1, 0) :].any() for j in range(len(above))) or any(
            below[j, : j + 1].any() for j in range(len(below))
        ):
            raise ValueError(f"a move leads to a state in 0..{above.shape[1] - 1}, got one beyond")
        most = _most_leaving(above, below)
        if most > 1.0 + 2 * len(above) * 2.0**-52:
            raise ValueError(f"the probability of leaving a state is at most one, got {most!r}")
        for name, band in (("above", above), ("below", below)):
            band.setflags(write=False)
            object.__setattr__(self, name, band)

    @property
    def size(self) -> int:
        """Number of states."""
        return self.above.shape[1]

    @property
    def bandwidth(self) -> int:
        """Longest move b."""
        return self.above.shape[0]

    @property
    def staying(self) -> PerState:
        """P_kk, one minus the sum of the others; an absolute error of about 2 b 2**-53."""
        return np.maximum(1.0 - (self.above.sum(axis=0) + self.below.sum(axis=0)), 0.0)

    @property
    def moves(self) -> Moves:
        """All pairs (i, j), i != j, with P_ij > 0."""
        (up, low), (down, high) = np.nonzero(self.above), np.nonzero(self.below)
        return Moves(np.concatenate([low, high]), np.concatenate([low + up + 1, high - down - 1]))

    def to_dense(self) -> MarkovChain:
        """The same chain with its matrix written out, n**2 numbers."""
        matrix = np.zeros((self.size, self.size))
        (up, low), (down, high) = np.nonzero(self.above), np.nonzero(self.below)
        matrix[low, low + up + 1] = self.above[up, low]
        matrix[high, high - down - 1] = self.below[down, high]
        return MarkovChain(matrix)


def _most_leaving(above: Band, below: Band) -> float:
    """Largest probability of leaving a state; in pieces, to stay in a cache."""
    starts = range(0, above.shape[1], PIECE)
    pieces = (slice(at, at + PIECE) for at in starts)
    return max(float((above[:, p].sum(axis=0) + below[:, p].sum(axis=0)).max()) for p in pieces)


def banded(chain: BirthDeathChain) -> BandedChain:
    """The same chain as one of bandwidth 1."""
    above, below = np.zeros((2, 1, chain.size))
    above[0, :-1], below[0, 1:] = chain.up, chain.down
    return BandedChain(above, below)


def restricted(chain: BandedChain, states: States) -> tuple[Band, Band]:
    """Moves among chosen states, which come closer, so that the band is no wider."""
    above, below = np.zeros((2, chain.bandwidth, len(states)))
    for j in range(min(chain.bandwidth, len(states) - 1)):
        low, high = states[: -j - 1], states[j + 1 :]
        near = high - low <= chain.bandwidth
        distance = np.where(near, high - low, 1) - 1
        above[j, : -j - 1] = np.where(near, chain.above[distance, low], 0.0)
        below[j, j + 1 :] = np.where(near, chain.below[distance, high], 0.0)
    return above, below


def has_all_neighbours(chain: BandedChain | MarkovChain) -> bool:
    """Whether every state is linked with the next both ways, so that the chain is irreducible."""
    if isinstance(chain, MarkovChain):
        up, down = (chain.off_diagonal.diagonal(offset) for offset in (1, -1))
    else:
        up, down = chain.above[0, :-1], chain.below[0, 1:]
    return bool((up > 0).all() and (down > 0).all())


def banded_law(above: Band, below: Band) -> Pmf:
    """The stationary law of an irreducible chain, shape (n,).

    Each entry has a relative error below 2 n b (b + 4) u in the plain loop, u = 2**-53: taking out
    a state changes the rows of at most b others, whose entries get b + 3 roundings, and a weight
    of the law is a sum of products with one entry of each row (the Markov chain tree theorem).
    Compiled: the same with u = 2**-102, and 2**-51 of three roundings at the end.
    Raises OverflowError if elimination underflows or, when compiled, the law falls by more than
    2**500 within b states.
    """
    width, size = above.shape
    library = native.library()
    if library is None or width > COMPILED_BANDWIDTH:
        return _plain_law(above, below)
    factor, law = np.empty(2 * width * size), np.empty(size)
    bands = map(native.address, (above, below))
    outputs = factor.ctypes.data, law.ctypes.data
    stuck = int(library.qt_chain_banded_law(*bands, size, width, *outputs))
    if stuck == size:
        raise OverflowError(f"the law falls by more than 2**500 within {width} states")
    if stuck > size:
        raise MemoryError(f"a law of {size} states needs more memory than there is")
    _check_left(stuck)
    return law


def banded_total_rewards(above: Band, below: Band, exits: PerState, rewards: PerState) -> PerState:
    """Mean total reward from each state until exit, which must be certain, shape (n,).

    Errors as those of `banded_law`, times being ratios of such sums too.
    Raises OverflowError if elimination underflows.
    """
    width, size = above.shape
    library = native.library()
    if library is None or width > COMPILED_BANDWIDTH:
        return _plain_total_rewards(above, below, exits, rewards)
    factor, constant, totals = np.empty(2 * width * size), np.empty(2 * size), np.empty(size)
    inputs = [native.address(np.ascontiguousarray(a)) for a in (exits, rewards)]
    outputs = [a.ctypes.data for a in (factor, constant, totals)]
    bands = map(native.address, (above, below))
    _check_left(int(library.qt_chain_banded_totals(*bands, size, width, *inputs, *outputs)))
    return totals


def _check_left(state: int) -> None:
    if state >= 0:
        raise OverflowError(f"elimination underflowed: state {state} is left with probability 0")


def _window(above: Band, below: Band) -> OffDiagonal:
    """A matrix to be read and written within the band only: it overlaps itself elsewhere.

    The rows of the band lie one after the other, i with the entries i-b..i+b, so that (i, j) is at
    2 b i + j + b, as in a matrix with rows of 2 b numbers.
    """
    width, size = above.shape
    rows = np.zeros((size, 2 * width + 1))
    rows[:, width + 1 :], rows[:, :width] = above.T, below[::-1].T
    flat = np.concatenate([rows.ravel(), np.zeros(size)])
    return as_strided(flat[width:], (size, size), (2 * width * flat.itemsize, flat.itemsize))


def _plain_law(above: Band, below: Band) -> Pmf:
    width, size = above.shape
    moves = _window(above, below)
    for n in range(size - 1, 0, -1):
        near = slice(max(n - width, 0), n)
        leaving = moves[n, near].sum()
        _check_left(n if leaving == 0.0 else -1)
        moves[near, n] /= leaving
        moves[near, near] += np.outer(moves[near, n], moves[n, near])
    fraction, exponent = np.ones(size), np.zeros(size, dtype=np.int64)
    for n in range(1, size):
        near = slice(max(n - width, 0), n)
        terms, powers = np.frexp(fraction[near] * moves[near, n])
        powers = np.where(terms > 0, powers + exponent[near], np.iinfo(np.int64).min // 2)
        top = int(powers.max())
        fraction[n], shift = np.frexp(shifted(terms, powers - top).sum())
        exponent[n] = top + int(shift)
    return law_of(fraction, exponent)


def _plain_total_rewards(above: Band, below: Band, exits: PerState, rewards: PerState) -> PerState:
    width, size = above.shape
    moves = _window(above, below)
    exits, totals, leaving = exits.copy(), rewards.copy(), np.empty(size)
    for n in range(size - 1, -1, -1):
        near = slice(max(n - width, 0), n)
        leaving[n] = moves[n, near].sum() + exits[n]
        _check_left(n if leaving[n] == 0.0 else -1)
        share = moves[near, n] / leaving[n]
        moves[near, near] += np.outer(share, moves[n, near])
        exits[near] += share * exits[n]
        totals[near] += share * totals[n]
    for n in range(size):
        near = slice(max(n - width, 0), n)
        totals[n] = (totals[n] + moves[n, near] @ totals[near]) / leaving[n]
    return totals
