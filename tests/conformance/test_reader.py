"""Every reader of the registry: it shows what its law says, and passes gradients straight on."""

from __future__ import annotations

import numpy as np
import pytest
from conformance.rooms import words_beside
from hypothesis import given
from hypothesis import strategies as st
from strategies import every_word, examples, specs

from qreference import reader
from qtheory.algorithms import contract, readers, spec_class, walkers
from qtheory.algorithms.reader import reading_law_of
from qtheory.algorithms.walker import realised_law
from qtheory.lattice import Lattice

stems = pytest.mark.parametrize("stem", readers())
some = examples(20)


@st.composite
def latents(draw: st.DrawFn, spec) -> np.ndarray:
    """Levels, half-way points, their neighbours, beyond the ends, tiny: float32, shape (n,)."""
    lattice = spec.lattice
    middles = lattice.levels[:-1] + 0.5 * lattice.spacing
    chosen = draw(st.lists(st.sampled_from([*lattice.levels, *middles]), min_size=3, max_size=8))
    exact = np.array(chosen, np.float32)
    beside = [np.nextafter(exact, np.float32(s)) for s in (-np.inf, np.inf)]
    away = exact + np.float32(draw(st.floats(-3, 3)) * lattice.spacing)
    return np.concatenate([exact, *beside, away, np.array([0.0, -0.0, 1e-30], np.float32)])


@stems
@some
@given(data=st.data())
def test_what_is_read_has_the_law(stem, data):
    """Words in the middles of 2**16 equal cells: 2**-17, and 2**-32 for each rounded threshold."""
    spec = data.draw(specs(stem))
    for x in data.draw(latents(spec))[::5]:
        shown = reader.index(spec, np.full(2**16, x), every_word)
        frequency = np.bincount(shown, minlength=spec.lattice.size) / 2**16
        law = reading_law_of(spec, np.array([x], np.float64))[0]
        assert np.abs(frequency - law).max() <= 2.0**-16


@stems
@some
@given(data=st.data())
def test_outcomes_realise_the_law_and_words_beside_a_threshold_part_there(stem, data):
    spec = data.draw(specs(stem))
    x = data.draw(latents(spec))
    outcomes = reader.outcomes(spec, x)
    realised = realised_law(outcomes, spec.lattice.size)
    # Each of two thresholds is rounded down by less than 2**-32; the law's tails by 2**-50.
    exact = reading_law_of(spec, x.astype(np.float64))
    assert np.abs(realised - exact).max() <= 2.0**-32 + 2.0**-50
    place = data.draw(st.integers(0, x.size - 1))
    for word in words_beside(outcomes.thresholds[place]):
        shown = reader.index(spec, x[place : place + 1], np.array([word], np.uint32))[0]
        passed = int((outcomes.thresholds[place] <= word).sum())
        assert shown == outcomes.destinations[place, passed]


@stems
@some
@given(data=st.data())
def test_visible_weights_are_levels_and_latents_stay_within_their_bound(stem, data):
    spec = data.draw(specs(stem))
    x = data.draw(latents(spec))
    words = data.draw(st.integers(0, 2**32 - 1))
    visible = reader.read(spec, x, np.full(x.size, words, np.uint32))
    assert visible.dtype == np.float32
    assert set(visible.tolist()) <= set(spec.lattice.levels.astype(np.float32).tolist())
    bound = reader.reading_of(spec).bound
    kept = reader.stopped(spec, x * np.float32(7))
    assert kept.dtype == x.dtype and (np.abs(kept) <= np.float32(bound)).all()
    assert (kept == x * np.float32(7))[np.abs(x * np.float32(7)) <= bound].all()


@stems
def test_gradients_pass_straight_through(stem):
    spec = contract(stem).spec()
    latent, upstream = np.array([-2.0, 0.1], np.float32), np.array([3.0, -4.0], np.float32)
    assert reader.slope(spec, latent, upstream).tolist() == [3.0, -4.0]


@stems
def test_a_latent_that_is_no_number_is_refused(stem):
    with pytest.raises(ValueError, match="a stair takes numbers, got NaN"):
        reading_law_of(contract(stem).spec(), np.array([np.nan]))


def test_a_walker_has_no_reading():
    spec = spec_class(walkers()[0])(Lattice.ternary())
    with pytest.raises(TypeError, match=f"a reader has a reading, got {type(spec).__name__}"):
        reader.outcomes(spec, np.zeros(1))
