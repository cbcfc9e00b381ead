"""Base optimisers fused with the move: increments, moments and indices, bit for bit.

The plain twin is `qreference.optimisers.train_step`. Its increments and moments are compared as
bits; the payload of a NaN is not part of the contract, so NaN only has to meet NaN.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from cpu_room import Room, Weights, storages

from qreference import optimisers, philox
from qreference.optimisers import Moments
from qreference.storage import widen
from qtheory.algorithms import DST, DeterministicRounding, Spec, StochasticRounding
from qtheory.lattice import Lattice
from qtheory.optimisers import SGD, Adam, Momentum, Normalized, Optimiser
from qtheory.streams import Stream

OPTIMISERS = [SGD(0.3), Momentum(0.1, 0.9), Adam(0.02), Adam(0.3, (0.7, 0.99), 1e-5)]
NORMALISED = [Normalized(0.3), Normalized(0.2, 0.9, 0.7)]
SPECIAL = np.array(
    [0, -0.0, 1e-45, -1e-45, 1.2e-38, -1e-39, 1e-20, 3e38, -3e38, 1e19, np.inf, -np.inf, np.nan],
    np.float32,
)
# The NaN of a GPU has all bits set: adding to them would carry into the sign.
SPECIAL = np.append(SPECIAL, np.array([0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32))
SIZES = [0, 1, 2, 3, 4, 5, 63, 64, 65, 575, 576, 577, 1153, 36863, 36864, 36865]
SIZES += [49_151, 49_152, 49_153, 100_003]  # a run has 1536 weights, a task 32 runs
by_optimiser = pytest.mark.parametrize("optimiser", OPTIMISERS, ids=repr)


def gradients(count: int, seed: int, kind: str = "float32") -> np.ndarray:
    """Asymmetric, over ten decades, one in twenty special."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.3, 1, count) * 10.0 ** rng.uniform(-8, 2, count)
    values = np.where(rng.random(count) < 0.05, rng.choice(SPECIAL, count), values)
    values = values.astype(np.float32)
    return values if kind == "float32" else (values.view(np.uint32) >> 16).astype(np.uint16)


def real(values: np.ndarray) -> np.ndarray:
    return values if values.dtype == np.float32 else widen(values)


def assert_same_reals(ours: np.ndarray | None, theirs: np.ndarray | None) -> None:
    """Equal bits, NaN apart."""
    if theirs is None:
        assert ours is None
        return
    assert ours.dtype == theirs.dtype
    nan = np.isnan(real(theirs))
    assert (np.isnan(real(ours)) == nan).all()
    bits = np.uint32 if ours.dtype == np.float32 else np.uint16
    assert (ours.view(bits) == theirs.view(bits))[~nan].all()


def start(spec: Spec, optimiser: Optimiser, count: int, moment_type, tensor=0, offset=0):
    index = np.random.default_rng(count + 1).integers(0, spec.lattice.size, count)
    moments = optimisers.init(optimiser, (count,), moment_type)
    return Weights(index, np.zeros(count, np.float32), moments, tensor, offset)


def train(spec, optimiser, weights: Weights, *, seed, iteration, moment_type="float32"):
    """The reference, on the same Weights: a new one, and the counters."""
    index, moments, moved, nan = optimisers.train_step(
        spec, optimiser, weights.index, weights.moments, real(weights.gradient), seed=seed,
        iteration=iteration, tensor=weights.tensor, offset=weights.offset, moment_type=moment_type,
    )  # fmt: skip
    after = Weights(index, weights.gradient, moments, weights.tensor, weights.offset)
    return after, [moved, nan]


def assert_same(ours: Weights, theirs: Weights) -> None:
    assert (ours.index == theirs.index).all()
    for mine, other in zip(ours.moments, theirs.moments, strict=True):
        assert_same_reals(mine, other)


def of_size(count: int) -> Spec:
    """Trits and int8 in turn."""
    return StochasticRounding((Lattice.ternary(0.5), Lattice.uniform(-0.2, 0.4, 255))[count % 2])


