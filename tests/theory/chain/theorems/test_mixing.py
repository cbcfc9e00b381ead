"""Mixing and Kemeny's constant: theorems 4 and 6 of papers/chains.md, on random and hard chains.

u = 2**-53. Kemeny's constant is a sum of products of pi_j and E_i[T_j], each within
(2 n**3 + 16) u of the rationals (see test_chain), so within twice that and 2 n more.
"""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qpapers.chains.cases import (
    MORE_ADVERSARIAL,
    MORE_REVERSIBLE,
    birth_death,
    blocks,
    double_well,
    random_chain,
    random_reversible,
    ring,
)
from qtheory.chain import (
    MarkovChain,
    distances,
    hitting_times,
    kemeny_constant,
    lazy,
    least_distance,
    mixing_bounds,
    mixing_time,
    stationary_distribution,
    times_from,
    total_variation,
)


def bound(size: int) -> float:
    return (4 * size**3 + 2 * size + 32) * 2.0**-53


def kemeny_of_matrix(chain: MarkovChain) -> float:
    """tr(Z) - 1 with Z = (I - P + 1 pi)**-1, as textbooks have it.

    Absolute accuracy only: it loses all digits at links of 1e-16.
    """
    law = stationary_distribution(chain)
    fundamental = np.linalg.inv(np.eye(chain.size) - chain.transition_matrix + law[None, :])
    return float(np.trace(fundamental)) - 1.0


@pytest.mark.parametrize("name", MORE_ADVERSARIAL)
def test_kemeny_is_the_same_from_every_state(name):
    """K = sum_j pi_j E_i[T_j] for each i, with times from another elimination."""
    chain = MORE_ADVERSARIAL[name]
    law, found = stationary_distribution(chain), kemeny_constant(chain)
    times = np.array([hitting_times(chain, [j]) for j in range(chain.size)]).T
    assert np.abs(times @ law / found - 1).max() <= 2 * bound(chain.size)


@pytest.mark.parametrize("name", MORE_ADVERSARIAL)
def test_mean_times_to_all_states_are_hitting_times(name):
    chain = MORE_ADVERSARIAL[name]
    start = chain.size // 2
    found = times_from(chain, start)
    each = np.array([hitting_times(chain, [j])[start] for j in range(chain.size)])
    assert found[start] == each[start] == 0
    apart = np.arange(chain.size) != start
    assert np.abs(found[apart] / each[apart] - 1).max() <= bound(chain.size)


@given(st.integers(0, 10**6), st.integers(2, 9))
@examples(30)
def test_kemeny_is_the_trace_and_the_sum_over_eigenvalues(seed, size):
    """Benign chains, entries >= 1e-3 of 1 / n: LAPACK's error is below
    n**2 2**-52 |Z|**2, |Z| <= 1e4."""
    chain = random_chain(seed, size, 1.0)
    found = kemeny_constant(chain)
    assert found == pytest.approx(kemeny_of_matrix(chain), rel=1e-6)
    values = np.linalg.eigvals(chain.transition_matrix)
    modes = np.delete(values, np.argmin(np.abs(values - 1)))
    assert found == pytest.approx((1 / (1 - modes)).sum().real, rel=1e-6)


def test_the_trace_loses_what_the_sum_keeps():
    """At couplings of 1e-12 a diagonal holds four digits of a link; n = 12."""
    chain = blocks(4, 3, 1e-12)
    assert abs(kemeny_of_matrix(chain) / kemeny_constant(chain) - 1) > 1e-6 > 1e5 * bound(12)


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=20))
@examples(40)
def test_kemeny_of_birth_and_death_in_closed_form(rates):
    """Over the rationals; probabilities in thousandths err by two roundings a state."""
    up, down = ([Fraction(r, 1000) for r in side] for side in zip(*rates, strict=True))
    weights = [Fraction(1)]
    for p, q in zip(up, down, strict=True):
        weights.append(weights[-1] * p / q)
    law = [w / sum(weights) for w in weights]
    below = [sum(law[: k + 1]) for k in range(len(up))]
    exact = sum(f * (1 - f) / (law[k] * p) for k, (f, p) in enumerate(zip(below, up, strict=True)))
    chain = birth_death(np.array(up, dtype=float), np.array(down, dtype=float))
    size = chain.size
    assert abs(Fraction(kemeny_constant(chain)) / exact - 1) <= bound(size) + 8 * size * 2.0**-53


