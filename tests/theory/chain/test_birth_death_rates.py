"""Rates of birth and death against closed forms and 300 digits, down to 1e-250.

The count is that of a chain whose links differ by at most four roundings, so a rate differs by
4 n of them (docstring of `rate`); the last bracket adds 2**-52 of the rate.
"""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qtheory.chain import BirthDeathChain, rate, rates_below, spectral_gap


def bound(loops: str, size: int) -> float:
    return 2.0**-51 + 4 * size * (2.0**-102 if loops == "compiled" else 2.0**-53)


def walk(size: int, p: float) -> BirthDeathChain:
    return BirthDeathChain(np.full(size - 1, p), np.full(size - 1, p))


@pytest.mark.parametrize("size", [2, 3, 17, 200])
@pytest.mark.parametrize("p", [0.25, 1e-3, 1e-200])
def test_a_symmetric_walk(loops, size, p):
    """1 - lambda_k = 4 p sin(pi k / 2 n)**2, to which the formula in floats adds 8 roundings."""
    chain = walk(size, p)
    for number in sorted({1, (size + 1) // 2, size - 1}):
        exact = 4 * p * np.sin(np.pi * number / (2 * size)) ** 2
        assert abs(rate(chain, number) / exact - 1) <= bound(loops, size) + 8 * 2.0**-53


def exact_count(chain: BirthDeathChain, x) -> int:
    """Rates below x, by the Sturm sequence of the symmetric matrix, at mpmath's precision."""
    up, down = ([mpmath.mpf(p) for p in a.tolist()] for a in (chain.up, chain.down))
    pivot, count = up[0] + down[0] - x, 0
    for k in range(len(up)):
        if k:
            pivot = up[k] + down[k] - x - down[k - 1] * up[k] / pivot
        count += pivot < 0
    return count


def double_well(temperature: float, size: int) -> BirthDeathChain:
    """Metropolis steps in a tilted double well, proposals 1/2."""
    x = np.linspace(-1.2, 1.2, size)
    rise = np.diff((x**2 - 1) ** 2 + 0.1 * x) / temperature
    return BirthDeathChain(*(0.5 * np.exp(-np.maximum(d, 0)) for d in (rise, -rise)))


@pytest.mark.parametrize(("temperature", "least"), [(0.1, -7), (0.01, -45), (0.00163, -256)])
def test_a_gap_is_bracketed_exactly(loops, temperature, least):
    """None below the gap less its bound and one below it plus that, at 700 digits; to 1e-250."""
    size = 101
    chain = double_well(temperature, size)
    gap = spectral_gap(chain)
    assert 10.0**least < gap < 10.0 ** (0.9 * least)
    with mpmath.workdps(700):
        error = bound(loops, size)
        assert exact_count(chain, gap * (1 - mpmath.mpf(error))) == 0
        assert exact_count(chain, gap * (1 + mpmath.mpf(error))) == 1


def test_counts_are_those_of_the_matrix(loops):
    """Shifts between eigenvalues of LAPACK, from which they keep 1e-9: above its error of n 2**-52.

    Negative pivots, zero pivots (a shift of exactly up_0 + down_0) and more than one among them.
    """

    @examples(40)
    @given(st.integers(2, 30), st.integers(0, 2**32))
    def compare(size, seed):
        rng = np.random.Generator(np.random.PCG64(seed))
        chain = BirthDeathChain(*(rng.integers(1, 5, (2, size - 1)) / 8))
        up, down = chain.up, chain.down
        matrix = np.diag(up + down) - np.diag(np.sqrt(down[:-1] * up[1:]), 1)
        matrix -= np.diag(np.sqrt(down[:-1] * up[1:]), -1)
        values = np.linalg.eigvalsh(matrix)
        shifts = np.unique(np.append(rng.uniform(0, 2, 15), up[0] + down[0]))
        clear = np.abs(shifts[:, None] - values).min(axis=1) > 1e-9
        expected = (values < shifts[:, None]).sum(axis=1)
        assert (rates_below(chain, shifts)[clear] == expected[clear]).all()

    compare()


def test_the_absolute_gap_knows_oscillating_modes(loops):
    """p = 1/2 with sticky ends: lambda = cos(pi k / n), the same modulus at both ends."""
    exact = 1 - np.cos(np.pi / 8)
    assert abs(spectral_gap(walk(8, 0.5)) - exact) <= 4 * (bound(loops, 8) + 2.0**-52)
    flip = BirthDeathChain(np.array([1.0]), np.array([1.0]))
    assert spectral_gap(flip) == 0.0
    fast = BirthDeathChain(np.array([1.0, 0.25]), np.array([0.75, 1.0]))
    dense = spectral_gap(fast.to_dense())
    assert dense <= 2.0**-50 and abs(spectral_gap(fast) - dense) <= 2.0**-49  # of period 2


def test_broken_chains_are_left_to_the_matrix(loops):
    """0 leaves for 1 with probability 1e-30: a transient state has a mode. Dense: 2 n**4 + 16."""
    chain = BirthDeathChain(np.array([1e-30, 0.5]), np.array([0.0, 0.5]))
    assert abs(spectral_gap(chain) / 1e-30 - 1) <= (2 * 81 + 16) * 2.0**-53


def test_no_bisection_without_relative_pivots():
    """The mutant: pivots as up + down - x - down up / pivot cancel, and find 1e-17 for 1e-45."""

    def wrong_count(chain: BirthDeathChain, x: float) -> int:
        pivot, count = chain.up[0] + chain.down[0] - x, 0
        for k in range(1, len(chain.up)):
            product = chain.down[k - 1] * chain.up[k]
            pivot = chain.up[k] + chain.down[k] - x - product / pivot
            count += pivot < 0
        return count

    chain = double_well(0.01, 101)
    gap = spectral_gap(chain)
    assert rates_below(chain, gap * np.array([0.5, 2.0])).tolist() == [0, 1]
    assert [wrong_count(chain, gap * f) for f in (0.5, 2.0)] != [0, 1]


def test_bad_questions_are_refused():
    chain = walk(3, 0.25)
    with pytest.raises(ValueError, match=r"a mode is in 1\.\.2, got 3"):
        rate(chain, 3)
    with pytest.raises(ValueError, match="links that go both ways"):
        rate(BirthDeathChain(np.array([0.0]), np.array([0.5])), 1)
    with pytest.raises(ValueError, match=r"above 2\*\*-1000"):
        rate(walk(2, 2.0**-1010), 1)
