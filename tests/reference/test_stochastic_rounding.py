"""Stochastic rounding beyond its law: its thresholds are exact."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qreference import stochastic_rounding, walker
from qtheory.algorithms.stochastic_rounding import StochasticRounding
from qtheory.lattice import Lattice

REPEATABLE = settings(derandomize=True, database=None, deadline=None, print_blob=True)


@REPEATABLE
@given(
    x=st.floats(-5.5, 5.5, width=32),
    spacing=st.sampled_from([1.0, 0.1, 1 / 3, 2.0**-7]),
    i=st.integers(0, 4),
)
def test_the_threshold_is_the_fraction_rounded_down(x, spacing, i):
    spec = StochasticRounding(Lattice(size=5, spacing=spacing, low=0.0))
    increment = np.float32(x * spacing)
    distance = min(abs(Fraction(float(increment / np.float32(spacing)))), Fraction(5))
    expected = (distance % 1) * 2**32 // 1
    got, _ = stochastic_rounding.outcomes(spec, np.array([i]), np.array([increment]))
    assert got.tolist() == [[expected]]


def test_a_word_is_compared_as_an_integer():
    """A fraction of 2**-32 moves for word 0 only; half of it never does."""
    spec = StochasticRounding(Lattice.ternary())
    words = np.array([0, 1, 0], np.uint32)
    increment = np.array([2.0**-32, 2.0**-32, 2.0**-33], np.float32)
    after = walker.step(spec, np.ones(3, np.int64), increment, words)
    assert after.tolist() == [2, 1, 1]
