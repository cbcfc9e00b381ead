"""Contraction in total variation, and coupling: bounds of mixing that need no spectrum.

    tau(P) = max_ij TV(P_i, P_j) = 1 - min_ij sum_k min(P_ik, P_jk)

    TV(p P, q P) <= tau(P) TV(p, q),    tau(P Q) <= tau(P) tau(Q),    d(t) <= tau(P)**t

[dobrushin1956]. Two copies that move independently until they meet, and together thereafter, give
d(t) <= max_ij P(not met after t) [levin2017, Thm. 5.4] (not verified against the print).
"""

from __future__ import annotations

import numpy as np

from qtheory.chain.forms import AnyChain, dense


def overlap(chain: AnyChain) -> float:
    """1 - tau, the least sum_k min(P_ik, P_jk) over pairs of rows: non-negative terms.

    Relative error below 2 n 2**-53 but for the diagonal's absolute one; n**3 operations.

    >>> from qtheory.chain import MarkovChain
    >>> overlap(MarkovChain(np.array([[0.0, 2.0**-70], [2.0**-70, 0.0]]))) == 2.0**-69
    True
    """
    matrix = dense(chain).transition_matrix
    least = 1.0
    for i in range(len(matrix) - 1):
        least = min(least, float(np.minimum(matrix[i], matrix[i + 1 :]).sum(axis=1).min()))
    return least


def dobrushin_coefficient(chain: AnyChain) -> float:
    """tau, in [0, 1]: how much an iteration contracts total variation at least.

    >>> from qtheory.chain import MarkovChain
    >>> dobrushin_coefficient(MarkovChain(np.array([[0.0, 0.25], [0.5, 0.0]])))
    0.25
    """
    return max(1.0 - overlap(chain), 0.0)


def coupling_bound(chain: AnyChain, iterations: int) -> float:
    """max_ij P(two independent copies from i and j have not met after so many iterations).

    An upper bound of d(t), t the iterations, from sums of non-negative terms; n**3 operations for
    each iteration. 1 for ever where copies may miss each other, as in a periodic chain.
    Raises ValueError if the iterations are negative.

    >>> from qtheory.chain import MarkovChain
    >>> coupling_bound(MarkovChain(np.array([[0.0, 0.25], [0.25, 0.0]])), 2)
    0.390625
    """
    if iterations < 0:
        raise ValueError(f"a number of iterations is >= 0, got {iterations}")
    matrix = dense(chain).transition_matrix
    apart = 1.0 - np.eye(len(matrix))
    for _ in range(iterations):
        apart = matrix @ apart @ matrix.T
        np.fill_diagonal(apart, 0.0)
    return min(float(apart.max()), 1.0)
