"""What a chain is made of, what is refused, and theorem 26: elimination keeps every entry.

u = 2**-53. The law errs by (2 n**3 + 16) u in every entry, whatever the chain (see test_chain),
here on chains made to break other methods [ocinneide1993].
"""

import math
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qpapers.chains.cases import (
    MORE_ADVERSARIAL,
    birth_death,
    double_well,
    random_birth_death,
    random_chain,
    ring,
)
from qtheory.chain import (
    BirthDeathChain,
    MarkovChain,
    asymptotic_variance,
    conductance,
    cyclic_classes,
    from_transition_matrix,
    hardy_bounds,
    kemeny_constant,
    lazy,
    mixing_time,
    overlap,
    passage_law,
    period,
    poisson_solution,
    quasi_stationary,
    recurrent_classes,
    relaxation_rates,
    spectral_gap,
    stationary_distribution,
    stationary_laws,
    time_reversal,
)
from qtheory.chain.structure import dense


def bound(size: int) -> float:
    return (2 * size**3 + 16) * 2.0**-53


def error(found, exact) -> float:
    return max(float(abs(Fraction(float(f)) / e - 1)) for f, e in zip(found, exact, strict=True))


# Theorem 26


def eigenvector(chain: MarkovChain) -> np.ndarray:
    values, vectors = np.linalg.eig(chain.transition_matrix.T)
    law = np.abs(vectors[:, np.argmin(np.abs(values - 1))].real)
    return law / law.sum()


def least_squares(chain: MarkovChain) -> np.ndarray:
    size = chain.size
    system = np.vstack([chain.transition_matrix.T - np.eye(size), np.ones(size)])
    return np.linalg.lstsq(system, np.eye(size + 1)[-1], rcond=None)[0]


@pytest.mark.parametrize("name", MORE_ADVERSARIAL)
def test_elimination_keeps_every_entry(exact_stationary, name):
    chain = MORE_ADVERSARIAL[name]
    exact = exact_stationary(chain.off_diagonal)
    assert error(stationary_distribution(chain), exact) <= bound(chain.size)


@pytest.mark.parametrize("naive", [eigenvector, least_squares])
@pytest.mark.parametrize("name", ["a cold double well", "three blocks at 1e-12", "a link of 1e-12"])
def test_other_methods_do_not(exact_stationary, name, naive):
    """Stored diagonals: at best 1e-16 over a link of 1e-12, so four digits."""
    chain = MORE_ADVERSARIAL[name]
    assert error(naive(chain), exact_stationary(chain.off_diagonal)) > 1e-7 > 1e3 * bound(20)


@pytest.mark.parametrize("temperature", [0.05, 0.02])
def test_a_double_well_of_101_levels(temperature):
    """Detailed balance over the rationals; barriers of 20 and 50 temperatures."""
    chain = double_well(temperature, 101)
    up, down = (chain.off_diagonal.diagonal(d) for d in (1, -1))
    ratios = [Fraction(float(p)) / Fraction(float(q)) for p, q in zip(up, down, strict=True)]
    weights = list(accumulate([Fraction(1), *ratios], lambda w, r: w * r))
    total = sum(weights)
    found = stationary_distribution(chain)
    assert error(found, [w / total for w in weights]) <= bound(101)
    assert error(found, [w / total for w in weights]) <= 101 * 8 * 2.0**-53  # as observed, too


# Classes and periods


def brute_period(chain: MarkovChain, state: int) -> int:
    """gcd of the lengths, up to 2 n**2, of ways back."""
    edges = chain.transition_matrix > chain.size * 2.0**-52
    now, lengths = np.arange(chain.size) == state, []
    for length in range(1, 2 * chain.size**2 + 1):
        now = edges[now].any(axis=0)
        if now[state]:
            lengths.append(length)
    return math.gcd(*lengths)


@st.composite
def circles(draw):
    """Classes in a circle with all moves to the next class at will, rows summing to one or less."""
    turns, each = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    size = turns * each
    matrix = np.zeros((size, size))
    for i in range(size):
        after = [j for j in range(size) if j % turns == (i + 1) % turns]
        share = np.array([draw(st.integers(1, 9)) for _ in after], dtype=float)
        matrix[i, after] = share / share.sum()
    if draw(st.booleans()) and size > 1:
        i, j = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
        matrix[i] *= 0.75
        matrix[i, j] += 0.25
    return from_transition_matrix(matrix)


