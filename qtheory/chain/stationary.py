"""The stationary law, pi P = pi, by elimination without subtraction (GTH) [grassmann1985].

States are taken out one after the other. When state n goes, the chain watched on the others has
the moves P_ij + P_in P_nj / S_n, where S_n, the probability of leaving n for one of them, is
a sum and never 1 - P_nn. Going back, pi_n = (sum of pi_j P_jn over j < n) / S_n.
"""

from __future__ import annotations

import math

import numpy as np

from qtheory.arrays import Pmf
from qtheory.chain.markov import MarkovChain, OffDiagonal, recurrent_classes


def stationary_distribution(chain: MarkovChain) -> Pmf:
    """The stationary law, shape (n,), zero on transient states.

    Each entry has a relative error below 2 n**3 2**-53, whatever the probabilities; observed is
    a few 2**-53. Entries below 2**-1022 of the largest lose digits or vanish.

    Raises ValueError if there is more than one recurrent class, as the law is then not unique;
    OverflowError if probabilities are so small that elimination underflows.

    >>> chain = MarkovChain(np.array([[0.0, 1e-20], [3e-20, 0.0]]))
    >>> stationary_distribution(chain).round(15).tolist()
    [0.75, 0.25]
    """
    classes = recurrent_classes(chain)
    if len(classes) > 1:
        raise ValueError(
            f"a stationary law is unique if there is one recurrent class, got {len(classes)}: "
            + ", ".join(str(states) for states in classes)
        )
    states = classes[0]
    law = np.zeros(chain.size)
    law[states] = _gth(chain.off_diagonal[np.ix_(states, states)])
    return law


def _gth(moves: OffDiagonal) -> Pmf:
    """Stationary law of an irreducible chain. The diagonal fills with numbers nobody reads."""
    entering = moves.copy()
    for n in range(len(moves) - 1, 0, -1):
        leaving = entering[n, :n].sum()
        if leaving == 0.0:
            raise OverflowError(f"elimination underflowed: state {n} is left with probability 0")
        entering[:n, n] /= leaving
        entering[:n, :n] += np.outer(entering[:n, n], entering[n, :n])
    return _normalised_products(entering)


def _normalised_products(entering: OffDiagonal) -> Pmf:
    """x_0 = 1, x_n = sum of x_j E_jn over j < n, divided by their sum.

    Each x is a fraction times a power of two, so that a law may fall by more than a float's range
    between two peaks.
    """
    size = len(entering)
    fraction, exponent = np.ones(size), np.zeros(size, dtype=np.int64)
    for n in range(1, size):
        terms, powers = np.frexp(fraction[:n] * entering[:n, n])
        powers = np.where(terms > 0, powers + exponent[:n], np.iinfo(np.int64).min // 2)
        top = int(powers.max())
        fraction[n], shift = math.frexp(_shifted(terms, powers - top).sum())
        exponent[n] = top + shift
    law = _shifted(fraction, exponent - exponent.max())
    return law / law.sum()


def _shifted(fraction: Pmf, powers: np.ndarray) -> Pmf:
    return np.ldexp(fraction, np.maximum(powers, -2000).astype(np.int32))


def is_reversible(chain: MarkovChain) -> bool:
    """Whether pi_i P_ij = pi_j P_ji for the unique stationary law pi (detailed balance).

    Flows count as equal within 4 n**3 2**-53 of themselves plus 8 roundings, what two entries of
    pi and the rounding of P allow. Raises as `stationary_distribution` does.
    """
    flow = stationary_distribution(chain)[:, None] * chain.off_diagonal
    error = (4.0 * chain.size**3 + 8.0) * 2.0**-53
    return bool((np.abs(flow - flow.T) <= error * np.maximum(flow, flow.T)).all())
