"""Images in a folder for each part and in it a folder for each class, as of ImageNet.

    FOLDER/train/CLASS/NAME.jpg        FOLDER/val/CLASS/NAME.png        FOLDER/test/...

Classes are numbered in the order of their names in `train`. What has a name that begins with a dot
is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from qcuda.data import reading
from qcuda.data.config import Images
from qcuda.data.decoding import WORDS, centre, decoded, random_box, view
from qcuda.data.source import Task
from qcuda.errors import InputError, require

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LONGEST = 2**28  # bytes of an image file


class Encoded(Protocol):
    """Image files with labels, wherever they lie."""

    @property
    def labels(self) -> Tensor:
        """A class for each file, (n,) int64."""
        ...

    def data(self, number: int) -> bytes:
        """The bytes of a file. Raises InputError if it can not be read."""
        ...

    def name(self, number: int) -> str:
        """What the file is called in an error."""
        ...


@dataclass(frozen=True)
class Views:
    """Image files as a network sees them: a random crop in training, else the centre."""

    encoded: Encoded
    config: Images
    words: int = WORDS

    @property
    def labels(self) -> Tensor:
        """A class for each file."""
        return self.encoded.labels

    def read(self, number: int, drawn: Sequence[int] | None) -> np.ndarray:
        """(size, size, channels) uint8."""
        config = self.config
        try:
            pixels = decoded(self.encoded.data(number), channels(config))
        except InputError as error:
            raise InputError(f"{self.encoded.name(number)}: {error}") from None
        height, width = pixels.shape[:2]
        if drawn is None:
            return view(pixels, centre(height, width, config.centre), config.size)
        box = random_box(height, width, config.least_area, drawn)
        mirrored = drawn[-1] < config.flip * 2**32
        return view(pixels, box, config.size, mirrored=mirrored)


@dataclass(frozen=True)
class Folder:
    """The image files of a part."""

    paths: list[str]
    labels: Tensor

    def data(self, number: int) -> bytes:
        """The bytes of a file."""
        try:
            with open(self.paths[number], "rb") as file:
                found = file.read(LONGEST + 1)
        except OSError as error:
            raise InputError(f"an image can be read, got {error.strerror}") from None
        require(0 < len(found) <= LONGEST, f"an image has 1..{LONGEST} bytes, got {len(found)}")
        return found

    def name(self, number: int) -> str:
        """Its path."""
        return self.paths[number]


def listed(folder: Path, root: Path, *, folders: bool) -> list[os.DirEntry[str]]:
    """Folders, or files, by name. Raises InputError for others, and for links out of the root."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
    except OSError as error:
        raise InputError(f"{folder}: a folder can be read, got {error.strerror}") from None
    for entry in found:
        if entry.is_symlink():
            target = Path(entry.path).resolve()
            inside = target.is_relative_to(root.resolve())
            require(inside, f"{entry.path}: a link stays in its data set, got one to {target}")
        good = entry.is_dir() if folders else entry.is_file()
        require(
            good,
            f"{entry.path}: a class has a folder, and an example a file in it, got another kind",
        )
    return found


def classes_of(folder: Path) -> list[str]:
    """Names of the classes, those of the folders in `train`. Raises InputError if there is none."""
    names = [entry.name for entry in listed(folder / "train", folder, folders=True)]
    require(len(names) > 1, f"{folder / 'train'}: there are two classes or more, got {len(names)}")
    return names


def part_of(folder: Path, part: str, classes: Sequence[str]) -> Folder:
    """The image files of a part, by class and name.

    Raises InputError, naming the file, if one is no image by its name, or of no known class.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    paths: list[str] = []
    labels: list[int] = []
    for place in listed(folder / part, folder, folders=True):
        require(
            place.name in numbers, f"{place.path}: a class of {part} is one of train, got another"
        )
        for file in listed(Path(place.path), folder, folders=False):
            require(
                file.name.lower().endswith(ENDINGS),
                f"{file.path}: an image's name ends with one of {', '.join(ENDINGS)}, got another",
            )
            paths.append(file.path)
            labels.append(numbers[place.name])
    require(bool(paths), f"{folder / part}: a part has images, got none")
    return Folder(paths, torch.tensor(labels))


def names_in(folder: Path) -> list[str]:
    """The parts that a folder has."""
    require(folder.is_dir(), f"data.folder is a folder of images, got {str(folder)!r}")
    found = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    return reading.names_of(found, str(folder))


def loading(config: Images) -> reading.Loading:
    """How a config's images are read."""
    return reading.Loading(config.batch, config.workers, config.even, config.skip)


def channels(config: Images) -> int:
    """Of an image."""
    return 1 if config.grey else 3


def shape_of(config: Images, classes: int) -> Task:
    """Square images of so many classes."""
    return Task(shape=(channels(config), config.size, config.size), classes=classes)


def task(config: Images) -> Task:
    """Square images, and as many classes as `train` has folders."""
    return shape_of(config, len(classes_of(Path(config.folder))))


def opened(config: Images) -> reading.Opened:
    """The parts of the folder. Raises InputError, naming the file, if it breaks a rule."""
    folder = Path(config.folder)
    names, classes = names_in(folder), classes_of(folder)
    parts = {name: Views(part_of(folder, name, classes), config) for name in names}
    return reading.opened(parts, config.validation, loading(config), config.folder)
