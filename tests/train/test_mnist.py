"""MNIST's four files: what is read, what is refused by name, and a run of the recipe on them."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from qcuda.cli import main
from qcuda.data.config import MNIST
from qcuda.data.source import Place, inked, opened, task
from qcuda.errors import InputError
from qcuda.models.config import GXNOR
from qcuda.models.registry import build
from qcuda.models.weights import on_lattice, stepped
from qcuda.train.config import make
from qtheory.lattice import Lattice

RECIPES = Path(__file__).resolve().parents[2] / "cuda" / "recipes"
COUNTS = {"train": 90, "t10k": 30}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(count) % 10).astype(np.uint8)
    images = generator.integers(0, 256, (count, 28, 28), np.uint8)
    images[np.arange(count), labels] = 255  # a row that tells the class
    return images, labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small set in MNIST's form: a part compressed, a part plain."""
    place = tmp_path / "mnist"
    place.mkdir()
    for seed, (part, count) in enumerate(COUNTS.items()):
        images, labels = drawn(count, seed)
        (place / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (place / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return place


def small(folder: Path, **values) -> MNIST:
    return MNIST(str(folder), **{"batch": 10, "validation": 30, **values})


def test_parts_are_those_of_the_files(folder: Path):
    data = opened(small(folder))
    images, labels = drawn(90, 0)
    held = torch.from_numpy(images[60:]).float()[:, None] / 255
    assert torch.equal(data.validation.images, held)
    assert data.validation.labels.tolist() == labels[60:].tolist()
    assert data.test.labels.tolist() == drawn(30, 1)[1].tolist()
    assert data.test.images.shape == (30, *task(small(folder)).shape)
    seen = torch.cat([batch.images for batch in data.epoch(0, 1)])
    inked = {one.numpy().tobytes() for one in torch.from_numpy(images[:60]).float()[:, None] / 255}
    assert len(seen) == 60
    assert {one.numpy().tobytes() for one in seen} == inked


def test_an_epoch_is_a_function_of_seed_and_number_and_ranks_share_it(folder: Path):
    data = opened(small(folder, shift=2))

    def labels(*arguments) -> list[list[int]]:
        return [batch.labels.tolist() for batch in data.epoch(*arguments)]

    assert labels(0, 1) == labels(0, 1) != labels(0, 2)
    assert labels(0, 1) != labels(1, 1)
    both = zip(labels(0, 1, Place(0, 2)), labels(0, 1, Place(1, 2)), strict=True)
    assert [one + other for one, other in both] == labels(0, 1)
    moved = [torch.cat([b.images for b in data.epoch(0, number)]) for number in (1, 2)]
    assert moved[0].shape == moved[1].shape == (60, 1, 28, 28)
    plain = torch.cat([b.images for b in opened(small(folder)).epoch(0, 1)])
    assert not torch.equal(moved[0], plain)


def damaged(folder: Path, which: str) -> str:
    """Damage a file; what the error says beside its name."""
    images, labels = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte"
    whole, shown = gzip.decompress(images.read_bytes()), labels.read_bytes()
    match which:
        case "missing":
            images.unlink()
            return "without train-images-idx3-ubyte"
        case "no gzip":
            images.write_bytes(whole)
            return "Not a gzipped file"
        case "cut gzip":
            images.write_bytes(images.read_bytes()[:-100])
            return "can not be read"
        case "cut":
            images.write_bytes(gzip.compress(whole[:-1]))
            return "70560 bytes, got 70559"
        case "longer":
            images.write_bytes(gzip.compress(whole + b"\0"))
            return "70560 bytes, got more"
        case "empty":
            labels.write_bytes(b"")
            return "in 0 bytes"
        case "no header":
            labels.write_bytes(shown[:6])
            return "in 6 bytes"
        case "another type":
            labels.write_bytes(shown[:2] + b"\x0d" + shown[3:])
            return "00 00 0d 01"
        case "another size":
            images.write_bytes(gzip.compress(idx(np.zeros((90, 14, 14), np.uint8))))
            return "28 x 28, got (90, 14, 14)"
        case "a bomb":
            header = struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 28, 28)
            images.write_bytes(gzip.compress(header + bytes(1000)))
            return "1..1000000 examples"
        case "fewer labels":
            labels.write_bytes(idx(np.zeros(89, np.uint8)))
            return "90 images and 89 labels"
        case "a wrong label":
            labels.write_bytes(idx(np.full(90, 10, np.uint8)))
            return "0..9, got [10]"
    raise AssertionError(which)


@pytest.mark.parametrize(
    "which",
    [
        "missing", "no gzip", "cut gzip", "cut", "longer", "empty", "no header", "another type",
        "another size", "a bomb", "fewer labels", "a wrong label",
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_by_name(which: str, folder: Path):
    says = damaged(folder, which)
    with pytest.raises(InputError) as refused:
        opened(small(folder))
    assert says in str(refused.value)
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"batch": 1}, "batch is at least 2"),
        ({"shift": 15}, "half an image"),
        ({"validation": 0}, "validation is at least 1"),
    ],
)
def test_bad_numbers_are_refused(values: dict, rule: str):
    with pytest.raises(InputError, match=rule):
        make({"data": {"name": "mnist", **values}})


