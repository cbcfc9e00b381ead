"""Every example once, whatever reads it: batches are bit-equal for any number of threads, and an
epoch goes on from a number of examples on any number of threads and ranks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qcuda.data import reading
from qcuda.data.config import DATA
from qcuda.data.order import Purpose, batches, permutation, shares
from qcuda.data.reading import Loading, Opened
from qcuda.data.source import ALONE, Examples, Place, opened
from qcuda.errors import InputError
from qcuda.kernels.words import words
from qtheory.streams import Stream


@given(count=st.integers(1, 200), size=st.integers(1, 50), even=st.booleans())
def test_batches_hold_every_number_once(count: int, size: int, even: bool):
    if count < size:
        return
    parts = batches(count, size, even=even)
    done = torch.cat(parts).tolist()
    assert done == list(range(count - count % size if even else count))
    lengths = {len(part) for part in parts}
    assert min(lengths) >= size
    assert max(lengths) - min(lengths) <= (0 if even else 1)


@given(count=st.integers(6, 60), ranks=st.integers(1, 3), others=st.integers(1, 3), data=st.data())
def test_ranks_share_batches_and_go_on_as_others(count: int, ranks: int, others: int, data: Any):
    whole = batches(count, 5)
    stop = data.draw(st.integers(0, len(whole)))
    done = sum(map(len, whole[:stop]))
    first = [list(shares(whole, Place(rank, ranks))) for rank in range(ranks)]
    rest = [list(shares(whole, Place(rank, others), done)) for rank in range(others)]
    seen = [torch.cat(parts) for parts in zip(*first, strict=True)][:stop]
    seen += [torch.cat(parts) for parts in zip(*rest, strict=True)]
    assert [part.tolist() for part in seen] == [part.tolist() for part in whole]


@pytest.mark.parametrize("start", [1, 4, 6, 9, 11, 21])
def test_an_epoch_goes_on_where_a_batch_begins(start: int):
    with pytest.raises(InputError, match=f"got example {start}"):
        list(shares(batches(20, 5), ALONE, start))


def loaded(folder: Path, workers: int = 0, **values: Any) -> Opened:
    name = "shards" if (folder / "index.json").is_file() else "images"
    given = {"batch": 4, "validation": 5, "size": 16, "workers": workers, **values}
    data = opened(DATA[name](folder=str(folder), **given))
    assert isinstance(data, Opened)
    return data


def same(one: list[Examples], other: list[Examples]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(torch.equal(x, y) for a, b in pairs for x, y in zip(a, b, strict=True))


def joined(ranks: Iterable[Iterable[Examples]]) -> list[Examples]:
    """The batches that ranks share."""
    together = zip(*ranks, strict=True)
    return [Examples(*map(torch.cat, zip(*parts, strict=True))) for parts in together]


@pytest.mark.parametrize("which", ["pictures", "shards"])
def test_no_bit_depends_on_threads(which: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(which)
    alone = list(loaded(folder).epoch(3, 2))
    assert [len(batch.labels) for batch in alone] == [5, 5, 4, 4, 4]
    assert all(batch.images.shape[1:] == (3, 16, 16) for batch in alone)
    for workers in (1, 2, 3):
        assert same(list(loaded(folder, workers).epoch(3, 2)), alone)
    for other in ((3, 1), (2, 2)):
        found = list(loaded(folder).epoch(*other))
        assert [b.labels.tolist() for b in found] != [b.labels.tolist() for b in alone]


def test_two_ranks_are_the_batches_of_one(shards: Path):
    alone = list(loaded(shards).epoch(0, 1))
    ranks = [loaded(shards, 2).epoch(0, 1, Place(rank, 2)) for rank in (0, 1)]
    assert same(joined(ranks), alone)


@pytest.mark.parametrize(("before", "after", "ranks"), [(2, 3, 1), (0, 2, 2), (3, 0, 3)])
def test_a_stopped_epoch_goes_on_otherwise(before: int, after: int, ranks: int, shards: Path):
    """By one integer, with another number of threads and of ranks."""
    alone = list(loaded(shards).epoch(0, 1))
    stopped = loaded(shards, before).epoch(0, 1)
    first = [next(stopped), next(stopped)]
    del stopped
    done = sum(len(batch.labels) for batch in first)
    rest = [loaded(shards, after).epoch(0, 1, Place(rank, ranks), done) for rank in range(ranks)]
    assert same([*first, *joined(rest)], alone)


def test_an_epoch_sees_every_image_once(shards: Path):
    """Two ranks together read every image that does not choose the model, and no other."""
    data = loaded(shards, 2)
    places = torch.cat([data.places, data.validation.places]).sort().values
    assert places.tolist() == list(range(27))
    seen: list[int] = []
    read = data.train.read

    class Watched:
        labels, words = data.train.labels, data.train.words

        def read(self, number: int, drawn: Any):
            seen.append(number)
            return read(number, drawn)

    for place in (Place(0, 2), Place(1, 2)):
        watched = Opened(Watched(), data.places, data.validation, data.test, data.loading)
        list(watched.epoch(1, 1, place))
    assert sorted(seen) == data.places.tolist()


def test_even_batches_are_alike_on_all_ranks_and_leave_out_others_each_time(shards: Path):
    data = loaded(shards, even=True)
    for rank in (0, 1):
        parts = list(data.epoch(0, 1, Place(rank, 2)))
        assert [len(batch.labels) for batch in parts] == [2] * 5
    with pytest.raises(InputError, match="the same for all ranks, got 4 on 3"):
        next(data.epoch(0, 1, Place(0, 3)))


def test_both_forms_of_a_set_judge_by_the_same_images(pictures: Path, shards: Path):
    """Nothing of these is larger than the shards' size; in both, labels are those of the files."""
    for folder in (pictures, shards):
        data = loaded(folder, 2, grey=True)
        assert sorted(data.test.labels.tolist()) == [0] * 4 + [1] * 4 + [2] * 4
        parts = [part.images for part in data.test.split(1000)]
        assert [len(part) for part in parts] == [4, 4, 4]
        assert all(part.shape[1:] == (1, 16, 16) for part in parts)
        assert 0 <= min(part.min() for part in parts) < max(part.max() for part in parts) <= 1


