"""Where a chain ends, and how long every passage takes.

With transient states a chain ends in one of its recurrent classes C:

    absorption probabilities    P_i(the chain ends in C), for each class
    absorption time             mean number of iterations until it does
    mean first passage time     E_i[T_j], T_j the first visit of j, zero for i = j

The last are those of an irreducible chain, for all pairs at once.
"""

from __future__ import annotations

import numpy as np

from qtheory.arrays import TransitionMatrix
from qtheory.chain.classes import recurrent_classes, require_irreducible
from qtheory.chain.elimination import eliminate
from qtheory.chain.forms import AnyChain, as_stored, dense
from qtheory.chain.hitting import Rewards, hitting_probabilities, hitting_times
from qtheory.chain.markov import OffDiagonal, PerState
from qtheory.chain.powers import beyond_range, within_range
from qtheory.chain.states import mask_of


def absorption_probabilities(chain: AnyChain) -> Rewards:
    """P_i(the chain ends in class C), shape (n, classes), classes as in `recurrent_classes`.

    A recurrent state ends in its own. Errors: those of `hitting_probabilities`, one by one.

    >>> walk = np.diag([0, 0.75, 0.75], 1) + np.diag([0.25, 0.25, 0], -1) + np.diag([1, 0, 0, 1])
    >>> absorption_probabilities(walk).round(6).tolist()
    [[1.0, 0.0], [0.307692, 0.692308], [0.076923, 0.923077], [0.0, 1.0]]
    """
    chain = as_stored(chain)
    columns = [hitting_probabilities(chain, states) for states in recurrent_classes(chain)]
    return np.stack(columns, axis=1)


def absorption_times(chain: AnyChain) -> PerState:
    """Mean number of iterations until a recurrent class is entered, from each state, shape (n,).

    Zero on recurrent states. Errors: those of `hitting_times`.

    >>> absorption_times([[0.5, 0.25, 0.25], [0, 1, 0], [0, 0, 1]]).tolist()
    [2.0, 0.0, 0.0]
    """
    chain = as_stored(chain)
    inside = [state for states in recurrent_classes(chain) for state in states]
    return hitting_times(chain, mask_of(chain.size, inside))


def mean_first_passage_times(chain: AnyChain) -> TransitionMatrix:
    """E_i[T_j] for all pairs, shape (n, n), zero on the diagonal; for one target `hitting_times`.

    By halves: times between the states of one half are those of the chain watched on it, in which a
    visit takes as long as it and the way through the other half do; from there the states of the
    other half follow. Some 2 n**3 operations; each entry has a relative error below 2 n**3 2**-53.
    Raises ValueError if the chain is not irreducible; OverflowError if a time is beyond a float.

    >>> mean_first_passage_times([[0.75, 0.25], [0.5, 0.5]]).tolist()
    [[0.0, 4.0], [2.0, 0.0]]
    """
    chain = dense(chain)
    require_irreducible(chain, "a mean time to every state")
    try:
        times = _between(chain.off_diagonal, np.ones(chain.size))
    except OverflowError as error:
        raise OverflowError(beyond_range("a mean time")) from error
    return within_range(times, "a mean time")


def _between(moves: OffDiagonal, visit: PerState) -> TransitionMatrix:
    """Times between all pairs, a visit of each state taking some time of its own."""
    size = len(moves)
    times = np.zeros((size, size))
    if size == 1:
        return times
    half = np.arange(size) < size // 2
    for kept in (half, ~half):
        order = np.concatenate([np.flatnonzero(kept), np.flatnonzero(~kept)])
        count = int(kept.sum())
        left = moves[np.ix_(order, order)]
        extra = np.column_stack([np.zeros(size), visit[order]])  # no exit, the time of a visit
        eliminate(left, extra, last=count)
        found = np.zeros((size, count))
        found[:count] = _between(left[:count, :count], extra[:count, 1])
        for k in range(count, size):
            found[k] = extra[k, 1] + left[k, :k] @ found[:k]
        times[np.ix_(order, np.flatnonzero(kept))] = found
    return times