@pytest.mark.parametrize("values", [{"validation": 85}, {"examples": 61}, {"examples": 9}])
def test_more_examples_than_there_are_are_refused(values: dict, folder: Path):
    with pytest.raises(InputError, match="batch and examples are at most"):
        opened(small(folder, **values))


def test_the_network_is_the_published_one():
    config = GXNOR()
    lattice = on_lattice(Lattice.ternary())
    model = build(config, (1, 28, 28), 10, lattice, stepped(config.activation), 0)
    shapes = [tuple(layer.shape) for layer in model.modules() if hasattr(layer, "slot")]
    assert shapes == [(32, 1, 5, 5), (64, 32, 5, 5), (512, 1024), (10, 512)]
    assert sum(np.prod(shape) for shape in shapes) == 581_408
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    names = [name.rstrip("0123456789") for name, _ in model.named_children()]
    assert names[:8] == ["conv", "pool", "norm", "active"] * 2


def test_what_is_too_small_for_it_is_refused():
    config = GXNOR()
    lattice = on_lattice(Lattice.ternary())
    with pytest.raises(InputError, match="leave a pixel of each image"):
        build(config, (1, 8, 8), 10, lattice, stepped(config.activation), 0)


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_is_a_config_and_says_how_it_is_run(recipe: Path):
    tree = yaml.safe_load(recipe.read_text())
    config = make(tree, source=recipe.name)
    assert config.run.seeds >= 3
    for section, values in tree.items():  # what it says arrives
        written = config.to_dict()[section]
        for key, value in values.items():
            if key == "learning_rate":
                assert value.items() <= written[key].items()
            else:
                assert written[key] == value


def test_the_recipe_runs(folder: Path, tmp_path: Path):
    run = tmp_path / "run"
    options = [
        "--data", str(folder), "--run", str(run), "--batch", "10", "--seeds", "1",
        "--methods", "walker8", "ste", "--epochs", "2", "--validation", "30", "--channels", "2",
        "--hidden", "8",
    ]  # fmt: skip
    assert main(["train", str(RECIPES / "mnist_gxnor.yaml"), *options]) == 0
    results = json.loads((run / "results.json").read_text())
    assert results["methods"].keys() == {"walker8", "ste"}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["shift"] == 2
    assert config["model"]["name"] == "gxnor"


def test_pixels_are_ink():
    assert inked(torch.tensor([0, 51, 255], dtype=torch.uint8)).mul(5).tolist() == [
        0.0,
        1.0,
        5.0,
    ]
