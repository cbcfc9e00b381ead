"""Laws as they change: many iterations of one chain, or a schedule of chains.

A chain whose probabilities off the diagonal are f_t times fixed ones, as with a learning rate or
a temperature that changes in time, is one chain with a factor for each iteration:

    x_k <- x_k (1 - f (up_k + down_(k-1))) + f (x_(k-1) up_(k-1) + x_(k+1) down_k).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain import native
from qtheory.chain.banded import BandedChain
from qtheory.chain.birth_death import BirthDeathChain
from qtheory.chain.forms import AnyChain, as_stored, dense
from qtheory.chain.markov import FiniteChain, MarkovChain, PerState
from qtheory.chain.sparse import SparseChain

Factors = Float[ndarray, "_iterations"]
"""Factors of the probabilities off the diagonal, one for each iteration."""


def evolve(chain: AnyChain, initial: Pmf, iterations: int) -> Pmf:
    """The law after so many iterations, initial P**iterations, shape (n,).

    By repeated squaring. Each square keeps the diagonal implied, so weak links survive any number
    of iterations and no probability leaks. A chain stored by its bands or moves is stepped instead,
    where that is less work, with an error of the law below 6 m 2**-53 an iteration, m being the
    bandwidth or the most moves of a state.
    Raises ValueError if the iterations are negative, or `initial` is not a law on the states.

    >>> flip = MarkovChain(np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> evolve(flip, np.array([1.0, 0.0]), 10**15 + 1).tolist()
    [0.0, 1.0]
    """
    if iterations < 0:
        raise ValueError(f"a number of iterations is >= 0, got {iterations}")
    chain = as_stored(chain)
    now = _checked_law(chain, initial)
    if not isinstance(chain, MarkovChain):
        squarings = chain.size**2 * iterations.bit_length()
        if iterations <= squarings:
            return _stepped(chain, now, iterations)
        chain = dense(chain)
    while iterations:
        if iterations & 1:
            now = now * chain.staying + now @ chain.off_diagonal
        iterations >>= 1
        if iterations:
            chain = _squared(chain)
    return now


def _checked_law(chain: FiniteChain, initial: Pmf) -> Pmf:
    """A copy of a law on the states."""
    now = np.array(initial, dtype=np.float64)
    if now.shape != (chain.size,):
        raise ValueError(f"a law has one entry for each of {chain.size} states, got {now.shape}")
    if not ((now >= 0).all() and abs(now.sum() - 1.0) <= (chain.size + 1) * 2.0**-52):
        raise ValueError(f"a law is >= 0 and sums to one, got a sum of {float(now.sum())!r}")
    return now


def _squared(chain: MarkovChain) -> MarkovChain:
    """Two iterations as one. Off the diagonal: stay then move, move then stay, or move twice."""
    moves, stay = chain.off_diagonal, chain.staying
    twice = moves @ moves + moves * (stay[:, None] + stay[None, :])
    np.fill_diagonal(twice, 0.0)
    return MarkovChain(twice / np.maximum(twice.sum(axis=1, keepdims=True), 1.0))


def _stepped(chain: BirthDeathChain | BandedChain | SparseChain, law: Pmf, iterations: int) -> Pmf:
    if isinstance(chain, BirthDeathChain):
        return propagate([(chain, np.ones(iterations))], law)
    staying = chain.staying
    if isinstance(chain, SparseChain):
        into_each = chain.off_diagonal.T.tocsr()
        for _ in range(iterations):
            law = law * staying + into_each @ law
        return law
    for _ in range(iterations):
        into = law * staying
        for d in range(1, min(chain.bandwidth, chain.size - 1) + 1):
            into[d:] += law[:-d] * chain.above[d - 1, :-d]
            into[:-d] += law[d:] * chain.below[d - 1, d:]
        law = into
    return law


def propagate(schedule: Iterable[tuple[BirthDeathChain, Factors]], initial: Pmf) -> Pmf:
    """The law after a schedule of chains that all have n states, shape (n,).

    schedule: pairs of a chain and factors f_1, f_2, ...: for each factor one iteration of the
    chain with its probabilities off the diagonal multiplied by it. It is read as it is used, so
    a schedule may be as long as one likes.

    Terms are non-negative: relative to its own size each entry errs by at most 6 roundings an
    iteration while no state is left with a probability above 1/2; in total variation the law
    errs by at most 6 2**-53 an iteration whatever the probabilities. Compiled and plain loops
    agree in every bit.

    Raises ValueError if a chain has other states than `initial`, a factor is negative or not
    finite, or makes the probability of leaving a state exceed one by four roundings.

    >>> chain = BirthDeathChain(np.array([0.5]), np.array([0.5]))
    >>> propagate([(chain, np.array([1.0, 0.5])), (chain, np.array([0.25]))], np.array([1.0, 0.0]))
    array([0.5, 0.5])
    """
    law = np.array(initial, dtype=np.float64)
    first = True
    for chain, factors in schedule:
        if first:
            law, first = _checked_law(chain, law), False
        if chain.size != len(law):
            raise ValueError(f"chains of a schedule have {len(law)} states, got {chain.size}")
        leaving = np.zeros(chain.size)
        leaving[:-1] += chain.up
        leaving[1:] += chain.down
        factors = np.ascontiguousarray(factors, dtype=np.float64)
        _check_factors(factors, float(leaving.max()))
        law = _propagated(chain, leaving, factors, law)
    return law


def _check_factors(factors: Factors, most: float) -> None:
    least, largest = factors.min(initial=0.0), factors.max(initial=0.0)
    if not (least >= 0 and largest < np.inf):
        raise ValueError(f"factors are finite and >= 0, got {least} to {largest}")
    if largest * most > 1.0 + 2.0**-50:
        raise ValueError(
            f"the probability of leaving a state is at most one, got {float(largest * most)!r}"
        )


def _propagated(chain: BirthDeathChain, leaving: PerState, factors: Factors, law: Pmf) -> Pmf:
    library = native.library()
    if library is None:
        for factor in factors.tolist():
            into = np.zeros(len(law))
            into[1:] += law[:-1] * chain.up
            into[:-1] += law[1:] * chain.down
            law = law * (1.0 - factor * leaving) + factor * into
        return law
    law, room = law.copy(), np.empty(len(law))
    inputs = [native.address(a) for a in (chain.up, chain.down, leaving)]
    library.qt_chain_birth_death_propagate(
        *inputs, len(law), native.address(factors), len(factors), law.ctypes.data, room.ctypes.data
    )
    return law
