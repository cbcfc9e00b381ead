"""What holds for coins alone: walkers between two neighbouring places, in every room.

Whole spacings are certain, the word decides on one level more, and the ends of the lattice stop
everything. Stems are those whose contract says "coin".
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from conformance.rooms import COINS, words_beside
from cpu_room import Weights, storages
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    examples,
    few_indices,
    increments,
    indices,
    measured,
    powers_of_two,
    specs,
    weights,
)

from qreference import walker
from qtheory.algorithms import law, spec_class
from qtheory.lattice import Lattice

few, some = examples(12), examples(30)
stems = pytest.mark.parametrize("stem", COINS)


@stems
@some
@given(data=st.data())
def test_the_law_is_on_two_neighbours(stem, data):
    """(1 - p) + p is one within 2**-53, half a rounding of each of the two."""
    spec = data.draw(specs(stem))
    index, increment = data.draw(weights(spec.lattice, 24))
    pmf = law(spec, index, increment)
    assert np.abs(pmf.sum(axis=-1) - 1).max() <= 2.0**-53
    for row in pmf:
        reached = np.flatnonzero(row)
        assert 1 <= reached.size <= 2
        assert reached[-1] - reached[0] == reached.size - 1  # neighbours


@stems
@some
@given(data=st.data())
def test_moves_have_the_sign_of_the_increment(stem, data):
    spec = data.draw(specs(stem))
    index, increment = data.draw(weights(spec.lattice, 24))
    levels = np.arange(spec.lattice.size)
    pmf = law(spec, index, increment)
    against = (levels - index[:, None]) * np.sign(np.nan_to_num(increment))[:, None] < 0
    assert (pmf[against] == 0).all()


@stems
@some
@given(data=st.data())
def test_whole_spacings_are_certain(stem, data):
    """Levels are fixed points, and a level away is reached surely: exact for powers of two."""
    spec = data.draw(specs(stem, powers_of_two()))
    lattice = spec.lattice
    for i in few_indices(lattice):
        steps = data.draw(st.integers(-lattice.size - 1, lattice.size + 1))
        target = min(max(i + steps, 0), lattice.size - 1)
        pmf = law(spec, i, steps * lattice.spacing)
        assert pmf.tolist() == np.eye(lattice.size)[target].tolist()


@stems
@some
@given(data=st.data())
def test_zeros_stay_and_infinities_go_to_the_ends(stem, data):
    spec = data.draw(specs(stem))
    i = data.draw(indices(spec.lattice))
    pmf = law(spec, i, np.array([0.0, -0.0, math.inf, -math.inf]))
    assert pmf.argmax(axis=-1).tolist() == [i, i, spec.lattice.size - 1, 0]
    assert (pmf.max(axis=-1) == 1).all()


@stems
@examples(50)
@given(data=st.data())
def test_the_threshold_divides_the_words_that_move_from_those_that_do_not(stem, data):
    """Against whole spacings and direction as rational numbers say them."""
    spec = data.draw(specs(stem))
    lattice = spec.lattice
    index = np.array([data.draw(indices(lattice))])
    increment = np.array([data.draw(increments(lattice))])
    x = measured(lattice, increment[0])
    x = 0.0 if math.isnan(x) else max(min(x, lattice.size), -lattice.size)
    sign, whole = (-1 if x < 0 else 1), math.floor(abs(Fraction(x)))
    thresholds = walker.outcomes(spec, index, increment).thresholds
    assert thresholds.shape == (1, 1)
    if abs(x) == lattice.size:
        assert thresholds.tolist() == [[0]]
    for word in words_beside(thresholds):
        after = walker.step(spec, index, increment, np.array([word], dtype=np.uint32))
        more = bool(word < thresholds[0, 0])
        assert after.item() == min(max(index[0] + sign * (whole + more), 0), lattice.size - 1)


@stems
def test_steps_by_nothing_stay_and_by_infinity_go_to_the_ends(stem):
    spec = spec_class(stem)(Lattice.uniform(-1.0, 2.0, 7))
    index, words = np.arange(7), np.full(7, 0, dtype=np.uint32)
    for x, target in ((-0.0, [*range(7)]), (np.inf, [6] * 7), (-np.inf, [0] * 7)):
        assert walker.step(spec, index, np.full(7, x, np.float32), words).tolist() == target


@stems
@few
@given(data=st.data())
def test_kernels_take_infinities_to_the_ends(room, stem, data):
    spec = data.draw(specs(stem))
    index = np.resize(np.array(few_indices(spec.lattice), np.int64), 600)
    for value, target in ((math.inf, spec.lattice.size - 1), (-math.inf, 0)):
        for storage in storages(spec.lattice):
            one = Weights(index.copy(), np.full(600, value, np.float32))
            counters = room.step(spec, None, [one], seed=3, iteration=1, storage=storage)
            assert (one.index == target).all()
            assert counters[0].tolist() == [(index != target).sum(), 0]