@cache
def trained(
    optimiser: Optimiser, moment_type: str, gradient_type: str, count: int
) -> list[tuple[np.ndarray, Moments, list[int]]]:
    """What the reference makes of it, after each iteration: once for all libraries."""
    spec, rows = of_size(count), []
    weights = start(spec, optimiser, count, moment_type, tensor=3, offset=count)
    for iteration in range(1, 6 if count < 5000 else 3):
        weights.gradient = gradients(count, iteration, gradient_type)
        weights, counters = train(
            spec, optimiser, weights, seed=2**63 + 5, iteration=iteration, moment_type=moment_type
        )
        rows.append((weights.index.astype(np.uint8), weights.moments, counters))
    return rows


@by_optimiser
@pytest.mark.parametrize("moment_type", ["float32", "bfloat16"])
@pytest.mark.parametrize("gradient_type", ["float32", "bfloat16"])
def test_five_iterations_of_every_size(room, optimiser, moment_type, gradient_type):
    """Trits and int8 in turn, 1 and 2 threads in turn; specials change nothing."""
    for count in SIZES:
        spec = of_size(count)
        ours = start(spec, optimiser, count, moment_type, tensor=3, offset=count)
        theirs = trained(optimiser, moment_type, gradient_type, count)
        for iteration, (index, moments, counters) in enumerate(theirs, start=1):
            ours.gradient = gradients(count, iteration, gradient_type)
            got = room.step(
                spec, optimiser, [ours], seed=2**63 + 5, iteration=iteration,
                storage=storages(spec.lattice)[-1], threads=1 + iteration % 2,
            )  # fmt: skip
            assert_same(ours, Weights(index, ours.gradient, moments))
            assert got.tolist() == [counters]


@by_optimiser
@pytest.mark.parametrize("moment_type", ["float32", "bfloat16"])
def test_what_is_not_finite_changes_nothing(room, optimiser, moment_type):
    """Neither index nor moment, by any word: 999 weights, each third a NaN, an infinity, a number.

    The next gradient then finds what it would have found without them.
    """
    spec, kind = StochasticRounding(Lattice.ternary(0.5)), moment_type
    ours = start(spec, optimiser, 999, moment_type)
    clean = gradients(999, 1)
    clean[~np.isfinite(clean) | (np.abs(clean) > 1e18)] = 0.25
    ours.gradient = clean
    room.step(spec, optimiser, [ours], seed=3, iteration=1)
    before = ours.copy()
    bad = np.resize(np.array([np.nan, np.inf, -np.inf, 3.4e38], np.float32), 999)
    bad = bad if ours.moments.first is not None else np.where(bad == bad[3], np.inf, bad)
    ours.gradient = np.where(np.arange(999) % 3 == 2, clean, bad).astype(np.float32)
    expected, counters = train(spec, optimiser, ours.copy(), seed=3, iteration=2, moment_type=kind)
    got = room.step(spec, optimiser, [ours], seed=3, iteration=2)
    assert got.tolist() == [counters]
    assert counters[1] == 666
    assert_same(ours, expected)
    rest = np.arange(999) % 3 != 2
    assert (ours.index[rest] == before.index[rest]).all()
    for mine, old in zip(ours.moments, before.moments, strict=True):
        if mine is not None:
            assert mine[rest].tobytes() == old[rest].tobytes()
            assert (mine[~rest] != old[~rest]).mean() > 0.5