@given(circles())
@examples(60)
def test_the_period_is_that_of_all_ways_back(chain):
    assert period(chain) == brute_period(chain, recurrent_classes(chain)[0][0])
    classes = cyclic_classes(chain)
    assert sorted(i for states in classes for i in states) == list(range(chain.size))
    matrix = chain.transition_matrix > chain.size * 2.0**-52
    for now, after in zip(classes, classes[1:] + classes[:1], strict=True):
        assert not np.delete(matrix[now], after, axis=1).any()


def test_rounded_rows_do_not_hide_a_period():
    """Six sixths sum to 1 - 2**-53 in floats: what is left is a rounding, and no state stays."""
    matrix = np.zeros((12, 12))
    matrix[:6, 6:] = matrix[6:, :6] = 1 / 6
    chain = MarkovChain(matrix)
    assert 0 < chain.staying.max() <= 12 * 2.0**-52
    assert period(chain) == 2
    with pytest.raises(ValueError, match="got period 2"):
        mixing_time(chain)
    assert period(lazy(chain)) == 1


def test_a_periodic_chain_has_its_law_and_no_gap():
    turning = ring(5, 1.0, 0.0)
    assert stationary_distribution(turning) == pytest.approx(np.full(5, 0.2), rel=bound(5))
    assert spectral_gap(turning) <= bound(5)
    assert period(turning) == 5
    assert cyclic_classes(turning) == [[0], [1], [2], [3], [4]]


# 0 -> {1, 2}, 1 <-> 3 (closed), 2 closed, 4 -> 0, 5 <-> 6 (closed)
PARTS = np.zeros((7, 7))
PARTS[0, 1], PARTS[0, 2], PARTS[1, 3], PARTS[3, 1], PARTS[4, 0] = 0.25, 0.5, 0.5, 0.25, 1.0
PARTS[5, 6], PARTS[6, 5] = 1.0, 1.0


@pytest.mark.parametrize(
    "question", [stationary_distribution, kemeny_constant, mixing_time, period, spectral_gap]
)
def test_all_closed_classes_are_reported(question):
    with pytest.raises(ValueError, match=r"\[1, 3\], \[2\], \[5, 6\]"):
        question(MarkovChain(PARTS))


def test_each_closed_class_has_its_law():
    chain = MarkovChain(PARTS)
    laws = stationary_laws(chain)
    assert [np.flatnonzero(law).tolist() for law in laws] == recurrent_classes(chain)
    assert laws[0][[1, 3]] == pytest.approx([1 / 3, 2 / 3], rel=bound(2))
    mixture = 0.2 * laws[0] + 0.3 * laws[1] + 0.5 * laws[2]
    assert mixture @ chain.transition_matrix == pytest.approx(mixture, rel=bound(7))


# Other forms of chains


@given(st.integers(0, 10**6), st.integers(2, 12))
@examples(25)
def test_a_birth_death_chain_answers_as_its_matrix_does(seed, size):
    """Both within their bounds of the rationals."""
    matrix = random_birth_death(seed, size)
    chain = BirthDeathChain(matrix.off_diagonal.diagonal(1), matrix.off_diagonal.diagonal(-1))
    slack = 4 * bound(size)
    assert kemeny_constant(chain) == pytest.approx(kemeny_constant(matrix), rel=slack)
    assert conductance(chain) == pytest.approx(conductance(matrix), rel=slack)
    assert hardy_bounds(chain) == pytest.approx(hardy_bounds(matrix), rel=slack)
    assert relaxation_rates(chain) == pytest.approx(relaxation_rates(matrix))
    assert passage_law(chain).mean == pytest.approx(passage_law(matrix).mean)
    assert mixing_time(chain) == mixing_time(matrix)


def test_a_hundred_thousand_levels_without_a_matrix():
    """A reflected walk: K = (n**2 - 1) / (6 p), Phi = 2 p / n, B = p-free sums; n roundings of
    each running sum, and the law's."""
    size, p = 100_000, 0.25
    chain = BirthDeathChain(np.full(size - 1, p), np.full(size - 1, p))
    assert kemeny_constant(chain) == pytest.approx((size**2 - 1) / (6 * p), rel=8 * size * 2.0**-53)
    assert conductance(chain) == pytest.approx(2 * p / size, rel=8 * size * 2.0**-53)
    lower, upper = hardy_bounds(chain)
    assert lower < 4 * p * math.sin(math.pi / (2 * size)) ** 2 < upper
    with pytest.raises(ValueError, match="at most 20000 states, got 100000"):
        mixing_time(chain)
    with pytest.raises(ValueError, match="at most 20000 states, got 100000"):
        relaxation_rates(chain)


