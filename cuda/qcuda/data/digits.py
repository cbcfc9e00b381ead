"""Handwritten digits: the split, the order and the shifts, all from words of the DATA stream.

Nothing is downloaded: the 1797 images of 8 x 8 pixels are part of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from qcuda.data.config import Digits
from qcuda.data.order import Purpose, permutation, shares
from qcuda.data.source import ALONE, Examples, Place, Task
from qcuda.errors import require
from qcuda.kernels.words import words
from qtheory.streams import Stream

TASK = Task(shape=(1, 8, 8), classes=10)


class Split(NamedTuple):
    """Places of the examples of each part: disjoint, together all, each in increasing order."""

    train: Tensor
    validation: Tensor
    test: Tensor


def load() -> Examples:
    """All digits, in the order of the file."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images).to(torch.float32) / 16
    return Examples(pixels.reshape(-1, *TASK.shape), torch.from_numpy(labels).to(torch.int64))


def split(labels: Tensor, config: Digits) -> Split:
    """A stratified split: of every class the same share, to the nearest example, in each part.

    Raises InputError if a part would have no example of some class.
    """
    order = permutation(config.split_seed, 0, Purpose.SPLIT, len(labels))
    parts: list[list[Tensor]] = [[], [], []]
    for label in labels.unique():
        members = order[labels[order] == label]
        test = round(config.test_share * len(members))
        validation = round(config.validation_share * (len(members) - test))
        sizes = [len(members) - test - validation, validation, test]
        require(
            min(sizes) > 0,
            "each part has an example of every class, got shares "
            f"{config.test_share} and {config.validation_share}",
        )
        for part, chosen in zip(parts, members.split(sizes), strict=True):
            part.append(chosen)
    train, held, test_part = (torch.cat(part) for part in parts)
    # The first training examples in word order, so that a smaller run sees a fair sample.
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    train = train[torch.argsort(rank[train])]
    if config.examples:
        require(
            config.batch <= config.examples <= len(train),
            f"examples is 0 or in {config.batch}..{len(train)}, got {config.examples}",
        )
        train = train[: config.examples]
    require(
        config.batch <= len(train), f"batch is at most {len(train)} examples, got {config.batch}"
    )
    return Split(train.sort().values, held.sort().values, test_part.sort().values)


def batches(config: Digits, seed: int, epoch: int, count: int) -> tuple[Tensor, ...]:
    """The places of an epoch's examples, in batches of nearly the same size."""
    order = permutation(seed, epoch, Purpose.ORDER, count)
    return torch.tensor_split(order, count // config.batch)


def shifted(images: Tensor, limit: int, seed: int, epoch: int) -> Tensor:
    """Every image moved by -limit .. limit pixels down and across; what comes in is empty."""
    if limit == 0:
        return images
    count, size = len(images), images.shape[-1]
    drawn = words(seed, epoch, Purpose.SHIFT, 2 * count, stream=Stream.DATA)
    start = ((drawn * (2 * limit + 1)) >> 32).reshape(count, 2, 1) + torch.arange(size)
    padded = F.pad(images, (limit,) * 4)
    example = torch.arange(count)[:, None, None]
    moved = padded[example, :, start[:, 0, :, None], start[:, 1, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Opened:
    """The parts of the split, and the epochs of the first."""

    config: Digits
    train: Examples
    validation: Examples
    test: Examples

    def epoch(
        self, seed: int, number: int, place: Place = ALONE, start: int = 0
    ) -> Iterator[Examples]:
        """Every training example once, shifted, in batches of nearly the same size."""
        images = shifted(self.train.images, self.config.shift, seed, number)
        for part in shares(batches(self.config, seed, number, len(images)), place, start):
            yield Examples(images[part], self.train.labels[part])


def task(config: Digits) -> Task:
    """What an example looks like, whatever the config."""
    return TASK


def opened(config: Digits) -> Opened:
    """All digits, split."""
    examples = load()
    parts = split(examples.labels, config)
    return Opened(config, *(examples.take(part) for part in parts))
