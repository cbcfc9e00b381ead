"""Images in tar files, as WebDataset has them, with an index by which any of them is found at once.

    FOLDER/train-000000.tar ...      samples one after the other: KEY.jpg and KEY.cls, its label
    FOLDER/train.index               of each sample 20 bytes: shard, offset, length, label
    FOLDER/index.json                names of the classes; of each part its shards, with their sizes

The index is made by a scan of the shards, whoever wrote them (`indexed`), and comes last: a folder
without it is not whole. A sample is read by a call of its own and not through a map of the file,
so that a thread which waits for the disk holds nobody up.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcuda.data import reading
from qcuda.data.config import Shards
from qcuda.data.images import ENDINGS, LONGEST, Views, loading, shape_of
from qcuda.data.source import Task
from qcuda.data.tar import BLOCK, Member, members, size_of
from qcuda.errors import InputError, require
from qcuda.files import write_atomically

INDEX, FORMAT = "index.json", "qtheory shards 1"
ROW = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("label", "<u4")])
SHARD = re.compile(r"(train|val|test)-[\w-]+\.tar")
MOST_CLASSES = 1_000_000


@dataclass(frozen=True)
class Part:
    """The samples of a part. paths: its shards. rows: of type ROW, one a sample."""

    paths: list[str]
    rows: np.ndarray
    labels: Tensor
    files: dict[int, int] = field(default_factory=dict)  # open ones, by number

    def _file(self, shard: int) -> int:
        """A shard, open; of two threads that open it at once, one closes its own again."""
        if (file := self.files.get(shard)) is None:
            own = os.open(self.paths[shard], os.O_RDONLY | os.O_CLOEXEC)
            file = self.files.setdefault(shard, own)
            if file != own:
                os.close(own)
        return file

    def _read(self, number: int) -> tuple[bytes, bytes]:
        shard, offset, length, _ = self.rows[number].tolist()
        read = os.pread(self._file(shard), BLOCK + length, offset - BLOCK)
        return read[:BLOCK], read[BLOCK:]

    def data(self, number: int) -> bytes:
        """The bytes of an image. Raises InputError unless its header is where the index says."""
        try:
            head, data = self._read(number)
        except OSError as error:
            raise InputError(f"a shard can be read, got {error.strerror}") from None
        offset, length = self.rows[number].tolist()[1:3]
        fits = len(data) == length and size_of(head, offset - BLOCK) == length
        require(fits, f"an index fits its shard, got {length} bytes at {offset} that are no member")
        return data

    def name(self, number: int) -> str:
        """Its shard, and its name there."""
        head, _ = self._read(number)
        return f"{self.paths[self.rows[number]['shard']]}: {head[:100].rstrip(bytes(1))!r}"

    def __del__(self) -> None:
        for file in self.files.values():
            os.close(file)


def key(member: Member) -> str:
    """The name up to the first dot of its last part, which the members of a sample share.

    >>> key(Member("a.b/c.seg.png", 0, 0, b""))
    'a.b/c'
    """
    dot = member.name.find(".", member.name.rfind("/") + 1)
    return member.name[:dot] if dot >= 0 else member.name


def samples(path: Path) -> list[tuple[Member, int]]:
    """The image and the label of every sample of a shard, in order.

    The members of a sample follow each other; those that are neither image nor label are passed
    over. Raises InputError, naming shard and member, if one has not both or a label is no number.
    """
    found: list[tuple[Member, int]] = []
    seen = set[str]()
    for name, group in groupby(members(path), key):
        together = [(member.name[len(name) :].lower(), member) for member in group]
        images = [member for ending, member in together if ending in ENDINGS]
        labels = [member.start.strip() for ending, member in together if ending == ".cls"]
        if name in seen:
            rule = "a sample is in one place, got it in two"
        elif len(images) != 1 or len(labels) != 1:
            rule = f"a sample has an image and a .cls, got {len(images)} and {len(labels)}"
        elif not 0 < images[0].size <= LONGEST:
            rule = f"an image has 1..{LONGEST} bytes, got {images[0].size}"
        elif not labels[0].isdigit() or int(labels[0]) >= MOST_CLASSES:
            rule = f"a label is in 0..{MOST_CLASSES - 1}, got {labels[0]!r}"
        else:
            seen.add(name)
            found.append((images[0], int(labels[0])))
            continue
        raise InputError(f"{path}: {together[0][1].name}: {rule}")
    return found


def indexed(folder: Path, classes: Sequence[str] = (), **notes: Any) -> dict[str, Any]:
    """Scan all shards of a folder and write its index; returns what index.json says.

    classes: their names, in the order of their numbers; none: the labels of `train` are their own.
    notes: what else it says. Raises InputError, naming shard and member, if one breaks a rule.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.tar")):
        if match := SHARD.fullmatch(path.name):
            found.setdefault(match[1], []).append(path)
    parts: dict[str, Any] = {}
    for part in reading.names_of(found, str(folder)):
        rows = np.concatenate([_rows(n, path) for n, path in enumerate(found[part])])
        require(len(rows) > 0, f"{folder}: a part has images, got none in {part}")
        known = len(classes) or 1 + int(rows["label"].max())
        classes = classes or [str(number) for number in range(known)]
        wrong = rows[rows["label"] >= known]
        require(
            not len(wrong),
            f"{found[part][wrong['shard'][0]] if len(wrong) else ''}: a label of {part} is in "
            f"0..{known - 1}, got {wrong['label'][:1].tolist()}",
        )
        write_atomically(folder / f"{part}.index", rows.tobytes())
        parts[part] = {
            "samples": len(rows),
            "sha256": hashlib.sha256(rows.tobytes()).hexdigest(),
            "shards": [[path.name, path.stat().st_size] for path in found[part]],
        }
    made = {"format": FORMAT, "classes": list(classes), "parts": parts, **notes}
    write_atomically(folder / INDEX, (json.dumps(made, indent=1) + "\n").encode())
    return made