def test_a_birth_death_chain_in_parts_is_refused():
    chain = BirthDeathChain(np.array([0.5, 0.0, 0.5]), np.array([0.5, 0.5, 0.5]))
    with pytest.raises(
        ValueError, match=r"Kemeny's constant needs .* recurrent classes are 0\.\.1"
    ):
        kemeny_constant(chain)


def test_a_matrix_is_itself():
    chain = random_chain(1, 4)
    assert dense(chain) is chain


# Full matrices


@given(st.integers(0, 10**6), st.integers(1, 8))
@examples(25)
def test_a_full_matrix_gives_its_chain(seed, size):
    matrix = np.random.Generator(np.random.PCG64(seed)).random((size, size))
    matrix /= matrix.sum(axis=1, keepdims=True)
    chain = from_transition_matrix(matrix)
    assert np.abs(chain.transition_matrix - matrix).max() <= (size + 2) * 2.0**-52


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((2, 3)), r"square matrix, at least 1 by 1, got \(2, 3\)"),
        (np.zeros((0, 0)), "at least 1 by 1"),
        (np.array([[0.5, 0.4], [0.5, 0.5]]), r"rows sum to one, got 0\.9 in row 0"),
        (np.array([[0.5, 0.5], [0.5, 0.6]]), r"rows sum to one, got 1\.1 in row 1"),
        (np.array([[1.0, 0.0], [0.5, 0.5 + 1e-14]]), "rows sum to one"),
        (np.array([[1.1, -0.1], [0.5, 0.5]]), r"finite and >= 0, got -0\.1 at \(0, 1\)"),
        (np.array([[1.0, 0.0], [math.nan, 1.0]]), r"finite and >= 0, got nan at \(1, 0\)"),
        (np.array([[1.0, 0.0], [math.inf, 1.0]]), r"finite and >= 0, got inf at \(1, 0\)"),
    ],
)
def test_what_is_no_transition_matrix_is_refused(matrix, message):
    wrapped = getattr(from_transition_matrix, "__wrapped__", from_transition_matrix)
    with pytest.raises(ValueError, match=message):
        wrapped(matrix)


def test_thirds_are_let_pass():
    """1/3 three times and tenths ten times: sums within a rounding of one."""
    assert period(from_transition_matrix(np.full((3, 3), 1 / 3))) == 1
    assert from_transition_matrix(np.full((10, 10), 0.1)).size == 10


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.25, 1.5])
def test_no_form_of_a_chain_takes_what_is_no_probability(bad):
    with pytest.raises(ValueError, match="got"):
        birth_death(np.array([bad, 0.1]), np.array([0.1, 0.1]))
    with pytest.raises(ValueError, match="got"):
        BirthDeathChain(np.array([bad, 0.1]), np.array([0.1, 0.1]))


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_what_leaves_a_floats_range_is_an_error_and_no_number():
    """A law that falls by 2**-1200 between two peaks, and a time of 2**1100."""
    steep = birth_death(np.array([2.0**-600, 2.0**-600, 0.5, 0.5]), np.full(4, 0.5))
    valley = birth_death(
        np.array([2.0**-600, 2.0**-600, 0.25, 0.25]), np.array([0.25, 0.25, 2.0**-600, 2.0**-600])
    )
    assert stationary_distribution(valley)[2] == 0.0
    for question in (conductance, hardy_bounds, time_reversal):
        with pytest.raises(OverflowError, match=r"within a float's range, got 0\.0 in state 2"):
            question(valley)
        with pytest.raises(OverflowError, match="within a float's range"):
            question(steep)
    with pytest.raises(OverflowError, match=r"up to 2\*\*1100"):
        mixing_time(valley)
    stuck = MarkovChain(np.diag(np.full(4, 2.0**-300), 1) + np.diag(np.full(4, 0.5), -1))
    with pytest.raises(OverflowError, match=r"a mean time .* a float"):
        quasi_stationary(stuck, range(4))
    with pytest.raises(OverflowError, match="beyond the range of a float"):
        poisson_solution(valley, np.arange(5.0))


@pytest.mark.parametrize("size", [1])
def test_one_state_is_a_chain(size):
    chain = MarkovChain(np.zeros((size, size)))
    assert mixing_time(chain) == 0
    assert kemeny_constant(chain) == 0.0
    assert period(chain) == 1
    assert cyclic_classes(chain) == [[0]]
    assert asymptotic_variance(chain, np.ones(1)) == 0.0
    assert relaxation_rates(chain).size == 0
    assert overlap(chain) == 1.0
