"""Reversible chains: theorems 1, 2, 3 and 5 of papers/chains.md.

u = 2**-53. A law errs by 2 n**3 + 16 u, an asymptotic variance by a few times that.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qpapers.chains.cases import (
    MORE_ADVERSARIAL,
    MORE_OTHERS,
    MORE_REVERSIBLE,
    birth_death,
    blocks,
    double_well,
    random_birth_death,
    random_chain,
    random_reversible,
    ring,
)
from qtheory.chain import (
    MarkovChain,
    asymptotic_variance,
    autocorrelation_time,
    barker,
    cheeger_bounds,
    conductance,
    deviation_matrix,
    dominates,
    fundamental_matrix,
    hardy_bounds,
    is_reversible,
    kolmogorov_criterion,
    lazy,
    metropolis_hastings,
    poisson_solution,
    spectral_gap,
    stationary_distribution,
    sweep_conductance,
    time_reversal,
    unbalanced_cycle,
)


def bound(size: int) -> float:
    return (2 * size**3 + 16) * 2.0**-53


def weights(seed: int, size: int, decades: float) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(seed))
    return 10.0 ** (-decades * rng.random(size))


# Theorem 1


@given(st.integers(0, 10**6), st.integers(2, 8), st.sampled_from([0.0, 3.0, 100.0]))
@examples(50)
def test_metropolis_and_barker_have_the_law_they_were_made_for(seed, size, decades):
    """P_ij pi_i is the flow but for the rounding of pi_i (scaled), the division and the product."""
    proposals, law = random_chain(seed, size, 3.0), weights(seed, size, decades)
    law /= law.sum()
    for rule in (metropolis_hastings, barker):
        chain = rule(proposals, law)
        assert is_reversible(chain)
        assert kolmogorov_criterion(chain)
        flow = law[:, None] * chain.off_diagonal
        assert (np.abs(flow - flow.T) <= 6 * 2.0**-53 * flow).all()
        found = stationary_distribution(chain)
        assert np.abs(found / law - 1).max() <= bound(size) + 12 * size * 2.0**-53


@given(st.integers(0, 10**6), st.integers(2, 6))
@examples(25)
def test_metropolis_accepts_with_the_ratio(seed, size):
    """P_ij = q_ij min(1, pi_j q_ji / (pi_i q_ij)), over the rationals; five roundings."""
    proposals, law = random_chain(seed, size, 2.0), weights(seed, size, 2.0)
    found = metropolis_hastings(proposals, law).off_diagonal
    accepted = barker(proposals, law).off_diagonal
    q = [[Fraction(float(p)) for p in row] for row in proposals.off_diagonal]
    pi = [Fraction(float(w)) for w in law]
    for i, j in itertools.permutations(range(size), 2):
        ratio = pi[j] * q[j][i] / (pi[i] * q[i][j])
        exact = q[i][j] * min(Fraction(1), ratio)
        assert abs(Fraction(found[i, j]) / exact - 1) <= 5 * 2.0**-53
        exact = q[i][j] * ratio / (1 + ratio)
        assert abs(Fraction(accepted[i, j]) / exact - 1) <= 8 * 2.0**-53


@pytest.mark.parametrize("name", MORE_ADVERSARIAL)
def test_kolmogorov_agrees_with_detailed_balance(name):
    chain = MORE_ADVERSARIAL[name]
    assert kolmogorov_criterion(chain) == is_reversible(chain) == (name in MORE_REVERSIBLE)


def products(chain: MarkovChain, cycle: list[int]) -> tuple[Fraction, Fraction]:
    """Along the cycle and backwards, exactly."""
    moves = chain.off_diagonal
    steps = list(zip(cycle, cycle[1:] + cycle[:1], strict=True))
    forth = math.prod(Fraction(float(moves[i, j])) for i, j in steps)
    return forth, math.prod(Fraction(float(moves[j, i])) for i, j in steps)


@pytest.mark.parametrize("name", MORE_OTHERS)
def test_an_unbalanced_cycle_is_one(name):
    chain = MORE_OTHERS[name]
    cycle = unbalanced_cycle(chain)
    assert len(set(cycle)) == len(cycle) > 2
    forth, back = products(chain, cycle)
    assert forth > back


@given(st.integers(0, 10**6), st.integers(3, 8), st.sampled_from([2.0, 60.0]))
@examples(40)
def test_one_flow_changed_by_a_millionth_is_found(seed, size, spread):
    """Far above 4 (2 n) u; the mutant of every reversible chain."""
    chain = random_reversible(seed, size, spread)
    assert kolmogorov_criterion(chain)
    moves = chain.off_diagonal.copy()
    moves[0, 1] *= 1 - 1e-6
    assert not kolmogorov_criterion(MarkovChain(moves))
    forth, back = products(MarkovChain(moves), unbalanced_cycle(MarkovChain(moves)))
    assert float(forth / back - 1) == pytest.approx(1e-6, rel=1e-3)


def test_a_cycle_that_turns_one_way_only_is_found_by_its_shortest_way():
    assert unbalanced_cycle(ring(5, 0.5, 0.0)) == [0, 1, 2, 3, 4]


@given(st.integers(0, 10**6), st.integers(2, 8))
@examples(25)
def test_reversing_twice_changes_nothing(seed, size):
    """pi twice on each side, two products and quotients."""
    chain = random_chain(seed, size)
    back = time_reversal(chain)
    again = time_reversal(back).off_diagonal
    assert (np.abs(again - chain.off_diagonal) <= 5 * bound(size) * again).all()
    assert np.abs(
        stationary_distribution(back) / stationary_distribution(chain) - 1
    ).max() <= 5 * bound(size)
    reversible = random_reversible(seed, size)
    same = time_reversal(reversible).off_diagonal
    assert (np.abs(same - reversible.off_diagonal) <= 5 * bound(size) * same).all()


# Theorems 2 and 3


@given(st.integers(0, 10**6), st.integers(2, 8), st.sampled_from([0.5, 4.0]))
@examples(40)
def test_peskun(seed, size, decades):
    """Metropolis dominates Barker, and has the smaller asymptotic variance, for any f."""
    proposals, law = random_chain(seed, size, 2.0), weights(seed, size, decades)
    better, worse = metropolis_hastings(proposals, law), barker(proposals, law)
    assert dominates(better, worse)
    assert not dominates(worse, better)
    rng = np.random.Generator(np.random.PCG64(seed))
    for f in (rng.standard_normal(size), np.eye(size)[0], np.arange(size) ** 2.0):
        ours, theirs = asymptotic_variance(better, f), asymptotic_variance(worse, f)
        assert ours <= theirs * (1 + 20 * bound(size))


def test_peskun_needs_the_same_law():
    """Without it domination says nothing: two states, p = 1/1000 and p = 2/5, q = 1/2."""
    slow, fast = (MarkovChain(np.array([[0.0, p], [0.5, 0.0]])) for p in (0.001, 0.4))
    assert dominates(fast, slow)
    f = np.array([0.0, 1.0])
    assert asymptotic_variance(fast, f) > 10 * asymptotic_variance(slow, f)


def exact_variance(solve, law, matrix: np.ndarray, f: np.ndarray) -> Fraction:
    """<c, 2 h - c> over the rationals, c centred and h = Z c by the rewards until state 0."""
    values = [Fraction(float(v)) for v in f]
    mean = sum(p * v for p, v in zip(law, values, strict=True))
    centred = [v - mean for v in values]
    h = [Fraction(0), *solve(matrix, [0], centred)]
    shift = sum(p * x for p, x in zip(law, h, strict=True))
    return sum(p * c * (2 * (x - shift) - c) for p, c, x in zip(law, centred, h, strict=True))


@given(st.integers(0, 10**6), st.integers(2, 5), st.sampled_from([1.0, 8.0, 30.0]))
@examples(30)
def test_the_asymptotic_variance_of_the_rationals(
    exact_stationary, exact_rewards, seed, size, spread
):
    """f the indicator of the least probable state: no cancellation in h until the most probable
    but that of f - mean. Four roundings of a square, twice those of h and of the law."""
    chain = random_chain(seed, size, spread)
    law = exact_stationary(chain.off_diagonal)
    f = np.eye(size)[int(np.argmin([float(p) for p in law]))]
    exact = exact_variance(exact_rewards, law, chain.off_diagonal, f)
    assert abs(Fraction(asymptotic_variance(chain, f)) / exact - 1) <= 12 * bound(size)


@pytest.mark.parametrize(
    ("chain", "wells"),
    [
        (birth_death(np.array([0.3, 1e-30, 0.3]), np.array([0.2, 3e-30, 0.2])), [2, 3]),
        (blocks(3, 2, 1e-40), [3, 4, 5]),
    ],
)
def test_a_variance_of_1e30_keeps_its_digits(exact_stationary, exact_rewards, chain, wells):
    f = np.isin(np.arange(chain.size), wells).astype(float)
    law = exact_stationary(chain.off_diagonal)
    exact = exact_variance(exact_rewards, law, chain.off_diagonal, f)
    assert exact > 10**27
    assert abs(Fraction(asymptotic_variance(chain, f)) / exact - 1) <= 12 * bound(chain.size)


@pytest.mark.parametrize("name", MORE_ADVERSARIAL)
def test_the_asymptotic_variance_of_any_f_is_within_its_bound(
    exact_stationary, exact_rewards, name
):
    """As promised: (4 n**3 + 32) u of sum pi abs(c) (2 abs(h) + abs(c)), h until the most probable
    state counting both its parts, and as much again for the centring of f."""
    chain = MORE_ADVERSARIAL[name]
    law = exact_stationary(chain.off_diagonal)
    f = np.random.Generator(np.random.PCG64(17)).standard_normal(chain.size)
    exact = exact_variance(exact_rewards, law, chain.off_diagonal, f)
    mean = float(sum(p * Fraction(v) for p, v in zip(law, f.tolist(), strict=True)))
    ground = int(np.argmax(stationary_distribution(chain)))
    both = exact_rewards(chain.off_diagonal, [ground], [Fraction(abs(v - mean)) for v in f])
    h = np.insert([float(x) for x in both], ground, 0.0)
    c = np.abs(f - mean)
    terms = float(stationary_distribution(chain) @ (c * (2 * h + c)))
    error = 2 * (4 * chain.size**3 + 32) * 2.0**-53 * terms
    assert abs(Fraction(asymptotic_variance(chain, f)) - exact) <= error


@given(st.integers(0, 10**6), st.integers(2, 6))
@examples(25)
def test_the_variance_is_the_sum_of_autocovariances(seed, size):
    """Chains whose rows overlap by c >= n min P, so that what is left out after t lags is below
    (1 - c)**t |f|**2; 1e-12 after 600 of the lazy chain."""
    chain = lazy(random_chain(seed, size, 0.3))
    rng = np.random.Generator(np.random.PCG64(seed))
    f, law = rng.standard_normal(size), stationary_distribution(chain)
    f -= law @ f
    total, moved = law @ f**2, f
    for _ in range(600):
        moved = chain.transition_matrix @ moved
        total += 2 * (law * f) @ moved
    assert asymptotic_variance(chain, f) == pytest.approx(total, rel=1e-9)
    z = fundamental_matrix(chain)
    assert (law * f) @ (2 * z - np.eye(size)) @ f == pytest.approx(total, rel=1e-9)


@given(st.integers(0, 10**6), st.integers(2, 8))
@examples(25)
def test_the_fundamental_matrix_inverts(seed, size):
    """Z (I - P + 1 pi) = I, an absolute error of n |Z| times the rounding of either."""
    chain = random_chain(seed, size, 2.0)
    law, z = stationary_distribution(chain), fundamental_matrix(chain)
    matrix = np.eye(size) - chain.transition_matrix + law
    error = size * np.abs(z).max() * 8 * bound(size)
    assert np.abs(z @ matrix - np.eye(size)).max() <= error
    assert np.abs(deviation_matrix(chain).sum(axis=1)).max() <= error
    f = np.arange(size, dtype=float)
    h = poisson_solution(chain, f)
    assert np.abs(h - chain.transition_matrix @ h - (f - law @ f)).max() <= size * error
    d = deviation_matrix(chain) @ f
    assert np.abs((d - d[np.argmax(law)]) - h).max() <= size * error


def test_a_periodic_chain_has_a_variance_too():
    """Two states in turn: means of f = +-1 are 0 or 1 / n, so n Var -> 0."""
    chain = MarkovChain(np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert asymptotic_variance(chain, np.array([-1.0, 1.0])) == 0.0


# Theorem 5


def gap(chain: MarkovChain) -> float:
    """1 - lambda_2 of a reversible chain."""
    return 2 * spectral_gap(lazy(chain))


def least_ratio(chain: MarkovChain) -> float:
    """Phi by plain loops."""
    law, states = stationary_distribution(chain), range(chain.size)
    best = math.inf
    for count in range(1, chain.size):
        for members in itertools.combinations(states, count):
            mass = law[list(members)].sum()
            if mass <= 0.5 * (1 + 1e-15):
                rest = [j for j in states if j not in members]
                flow = (law[:, None] * chain.off_diagonal)[np.ix_(members, rest)].sum()
                best = min(best, flow / mass)
    return best


@given(st.integers(0, 10**6), st.integers(2, 7), st.booleans())
@examples(30)
def test_the_conductance_is_that_of_the_worst_set(seed, size, neighbours):
    """n**2 roundings of the sums, twice, beside those of the law."""
    chain = random_birth_death(seed, size) if neighbours else random_chain(seed, size)
    found = conductance(chain)
    assert found == pytest.approx(least_ratio(chain), rel=2 * bound(size) + 2 * size**2 * 2.0**-53)
    order = np.random.Generator(np.random.PCG64(seed)).random(size)
    assert sweep_conductance(chain, order) >= found * (1 - 4 * bound(size))


@pytest.mark.parametrize("name", MORE_REVERSIBLE)
def test_the_gap_lies_between_the_bounds_of_cheeger(name):
    chain = MORE_REVERSIBLE[name]
    lower, upper = cheeger_bounds(chain)
    slack = 4 * chain.size**4 * 2.0**-53
    assert lower * (1 - slack) <= gap(chain) <= upper * (1 + slack)


@given(st.integers(0, 10**6), st.integers(2, 9), st.sampled_from([0.5, 5.0, 60.0]))
@examples(40)
def test_the_gap_lies_between_the_bounds_of_cheeger_on_random_chains(seed, size, spread):
    chain = random_reversible(seed, size, spread)
    lower, upper = cheeger_bounds(chain)
    slack = 4 * size**4 * 2.0**-53
    assert lower * (1 - slack) <= gap(chain) <= upper * (1 + slack)
    values, vectors = np.linalg.eigh(np.sqrt(chain.off_diagonal * chain.off_diagonal.T))
    if values.size:  # a sweep along any order is above Phi
        assert sweep_conductance(chain, vectors[:, -2]) >= 0.5 * lower


@given(st.integers(0, 10**6), st.integers(2, 30), st.sampled_from([0.0, 2.0, 6.0]))
@examples(60)
def test_the_gap_lies_between_the_bounds_of_hardy(seed, size, decades):
    """1 / (4 B) and 2 / B, strict; slack for the gap's error only."""
    chain = random_birth_death(seed, size, decades)
    lower, upper = hardy_bounds(chain)
    slack = 4 * size**4 * 2.0**-53
    assert upper == pytest.approx(8 * lower)
    assert lower * (1 - slack) <= gap(chain) <= upper * (1 + slack)


