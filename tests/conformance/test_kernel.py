"""Every stem's kernel in every CPU library: the reference's moves, word for word, and pure.

What is checked without a second implementation: the same launch gives the same bits, whatever the
threads (D2); a prefix of a tensor moves as in the whole (D3); no weight sees another (D4).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from conformance.rooms import shares, unexplained
from cpu_room import Weights, storages
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    LARGE_SIZES,
    RUN,
    SMALL_SIZES,
    Place,
    examples,
    few_indices,
    lattices,
    measured,
    places,
    seed_of,
    sizes,
    specs,
    streams,
    weights,
)

import qreference
from qreference import philox, walker
from qtheory.algorithms import law, spec_class, walkers
from qtheory.lattice import Lattice
from qtheory.streams import Stream

stems = pytest.mark.parametrize("stem", walkers())
few, some = examples(12), examples(30)


def step(room, spec, index, increment, place: Place, storage, threads=1):
    """Indices after one launch, and its counters (moved, NaN)."""
    one = Weights(index.copy(), increment, tensor=place.tensor, offset=place.offset)
    counters = room.step(
        spec, None, [one], seed=place.seed, iteration=place.iteration, storage=storage,
        threads=threads,
    )  # fmt: skip
    return one.index, counters[0].tolist()


def words_of(place: Place, count: int) -> np.ndarray:
    seed, iteration, tensor, offset = place
    return philox.words(seed, iteration, tensor, Stream.MOVE, count, offset)


def assert_the_references(room, spec, index, increment, place, storage, threads=1):
    after, counters = step(room, spec, index, increment, place, storage, threads)
    words = words_of(place, index.size)
    assert not unexplained(spec, index, increment, words, after).any()
    assert counters == [(after != index).sum(), np.isnan(increment).sum()]


@stems
@some
@given(data=st.data())
def test_moves_are_the_references(room, stem, data):
    spec, count = data.draw(specs(stem)), data.draw(sizes)
    index, increment = data.draw(weights(spec.lattice, count))
    place = data.draw(places(count))
    storage = data.draw(st.sampled_from(storages(spec.lattice)))
    assert_the_references(room, spec, index, increment, place, storage)


@stems
@pytest.mark.parametrize("count", [*SMALL_SIZES, *LARGE_SIZES])
def test_moves_are_the_references_at_every_edge_of_a_loop(room, stem, count):
    """Random increments, both storages, one and two threads."""
    spec = spec_class(stem)(Lattice.ternary(0.3))
    rng = np.random.default_rng(count)
    index = rng.integers(0, 3, count)
    increment = rng.normal(0.1, 0.3, count).astype(np.float32)
    for storage in storages(spec.lattice):
        for threads in (1, 2):
            place = Place(seed_of(stem, count), 1, 2, count)
            assert_the_references(room, spec, index, increment, place, storage, threads)


@stems
@some
@given(data=st.data())
def test_outcomes_are_the_references_within_the_declared_edge(room, stem, data):
    spec = data.draw(specs(stem))
    index, increment = data.draw(weights(spec.lattice, 256))
    ours, theirs = room.outcomes(spec, index, increment), walker.outcomes(spec, index, increment)
    assert (ours.destinations == theirs.destinations).all()
    apart = ours.thresholds.astype(np.int64) - theirs.thresholds.astype(np.int64)
    assert (np.abs(apart) <= qreference.edge(spec, theirs.thresholds)).all()
    assert (ours.thresholds <= 2**32).all()
    assert (np.diff(ours.thresholds.astype(np.int64), axis=-1) >= 0).all()


@stems
@few
@given(data=st.data())
def test_what_infinite_increments_exclude_is_excluded_to_the_last_word(room, stem, data):
    """A threshold that is 0 or 2**32 there has no edge: not one word may differ."""
    spec = data.draw(specs(stem))
    index = np.array(few_indices(spec.lattice), np.int64)
    for value in (math.inf, -math.inf):
        increment = np.full(index.size, value, np.float32)
        ours, theirs = (r.outcomes(spec, index, increment) for r in (room, walker))
        sure = np.isin(theirs.thresholds, [0, 2**32])
        assert (ours.thresholds == theirs.thresholds)[sure].all()
        assert sure.any()


@stems
@some
@given(data=st.data())
def test_thresholds_are_those_of_the_law(room, stem, data):
    """floor(P 2**32), within one and the edge, with P the law's mass on the places before it."""
    spec = data.draw(specs(stem))
    index, increment = data.draw(weights(spec.lattice, 24))
    exact = [measured(spec.lattice, x) * spec.lattice.spacing for x in increment]
    ours = room.outcomes(spec, index, increment)
    share, told = shares(law(spec, index, np.array(exact)), ours)
    expected = np.floor(2.0**32 * np.minimum(share, 1.0)).astype(np.uint64)
    apart = np.abs(ours.thresholds.astype(np.int64) - expected.astype(np.int64))
    assert (apart <= qreference.edge(spec, expected) + 1)[told].all()


