"""The move of a weight, word for word: the kernel's decisions are the reference's.

For stochastic and deterministic rounding the thresholds are integers that both rooms compute
exactly, so no decision may differ. For DST the reference takes tanh in float64 and the kernel a
rational function in float32; test_knife_edge.py derives how far their thresholds may lie apart.
Here both thresholds are asked for, and a decision may differ only if its word lies between them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from cpu_room import Weights, storages

from qreference import philox, walker
from qtheory.algorithms import DST, DeterministicRounding, Spec, StochasticRounding
from qtheory.lattice import Lattice
from qtheory.streams import Stream

LATTICES = [
    Lattice.binary(),
    Lattice.ternary(),
    Lattice.ternary(0.1),
    Lattice.z(2),
    Lattice.uniform(-0.3, 1.1, 129),
    Lattice.uniform(-1.0, 1.0, 255),
    Lattice(size=256, spacing=1e-6, low=-1.28e-4),
]
RULES = [StochasticRounding, DeterministicRounding, DST]
SPECIAL = np.array(
    [0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-30, 1e30, -3e38, np.inf, -np.inf, np.nan], np.float32
)


def increments(lattice: Lattice, count: int, seed: int) -> np.ndarray:
    """Thirds: random to beyond the lattice; halves and wholes with neighbours; tiny or special."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.2, 1, count) * rng.choice([0.3, 1.0, 3.0, lattice.size], count)
    halves = rng.integers(-2 * lattice.size - 3, 2 * lattice.size + 4, count) / 2
    x = np.where(rng.random(count) < 1 / 3, halves, x)
    value = (x * np.float64(np.float32(lattice.spacing))).astype(np.float32)
    towards = rng.choice(np.array([-np.inf, np.inf], np.float32), count)
    value = np.where(rng.random(count) < 0.6, np.nextafter(value, towards), value)
    tiny = (value * 10.0 ** rng.uniform(-40, 0, count)).astype(np.float32)
    kind = rng.random(count)
    value = np.where(kind < 0.2, tiny, value)
    return np.where(kind > 0.9, rng.choice(SPECIAL, count), value).astype(np.float32)


@cache
def case(spec: Spec, count: int, offset: int) -> tuple[np.ndarray, ...]:
    """index, increment, words, and index after the reference's step."""
    lattice = spec.lattice
    index = np.random.default_rng(count).integers(0, lattice.size, count)
    increment = increments(lattice, count, seed=lattice.size)
    words = philox.words(99, 1234, 5, Stream.MOVE, count, offset)
    return index, increment, words, walker.step(spec, index, increment, words)


def counted(index: np.ndarray, increment: np.ndarray, after: np.ndarray) -> list[int]:
    return [int((index != after).sum()), int(np.isnan(increment).sum())]


@pytest.mark.parametrize("lattice", LATTICES, ids=repr)
@pytest.mark.parametrize("rule", RULES)
def test_every_lattice(room, rule, lattice):
    """100003 weights each, ends and specials among them, from an odd global element on."""
    spec, offset = rule(lattice), 2**34 - 50_001
    index, increment, words, after = case(spec, 100_003, offset)
    between = np.zeros(index.size, bool)
    if rule is DST:
        ours = room.outcomes(spec, index, increment).thresholds[..., 0]
        theirs = walker.outcomes(spec, index, increment).thresholds[..., 0]
        between = (words < ours) != (words < theirs)
        assert between.sum() <= 3  # 1e5 words, thresholds 1.7e-6 apart at most: 0.17 on average
    for storage in storages(lattice):
        weights = Weights(index, increment, tensor=5, offset=offset)
        counters = room.step(spec, None, [weights], seed=99, iteration=1234, storage=storage)
        assert ((weights.index == after) | between).all()
        assert counters.tolist() == [counted(index, increment, weights.index)]


@pytest.mark.parametrize("rule", [StochasticRounding, DeterministicRounding])
def test_four_million_decisions_without_a_difference(room, rule):
    spec, count = rule(Lattice.z(2)), 4_000_000
    index, increment, _, after = case(spec, count, 0)
    weights = Weights(index, increment, tensor=5)
    room.step(spec, None, [weights], seed=99, iteration=1234, threads=2)
    assert np.count_nonzero(weights.index != after) == 0


