"""The stationary law, pi P = pi, by elimination without subtraction (GTH) [grassmann1985].

States are taken out one after the other. When state n goes, the chain watched on the others has
the moves P_ij + P_in P_nj / S_n, where S_n, the probability of leaving n for one of them, is
a sum and never 1 - P_nn. Going back, pi_n = (sum of pi_j P_jn over j < n) / S_n.
"""

from __future__ import annotations

import math

import numpy as np

from qtheory.arrays import Pmf
from qtheory.chain.banded import BandedChain, banded_law, has_all_neighbours
from qtheory.chain.banded import restricted as restricted_bands
from qtheory.chain.birth_death import BirthDeathChain, birth_death_law
from qtheory.chain.classes import listed, recurrent_classes
from qtheory.chain.elimination import eliminate
from qtheory.chain.evolution import evolve
from qtheory.chain.forms import AnyChain, as_stored
from qtheory.chain.markov import MarkovChain, OffDiagonal, PerState
from qtheory.chain.powers import law_of, shifted
from qtheory.chain.sparse import SparseChain, restricted, sparse_law
from qtheory.chain.states import mask_of


def stationary_distribution(chain: AnyChain) -> Pmf:
    """The stationary law, shape (n,), zero on transient states.

    Each entry has a relative error below 2 n**3 2**-53, whatever the probabilities; observed is
    a few 2**-53. Entries below 2**-1022 of the largest lose digits or vanish. Other forms have
    bounds of their own: `birth_death_law`, `banded_law`, and `SparseChain.cost`.

    Raises ValueError if there is more than one recurrent class, as the law is then not unique;
    OverflowError if probabilities are so small that elimination underflows; MemoryError if that of
    a sparse chain would need more than its `memory`.

    >>> stationary_distribution([[0.9, 0.1], [0.3, 0.7]]).round(15).tolist()
    [0.75, 0.25]
    >>> chain = MarkovChain(np.array([[0.0, 1e-20], [3e-20, 0.0]]))
    >>> stationary_distribution(chain).round(15).tolist()
    [0.75, 0.25]
    """
    chain = as_stored(chain)
    if isinstance(chain, BirthDeathChain):
        return birth_death_law(chain)
    if not isinstance(chain, SparseChain) and has_all_neighbours(chain):
        whole = isinstance(chain, BandedChain)
        return banded_law(chain.above, chain.below) if whole else _gth(chain.off_diagonal)
    classes = recurrent_classes(chain)
    if len(classes) > 1:
        raise ValueError(
            f"a stationary law is unique if there is one recurrent class, got {len(classes)}: "
            + listed(classes)
        )
    states = np.array(classes[0])
    law = np.zeros(chain.size)
    if isinstance(chain, BandedChain):
        law[states] = banded_law(*restricted_bands(chain, states))
    elif isinstance(chain, SparseChain):
        law[states] = sparse_law(restricted(chain, mask_of(chain.size, states)))
    else:
        law[states] = _gth(chain.off_diagonal[np.ix_(states, states)])
    return law


def _gth(moves: OffDiagonal) -> Pmf:
    """Stationary law of an irreducible chain.

    In the order given, or, where that underflows because a common state is taken out before a very
    rare one, by falling probability after 2**30 iterations from anywhere: rare states go first.
    """
    try:
        return _in_order(moves)
    except OverflowError:
        anywhere = np.full(len(moves), 1.0 / len(moves))
        order = np.argsort(-evolve(MarkovChain(moves), anywhere, 2**30), kind="stable")
        law = np.zeros(len(moves))
        law[order] = _in_order(moves[np.ix_(order, order)])
        return law


def _in_order(moves: OffDiagonal) -> Pmf:
    entering = moves.copy(order="C")
    leaving = eliminate(entering, np.zeros((len(moves), 1)), last=1)
    return _normalised_products(entering, leaving)


def _normalised_products(entering: OffDiagonal, leaving: PerState) -> Pmf:
    """x_0 = 1, x_n = (sum of x_j E_jn over j < n) / S_n, divided by their sum.

    Each x is a fraction times a power of two, so that a law may fall by more than a float's range
    between two peaks.
    """
    size = len(entering)
    fraction, exponent = np.ones(size), np.zeros(size, dtype=np.int64)
    for n in range(1, size):
        terms, powers = np.frexp(fraction[:n] * entering[:n, n])
        powers = np.where(terms > 0, powers + exponent[:n], np.iinfo(np.int64).min // 2)
        top = int(powers.max())
        divisor, power = math.frexp(leaving[n])
        fraction[n], shift = math.frexp(shifted(terms, powers - top).sum() / divisor)
        exponent[n] = top + shift - power
    return law_of(fraction, exponent)


def is_reversible(chain: AnyChain) -> bool:
    """Whether pi_i P_ij = pi_j P_ji for the unique stationary law pi (detailed balance).

    Flows count as equal within 4 n**3 2**-53 of themselves plus 8 roundings, what two entries of
    pi and the rounding of P allow; of a sparse chain within twice its error. Birth and death
    always is. Raises as `stationary_distribution` does.
    """
    chain = as_stored(chain)
    law = stationary_distribution(chain)
    if isinstance(chain, BirthDeathChain):
        return law.size > 0  # detailed balance is how it is found
    if isinstance(chain, SparseChain):
        flow = chain.off_diagonal.multiply(law[:, None]).tocsr()
        back = flow.T.tocsr()
        error = 2.0 * chain.cost().error + 8.0 * 2.0**-53
        return not (abs(flow - back) > error * flow.maximum(back)).nnz
    if isinstance(chain, BandedChain):
        chain = chain.to_dense()
    flow = law[:, None] * chain.off_diagonal
    error = (4.0 * chain.size**3 + 8.0) * 2.0**-53
    return bool((np.abs(flow - flow.T) <= error * np.maximum(flow, flow.T)).all())
