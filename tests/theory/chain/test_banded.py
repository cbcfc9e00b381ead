"""Banded chains against the rationals and against matrices, compiled and plain.

Taking out a state gives the entries of at most b rows b + 4 roundings each, so a law or a time
errs by 2 n b (b + 4) of them (docstring of `banded_law`); those of the compiled loop are 2**-102,
and a law is rounded three times more.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rationals import relative_error
from strategies import examples

from qtheory.chain import (
    BandedChain,
    hitting_probabilities,
    hitting_times,
    is_irreducible,
    recurrent_classes,
    stationary_distribution,
)


def bound(loops: str, chain: BandedChain) -> float:
    steps = 2 * chain.size * chain.bandwidth * (chain.bandwidth + 4)
    return 2.0**-51 + steps * 2.0**-102 if loops == "compiled" else (steps + 16) * 2.0**-53


def inside(band: np.ndarray) -> np.ndarray:
    """Only the moves that stay within 0..n-1, for a band above; reversed, for one below."""
    for j in range(len(band)):
        band[j, max(band.shape[1] - j - 1, 0) :] = 0.0
    return band


def banded_chain(rng, size: int, width: int, weakest: int) -> BandedChain:
    """Uniform probabilities times powers of two from 1 to 2**-weakest."""
    bands = rng.uniform(0.1, 1.0, (2, width, size)) / (2 * width)
    bands *= 2.0 ** -rng.integers(0, weakest + 1, bands.shape)
    return BandedChain(inside(bands[0]), inside(bands[1])[:, ::-1])


cases = st.tuples(
    st.integers(0, 2**32), st.integers(2, 9), st.integers(1, 6), st.sampled_from([0, 40])
)


def test_laws_and_times_are_those_of_the_rationals(loops, exact_stationary, exact_rewards):
    @examples(40)
    @given(cases)
    def compare(case):
        seed, *shape = case
        chain = banded_chain(np.random.Generator(np.random.PCG64(seed)), *shape)
        matrix = chain.to_dense().off_diagonal
        law = stationary_distribution(chain)
        assert relative_error(law, exact_stationary(matrix)) <= bound(loops, chain)
        target = seed % chain.size
        times = hitting_times(chain, [target])
        exact = exact_rewards(matrix, [target], [Fraction(1)] * chain.size)
        assert times[target] == 0
        assert relative_error(np.delete(times, target), exact) <= bound(loops, chain)

    compare()


@st.composite
def broken_chains(draw) -> BandedChain:
    """Few links: transient states, several classes, classes with gaps between their states."""
    size, width = draw(st.integers(2, 8)), draw(st.integers(1, 3))
    link = st.sampled_from([0.0, 0.0, 0.125])
    count = width * size
    bands = np.array(draw(st.lists(link, min_size=2 * count, max_size=2 * count)))
    above, below = bands.reshape(2, width, size)
    return BandedChain(inside(above), inside(below)[:, ::-1])


def test_what_may_not_happen_is_found_as_in_a_matrix(loops):
    """Dense results err by 2 n**3 + 16 roundings at most, these by no more."""

    @examples(120)
    @given(broken_chains(), st.sets(st.integers(0, 7), min_size=1, max_size=3))
    def broken(chain, targets):
        dense, error = chain.to_dense(), (4 * chain.size**3 + 64) * 2.0**-53
        classes = recurrent_classes(dense)
        assert recurrent_classes(chain) == classes
        assert is_irreducible(chain) == is_irreducible(dense)
        if len(classes) == 1:
            expected = pytest.approx(stationary_distribution(dense), rel=error, abs=0)
            assert stationary_distribution(chain) == expected
        else:
            with pytest.raises(ValueError, match=f"one recurrent class, got {len(classes)}"):
                stationary_distribution(chain)
        hit = {t % chain.size for t in targets}
        expected = pytest.approx(hitting_times(dense, hit), rel=error, abs=0)
        assert hitting_times(chain, hit) == expected
        avoid = {t for t in range(chain.size) if t % 3 == 2} - hit
        expected = pytest.approx(hitting_probabilities(dense, hit, avoid), rel=error, abs=0)
        assert hitting_probabilities(chain, hit, avoid) == expected

    broken()


@pytest.mark.parametrize("width", [1, 2, 5, 6, 13, 14, 29, 30, 61, 62])
def test_every_width_of_the_compiled_window(loops, width):
    """Widths about 4, 8, 16, 32 and 64 columns, and one beyond, against the dense elimination.

    That one errs by 2 n**3 roundings at most; compared are the same sums in another order.
    """
    chain = banded_chain(np.random.Generator(np.random.PCG64(width)), 2 * width + 3, width, 30)
    dense, error = chain.to_dense(), 2 * 2 * chain.size**3 * 2.0**-53
    law = stationary_distribution(dense)
    assert stationary_distribution(chain) == pytest.approx(law, rel=error, abs=0)
    times = hitting_times(dense, [1])
    assert hitting_times(chain, [1]) == pytest.approx(times, rel=error, abs=0)


def reversible(rng, size: int, width: int) -> tuple[BandedChain, np.ndarray]:
    """A chain with a law known exactly: pi_k = 2**-e_k and symmetric flows of few bits.

    P_ij = F_ij / pi_i is then a float, without rounding.
    """
    exponent = np.cumsum(rng.integers(-1, 2, size))
    above, below = np.zeros((2, width, size))
    for j in range(min(width, size - 1)):
        flow = rng.integers(1, 256, size - j - 1) / 2**8 / (2 * width)
        low, high = exponent[: -j - 1], exponent[j + 1 :]
        both = np.maximum(low, high)  # the smaller of the two masses
        above[j, : -j - 1] = flow * 2.0 ** (low - both)
        below[j, j + 1 :] = flow * 2.0 ** (high - both)
    return BandedChain(above, below), exponent - exponent.min()


@pytest.mark.parametrize(("size", "width"), [(700, 1), (700, 5), (300, 10)])
def test_a_law_that_is_known_exactly(loops, size, width):
    chain, exponent = reversible(
        np.random.Generator(np.random.PCG64(3)), size, 2 ** (width > 1) * 4
    )
    weights = [Fraction(1, 2 ** int(e)) for e in exponent]
    error = relative_error(stationary_distribution(chain), weights, sum(weights))
    assert error <= bound(loops, chain)


def test_a_law_that_falls_further_than_a_float_reaches(loops):
    """By 2**-3 a state over 600 states and up again: 1 + 1/8 + 1/64 + ... at either end."""
    size = 1201
    tilt = np.where(np.arange(size - 1) < 600, 2.0**-3, 2.0**3)
    above, below = np.zeros((2, 2, size))
    above[0, :-1] = 0.25 * np.minimum(tilt, 1)
    below[0, 1:] = 0.25 * np.minimum(1 / tilt, 1)
    law = stationary_distribution(BandedChain(above, below))
    assert law[0] == law[-1] == pytest.approx(7 / 16, rel=20 * 1201 * 2.0**-53)
    assert law[600] == 0.0


def test_a_fall_too_steep_for_the_compiled_window(loops):
    """The state in the middle has 2**-900 of its neighbours' mass."""
    weak = 2.0**-900
    above, below = np.array([[weak, 0.25, 0], [0.5, 0, 0]]), np.array([[0, 0.5, weak], [0, 0, 0.5]])
    chain = BandedChain(above, below)
    if loops == "compiled":
        with pytest.raises(OverflowError, match=r"by more than 2\*\*500 within 2 states"):
            stationary_distribution(chain)
    else:
        exact = stationary_distribution(chain.to_dense())
        assert stationary_distribution(chain) == pytest.approx(exact, rel=2**-46, abs=0)


