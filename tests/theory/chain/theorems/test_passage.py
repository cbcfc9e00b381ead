"""Rates and passages of birth-death chains: theorems 7 and 9 of papers/chains.md.

u = 2**-53. A rate errs by 40 n u, relative, however small [demmel1990].
"""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qpapers.chains.cases import (
    double_well,
    random_birth_death,
)
from qtheory.chain import (
    MarkovChain,
    passage_law,
    relaxation_rates,
)

# Theorems 7 and 9


@pytest.mark.parametrize(("temperature", "size"), [(0.1, 15), (0.01, 24), (0.004, 15), (0.0015, 9)])
def test_all_rates_to_their_own_relative_error(temperature, size):
    """Against 400 digits, down to 1e-260; 40 n u as promised."""
    chain = double_well(temperature, size)
    found = relaxation_rates(chain)
    with mpmath.workdps(330):
        moves = mpmath.matrix(chain.off_diagonal.tolist())
        matrix = mpmath.matrix(size, size)
        for i in range(size):
            matrix[i, i] = sum(moves[i, j] for j in range(size))
            for j in {i - 1, i + 1} & set(range(size)):
                matrix[i, j] = -mpmath.sqrt(moves[i, j] * moves[j, i])
        rates = sorted(mpmath.eigsy(matrix, eigvals_only=True))[1:]
        worst = max(abs(f / r - 1) for f, r in zip(found, rates, strict=True))
    assert worst <= 40 * size * 2.0**-53


def test_eigenvalues_of_the_matrix_hold_no_small_rate():
    """The mutant: 1 - lambda of a stored matrix is noise below 1e-16."""
    chain = double_well(0.01)
    naive = 1 - np.sort(np.linalg.eigvals(chain.transition_matrix).real)[::-1][1]
    assert relaxation_rates(chain)[0] < 1e-35
    assert abs(naive) > 1e-18


@given(st.integers(0, 10**6), st.integers(2, 9), st.sampled_from([0.5, 3.0, 12.0]))
@examples(40)
def test_mean_and_variance_of_a_passage(exact_rewards, seed, size, decades):
    """E_0[T] and E_0[T**2] = E_0[2 sum of E_(X_t)[T] - T] over the rationals, against sums over
    rates. The variance sums (1 - mu) / mu**2, negative for mu > 1, hence relative to E[T**2]."""
    chain = random_birth_death(seed, size, decades)
    last = size - 1
    mean = exact_rewards(chain.off_diagonal, [last], [Fraction(1)] * size)
    square = exact_rewards(chain.off_diagonal, [last], [2 * m for m in mean])[0] - mean[0]
    found = passage_law(chain)
    assert abs(Fraction(found.mean) / mean[0] - 1) <= 40 * size * 2.0**-53
    error = abs(Fraction(found.variance) - (square - mean[0] ** 2)) / square
    assert error <= 200 * size * 2.0**-53


@given(st.integers(0, 10**6), st.integers(2, 7), st.integers(1, 60))
@examples(30)
def test_a_passage_is_a_sum_of_geometric_times(seed, size, time):
    """The law of T by steps of a lazy chain, whose eigenvalues are >= 0, and by convolution."""
    chain = MarkovChain(0.5 * random_birth_death(seed, size, 1.0).off_diagonal)
    now, matrix = np.eye(size)[0], chain.transition_matrix
    killed = matrix.copy()
    killed[-1] = 0.0
    law = np.zeros(time + 1)
    for t in range(1, time + 1):
        now = now @ killed
        law[t] = now[-1]
    rates = passage_law(chain).rates
    assert (rates < 1).all()
    total = np.eye(1, time + 1)[0]
    for mu in rates:
        geometric = np.concatenate([[0.0], mu * (1 - mu) ** np.arange(time)])
        total = np.convolve(total, geometric)[: time + 1]
    # absolute: sums of at most t n terms <= 1, each within 40 n u of itself and t of its power
    assert np.abs(total - law).max() <= time * size * 80 * 2.0**-53
