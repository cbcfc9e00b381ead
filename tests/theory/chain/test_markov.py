"""Chains against the rationals: no digit is lost however weak the links are.

The bound 2 n**3 2**-53 (u = 2**-53): eliminating a state from k + 1 perturbs each remaining entry
by at most (k + 3) u, relative. By the Markov chain tree theorem the law is a ratio of sums of
products of k - 1 entries, so it moves by 2 (k - 1) times that; summed over k = 1..n-1 this is
(2/3) n**3 u and lower terms, and substitution adds less than n**2 u. For n <= 4 the lower terms
count; 2 n**3 + 16 covers them. Hitting times are such ratios as well.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rationals import relative_error

from qtheory.chain import (
    MarkovChain,
    communication_classes,
    evolve,
    hitting_probabilities,
    hitting_times,
    is_irreducible,
    is_reversible,
    recurrent_classes,
    stationary_distribution,
)


def bound(size: int) -> float:
    return (2 * size**3 + 16) * 2.0**-53


@st.composite
def moves(draw, min_size=2, max_size=6):
    """Irreducible chains: neighbours are linked, by links down to 2**-60; other moves may be 0."""
    size = draw(st.integers(min_size, max_size))
    matrix = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            linked = abs(i - j) == 1
            if i != j and (linked or draw(st.booleans())):
                mantissa, exponent = draw(st.integers(1, 1000)), draw(st.integers(0, 60))
                matrix[i, j] = mantissa / 1000 / size * 2.0**-exponent
    return matrix


def blocks(size: int, count: int, coupling: float) -> np.ndarray:
    """Dense blocks that are all but uncoupled: the case in which a stored diagonal fails."""
    rng = np.random.Generator(np.random.PCG64(7))
    matrix = rng.uniform(0.1, 1.0, (size * count, size * count)) / (2 * size * count)
    apart = np.arange(size * count) // size
    matrix[apart[:, None] != apart[None, :]] *= coupling
    np.fill_diagonal(matrix, 0.0)
    return matrix


@given(moves())
def test_the_stationary_law_is_that_of_the_rationals(exact_stationary, matrix):
    found = stationary_distribution(MarkovChain(matrix))
    assert relative_error(found, exact_stationary(matrix)) <= bound(len(matrix))


@given(moves())
def test_the_stationary_law_is_stationary(matrix):
    """pi P = pi: the sum of an entry has at most n terms, each of relative error bound + 3 u."""
    chain = MarkovChain(matrix)
    law = stationary_distribution(chain)
    assert np.abs(law @ chain.transition_matrix - law).max() <= 2 * bound(chain.size)
    assert abs(law.sum() - 1) <= chain.size * 2.0**-53


@pytest.mark.parametrize("coupling", [1e-6, 1e-12, 1e-100])
def test_weak_couplings_cost_nothing(exact_stationary, coupling):
    matrix = blocks(4, 3, coupling)
    exact = exact_stationary(matrix)
    assert relative_error(stationary_distribution(MarkovChain(matrix)), exact) <= bound(12)


def elimination_with_a_stored_diagonal(matrix):
    """The mutant: S_n = 1 - P_nn. What the tests above are for."""
    entering = MarkovChain(matrix).transition_matrix
    law = np.ones(len(matrix))
    for n in range(len(matrix) - 1, 0, -1):
        entering[:n, n] /= 1 - entering[n, n]
        entering[:n, :n] += np.outer(entering[:n, n], entering[n, :n])
    for n in range(1, len(matrix)):
        law[n] = law[:n] @ entering[:n, n]
    return law / law.sum()


def left_eigenvector(matrix):
    values, vectors = np.linalg.eig(MarkovChain(matrix).transition_matrix.T)
    law = np.abs(vectors[:, np.argmin(np.abs(values - 1))].real)
    return law / law.sum()


@pytest.mark.parametrize("wrong", [elimination_with_a_stored_diagonal, left_eigenvector])
def test_these_tests_bite(exact_stationary, wrong):
    """At couplings of 1e-12 subtraction leaves 5 digits or fewer; the bound is 12 digits."""
    matrix = blocks(4, 3, 1e-12)
    assert relative_error(wrong(matrix), exact_stationary(matrix)) > 1e6 * bound(12) > 1e-7


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=30))
def test_birth_and_death_in_closed_form(rates):
    """pi_(k+1) / pi_k = p_k / q_(k+1), probabilities in thousandths; 1000 p is not rounded when
    the ratio is taken of the whole numbers, so each ratio errs by two roundings of p and q."""
    size = len(rates) + 1
    matrix = np.zeros((size, size))
    for k, (up, down) in enumerate(rates):
        matrix[k, k + 1], matrix[k + 1, k] = up / 1000, down / 1000
    exact = [Fraction(1)]
    for up, down in rates:
        exact.append(exact[-1] * Fraction(up, down))
    found = stationary_distribution(MarkovChain(matrix))
    assert relative_error(found, exact, sum(exact)) <= bound(size) + 4 * size * 2.0**-53


def test_a_law_may_fall_below_a_floats_range_between_two_peaks():
    """pi falls by 2**-1500 and rises again: both wells have half, exactly by symmetry."""
    down = 2.0**-300
    matrix = np.zeros((11, 11))
    for k in range(10):
        inward = k < 5
        matrix[k, k + 1], matrix[k + 1, k] = (down / 2, 0.25) if inward else (0.25, down / 2)
    law = stationary_distribution(MarkovChain(matrix))
    assert law[0] == law[10] == pytest.approx(0.5, rel=bound(11))
    assert law[5] == 0.0


@given(moves(), st.data())
def test_hitting_times_are_those_of_the_rationals(exact_rewards, matrix, data):
    target = data.draw(st.integers(0, len(matrix) - 1))
    times = hitting_times(MarkovChain(matrix), [target])
    exact = exact_rewards(matrix, [target], [Fraction(1)] * len(matrix))
    assert times[target] == 0
    assert relative_error(np.delete(times, target), exact) <= bound(len(matrix))


@given(moves(min_size=3), st.data())
def test_hitting_probabilities_are_those_of_the_rationals(exact_rewards, matrix, data):
    hit, avoid = data.draw(st.permutations(range(len(matrix))))[:2]
    found = hitting_probabilities(MarkovChain(matrix), [hit], avoiding=[avoid])
    reward = [Fraction(float(p)) for p in matrix[:, hit]]
    exact = exact_rewards(matrix, [hit, avoid], reward)
    assert (found[hit], found[avoid]) == (1.0, 0.0)
    for probability, truth in zip(np.delete(found, [hit, avoid]), exact, strict=True):
        assert abs(Fraction(float(probability)) - truth) <= truth * Fraction(bound(len(matrix)))


def test_weak_couplings_cost_hitting_times_nothing(exact_rewards):
    matrix = blocks(4, 3, 1e-12)
    exact = exact_rewards(matrix, [11], [Fraction(1)] * 12)
    times = hitting_times(MarkovChain(matrix), [11])[:11]
    assert min(times[:8]) > 1e12
    assert relative_error(times, exact) <= bound(12)


@pytest.mark.parametrize("barrier", [0.25, 1e-12, 1e-40])
def test_passage_in_closed_form(barrier):
    """t_k = (1 + q_k t_(k-1)) / p_k, E_0[T_n] the sum of t_k: birth and death, over rationals."""
    size = 12
    matrix = np.diag(np.full(size - 1, 0.25), -1)
    matrix += np.diag([0.5 if k > 6 else 0.5 * barrier for k in range(size - 1)], 1)
    time, total = Fraction(0), Fraction(0)
    for k in range(size - 1):
        p, q = (Fraction(float(matrix[k, j])) if j >= 0 else Fraction(0) for j in (k + 1, k - 1))
        time = (1 + q * time) / p
        total += time
    found = hitting_times(MarkovChain(matrix), [size - 1])[0]
    assert relative_error([found], [total]) <= bound(size)


@given(st.integers(2, 12), st.integers(1, 499), st.integers(1, 499))
def test_the_gamblers_ruin(size, up, down):
    """(1 - r**i) / (1 - r**n) with r = q / p, or i / n; 4 n roundings of p and q."""
    matrix = np.diag(np.full(size, up / 1000), 1) + np.diag(np.full(size, down / 1000), -1)
    found = hitting_probabilities(MarkovChain(matrix), [size], avoiding=[0])
    r = Fraction(down, up)
    exact = [
        Fraction(i, size) if r == 1 else (1 - r**i) / (1 - r**size) for i in range(1, size + 1)
    ]
    assert relative_error(found[1:], exact) <= bound(size) + 4 * size * 2.0**-53


# 0 -> {1, 2}, 1 <-> 3 (recurrent), 2 absorbing, 4 -> 0
PARTS = np.zeros((5, 5))
PARTS[0, 1], PARTS[0, 2], PARTS[1, 3], PARTS[3, 1], PARTS[4, 0] = 0.25, 0.5, 0.5, 0.25, 1.0


def test_classes():
    chain = MarkovChain(PARTS)
    assert communication_classes(chain) == [[0], [1, 3], [2], [4]]
    assert recurrent_classes(chain) == [[1, 3], [2]]
    assert not is_irreducible(chain)
    assert is_irreducible(MarkovChain(blocks(2, 2, 1e-12)))


def test_two_recurrent_classes_have_no_unique_law():
    with pytest.raises(ValueError, match=r"one recurrent class, got 2: \[1, 3\], \[2\]"):
        stationary_distribution(MarkovChain(PARTS))


def test_transient_states_have_no_mass():
    matrix = PARTS.copy()
    matrix[2, 1] = 0.125
    law = stationary_distribution(MarkovChain(matrix))
    assert law[[0, 2, 4]].tolist() == [0, 0, 0]
    assert law[[1, 3]] == pytest.approx([1 / 3, 2 / 3], rel=bound(2))


def test_what_may_never_happen_takes_for_ever():
    chain = MarkovChain(PARTS)
    assert hitting_times(chain, [2]).tolist() == [math.inf, math.inf, 0.0, math.inf, math.inf]
    assert hitting_times(chain, [2, 3]).tolist() == pytest.approx([2, 2, 0, 0, 3], rel=bound(5))
    found = hitting_probabilities(chain, [2])
    assert found.tolist() == pytest.approx([2 / 3, 0, 1, 0, 2 / 3], rel=bound(5))


@given(moves(max_size=4), st.integers(0, 200))
def test_evolution_is_the_power_of_the_matrix(matrix, iterations):
    """Against exact powers: each of 2 log2(t) products rounds n terms; a square doubles what it
    squares, so t (n + 3) roundings in all, absolute."""
    size = len(matrix)
    rows = [[Fraction(float(p)) for p in row] for row in matrix]
    law = [Fraction(int(i == 0)) for i in range(size)]
    for _ in range(iterations % 20):
        law = [
            law[j] * (1 - sum(rows[j])) + sum(law[i] * rows[i][j] for i in range(size))
            for j in range(size)
        ]
    found = evolve(MarkovChain(matrix), np.eye(size)[0], iterations % 20)
    error = max(abs(float(Fraction(float(f)) - e)) for f, e in zip(found, law, strict=True))
    assert error <= 20 * (size + 3) * 2.0**-53


@given(moves(), st.integers(0, 10**18))
def test_evolution_loses_no_mass(matrix, iterations):
    """Each of at most 60 products with a square matrix rounds n + 2 terms."""
    law = evolve(MarkovChain(matrix), np.eye(len(matrix))[0], iterations)
    assert (law >= 0).all()
    assert abs(law.sum() - 1) <= 60 * (len(matrix) + 2) * 2.0**-52


def test_evolution_through_a_weak_link():
    """Two states, p = q = 1e-17: P(other) = (1 - (1 - 2p)**t) / 2 by expm1, t = 2**50;
    with a stored diagonal nothing would ever move. 50 squarings of few roundings, doubled each."""
    chain = MarkovChain(np.array([[0.0, 1e-17], [1e-17, 0.0]]))
    found = evolve(chain, np.array([1.0, 0.0]), 2**50)[1]
    exact = -0.5 * math.expm1(2**50 * math.log1p(-2e-17))
    assert abs(found / exact - 1) <= 50 * 8 * 2.0**-53


@given(moves())
def test_evolution_ends_in_the_stationary_law(matrix):
    """Made lazy (a half stays), 2**200 iterations exceed every relaxation time, at most 2**70 here.
    200 squarings, errors absolute: each square adds (n + 3) u to rows that are all alike."""
    chain = MarkovChain(matrix / 2)
    law = evolve(chain, np.eye(chain.size)[0], 2**200)
    error = np.abs(law - stationary_distribution(chain)).max()
    assert error <= 200 * (chain.size + 3) * chain.size * 2.0**-52


@given(st.lists(st.integers(1, 50), min_size=2, max_size=6), st.data())
def test_metropolis_is_reversible(weights, data):
    """P_ij = min(1, pi_j / pi_i) / n has flows min(pi_i, pi_j) / n: detailed balance."""
    size = len(weights)
    law = np.array(weights) / sum(weights)
    matrix = np.minimum(1.0, law[None, :] / law[:, None]) / size
    np.fill_diagonal(matrix, 0.0)
    chain = MarkovChain(matrix)
    assert is_reversible(chain)
    assert stationary_distribution(chain) == pytest.approx(law, rel=bound(size) + 16 * 2.0**-53)


def test_a_ring_that_turns_is_not_reversible():
    ring = np.roll(np.eye(3), 1, axis=1)
    assert not is_reversible(MarkovChain(0.5 * ring + 0.25 * ring.T))
    assert is_reversible(MarkovChain(0.25 * ring + 0.25 * ring.T))


def test_rare_states_are_taken_out_first_where_others_underflow():
    """From 1 to 0: 1e-300 twice, a product that is 0 in a float; 4e-600 of the law is in 0."""
    matrix = np.array([[0.0, 0.5, 0.0], [0.0, 0.0, 1e-300], [1e-300, 0.5, 0.0]])
    law = stationary_distribution(MarkovChain(matrix))
    assert law[:2].tolist() == [0.0, 1.0] and abs(law[2] / 2e-300 - 1) <= 2.0**-50
    with pytest.raises(OverflowError, match=r"a mean time .* a float"):
        hitting_times(MarkovChain(matrix), [0])


def test_a_law_between_two_cliffs():
    """A hill between valleys 1e-300 per level deep: laws of both sides underflow, none is NaN."""
    size = 9
    toward = np.where(np.arange(size - 1) < 4, 0.5, 1e-300)
    chain = MarkovChain(np.diag(toward, 1) + np.diag(toward[::-1], -1))
    law = stationary_distribution(chain)
    assert abs(law[4] - 1) <= 2.0**-50
    assert (np.abs(law[[3, 5]] / 2e-300 - 1) <= 2.0**-50).all() and not law[
        [0, 1, 2, 6, 7, 8]
    ].any()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((0, 0)), "at least 1 by 1"),
        (np.array([[0.0, -0.1], [0.0, 0.0]]), "finite and >= 0"),
        (np.array([[0.0, math.nan], [0.0, 0.0]]), "finite and >= 0"),
        (
            np.array([[0.5, 0.5], [0.5, 0.5]]),
            r"diagonal of a chain is written as zero, got 0\.5 at 0",
        ),
        (np.array([[0.0, 1.1], [0.0, 0.0]]), "at most one, got 1.1"),
    ],
)
def test_what_is_not_a_chain_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        MarkovChain(matrix)


def test_bad_questions_are_refused():
    chain = MarkovChain(PARTS)
    with pytest.raises(ValueError, match="at least one target"):
        hitting_times(chain, [])
    with pytest.raises(ValueError, match=r"a state is in 0\.\.4, got 5"):
        hitting_times(chain, [5])
    with pytest.raises(ValueError, match="a target is not to be avoided"):
        hitting_probabilities(chain, [1, 2], avoiding=[2])
    with pytest.raises(ValueError, match="iterations is >= 0"):
        evolve(chain, np.full(5, 0.2), -1)
    with pytest.raises(ValueError, match="one entry for each of 5 states"):
        evolve(chain, np.ones(1), 1)
    with pytest.raises(ValueError, match="is >= 0 and sums to one"):
        evolve(chain, np.full(5, 0.3), 1)
