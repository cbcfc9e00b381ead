"""Escape and potential theory: theorems 8 and 10 of papers/chains.md.

u = 2**-53. Hitting times, probabilities and laws err by (2 n**3 + 16) u (see test_chain).
"""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qpapers.chains.cases import (
    MORE_ADVERSARIAL,
    MORE_OTHERS,
    birth_death,
    double_well,
    random_birth_death,
    random_chain,
    ring,
)
from qtheory.chain import (
    MarkovChain,
    capacity,
    committor,
    escape_time,
    exit_law,
    hitting_times,
    passage_law,
    passage_time,
    perron,
    quasi_stationary,
    relaxation_rates,
    stationary_distribution,
)


def bound(size: int) -> float:
    return (2 * size**3 + 16) * 2.0**-53


# Theorem 8


def insides(chain: MarkovChain) -> list[int]:
    """A half of the states that communicates within itself, in all of our cases."""
    return list(range(max(1, chain.size // 2)))


WITHIN = [n for n in MORE_ADVERSARIAL if n not in ("a star", "a ring that turns one way only")]


@pytest.mark.parametrize("name", WITHIN)
def test_the_quasi_stationary_law(name):
    """nu G = nu / (1 - theta), entry by entry, and the rate of leaving is the flow out."""
    chain = MORE_ADVERSARIAL[name]
    inside = insides(chain)
    if "blocks" in name:
        inside = [0, 1, 2, 3]
    law, survival, leaving, bracket, endurance = quasi_stationary(chain, inside)
    size = len(inside)
    outside = np.delete(np.arange(chain.size), inside)
    assert law.sum() == pytest.approx(1)
    assert not law[outside].any() and not endurance[outside].any()
    flow = (law[inside] @ chain.off_diagonal[np.ix_(inside, outside)]).sum()
    assert leaving == pytest.approx(flow, rel=4 * bound(size) + 64 * size * 2.0**-53)
    slack = 2 * bound(size)
    assert bracket.lower * (1 - slack) <= flow <= bracket.upper * (1 + slack)
    assert bracket.upper / bracket.lower - 1 <= 64 * size * 2.0**-53
    assert survival == 1 - leaving
    # nu Q = theta nu, an absolute statement that a naive code could meet as well
    q = chain.transition_matrix[np.ix_(inside, inside)]
    assert np.abs(law[inside] @ q - survival * law[inside]).max() <= 4 * bound(size)
    assert np.abs(q @ endurance[inside] - survival * endurance[inside]).max() <= (
        4 * bound(size) * endurance.max()
    )
    # E_nu[T] = 1 / (1 - theta)
    assert law @ escape_time(chain, inside) == pytest.approx(
        1 / leaving, rel=4 * bound(size) + 64 * size * 2.0**-53
    )
    assert law @ endurance == pytest.approx(1)


@given(st.integers(0, 10**6), st.integers(3, 8), st.integers(1, 12))
@examples(30)
def test_time_and_place_of_leaving_are_independent(seed, size, time):
    """P_nu(T = t, X_T = j) = theta**(t - 1) (1 - theta) exit_j, each to t (n + 4) u."""
    chain, inside = random_chain(seed, size, 2.0), list(range(size - 2))
    law, survival, leaving, *_ = quasi_stationary(chain, inside)
    places = exit_law(chain, inside)
    q = chain.transition_matrix[np.ix_(inside, inside)]
    now = law[inside]
    for _ in range(time - 1):
        now = now @ q
    joint = now @ chain.off_diagonal[np.ix_(inside, [size - 2, size - 1])]
    exact = survival ** (time - 1) * leaving * places[size - 2 :]
    assert joint == pytest.approx(exact, rel=(time * (size + 4) + 64 * size) * 2.0**-52)
    assert places.sum() == pytest.approx(1)


def test_another_law_does_not_leave_at_a_constant_rate():
    """The mutant: the stationary law within the set."""
    chain = birth_death(np.array([0.3, 0.2, 0.1]), np.array([0.1, 0.3, 0.2]))
    q = chain.transition_matrix[:3, :3]
    for law, constant in (
        (quasi_stationary(chain, [0, 1, 2]).law[:3], True),
        (stationary_distribution(chain)[:3], False),
    ):
        alive = [(law @ np.linalg.matrix_power(q, t)).sum() for t in range(3)]
        assert (abs(alive[2] / alive[1] - alive[1] / alive[0]) < 1e-14) == constant


def test_a_rate_of_leaving_of_1e_98_keeps_its_digits():
    """The left half of a cold double well, against 400 digits; one minus theta has none."""
    chain, inside = double_well(0.004), list(range(8))
    found = quasi_stationary(chain, inside)
    with mpmath.workdps(300):
        moves = mpmath.matrix(chain.off_diagonal.tolist())
        matrix = mpmath.matrix(8, 8)
        for i in inside:
            for j in inside:
                off = -mpmath.sqrt(moves[i, j] * moves[j, i])
                matrix[i, j] = sum(moves[i, k] for k in range(15)) if i == j else off
        rate = min(mpmath.eigsy(matrix, eigvals_only=True))
    assert found.leaving < 1e-90
    assert abs(found.leaving / rate - 1) <= bound(8) + 64 * 8 * 2.0**-53
    assert found.survival == 1.0


def test_bad_questions_about_staying_are_refused():
    chain = birth_death(np.array([0.3, 0.2, 0.1]), np.array([0.1, 0.3, 0.2]))
    with pytest.raises(ValueError, match="at least one state, got none"):
        quasi_stationary(chain, [])
    with pytest.raises(ValueError, match=r"can be left, got \[0, 1, 2, 3\]"):
        quasi_stationary(chain, range(4))
    with pytest.raises(ValueError, match=r"communicate within their set, got \[0, 2\]"):
        quasi_stationary(chain, [0, 2])
    with pytest.raises(ValueError, match=r"a state is in 0\.\.3, got 7"):
        exit_law(chain, [7])
    with pytest.raises(ValueError, match="leaves a set for other states, got all 4"):
        escape_time(chain, range(4))
    with pytest.raises(ValueError, match="needs a source"):
        committor(chain, [], [1])
    with pytest.raises(ValueError, match="a target is not to be avoided"):
        committor(chain, [1], [1])
    parts = MarkovChain(np.array([[0.0, 0.5], [0.0, 0.0]]))
    with pytest.raises(ValueError, match=r"recurrent classes are \[1\]"):
        capacity(parts, [0], [1])
    with pytest.raises(ValueError, match="moves beyond neighbours"):
        relaxation_rates(ring(4, 0.3, 0.3))
    with pytest.raises(ValueError, match=r"a state is in 0\.\.3, got 4"):
        passage_law(chain, 4)
    with pytest.raises(ValueError, match="needs an irreducible matrix"):
        perron(np.array([[1.0, 1.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="finite and >= 0"):
        perron(np.array([[1.0, math.nan], [0.0, 1.0]]))


# Theorem 10


@pytest.mark.parametrize("name", MORE_ADVERSARIAL)
def test_passage_times_are_ratios_of_committor_to_capacity(name):
    """Not for reversible chains only: with the time reversal's committor."""
    chain = MORE_ADVERSARIAL[name]
    start, end = 0, chain.size - 1
    for a, b in ((start, end), (end, start)):
        time = hitting_times(chain, [b])[a]
        assert passage_time(chain, a, b) == pytest.approx(time, rel=20 * bound(chain.size))


@pytest.mark.parametrize("name", MORE_ADVERSARIAL)
def test_capacity_is_symmetric_and_committors_are_complements(name):
    chain = MORE_ADVERSARIAL[name]
    a, b = [0], [chain.size - 1]
    there, back = capacity(chain, a, b), capacity(chain, b, a)
    assert there == pytest.approx(back, rel=8 * bound(chain.size))
    assert committor(chain, a, b) + committor(chain, b, a) == pytest.approx(
        1, abs=4 * bound(chain.size)
    )


def test_the_committor_of_the_chain_itself_will_not_do_for_one_that_turns():
    chain = MORE_OTHERS["a turning ring"]
    wrong = stationary_distribution(chain) @ committor(chain, [4], [0]) / capacity(chain, [0], [4])
    assert abs(wrong / hitting_times(chain, [4])[0] - 1) > 0.1


@given(st.integers(0, 10**6), st.integers(2, 20), st.sampled_from([1.0, 8.0]))
@examples(40)
def test_passage_of_birth_and_death_in_closed_form(seed, size, decades):
    """E_a[T_b] = sum over links of F_k / (pi_k p_k), over the rationals; capacity its resistance"""
    chain = random_birth_death(seed, size, decades)
    up, down = ([Fraction(float(p)) for p in chain.off_diagonal.diagonal(d)] for d in (1, -1))
    weights = [Fraction(1)]
    for p, q in zip(up, down, strict=True):
        weights.append(weights[-1] * p / q)
    below = list(itertools.accumulate(weights))
    links = [below[k] / (weights[k] * up[k]) for k in range(size - 1)]
    a = seed % (size - 1)
    exact = float(sum(links[a:]))
    for found in (hitting_times(chain, [size - 1])[a], passage_time(chain, a, size - 1)):
        assert found == pytest.approx(exact, rel=20 * bound(size))
    resistance = sum(1 / (weights[k] * up[k]) for k in range(a, size - 1)) * sum(weights)
    found = capacity(chain, [a], [size - 1])
    assert found == pytest.approx(float(1 / resistance), rel=8 * bound(size))
