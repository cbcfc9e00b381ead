"""Sparse chains against the rationals, against laws known exactly, and against what is too large.

The bound is that of `SparseChain.cost`: 2**-51 and twice the sum of d (d + 8) over the states, d
being the neighbours of a state when it is taken out, times 2**-102 compiled or 2**-53 plain.
"""

import itertools
from fractions import Fraction
from operator import mul

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from rationals import relative_error
from strategies import examples

from qtheory.chain import (
    SparseChain,
    certified_stationary_distribution,
    evolve,
    hitting_probabilities,
    hitting_times,
    is_irreducible,
    is_reversible,
    recurrent_classes,
    stationary_distribution,
)
from qtheory.chain.forms import as_sparse


def from_moves(source, target, probability, size: int, **options) -> SparseChain:
    matrix = scipy.sparse.coo_array((probability, (source, target)), shape=(size, size))
    return SparseChain.from_off_diagonal(matrix, **options)


def ring(size: int, jumps, probability, **options) -> SparseChain:
    """Jumps to both sides on a ring, the probabilities given by (state, other)."""
    k = np.arange(size)
    pairs = [(k, (k + jump) % size) for jump in (*jumps, *(-j for j in jumps))]
    source, target = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    return from_moves(source, target, probability(source, target), size, **options)


def grid_moves(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    index = np.arange(np.prod(shape)).reshape(shape)
    ends = []
    for axis in range(len(shape)):
        low = index.take(range(shape[axis] - 1), axis=axis).ravel()
        high = index.take(range(1, shape[axis]), axis=axis).ravel()
        ends += [(low, high), (high, low)]
    source, target = zip(*ends, strict=True)
    return np.concatenate(source), np.concatenate(target)


def reversible(source, target, exponent: np.ndarray) -> np.ndarray:
    """Probabilities for the law 2**-e: flows have one bit, so each is a float exactly."""
    return 0.125 * 2.0 ** np.minimum(exponent[source] - exponent[target], 0)


@st.composite
def chains(draw) -> SparseChain:
    """A cycle, so that all communicate, and some more moves, down to 2**-60."""
    size = draw(st.integers(2, 9))
    more = draw(st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=12))
    pairs = {(k, (k + 1) % size) for k in range(size)} | {(i, j) for i, j in more if i != j}
    bits = st.tuples(st.integers(1, 1000), st.integers(0, 60))
    values = [a / 1000 / size * 2.0**-b for a, b in draw(st.tuples(*[bits] * len(pairs)))]
    source, target = zip(*sorted(pairs), strict=True)
    return from_moves(source, target, values, size)


def test_laws_and_times_are_those_of_the_rationals(loops, exact_stationary, exact_rewards):
    @examples(60)
    @given(chains(), st.data())
    def compare(chain, data):
        matrix, bound = chain.to_dense().off_diagonal, chain.cost().error
        assert relative_error(stationary_distribution(chain), exact_stationary(matrix)) <= bound
        target = data.draw(st.integers(0, chain.size - 1))
        exact = exact_rewards(matrix, [target], [Fraction(1)] * chain.size)
        times = hitting_times(chain, target)
        assert times[target] == 0
        # The chain without its target has fewer states to take out, and exits as one more move.
        assert relative_error(np.delete(times, target), exact) <= 2 * bound + 2.0**-51

    compare()


def test_probabilities_are_those_of_the_rationals(loops, exact_rewards):
    @examples(40)
    @given(chains())
    def compare(chain):
        if chain.size < 3:
            return
        matrix = chain.to_dense().off_diagonal
        found = hitting_probabilities(chain, 0, avoiding=1)
        reward = [Fraction(float(p)) for p in matrix[:, 0]]
        exact = exact_rewards(matrix, [0, 1], reward)
        for probability, truth in zip(found[2:], exact, strict=True):
            bound = Fraction(2 * chain.cost().error + 2.0**-50)
            assert abs(Fraction(float(probability)) - truth) <= truth * bound

    compare()


def test_a_law_that_is_known_exactly(loops):
    """A grid and a ring with jumps of 30, whose laws fall by 2**-40 and rise again."""
    rng = np.random.Generator(np.random.PCG64(5))
    source, target = grid_moves((20, 30))
    exponent = np.abs(np.arange(600) % 80 - 40) + rng.integers(0, 3, 600)
    grid = from_moves(source, target, reversible(source, target, exponent), 600)
    jumps = ring(600, [1, 30], lambda i, j: reversible(i, j, exponent))
    weights = [Fraction(1, 2 ** int(e)) for e in exponent]
    total = sum(weights)
    for chain in (grid, jumps):
        error = relative_error(stationary_distribution(chain), weights, total)
        assert error <= chain.cost().error
        assert is_reversible(chain) and is_irreducible(chain)