def test_an_elimination_that_underflows_says_so(loops):
    """From 1 to 0: 1e-300 twice: the product is 0 in a float."""
    above, below = np.zeros((2, 2, 3))
    above[0, 0], above[0, 1], below[1, 2], below[0, 2] = 0.5, 1e-300, 1e-300, 0.5
    with pytest.raises(OverflowError, match="state 1 is left with probability 0"):
        stationary_distribution(BandedChain(above, below))


def test_these_tests_bite(exact_stationary):
    """The same elimination with 1 - P_nn for the sum loses weak links."""
    rng = np.random.Generator(np.random.PCG64(1))
    chain = banded_chain(rng, 9, 2, 40)
    matrix = chain.to_dense().transition_matrix.copy()
    for n in range(8, 0, -1):
        matrix[:n, n] /= 1 - matrix[n, n]
        matrix[:n, :n] += np.outer(matrix[:n, n], matrix[n, :n])
    law = np.ones(9)
    for n in range(1, 9):
        law[n] = law[:n] @ matrix[:n, n]
    exact = exact_stationary(chain.to_dense().off_diagonal)
    assert relative_error(law / law.sum(), exact) > 100 * bound("plain", chain)


@pytest.mark.parametrize(
    ("above", "below", "message"),
    [
        ([[0.5, 0.0]], [[0.0, 0.5, 0.0]], "one entry for each distance and state"),
        ([[0.5, 0.5]], [[0.0, 0.5]], r"a state in 0\.\.1, got one beyond"),
        ([[0.5, 0.0]], [[0.5, 0.5]], r"a state in 0\.\.1, got one beyond"),
        ([[-0.5, 0.0]], [[0.0, 0.5]], ">= 0, got -0.5"),
        ([[np.nan, 0.0]], [[0.0, 0.5]], ">= 0, got nan"),
        ([[1.5, 0.0]], [[0.0, 0.5]], "at most one, got 1.5"),
    ],
)
def test_what_is_not_a_chain_is_refused(above, below, message):
    with pytest.raises(ValueError, match=message):
        BandedChain(np.array(above), np.array(below))
