"""Every algorithm of the registry: its `step` has its `law`, its `threshold` is obeyed.

Increments are measured in spacings by one float32 division; the law is exact for the measured
number. It is handed to the law as (measured) * (spacing): a product of two float32 numbers is
exact in float64, so the law's own division returns the measured number unchanged.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from conformance.rooms import law
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    LATTICE_SIZES,
    every_word,
    examples,
    few_indices,
    increments,
    indices,
    measured,
    powers_of_two,
    specs,
    words_beside,
)

from qreference import algorithm
from qtheory.algorithms import SPECS
from qtheory.lattice import Lattice

stems = pytest.mark.parametrize("stem", SPECS)
enumerations = examples(50)


@stems
@enumerations
@given(data=st.data())
def test_step_has_the_law(stem, data):
    spec = data.draw(specs(stem))
    increment = data.draw(increments(spec.lattice))
    exact = measured(spec.lattice, increment) * spec.lattice.spacing
    for i in few_indices(spec.lattice):
        after = algorithm(spec).step(spec, np.full(2**16, i), np.full(2**16, increment), every_word)
        frequency = np.bincount(after, minlength=spec.lattice.size) / 2**16
        # Of 2**16 words in the middles of equal cells, those below T are T / 2**16 rounded:
        # 2**-17 of probability. T itself is p rounded down: 2**-32 more.
        assert np.abs(frequency - law(spec, i, exact)).max() <= 2.0**-16


@stems
@enumerations
@given(data=st.data())
def test_step_has_the_law_of_the_raw_increment_where_division_is_exact(stem, data):
    """Spacings that are powers of two, so of Z_N: nothing is measured, nothing rounded."""
    spec = data.draw(specs(stem, powers_of_two()))
    size = spec.lattice.size
    increment = data.draw(increments(spec.lattice))
    i = data.draw(indices(spec.lattice))
    after = algorithm(spec).step(spec, np.full(2**16, i), np.full(2**16, increment), every_word)
    frequency = np.bincount(after, minlength=size) / 2**16
    assert np.abs(frequency - law(spec, i, float(increment))).max() <= 2.0**-16


@stems
@enumerations
@given(data=st.data())
def test_the_threshold_divides_the_words_that_move_from_those_that_do_not(stem, data):
    spec = data.draw(specs(stem))
    lattice = spec.lattice
    i, increment = data.draw(indices(lattice)), data.draw(increments(lattice))
    plain = algorithm(spec)
    x = measured(lattice, increment)
    x = 0.0 if math.isnan(x) else max(min(x, lattice.size), -lattice.size)
    sign, whole = (-1 if x < 0 else 1), math.floor(abs(Fraction(x)))

    def after(word: int) -> int:
        return plain.step(
            spec, np.array([i]), np.array([increment]), np.array([word], dtype=np.uint32)
        ).item()

    def stopped(index: int) -> int:
        return min(max(index, 0), lattice.size - 1)

    threshold = plain.threshold(spec, np.array([i]), np.array([increment])).item()
    assert 0 <= threshold <= 2**32
    for word in words_beside(threshold):
        assert after(word) == stopped(i + sign * (whole + (word < threshold)))


@stems
@enumerations
@given(data=st.data())
def test_the_threshold_is_the_laws_probability_to_the_last_integer(stem, data):
    """|T - p 2**32| <= 1, rounding down and a rounding of tanh. Words of 24 bits would miss it."""
    spec = data.draw(specs(stem))
    lattice, increment = spec.lattice, data.draw(increments(spec.lattice))
    x = measured(lattice, increment)
    for i in few_indices(lattice):
        threshold = algorithm(spec).threshold(spec, np.array([i]), np.array([increment])).item()
        if not abs(x) < lattice.size:
            assert threshold == 0
            continue
        far = i + (-1 if x < 0 else 1) * (math.floor(abs(x)) + 1)
        if 0 <= far < lattice.size:
            p = law(spec, i, x * lattice.spacing)[far]
            assert abs(Fraction(threshold) - Fraction(float(p)) * 2**32) <= 1


@stems
def test_nan_does_not_move_and_infinities_go_to_the_ends(stem):
    spec = SPECS[stem](Lattice.uniform(-1.0, 2.0, 7))
    index = np.arange(7)
    words = np.full(7, 0, dtype=np.uint32)
    step = algorithm(spec).step
    assert step(spec, index, np.full(7, np.nan, np.float32), words).tolist() == [*range(7)]
    assert step(spec, index, np.full(7, -0.0, np.float32), words).tolist() == [*range(7)]
    assert step(spec, index, np.full(7, np.inf, np.float32), words).tolist() == [6] * 7
    assert step(spec, index, np.full(7, -np.inf, np.float32), words).tolist() == [0] * 7


@stems
@pytest.mark.parametrize("size", LATTICE_SIZES)
def test_read_gives_the_levels_and_init_finds_them_again(stem, size):
    spec = SPECS[stem](Lattice.uniform(-0.7, 1.3, size))
    plain = algorithm(spec)
    index = np.arange(size).reshape(1, size)
    weights = plain.read(spec, index)
    assert weights.dtype == np.float32
    assert weights.shape == (1, size)
    # One rounding to float32 of numbers below 2: half of 2**-23.
    assert np.abs(weights[0] - spec.lattice.levels).max() <= 2.0**-24
    assert plain.init(spec, weights).tolist() == index.tolist()


@stems
@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_index_off_the_lattice_is_refused(stem, wrong):
    spec = SPECS[stem](Lattice.ternary())
    plain = algorithm(spec)
    index, zeros = np.array([0, wrong]), np.zeros(2)
    with pytest.raises(ValueError, match=f"an index is in 0..2, got {wrong}"):
        plain.read(spec, index)
    with pytest.raises(ValueError, match=f"an index is in 0..2, got {wrong}"):
        plain.step(spec, index, zeros.astype(np.float32), zeros.astype(np.uint32))


@stems
def test_weights_do_not_see_each_other(stem):
    """Any part of the arrays, in any order and shape, moves as it does in the whole."""
    spec = SPECS[stem](Lattice.uniform(-1.0, 1.0, 9))
    rng = np.random.default_rng(3)
    index = rng.integers(0, 9, 60)
    increment = rng.normal(0, 0.4, 60).astype(np.float32)
    words = rng.integers(0, 2**32, 60, dtype=np.uint32)
    step = algorithm(spec).step
    whole = step(spec, index, increment, words)
    back = slice(None, None, -1)
    assert (step(spec, index[back], increment[back], words[back]) == whole[back]).all()
    parts = [slice(k, k + 7) for k in range(0, 60, 7)]
    pieces = [step(spec, index[part], increment[part], words[part]) for part in parts]
    assert (np.concatenate(pieces) == whole).all()
    square = step(spec, index.reshape(6, 10), increment.reshape(6, 10), words.reshape(6, 10))
    assert (square.reshape(-1) == whole).all()