def _rows(number: int, path: Path) -> np.ndarray:
    rows = [(number, image.offset, image.size, label) for image, label in samples(path)]
    return np.array(rows, ROW)


def read_index(folder: Path) -> dict[str, Any]:
    """What index.json says. Raises InputError, naming it, if that is not of its form."""
    path = folder / INDEX
    require(
        path.is_file(),
        f"data.folder has an {INDEX}, which qtheory data shards or qtheory data index writes, "
        f"got {str(folder)!r} without",
    )
    try:
        found = json.loads(path.read_bytes())
        good = found["format"] == FORMAT and isinstance(found["classes"], list)
        for part in found["parts"].values():
            good &= isinstance(part["sha256"], str) and bool(part["shards"])
            for name, size in part["shards"]:
                good &= SHARD.fullmatch(name) is not None and type(size) is int
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: an index is a table of its form, got: {error!r}") from None
    require(good, f"{path}: an index has the format {FORMAT!r} and shards by name and size")
    return found


def part_of(folder: Path, name: str, index: dict[str, Any]) -> Part:
    """A part of the data, checked against its shards.

    Raises InputError, naming the file, if the index is damaged or does not fit them.
    """
    said, path = index["parts"][name], folder / f"{name}.index"
    paths = [folder / shard for shard, _ in said["shards"]]
    for shard, (_, size) in zip(paths, said["shards"], strict=True):
        there = shard.stat().st_size if shard.is_file() else None
        require(there == size, f"{shard}: an index fits its shards, got {there} bytes for {size}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: an index can be read, got {error.strerror}") from None
    digest = hashlib.sha256(data).hexdigest()
    require(digest == said["sha256"], f"{path}: an index has its SHA-256, got {digest[:16]}...")
    require(len(data) % ROW.itemsize == 0, f"{path}: a sample has 20 bytes, got {len(data)} in all")
    rows = np.frombuffer(data, ROW)
    sizes = np.array([size for _, size in said["shards"]], np.uint64)
    good = (rows["shard"] < len(paths)) & (rows["label"] < len(index["classes"]))
    good &= (rows["length"] > 0) & (rows["length"] <= LONGEST) & (rows["offset"] >= BLOCK)
    ends = rows["offset"] + rows["length"]
    good &= ends <= sizes[np.minimum(rows["shard"], len(paths) - 1)]
    require(
        bool(len(rows)) and bool(good.all()),
        f"{path}: samples lie in their shards, with labels of known classes, got number "
        f"{int(np.argmin(good)) if len(rows) else 0} that does not",
    )
    labels = torch.from_numpy(rows["label"].astype(np.int64))
    return Part([str(shard) for shard in paths], rows, labels)


def task(config: Shards) -> Task:
    """Square images, and the classes that the index names."""
    classes = read_index(Path(config.folder))["classes"]
    return shape_of(config, len(classes))


def opened(config: Shards) -> reading.Opened:
    """The parts of the folder. Raises InputError, naming the file, if it breaks a rule."""
    folder = Path(config.folder)
    index = read_index(folder)
    names = reading.names_of(index["parts"], config.folder)
    parts = {name: Views(part_of(folder, name, index), config) for name in names}
    return reading.opened(parts, config.validation, loading(config), config.folder)
