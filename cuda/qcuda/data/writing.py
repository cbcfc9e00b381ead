"""Images in folders written as tar shards, resized once so that training need not.

What a shard holds is a function of the files and the options alone: samples in an order of words,
cut into pieces of equal number. A shard is written under another name and renamed when it is whole,
so that a stopped call goes on with the shards that are missing; the index comes last.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from qcuda.data import images, shards
from qcuda.data.decoding import decoded, simplejpeg
from qcuda.data.order import Purpose, permutation
from qcuda.data.reading import ALL, ahead, threads
from qcuda.errors import InputError, require
from qcuda.files import TEMPORARY, write_atomically

PLAN = "plan.json"
TOGETHER = 64  # images that are handed to the threads at once


def write_shards(
    source: Path,
    target: Path,
    *,
    size: int = 256,
    per_shard: int = 5000,
    quality: int = 90,
    skip: bool = False,
    workers: int = ALL,
) -> dict[str, Any]:
    """Write the parts of a folder of images as shards with an index; returns what index.json says.

    size: of the shorter side, in pixels; an image that is no larger is kept as it is, byte by byte,
    others become JPEG of that quality, in colour. skip: leave out what is damaged, and count it.
    Raises InputError, naming the file, if one breaks a rule, or if the target holds anything but
    an unfinished call of the same plan.
    """
    for name, value, low, high in (
        ("size", size, 1, 2**16), ("per-shard", per_shard, 1, 10**9), ("quality", quality, 1, 100),
        ("workers", workers, ALL, 2**10),
    ):  # fmt: skip
        require(low <= value <= high, f"{name} is in {low}..{high}, got {value}")
    names, classes = images.names_in(source), images.classes_of(source)
    parts = {name: images.part_of(source, name, classes) for name in names}
    options = {"size": size, "per_shard": per_shard, "quality": quality, "skip": skip}
    _begin(target, {**options, "files": _digest(parts.values())})
    prepared = partial(_prepared, size=size, quality=quality, skip=skip)
    left = [
        (target / f"{name}-{n:06d}.tar", part, piece.tolist())
        for name, part in parts.items()
        for n, piece in enumerate(
            permutation(0, 0, Purpose.SPLIT, len(part.paths)).split(per_shard)
        )
    ]
    for path, part, piece in tqdm(left, desc="shards", disable=None):
        if not path.is_file():
            read = partial(prepared, part)
            _write(path, part, piece, ahead(read, _jobs(piece), threads(workers)))
    skipped = sum(len(part.paths) for part in parts.values()) - sum(
        len(shards.samples(path)) for path, _, _ in left
    )
    made = shards.indexed(target, classes, size=size, skipped=skipped)
    (target / PLAN).unlink()
    return made


def _jobs(piece: list[int]) -> Iterable[list[tuple[int]]]:
    return ([(n,) for n in piece[k : k + TOGETHER]] for k in range(0, len(piece), TOGETHER))


def _digest(parts: Iterable[images.Folder]) -> str:
    """Of the names and sizes of all files, by which an unfinished call knows its own."""
    found = hashlib.sha256()
    for part in parts:
        for path in part.paths:
            found.update(f"{path}\0{os.stat(path).st_size}\0".encode(errors="surrogateescape"))
    return found.hexdigest()


def _begin(target: Path, plan: dict[str, Any]) -> None:
    """Leave a plan in an empty folder, or find the same one there."""
    require(not target.exists() or target.is_dir(), f"shards have a folder, got the file {target}")
    text = json.dumps(plan, indent=1) + "\n"
    there = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    if PLAN in there:
        require(
            (target / PLAN).read_text() == text,
            f"an unfinished folder goes on with its own options and files, got others in {target}",
        )
    else:
        require(not there, f"a folder of new shards is empty, got {target} with {there[:3]}")
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(target / PLAN, text.encode())


def _prepared(
    part: images.Folder, number: int, *, size: int, quality: int, skip: bool
) -> tuple[str, bytes] | None:
    """The ending and the bytes of an image as it is kept; None if it is left out."""
    try:
        data = part.data(number)
        pixels = decoded(data, 3)
    except InputError as error:
        if skip:
            return None
        raise InputError(f"{part.name(number)}: {error}") from None
    height, width = pixels.shape[:2]
    if min(height, width) <= size:
        return Path(part.paths[number]).suffix.lower(), data
    share = size / min(height, width)
    shape = max(size, round(width * share)), max(size, round(height * share))
    smaller = np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BICUBIC))
    smaller = np.ascontiguousarray(smaller)
    return ".jpg", simplejpeg().encode_jpeg(smaller, quality=quality, colorsubsampling="420")


def _write(path: Path, part: images.Folder, piece: list[int], found: Iterable[list[Any]]) -> None:
    """A shard, whole or not at all; the bytes of a member depend on nothing but the image."""
    temporary = path.with_name(path.name + TEMPORARY)
    with open(temporary, "wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            numbers = iter(piece)
            for one in (one for together in found for one in together):
                number = next(numbers)
                if one is not None:
                    label = str(int(part.labels[number])).encode()
                    for ending, data in (one, (".cls", label)):
                        member = tarfile.TarInfo(f"{number:09d}{ending}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
