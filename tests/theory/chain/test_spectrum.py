"""The spectral gap against closed forms and 60 digits, down to gaps far below a rounding.

A slow gap is 1 over the largest eigenvalue of D. Its entries come from G, whose relative error is
below 2 n**3 2**-53 and whose norm is at most n times that of D: in all 2 n**4 2**-53, relative.
"""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory.chain import MarkovChain, hitting_times, spectral_gap


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


def test_a_periodic_chain_has_no_gap():
    """Absolute, as the mode is -1: n roundings."""
    for size in (2, 3, 4):
        ring = np.roll(np.eye(size), 1, axis=1)
        assert spectral_gap(MarkovChain(ring)) <= bound(size)


def test_a_transient_state_has_a_mode():
    """0 leaves for 1 with probability 1e-30; 1 <-> 2 mix at once: the gap is that of leaving."""
    matrix = np.array([[0.0, 1e-30, 0.0], [0.0, 0.0, 0.5], [0.0, 0.5, 0.0]])
    assert abs(spectral_gap(MarkovChain(matrix)) / 1e-30 - 1) <= bound(3)


def test_a_gap_needs_two_states_and_one_recurrent_class():
    with pytest.raises(ValueError, match="at least two states"):
        spectral_gap(MarkovChain(np.zeros((1, 1))))
    with pytest.raises(ValueError, match="one recurrent class, got 2"):
        spectral_gap(MarkovChain(np.zeros((2, 2))))
