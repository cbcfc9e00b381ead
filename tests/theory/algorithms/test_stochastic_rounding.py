"""Stochastic rounding: unbiased, with the variance of a coin, and blind to the learning rate."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qtheory import Lattice, StochasticRounding
from qtheory.algorithms.base import law
from qtheory.chain import MarkovChain, spectral_gap, stationary_distribution
from qtheory.increments import minibatch_increments_at_levels
from qtheory.transition import weight_chain

WIDE = StochasticRounding(Lattice(size=41, spacing=1.0, low=-20.0))
MIDDLE = 20


@given(st.floats(-19, 19))
def test_the_mean_move_is_the_increment_and_the_variance_that_of_a_coin(x):
    """Exactly, over the rationals: the law has the floats f and 1 - f, whose rounding of 2**-54
    is multiplied by at most 20 levels (mean) or 41**2 (variance)."""
    pmf = [Fraction(float(p)) for p in law(WIDE, MIDDLE, x)]
    moves = range(-MIDDLE, MIDDLE + 1)
    mean = sum(p * k for p, k in zip(pmf, moves, strict=True))
    variance = sum(p * (k - Fraction(x)) ** 2 for p, k in zip(pmf, moves, strict=True))
    fraction = abs(Fraction(x)) % 1
    assert abs(mean - Fraction(x)) <= 20 * Fraction(1, 2**53)
    assert abs(variance - fraction * (1 - fraction)) <= 41**2 * Fraction(1, 2**53)


@given(st.floats(-1, 1))
def test_small_moves_have_the_variance_of_lemma_1(x):
    """For |x| <= spacing, E r**2 = |x| (spacing - |x|); spacing 1, errors as above."""
    pmf = law(WIDE, MIDDLE, x)
    second = sum(p * (k - x) ** 2 for p, k in zip(pmf, range(-20, 21), strict=True))
    assert abs(second - abs(x) * (1 - abs(x))) <= 2.0**-50


def test_binary_weights_follow_their_sum():
    """On {-1, +1}: P(+1) = clip((w + increment + 1) / 2, 0, 1), exact for sixteenths."""
    spec = StochasticRounding(Lattice.binary())
    for index, level in enumerate((-1.0, 1.0)):
        for sixteenth in range(-64, 65):
            x = sixteenth / 16
            assert law(spec, index, x)[1] == min(max((level + x + 1) / 2, 0.0), 1.0)


TARGETS = np.array([-1.7, -1.3, 0.2, 1.1, 1.9])
WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25, 0.75])


def gradients(weight: float) -> np.ndarray:
    """Of the examples' losses, c (w - t)**2 / 2: a target that is not symmetric about anything,
    and batches that pull either way at every level, so that the chain is irreducible."""
    return WEIGHTS * (weight - TARGETS)


LATTICE = Lattice.uniform(-1.0, 1.0, 9)  # spacing 1/4
LARGEST = max(np.abs(gradients(level)).max() for level in LATTICE.levels)


def chain(learning_rate: float) -> MarkovChain:
    laws = minibatch_increments_at_levels(gradients, LATTICE, 2, learning_rate)
    return weight_chain(StochasticRounding(LATTICE), laws)


RATES = [0.99 * LATTICE.spacing / LARGEST * factor for factor in (1, 0.3, 1e-3, 1e-8, 1e-100)]
# An entry of P sums 10 batches, each of a value (1), a quotient (1), a probability (1) and a
# product (1) rounded: 14 roundings of 2**-53. The law then moves by 2 (n - 1) times that
# (Markov chain tree theorem), and elimination adds 2 n**3.
ENTRY = 14 * 2.0**-53
LAW = 2 * 8 * ENTRY + 2 * 9**3 * 2.0**-53


def test_the_stationary_law_does_not_depend_on_the_learning_rate():
    """[li2017, Sec. 4] as an identity: lr only rescales the moves while lr |g| <= spacing."""
    first = stationary_distribution(chain(RATES[0]))
    for rate in RATES[1:]:
        other = stationary_distribution(chain(rate))
        assert np.abs(other / first - 1).max() <= 2 * LAW


def test_the_stationary_law_is_a_product_of_mean_gradients():
    """pi_(k+1) / pi_k = E[g_k^-] / E[g_(k+1)^+], over the 10 equally likely pairs of examples."""
    law_found = stationary_distribution(chain(RATES[1]))
    down, up = [], []
    for level in LATTICE.levels:
        g = gradients(float(level))
        means = [(g[i] + g[j]) / 2 for i in range(5) for j in range(i)]
        down.append(sum(max(x, 0.0) for x in means))
        up.append(sum(max(-x, 0.0) for x in means))
    ratio = law_found[1:] / law_found[:-1]
    expected = np.array(up[:-1]) / np.array(down[1:])
    # both sums of the expected ratio add 10 terms of at most 3 roundings each
    assert np.abs(ratio / expected - 1).max() <= 2 * LAW + 2 * 13 * 2.0**-53


def test_the_gap_is_proportional_to_the_learning_rate():
    """The gap of I - P = lr Q; its relative error is at most 2 n**4 2**-53 (see spectral_gap),
    and entries that are wrong by ENTRY change it by as much."""
    rates = [spectral_gap(chain(rate)) / rate for rate in RATES[1:]]
    bound = 2 * (2 * 9**4 * 2.0**-53 + ENTRY)
    assert max(abs(gap / rates[0] - 1) for gap in rates) <= bound


def test_beyond_a_spacing_the_law_does_depend_on_it():
    """The identity needs lr |g| <= spacing; ten times more moves the law by over a percent."""
    near, far = (stationary_distribution(chain(RATES[0] * factor)) for factor in (1, 10))
    assert np.abs(near - far).max() > 0.01
