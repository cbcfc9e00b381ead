"""The order of an epoch and its batches, from words of the DATA stream.

Everything is a function of seed, epoch and place. Words are those of `qtheory.streams`: the
iteration is the epoch, and the tensor number says what they are for. Batches are cut before ranks
share them, so that the number of examples done is all that a stopped epoch needs to go on, on any
number of ranks and with any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum

import torch
from torch import Tensor

from qcuda.data.source import ALONE, Place
from qcuda.errors import require
from qcuda.kernels.words import words
from qtheory.streams import Stream


class Purpose(IntEnum):
    """What a word of the DATA stream decides; it takes the place of the tensor number."""

    SPLIT = 0
    ORDER = 1
    SHIFT = 2
    FLIP = 3
    VIEW = 4  # crop and flip of an image, points of a shape
    WINDOW = 5  # where the windows of a text begin


def permutation(seed: int, epoch: int, purpose: Purpose, count: int) -> Tensor:
    """0 .. count - 1 in the order of their words; equal words stay in order."""
    drawn = words(seed, epoch, purpose, count, stream=Stream.DATA)
    return torch.argsort(drawn, stable=True)


def batches(count: int, size: int, *, even: bool = False) -> tuple[Tensor, ...]:
    """0 .. count - 1 in batches of at least `size`, none more than one longer than another.

    even: batches of exactly `size`; the last count % size numbers are left out.

    >>> [len(batch) for batch in batches(11, 3)]
    [4, 4, 3]
    >>> [len(batch) for batch in batches(11, 3, even=True)]
    [3, 3, 3]
    """
    if even:
        return torch.arange(count - count % size).split(size)
    return torch.tensor_split(torch.arange(count), count // size)


def shares(whole: Iterable[Tensor], place: Place = ALONE, start: int = 0) -> Iterator[Tensor]:
    """A rank's part of every batch after the first `start` examples, those of all ranks counted.

    Raises InputError unless a batch begins there.
    """
    done = 0
    for batch in whole:
        if done >= start:
            require(done == start, f"an epoch goes on where a batch begins, got example {start}")
            yield torch.tensor_split(batch, place.ranks)[place.rank]
            start += len(batch)
        done += len(batch)
    require(done == start, f"an epoch of {done} examples goes on within it, got example {start}")
