"""MNIST [lecun1998]: 28 x 28 pixels, 60,000 to train and choose by, and 10,000 to test.

Its four files of the idx format, plain or compressed (.gz), lie in one folder under their usual
names. Any other set in this form with ten classes, such as Fashion-MNIST, is read as well. Order
and shifts of an epoch are words of the DATA stream, as of the digits.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from qcuda.data.config import MNIST
from qcuda.data.pixels import Opened, held_out
from qcuda.data.source import Task
from qcuda.errors import InputError, require

TASK = Task(shape=(1, 28, 28), classes=10)
TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MOST = 1_000_000  # examples of a file: its header is not trusted beyond that
UNSIGNED_BYTES = 0x08


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The bytes of an idx file, of the shape that its header says; gzip by the name's end.

    Raises InputError, naming the file, unless it is of unsigned bytes in so many dimensions, and as
    long as its header says: no more is read than that.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _idx(cast(BinaryIO, file), dimensions)
    except (EOFError, OSError, zlib.error) as error:  # of gzip, BadGzipFile is an OSError
        raise InputError(f"{path} can not be read: {error}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _idx(file: BinaryIO, dimensions: int) -> np.ndarray:
    header = file.read(4 + 4 * dimensions)
    good = header[:4] == bytes([0, 0, UNSIGNED_BYTES, dimensions])
    require(
        good and len(header) == 4 + 4 * dimensions,
        f"an idx file of bytes in {dimensions} dimensions begins with 00 00 08 0{dimensions} and "
        f"its sizes, got {header[:4].hex(' ')} in {len(header)} bytes",
    )
    shape = tuple(np.frombuffer(header, ">u4", offset=4).tolist())
    require(
        0 < shape[0] <= MOST and shape[1:] in ((), TASK.shape[1:]),
        f"there are 1..{MOST} examples, images of {TASK.shape[1]} x {TASK.shape[2]}, got {shape}",
    )
    count = int(np.prod(shape))
    body = file.read(count + 1)
    require(
        len(body) == count,
        f"the header says {count} bytes, got " + (f"{len(body)}" if len(body) < count else "more"),
    )
    return np.frombuffer(body, np.uint8).reshape(shape).copy()


def read_part(folder: Path, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
    """Images, (n, 1, 28, 28) uint8, and labels, (n,) int64, of a part of the set.

    Raises InputError if a file is missing or damaged, or images and labels do not fit together.
    """
    images, labels = (
        read_idx(_found(folder, name), dimensions)
        for name, dimensions in zip(names, (3, 1), strict=True)
    )
    require(
        len(images) == len(labels),
        f"{folder}: an image has a label, got {len(images)} images and {len(labels)} labels",
    )
    wrong = labels[labels >= TASK.classes]
    require(
        not wrong.size,
        f"{folder / names[1]}: a label is in 0..{TASK.classes - 1}, got {wrong[:1].tolist()}",
    )
    return torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64))


def _found(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(
        f"data.folder holds {', '.join((*TRAIN, *TEST))}, each plain or with .gz, "
        f"got {folder} without {name}"
    )


def task(config: MNIST) -> Task:
    """What an example looks like, whatever the config."""
    return TASK


def opened(config: MNIST) -> Opened:
    """All examples; the last of the training files choose the model.

    Raises InputError if files are missing or damaged, or there are too few for the config.
    """
    folder = Path(config.folder)
    return held_out(read_part(folder, TRAIN), read_part(folder, TEST), config)
