"""Every stem's kernel in every CPU library: the reference's moves, word for word, and pure.

What is checked without a second implementation: the same launch gives the same bits, whatever the
threads (D2); a prefix of a tensor moves as in the whole (D3); no weight sees another (D4).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from conformance.rooms import EDGES, law, unexplained
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

from qreference import algorithm, philox
from qtheory.algorithms import SPECS
from qtheory.lattice import Lattice
from qtheory.streams import Stream

stems = pytest.mark.parametrize("stem", SPECS)
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
    spec = SPECS[stem](Lattice.ternary(0.3))
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
def test_thresholds_are_within_the_declared_edge_of_the_references(room, stem, data):
    spec = data.draw(specs(stem))
    index, increment = data.draw(weights(spec.lattice, 256))
    ours = room.thresholds(spec, index, increment).astype(np.int64)
    theirs = algorithm(spec).threshold(spec, index, increment)
    assert (np.abs(ours - theirs.astype(np.int64)) <= EDGES[stem](theirs)).all()
    assert (ours >= 0).all() and (ours <= 2**32).all()


@stems
@some
@given(data=st.data())
def test_thresholds_are_those_of_the_law(room, stem, data):
    """floor(p 2**32) with p the law's mass on the farther level, where it has room to go there."""
    spec = data.draw(specs(stem))
    lattice = spec.lattice
    index, increment = data.draw(weights(lattice, 24))
    ours = room.thresholds(spec, index, increment)
    for i, x, threshold in zip(index, increment, ours.tolist(), strict=True):
        spacings = measured(lattice, x)
        if math.isnan(spacings):
            assert threshold == 0
            continue
        far = int(i) + (-1 if spacings < 0 else 1) * (math.floor(min(abs(spacings), 1e9)) + 1)
        if 0 <= far < lattice.size:
            p = law(spec, int(i), spacings * lattice.spacing)[far]
            expected = np.array([math.floor(2.0**32 * p)], np.uint64)
            assert abs(threshold - int(expected[0])) <= EDGES[stem](expected)[0] + 1


@stems
@few
@given(data=st.data())
def test_nan_stays_and_is_counted_and_infinities_go_to_the_ends(room, stem, data):
    spec, place = data.draw(specs(stem)), data.draw(places(600))
    index = np.resize(np.array(few_indices(spec.lattice), np.int64), 600)
    for value, target in ((math.nan, index), (math.inf, spec.lattice.size - 1), (-math.inf, 0)):
        increment = np.full(600, value, np.float32)
        for storage in storages(spec.lattice):
            after, (moved, nan) = step(room, spec, index, increment, place, storage)
            assert (after == target).all()
            assert (moved, nan) == ((after != index).sum(), 600 * math.isnan(value))


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
