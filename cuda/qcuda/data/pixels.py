"""Images that all fit into memory, as bytes until they are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from qcuda.data.config import CIFAR, MNIST
from qcuda.data.digits import shifted
from qcuda.data.order import Purpose, batches, permutation, shares
from qcuda.data.source import ALONE, Examples, Place, inked
from qcuda.errors import require
from qcuda.kernels.words import words
from qtheory.streams import Stream


def mirrored(images: Tensor, share: float, seed: int, epoch: int) -> Tensor:
    """Images, of which a share, each by its word, is seen in a mirror."""
    if share == 0:
        return images
    drawn = words(seed, epoch, Purpose.FLIP, len(images), stream=Stream.DATA)
    return torch.where((drawn < share * 2**32)[:, None, None, None], images.flip(-1), images)


@dataclass(frozen=True)
class Opened:
    """The parts, and the epochs of the first. images: (n, channels, height, width) uint8."""

    images: Tensor
    labels: Tensor
    validation: Examples
    test: Examples
    batch: int
    shift: int
    flip: float

    def epoch(
        self, seed: int, number: int, place: Place = ALONE, start: int = 0
    ) -> Iterator[Examples]:
        """Every training example once, shifted and mirrored, in batches of nearly the same size."""
        images = shifted(self.images, self.shift, seed, number)
        images = mirrored(images, self.flip, seed, number)
        order = permutation(seed, number, Purpose.ORDER, len(images))
        for positions in shares(batches(len(order), self.batch), place, start):
            part = order[positions]
            yield Examples(inked(images[part]), self.labels[part])


def held_out(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], config: MNIST | CIFAR
) -> Opened:
    """Images and labels of two parts; the last of the first choose the model.

    Raises InputError if there are too few for the config.
    """
    images, labels = train
    count = len(labels) - config.validation
    used = config.examples or count
    require(
        config.batch <= used <= count,
        f"batch and examples are at most {count}, the training examples without those that choose "
        f"the model, got {config.batch} and {used}",
    )
    held = Examples(inked(images[count:]), labels[count:])
    tested = Examples(inked(test[0]), test[1])
    flip = config.flip if isinstance(config, CIFAR) else 0.0
    return Opened(images[:used], labels[:used], held, tested, config.batch, config.shift, flip)
