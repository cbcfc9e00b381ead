"""Committors, capacities and escape: the electrical side of a chain.

For disjoint sets A and B, with A before B in time,

    committor    h_i = P_i(T_B < T_A),  1 on B, 0 on A
    capacity     cap(A, B) = sum over a in A of pi_a P_a(T_B < T_A+),  T+ > 0
    reversible:  E_a[T_B] = (1 / cap(a, B)) sum_i pi_i P_i(T_a < T_B)     [bovier2015, Eq. (7.1.41)]
    in general with the committor of the time reversal on the right.

(not verified against the print). For a birth-death chain the last is a sum over links,
E_a[T_b] = sum over a <= k < b of (pi_0 + .. + pi_k) / (pi_k p_k).
"""

from __future__ import annotations

import math

import numpy as np

from qtheory.chain.classes import require_irreducible
from qtheory.chain.forms import AnyChain, as_stored, dense
from qtheory.chain.hitting import hitting_probabilities, hitting_times
from qtheory.chain.markov import PerState
from qtheory.chain.powers import within_range
from qtheory.chain.reversibility import time_reversal
from qtheory.chain.states import State, States, mask_of, state_of
from qtheory.chain.stationary import stationary_distribution


def committor(chain: AnyChain, source: States, target: States) -> PerState:
    """Probability of visiting the target before the source, from each state, shape (n,).

    Relative error below 2 n**3 2**-53 for every entry. One minus it has the same error as
    committor(chain, target, source), if a visit of either is certain.
    Raises ValueError if a set is empty or the sets meet.

    >>> from qtheory.chain import MarkovChain
    >>> walk = MarkovChain(np.diag(np.full(3, 0.25), 1) + np.diag(np.full(3, 0.25), -1))
    >>> committor(walk, [0], [3]).round(6).tolist()
    [0.0, 0.333333, 0.666667, 1.0]
    """
    chain = as_stored(chain)
    avoid = mask_of(chain.size, source)
    if not avoid.any():
        raise ValueError("a committor needs a source, got none")
    return hitting_probabilities(chain, target, avoiding=avoid)


def capacity(chain: AnyChain, source: States, target: States) -> float:
    """cap(A, B): stationary probability of starting a way from A to B, for each iteration.

    A sum of non-negative terms, relative error below 4 n**3 2**-53. The same from B to A.
    Raises ValueError as `committor` does, and if the chain is not irreducible.

    >>> from qtheory.chain import MarkovChain
    >>> walk = MarkovChain(np.diag(np.full(3, 0.25), 1) + np.diag(np.full(3, 0.25), -1))
    >>> round(capacity(walk, [0], [3]) * 48, 12)  # three resistances of 4 * 4
    1.0
    """
    chain = dense(chain)
    require_irreducible(chain, "a capacity")
    start = mask_of(chain.size, source)
    reach = committor(chain, start, target)
    law = stationary_distribution(chain)
    return math.fsum((law[:, None] * chain.off_diagonal * reach)[start].ravel())


def passage_time(chain: AnyChain, source: State, target: State) -> float:
    """E_source[T_target] from the capacity and the reversed chain's committor.

    Another way to `hitting_times`, for comparison: the two share a stationary law only.
    Raises ValueError as `capacity` does, OverflowError if the law underflows.

    >>> from qtheory.chain import MarkovChain
    >>> walk = MarkovChain(np.diag(np.full(3, 0.25), 1) + np.diag(np.full(3, 0.25), -1))
    >>> round(passage_time(walk, 0, 3), 9)
    24.0
    """
    chain = dense(chain)
    start, end = state_of(chain.size, source), state_of(chain.size, target)
    flow = capacity(chain, start, end)
    before = committor(time_reversal(chain), end, start)
    time = np.divide(math.fsum(stationary_distribution(chain) * before), flow)
    return within_range(float(time), "a mean time")


def escape_time(chain: AnyChain, inside: States) -> PerState:
    """Mean number of iterations until the chain is first outside a set, from each state, (n,).

    Zero outside; infinite where the chain may stay for ever. Relative error 2 n**3 2**-53.
    Raises ValueError if no state is left outside.

    >>> from qtheory.chain import MarkovChain
    >>> walk = MarkovChain(np.diag(np.full(3, 0.25), 1) + np.diag(np.full(3, 0.25), -1))
    >>> escape_time(walk, [0, 1]).tolist()
    [12.0, 8.0, 0.0, 0.0]
    """
    chain = as_stored(chain)
    outside = ~mask_of(chain.size, inside)
    if not outside.any():
        raise ValueError(f"an escape leaves a set for other states, got all {chain.size} states")
    return hitting_times(chain, outside)