def test_a_product_of_two_walks_has_the_product_law(loops):
    """On a grid, one coordinate moving at a time with half of its walk's probabilities."""
    rng = np.random.Generator(np.random.PCG64(6))
    walks = [rng.integers(1, 64, (2, size - 1)) / 256 for size in (12, 17)]
    laws = []
    for up, down in walks:
        links = zip(up.tolist(), down.tolist(), strict=True)
        ratios = (Fraction(p) / Fraction(q) for p, q in links)
        laws.append([*itertools.accumulate(ratios, mul, initial=Fraction(1))])
    exact = [a * b for a in laws[0] for b in laws[1]]
    source, target = grid_moves((12, 17))
    probability = np.empty(len(source))
    for k, (i, j) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        axis = 0 if abs(i - j) == 17 else 1
        (up, down), at = walks[axis], (min(i, j) // 17, min(i, j) % 17)[axis]
        probability[k] = (up if j > i else down)[at] / 2
    chain = from_moves(source, target, probability, 12 * 17)
    error = relative_error(stationary_distribution(chain), exact, sum(exact))
    assert error <= chain.cost().error


def test_times_on_a_ring_are_known(loops):
    """E_k[T_0] = k (n - k) / (2 p) with probability p to either side."""
    chain = ring(400, [1], lambda i, j: np.full(len(i), 2.0**-90))
    k = np.arange(400)
    found = hitting_times(chain, 0)
    assert np.abs(found[1:] / (k * (400 - k) * 2.0**89)[1:] - 1).max() <= chain.cost().error


def test_a_state_that_all_move_to(loops):
    """Restarts make a hub with as many neighbours as there are states; law by balance at 0:
    pi_k = pi_0 (p / (p + r))**k until the last, p forward and r back to 0."""
    size, p, r = 3000, 0.5, 2.0**-6
    k = np.arange(size - 1)
    source, target = np.concatenate([k, k[1:], [size - 1]]), np.concatenate([k + 1, 0 * k[1:], [0]])
    chain = from_moves(source, target, np.concatenate([0 * k + p, 0 * k[1:] + r, [r]]), size)
    law = stationary_distribution(chain)
    ratio = Fraction(p) / Fraction(p + r)
    assert relative_error(law[1:6] / law[0], [ratio**j for j in range(1, 6)]) <= 4 * 2.0**-51
    assert chain.cost().numbers < 5 * size


def test_rows_of_any_size_are_one_chain(loops):
    """Row i times 2**-600 where i is odd: the law is 2**600 as large there, and no more."""
    slow = np.where(np.arange(60) % 2, 2.0**-600, 1.0)
    fast = ring(60, [1, 7], lambda i, j: (1.0 + (i * j) % 5) / 32)
    other = ring(60, [1, 7], lambda i, j: slow[i] * (1.0 + (i * j) % 5) / 32)
    law = stationary_distribution(fast) / slow
    error = 4 * fast.cost().error
    assert stationary_distribution(other) == pytest.approx(law / law.sum(), rel=error, abs=0)


def test_what_may_not_happen_is_found_as_in_a_matrix(loops):
    matrix = np.zeros((5, 5))
    matrix[0, 1], matrix[0, 2], matrix[1, 3], matrix[3, 1], matrix[4, 0] = 0.25, 0.5, 0.5, 0.25, 1
    chain = SparseChain.from_off_diagonal(scipy.sparse.csr_array(matrix))
    full = chain.to_dense()
    assert recurrent_classes(chain) == [[1, 3], [2]]
    for targets in ([1], [2], [1, 2], [4]):
        times = pytest.approx(hitting_times(full, targets), rel=2.0**-48)
        assert hitting_times(chain, targets) == times
        found = hitting_probabilities(chain, targets)
        assert found == pytest.approx(hitting_probabilities(full, targets), rel=2.0**-48)
    with pytest.raises(ValueError, match=r"one recurrent class, got 2: \[1, 3\], \[2\]"):
        stationary_distribution(chain)


def test_random_jumps_are_refused_before_a_number_is_worked_out(loops):
    """A random graph of three moves a state: nearly all of a matrix would be filled in."""
    size = 600
    rng = np.random.Generator(np.random.PCG64(8))
    source = np.repeat(np.arange(size), 3)
    target = (source + rng.integers(1, size, len(source))) % size
    given = source, target, np.full(len(source), 0.25), size
    small, large = from_moves(*given, memory=2**18), from_moves(*given)
    for question in (stationary_distribution, lambda chain: hitting_times(chain, 0)):
        with pytest.raises(MemoryError, match=r"may take 262144 bytes .*, got one that needs \d"):
            question(small)
        assert np.isfinite(question(large)).all()
    cost = large.cost()
    assert 2**18 < cost.memory < 2**32
    law, certificate = certified_stationary_distribution(small, 1e-9)
    assert certificate.total_variation <= 1e-9
    assert 0.5 * np.abs(law - stationary_distribution(large)).sum() <= 1e-9


def test_the_cost_is_what_is_spent(loops):
    """A line is taken out from its ends, one neighbour each; a star from its leaves."""
    line = ring(50, [1], lambda i, j: np.where(np.abs(i - j) == 1, 0.25, 2.0**-60))
    assert line.cost().numbers in range(2 * 48 + 1, 2 * 50 + 1)
    star = from_moves([0] * 9 + list(range(1, 10)), list(range(1, 10)) + [0] * 9, [0.1] * 18, 10)
    assert star.cost().numbers == 9
    unit = 2.0**-102 if loops == "compiled" else 2.0**-53
    assert star.cost().error == pytest.approx(2.0**-51 + 2 * unit * (9 + 8 * 9), rel=1e-6)


def test_evolution_goes_by_the_moves(loops):
    chain = ring(30, [1, 5], lambda i, j: 0.1 + 0 * i)
    start = np.eye(30)[3]
    expected = evolve(chain.to_dense(), start, 37)
    assert evolve(chain, start, 37) == pytest.approx(expected, abs=37 * 40 * 2.0**-53)


def test_a_time_beyond_floats_is_said_as_elsewhere(loops):
    chain = from_moves([0, 1, 1, 2], [1, 0, 2, 1], [2.0**-600, 0.5, 2.0**-600, 0.5], 3)
    for form in (chain, chain.to_dense()):
        with pytest.raises(OverflowError, match=r"a mean time .* a float"):
            hitting_times(form, 2)
    assert stationary_distribution(chain)[1] == pytest.approx(2.0**-599, rel=2.0**-50)


def test_these_tests_bite(exact_stationary):
    """Solving with a stored diagonal leaves few digits of a weak link."""
    chain = ring(12, [1, 3], lambda i, j: np.where((i < 6) == (j < 6), 0.125, 2.0**-45))
    matrix = chain.to_dense()
    generator = matrix.transition_matrix.T - np.eye(12)
    solved = scipy.sparse.linalg.spsolve(
        scipy.sparse.csc_array(generator[1:, 1:]), -generator[1:, 0]
    )
    law = np.append(1.0, solved) / (1.0 + solved.sum())
    exact = exact_stationary(matrix.off_diagonal)
    assert relative_error(law, exact) > 1e4 * chain.cost().error
    assert relative_error(stationary_distribution(chain), exact) <= chain.cost().error


GOOD = {"starts": [0, 1, 2], "targets": [1, 0], "probabilities": [0.5, 0.25]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": [0, 2, 1]}, "start at 0 and end at 2"),
        ({"starts": [1, 1, 2]}, "start at 0 and end at 2"),
        ({"targets": [1, 2]}, r"a state in 0\.\.1, got 2"),
        ({"targets": [0, 1]}, "a move from 0 to itself"),
        ({"probabilities": [0.5, 0.0]}, r"> 0, got 0\.0"),
        ({"probabilities": [0.5, np.nan]}, "> 0, got nan"),
        ({"probabilities": [0.5, 1.5]}, r"at most one, got 1\.5"),
        ({"probabilities": [0.5]}, "as many probabilities, got 1"),
    ],
)
def test_what_is_not_a_chain_is_refused(change, message):
    arrays = {name: np.array(value) for name, value in {**GOOD, **change}.items()}
    with pytest.raises(ValueError, match=message):
        SparseChain(**arrays)


def test_rows_with_two_moves_to_one_state_are_added_up():
    twice = scipy.sparse.coo_array(([0.25, 0.25, 0.5, 0.0], ([0, 0, 1, 1], [1, 1, 0, 0])))
    assert as_sparse(SparseChain.from_off_diagonal(twice)).probabilities.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="targets of a row increase"):
        SparseChain(np.array([0, 2, 2, 2]), np.array([2, 1]), np.array([0.5, 0.25]))