@pytest.mark.parametrize("temperature", [0.2, 0.05, 0.01, 0.003])
def test_hardy_holds_down_to_gaps_of_1e_130(temperature):
    """Where Cheeger's bounds are 1e130 apart, Hardy's are a factor of 8 apart."""
    chain = double_well(temperature)
    lower, upper = hardy_bounds(chain)
    assert lower <= gap(chain) <= upper
    assert cheeger_bounds(chain).lower < lower < upper
    if temperature == 0.003:
        assert upper < 1e-128


def test_a_median_is_needed():
    """B from one end alone is too large: 2 / B then lies below the gap. Uniform law, n = 30."""
    chain = birth_death(np.full(29, 0.25), np.full(29, 0.25))
    one_end = (np.arange(1, 30) * 30 / 0.25 * (30 - np.arange(1, 30)) / 30).max()
    assert 2 / one_end < gap(chain) < hardy_bounds(chain).upper


def test_bad_questions_about_reversible_chains_are_refused():
    parts = MarkovChain(np.array([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    for question in (kolmogorov_criterion, time_reversal, conductance, cheeger_bounds):
        with pytest.raises(ValueError, match=r"recurrent classes are \[1\], \[2\]"):
            question(parts)
    with pytest.raises(ValueError, match="at least two states"):
        conductance(MarkovChain(np.zeros((1, 1))))
    with pytest.raises(ValueError, match="at most 20 states, got 21"):
        conductance(random_chain(1, 21))
    with pytest.raises(ValueError, match="a reversible chain"):
        cheeger_bounds(ring(4, 0.5, 0.25))
    with pytest.raises(ValueError, match="moves beyond neighbours"):
        hardy_bounds(ring(4, 0.5, 0.25))
    flip = MarkovChain(np.array([[0.0, 1.0], [1.0, 0.0]]))
    for law in ([1.0, 0.0], [1.0, -1.0], [1.0, math.nan], [1.0, math.inf]):
        with pytest.raises(ValueError, match="weights are positive and finite"):
            metropolis_hastings(flip, np.array(law))
    with pytest.raises(ValueError, match="2 states need as many weights, got 3"):
        barker(flip, np.ones(3))
    with pytest.raises(ValueError, match="equally many states, got 2 and 3"):
        dominates(flip, ring(3, 0.5, 0.5))
    with pytest.raises(ValueError, match="2 states need as many values, got 3"):
        asymptotic_variance(flip, np.ones(3))
    with pytest.raises(ValueError, match="values are finite"):
        poisson_solution(flip, np.array([0.0, math.nan]))
    with pytest.raises(ValueError, match="got a constant"):
        autocorrelation_time(flip, np.ones(2))