class Numbers:
    """Files whose examples are their numbers."""

    words = 1

    def __init__(self, count: int) -> None:
        self.labels = torch.arange(count)

    def read(self, number: int, drawn: Any) -> np.ndarray:
        return np.array([number], np.float32)


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (0, 2), (3, 1)])
def test_an_example_is_seen_by_words_of_seed_epoch_and_position(seed: int, epoch: int):
    class Seen(Numbers):
        words = 2

        def read(self, number: int, drawn: Any) -> np.ndarray:
            return np.array([number, *(drawn or ())], np.float64)

    parts = {"train": Seen(10), "test": Seen(4)}
    data = reading.opened(parts, 1, Loading(2, 0), "here")
    found = torch.cat([batch.images for batch in data.epoch(seed, epoch)]).long()
    order = data.places[permutation(seed, epoch, Purpose.ORDER, 9)]
    drawn = words(seed, epoch, Purpose.VIEW, 18, stream=Stream.DATA).reshape(9, 2)
    assert torch.equal(found, torch.cat([order[:, None], drawn], 1))


def test_val_chooses_the_model_beside_test():
    parts = {"train": Numbers(10), "val": Numbers(3), "test": Numbers(4)}
    data = reading.opened(parts, 0, Loading(2, 0), "here")
    assert torch.cat([part.images for part in data.validation.split(2)]).tolist() == [[0], [1], [2]]
    assert data.test.labels.tolist() == [0, 1, 2, 3]
    whole = list(data.epoch(0, 1))
    assert sorted(torch.cat([b.labels for b in whole]).tolist()) == list(range(10))
    assert all(b.images.flatten().tolist() == b.labels.tolist() for b in whole)


def test_without_val_some_of_train_choose_the_same_for_every_run():
    for last in ("val", "test"):
        data = reading.opened({"train": Numbers(10), last: Numbers(4)}, 3, Loading(2, 0), "here")
        held = data.validation.labels.tolist()
        assert held == sorted(permutation(0, 0, Purpose.SPLIT, 10)[:3].tolist())
        trained = torch.cat([b.labels for b in data.epoch(0, 1)]).tolist()
        assert sorted(held + trained) == list(range(10))
        assert data.test.labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("names", "held", "rule"),
    [
        (("train", "val", "test"), 1, "validation is 0 where a part val"),
        (("train", "test"), 0, "at least 1 where examples of train do, got 0"),
        (("train", "val"), 9, "batch is at most 1, the examples of train in here"),
    ],
)
def test_too_few_or_too_many_to_choose_by_are_refused(names: Any, held: int, rule: str):
    with pytest.raises(InputError, match=rule):
        reading.opened({name: Numbers(10) for name in names}, held, Loading(2, 0), "here")


@pytest.mark.parametrize("found", [(), ("train",), ("val", "test"), ("train", "valid")])
def test_a_data_set_has_something_to_train_and_to_test(found: Any):
    with pytest.raises(InputError, match="has the part train, and val or test or both"):
        reading.names_of(found, "here")
