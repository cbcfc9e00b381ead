"""Roundings as public code has done them, each defect restated in a few lines of NumPy.

Beside each: that ours does not have it, and the check of ours that catches it.
"""

from __future__ import annotations

import numpy as np
import pytest

from qreference import walker
from qreference.stairs import derivative, multi_step
from qtheory import DeterministicRounding, Lattice, StochasticRounding
from qtheory.evidence import multinomial_p_value

ULP = 2.0**-24
# Every float32 that a library draws.
uniforms = np.arange(2**24, dtype=np.float32) * np.float32(ULP)
SR = StochasticRounding(Lattice(9, 1.0, -4.0))


# Stochastic rounding as the nearest integer of x + noise


def nearest_of_noise(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """rint(x + u - 1/2) with u in [0, 1): right on paper."""
    return np.rint(np.float32(x) + u - np.float32(0.5))


@pytest.mark.parametrize(("level", "lost"), [(0.0, 0), (1.0, 3), (2.0, 0), (3.0, 5)])
def test_lattice_points_move_under_nearest_noise(level, lost):
    """u = 0 makes a tie, which goes to the even number: odd levels fall. So do sums that are
    rounded to a tie, below and above: 3 of the 2**24 uniforms move the level 1, and 5 the level 3.

    Enumeration of all uniforms sees it; no test of means ever would.
    """
    after = nearest_of_noise(np.float32(level), uniforms)
    assert (after != level).sum() == lost
    i = np.array([4 + int(level)])
    for word in (0, 1, 2**32 - 1):
        stays = walker.step(SR, i, np.array([0.0], np.float32), np.array([word], np.uint32))
        assert stays.tolist() == i.tolist()
    assert walker.outcomes(SR, i, np.array([0.0], np.float32)).thresholds.tolist() == [[0]]


def test_far_from_zero_the_noise_itself_is_rounded():
    """At x = 2**20 + 1/4 float32 keeps 3 bits of u: up with probability 5/16, not 1/4."""
    x = np.float32(2**20 + 0.25)
    up = (nearest_of_noise(x, uniforms) > 2**20).mean()
    assert abs(up - 0.25) > 0.05
    assert multinomial_p_value([int(2**24 * (1 - up)), int(2**24 * up)], [0.75, 0.25]) < 1e-9
    thresholds, _ = walker.outcomes(SR, np.array([4]), np.array([0.25], np.float32))
    assert thresholds.tolist() == [[2**30]]


# A level chosen by searching a rounded cumulative sum


def chosen(pmf: np.ndarray, u: np.float32) -> int:
    """The first level whose cumulative probability exceeds u; -1 where none does."""
    total = np.float32(0)
    for level, p in enumerate(pmf):
        total = np.float32(total + p)
        if u < total:
            return level
    return -1


def telescoped(size: int, seed: int) -> np.ndarray:
    """Differences of a float32 distribution function, as a noisy quantiser computes its pmf."""
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.normal(0, 1, size - 1))
    inner = (0.5 * (1 + np.tanh(0.8 * edges / 0.2551))).astype(np.float32)
    cumulative = np.concatenate([[np.float32(0)], inner, [np.float32(1)]])
    return np.diff(cumulative).astype(np.float32)


def test_a_search_past_the_end_reads_the_level_minus_one():
    """Some rounded sums end at 1 - 2**-24, and a uniform may be just that: index -1.

    In C that is memory before the array; in Python it is silently the highest level.
    """
    levels, largest = np.array([-1.0, 0.0, 1.0]), np.float32(1 - ULP)
    short = [s for s in range(4000) if chosen(telescoped(3, s), largest) == -1]
    assert len(short) >= 10
    index = chosen(telescoped(3, short[0]), largest)
    assert levels[index] == 1.0
    with pytest.raises(ValueError, match=r"an index is in 0\.\.8, got -1"):
        walker.read(SR, np.array([index]))


