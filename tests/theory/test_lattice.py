"""Lattices: what they are, what they refuse, and the nearest level."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory import Lattice


@pytest.mark.parametrize("size", [1, 0, -3, True, 2.0])
def test_a_lattice_needs_at_least_two_levels(size):
    with pytest.raises((ValueError, TypeError), match=r"lattice|size"):
        Lattice(size=size, spacing=1.0, low=0.0)


@pytest.mark.parametrize("spacing", [0.0, -1.0, math.inf, math.nan])
def test_a_spacing_is_positive_and_finite(spacing):
    with pytest.raises(ValueError, match="spacing is positive and finite"):
        Lattice(size=3, spacing=spacing, low=0.0)


@pytest.mark.parametrize("low", [math.inf, -math.inf, math.nan])
def test_the_lowest_level_is_finite(low):
    with pytest.raises(ValueError, match="lowest level is finite in float32"):
        Lattice(size=3, spacing=1.0, low=low)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, math.nan)])
def test_uniform_needs_low_below_high(low, high):
    with pytest.raises(ValueError, match="low < high"):
        Lattice.uniform(low, high, 3)


def test_uniform_needs_two_levels():
    with pytest.raises(ValueError, match="at least two levels, got 1"):
        Lattice.uniform(0.0, 1.0, 1)


def test_the_order_of_z_is_a_whole_number():
    with pytest.raises(ValueError, match="order of Z_N"):
        Lattice.z(-1)


@pytest.mark.parametrize("order", range(8))
@pytest.mark.parametrize("bound", [1.0, 0.75])
def test_z_has_the_levels_of_the_paper(order, bound):
    """z_n = (n / 2**(N-1) - 1) H. Equal bits: H has two of them, and powers of two keep them."""
    step = Fraction(2, 2**order)
    count = 2**order + 1
    expected = [float((n * step - 1) * Fraction(bound)) for n in range(count)]
    assert Lattice.z(order, bound).levels.tolist() == expected


def test_binary_and_ternary_are_the_first_two():
    assert Lattice.binary(0.5).levels.tolist() == [-0.5, 0.5]
    assert Lattice.ternary(0.5).levels.tolist() == [-0.5, 0.0, 0.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_nearest_level_needs_a_finite_weight(bad):
    with pytest.raises(ValueError, match="weights are finite"):
        Lattice.ternary().nearest(np.array([0.0, bad]))


@given(st.integers(2, 9), st.integers(-12, 4), st.lists(st.integers(-80, 80), min_size=1))
def test_the_nearest_level_is_the_nearest(size, low, eighths):
    """Against whole numbers: low and weights in eighths, spacing 1, so nothing is rounded.

    A tie goes away from the value 0, and upwards at 0.
    """
    lattice = Lattice(size=size, spacing=1.0, low=low / 8)
    found = lattice.nearest(np.array(eighths) / 8).tolist()
    levels = [low + 8 * k for k in range(size)]
    for weight, index in zip(eighths, found, strict=True):
        stopped = min(max(weight, levels[0]), levels[-1])
        distances = [abs(stopped - level) for level in levels]
        ties = [k for k, d in enumerate(distances) if d == min(distances)]
        assert index == (ties[-1] if stopped >= 0 else ties[0])


@given(st.integers(2, 300), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_levels_are_their_own_nearest(size, spacing, low):
    lattice = Lattice(size=size, spacing=spacing, low=low)
    assert (lattice.nearest(lattice.levels) == np.arange(size)).all()


@pytest.mark.parametrize(("size", "codes"), [(2, [-1, 0]), (3, [-1, 0, 1]), (256, None)])
def test_codes_are_centred(size, codes):
    lattice = Lattice(size=size, spacing=1.0, low=0.0)
    found = (np.arange(size) - lattice.centre).tolist()
    assert found == (codes or list(range(-128, 128)))