@pytest.mark.parametrize("size", [2, 3, 5, 129, 255, 256])
@pytest.mark.parametrize("rule", [StochasticRounding, DeterministicRounding, DST])
def test_every_rule_and_size_of_lattice(room, rule, size):
    """DST too: 3 x 3001 words and thresholds 1.7e-6 apart at most; none falls between (0.016)."""
    lattice = Lattice.uniform(-0.7, 1.1, size)
    for storage in storages(lattice):
        ours = start(rule(lattice), Adam(0.05), 3001, "float32")
        theirs = ours.copy()
        for iteration in (1, 2, 3):
            ours.gradient = theirs.gradient = gradients(3001, iteration)
            got = room.step(
                rule(lattice), Adam(0.05), [ours], seed=1, iteration=iteration, storage=storage
            )
            theirs, expected = train(rule(lattice), Adam(0.05), theirs, seed=1, iteration=iteration)
            assert_same(ours, theirs)
            assert got.tolist() == [expected]


@by_optimiser
@pytest.mark.parametrize("late", [1, 10, 1000, 10**6, 2**32 - 1])
def test_late_iterations(room, optimiser, late):
    """Bias correction and the counter far along, from moments that are not zero."""
    spec = StochasticRounding(Lattice.ternary())
    ours = start(spec, optimiser, 4099, "float32")
    moments = (
        None if m is None else np.abs(gradients(4099, k)) for k, m in enumerate(ours.moments)
    )
    ours.moments = Moments(*moments)
    ours.gradient = gradients(4099, 9)
    theirs, _ = train(spec, optimiser, ours.copy(), seed=1, iteration=late)
    room.step(spec, optimiser, [ours], seed=1, iteration=late)
    assert_same(ours, theirs)


@cache
def sorted_words() -> tuple[np.ndarray, np.ndarray]:
    """2**22 words in order, and the element number of each."""
    words = philox.words(17, 4, 0, Stream.MOVE, 2**22)
    order = np.argsort(words)
    return words[order].astype(np.int64), order


@by_optimiser
def test_the_last_bit_of_every_increment_decides(room, optimiser):
    """Increments are not exported, so each is weighed: two weights, on both sides of it.

    With a spacing of 2**-6 of its binade an increment is x in [64, 128) spacings, exactly, and its
    last bit is 2**-17 spacings. For each, two global element numbers are looked up whose words w
    straddle the fraction, f - 2**-17 <= w / 2**32 < f <= w' / 2**32 < f + 2**-17: an increment one
    unit away in either direction would decide differently about one of them.
    """
    lattice_size, count = 256, 250
    ordered, order = sorted_words()
    values = gradients(5 * count, 3)
    # No special numbers, nor any whose increment could leave the normal range.
    values = values[np.isfinite(values) & (np.abs(values) > 1e-9) & (np.abs(values) < 1e9)][:count]
    moments = optimisers.init(optimiser, values.shape)
    moments = Moments(*(None if m is None else np.abs(values[::-1]) * 0.7 for m in moments))
    proposed, _ = optimisers.increment(optimiser, moments, values, 4)
    weighed = 0
    for k, x in enumerate(proposed):
        spacing = 2.0 ** (int(np.frexp(x)[1]) - 7)
        spec = StochasticRounding(Lattice(lattice_size, spacing, 0.0))
        spacings = abs(float(x)) / spacing
        threshold = int((spacings % 1) * 2**32)
        place = np.searchsorted(ordered, threshold)
        below, above = (ordered[p] if 0 <= p < 2**22 else -1 for p in (place - 1, place))
        if not (0 <= threshold - below <= 2**15 and 0 <= above - threshold < 2**15):
            continue
        one = [None if m is None else m[k : k + 1] for m in moments]
        pair = [
            Weights(
                np.array([0 if x > 0 else lattice_size - 1]), values[k : k + 1],
                Moments(*(None if m is None else m.copy() for m in one)), 0, int(order[place + i]),
            )
            for i in (-1, 0)
        ]  # fmt: skip
        room.step(spec, optimiser, pair, seed=17, iteration=4)
        moved = [int(abs(w.index[0] - (0 if x > 0 else lattice_size - 1))) for w in pair]
        assert moved == [int(spacings) + 1, int(spacings)], (k, float(x))
        weighed += 1
    assert weighed >= 0.95 * count  # 2**22 words, 2**17 intervals: one is empty rarely


