"""The data: a fixed, stratified split; orders and shifts that are functions of words alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qcuda.data.config import Digits
from qcuda.data.digits import Purpose, batches, load, opened, permutation, shifted, split
from qcuda.data.source import Place
from qcuda.kernels.words import words
from qtheory.streams import Stream

EXAMPLES = load()


@given(
    seed=st.integers(0, 2**64 - 1),
    test=st.sampled_from([0.1, 0.25, 0.5]),
    validation=st.sampled_from([0.1, 0.15, 0.5]),
)
def test_the_split_is_disjoint_whole_and_stratified(seed: int, test: float, validation: float):
    config = Digits(split_seed=seed, test_share=test, validation_share=validation)
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
    parts = split(EXAMPLES.labels, Digits())
    assert [len(p) for p in parts] == [1146, 201, 450]
    for other in (Digits(shift=0), Digits(batch=20), Digits(examples=300)):
        assert torch.equal(split(EXAMPLES.labels, other).test, parts.test)
    fewer = split(EXAMPLES.labels, Digits(validation_share=0.3))
    assert torch.equal(fewer.test, parts.test)
    another = split(EXAMPLES.labels, Digits(split_seed=1))
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
    parts = batches(Digits(batch=size), 0, 1, count)
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


def test_an_epoch_is_its_batches_of_shifted_images():
    config = Digits(examples=120, batch=25)
    data = opened(config)
    images = shifted(data.train.images, config.shift, 7, 3)
    order = torch.cat(batches(config, 7, 3, 120))
    found = list(data.epoch(7, 3))
    assert torch.equal(torch.cat([batch.images for batch in found]), images[order])
    assert torch.equal(torch.cat([batch.labels for batch in found]), data.train.labels[order])


def test_ranks_share_every_batch():
    """Rank by rank, in order, the batches of one process."""
    data = opened(Digits(examples=120, batch=25))
    shares = [data.epoch(7, 3, Place(rank, 3)) for rank in range(3)]
    for whole, *parts in zip(data.epoch(7, 3), *shares, strict=True):
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))
        assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
        assert {len(part.labels) for part in parts} <= {10, 9, 8}
