"""What training asks of a data set: an epoch at a time, in batches, for one of several ranks."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from qcuda.data.config import DATA


class Place(NamedTuple):
    """Which of several processes asks: rank 0 .. ranks - 1 gets its share of every batch."""

    rank: int = 0
    ranks: int = 1

    def of(self, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Which parts are this process's: as many for each, as far as they go, in order."""
        least, more = divmod(len(parts), self.ranks)
        first = self.rank * least + min(self.rank, more)
        return parts[first : first + least + (self.rank < more)]


ALONE = Place()


class Examples(NamedTuple):
    """images: (n, *shape) float32, ink in [0, 1]; of a text, (n, length) int64, bytes.

    labels: (n,) int64, 0 .. classes - 1; of a text, (n, length), the byte after each.
    """

    images: Tensor
    labels: Tensor

    def take(self, index: Tensor) -> Examples:
        """The examples at an index."""
        return Examples(self.images[index], self.labels[index])

    def split(self, size: int, place: Place = ALONE) -> Iterator[Examples]:
        """All of them in order, at most so many at a time; those that `Place.of` tells."""
        return map(Examples, place.of(self.images.split(size)), place.of(self.labels.split(size)))


class Task(NamedTuple):
    """shape: of one example: channels, height, width. classes: number of labels."""

    shape: tuple[int, ...]
    classes: int


WHITE = 255  # the byte that is ink 1


class Held(Protocol):
    """Examples to judge a model by: `Examples`, or more than can be decoded at once."""

    @property
    def labels(self) -> Tensor: ...
    def split(self, size: int, place: Place = ALONE) -> Iterator[Examples]: ...


class Source(Protocol):
    """A data set that is open. The test set is looked at once, when a run ends."""

    @property
    def validation(self) -> Held: ...
    @property
    def test(self) -> Held: ...

    def epoch(
        self, seed: int, number: int, place: Place = ALONE, start: int = 0
    ) -> Iterator[Examples]:
        """The batches of epoch 1, 2, ..., a function of its arguments alone.

        start: examples of the epoch that are done, those of all ranks counted.
        Raises InputError if no batch begins there.
        """
        ...


def inked(images: Tensor) -> Tensor:
    """Bytes as ink in [0, 1], float32."""
    return images / WHITE


def task(config: Any) -> Task:
    """What the examples of a config of `qcuda.data.config.DATA` look like."""
    return _module(config).task(config)


def opened(config: Any) -> Source:
    """The data set of a config. Raises InputError if it has too few examples for the config."""
    return _module(config).opened(config)


def _module(config: Any) -> Any:
    (name,) = (name for name, kind in DATA.items() if kind is type(config))
    return import_module(f"qcuda.data.{name}")