@given(st.integers(1, 999), st.integers(1, 999), st.integers(0, 200), st.integers(1, 9))
@examples(60)
def test_two_states_mix_in_closed_form(a, b, exponent, tenths):
    """d(t) = max(p, q) / (p + q) |1 - p - q|**t, logarithms to 100 digits. Each of 2 log2(t)
    products errs by 5 u in the rates, so time by as much; beyond that one iteration of doubt."""
    p, q = a / 1000 * 2.0**-exponent, b / 1000 * 2.0**-exponent
    found = mixing_time(MarkovChain(np.array([[0.0, p], [q, 0.0]])), tenths / 10)
    with mpmath.workdps(100):
        most = mpmath.mpf(max(p, q)) / (mpmath.mpf(p) + q)
        decay = abs(1 - mpmath.mpf(p) - q)
        exact = mpmath.log(most / (tenths / 10)) / -mpmath.log(decay) if decay else mpmath.mpf(1)
        doubt = abs(exact) * 2 * (exponent + 10) * 5 * 2.0**-53 + 1e-9
        assert max(exact, 0) - doubt <= found <= max(exact + 1 + doubt, 1)
        assert found > 0 or most <= tenths / 10 + 1e-12


def exact_distance(matrix: np.ndarray, time: int, law: list[Fraction]) -> Fraction:
    """d(t) over the rationals."""
    size = len(matrix)
    rows = [[Fraction(float(p)) for p in row] for row in matrix]
    for i in range(size):
        rows[i][i] = 1 - sum(rows[i])
    power = [[Fraction(int(i == j)) for j in range(size)] for i in range(size)]
    for _ in range(time):
        power = [
            [sum(power[i][k] * rows[k][j] for k in range(size)) for j in range(size)]
            for i in range(size)
        ]
    return max(sum(abs(a - b) for a, b in zip(row, law, strict=True)) / 2 for row in power)


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(0, 12))
@examples(25)
def test_distances_are_those_of_the_rationals(exact_stationary, seed, size, time):
    """Absolute error t (n + 4) u, and that of the law."""
    chain = random_chain(seed, size, 3.0)
    exact = exact_distance(chain.off_diagonal, time, exact_stationary(chain.off_diagonal))
    found = float(distances(chain, [time])[0])
    assert abs(Fraction(found) - exact) <= (time * (size + 4) + 2 * size**3 + 16) * 2.0**-53


