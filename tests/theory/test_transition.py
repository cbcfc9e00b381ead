"""Transition matrices: sums, closed forms and quadrature of the same expectation agree."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qtheory import DST, DeterministicRounding, Lattice, StochasticRounding
from qtheory.algorithms import law
from qtheory.algorithms.walker import realised_law
from qtheory.arrays import Outcomes
from qtheory.chain import MarkovChain, stationary_distribution
from qtheory.increments import (
    ContinuousIncrements,
    FiniteIncrements,
    certain,
    noisy_increments_at_levels,
)
from qtheory.noise import Gaussian, StudentT, Uniform
from qtheory.transition import (
    _quadrature,
    off_diagonal,
    realised_off_diagonal,
    weight_chain,
)

lattices = st.builds(
    Lattice, size=st.integers(2, 7), spacing=st.floats(0.1, 2.0), low=st.floats(-3, 0)
)
noises = st.one_of(
    st.builds(Gaussian, st.floats(0.01, 5.0)),
    st.builds(StudentT, st.floats(1.5, 8.0), st.floats(0.01, 5.0)),
    st.builds(Uniform, st.floats(0.01, 5.0)),
)
continuous = st.builds(ContinuousIncrements, st.floats(-4, 4), noises)
rules = st.sampled_from([DST, StochasticRounding, DeterministicRounding])


@st.composite
def finite(draw):
    weights = draw(st.lists(st.integers(1, 100), min_size=1, max_size=6))
    values = draw(
        st.lists(
            st.one_of(st.floats(-5, 5), st.sampled_from([math.inf, -math.inf, math.nan, 1e300])),
            min_size=len(weights),
            max_size=len(weights),
        )
    )
    return FiniteIncrements(np.array(values), np.array(weights) / sum(weights))


@given(rules, lattices, st.data())
def test_rows_sum_to_one(rule, lattice, data):
    """The diagonal is one minus the others, so a row errs by the roundings of its own sum."""
    spec = rule(lattice)
    laws = [data.draw(st.one_of(finite(), continuous)) for _ in range(lattice.size)]
    matrix = weight_chain(spec, laws).transition_matrix
    assert (matrix >= 0).all()
    assert np.abs(matrix.sum(axis=1) - 1).max() <= lattice.size * 2.0**-52


@given(rules, lattices, st.data())
def test_a_finite_law_is_summed(rule, lattice, data):
    """Against the sum over the rationals: a product and five additions of non-negative terms make
    6 roundings, relative; leaving probabilities beyond one by rounding are scaled back: 7 more.
    A product below 2**-1022 rounds to a multiple of 2**-1074 instead, 6 of them at most."""
    spec, tiny = rule(lattice), Fraction(6, 2**1074)
    laws = [data.draw(finite()) for _ in range(lattice.size)]
    moves = off_diagonal(spec, laws)
    for i, each in enumerate(laws):
        pairs = list(zip(each.values.tolist(), each.probabilities.tolist(), strict=True))
        for j in range(lattice.size):
            terms = (Fraction(p) * Fraction(float(law(spec, i, x)[j])) for x, p in pairs)
            exact = sum(terms) if i != j else 0
            assert abs(Fraction(float(moves[i, j])) - exact) <= exact * Fraction(14, 2**53) + tiny


@given(lattices, continuous, st.data())
def test_closed_forms_are_the_quadrature(lattice, increments, data):
    """Two ways to one expectation. Quadrature leaves 2**-78 and rounds each panel's 20 terms: the
    absolute error of a row of a few hundred panels is below 2**-44 of its mass; second
    differences cancel to (1 + r)**2 2**-48, r <= 4 / 0.1 + 5 / 0.1 + 7 spacings."""
    index = data.draw(st.integers(0, lattice.size - 1))
    for rule in (StochasticRounding, DeterministicRounding):
        spec = rule(lattice)
        row = off_diagonal(spec, [increments] * lattice.size)[index]
        expected = _quadrature(spec, index, increments)
        expected[index] = 0.0
        r = (abs(increments.mean) + increments.noise.breaks()[-1] / 40) / lattice.spacing + 7
        bound = 2.0**-44 + (1 + min(r, 97.0)) ** 2 * 2.0**-48 * row
        assert (np.abs(row - expected) <= bound).all()


@pytest.mark.parametrize("noise", [Gaussian(0.6), StudentT(3.0, 0.4), Uniform(1.3)])
@pytest.mark.parametrize("nonlinearity", [0.5, 3.0, 40.0])
def test_dst_quadrature_against_mpmath(noise, nonlinearity):
    """Tanh-sinh quadrature at 30 digits of the same density (as a float function), on pieces that
    the integrand is smooth on; rounding of the density's terms as in the test of noises, 2**-44."""
    spec = DST(Lattice(4, 1.0, -1.0), nonlinearity)
    increments = ContinuousIncrements(0.3, noise)
    row = off_diagonal(spec, [increments] * 4)[0]

    def density(z):
        return float(increments.density(np.array([float(z)]))[0])

    def up(k):
        ends = sorted({0.0, 0.05, 0.2, 0.5, 1.0, *([0.6] if noise == Uniform(1.3) else [])})
        near = mpmath.quad(
            lambda f: density(k - 1 + f) * mpmath.tanh(nonlinearity * f), ends, maxdegree=5
        )
        far = mpmath.quad(
            lambda f: density(k + f) * (1 - mpmath.tanh(nonlinearity * f)), ends, maxdegree=5
        )
        return near, far

    for k in (1, 2):
        assert abs(row[k] - float(sum(up(k)))) <= 2.0**-44
    beyond = float(increments.above(np.array([3.0]))[0])
    assert abs(row[3] - float(up(3)[0]) - beyond) <= 2.0**-44


