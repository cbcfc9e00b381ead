"""The data: a fixed, stratified split; orders and shifts that are functions of words alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qcuda.data.digits import Purpose, batches, load, permutation, shifted, split
from qcuda.kernels.words import words
from qcuda.train.config import TrainConfig
from qtheory.streams import Stream

EXAMPLES = load()


@given(
    seed=st.integers(0, 2**64 - 1),
    test=st.sampled_from([0.1, 0.25, 0.5]),
    validation=st.sampled_from([0.1, 0.15, 0.5]),
)
def test_the_split_is_disjoint_whole_and_stratified(seed: int, test: float, validation: float):
    config = TrainConfig(split_seed=seed, test_share=test, validation_share=validation)
    parts = split(EXAMPLES.labels, config)
    assert torch.cat(parts).sort().values.tolist() == list(range(1797))
    counts = torch.bincount(EXAMPLES.labels).tolist()
    for label, count in enumerate(counts):
        train, held, tested = ((EXAMPLES.labels[p] == label).sum().item() for p in parts)
        assert tested == round(test * count)
        assert held == round(validation * (count - tested))
        assert train == count - tested - held


def test_the_test_set_is_fixed():
    """The split of the published figures: other words, or another order of them, show here."""
    parts = split(EXAMPLES.labels, TrainConfig())
    assert [len(p) for p in parts] == [1146, 201, 450]
    for other in (TrainConfig(seed=5), TrainConfig(batch=20), TrainConfig(examples=300)):
        assert torch.equal(split(EXAMPLES.labels, other).test, parts.test)
    fewer = split(EXAMPLES.labels, TrainConfig(validation_share=0.3))
    assert torch.equal(fewer.test, parts.test)
    another = split(EXAMPLES.labels, TrainConfig(split_seed=1))
    assert not torch.equal(another.test, parts.test)


def test_a_permutation_sorts_its_words():
    order = permutation(3, 2, Purpose.ORDER, 1000)
    assert order.sort().values.tolist() == list(range(1000))
    drawn = words(3, 2, Purpose.ORDER, 1000, stream=Stream.DATA)
    assert (drawn[order].diff() >= 0).all()
    for other in ((4, 2, Purpose.ORDER), (3, 1, Purpose.ORDER), (3, 2, Purpose.SHIFT)):
        assert not torch.equal(permutation(*other, 1000), order)


@pytest.mark.parametrize(("count", "size"), [(100, 50), (101, 50), (149, 50), (3, 2), (7, 7)])
def test_an_epoch_sees_every_example_once(count: int, size: int):
    parts = batches(TrainConfig(batch=size), 0, 1, count)
    assert torch.cat(parts).sort().values.tolist() == list(range(count))
    assert min(map(len, parts)) >= size


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_shifts_are_those_of_the_words(limit: int):
    images = EXAMPLES.images[:200]
    moved = shifted(images, limit, 7, 3)
    drawn = words(7, 3, Purpose.SHIFT, 400, stream=Stream.DATA).reshape(200, 2)
    seen = set()
    for image, after, (word_down, word_across) in zip(images, moved, drawn.tolist(), strict=True):
        down, across = (w * (2 * limit + 1) // 2**32 - limit for w in (word_down, word_across))
        seen.add((down, across))
        expected = torch.zeros(8, 8)
        for y in range(8):
            for x in range(8):
                if 0 <= y + down < 8 and 0 <= x + across < 8:
                    expected[y, x] = image[0, y + down, x + across]
        assert torch.equal(after[0], expected)
    assert len(seen) == (2 * limit + 1) ** 2