@pytest.mark.parametrize("eps", [0.4, 0.25, 1e-3])
@pytest.mark.parametrize("name", MORE_ADVERSARIAL)
def test_the_mixing_time_is_the_first(name, eps):
    """d(t) <= eps < d(t - 1), where rounding lets the two differ: times below 2**40."""
    chain = MORE_ADVERSARIAL[name]
    time = mixing_time(chain, eps)
    if time < 2**40:
        before, at = distances(chain, [time - 1, time])
        assert at <= eps + least_distance(chain.size)
        assert before >= eps - least_distance(chain.size)
    else:
        half, at, twice = distances(chain, [time // 2, time, time * 2])
        assert twice < at <= eps * (1 + 1e-9) < half


@pytest.mark.parametrize("eps", [0.4, 0.25, 1e-3])
@pytest.mark.parametrize("name", MORE_REVERSIBLE)
def test_mixing_lies_between_the_bounds_of_the_gap(name, eps):
    """Theorem 6, strict. The bounds are as exact as the gap: 2 n**4 u, relative."""
    chain = MORE_REVERSIBLE[name]
    lower, upper = mixing_bounds(chain, eps)
    slack = 2 * chain.size**4 * 2.0**-53
    assert lower * (1 - slack) <= mixing_time(chain, eps) <= upper * (1 + slack)


@given(st.integers(0, 10**6), st.integers(2, 10), st.sampled_from([0.5, 5.0, 30.0]))
@examples(40)
def test_mixing_lies_between_the_bounds_of_the_gap_of_random_chains(seed, size, spread):
    chain = lazy(random_reversible(seed, size, spread))
    lower, upper = mixing_bounds(chain)
    slack = 2 * chain.size**4 * 2.0**-53
    assert lower * (1 - slack) <= mixing_time(chain) <= upper * (1 + slack)


def test_the_mixing_time_of_a_cold_double_well_to_a_hundred_digits():
    """t = 1e24 or so, against squaring and halving at 250 digits; 2 log2(t) (n + 3) u, relative."""
    chain = double_well(0.02, 9)
    with mpmath.workdps(120):
        moves = mpmath.matrix(chain.off_diagonal.tolist())
        for i in range(chain.size):
            moves[i, i] = 1 - sum(moves[i, j] for j in range(chain.size) if j != i)
        law = [mpmath.mpf(1)]
        for k in range(chain.size - 1):
            law.append(law[-1] * moves[k, k + 1] / moves[k + 1, k])
        law = [w / sum(law) for w in law]

        def far(power) -> bool:
            rows = range(chain.size)
            return max(sum(abs(power[i, j] - law[j]) for j in rows) for i in rows) > 0.5

        powers = [moves]
        while far(powers[-1]):
            powers.append(powers[-1] * powers[-1])
        time, power = 2 ** (len(powers) - 2), powers[-2]
        for k in range(len(powers) - 3, max(len(powers) - 70, -1), -1):
            later = power * powers[k]
            if far(later):
                power, time = later, time + 2**k
    found = mixing_time(chain)
    assert found > 10**15
    assert abs(found / time - 1) <= 2 * math.log2(found) * (chain.size + 3) * 2.0**-53


def naive_distance(chain: MarkovChain, time: int) -> float:
    """With the diagonal stored, by floating-point powers."""
    power = np.linalg.matrix_power(chain.transition_matrix, time)
    return float(0.5 * np.abs(power - stationary_distribution(chain)).sum(axis=1).max())


def test_a_stored_diagonal_forgets_weak_links():
    """At t = 2**60 two wells linked by 1e-18 are within e**-2.3 / 2; a stored diagonal of 1 lets
    mass grow, and what comes out is no distance, above one."""
    chain = birth_death(np.array([1e-18]), np.array([1e-18]))
    found = float(distances(chain, [2**60])[0])
    assert found == pytest.approx(0.5 * math.exp(2.0**60 * math.log1p(-2e-18)), rel=1e-12)
    assert naive_distance(chain, 2**60) > 1.0 > 4 * found


@given(st.integers(0, 10**6), st.integers(2, 8))
@examples(30)
def test_distance_falls_and_is_submultiplicative(seed, size):
    """d(s + t) <= 2 d(s) d(t), and d does not rise; up to rounding."""
    chain = random_chain(seed, size)
    d = distances(chain, list(range(12)))
    slack = least_distance(size)
    assert (np.diff(d) <= slack).all()
    assert all(d[s + t] <= 2 * d[s] * d[t] + slack for s in range(6) for t in range(6))


def test_a_periodic_chain_does_not_mix_but_its_lazy_one_does():
    for size in (2, 3, 4):
        ring = MarkovChain(np.roll(np.eye(size), 1, axis=1))
        with pytest.raises(ValueError, match=f"only an aperiodic chain mixes, got period {size}"):
            mixing_time(ring)
        assert mixing_time(lazy(ring), 0.01) >= size - 1
    with pytest.raises(ValueError, match="got period 2"):
        mixing_bounds(MarkovChain(np.roll(np.eye(2), 1, axis=1)))


def test_a_chain_in_two_parts_does_not_mix():
    with pytest.raises(ValueError, match=r"one recurrent class, got 2: \[0\], \[1\]"):
        mixing_time(MarkovChain(np.zeros((2, 2))))


def test_transient_states_mix_too():
    """0 leaves with probability 2**-20 and d(t) = P(still there): 726817 = ceil(2**20 ln 2)."""
    chain = MarkovChain(np.array([[0.0, 2.0**-20], [0.0, 0.0]]))
    exact = math.log(0.5) / math.log1p(-(2.0**-20))
    assert mixing_time(chain, 0.5) == math.ceil(exact)


def test_bad_questions_about_mixing_are_refused():
    chain = MarkovChain(np.array([[0.0, 0.5], [0.25, 0.0]]))
    for distance in (0.0, 1.0, -1.0, math.nan, 1e-15):
        with pytest.raises(ValueError, match=r"a distance is in .* got"):
            mixing_time(chain, distance)
    with pytest.raises(ValueError, match=r"a distance is in 0 \.\. 1/2"):
        mixing_bounds(chain, 0.5)
    with pytest.raises(ValueError, match="a reversible chain"):
        mixing_bounds(ring(4, 0.5, 0.25))
    with pytest.raises(ValueError, match=r"recurrent classes are \[1\]"):
        mixing_bounds(MarkovChain(np.array([[0.0, 0.5], [0.0, 0.0]])))
    with pytest.raises(ValueError, match="times increase from 0"):
        distances(chain, [3, 2])
    with pytest.raises(ValueError, match="one length"):
        total_variation(np.ones(1), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="sums to one"):
        total_variation(np.ones(2), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"Kemeny's constant needs .* recurrent classes are \[1\]"):
        kemeny_constant(MarkovChain(np.array([[0.0, 0.5], [0.0, 0.0]])))
    with pytest.raises(ValueError, match=r"a state is in 0\.\.1, got 2"):
        times_from(chain, 2)
