"""What training asks of a data set: an epoch at a time, in batches, for one of several ranks."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from qcuda.data.config import DATA


class Examples(NamedTuple):
    """images: (n, *shape) float32, ink in [0, 1]. labels: (n,) int64, 0 .. classes - 1."""

    images: Tensor
    labels: Tensor

    def take(self, index: Tensor) -> Examples:
        """The examples at an index."""
        return Examples(self.images[index], self.labels[index])


class Task(NamedTuple):
    """shape: of one example: channels, height, width. classes: number of labels."""

    shape: tuple[int, ...]
    classes: int


class Place(NamedTuple):
    """Which of several processes asks: rank 0 .. ranks - 1 gets its share of every batch."""

    rank: int = 0
    ranks: int = 1


ALONE = Place()


class Source(Protocol):
    """A data set that is open. The test set is looked at once, when a run ends."""

    validation: Examples
    test: Examples

    def epoch(self, seed: int, number: int, place: Place = ALONE) -> Iterator[Examples]:
        """The batches of epoch 1, 2, ..., a function of its arguments alone."""
        ...


def task(config: Any) -> Task:
    """What the examples of a config of `qcuda.data.config.DATA` look like."""
    return _module(config).task(config)


def opened(config: Any) -> Source:
    """The data set of a config. Raises InputError if it has too few examples for the config."""
    return _module(config).opened(config)


def _module(config: Any) -> Any:
    (name,) = (name for name, kind in DATA.items() if kind is type(config))
    return import_module(f"qcuda.data.{name}")
