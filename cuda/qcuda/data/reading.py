"""Examples that are read from files while a network trains, ahead of it, on threads.

Threads and not processes: reading and decoding release Python's lock, nothing is sent or pickled,
and as this module hands out the order itself, no bit and no state depends on how many there are;
grain and torch's DataLoader keep a state for each of their workers.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from qcuda.data.order import Purpose, batches, permutation, shares
from qcuda.data.source import ALONE, WHITE, Examples, Place
from qcuda.errors import InputError, require
from qcuda.kernels.words import words
from qtheory.streams import Stream

AHEAD = 2  # batches that are read before they are asked for
ALL = -1  # workers: one for each processor


class Files(Protocol):
    """A part of a data set, an example a number."""

    @property
    def labels(self) -> Tensor:
        """A class for each example, (n,) int64."""
        ...

    @property
    def words(self) -> int:
        """How many an example takes in training."""
        ...

    def read(self, number: int, drawn: Sequence[int] | None) -> np.ndarray:
        """An example, by words as one in training, else as it is judged.

        An image is (height, width, channels) uint8, all else is float32 of its shape.
        Raises InputError, naming the file, if it can not be read.
        """
        ...


class Loading(NamedTuple):
    """How examples are read. No bit depends on `workers`, threads; 0 reads as it is asked."""

    batch: int
    workers: int = ALL
    even: bool = False
    skip: bool = False


def threads(workers: int) -> int:
    """How many; ALL: the processors that this process may use, shared by the ranks of a machine."""
    if workers != ALL:
        return workers
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # as torchrun says
    return max(1, len(os.sched_getaffinity(0)) // ranks)


def ahead(read: Callable[..., Any], jobs: Iterable[list[Any]], workers: int) -> Iterator[list[Any]]:
    """The results of each job's calls, in order, made on threads some jobs before they are due."""
    if workers == 0:
        yield from ([read(*call) for call in job] for job in jobs)
        return
    pool = ThreadPoolExecutor(workers, "qtheory-data")
    waiting: deque[list[Future[Any]]] = deque()
    try:
        for job in jobs:
            waiting.append([pool.submit(read, *call) for call in job])
            if len(waiting) > AHEAD:
                yield [one.result() for one in waiting.popleft()]
        while waiting:
            yield [one.result() for one in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def stacked(read: list[np.ndarray]) -> Tensor:
    """Examples as a batch, (n, *shape) float32; pixels as ink, channels first."""
    if read[0].dtype != np.uint8:
        return torch.from_numpy(np.stack(read))
    height, width, channels = read[0].shape
    images = torch.empty(len(read), channels, height, width)
    for image, pixels in zip(images, read, strict=True):  # a fifth of the time of all at once
        plain = torch.from_numpy(np.ascontiguousarray(pixels))
        torch.div(plain.permute(2, 0, 1), WHITE, out=image)
    return images


@dataclass(frozen=True)
class Judged:
    """Examples to judge by, read each time they are asked for, a batch at a time."""

    files: Files
    places: Tensor
    loading: Loading

    @property
    def labels(self) -> Tensor:
        """Theirs, in order."""
        return self.files.labels[self.places]

    def split(self, size: int, place: Place = ALONE) -> Iterator[Examples]:
        """All of them in order, at most `size` and a batch of training at a time.

        Of several processes each reads its own parts.
        """
        parts = place.of(self.places.split(min(size, self.loading.batch)))
        jobs = ([(number, None) for number in part.tolist()] for part in parts)
        read = ahead(self.files.read, jobs, threads(self.loading.workers))
        for part, images in zip(parts, read, strict=True):
            yield Examples(stacked(images), self.files.labels[part])


@dataclass(frozen=True)
class Opened:
    """Files to train on, and examples to judge by."""

    train: Files
    places: Tensor  # of the examples in `train` that are trained on
    validation: Judged
    test: Judged
    loading: Loading

    def epoch(
        self, seed: int, number: int, place: Place = ALONE, start: int = 0
    ) -> Iterator[Examples]:
        """Every training example once, seen by words of its position in the epoch.

        Where batches are even, up to one batch less an example is left out, another each time.
        What can not be read is refused or, if that is skipped, told; another example of its batch
        stands in its place, so that batches are as long on all ranks and resumption counts right.
        """
        size, skipped = self.loading.batch, list[str]()
        require(
            not self.loading.even or size % place.ranks == 0,
            f"an even batch is the same for all ranks, got {size} on {place.ranks}",
        )
        order = self.places[permutation(seed, number, Purpose.ORDER, len(self.places))]
        whole = batches(len(order), size, even=self.loading.even)
        jobs = (self._job(seed, number, order, part) for part in shares(whole, place, start))
        for read in ahead(self._read, jobs, threads(self.loading.workers)):
            good = [(number, one) for number, one in read if not isinstance(one, InputError)]
            skipped += [str(one) for _, one in read if isinstance(one, InputError)]
            require(bool(good), f"a batch has an example that can be read, got {skipped[-1:]}")
            good += (len(read) - len(good)) * good[:1]
            labels = self.train.labels[[number for number, _ in good]]
            yield Examples(stacked([one for _, one in good]), labels)
        if skipped:
            warnings.warn(
                f"{len(skipped)} examples of epoch {number} were skipped, the first: {skipped[0]}",
                stacklevel=2,
            )

    def _job(self, seed: int, number: int, order: Tensor, part: Tensor) -> list[Any]:
        """What is read for the positions of a batch, which follow each other, with its words."""
        each, first = self.train.words, int(part[0]) if len(part) else 0
        drawn = words(
            seed, number, Purpose.VIEW, each * len(part), stream=Stream.DATA, offset=each * first
        )
        return list(zip(order[part].tolist(), drawn.reshape(-1, each).tolist(), strict=True))

    def _read(self, number: int, drawn: list[int]) -> tuple[int, np.ndarray | InputError]:
        try:
            return number, self.train.read(number, drawn)
        except InputError as error:
            if not self.loading.skip:
                raise
            return number, error


def opened(parts: Mapping[str, Files], held: int, loading: Loading, where: str) -> Opened:
    """Parts by name: `train`, and `test` or `val`; of both of these, `val` chooses the model.

    held: where nothing else chooses it, that many examples of `train` do: those that words of the
    seed 0 draw, so that the split is the same for every run.
    Raises InputError if there are too few examples.
    """
    train, count = parts["train"], len(parts["train"].labels)
    both = {"val", "test"} <= set(parts)
    require(
        held == 0 if both else held >= 1,
        f"data.validation is 0 where a part val chooses the model beside test, and at least 1 "
        f"where examples of train do, got {held} in {where} with {', '.join(sorted(parts))}",
    )
    require(
        loading.batch <= count - held,
        f"batch is at most {count - held}, the examples of train in {where} that do not choose the "
        f"model, got {loading.batch}",
    )
    order = permutation(0, 0, Purpose.SPLIT, count)
    chosen = order[:held].sort().values
    last = parts["test" if "test" in parts else "val"]
    everything = torch.arange
    validation = (
        Judged(parts["val"], everything(len(parts["val"].labels)), loading)
        if both
        else Judged(train, chosen, loading)
    )
    test = Judged(last, everything(len(last.labels)), loading)
    return Opened(train, order[held:].sort().values, validation, test, loading)


def names_of(found: Iterable[str], where: str) -> list[str]:
    """Those of the parts, `train` first. Raises InputError unless there is something to test."""
    names = [name for name in ("train", "val", "test") if name in set(found)]
    require(
        names[:1] == ["train"] and len(names) > 1,
        f"a data set has the part train, and val or test or both, got {where} with "
        f"{', '.join(names) or 'none of them'}",
    )
    return names
