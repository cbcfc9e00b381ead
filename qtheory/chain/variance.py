"""Sums along a chain: Poisson's equation and the asymptotic variance.

For f with mean m under the stationary law, Poisson's equation (I - P) h = f - m has a solution,
unique up to a constant, and

    n Var(mean of n values of f) -> sigma**2 = sum over all lags of the autocovariance
        = <f - m, (2 Z - I) (f - m)>_pi,    Z = (I - P + 1 pi)**-1    [peskun1973, Eq. (1.5)]
        = 2 <f - m, h>_pi - <f - m, f - m>_pi

(not verified against the print). Any h serves, as f - m has mean zero. A sum of squares of
h_j - (P h)_i says the same without a negative term, but differences of h within a well of a slow
chain are all rounding, and their squares would be large.
"""

from __future__ import annotations

import math

import numpy as np

from qtheory.arrays import Pmf, TransitionMatrix
from qtheory.chain.classes import require_irreducible
from qtheory.chain.forms import AnyChain, dense
from qtheory.chain.hitting import total_rewards
from qtheory.chain.markov import MarkovChain, PerState
from qtheory.chain.powers import beyond_range
from qtheory.chain.stationary import stationary_distribution


def poisson_solution(chain: AnyChain, values: PerState) -> PerState:
    """h with (I - P) h = f - mean, zero in the most probable state z, shape (n,).

    h_i = E_i[sum of f - mean before z], the positive and the negative part summed apart and each
    to 2 n**3 2**-53; the error is that part of their sum, and where both are much larger
    than their difference digits are lost that f, a rounded number, does not define either.
    Raises ValueError if the chain is not irreducible, or a value is missing or not finite;
    OverflowError if a part is beyond a float.

    >>> chain = MarkovChain(np.array([[0.0, 0.25], [0.25, 0.0]]))
    >>> poisson_solution(chain, np.array([0.0, 2.0])).tolist()
    [0.0, 4.0]
    """
    chain, law = _with_law(chain, values)
    centred = _centred(law, values)
    ground = int(np.argmax(law))
    others = np.delete(np.arange(chain.size), ground)
    reward = centred[others]
    parts = np.column_stack([np.maximum(reward, 0.0), np.maximum(-reward, 0.0)])
    moves = chain.off_diagonal
    totals = total_rewards(moves[np.ix_(others, others)], moves[others, ground], parts)
    solution = np.zeros(chain.size)
    solution[others] = totals[:, 0] - totals[:, 1]
    if not np.isfinite(solution).all():
        raise OverflowError(beyond_range("a sum along the chain"))
    return solution


def asymptotic_variance(chain: AnyChain, values: PerState) -> float:
    """sigma**2 of f, the limit of n times the variance of the mean of n values.

    An absolute error below (4 n**3 + 32) 2**-53 of sum pi abs(f - m) (2 abs(h) + abs(f - m)),
    where h counts its positive and its negative part. A slow chain's terms are of one sign, and
    that error a relative one. For a periodic chain it is the limit, too.
    Raises ValueError as `poisson_solution` does.

    >>> chain = MarkovChain(np.array([[0.0, 0.25], [0.25, 0.0]]))  # (1 + lambda) / (1 - lambda)
    >>> asymptotic_variance(chain, np.array([-1.0, 1.0]))
    3.0
    """
    chain, law = _with_law(chain, values)
    solution, centred = poisson_solution(chain, values), _centred(law, values)
    return max(math.fsum(law * centred * (2.0 * solution - centred)), 0.0)


def autocorrelation_time(chain: AnyChain, values: PerState) -> float:
    """sigma**2 over the variance of f: how many values count as one independent one.

    Raises ValueError if f has no variance, and as `poisson_solution` does.
    """
    chain, law = _with_law(chain, values)
    variance = math.fsum(law * _centred(law, values) ** 2)
    if variance == 0.0:
        raise ValueError("an autocorrelation time needs a variance, got a constant")
    return asymptotic_variance(chain, values) / variance


def deviation_matrix(chain: AnyChain) -> TransitionMatrix:
    """D = sum over t of (P**t - 1 pi) = Z - 1 pi, shape (n, n); rows sum to zero.

    D = (I - 1 pi) G (I - 1 pi) with the mean visits G before the most probable state: G has
    relative error 2 n**3 2**-53, D that of the largest entry of its row and column in G.
    D f solves Poisson's equation with mean zero. Raises ValueError if the chain is not irreducible.
    """
    chain = dense(chain)
    require_irreducible(chain, "a deviation matrix")
    law = stationary_distribution(chain)
    ground = int(np.argmax(law))
    others = np.delete(np.arange(chain.size), ground)
    moves, visits = chain.off_diagonal, np.zeros((chain.size, chain.size))
    visits[np.ix_(others, others)] = total_rewards(
        moves[np.ix_(others, others)], moves[others, ground], np.eye(len(others))
    )
    centred = visits - law @ visits
    return centred - np.outer(centred.sum(axis=1), law)


def fundamental_matrix(chain: AnyChain) -> TransitionMatrix:
    """Z = (I - P + 1 pi)**-1 = D + 1 pi, shape (n, n); rows sum to one.

    >>> chain = MarkovChain(np.array([[0.0, 0.5], [0.5, 0.0]]))
    >>> fundamental_matrix(chain).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    chain = dense(chain)
    return deviation_matrix(chain) + stationary_distribution(chain)


def _centred(law: Pmf, values: PerState) -> PerState:
    return values - math.fsum(law * values)


def _with_law(chain: AnyChain, values: PerState) -> tuple[MarkovChain, Pmf]:
    chain = dense(chain)
    require_irreducible(chain, "a sum along a chain")
    if values.shape != (chain.size,):
        raise ValueError(f"{chain.size} states need as many values, got {values.size}")
    if not np.isfinite(values).all():
        raise ValueError("values are finite, got NaN or infinity")
    return chain, stationary_distribution(chain)
