"""Real images from end to end: textures in folders, as shards, and a network that tells them apart.

The pictures are part of scikit-image. Each patch is brought to the same mean and deviation, so that
brightness and contrast give nothing away; training sees the left of a picture, the test its right.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from qcuda.cli import main

SIDE, TRAINED = 32, 0.6  # pixels of a patch, and share of a picture's width to train on
TEXTURES = ("brick", "grass", "gravel")


def picture(name: str) -> np.ndarray:
    """A picture of scikit-image in grey, float64."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the pictures are those of scikit-image, which is not installed")
    path = Path(found.submodule_search_locations[0]) / "data" / f"{name}.png"
    return np.asarray(Image.open(path).convert("L"), np.float64)


def patches(pixels: np.ndarray, left: int, right: int, stride: int) -> list[np.ndarray]:
    """Patches between two columns, as bytes of mean 128 and deviation 40."""
    found: list[np.ndarray] = []
    for y in range(0, len(pixels) - SIDE + 1, stride):
        for x in range(left, right - SIDE + 1, stride):
            one = pixels[y : y + SIDE, x : x + SIDE]
            plain = (one - one.mean()) / (one.std() + 8)
            found.append((128 + 40 * plain).round().clip(0, 255).astype(np.uint8))
    return found


def write(folder: Path, names: tuple[str, ...], stride: int) -> dict[str, int]:
    """A folder of patches; those of training are PNG, those of the test JPEG. Their numbers."""
    counts = {"train": 0, "test": 0}
    for name in names:
        pixels = picture(name)
        cut = int(pixels.shape[1] * TRAINED) // SIDE * SIDE
        for part, ends, step, ending in (
            ("train", (0, cut), stride, "png"),
            ("test", (cut, pixels.shape[1]), SIDE, "jpg"),
        ):
            (folder / part / name).mkdir(parents=True)
            for number, patch in enumerate(patches(pixels, *ends, step)):
                path = folder / part / name / f"{number:04d}.{ending}"
                Image.fromarray(patch).save(path, quality=95)
                counts[part] += 1
    return counts


def test_a_ternary_network_tells_textures_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: path.touch())
    counts = write(tmp_path / "files", TEXTURES, SIDE)
    assert counts == {"train": 432, "test": 336}
    files, shards, run = (str(tmp_path / name) for name in ("files", "shards", "run"))
    assert main(["data", "shards", files, shards, "--size", "32", "--per-shard", "100"]) == 0
    options = [
        "--data.name", "shards", "--data.folder", shards, "--data.size", "32", "--grey",
        "--least_area", "1", "--centre", "1", "--restate", "400", "--validation", "60",
        "--batch", "32",
        "--methods", "dst", "--seeds", "1", "--epochs", "4", "--channels", "8", "--hidden", "32",
    ]  # fmt: skip
    assert main(["train", *options, "--run", run]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test_examples"] == 336
    # A third is chance: of 336 examples, 55 % or more are right by guessing once in 1e15.
    assert results["methods"]["dst"]["test_mean"] > 0.55