def split_at(weights: Weights, cuts: list[int]) -> list[Weights]:
    ends = [0, *cuts, weights.index.size]
    return [
        Weights(
            weights.index[a:b].copy(), weights.gradient[a:b],
            Moments(*(None if m is None else m[a:b].copy() for m in weights.moments)),
            weights.tensor, weights.offset + a,
        )
        for a, b in pairwise(ends)
    ]  # fmt: skip


@pytest.mark.parametrize("moment_type", ["float32", "bfloat16"])
@pytest.mark.parametrize("storage", [0, 1])
def test_whole_or_in_pieces(room, moment_type, storage):
    """Shards draw what the whole would, wherever they are cut: in one launch or in many."""
    spec, optimiser = DST(Lattice.ternary()), Adam(0.1)
    whole = start(spec, optimiser, 70_001, moment_type, tensor=2, offset=2**34 - 30_001)
    whole.gradient = gradients(70_001, 1)
    cuts = [1, 2, 5, 1026, 30_001, 30_001, 64_999, 70_000]
    together, alone = split_at(whole, cuts), split_at(whole, cuts)
    kind = storages(spec.lattice)[storage]
    total = room.step(spec, optimiser, [whole], seed=4, iteration=7, storage=kind)
    sums = room.step(spec, optimiser, together, seed=4, iteration=7, storage=kind, threads=2)
    for piece in alone:
        room.step(spec, optimiser, [piece], seed=4, iteration=7, storage=kind)
    assert (sums.sum(axis=0) == total[0]).all()
    for pieces in (together, alone):
        assert (np.concatenate([p.index for p in pieces]) == whole.index).all()
        for name in ("first", "second"):
            joined = np.concatenate([getattr(p.moments, name) for p in pieces])
            assert_same_reals(joined, getattr(whole.moments, name))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_many_tensors_in_one_launch(room, threads):
    """Sizes 0 to 40000 with numbers of their own: as one by one, and counted one by one."""
    spec, optimiser = StochasticRounding(Lattice.ternary()), Momentum(0.5)
    sizes = [5, 0, 1, 40_000, 3, 1024, 33_000, 7, 0, 64]
    tensors = []
    for number, size in enumerate(sizes):
        tensors.append(start(spec, optimiser, size, "float32", tensor=3 * number, offset=number))
        tensors[-1].gradient = gradients(size, number)
    alone = [t.copy() for t in tensors]
    kind = storages(spec.lattice)[1]
    counters = room.step(
        spec, optimiser, tensors, seed=6, iteration=2, storage=kind, threads=threads
    )
    for weights, other, row in zip(tensors, alone, counters, strict=True):
        theirs, expected = train(spec, optimiser, other, seed=6, iteration=2)
        assert_same(weights, theirs)
        assert row.tolist() == expected


def test_moments_in_bfloat16_keep_the_mean(room: Room):
    """What stochastic rounding is for: tiny gains that rounding to nearest would lose.

    b = 256 + 2**-4 rounds to bfloat16 (spacing 2 there) up with probability 1/32. Of n = 2**20
    independent weights k go up; the bounds have a false-alarm rate below 1e-9 (a normal tail of
    6.2 standard deviations, and for n p = 32768 the binomial's exceeds it by less than 1 %).
    Detected with the same certainty: 12.4 standard deviations, a bias of 0.0021 in 1/32.
    """
    n, optimiser = 2**20, Momentum(0.0, 0.5)
    bits = np.full(n, np.float32(512).view(np.uint32) >> 16, np.uint16)
    weights = Weights(np.ones(n, np.int64), np.full(n, 2.0**-4, np.float32), Moments(bits, None))
    room.step(DST(Lattice.ternary()), optimiser, [weights], seed=8, iteration=1)
    values = widen(weights.moments.first)
    assert set(values.tolist()) == {256.0, 258.0}
    up, p = int((values == 258).sum()), 1 / 32
    assert abs(up - n * p) <= 6.2 * np.sqrt(n * p * (1 - p))