@pytest.mark.parametrize("rate", [1.0, 0.1, 1e-3])
def test_stochastic_rounding_keeps_the_mean_away_from_the_ends(rate):
    """E[move] = E[increment] = -lr g exactly; 60 levels away from the ends the tails of the
    Gaussian are below 1e-300. Sum of k P_k: (1 + 60)**2 2**-48 of absolute error."""
    lattice = Lattice(121, 0.5, -30.0)
    laws = noisy_increments_at_levels(lambda w: 0.7, lattice, rate, Gaussian(1.5))
    row = off_diagonal(StochasticRounding(lattice), laws)[60]
    mean = float(row @ (np.arange(121) - 60)) * 0.5
    assert abs(mean + 0.7 * rate) <= 61**2 * 2.0**-48 * rate


@settings(max_examples=30)
@given(lattices, st.floats(-2, 2), noises)
def test_no_noise_is_a_limit(lattice, mean, noise):
    """Noise of width e moves SR by at most E|e| / spacing (its law is Lipschitz, total 2)."""
    spec = StochasticRounding(lattice)
    small = ContinuousIncrements(mean, noise.scaled(2.0**-30))
    gap = np.abs(
        off_diagonal(spec, [small] * lattice.size)
        - off_diagonal(spec, [certain(mean)] * lattice.size)
    )
    spread = 2 * small.noise.excess(np.zeros(1))[0]
    assert gap.max() <= 2 * spread / lattice.spacing + 2.0**-44


def test_a_rare_move_keeps_its_digits():
    """P(SR up) = E[z^+] to all digits when noise is 1e-200 of a spacing."""
    moves = off_diagonal(
        StochasticRounding(Lattice.ternary()), [ContinuousIncrements(0.0, Gaussian(1e-200))] * 3
    )
    assert abs(moves[1, 2] * math.sqrt(2 * math.pi) / 1e-200 - 1) <= 2.0**-50
    assert moves[0, 2] == 0.0


def test_there_is_a_law_for_each_level():
    with pytest.raises(ValueError, match="a lattice of 3 levels needs 3 laws, got 2"):
        off_diagonal(DST(Lattice.ternary()), [certain(0.0)] * 2)


