"""Lumped chains against the chains they stand for (strong lumpability, permutations)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qtheory import Lattice
from qtheory.algorithms import DST, DeterministicRounding, StochasticRounding
from qtheory.chain import (
    JointChain,
    MarkovChain,
    coarsest_lumping,
    is_lumpable,
    lump,
    lump_permutations,
    quadratic_increments,
    stationary_distribution,
)
from qtheory.chain.lumping import SAME
from qtheory.transition import joint_chain


def exchangeable(rule, dimension: int, levels: int, coupling: float, rate=0.3) -> JointChain:
    """Equal weights, a common pull on their sum, and noise that they share."""
    hessian = np.eye(dimension) + coupling * np.ones((dimension, dimension))
    noise = np.array([[-0.7], [0.2], [0.45]]) * np.ones(dimension)
    return joint_chain(
        rule(Lattice.uniform(-1.0, 1.0, levels)),
        dimension,
        quadratic_increments(hessian, np.full(dimension, 0.3), rate, noise),
        np.array([0.25, 0.5, 0.25]),
    )


def blocks_of(joint: JointChain, counts: np.ndarray) -> np.ndarray:
    """For each state of the joint chain the number of its counts."""
    levels = joint.lattice.size
    number = {tuple(c): block for block, c in enumerate(counts.tolist())}
    rows = joint.indices().tolist()
    return np.array([number[tuple(np.bincount(row, minlength=levels))] for row in rows])


@pytest.mark.parametrize("rule", [StochasticRounding, DST, DeterministicRounding])
@pytest.mark.parametrize(("dimension", "levels"), [(1, 4), (3, 3), (4, 2), (3, 5), (5, 3)])
def test_counts_have_the_chain_of_their_joint_states(rule, dimension, levels):
    """Entries are sums of at most 3**d products with chances that may differ by SAME each."""
    joint = exchangeable(rule, dimension, levels, coupling=0.4)
    lumped = lump_permutations(joint)
    blocks = blocks_of(joint, lumped.counts)
    dense = joint.to_dense()
    error = dimension * SAME
    first = np.unique(blocks, return_index=True)[1]
    into = np.zeros((joint.size, len(lumped.counts)))
    for block in range(len(lumped.counts)):
        into[:, block] = dense.off_diagonal[:, blocks == block].sum(axis=1)
    into[np.arange(joint.size), blocks] = 0.0
    assert np.abs(into - lumped.chain.off_diagonal[blocks]).max() <= error
    assert np.abs(into - into[first][blocks]).max() <= error
    assert lumped.orbit.tolist() == np.bincount(blocks).tolist()
    assert len(lumped.counts) == math.comb(dimension + levels - 1, levels - 1)


def test_the_law_of_the_counts_is_that_of_the_states():
    """Laws of irreducible chains move by at most the sum of mean times (243 states, times below
    1e4) times the difference of entries."""
    joint = exchangeable(StochasticRounding, 5, 3, coupling=0.4)
    lumped = lump_permutations(joint)
    law = stationary_distribution(joint.to_dense())
    summed = np.bincount(blocks_of(joint, lumped.counts), weights=law)
    found = stationary_distribution(lumped.chain)
    assert np.abs(summed - found).max() <= 1e4 * 5 * SAME
    levels = joint.lattice.levels
    mean = law @ levels[joint.indices()].mean(axis=1)
    assert lumped.mean(found, levels) == pytest.approx(mean, abs=1e4 * 5 * SAME)


def test_weights_beyond_any_matrix_keep_the_symmetry_of_their_loss():
    """3**24 states, 325 counts. Loss and noise are even, so the law is: a state and its negative
    have equal laws up to elimination's 2 n**3 2**-53 and the chances' SAME, seen through times
    below 1e4."""
    noise = np.array([[-0.7], [0.7]]) * np.ones(24)
    increments = quadratic_increments(np.eye(24) + 0.1, np.zeros(24), 0.05, noise)
    spec = StochasticRounding(Lattice.ternary())
    joint = joint_chain(spec, 24, increments, np.array([0.5, 0.5]))
    lumped = lump_permutations(joint)
    assert len(lumped.counts) == math.comb(26, 2)
    assert np.isclose(lumped.orbit.sum(), 3.0**24, rtol=1e-12)
    law = stationary_distribution(lumped.chain)
    number = {tuple(c): block for block, c in enumerate(lumped.counts.tolist())}
    mirror = [number[tuple(reversed(c))] for c in lumped.counts.tolist()]
    assert np.abs(law - law[mirror]).max() <= 2 * len(law) ** 3 * 2.0**-53 + 1e4 * 24 * SAME
    assert lumped.mean(law, joint.lattice.levels) == pytest.approx(0.0, abs=1e-6)


def test_weights_that_differ_are_not_lumped():
    hessian = np.diag([1.0, 2.0])
    joint = joint_chain(
        StochasticRounding(Lattice.ternary()), 2, quadratic_increments(hessian, np.zeros(2), 0.3)
    )
    with pytest.raises(ValueError, match=r"may be exchanged .* apart"):
        lump_permutations(joint)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32))
@examples(60)
def test_chains_made_to_be_lumpable_are_and_others_are_not(count, most, seed):
    """Every state of a block spreads the block's probabilities over another block as it likes."""
    rng = np.random.Generator(np.random.PCG64(seed))
    sizes = rng.integers(1, most + 1, count)
    blocks = np.repeat(np.arange(count), sizes)
    between = rng.random((count, count)) / count
    matrix = np.zeros((len(blocks), len(blocks)))
    for i, block in enumerate(blocks):
        for other in range(count):
            here = np.flatnonzero(blocks == other)
            matrix[i, here] = between[block, other] * rng.dirichlet(np.ones(len(here)))
    np.fill_diagonal(matrix, 0.0)
    chain = MarkovChain(matrix)
    assert is_lumpable(chain, blocks)
    small = lump(chain, blocks)
    np.fill_diagonal(between, 0.0)
    assert np.abs(small.off_diagonal - between).max() <= (len(blocks) + 4) * 2.0**-53
    if count > 1:
        law = np.bincount(blocks, weights=stationary_distribution(chain))
        assert np.abs(law - stationary_distribution(small)).max() <= 1e-10
        assert coarsest_lumping(chain, blocks).tolist() == blocks.tolist()
    if count > 1 and sizes[0] > 1:
        broken = matrix.copy()
        broken[0] *= 1 - 1e-9
        assert not is_lumpable(MarkovChain(broken), blocks)
        with pytest.raises(ValueError, match=r"equal probabilities .* block 0"):
            lump(MarkovChain(broken), blocks)


@pytest.mark.parametrize("blocks", [[0, 2, 2], [0, 1], [1, 1, 1], [0, 1, -1]])
def test_bad_partitions_are_refused(blocks):
    with pytest.raises(ValueError, match="without gaps"):
        is_lumpable(MarkovChain(np.zeros((3, 3))), np.array(blocks))
