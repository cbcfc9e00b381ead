"""Gradients over their running rms: gains, increments, moments in int8 and indices, bit for bit.

The plain twin is `qreference.optimisers`. Sums of squares are compared as bits too, so their order
is part of the contract: the sizes lie around lanes, parts and runs.
"""

from __future__ import annotations

import numpy as np
import pytest
from agreement.test_optimisers import assert_same_reals, gradients, train
from cpu_room import Weights, storages

from qreference import optimisers
from qreference.optimisers import Moments, MomentType, sum_of_squares
from qreference.storage import round_to_units
from qtheory.algorithms import Spec, StochasticRounding
from qtheory.lattice import Lattice
from qtheory.optimisers import LANES, PART, UNIT, Normalized

ROWS = [(1, 1), (1, 31), (3, 33), (2, 575), (7, 577), (1, PART - 1), (2, PART), (3, PART + 33)]
ROWS += [(1, 3 * PART + 5), (1, 40_000)]
BASES = [Normalized(0.3), Normalized(0.2, 0.9, 0.7), Normalized(0.01, 0.97, 0.99, "neuron")]


def finite(count: int, seed: int, kind: str = "float32") -> np.ndarray:
    """Gradients whose squares can be kept."""
    values = gradients(count, seed)
    values = np.where(np.abs(values) < 1e15, values, np.float32(0.5)).astype(np.float32)
    return values if kind == "float32" else (values.view(np.uint32) >> 16).astype(np.uint16)


def squares(weights: Weights) -> np.ndarray:
    assert weights.moments.square is not None
    return weights.moments.square


def firsts(weights: Weights) -> np.ndarray:
    assert weights.moments.first is not None
    return weights.moments.first


def start(
    spec: Spec,
    optimiser: Normalized,
    shape: tuple[int, int],
    moment_type: MomentType = "float32",
    tensor: int = 0,
) -> Weights:
    count = shape[0] * shape[1]
    index = np.random.default_rng(count + 1).integers(0, spec.lattice.size, count)
    moments = optimisers.init(optimiser, shape, moment_type)
    flat = Moments(*(None if m is None else m.reshape(-1) for m in moments))
    return Weights(index, np.zeros(count, np.float32), flat, tensor, 0)