@stems
@few
@given(data=st.data())
def test_nan_stays_and_is_counted(room, stem, data):
    spec, place = data.draw(specs(stem)), data.draw(places(600))
    index = np.resize(np.array(few_indices(spec.lattice), np.int64), 600)
    increment = np.full(600, math.nan, np.float32)
    for storage in storages(spec.lattice):
        after, counters = step(room, spec, index, increment, place, storage)
        assert (after == index).all()
        assert counters == [0, 600]


@stems
@few
@given(data=st.data())
def test_eight_launches_are_one(room, stem, data):
    """D2: the call, the threads and the storage change nothing."""
    spec, count = data.draw(specs(stem)), data.draw(sizes)
    index, increment = data.draw(weights(spec.lattice, count))
    place = data.draw(places(count))
    first = step(room, spec, index, increment, place, storages(spec.lattice)[0])
    for call in range(8):
        storage = storages(spec.lattice)[call // 4 % len(storages(spec.lattice))]
        again = step(room, spec, index, increment, place, storage, threads=(1, 2, 7, 1)[call % 4])
        assert (again[0] == first[0]).all()
        assert again[1] == first[1]


@stems
@few
@given(data=st.data())
def test_a_prefix_moves_as_in_the_whole(room, stem, data):
    """D3, and any piece that is told its own global element numbers."""
    spec, count = data.draw(specs(stem)), 2 * RUN + 3
    index, increment = data.draw(weights(spec.lattice, count))
    place = data.draw(places(count))
    storage = data.draw(st.sampled_from(storages(spec.lattice)))
    whole, _ = step(room, spec, index, increment, place, storage)
    start = data.draw(st.sampled_from([0, 0, 1, 2, 5, RUN - 1, RUN]))
    end = start + data.draw(st.sampled_from([n for n in SMALL_SIZES if n <= count - start]))
    there = place._replace(offset=place.offset + start)
    part, _ = step(room, spec, index[start:end], increment[start:end], there, storage)
    assert (part == whole[start:end]).all()


@stems
@few
@given(data=st.data())
def test_no_weight_sees_another(room, stem, data):
    """D4: other levels and increments at some places, the edges of blocks among them."""
    spec, count = data.draw(specs(stem)), 2 * RUN + 3
    index, increment = data.draw(weights(spec.lattice, count))
    other_index, other_increment = data.draw(weights(spec.lattice, count))
    place = data.draw(places(count))
    storage = data.draw(st.sampled_from(storages(spec.lattice)))
    ends = [0, 1, 3, 4, 31, 32, 255, 256, RUN - 1, RUN, count - 1]
    changed = np.zeros(count, bool)
    changed[data.draw(st.lists(st.sampled_from(ends), min_size=1, max_size=6))] = True
    before, _ = step(room, spec, index, increment, place, storage)
    mixed = np.where(changed, other_index, index), np.where(changed, other_increment, increment)
    after, _ = step(room, spec, *mixed, place, storage)
    assert (after[~changed] == before[~changed]).all()


@given(
    place=places(700), stream=streams, count=st.sampled_from([n for n in SMALL_SIZES if n < 700])
)
def test_words_are_the_references(room, place, stream, count):
    seed, iteration, tensor, offset = place
    ours = room.words(seed, iteration, tensor, int(stream), count, offset)
    assert (ours == philox.words(seed, iteration, tensor, stream, count, offset)).all()


@examples(30)
@given(lattice=lattices(), count=sizes, data=st.data())
def test_reading_gives_the_levels_in_every_storage(room, lattice, count, data):
    from qcuda.kernels.abi import Real

    index, _ = data.draw(weights(lattice, count))
    for storage in storages(lattice):
        read = room.read(lattice, index, storage, Real.FLOAT32)
        assert read.tobytes() == lattice.levels.astype(np.float32)[index].tobytes()
