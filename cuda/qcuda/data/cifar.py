"""CIFAR-10 and CIFAR-100 [krizhevsky2009]: 32 x 32 pixels in colour, 50,000 to train and choose by.

The files are those of the binary or of the Python version, as their archives unpack them, in one
folder. The latter are pickles. They are read by an unpickler that makes inert records of the few
names that belong there, and refuses all others: nothing that a file names is imported or called.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcuda.data.config import CIFAR
from qcuda.data.pixels import Opened, held_out
from qcuda.data.source import Task
from qcuda.errors import InputError, require

PIXELS = 3 * 32 * 32
MOST = 1_000_000  # examples of a file
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
FILES = {10: (BATCHES, ["test_batch"]), 100: (["train"], ["test"])}  # .bin, or nothing, added
LABELS = {10: b"labels", 100: b"fine_labels"}


class Record:
    """What a pickle made: the arguments it gave, and the state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


KNOWN = {  # what the pickle of an array names; the module of the first is NumPy's of 1 or of 2
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"), ("numpy", "dtype"),
}  # fmt: skip


class Inert(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    """Python's own unpickler, whose memo is a table: that of C takes memory by the number of a
    place, which a file chooses."""

    def find_class(self, module: str, name: str) -> Any:
        """An inert record, for a name that an array's pickle has."""
        require((module, name) in KNOWN, f"a pickle holds an array and labels, got {module}.{name}")
        return Record


Read = tuple[np.ndarray, np.ndarray]  # labels (n,), and pixels (n, 3072) uint8


def read_pickle(path: Path, classes: int) -> Read:
    """Labels and pixels of a file of the Python version.

    Raises InputError, naming it, if it holds anything else.
    """
    try:
        with path.open("rb") as file:
            found = Inert(file, encoding="bytes").load()
        array, labels = found[b"data"], np.array(found[LABELS[classes]], np.int64)
        _, shape, kind, in_columns, raw = array.state
        rows = len(labels)
        require(
            kind.arguments[0] in ("u1", b"u1") and shape == (rows, PIXELS) and not in_columns,
            f"data are {rows} rows of {PIXELS} bytes, got the shape {shape}",
        )
        require(0 < rows <= MOST and len(raw) == rows * PIXELS, f"got {len(raw)} bytes of data")
        return labels, np.frombuffer(raw, np.uint8).reshape(shape)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (
        OSError, pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError,
        AttributeError, OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise InputError(f"{path}: a file is a pickle of data and labels, got: {error!r}") from None


def read_binary(path: Path, classes: int) -> Read:
    """Labels and pixels of a file of the binary version; coarse labels are passed over.

    Raises InputError, naming it, if it is not made of whole records.
    """
    length = PIXELS + (1 if classes == 10 else 2)
    try:
        with path.open("rb") as file:
            data = file.read(MOST * length + 1)
    except OSError as error:
        raise InputError(f"{path}: a file can be read, got {error.strerror}") from None
    require(
        0 < len(data) <= MOST * length and len(data) % length == 0,
        f"{path}: there are 1..{MOST} records of {length} bytes, got {len(data)} bytes",
    )
    rows = np.frombuffer(data, np.uint8).reshape(-1, length)
    return rows[:, -PIXELS - 1].astype(np.int64), rows[:, -PIXELS:]


def read_part(folder: Path, names: list[str], classes: int) -> tuple[Tensor, Tensor]:
    """Images, (n, 3, 32, 32) uint8, and labels, (n,) int64, of some files.

    Raises InputError, naming the file, if one is missing or damaged.
    """
    found: list[Read] = []
    for name in names:
        plain, binary = folder / name, folder / f"{name}.bin"
        require(
            plain.is_file() or binary.is_file(),
            f"data.folder holds {name}.bin or {name} and its like, got {str(folder)!r} without",
        )
        path, read = (binary, read_binary) if binary.is_file() else (plain, read_pickle)
        labels, pixels = read(path, classes)
        wrong = labels[(labels < 0) | (labels >= classes)]
        require(not wrong.size, f"{path}: a label is in 0..{classes - 1}, got {wrong[:1].tolist()}")
        found.append((labels, pixels))
    labels, pixels = map(np.concatenate, zip(*found, strict=True))
    return torch.from_numpy(pixels).reshape(-1, 3, 32, 32), torch.from_numpy(labels)


def task(config: CIFAR) -> Task:
    """Images of 32 x 32 in colour."""
    return Task(shape=(3, 32, 32), classes=config.classes)


def opened(config: CIFAR) -> Opened:
    """All examples; the last of the training files choose the model.

    Raises InputError if files are missing or damaged, or there are too few for the config.
    """
    train, test = FILES[config.classes]
    folder = Path(config.folder)
    return held_out(
        read_part(folder, train, config.classes), read_part(folder, test, config.classes), config
    )
