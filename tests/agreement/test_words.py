"""Random words: known answers, every stream, offsets, and both ends of the counter."""

from __future__ import annotations

import pytest

from qcuda.validate.whole_steps import published
from qreference import philox
from qtheory.streams import MAX_ELEMENT, MAX_ITERATION, MAX_SEED, MAX_TENSOR, Stream

COUNTS = [0, 1, 2, 3, 4, 5, 63, 64, 65, 575, 576, 577, 1153, 36_863, 36_864, 36_865]


def test_known_answers(room):
    """The table's counters, written as (element, iteration, tensor, stream)."""
    table = published()
    assert len(table) == 3
    for (c0, c1, c2, c3), (k0, k1), answer in table:
        element = 4 * (c0 | (c1 & 0xFFFFFF) << 32)
        got = room.words(k0 | k1 << 32, c2, c3, c1 >> 24, 4, element)
        assert got.tolist() == answer


@pytest.mark.parametrize("stream", Stream)
@pytest.mark.parametrize(
    "offset",
    [
        0, 1, 2, 3, 5, 4095, 2**33 + 1,
        *(2**34 + k for k in (-70, -5, -1, 0, 1, 2)),  # block number 2**32: the carry into c1
        MAX_ELEMENT + 1 - 150,
    ],
)  # fmt: skip
def test_every_stream_and_offset(room, stream, offset):
    seed, iteration, tensor = 0xFEDCBA9876543210, 0x89ABCDEF, 0x80000001
    expected = philox.words(seed, iteration, tensor, stream, 150, offset)
    assert (room.words(seed, iteration, tensor, stream, 150, offset) == expected).all()


def test_the_largest_counter(room):
    """Every number at its largest; the last element is 2**58 - 1."""
    for offset in range(MAX_ELEMENT - 5, MAX_ELEMENT + 1):
        count = MAX_ELEMENT + 1 - offset
        numbers = (MAX_SEED, MAX_ITERATION, MAX_TENSOR, Stream.DATA)
        expected = philox.words(*numbers, count, offset)
        assert (room.words(*numbers, count, offset) == expected).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_counts_and_threads(room, threads):
    """More than one task for the threads: a task is 32 runs of 1536 words."""
    expected = philox.words(5, 6, 7, Stream.MOVE, 100_003, 1)
    for count in [*COUNTS, 100_003]:
        got = room.words(5, 6, 7, Stream.MOVE, count, 1, threads)
        assert (got == expected[:count]).all()


def test_each_number_reaches_the_counter(room):
    """Neither half of a 64-bit number is lost: all these words differ from the first."""
    base = {"seed": 1, "iteration": 1, "tensor": 1, "stream": 0, "offset": 4}
    changes = [{}, {"seed": 1 + 2**32}, {"iteration": 1 + 2**31}, {"tensor": 1 + 2**31}]
    changes += [{"stream": 1}, {"offset": 4 + 2**34}, {"offset": 8}, {"seed": 0}, {"tensor": 0}]
    drawn = {tuple(room.words(count=4, **(base | change))) for change in changes}
    assert len(drawn) == len(changes)
