"""Deterministic rounding beyond its law: it is the nearest level, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qreference import walker
from qtheory.algorithms.deterministic_rounding import DeterministicRounding
from qtheory.lattice import Lattice

REPEATABLE = settings(derandomize=True, database=None, deadline=None, print_blob=True)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 255])
@pytest.mark.parametrize("word", [0, 2**32 - 1])
@REPEATABLE
@given(data=st.data())
def test_step_goes_to_the_nearest_level_whatever_the_word(size, word, data):
    """Moving by x is rounding the level plus x: exact here, in 1/8 of the spacing 2."""
    spec = DeterministicRounding(Lattice(size=size, spacing=2.0, low=1.0 - size))
    i = data.draw(st.integers(0, size - 1))
    increment = data.draw(st.integers(-9 * size, 9 * size)) / 4
    after = walker.step(
        spec, np.array([i]), np.array([increment], np.float32), np.array([word], np.uint32)
    )
    assert after.tolist() == spec.lattice.nearest(spec.lattice.levels[[i]] + increment).tolist()


def test_ties_go_away_from_zero_and_upwards_at_zero():
    spec = DeterministicRounding(Lattice(size=4, spacing=1.0, low=-1.5))  # half-way: -1, 0, 1
    rows = [(1, -0.5, 0), (1, 0.5, 2), (2, -0.5, 2), (2, 0.5, 3), (3, -0.5, 3), (0, 0.5, 0)]
    index, increment, expected = (np.array(column) for column in zip(*rows, strict=True))
    for edge in (0, 2**32 - 1):
        words = np.full(len(rows), edge, np.uint32)
        after = walker.step(spec, index, increment.astype(np.float32), words)
        assert after.tolist() == expected.tolist()


def test_thresholds_are_always_or_never():
    spec = DeterministicRounding(Lattice.ternary())
    below_half = np.nextafter(np.float32(0.5), np.float32(0))
    increment = np.array([0.0, below_half, 0.5, 1.0, 1.5, np.nan, np.inf], np.float32)
    got, _ = walker.outcomes(spec, np.full(7, 1), increment)
    assert got[:, 0].tolist() == [0, 0, 2**32, 0, 2**32, 0, 0]