def test_no_word_takes_ours_off_its_lattice():
    """Nothing is summed: a level is certain, one more is taken below an integer, ends stop both."""
    edge = np.array([0, 1, 2**32 - 2, 2**32 - 1], np.uint32)
    for x in (-9.0, -1 + ULP, -ULP, 0.0, ULP, 1 - ULP, 0.999, 8.5, np.inf):
        for i in range(9):
            after = walker.step(SR, np.full(4, i), np.full(4, x, np.float32), edge)
            assert (after >= 0).all() and (after <= 8).all()


def test_counting_changes_of_sign_adds_levels_of_no_probability():
    """u = 0 under the pmf (0, 0, 1): both empty levels change sign as well, and +2 comes out."""
    pmf, u = np.array([0.0, 0.0, 1.0]), 0.0
    sign = np.sign(np.concatenate([[0.0], np.cumsum(pmf)]) - u)
    flagged = np.diff(np.concatenate([[-1.0], sign])) != 0
    assert flagged.sum() == 2  # one too many
    assert chosen(pmf.astype(np.float32), np.float32(u)) == 2


# Ties under the word nearest


def half_even(x: float) -> float:
    return float(np.rint(x))


def half_up(x: float) -> float:
    return float(np.floor(x + 0.5))


def half_away(x: float) -> float:
    return float(np.sign(x) * np.floor(np.abs(x) + 0.5))


NEAREST = [half_even, half_up, half_away]


def test_three_functions_called_nearest_disagree_on_ties_only():
    ties, others = np.arange(-3.5, 4), np.arange(-4, 4) + 0.25
    assert len({tuple(f(x) for x in ties) for f in NEAREST}) == 3
    assert len({tuple(f(x) for x in others) for f in NEAREST}) == 1


def test_our_tie_rule_has_one_name_and_every_room_obeys_it():
    """Away from the value 0, and at 0 upwards: of the three it is half_away, which is its text."""
    lattice = Lattice(9, 1.0, -4.0)
    spec, middle = DeterministicRounding(lattice), np.full(8, 4)
    ties = np.arange(-3.5, 4).astype(np.float32)
    after = walker.step(spec, middle, ties, np.zeros(8, np.uint32))
    assert (after - 4).tolist() == [half_away(float(x)) for x in ties]
    assert lattice.nearest(ties).tolist() == after.tolist()
    assert Lattice.binary().nearest(np.array([0.0])).tolist() == [1]


def test_the_first_or_the_last_maximum_is_a_tie_rule_too():
    """Two devices of one library differ where two levels are equally probable."""
    pmf = np.array([0.5, 0.5, 0.0])
    first = int(pmf.argmax())
    last = int(pmf.size - 1 - pmf[::-1].argmax())
    assert (first, last) == (0, 1)
    spec = DeterministicRounding(Lattice.ternary())
    both = [
        walker.step(spec, np.array([i]), np.array([x], np.float32), np.zeros(1, np.uint32)).item()
        for i, x in ((0, 0.5), (1, -0.5))  # the same half-way point from both of its levels
    ]
    assert both == [0, 0]


# A gradient window that is counted twice


def test_closed_windows_that_touch_count_a_level_twice():
    """Windows |x - t| <= 1/2 about thresholds one apart: at every level two of them, gradient 2.

    Ours closes its windows too, so the area is the check: it sees overlaps, not single points.
    """
    thresholds = np.arange(-1.5, 2)
    gradient = lambda x: (np.abs(x - thresholds) <= 0.5).sum()  # noqa: E731
    assert [gradient(x) for x in (-1.0, 0.0, 1.0)] == [2, 2, 2]
    assert [gradient(x) for x in (-0.9, 0.3)] == [1, 1]
    spec = multi_step(1, threshold=0.5, half_width=0.25)
    x = (np.arange(-(2**14), 2**14) + 0.5) / 2**13
    assert derivative(spec, np.array([0.0])).tolist() == [0.0]
    assert abs(derivative(spec, x).sum() / 2**13 - 2) <= 2.0**-30
