"""The spectral gap, 1 - max |lambda| over the eigenvalues of P other than one eigenvalue 1.

Rounding hides the slow modes of P, with lambda near 1. They are the large eigenvalues
1 / (1 - lambda) of the deviation matrix

    D = (I - 1 pi) G (I - 1 pi),

with G_ij the mean number of visits to j from i before a fixed state z is visited (0 in row and
column z). G has only positive terms, so a large eigenvalue of D keeps its digits. z is the
most probable state: times until z exceed those of the slowest mode by at most 1 / pi_z <= n, so
the norm of G is not much larger than what is looked for.

Small eigenvalues of D are noise and are not looked at. For n states, s = sin(pi / n), every
d = 1 - lambda has Re d >= s |d| (Dmitriev and Dynkin), so 1 - |lambda| >= s |d| / 2 if |d| <= s:
of these modes only those with |d| <= 2 / s times the least can give the gap. All others have
|d| > s, and P itself gives them.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Complex, Float
from numpy import ndarray

from qtheory.arrays import Pmf, TransitionMatrix
from qtheory.chain.birth_death import BirthDeathChain
from qtheory.chain.birth_death_rates import absolute_gap
from qtheory.chain.classes import holding, is_aperiodic, is_irreducible, period
from qtheory.chain.forms import AnyChain, as_stored, dense
from qtheory.chain.hitting import total_rewards
from qtheory.chain.markov import MarkovChain
from qtheory.chain.powers import beyond_range, within_range
from qtheory.chain.stationary import is_reversible, stationary_distribution

Eigenvalues = Complex[ndarray, "modes"] | Float[ndarray, "modes"]


def spectral_gap(chain: AnyChain) -> float:
    """The absolute spectral gap, in [0, 1]; exactly 0 if the chain is periodic (`period`).

    Of birth and death by `absolute_gap`, in O(n); all else in O(n**3), as a matrix.

    Reversible: relative error below 2 n**4 2**-53 if the gap belongs to a slow mode (lambda > 0),
    observed is a few n 2**-53; absolute error about n 2**-52 if to an oscillating one (lambda < 0).
    Otherwise these are multiplied by the condition number of the eigenvalue.

    Raises ValueError if there is one state only, or more than one recurrent class.

    >>> spectral_gap(MarkovChain(np.array([[0.0, 1e-20], [3e-20, 0.0]])))
    4e-20
    """
    chain = as_stored(chain)
    if chain.size < 2:
        raise ValueError("a spectral gap needs at least two states, got one")
    if isinstance(chain, BirthDeathChain) and min(chain.up.min(), chain.down.min()) > 0:
        return absolute_gap(chain) if holding(chain).any() else 0.0
    law = stationary_distribution(chain)
    if period(chain) > 1:
        return 0.0
    chain = dense(chain)
    symmetric = is_irreducible(chain) and is_reversible(chain)
    times = _eigenvalues(_deviation(chain, law, symmetric=symmetric))
    sine = math.sin(math.pi / chain.size)
    slow = 1.0 / times[np.abs(times) >= max(1 / sine, 0.25 * sine * float(np.abs(times).max()))]
    rates = 1.0 - _eigenvalues(_matrix(chain, symmetric=symmetric))
    fast = rates[np.abs(rates) > 0.5 * sine]
    distance = np.concatenate([slow, fast])
    # 1 - |1 - d| without cancellation at small d
    gaps = (2.0 * distance.real - np.abs(distance) ** 2) / (1.0 + np.abs(1.0 - distance))
    return float(np.clip(gaps.min(), 0.0, 1.0))


def relaxation_time(chain: AnyChain) -> float:
    """1 / gap, in iterations, to the same relative error; infinite if the chain is periodic.

    Raises ValueError as `spectral_gap` does; OverflowError if it is beyond a float.

    >>> relaxation_time([[0.75, 0.25], [0.25, 0.75]])
    2.0
    """
    gap = spectral_gap(chain)
    if gap == 0.0:
        if is_aperiodic(chain):
            raise OverflowError(beyond_range("a relaxation time"))
        return math.inf
    return within_range(float(np.divide(1.0, gap)), "a relaxation time")


def eigenvalues(chain: AnyChain) -> Eigenvalues:
    """All eigenvalues of P, shape (n,), by falling modulus, then falling real part; real ones as
    floats if the chain is reversible.

    Absolute error about n 2**-52 if reversible, else multiplied by the eigenvalue's condition:
    near one, 1 - lambda has no digit left, which `spectral_gap` and, for birth and death,
    `relaxation_rates` have.

    >>> eigenvalues([[0.75, 0.25], [0.25, 0.75]]).round(12).tolist()
    [1.0, 0.5]
    """
    chain = dense(chain)
    symmetric = is_irreducible(chain) and is_reversible(chain)
    found = _eigenvalues(_matrix(chain, symmetric=symmetric))
    return found[np.lexsort((-np.real(found), -np.abs(found).round(12)))]


def _eigenvalues(matrix: TransitionMatrix) -> Eigenvalues:
    if (matrix == matrix.T).all():
        return np.linalg.eigvalsh(matrix)
    return np.linalg.eigvals(matrix)


def _matrix(chain: MarkovChain, *, symmetric: bool) -> TransitionMatrix:
    """P, or the symmetric matrix with its eigenvalues, entries sqrt(P_ij P_ji)."""
    return _symmetrised(chain.transition_matrix) if symmetric else chain.transition_matrix


def _symmetrised(matrix: TransitionMatrix) -> TransitionMatrix:
    root = np.sqrt(matrix)
    return root * root.T


def _deviation(chain: MarkovChain, law: Pmf, *, symmetric: bool) -> TransitionMatrix:
    """D, or the symmetric matrix sqrt(pi_i / pi_j) D_ij with its eigenvalues.

    By detailed balance the symmetric form of G is sqrt(G_ij G_ji), which needs no quotient.
    """
    ground = int(np.argmax(law))
    others = np.delete(np.arange(chain.size), ground)
    moves = chain.off_diagonal
    visits = np.zeros((chain.size, chain.size))
    visits[np.ix_(others, others)] = total_rewards(
        moves[np.ix_(others, others)], moves[others, ground], np.eye(len(others))
    )
    if not symmetric:
        centred = visits - law @ visits
        return centred - np.outer(centred.sum(axis=1), law)
    visits, root = _symmetrised(visits), np.sqrt(law)
    root /= np.linalg.norm(root)
    mean = root @ visits
    centred = visits - np.outer(root, mean) - np.outer(mean, root)
    return centred + (mean @ root) * np.outer(root, root)
