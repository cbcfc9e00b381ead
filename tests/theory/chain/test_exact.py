"""Exact answers: each solver against an elimination of its own, and against definitions."""

import time
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qtheory.chain import (
    MarkovChain,
    exact_hitting_times,
    exact_stationary_distribution,
    stationary_distribution,
    symbolic_stationary_distribution,
)
from qtheory.chain.exact import flint_available

SOLVERS = ["plain", "sympy", *(["flint"] if flint_available() else [])]


@st.composite
def moves(draw):
    """Irreducible: neighbours are linked, by floats down to 2**-60; other moves may be 0."""
    size = draw(st.integers(1, 6))
    matrix = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            if i != j and (abs(i - j) == 1 or draw(st.booleans())):
                mantissa, exponent = draw(st.integers(1, 1000)), draw(st.integers(0, 60))
                matrix[i, j] = mantissa / 1000 / size * 2.0**-exponent
    return matrix


@pytest.mark.parametrize("solver", SOLVERS)
@given(matrix=moves())
@examples(40)
def test_the_law_is_stationary_without_any_error(solver, exact_stationary, matrix):
    law = exact_stationary_distribution(MarkovChain(matrix), solver)
    assert law == exact_stationary(matrix)
    flow = [[x * Fraction(float(p)) for p in row] for x, row in zip(law, matrix, strict=True)]
    assert sum(law) == 1
    assert [sum(row) for row in flow] == [sum(column) for column in zip(*flow, strict=True)]


@pytest.mark.parametrize("solver", SOLVERS)
@given(matrix=moves(), data=st.data())
@examples(40)
def test_hitting_times_are_those_of_their_equations(solver, exact_rewards, matrix, data):
    target = data.draw(st.integers(0, len(matrix) - 1))
    times = exact_hitting_times(MarkovChain(matrix), [target], solver)
    rest = [t for state, t in enumerate(times) if state != target]
    assert times[target] == 0
    assert rest == exact_rewards(matrix, [target], [Fraction(1)] * len(matrix))


@pytest.mark.parametrize("solver", SOLVERS)
def test_transient_states_have_no_share_and_fractions_may_be_given(solver):
    third = Fraction(1, 3)
    chain = [[0, third, third], [0, 0, third], [0, Fraction(2, 3), 0]]
    assert exact_stationary_distribution(chain, solver) == [0, Fraction(2, 3), third]


def test_every_digit_of_the_float_law_is_right(exact_stationary):
    """60 states at couplings of 1e-12, beyond the sizes of the other tests; the bound on
    elimination is that of test_chain.py, 2 n**3 2**-53 for n = 60 states."""
    rng = np.random.Generator(np.random.PCG64(5))
    matrix = rng.random((60, 60)) / 60
    matrix[:30, 30:] *= 1e-12
    matrix[30:, :30] *= 1e-12
    np.fill_diagonal(matrix, 0.0)
    exact = exact_stationary_distribution(MarkovChain(matrix))
    found = stationary_distribution(MarkovChain(matrix))
    errors = [abs(Fraction(float(f)) / e - 1) for f, e in zip(found, exact, strict=True)]
    assert max(errors) <= 2 * 60**3 * 2.0**-53


@pytest.mark.skipif(not flint_available(), reason="python-flint is not installed")
def test_five_hundred_dense_states_are_solved_in_seconds():
    """Two seconds on an idle machine; 20-bit entries. A wrong solver would be noticed: the law is
    checked against the flow through one state, over the rationals."""
    rng = np.random.Generator(np.random.PCG64(1))
    matrix = rng.integers(1, 2**20, (500, 500)) / 2**29
    np.fill_diagonal(matrix, 0.0)
    start = time.perf_counter()
    law = exact_stationary_distribution(MarkovChain(matrix), "flint")
    seconds = time.perf_counter() - start
    out = law[7] * sum(Fraction(float(p)) for p in matrix[7])
    assert sum(x * Fraction(float(p)) for x, p in zip(law, matrix[:, 7], strict=True)) == out
    assert seconds < 20


def test_stochastic_rounding_forgets_its_learning_rate_in_symbols():
    """Moves up r f_k and down r g_k, r the learning rate: no r is left in the law [li2017]."""
    r, *rates = sympy.symbols("r f0 f1 f2 g1 g2 g3", positive=True)
    up, down = rates[:3], rates[3:]
    matrix = sympy.zeros(4, 4)
    for k in range(3):
        matrix[k, k + 1], matrix[k + 1, k] = r * up[k], r * down[k]
    law = symbolic_stationary_distribution(matrix)
    assert all(not share.has(r) for share in law)
    for k in range(3):
        assert sympy.simplify(law[k + 1] / law[k] - up[k] / down[k]) == 0


@pytest.mark.parametrize(
    ("chain", "rule"),
    [
        ([[0, Fraction(1, 2)]], "square"),
        ([], "square"),
        ([[0, Fraction(3, 2)], [1, 0]], "at most one, got 3/2"),
        ([[0, Fraction(-1, 2)], [1, 0]], ">= 0, got -1/2"),
        ([[0, float("nan")], [1, 0]], "finite and >= 0, got nan"),
        ([[Fraction(1, 2), 0], [1, 0]], "diagonal .* got 1/2 at 0"),
        ([[0, 0], [0, 0]], r"one recurrent class, got 2: \[0\], \[1\]"),
    ],
)
def test_bad_chains_are_refused(chain, rule):
    with pytest.raises(ValueError, match=rule):
        exact_stationary_distribution(chain)


def test_targets_that_may_never_be_visited_are_named():
    chain = [[0, Fraction(1, 2), 0], [0, 0, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match=r"from the states \[1\]"):
        exact_hitting_times([[0, 0.5, 0], [0, 0, 0], [0, 0.5, 0]], [0, 2])
    with pytest.raises(ValueError, match="at least one target"):
        exact_hitting_times(chain, [])


@pytest.mark.skipif(flint_available(), reason="python-flint is installed")
def test_a_missing_solver_says_what_to_install():
    with pytest.raises(ModuleNotFoundError, match="python-flint"):
        exact_stationary_distribution([[0, 0.5], [0.5, 0]], "flint")


def test_a_symbolic_chain_has_an_empty_diagonal():
    with pytest.raises(ValueError, match="written as zero, got 1 at 0"):
        symbolic_stationary_distribution(sympy.eye(2))
