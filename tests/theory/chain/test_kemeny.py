"""Kemeny's constant where no float holds the law or a time, and one message where none holds K."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory.chain import (
    BirthDeathChain,
    MarkovChain,
    SparseChain,
    exact_hitting_times,
    exact_stationary_distribution,
    eyring_kramers_time,
    hitting_times,
    kemeny_constant,
    mean_first_passage_times,
    passage_law,
    passage_time,
    quasi_stationary,
    times_from,
)
from qtheory.chain.banded import banded
from qtheory.chain.forms import as_sparse

TINY = 1e-300


def forms(chain: BirthDeathChain) -> list[BirthDeathChain | MarkovChain | SparseChain]:
    return [chain, banded(chain), chain.to_dense(), as_sparse(chain)]


def by_definition(matrix: np.ndarray) -> Fraction:
    """sum over j of pi_j E_0[T_j], over the rationals."""
    rows = MarkovChain(matrix)
    law = exact_stationary_distribution(rows)
    return sum(p * exact_hitting_times(rows, j)[0] for j, p in enumerate(law))


def test_links_of_1e_300_twice_in_a_row():
    """K = 1 / (p + q) over the two links, nearly: 4 + 2, the law of the last state being 1e-600."""
    for form in forms(BirthDeathChain(np.array([TINY, TINY]), np.array([0.25, 0.5]))):
        assert kemeny_constant(form) == 6.0


def test_the_same_where_moves_go_further_than_to_neighbours():
    matrix = np.array([[0.0, TINY, 1e-301], [0.25, 0.0, TINY], [TINY, 0.5, 0.0]])
    assert kemeny_constant(matrix + np.diag(1.0 - matrix.sum(axis=1))) == 6.0


@given(st.lists(st.tuples(st.integers(1, 999), st.integers(0, 900)), min_size=12, max_size=12))
def test_the_constant_is_that_of_the_rationals(links):
    """4 n**3 roundings by halves, 9 n along a line; links down to 2**-900, from all to all."""
    values = np.array([a / 4000 * 2.0**-b for a, b in links])
    matrix = np.zeros((4, 4))
    matrix[~np.eye(4, dtype=bool)] = values
    matrix[0, 1:], matrix[1:, 0] = values[:3], np.maximum(matrix[1:, 0], 2.0**-30)
    exact = by_definition(matrix)
    assert abs(Fraction(kemeny_constant(MarkovChain(matrix))) / exact - 1) <= 4 * 4**3 * 2.0**-53
    line = np.diag(matrix.diagonal(1), 1) + np.diag(matrix.diagonal(-1), -1)
    exact = by_definition(line)
    if exact < Fraction(2) ** 1000:
        assert abs(Fraction(kemeny_constant(MarkovChain(line))) / exact - 1) <= 9 * 4 * 2.0**-53


def test_all_passage_times_at_once_are_those_of_each_target():
    """Both err by 2 n**3 roundings at most."""
    rng = np.random.Generator(np.random.PCG64(9))
    for size in (1, 2, 5, 23):
        matrix = rng.uniform(size=(size, size)) * 2.0 ** -rng.integers(0, 60, (size, size)) / size
        np.fill_diagonal(matrix, 0.0)
        chain = MarkovChain(matrix)
        found = mean_first_passage_times(chain)
        error = 4 * size**3 * 2.0**-53
        for j in range(size):
            assert found[:, j] == pytest.approx(hitting_times(chain, j), rel=error, abs=0)
        assert times_from(chain, size - 1) == pytest.approx(found[-1], rel=error, abs=0)


STEEP = BirthDeathChain(np.full(2, 2.0**-600), np.full(2, 0.5))
BEYOND = {
    "hitting_times": lambda chain: hitting_times(chain, 2),
    "times_from": lambda chain: times_from(chain, 0),
    "mean_first_passage_times": mean_first_passage_times,
    "passage_law": passage_law,
    "passage_time": lambda chain: passage_time(chain, 0, 2),
    "quasi_stationary": lambda chain: quasi_stationary(chain, [0, 1]),
}


@pytest.mark.parametrize("question", BEYOND)
def test_a_time_beyond_floats_has_one_message(question):
    """2**1200 iterations from 0 to 2; a law that is 0 in a float is said first where it is used."""
    for form in forms(STEEP):
        with pytest.raises(OverflowError) as caught:
            BEYOND[question](form)
        expected = "a mean time is above 2**1022, beyond the range of a float"
        assert str(caught.value) == expected or (
            question == "passage_time" and "within a float's range" in str(caught.value)
        )


def test_other_quantities_beyond_floats():
    valley = BirthDeathChain(np.array([2.0**-600, 0.25]), np.array([0.25, 2.0**-600]))
    cold = BirthDeathChain(np.array([2.0**-600, 2.0**-600]), np.array([2.0**-600, 2.0**-600]))
    assert kemeny_constant(valley) == pytest.approx(2.0**600, rel=2.0**-48)
    assert kemeny_constant(cold) < 2.0**602
    inwards, outwards = [0.5] * 2, [2.0**-700] * 2
    far = BirthDeathChain(np.array(outwards + inwards), np.array(inwards + outwards))
    for form in forms(far):
        with pytest.raises(OverflowError, match=r"Kemeny's constant is above 2\*\*1022, beyond"):
            kemeny_constant(form)
    with pytest.raises(OverflowError, match=r"a mean time is above 2\*\*1022, beyond"):
        eyring_kramers_time(1000.0, 1.0, 1.0, 1.0, 1.0)
    assert np.isfinite(eyring_kramers_time(700.0, 1.0, 1.0, 1.0, 1.0))


def test_infinite_is_said_of_what_may_never_happen_only():
    chain = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert hitting_times(chain, 1).tolist() == [np.inf, 0.0, np.inf]
    assert hitting_times(chain, [1, 2]).tolist() == [2.0, 0.0, 0.0]
