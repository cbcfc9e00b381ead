"""Large deviations and contraction: theorems 21 and 23 of papers/chains.md, and Perron's root.

u = 2**-53.
"""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qpapers.chains.cases import (
    MORE_ADVERSARIAL,
    birth_death,
    random_chain,
    ring,
)
from qtheory.chain import (
    MarkovChain,
    coupling_bound,
    cumulant,
    deviation,
    distances,
    dobrushin_coefficient,
    least_distance,
    overlap,
    perron,
    stationary_distribution,
    tail_bound,
    total_variation,
)
from qtheory.chain.structure import composed

# Perron's root, which theorems 8 and 21 stand on


@given(st.integers(0, 10**6), st.integers(2, 6), st.sampled_from([1.0, 10.0, 60.0]))
@examples(25)
def test_the_root_lies_in_its_bracket(seed, size, spread):
    """Against eigenvalues at 60 digits of the same floats."""
    matrix = np.random.Generator(np.random.PCG64(seed)).random((size, size)) ** spread
    found = perron(matrix)
    with mpmath.workdps(60):
        values = mpmath.eig(mpmath.matrix(matrix.tolist()), left=False, right=False)
        root = max(abs(v) for v in values)
        assert found.bracket.lower <= root <= found.bracket.upper
        assert abs(found.root / root - 1) <= 8 * size * 2.0**-53
    assert found.bracket.upper / found.bracket.lower - 1 <= 64 * size * 2.0**-53


def test_roots_of_what_turns_or_is_all_but_uncoupled():
    """Entries as they are known in closed form; relative, a few roundings of each squaring."""
    for turning in (np.roll(np.eye(5), 1, axis=1), np.roll(np.diag([1, 1e-9, 1e-20]), 1, axis=1)):
        size = len(turning)
        root = turning[turning > 0].prod() ** (1 / size)
        assert perron(turning).root == pytest.approx(root, rel=64 * size * 2.0**-53)
    a, b = 1e-6, 3e-6  # roots 1 +- sqrt(a b): what is rounded is divided by that distance
    found = perron(np.array([[1.0, a], [b, 1.0]]))
    error = 128 * 2.0**-53 / math.sqrt(a * b)
    assert found.right[1] / found.right[0] == pytest.approx(math.sqrt(b / a), rel=error)
    assert found.left[1] / found.left[0] == pytest.approx(math.sqrt(a / b), rel=error)
    found = perron(np.array([[1.0, 1e-200], [2e-200, 0.5]]))
    assert found.right[1] / found.right[0] == pytest.approx(4e-200, rel=1e-13)


# Theorem 21


def exact_tail(chain: MarkovChain, values: np.ndarray, least: int, iterations: int) -> np.ndarray:
    """P_i(S_n >= least) for whole values >= 0, by the law of (X, S)."""
    top = int(values.max()) * iterations
    found = np.zeros(chain.size)
    for start in range(chain.size):
        law = np.zeros((chain.size, top + 1))
        law[start, 0] = 1.0
        for _ in range(iterations):
            moved = chain.transition_matrix.T @ law
            law = np.array([np.roll(row, int(v)) for row, v in zip(moved, values, strict=True)])
        found[start] = law[:, least:].sum()
    return found


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 25), st.integers(0, 10))
@examples(15)
def test_tails_are_below_their_bound(seed, size, iterations, tenths):
    """Strictly valid at every n: slack for the roundings of n iterations only."""
    chain = random_chain(seed, size, 2.0)
    values = np.random.Generator(np.random.PCG64(seed)).integers(0, 4, size).astype(float)
    mean = values.max() * tenths / 10
    bounds = tail_bound(chain, values, mean, iterations)
    exact = exact_tail(chain, values, math.ceil(mean * iterations - 1e-9), iterations)
    assert (exact <= bounds * (1 + 1e-11)).all()


