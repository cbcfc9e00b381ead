"""Text as bytes: the source of Python's own standard library, or the files of another folder.

An example is some bytes in a row, its labels are the bytes that follow each. The files that choose
the model and those that test it are held out by their names alone, so that a file is in the same
part on every machine that has it. Another version of Python has another library: sizes of the parts
belong beside every result.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qcuda.data.config import Text
from qcuda.data.order import Purpose, batches, permutation, shares
from qcuda.data.source import ALONE, Examples, Place, Task
from qcuda.errors import InputError, require
from qcuda.kernels.words import words
from qtheory.streams import Stream

ENDINGS = (".py", ".txt")
# What not every installation of the library has, and what is not of it.
LEFT_OUT = {"test", "tests", "site-packages", "dist-packages", "__pycache__"}


def files(folder: Path) -> list[str]:
    """Names of the text files of a folder and those below it, in order, with / between parts.

    Raises InputError if there is none.
    """
    found: list[str] = []
    for place, below, names in os.walk(folder):
        below[:] = set(below) - LEFT_OUT
        inside = Path(place).relative_to(folder)
        found += [(inside / name).as_posix() for name in names if name.endswith(ENDINGS)]
    require(bool(found), f"data.folder holds files {' or '.join(ENDINGS)}, got {folder} without")
    return sorted(found)


def part_of(name: str, held: float) -> str:
    """The part that a file is of: its name's SHA-256 is as good as a draw.

    >>> [part_of(name, 0.05) for name in ("argparse.py", "calendar.py", "copyreg.py")]
    ['train', 'test', 'validation']
    """
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    return "validation" if share < held else "test" if share < 2 * held else "train"


def read(folder: Path, names: list[str]) -> Tensor:
    """The bytes of files, one after the other, uint8. Raises InputError if one can not be read."""
    try:
        text = b"".join((folder / name).read_bytes() for name in names)
    except OSError as error:
        raise InputError(f"{error.filename}: a text can be read, got {error.strerror}") from None
    return torch.from_numpy(np.frombuffer(text, np.uint8).copy())


def windows(text: Tensor, length: int, first: int = 0) -> tuple[Tensor, Tensor]:
    """All windows of a text from a byte on, (n, length), and the bytes that follow each of theirs.

    They are views of the text; a rest that is no window is left out.
    """
    count = (len(text) - 1 - first) // length
    end = first + count * length
    return text[first:end].view(count, length), text[first + 1 : end + 1].view(count, length)


@dataclass(frozen=True)
class Opened:
    """The parts; bytes become numbers when they are used."""

    config: Text
    train: Tensor
    validation: Examples
    test: Examples

    def epoch(
        self, seed: int, number: int, place: Place = ALONE, start: int = 0
    ) -> Iterator[Examples]:
        """Windows of the training text, every one once or as many as the config says.

        Where the first begins in the text, a word says.
        """
        length = self.config.length
        word = int(words(seed, number, Purpose.WINDOW, 1, stream=Stream.DATA))
        before, after = windows(self.train, length, (word * length) >> 32)
        order = permutation(seed, number, Purpose.ORDER, len(before))
        order = order[: self.config.examples or len(order)]
        for part in shares(batches(len(order), self.config.batch), place, start):
            yield Examples(before[order[part]].long(), after[order[part]].long())


def task(config: Text) -> Task:
    """Bytes in a row, and the next byte as the class of each."""
    return Task(shape=(config.length,), classes=256)


def opened(config: Text) -> Opened:
    """The parts of the text. Raises InputError if one has too few bytes for the config."""
    folder = Path(config.folder or sysconfig.get_path("stdlib"))
    require(folder.is_dir(), f"data.folder is a folder of text, got {config.folder!r}")
    names = files(folder)
    texts = {
        part: read(folder, [name for name in names if part_of(name, config.held) == part])
        for part in ("train", "validation", "test")
    }
    for part, least in (("train", config.batch + 1), ("validation", 1), ("test", 1)):
        require(
            len(texts[part]) > least * config.length,
            f"the part {part} has more than {least * config.length} bytes, got "
            f"{len(texts[part])} in {folder}",
        )
    most = (len(texts["train"]) - config.length) // config.length
    require(
        config.examples == 0 or config.batch <= config.examples <= most,
        f"data.examples is 0 or from batch, {config.batch}, to the {most} windows of the text, "
        f"got {config.examples}",
    )
    held = {
        part: Examples(*(one.long() for one in windows(texts[part], config.length)))
        for part in ("validation", "test")
    }
    return Opened(config, texts["train"], held["validation"], held["test"])
