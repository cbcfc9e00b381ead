"""MNIST-1D [greydanus2020]: ten digits drawn as signals, padded, shifted, sheared and noisy.

Nothing is downloaded: the package mnist1d, of the extra `study`, makes the examples from a seed of
NumPy's generator. The order of an epoch is that of words of the DATA stream, as of the digits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from qcuda.data.config import MNIST1D
from qcuda.data.order import Purpose, permutation, shares
from qcuda.data.source import ALONE, Examples, Place, Task
from qcuda.errors import InputError

TASK = Task(shape=(40,), classes=10)
TRAIN = 4000  # of the 5000 examples of a seed, as published


@lru_cache(maxsize=8)
def made(seed: int) -> Examples:
    """The 5000 examples of a seed, in the package's order.

    The state of NumPy's and Python's generators, which the package seeds, stays as it was.
    Raises InputError if the package is missing.
    """
    try:
        from mnist1d.data import get_dataset_args, make_dataset  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise InputError(
            "MNIST-1D is made by the package mnist1d of the extra study, "
            f"pip install qtheory[study], got an installation without {error.name}"
        ) from None
    arguments: Any = get_dataset_args()
    arguments.seed = seed
    before, plain = np.random.get_state(), random.getstate()
    try:
        data = make_dataset(arguments)
    finally:
        np.random.set_state(before)
        random.setstate(plain)
    signals = np.concatenate([data["x"], data["x_test"]]).astype(np.float32)
    labels = np.concatenate([data["y"], data["y_test"]]).astype(np.int64)
    return Examples(torch.from_numpy(signals), torch.from_numpy(labels))


@dataclass(frozen=True)
class Opened:
    """The three parts, and the epochs of the first."""

    config: MNIST1D
    train: Examples
    validation: Examples
    test: Examples

    def epoch(
        self, seed: int, number: int, place: Place = ALONE, start: int = 0
    ) -> Iterator[Examples]:
        """Every training example once, in batches of nearly the same size."""
        count = len(self.train.labels)
        order = permutation(seed, number, Purpose.ORDER, count)
        whole = torch.tensor_split(order, count // self.config.batch)
        for part in shares(whole, place, start):
            yield self.train.take(part)


def task(config: MNIST1D) -> Task:
    """What an example looks like, whatever the config."""
    return TASK


def opened(config: MNIST1D) -> Opened:
    """The examples of the three seeds. Raises InputError if the package mnist1d is missing."""
    train = made(config.train_seed).take(torch.arange(TRAIN))
    return Opened(config, train, made(config.validation_seed), made(config.test_seed))
