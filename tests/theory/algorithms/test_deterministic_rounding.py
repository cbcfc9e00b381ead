"""Deterministic rounding: small increments are lost, ties go away from the value 0."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qtheory import DeterministicRounding, Lattice
from qtheory.algorithms.base import law
from qtheory.chain import evolve
from qtheory.increments import noisy_increments_at_levels
from qtheory.transition import weight_chain


@given(st.integers(2, 9), st.data(), st.floats(0, 0.5, exclude_max=True), st.sampled_from([-1, 1]))
def test_below_half_a_spacing_nothing_moves(size, data, part, sign):
    spec = DeterministicRounding(Lattice(size, 0.25, -1.0))
    index = data.draw(st.integers(0, size - 1))
    assert law(spec, index, sign * part * 0.25)[index] == 1.0


def test_a_small_learning_rate_freezes_a_weight_far_from_its_minimum():
    """Loss w**2: from w = 1, |lr g| = 2 lr < spacing / 2 for lr = 1/17. A rate of 1/4 gets home."""
    lattice = Lattice.uniform(-1.0, 1.0, 9)
    start = np.array([0.0] * 8 + [1.0])
    ends = []
    for rate in (1 / 17, 0.25):
        laws = noisy_increments_at_levels(lambda w: 2 * w, lattice, rate)
        chain = weight_chain(DeterministicRounding(lattice), laws)
        ends.append(int(evolve(chain, start, 10**9).argmax()))
    assert ends[0] == 8
    assert ends[1] < 8


def rounded(value: Fraction) -> int:
    """Q_d with spacing 1: sign(w) floor(|w| + 1/2), sign(0) = +1; half at -1/2 goes to -1."""
    size = math.floor(abs(value) + Fraction(1, 2))
    return size if value >= 0 else -size


@given(st.integers(0, 12), st.integers(-120, 120))
def test_it_is_the_rounding_of_the_sum(index, sixteenths):
    """On a lattice that contains 0, law = Q_d(w + increment) stopped at the ends; exact."""
    spec = DeterministicRounding(Lattice(13, 1.0, -6.0))
    total = Fraction(index - 6) + Fraction(sixteenths, 16)
    target = min(max(rounded(total), -6), 6) + 6
    assert law(spec, index, sixteenths / 16)[target] == 1.0


def test_at_the_value_zero_a_tie_goes_up():
    """Binary weights: the half-way point is 0 itself, sign(0) = +1 [li2017, Eq. 3]."""
    spec = DeterministicRounding(Lattice.binary())
    assert law(spec, 0, 1.0).tolist() == [0.0, 1.0]
    assert law(spec, 1, -1.0).tolist() == [0.0, 1.0]