@pytest.mark.parametrize("rule", [StochasticRounding, DeterministicRounding])
@pytest.mark.parametrize("lattice", LATTICES, ids=repr)
def test_thresholds_are_the_same_integers(room, rule, lattice):
    spec = rule(lattice)
    index, increment, _, _ = case(spec, 100_003, 2**34 - 50_001)
    ours = room.outcomes(spec, index, increment).thresholds[..., 0]
    assert (ours == walker.outcomes(spec, index, increment).thresholds[..., 0]).all()
    assert (ours[np.isnan(increment)] == 0).all()


def test_words_on_the_threshold_of_stochastic_rounding(room):
    """A word equal to its threshold stays, the next lower one moves.

    Words below 2**24 are float32 numbers, so fractions word / 2**32 and (word + 1) / 2**32 have
    thresholds of exactly word and word + 1.
    """
    spec = StochasticRounding(Lattice.ternary())
    words = philox.words(7, 1, 0, Stream.MOVE, 2**20)
    small = (words < 2**24) & (words > 0)
    assert small.sum() > 3000  # 2**20 words, one in 256
    for above, moves in ((-1, False), (0, False), (1, True)):
        threshold = words.astype(np.int64) + above
        fraction = np.where(small, threshold / 2**32, 0).astype(np.float32)
        ours = room.outcomes(spec, np.ones(2**20, int), fraction).thresholds[:, 0]
        assert (ours[small] == threshold[small]).all()
        for sign in (1, -1):
            weights = Weights(np.ones(2**20, np.int64), sign * fraction)
            room.step(spec, None, [weights], seed=7, iteration=1)
            assert (weights.index[small] == 1 + sign * moves).all()


def test_certainty_and_impossibility(room):
    """Whole spacings move every weight exactly that far, whatever the words."""
    spec = StochasticRounding(Lattice.z(3))
    for steps in (0, 1, 4, -3):
        weights = Weights(np.full(2**20, 4), np.full(2**20, 0.25 * steps, np.float32))
        room.step(spec, None, [weights], seed=1, iteration=1)
        assert (weights.index == 4 + steps).all()


LARGEST = [5744228, 34508515, 63083286, 65054452, 77977252]  # words above 2**32 - 256, seed 31


@pytest.mark.parametrize("rule", [DeterministicRounding, DST])
@pytest.mark.parametrize("storage", [0, 1])
def test_certainty_holds_for_the_largest_words(room, rule, storage):
    """The largest float32 below one is 1 - 2**-24; a threshold of 2**32 lets these words move too.

    Deterministic rounding is certain about 0.75 spacings. DST with m = 40 is within 2e-6 of
    certain, and moves if its own threshold says so.
    """
    spec = rule(Lattice.ternary(), 40.0) if rule is DST else rule(Lattice.ternary())
    one, x = np.ones(1, np.int64), np.array([0.75], np.float32)
    threshold = int(room.outcomes(spec, one, x).thresholds[..., 0][0])
    if rule is DeterministicRounding:
        assert threshold == 2**32
    for element in LARGEST:
        (word,) = philox.words(31, 1, 0, Stream.MOVE, 1, element).tolist()
        assert word >= 2**32 - 256
        weights = Weights(one, x, offset=element)
        room.step(
            spec, None, [weights], seed=31, iteration=1, storage=storages(spec.lattice)[storage]
        )
        assert weights.index.tolist() == [2 if word < threshold else 1]


@pytest.mark.parametrize("levels", [(-1.0, 1.0, 5), (0.0, 4.0, 5), (-4.0, 0.0, 5), (-1.5, 2.5, 5)])
def test_ties_of_deterministic_rounding(room, levels):
    """Every index, every half-way point: the same level as the nearest to the exact sum."""
    lattice = Lattice.uniform(*levels)
    spec = DeterministicRounding(lattice)
    index, steps = (a.reshape(-1) for a in np.meshgrid(range(5), np.arange(-5, 5.5, 0.5)))
    increment = (steps * lattice.spacing).astype(np.float32)
    weights = Weights(index.copy(), increment)
    room.step(spec, None, [weights], seed=1, iteration=1)
    target = np.clip(lattice.levels[index] + increment, *levels[:2])
    assert (weights.index == lattice.nearest(target)).all()