@pytest.mark.parametrize("name", ["a turning ring", "banded, one way weak", "a warm double well"])
def test_tails_of_hard_chains_are_below_their_bound(name):
    chain = MORE_ADVERSARIAL[name]
    values = (np.arange(chain.size) >= chain.size // 2).astype(float)
    for mean in (0.7, 0.9, 1.0):
        least = math.ceil(mean * 20)
        assert (
            exact_tail(chain, values, least, 20)
            <= tail_bound(chain, values, mean, 20) * (1 + 1e-11)
        ).all()


def test_the_rate_is_reached():
    """-ln P / n tends to the rate from above as (1/2) ln n / n + O(1 / n): by the bound it is
    never below; at n = 400 within (ln n + 4) / n."""
    chain = birth_death(np.array([0.3, 0.2]), np.array([0.25, 0.4]))
    values, iterations = np.array([0.0, 1.0, 2.0]), 400
    mean = float(stationary_distribution(chain) @ values) + 0.5
    rate = deviation(chain, values, mean).rate
    tail = exact_tail(chain, values, math.ceil(mean * iterations), iterations)
    excess = -np.log(tail) / iterations - rate
    assert rate > 0.02
    assert (np.abs(excess) <= (math.log(iterations) + 4) / iterations).all()


def test_without_the_factor_of_the_start_it_is_no_bound():
    """The mutant: exp(-n rate) alone is passed from the state that surely scores next."""
    chain = birth_death(np.array([1.0]), np.array([0.9]))
    values = np.array([0.0, 1.0])
    found = deviation(chain, values, 0.75)
    assert exact_tail(chain, values, 1, 1)[0] == 1.0 > math.exp(-found.rate)
    assert tail_bound(chain, values, 0.75, 1)[0] == 1.0


@given(st.integers(0, 10**6), st.integers(2, 5), st.floats(-3, 3), st.floats(-3, 3))
@examples(25)
def test_the_cumulant_is_convex_and_has_the_stationary_mean_as_slope(seed, size, s, t):
    chain = random_chain(seed, size, 2.0)
    f = np.random.Generator(np.random.PCG64(seed)).standard_normal(size)
    middle = cumulant(chain, f, (s + t) / 2)
    assert middle <= (cumulant(chain, f, s) + cumulant(chain, f, t)) / 2 + 1e-13
    assert abs(cumulant(chain, f, 0.0)) <= 64 * size * 2.0**-53
    # central difference: h**2 times a third cumulant, which is at most that of |f| <= 5 and n / gap
    slope = (cumulant(chain, f, 1e-5) - cumulant(chain, f, -1e-5)) / 2e-5
    assert slope == pytest.approx(stationary_distribution(chain) @ f, abs=1e-4)


def test_large_deviations_of_what_cannot_be_are_refused():
    chain = birth_death(np.array([0.25]), np.array([0.25]))
    f = np.array([0.0, 1.0])
    with pytest.raises(ValueError, match="a tilt times the range of f is at most 500"):
        cumulant(chain, f, 501.0)
    with pytest.raises(ValueError, match="values are finite"):
        cumulant(chain, np.array([0.0, math.inf]), 1.0)
    with pytest.raises(ValueError, match="a mean is finite"):
        deviation(chain, f, math.nan)
    with pytest.raises(ValueError, match="iterations is >= 0"):
        tail_bound(chain, f, 0.5, -1)
    assert deviation(chain, np.ones(2), 0.5).rate == 0
    assert tail_bound(chain, np.ones(2), 2.0, 3).max() < 1e-300
    assert tail_bound(chain, f, 0.1, 100).tolist() == [1.0, 1.0]


# Theorem 23


@given(st.integers(0, 10**6), st.integers(2, 8), st.sampled_from([0.3, 4.0]))
@examples(40)
def test_contraction(seed, size, spread):
    """TV of laws falls by tau, tau is submultiplicative, and d(t) <= tau**t; n + 4 roundings."""
    one, two = random_chain(seed, size, spread), random_chain(seed + 1, size, spread)
    slack = 8 * (size + 4) * 2.0**-53
    rng = np.random.Generator(np.random.PCG64(seed))
    p, q = rng.dirichlet(np.ones(size), 2)
    p, q = p / p.sum(), q / q.sum()
    matrix, tau = one.transition_matrix, dobrushin_coefficient(one)
    moved = 0.5 * np.abs(p @ matrix - q @ matrix).sum()
    assert moved <= tau * total_variation(p, q) + slack
    together = dobrushin_coefficient(composed(one, two))
    assert together <= tau * dobrushin_coefficient(two) + slack
    d = distances(one, range(6))
    assert (d <= tau ** np.arange(6) + least_distance(size)).all()
    assert 0 <= overlap(one) <= 1
    rows = max(
        total_variation(a, b)
        for a in matrix / matrix.sum(axis=1, keepdims=True)
        for b in matrix / matrix.sum(axis=1, keepdims=True)
    )
    assert tau == pytest.approx(rows, abs=slack)


@pytest.mark.parametrize("name", MORE_ADVERSARIAL)
def test_copies_that_have_not_met_bound_the_distance(name):
    chain = MORE_ADVERSARIAL[name]
    for t in (0, 1, 3, 10, 60):
        d = float(distances(chain, [t])[0])
        assert d <= coupling_bound(chain, t) + least_distance(chain.size)
        assert d <= dobrushin_coefficient(chain) ** t + least_distance(chain.size)


def test_copies_of_a_periodic_chain_never_meet():
    assert coupling_bound(ring(4, 1.0, 0.0), 50) == 1.0
    assert dobrushin_coefficient(ring(4, 1.0, 0.0)) == 1.0
    with pytest.raises(ValueError, match="iterations is >= 0"):
        coupling_bound(ring(4, 1.0, 0.0), -1)