@pytest.mark.parametrize("optimiser", BASES, ids=repr)
@pytest.mark.parametrize("moment_type", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("gradient_type", ["float32", "bfloat16"])
def test_iterations_of_every_size_of_row(room, optimiser, moment_type, gradient_type):
    """255 levels and trits in turn, 1 and 2 threads in turn."""
    for number, shape in enumerate(ROWS):
        lattice = (Lattice.uniform(-1.0, 1.0, 255), Lattice.ternary())[number % 2]
        spec = StochasticRounding(lattice)
        ours = start(spec, optimiser, shape, moment_type, tensor=number)
        theirs = ours.copy()
        for iteration in (1, 2, 3):
            ours.gradient = finite(ours.index.size, iteration, gradient_type)
            theirs.gradient = ours.gradient
            theirs, counters = train(
                spec, optimiser, theirs, seed=5, iteration=iteration, moment_type=moment_type
            )
            got = room.step(
                spec, optimiser, [ours], seed=5, iteration=iteration,
                storage=storages(lattice)[-1], threads=1 + iteration % 2,
            )  # fmt: skip
            assert got.tolist() == [counters]
            assert (ours.index == theirs.index).all()
            for name in ("first", "square"):
                mine, other = getattr(ours.moments, name), getattr(theirs.moments, name)
                if other is not None and other.dtype == np.int8:
                    assert (mine == other).all()
                else:
                    assert_same_reals(mine, other)


BIG, TIE, TINY = 128.0, 2.0**-5, 2.0**-20
PLACES = {
    "one lane": ([LANES * k + 5 for k in range(1, 5)], True),
    "a lane of the upper half": ([LANES * k + LANES // 2 for k in range(1, 5)], True),
    "the lane of the big one": ([LANES * k for k in range(2, 6)], False),
    "lanes that meet each other first": ([LANES + 5 + k for k in (0, 8, 16, 24)], True),
    "lanes that meet the big one first": ([LANES + k for k in (1, 2, 3, 4)], False),
    "the next part": ([PART + LANES * k for k in range(4)], True),
    "four parts": ([PART * k + 7 for k in range(4)], False),
}


@pytest.mark.parametrize("places", PLACES)
def test_the_order_of_a_sum_decides(room, places):
    """A mean just at the middle of two float32, 1 + 2**-24, and four squares of 2**-40 more.

    Added to the sum 2**14 + 2**-10 one by one they vanish, for half of its last bit is 2**-39, and
    the tie goes to 1; together they carry it beyond the tie.
    """
    where, together = PLACES[places]
    row = np.zeros(4 * PART, np.float32)
    row[0], row[LANES] = BIG, TIE
    row[where] = TINY
    optimiser = Normalized(1.0, 0.0, 0.0)
    weights = start(StochasticRounding(Lattice.ternary()), optimiser, (1, row.size))
    weights.gradient = row
    room.gains(weights, np.array(optimiser.scalars(1), np.float32), 2)
    expected = np.float32(1 + 2.0**-23 if together else 1)
    assert squares(weights)[0] == expected
    assert np.float32(sum_of_squares(row) / row.size) == expected


def test_what_is_not_finite_stops_its_row_alone(room):
    """Row 1 of 3 has a NaN: its weights, moments and mean square stay, its increments count."""
    spec, optimiser = StochasticRounding(Lattice.ternary()), Normalized(0.5, 0.9, 0.99, "neuron")
    ours = start(spec, optimiser, (3, 100))
    for iteration in (1, 2):
        ours.gradient = finite(300, iteration)
        room.step(spec, optimiser, [ours], seed=1, iteration=iteration)
    before = ours.copy()
    ours.gradient = finite(300, 3)
    ours.gradient[150] = np.nan
    got = room.step(spec, optimiser, [ours], seed=1, iteration=3)
    assert got[0, 1] == 100
    row = slice(100, 200)
    assert (ours.index[row] == before.index[row]).all()
    assert (firsts(ours)[row] == firsts(before)[row]).all()
    assert squares(ours)[1] == squares(before)[1]
    assert (squares(ours)[[0, 2]] != squares(before)[[0, 2]]).all()
    assert (firsts(ours)[:100] != firsts(before)[:100]).all()


def test_a_row_without_gradient_stays(room):
    """Of zeros from the start: gain 0, and no NaN is counted."""
    spec, optimiser = StochasticRounding(Lattice.ternary()), Normalized(0.5)
    ours = start(spec, optimiser, (1, 50))
    before = ours.copy()
    assert room.step(spec, optimiser, [ours], seed=1, iteration=1).tolist() == [[0, 0]]
    assert (ours.index == before.index).all()


def test_gradients_are_measured_in_their_own_units(room):
    """Gradients times 2**k move weights alike: all else is scaled exactly."""
    spec, optimiser = StochasticRounding(Lattice.uniform(-1, 1, 255)), Normalized(0.1, 0.9)
    found = []
    for k in (0, 20, -20):
        ours = start(spec, optimiser, (1, 777))
        for iteration in (1, 2, 3):
            ours.gradient = finite(777, iteration)
            ours.gradient = (ours.gradient * 2.0**k * (np.abs(ours.gradient) > 1e-6)).astype("f4")
            room.step(spec, optimiser, [ours], seed=1, iteration=iteration)
        found.append(ours.index)
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_int8_moments_are_rounded_without_bias():
    """All 2**16 words, at places between units, at both ends and at a whole unit: the exact mean.

    The fraction has 16 bits after rounding, by at most 2**-17 of a unit.
    """
    words = np.arange(2**16, dtype=np.uint32)
    for units in (0.25, -0.25, 3.7, -126.99, 126.5, 5.0, -127.0, 127.0, 200.0, -1e30):
        codes = round_to_units(np.full(2**16, units * UNIT, np.float32), words)
        assert abs(codes.mean() - np.clip(units, -127, 127)) <= 2.0**-17 + 127 * 2.0**-24
        assert codes.max() - codes.min() <= 1
