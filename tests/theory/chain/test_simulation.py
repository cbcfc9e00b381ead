"""Paths have the law of the chain, and entropy rates that of the next state."""

import math

import numpy as np
import pytest

from qtheory.chain import (
    BirthDeathChain,
    MarkovChain,
    absorption_probabilities,
    absorption_times,
    entropy_rate,
    simulate,
    transient_states,
)

CHAIN = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.0, 1.0, 0.0]])


def test_moves_of_a_path_have_their_probabilities():
    """From each state of a path of n the moves are independent: a count has a standard deviation
    below sqrt(n) / 2, and 6.6 of it are exceeded with probability 5e-11 for each of nine pairs."""
    path = simulate(CHAIN, 60_000, seed=1)
    counts = np.zeros((3, 3))
    np.add.at(counts, (path[:-1], path[1:]), 1)
    visits = counts.sum(axis=1, keepdims=True)
    assert path.shape == (60_001,) and path[0] == 0
    assert (np.abs(counts - visits * CHAIN) <= 6.6 * np.sqrt(visits) / 2).all()
    # a mistake of 0.1 in a probability would be seen as surely
    assert (0.1 * visits > 2 * 6.6 * np.sqrt(visits) / 2).all()


def test_a_path_is_that_of_its_seed():
    assert np.array_equal(simulate(CHAIN, 50, seed=3), simulate(CHAIN, 50, seed=3))
    assert not np.array_equal(simulate(CHAIN, 50, seed=3), simulate(CHAIN, 50, seed=4))
    assert simulate(CHAIN, 0, start=2, seed=1).tolist() == [2]
    with pytest.raises(ValueError, match=r"iterations is >= 0, got -1"):
        simulate(CHAIN, -1, seed=1)


def test_links_of_1e_300_are_waited_for():
    """And not taken once in 2**53 times; a state that is not left is stayed in."""
    rare = BirthDeathChain(np.array([1e-300, 0.5]), np.array([0.5, 0.5]))
    for seed in range(200):
        assert not simulate(rare, 10**6, seed=seed).any() or seed > 0
    assert simulate(np.eye(2), 5, start=1, seed=1).tolist() == [1] * 6
    slow = MarkovChain(np.array([[0.0, 1e-300], [1e-3, 0.0]]))
    assert simulate(slow, 10**5, start=1, seed=1)[-1] == 0


def test_an_entropy_rate_keeps_the_digits_of_rare_moves():
    """Two states, p = q = 2**-60: -(p ln p + (1 - p) ln(1 - p)), p (60 ln 2 + 1) but for p**2."""
    p = 2.0**-60
    chain = MarkovChain(np.array([[0.0, p], [p, 0.0]]))
    assert entropy_rate(chain) == pytest.approx(p * (60 * math.log(2) + 1), rel=2.0**-49)
    assert entropy_rate(np.roll(np.eye(5), 1, axis=1)) == 0.0
    assert entropy_rate(np.full((8, 8), 0.125)) == pytest.approx(math.log(8), rel=2.0**-49)


def test_where_a_walk_ends():
    """The gambler with p = 3 q: (1 - r**i) / (1 - r**4), r = 1 / 3; times by first steps."""
    matrix = np.diag([0.0, 0.75, 0.75, 0.75], 1) + np.diag([0.25, 0.25, 0.25, 0.0], -1)
    matrix[0, 0] = matrix[4, 4] = 1.0
    chances = absorption_probabilities(matrix)
    up = (1 - (1 / 3) ** np.arange(5)) / (1 - (1 / 3) ** 4)
    assert chances[:, 1] == pytest.approx(up, rel=2.0**-48)
    assert chances.sum(axis=1) == pytest.approx(np.ones(5), rel=2.0**-48)
    times = absorption_times(matrix)
    assert times[[0, 4]].tolist() == [0.0, 0.0]
    assert times[1:4] == pytest.approx(1 + (matrix @ times)[1:4], rel=2.0**-48)
    assert times[1:4] == pytest.approx(2 * (4 * up - np.arange(5))[1:4], rel=2.0**-47)
    assert transient_states(matrix) == [1, 2, 3]
