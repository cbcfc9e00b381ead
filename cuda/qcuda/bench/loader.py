"""Benchmark of reading images: one processor's time for photographs, for shards, for an index.

Photographs of 500 x 375 pixels, as those of ImageNet are on average, are made of the pictures that
scikit-learn brings. They are read as training does, from decoding to a batch: as files, and as
shards whose images were made smaller beforehand. An index is timed by the scan of a shard that
makes it, and by samples that are read through it in random order.
"""

from __future__ import annotations

import io
import json as json_module
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from qcuda.data import shards, source
from qcuda.data.config import Images, Shards
from qcuda.data.decoding import simplejpeg
from qcuda.data.reading import Opened
from qcuda.data.writing import write_shards

WIDTH, HEIGHT, SIZE = 500, 375, 256  # of photographs, and of the shorter side in shards
QUALITIES = (90, 95)  # of their JPEG
BATCH = 50
SAMPLES, BYTES = 4000, 20_000  # of the shard by which an index is timed, and of one image there


def photographs() -> list[bytes]:
    """Pictures that are installed with scikit-learn, as JPEG of the usual size."""
    from sklearn.datasets import load_sample_images

    scaled = [
        np.asarray(Image.fromarray(one).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
        for one in load_sample_images().images
    ]
    encode = simplejpeg().encode_jpeg
    return [encode(one, quality=q, colorsubsampling="420") for one in scaled for q in QUALITIES]


def write(folder: Path, count: int) -> float:
    """So many photographs to train on, and a few to test; returns their mean number of bytes."""
    pictures = photographs()
    for part, number in (("train", count), ("val", 2)):
        for n in range(number):
            place = folder / part / f"{n % 2}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{n:05d}.jpg").write_bytes(pictures[n % len(pictures)])
    return float(np.mean([len(one) for one in pictures]))


def write_samples(path: Path) -> None:
    """A shard of many samples, whose images are no images."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(SAMPLES):
            for ending, data in (("jpg", bytes(BYTES)), ("cls", b"1")):
                member = tarfile.TarInfo(f"{number:08d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def _epoch(config: Images) -> Callable[[], int]:
    data = source.opened(config)
    assert isinstance(data, Opened)
    return lambda: sum(len(batch.labels) for batch in data.epoch(0, 1))


def _reading(part: shards.Part, order: list[int]) -> int:
    return sum(len(part.data(number)) > 0 for number in order)


def loader(repeats: int = 3, images: int = 200, json: str | None = None) -> dict[str, Any]:
    """Time reading on one thread, and print a table.

    Args:
        repeats: timed rounds; the fastest counts, which a busy machine spoils least.
        images: photographs of a round.
        json: file for the table.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as name:
            found = _timed(Path(name), repeats, images)
    finally:
        torch.set_num_threads(before)
    for what, rate in found["per_second"].items():
        print(f"{what:<52}{rate:>10.0f} / s of one processor")
    if json is not None:
        Path(json).write_text(json_module.dumps(found, indent=2) + "\n")
    return found


def _timed(folder: Path, repeats: int, count: int) -> dict[str, Any]:
    size = write(folder / "files", count + 1)
    write_shards(folder / "files", folder / "shards", size=SIZE)
    (folder / "index").mkdir()
    write_samples(folder / "index/train-0.tar")
    write_samples(folder / "index/val-0.tar")
    index = shards.indexed(folder / "index")
    part = shards.part_of(folder / "index", "train", index)
    order = np.random.default_rng(0).permutation(SAMPLES).tolist()
    values: dict[str, Any] = {"batch": BATCH, "validation": 1, "workers": 0}
    actions: dict[str, Callable[[], int]] = {
        f"photographs of {WIDTH} x {HEIGHT}, {size / 1000:.0f} kB": _epoch(
            Images(folder=str(folder / "files"), **values)
        ),
        f"the same in shards, shorter side {SIZE}": _epoch(
            Shards(folder=str(folder / "shards"), **values)
        ),
        "samples of a shard that is scanned": lambda: len(
            shards.samples(folder / "index/train-0.tar")
        ),
        f"samples of {BYTES // 1000} kB by the index, at random": lambda: _reading(part, order),
    }
    best = dict.fromkeys(actions, 0.0)
    for number in tqdm(range(repeats + 1), desc="rounds", disable=None, leave=False):
        for what, action in actions.items():
            start = time.process_time()
            done = action()
            rate = done / (time.process_time() - start)
            if number:
                best[what] = max(best[what], rate)
    return {"repeats": repeats, "images": count, "per_second": best}
