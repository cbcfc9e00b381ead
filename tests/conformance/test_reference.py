"""Every walker of the registry: its `step` has its `law`, its thresholds are obeyed.

Increments are measured in spacings by one float32 division; the law is exact for the measured
number. It is handed to the law as (measured) * (spacing): a product of two float32 numbers is
exact in float64, so the law's own division returns the measured number unchanged.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from conformance.rooms import place_of, shares, words_beside
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
    weights,
)

from qreference import walker
from qtheory.algorithms import contract, law, spec_class, walkers
from qtheory.lattice import Lattice

stems = pytest.mark.parametrize("stem", walkers())
enumerations = examples(50)

# Of 2**16 words in the middles of equal cells, those below T are T / 2**16 rounded: 2**-17 of
# probability. T itself is a probability rounded down: 2**-32 more. A place has two thresholds.
NEAR = 2.0**-16 + 2.0**-31


def frequency(spec, i: int, increment: np.float32) -> np.ndarray:
    """How often each level is reached by one weight, over all words of 16 bits."""
    one = np.full((1, 1), i), np.full((1, 1), increment)
    after = walker.step(spec, *one, every_word[:, None]).ravel()
    return np.bincount(after, minlength=spec.lattice.size) / 2**16


@stems
@enumerations
@given(data=st.data())
def test_step_has_the_law(stem, data):
    spec = data.draw(specs(stem))
    increment = data.draw(increments(spec.lattice))
    exact = measured(spec.lattice, increment) * spec.lattice.spacing
    for i in few_indices(spec.lattice):
        found = frequency(spec, i, increment)
        assert np.abs(found - law(spec, i, exact)).max() <= NEAR


@stems
@enumerations
@given(data=st.data())
def test_step_has_the_law_of_the_raw_increment_where_division_is_exact(stem, data):
    """Spacings that are powers of two, so of Z_N: nothing is measured, nothing rounded."""
    spec = data.draw(specs(stem, powers_of_two()))
    increment = data.draw(increments(spec.lattice))
    i = data.draw(indices(spec.lattice))
    found = frequency(spec, i, increment)
    assert np.abs(found - law(spec, i, float(increment))).max() <= NEAR


@stems
@enumerations
@given(data=st.data())
def test_outcomes_are_ordered_and_on_the_lattice(stem, data):
    spec = data.draw(specs(stem))
    index, increment = data.draw(weights(spec.lattice, 24))
    thresholds, places = walker.outcomes(spec, index, increment)
    assert thresholds.dtype == np.uint64 and places.dtype == np.int64
    assert thresholds.shape == (24, places.shape[1] - 1)
    assert (thresholds <= 2**32).all()
    assert (np.diff(thresholds.astype(np.int64), axis=-1) >= 0).all()
    assert (places >= 0).all() and (places < spec.lattice.size).all()
    if contract(stem).destinations == "neighbours":
        steps = np.array([-1, 0, 1]) * ~np.isnan(increment)[:, None]
        assert (places == np.clip(index[:, None] + steps, 0, spec.lattice.size - 1)).all()


@stems
@enumerations
@given(data=st.data())
def test_the_law_has_mass_on_destinations_only(stem, data):
    spec = data.draw(specs(stem))
    index, increment = data.draw(weights(spec.lattice, 24))
    exact = [measured(spec.lattice, x) * spec.lattice.spacing for x in increment]
    pmf = law(spec, index, np.array(exact))
    np.put_along_axis(pmf, walker.outcomes(spec, index, increment).destinations, 0.0, -1)
    assert (pmf == 0).all()


@stems
@enumerations
@given(data=st.data())
def test_a_word_goes_to_the_place_in_whose_interval_it_falls(stem, data):
    """The decision changes at each threshold and nowhere beside it."""
    spec = data.draw(specs(stem))
    index = np.array([data.draw(indices(spec.lattice))])
    increment = np.array([data.draw(increments(spec.lattice))])
    found = walker.outcomes(spec, index, increment)
    words = words_beside(found.thresholds)
    for word in words:
        after = walker.step(spec, index, increment, np.array([word], dtype=np.uint32))
        assert after.item() == place_of(found, word)


@stems
@enumerations
@given(data=st.data())
def test_thresholds_are_the_laws_probabilities_to_the_last_integer(stem, data):
    """|T - P 2**32| <= 1, rounding down and a rounding of P. Words of 24 bits would miss it."""
    spec = data.draw(specs(stem))
    index, increment = data.draw(weights(spec.lattice, 24))
    exact = [measured(spec.lattice, x) * spec.lattice.spacing for x in increment]
    found = walker.outcomes(spec, index, increment)
    share, told = shares(law(spec, index, np.array(exact)), found)
    for threshold, p in zip(found.thresholds[told].tolist(), share[told].tolist(), strict=True):
        assert abs(Fraction(threshold) - Fraction(p) * 2**32) <= 1


@stems
def test_nan_does_not_move(stem):
    spec = spec_class(stem)(Lattice.uniform(-1.0, 2.0, 7))
    index, nan = np.arange(7), np.full(7, np.nan, np.float32)
    for word in (0, 2**31, 2**32 - 1):
        after = walker.step(spec, index, nan, np.full(7, word, dtype=np.uint32))
        assert after.tolist() == [*range(7)]


@stems
@pytest.mark.parametrize("size", LATTICE_SIZES)
def test_read_gives_the_levels_and_init_finds_them_again(stem, size):
    spec = spec_class(stem)(Lattice.uniform(-0.7, 1.3, size))
    index = np.arange(size).reshape(1, size)
    weights = walker.read(spec, index)
    assert weights.dtype == np.float32
    assert weights.shape == (1, size)
    # One rounding to float32 of numbers below 2: half of 2**-23.
    assert np.abs(weights[0] - spec.lattice.levels).max() <= 2.0**-24
    assert walker.init(spec, weights).tolist() == index.tolist()


@stems
@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_index_off_the_lattice_is_refused(stem, wrong):
    spec = spec_class(stem)(Lattice.ternary())
    index, zeros = np.array([0, wrong]), np.zeros(2)
    with pytest.raises(ValueError, match=f"an index is in 0..2, got {wrong}"):
        walker.read(spec, index)
    with pytest.raises(ValueError, match=f"an index is in 0..2, got {wrong}"):
        walker.step(spec, index, zeros.astype(np.float32), zeros.astype(np.uint32))


@stems
def test_weights_do_not_see_each_other(stem):
    """Any part of the arrays, in any order and shape, moves as it does in the whole."""
    spec = spec_class(stem)(Lattice.uniform(-1.0, 1.0, 9))
    rng = np.random.default_rng(3)
    index = rng.integers(0, 9, 60)
    increment = rng.normal(0, 0.4, 60).astype(np.float32)
    words = rng.integers(0, 2**32, 60, dtype=np.uint32)
    step = walker.step
    whole = step(spec, index, increment, words)
    back = slice(None, None, -1)
    assert (step(spec, index[back], increment[back], words[back]) == whole[back]).all()
    parts = [slice(k, k + 7) for k in range(0, 60, 7)]
    pieces = [step(spec, index[part], increment[part], words[part]) for part in parts]
    assert (np.concatenate(pieces) == whole).all()
    square = step(spec, index.reshape(6, 10), increment.reshape(6, 10), words.reshape(6, 10))
    assert (square.reshape(-1) == whole).all()
