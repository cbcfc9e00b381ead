"""The spectral gap against closed forms and 60 digits, down to gaps far below a rounding.

A slow gap is 1 over the largest eigenvalue of D. Its entries come from G, whose relative error is
below 2 n**3 2**-53 and whose norm is at most n times that of D: in all 2 n**4 2**-53, relative.
"""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory.chain import (
    BirthDeathChain,
    MarkovChain,
    eigenvalues,
    hitting_times,
    is_aperiodic,
    relaxation_time,
    spectral_gap,
)
from qtheory.chain.banded import banded
from qtheory.chain.forms import as_sparse


def bound(size: int) -> float:
    return (2 * size**4 + 16) * 2.0**-53


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 300))
def test_two_states(a, b, exponent):
    """lambda = 1 - p - q: the gap is p + q, or 2 - p - q if lambda < 0 (then absolute)."""
    p, q = a / 1000 * 2.0**-exponent, b / 1000 * 2.0**-exponent
    gap = spectral_gap(MarkovChain(np.array([[0.0, p], [q, 0.0]])))
    assert abs(gap - min(p + q, 2 - p - q)) <= bound(2) * (p + q)


@pytest.mark.parametrize("size", [2, 3, 10, 40])
@pytest.mark.parametrize("p", [0.25, 1e-3, 1e-20, 1e-200])
def test_a_symmetric_walk(size, p):
    """Reflected walk: lambda_k = 1 - 4 p sin(pi k / 2 n)**2, k = 0..n-1."""
    matrix = p * (np.eye(size, k=1) + np.eye(size, k=-1))
    exact = 4 * p * np.sin(np.pi / (2 * size)) ** 2
    assert abs(spectral_gap(MarkovChain(matrix)) / exact - 1) <= bound(size)


def test_a_fast_walk_oscillates():
    """p = 1/2 with sticky ends: lambda = cos(pi k / n) has the modulus cos(pi / n) at both ends of
    the spectrum; sizes of 8 and absolute rounding."""
    matrix = 0.5 * (np.eye(8, k=1) + np.eye(8, k=-1))
    assert abs(spectral_gap(MarkovChain(matrix)) - (1 - np.cos(np.pi / 8))) <= bound(8)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e-30])
@pytest.mark.parametrize(("right", "left"), [(0.5, 0.0), (0.3, 0.1), (0.01, 0.24)])
@pytest.mark.parametrize("size", [3, 6])
def test_a_turning_ring(size, right, left, scale):
    """Not reversible; lambda = 1 - a - b + a w + b / w over the n-th roots of unity w.
    The matrix is normal, so eigenvalues are perfectly conditioned."""
    ring = np.roll(np.eye(size), 1, axis=1)
    matrix = scale * (right * ring + left * ring.T)
    with mpmath.workdps(50):
        a, b = mpmath.mpf(scale * right), mpmath.mpf(scale * left)
        roots = [mpmath.expjpi(mpmath.mpf(2 * k) / size) for k in range(1, size)]
        exact = 1 - max(abs(1 - a - b + a * w + b / w) for w in roots)
        assert abs(spectral_gap(MarkovChain(matrix)) / exact - 1) <= bound(size)


def test_a_slow_mode_does_not_hide_a_turning_one():
    """A ring of 40 turns with |1 - lambda| = 0.16, resting 2**-10 of the time, so that this mode is
    damped by 2**-10 (1 - cos(pi / 20)), far less than all others of the ring, and less than the
    link of 2**-13 to a state that returns as rarely, which is slow. The oracle is LAPACK, whose
    absolute error of 41 * 2**-52 (a normal matrix but for 2**-13) is below 1e-8 of the gap."""
    matrix = np.zeros((41, 41))
    matrix[:40, :40] = (1 - 2.0**-10) * np.roll(np.eye(40), 1, axis=1)
    matrix[0, 40] = matrix[40, 0] = 2.0**-13
    moduli = np.sort(np.abs(np.linalg.eigvals(MarkovChain(matrix).transition_matrix)))
    gap = 1 - moduli[-2]
    assert 1e-5 < gap < 2e-5 < 2.0**-13
    assert abs(spectral_gap(MarkovChain(matrix)) / gap - 1) <= 1e-8


def double_well(temperature: float, size: int = 15) -> np.ndarray:
    """Metropolis steps to neighbours in a tilted double well, proposals 1/2."""
    x = np.linspace(-1.2, 1.2, size)
    energy = (x**2 - 1) ** 2 + 0.1 * x
    matrix = np.zeros((size, size))
    for i, j in [(i, i + d) for i in range(size) for d in (-1, 1) if 0 <= i + d < size]:
        matrix[i, j] = 0.5 * np.exp(-max(energy[j] - energy[i], 0.0) / temperature)
    return matrix


