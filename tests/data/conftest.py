"""Small data sets of drawn images, as files; session-wide, so that tests only read them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("bark", "moss", "sand")
COUNTS = {"train": 9, "val": 4}  # images of a class


def drawn(seed: int) -> np.ndarray:
    """An image of 24 to 71 pixels a side, smooth enough for JPEG."""
    generator = np.random.default_rng(seed)
    height, width = generator.integers(24, 72, 2)
    coarse = generator.integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((int(width), int(height))))


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    """An image as a file of a format of Pillow's."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def files() -> Iterator[tuple[str, bytes]]:
    """Path and bytes of every image; some are PNG, and some of these grey."""
    seed = 0
    for part, count in COUNTS.items():
        for name in CLASSES:
            for number in range(count):
                seed, pixels = seed + 1, drawn(seed)
                kind = ("JPEG", "PNG", "PNG")[number % 3]
                pixels = pixels[..., 0] if number % 3 == 2 else pixels
                ending = {"JPEG": "JPEG", "PNG": "png"}[kind]
                yield f"{part}/{name}/{number:02d}.{ending}", encoded(pixels, kind)


def write(folder: Path) -> Path:
    """The images in their folders."""
    for path, data in files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@pytest.fixture(autouse=True, scope="session")
def _decoder() -> None:
    pytest.importorskip("simplejpeg", reason="images are decoded by simplejpeg, of the extra data")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """27 images to train on and 12 to test, of three classes, in folders."""
    return write(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def shards(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as shards of five images."""
    from qcuda.data.writing import write_shards

    folder = tmp_path_factory.mktemp("shards")
    write_shards(pictures, folder, size=40, per_shard=5, workers=0)
    return folder
