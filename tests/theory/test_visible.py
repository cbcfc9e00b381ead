"""What is seen of hidden levels: closed forms of free walkers, and enumeration of paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms.walker import hidden
from qtheory.chain import MarkovChain, is_lumpable, stationary_distribution
from qtheory.increments import ContinuousIncrements, certain, noisy_increments
from qtheory.noise import Gaussian, Uniform
from qtheory.visible import (
    dwell_survival,
    flip_rate,
    flows,
    hidden_chain,
    mean_dwell_times,
    memory,
    one_step_chain,
    shown,
    visible_law,
)

BITS = [2, 3, 4, 5, 8]
WIDTH = 0.005


def free(bits: int, mean: float = 0.0):
    spec = StochasticRounding(**hidden(bits))
    return hidden_chain(spec, [ContinuousIncrements(mean, Uniform(WIDTH))] * 3), shown(spec)


def random_chain(seed: int, size: int = 6) -> tuple[MarkovChain, np.ndarray]:
    draws = np.random.default_rng(seed)
    moves = draws.dirichlet(np.ones(size), size)
    np.fill_diagonal(moves, 0.0)
    return MarkovChain(moves), np.array([0, 0, 1, 2, 1, 2])


@pytest.mark.parametrize("bits", BITS)
def test_dwells_of_a_free_walker(bits: int):
    """The law is flat and a threshold is crossed by p times its share, so Kac's formula gives
    levels of a block over (p times its thresholds). A law of n levels has 2 n**3 roundings."""
    chain, blocks = free(bits)
    z = 2 ** (bits - 1) - 1
    p = WIDTH * z / 4
    expected = np.array([z - z // 3, (2 * (z // 3) + 1) / 2, z - z // 3]) / p
    near = 4 * chain.size**3 * 2.0**-53
    np.testing.assert_allclose(mean_dwell_times(chain, blocks), expected, rtol=near)
    np.testing.assert_allclose(flip_rate(chain, blocks), 4 * p / (2 * z + 1), rtol=near)


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_a_force_gives_a_geometric_law(bits: int):
    chain, blocks = free(bits, 0.2 * WIDTH)
    weights = 2.25 ** np.arange(chain.size)
    expected = visible_law(weights / weights.sum(), blocks)
    found = visible_law(stationary_distribution(chain), blocks)
    np.testing.assert_allclose(found, expected, rtol=8 * chain.size**3 * 2.0**-53)


def test_a_convex_loss_dithers():
    """The mean increment of a stationary walker is that of what is clipped, below 1e-9 here."""
    spec = StochasticRounding(**hidden(6))
    targets = np.array([-1.3, -0.3, 0.7])  # levels less 0.3: minus the increments over the rate
    laws = [noisy_increments(g, 0.005, Uniform(1.0)) for g in targets]
    law = visible_law(stationary_distribution(hidden_chain(spec, laws)), shown(spec))
    assert abs(law @ targets) < 1e-9
    assert law[1] * law[2] > 0.2


def test_hidden_levels_are_no_smaller_chain():
    assert is_lumpable(*free(2))
    assert not is_lumpable(*free(3))


@pytest.mark.parametrize("bits", [3, 4, 5, 8])
def test_the_memory_of_a_free_walker(bits: int):
    """An index that has just crossed a threshold goes back with p; one that has not, with less."""
    chain, blocks = free(bits)
    z = 2 ** (bits - 1) - 1
    expected = WIDTH * z / 4 * (2 - 1 / (z - z // 3) - 1.5 / (2 * (z // 3) + 1))
    # differences of probabilities, 2**-53 each, over a rate of flips of some p / z
    found = memory(chain, blocks) / flip_rate(chain, blocks)
    assert abs(found - expected) < 1e-11


@pytest.mark.parametrize("seed", range(3))
def test_memory_is_that_of_the_law_of_three_levels(seed: int):
    """By enumeration of all paths of three states."""
    chain, blocks = random_chain(seed)
    pi, matrix = stationary_distribution(chain), chain.transition_matrix
    triples = np.zeros((3, 3, 3))
    for i, j, k in itertools.product(range(chain.size), repeat=3):
        triples[blocks[i], blocks[j], blocks[k]] += pi[i] * matrix[i, j] * matrix[j, k]
    given_two = triples / triples.sum(axis=2, keepdims=True)
    given_one = triples.sum(axis=0) / triples.sum(axis=(0, 2))[:, None]
    apart = 0.5 * np.abs(given_two - given_one).sum(axis=2)
    assert abs(memory(chain, blocks) - (triples.sum(axis=2) * apart).sum()) < 1e-14
    plain = one_step_chain(chain, blocks)
    assert memory(plain, np.arange(3)) < 1e-14 < 1e-3 < memory(chain, blocks)
    np.testing.assert_allclose(stationary_distribution(plain), visible_law(pi, blocks), rtol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_dwells_add_up_to_their_mean(seed: int):
    """A block of a random chain is left with at least 0.1 an iteration: 0.9**400 is below 1e-18."""
    chain, blocks = random_chain(seed)
    means = mean_dwell_times(chain, blocks)
    for level in range(3):
        survival = dwell_survival(chain, blocks, level, 400)
        assert survival[0] == 1.0 and (np.diff(survival) <= 0).all()
        assert abs(survival.sum() / means[level] - 1) < 1e-12


def test_flows_are_those_of_pairs():
    chain, blocks = random_chain(7)
    pi = stationary_distribution(chain)
    into = flows(chain, blocks)
    for v, u in itertools.permutations(range(3), 2):
        pairs = itertools.product(np.flatnonzero(blocks == v), np.flatnonzero(blocks == u))
        expected = sum(pi[i] * chain.off_diagonal[i, j] for i, j in pairs)
        assert abs(into[v, u] - expected) < 1e-15
    assert flip_rate(chain, blocks) == into.sum()


def test_a_walker_whose_levels_are_seen_has_a_law_for_each():
    spec = DST(Lattice.ternary(), 3.0)
    assert shown(spec).tolist() == [0, 1, 2]
    chain = hidden_chain(spec, [certain(x) for x in (1.0, 0.0, -1.0)])
    assert chain.off_diagonal.tolist() == [[0, 1, 0], [0, 0, 0], [0, 1, 0]]
    assert mean_dwell_times(chain, shown(spec), np.array([0.0, 1.0, 0.0]))[1] == np.inf


def test_what_does_not_fit_is_refused():
    spec = StochasticRounding(**hidden(3))
    with pytest.raises(ValueError, match="3 visible levels need as many laws, got 7"):
        hidden_chain(spec, [ContinuousIncrements(0.0, Gaussian(1.0))] * 7)
    chain, _ = free(3)
    with pytest.raises(ValueError, match="7 states need as many blocks"):
        flows(chain, np.arange(3))
    absorbed = MarkovChain(np.array([[0.0, 0.5], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="got level 0, never so"):
        dwell_survival(absorbed, np.arange(2), 0, 3)