def coin(far: int, near: int, threshold: int) -> Outcomes:
    """To `far` for words below the threshold, else to `near`."""
    return Outcomes(np.array([threshold], np.uint64), np.array([far, near]))


class TestRealised:
    """Laws of walkers as float32 and 32-bit words realise them."""

    @given(lattices, st.data(), st.floats(-20, 20, width=32))
    @example(Lattice(5, 1.0, -2.0), None, 0.75)
    def test_with_the_floored_threshold_it_is_the_law_to_a_word(self, lattice, data, increment):
        """Spacing in float32, so both divisions round x: in float32 by 2**-24 |x|, |x| <= 200
        spacings at most; a fraction may wrap, so compare means. Threshold: 2**-32 more."""
        size = lattice.size
        lattice = Lattice(size, float(np.float32(lattice.spacing)), lattice.low)
        spec = StochasticRounding(lattice)
        index = 2 if data is None else data.draw(st.integers(0, size - 1))
        x = np.float32(increment) / np.float32(lattice.spacing)
        distance = min(abs(float(x)), float(size))
        sign, whole = (-1 if x < 0 else 1), math.floor(distance)
        near, far = (min(max(index + sign * k, 0), size - 1) for k in (whole, whole + 1))
        realised = realised_law(coin(far, near, math.floor((distance - whole) * 2**32)), size)
        levels = np.arange(size)
        error = abs((realised - law(spec, index, increment)) @ levels)
        assert error <= min(abs(float(x)), size) * 2.0**-24 + 2.0**-32 + size * 2.0**-52

    def test_zero_never_and_all_always(self):
        assert realised_law(coin(2, 1, 0), 3).tolist() == [0.0, 1.0, 0.0]
        assert realised_law(coin(2, 1, 2**32), 3).tolist() == [0.0, 0.0, 1.0]
        assert realised_law(coin(2, 1, 1), 3).tolist() == [0.0, 1 - 2.0**-32, 2.0**-32]

    def test_a_place_that_is_named_twice_has_both_shares(self):
        """Down, here and up from the lowest level: down is here."""
        three = Outcomes(np.array([2**30, 3 * 2**30], np.uint64), np.array([0, 0, 1]))
        assert realised_law(three, 3).tolist() == [0.75, 0.25, 0.0]

    @pytest.mark.parametrize("thresholds", [[2**32 + 1, 2**32 + 1], [2, 1]])
    def test_thresholds_are_words_or_all_and_do_not_decrease(self, thresholds):
        bad = Outcomes(np.array(thresholds, np.uint64), np.array([0, 1, 2]))
        with pytest.raises(ValueError, match=r"thresholds do not decrease and are in 0"):
            realised_law(bad, 3)

    @pytest.mark.parametrize("index", [-1, 3])
    def test_a_destination_is_on_the_lattice(self, index):
        with pytest.raises(ValueError, match=r"an index is in 0\.\.2"):
            realised_law(coin(index, 1, 2**31), 3)

    def test_the_realised_chain_is_near_the_exact_one(self):
        """Thresholds floor(tanh(3 f) 2**32), f exact: every probability is low by less than
        2**-32, of the smallest tanh(3 / 16) > 0.18: the law moves by at most 2 (n - 1) times
        2**-32 / 0.18, relative (tree theorem), and by less than that of itself exactly."""
        spec = DST(Lattice.z(2))
        increments = [
            FiniteIncrements(
                np.array([-1, 1, 2]) / 32, np.array([0.25 + k / 10, 0.5 - k / 10, 0.25])
            )
            for k in range(5)
        ]

        def outcomes(index: int, x: float) -> Outcomes:
            far = min(max(index + (1 if x > 0 else -1), 0), 4)
            return coin(far, index, math.floor(math.tanh(3 * abs(x) / 0.5) * 2**32))

        exact = stationary_distribution(weight_chain(spec, increments))
        moves = realised_off_diagonal(spec, increments, outcomes)
        realised = stationary_distribution(MarkovChain(moves))
        error = np.abs(realised / exact - 1).max()
        assert 0 < error <= 8 * 2.0**-32 / 0.18
