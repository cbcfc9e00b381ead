"""The generator gives the published answers, and every weight its own word."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qreference.philox import philox, words
from qtheory.streams import MAX_ELEMENT, MAX_ITERATION, MAX_SEED, MAX_TENSOR, Stream

REPEATABLE = settings(derandomize=True, database=None, deadline=None, print_blob=True)
ANSWERS = Path(__file__).parents[2] / "cuda" / "qcuda" / "kernels" / "known_answers"
TABLE = ANSWERS / "philox4x32.txt"


def known_answers() -> list[list[str]]:
    lines = TABLE.read_text().splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


def test_the_table_has_both_numbers_of_rounds():
    assert [row[0] for row in known_answers()] == ["7"] * 3 + ["10"] * 3


@pytest.mark.parametrize("row", known_answers(), ids=lambda row: f"{row[0]}-{row[1]}")
def test_known_answers(row):
    numbers = np.array([int(word, 16) for word in row[1:]], dtype=np.uint32)
    counter, (k0, k1), answer = numbers[:4], numbers[4:6].tolist(), numbers[6:]
    assert philox(counter, k0 | k1 << 32, int(row[0])).tolist() == answer.tolist()


@REPEATABLE
@given(
    seed=st.integers(0, MAX_SEED),
    iteration=st.integers(0, MAX_ITERATION),
    tensor=st.integers(0, MAX_TENSOR),
    stream=st.sampled_from(Stream),
    offset=st.one_of(st.integers(0, 9), st.integers(2**34 - 9, 2**34 + 9), st.just(2**58 - 40)),
    count=st.integers(0, 40),
)
def test_each_element_takes_the_word_that_its_number_names(
    seed, iteration, tensor, stream, offset, count
):
    got = words(seed, iteration, tensor, stream, count, offset)
    assert got.dtype == np.uint32
    assert got.shape == (count,)
    for word, element in zip(got.tolist(), range(offset, offset + count), strict=True):
        low, high = (element // 4) % 2**32, (element // 4) // 2**32
        counter = np.array([low, high + stream * 2**24, iteration, tensor], dtype=np.uint32)
        assert word == philox(counter, seed)[element % 4]


def test_streams_iterations_tensors_and_seeds_do_not_share_words():
    base = {"seed": 7, "iteration": 1, "tensor": 0, "stream": Stream.MOVE}
    others = [{}, {"seed": 7 + 2**32}, {"iteration": 2}, {"tensor": 1}, {"stream": Stream.DATA}]
    drawn = np.stack([words(**(base | change), count=64) for change in others])
    # 320 different words of 2**32: a repetition would be a defect, not chance (p = 1.2e-5).
    assert np.unique(drawn).size == drawn.size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2**64}, "a seed is in 0..18446744073709551615, got 18446744073709551616"),
        ({"iteration": 2**32}, "an iteration is in 0..4294967295, got 4294967296"),
        ({"tensor": -1}, "a tensor number is in 0..4294967295, got -1"),
        ({"offset": -1}, "an element is in 0..288230376151711743, got -1"),
        ({"offset": MAX_ELEMENT, "count": 2}, "a number of words is in 0..1, got 2"),
    ],
)
def test_numbers_that_do_not_fit_the_counter_are_refused(change, message):
    arguments = {"seed": 0, "iteration": 0, "tensor": 0, "stream": Stream.MOVE, "count": 1}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        words(**(arguments | change))
