"""Rates of a birth-death chain, and the law of a passage as a sum of geometric ones.

Scaled by sqrt(pi), I - P of a birth-death chain is B' B with a bidiagonal B whose entries are
sqrt(p_0), sqrt(q_1), sqrt(p_1), ...: the rates 1 - lambda are squares of its singular values, which
an algorithm for bidiagonal matrices finds to a few roundings each, relative [demmel1990].
Killed at the upper end, B is square, and the last state's p is the way out.

The time from 0 to n of a chain with non-negative eigenvalues is a sum of independent geometric
times, of parameters the rates of the chain killed at n [fill2009, Thm. 1.2]: its generating
function is the product of mu z / (1 - (1 - mu) z). With negative eigenvalues too, as an identity of
generating functions. (References not verified against the print.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain.forms import MAX_DENSE, AnyChain, as_stored
from qtheory.chain.powers import within_range
from qtheory.chain.states import State, state_of
from qtheory.chain.structure import PerLink, probabilities_of_links

Rates = Float[ndarray, "rates"]
"""1 - lambda for eigenvalues lambda, increasing."""

Bidiagonal = Float[ndarray, "n n"]


class Passage(NamedTuple):
    """Mean and variance of a time, and the rates of the geometric times that it is a sum of."""

    mean: float
    variance: float
    rates: Rates


def relaxation_rates(chain: AnyChain) -> Rates:
    """1 - lambda for the eigenvalues of a birth-death chain but the one 1, increasing, (n-1,).

    Relative error below 40 n 2**-53 each, as far as their square roots are above 2**-500 of the
    largest; n**3 operations. Raises ValueError if the chain is not irreducible or has moves
    beyond neighbours.

    >>> from qtheory.chain import MarkovChain
    >>> chain = MarkovChain(np.array([[0.0, 2.0**-100], [3 * 2.0**-100, 0.0]]))
    >>> (relaxation_rates(chain) * 2.0**98).round(14).tolist()
    [1.0]
    """
    up, down = _roots(chain)
    size = len(up) + 1
    matrix = np.zeros((size, size))  # its last row is zero, and so is its least singular value
    matrix[np.arange(size - 1), np.arange(size - 1)] = up
    matrix[np.arange(size - 1), np.arange(1, size)] = down
    return _squares(matrix)[1:]


def passage_law(chain: AnyChain, target: State | None = None) -> Passage:
    """The first time from state 0 to a target, by default the last state.

    Relative error of mean and variance below 40 n 2**-53: sums of non-negative terms 1 / mu and
    (1 - mu) / mu**2, but for terms of mu > 1. Raises ValueError if the target is not above
    0, the chain is not irreducible, or it has moves beyond neighbours; OverflowError if the mean
    or the variance is beyond a float.

    >>> from qtheory.chain import MarkovChain
    >>> passage_law(MarkovChain(np.array([[0.0, 0.25], [0.5, 0.0]])))
    Passage(mean=4.0, variance=12.0, rates=array([0.25]))
    """
    up, down = _roots(chain)
    size = len(up) + 1
    end = size - 1 if target is None else state_of(size, target)
    if end == 0:
        raise ValueError(f"a passage ends above state 0 and on the chain, got {end}")
    matrix = np.diag(up[:end]) + np.diag(down[: end - 1], 1)
    rates = _squares(matrix)
    with np.errstate(over="ignore", divide="ignore"):
        times = 1.0 / rates
        terms = (1.0 - rates) * times * times
    within_range(times, "a mean time")
    within_range(terms, "the variance of a time")
    return Passage(math.fsum(times), math.fsum(terms), rates)


def _roots(chain: AnyChain) -> tuple[PerLink, PerLink]:
    """Square roots of the probabilities up and down."""
    chain = as_stored(chain)
    if chain.size > MAX_DENSE:
        raise ValueError(f"all rates at once need at most {MAX_DENSE} states, got {chain.size}")
    links = probabilities_of_links(chain, "a rate of relaxation")
    if links is None:
        raise ValueError("rates need a birth-death chain, got moves beyond neighbours")
    return np.sqrt(links.up), np.sqrt(links.down)


def _squares(matrix: Bidiagonal) -> Rates:
    """Squared singular values, increasing. LAPACK leaves an upper bidiagonal matrix as it is and,
    vectors not being asked for, takes the quotient-difference algorithm, relatively exact."""
    return np.linalg.svd(matrix, compute_uv=False)[::-1] ** 2
