"""Stairs: tie rules at every threshold, constructors, and what is refused."""

import numpy as np
import pytest

from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair

EDGES = np.array([-0.5, np.nextafter(-0.5, -1), 0.5, np.nextafter(0.5, 0), 0.0, np.inf, -np.inf])


@pytest.mark.parametrize(
    ("tie", "want"),
    [
        ("up", [1, 0, 2, 1, 1, 2, 0]),
        ("down", [0, 0, 1, 1, 1, 2, 0]),
        ("away", [0, 0, 2, 1, 1, 2, 0]),
    ],
)
def test_ties(tie, want):
    stair = Stair((-1.0, 0.0, 1.0), (-0.5, 0.5), tie)
    assert stair.index(EDGES).tolist() == want
    assert stair(EDGES).tolist() == [w - 1 for w in want]


def test_away_from_zero_is_the_rule_of_lattices():
    for lattice in (Lattice.ternary(), Lattice.binary(), Lattice.z(3)):
        x = np.arange(-40, 41) / 16
        assert np.array_equal(Stair.nearest(lattice, "away").index(x), lattice.nearest(x))


def test_a_threshold_at_zero_goes_up_when_ties_go_away():
    assert [Stair.step(tie=t).index(np.zeros(1))[0] for t in ("up", "down", "away")] == [1, 0, 1]


def test_whole_stairs():
    assert Stair.whole(2, signed=True).levels == (-2.0, -1.0, 0.0, 1.0)
    assert Stair.whole(2, signed=False, spacing=0.5).levels == (0.0, 0.5, 1.0, 1.5)
    ternary = Stair.whole(2, signed=True, balanced=True)
    assert ternary == Stair.nearest(Lattice.ternary()) and ternary.height == 2.0
    assert ternary.jumps.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("levels", "thresholds", "tie", "rule"),
    [
        ((0.0, 1.0), (), "up", "one level more"),
        ((0.0, 1.0, 2.0), (0.0,), "up", "one level more"),
        ((1.0, 0.0), (0.0,), "up", "levels of a stair are finite and increase"),
        ((0.0, 1.0, 2.0), (0.0, 0.0), "up", "thresholds of a stair are finite and increase"),
        ((0.0, np.nan), (0.0,), "up", "levels of a stair are finite"),
        ((0.0, 1.0), (0.0,), "even", "a tie rule is one of"),
    ],
)
def test_a_stair_validates_itself(levels, thresholds, tie, rule):
    with pytest.raises(ValueError, match=rule):
        Stair(levels, thresholds, tie)


def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match="bits >= 1"):
        Stair.whole(2, signed=False, balanced=True)
    with pytest.raises(ValueError, match="one level more"):
        Stair.whole(1, signed=True, balanced=True)
    with pytest.raises(ValueError, match="got NaN"):
        Stair.step()(np.array([np.nan]))