@pytest.mark.parametrize("temperature", [0.2, 0.025, 0.005])
def test_a_double_well_to_sixty_digits(temperature):
    """Down to a gap of 1e-90. The oracle is the symmetric matrix of the same floats at 250 digits;
    a symmetric double well would hide a sign, so it is tilted."""
    matrix = double_well(temperature)
    with mpmath.workdps(250):
        exact = [[mpmath.mpf(float(p)) for p in row] for row in matrix]
        size = len(matrix)
        laplacian = mpmath.matrix(size, size)
        for i in range(size):
            for j in range(size):
                off = -mpmath.sqrt(exact[i][j] * exact[j][i])
                laplacian[i, j] = sum(exact[i]) if i == j else off
        gap = sorted(mpmath.eigsy(laplacian, eigvals_only=True))[1]
        found = spectral_gap(MarkovChain(matrix))
        assert abs(found / gap - 1) <= bound(size)


def test_the_smallest_gap_is_far_below_a_rounding():
    assert 0 < spectral_gap(MarkovChain(double_well(0.005))) < 1e-60


def test_a_slow_gap_is_a_rate_of_escape():
    """1 / gap = 1 / (1 / E_up + 1 / E_down) to first order for two wells; order exp(-barrier / T)
    in the ratio of times within and between wells: below 1e-12 at this temperature."""
    chain = MarkovChain(double_well(0.01))
    left, right = 2, 12
    rate = 1 / hitting_times(chain, [right])[left] + 1 / hitting_times(chain, [left])[right]
    assert abs(spectral_gap(chain) / rate - 1) <= 1e-12


def circle(period: int, width: int, seed: int = 1) -> np.ndarray:
    """Classes of so many states, each leading to the next with random probabilities."""
    rng = np.random.Generator(np.random.PCG64(seed))
    turn = np.repeat(np.arange(period), width)
    matrix = rng.uniform(0.1, 1, (len(turn), len(turn)))
    matrix *= (turn[:, None] + 1) % period == turn
    return matrix / matrix.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("period", [2, 3, 4, 7])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_gap_of_a_periodic_chain_is_zero(period, width):
    """Not some roundings, as eigenvalues of a third of the wider ones have: it is found by
    classes, and 1 / 0 is infinite."""
    assert [spectral_gap(circle(period, width, seed)) for seed in range(6)] == [0.0] * 6
    chain = circle(period, width)
    for form in (chain, as_sparse(chain)):
        assert spectral_gap(form) == 0.0
        assert relaxation_time(form) == np.inf
    before = np.pad(chain, ((1, 0), (1, 0)))  # and a transient state, which rests
    before[0, 0] = before[0, 1] = 0.5
    assert spectral_gap(before) == 0.0


def test_the_gap_of_a_bipartite_walk_is_zero():
    walk = BirthDeathChain(np.array([1.0, 0.3, 0.1, 0.7]), np.array([0.7, 0.9, 0.3, 1.0]))
    for form in (walk, banded(walk), walk.to_dense()):
        assert spectral_gap(form) == 0.0


@pytest.mark.parametrize("stay", [2.0**-48, 1e-12, 1e-3])
def test_a_chain_that_hardly_ever_rests_has_a_gap(stay):
    """One of two states rests with a probability s: lambda = -(1 - s), an absolute error of some
    roundings (docstring), which are 2**-51 here."""
    chain = MarkovChain(np.array([[0.0, 1.0 - stay], [1.0, 0.0]]))
    assert abs(spectral_gap(chain) - stay) <= 2.0**-51
    assert is_aperiodic(chain)


def test_eigenvalues_are_those_of_the_matrix():
    """n 2**-52 for a reversible chain, in order of modulus; those of a circle are roots of one."""
    chain = BirthDeathChain(np.full(4, 0.3), np.full(4, 0.3))  # 0.4 + 0.6 cos(pi k / 5)
    exact = 0.4 + 0.6 * np.cos(np.pi * np.arange(5) / 5)
    found = eigenvalues(chain)
    assert found.dtype == np.float64
    assert np.abs(np.sort(found) - np.sort(exact)).max() <= 5 * 2.0**-52
    assert (np.diff(np.abs(found)) <= 2.0**-50).all()
    roots = eigenvalues(circle(3, 1))
    assert np.abs(roots**3 - 1).max() <= 3 * 8 * 2.0**-52


def test_a_relaxation_time_is_one_over_the_gap():
    chain = [[1 - 1e-12, 1e-12], [3e-12, 1 - 3e-12]]
    assert relaxation_time(chain) == 1 / spectral_gap(chain)


def test_a_transient_state_has_a_mode():
    """0 leaves for 1 with probability 1e-30; 1 <-> 2 mix at once: the gap is that of leaving."""
    matrix = np.array([[0.0, 1e-30, 0.0], [0.0, 0.0, 0.5], [0.0, 0.5, 0.0]])
    assert abs(spectral_gap(MarkovChain(matrix)) / 1e-30 - 1) <= bound(3)


def test_a_gap_needs_two_states_and_one_recurrent_class():
    with pytest.raises(ValueError, match="at least two states"):
        spectral_gap(MarkovChain(np.zeros((1, 1))))
    with pytest.raises(ValueError, match="one recurrent class, got 2"):
        spectral_gap(MarkovChain(np.zeros((2, 2))))
