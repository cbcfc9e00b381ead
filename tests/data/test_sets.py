"""CIFAR, ModelNet and text: what is read, how an epoch changes it, and what is refused by name."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qcuda.data import modelnet, text
from qcuda.data.config import CIFAR, ModelNet, Text
from qcuda.data.order import Purpose
from qcuda.data.pixels import mirrored
from qcuda.data.source import Place, opened, task
from qcuda.errors import InputError
from qcuda.kernels.words import words
from qtheory.streams import Stream

# CIFAR


def records(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    return labels, generator.integers(0, 256, (count, 3072), np.uint8)


def write_cifar(folder: Path, classes: int, form: str) -> Path:
    """A small set in one of the four forms: ten images a file, pixels in order of the files."""
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    for seed, name in enumerate(names if classes == 10 else ["train", "test"]):
        labels, pixels = records(10, classes, seed)
        if form == "binary":
            coarse = [] if classes == 10 else [labels // 5]
            rows = np.column_stack([*coarse, labels, pixels]).astype(np.uint8)
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            key = b"labels" if classes == 10 else b"fine_labels"
            table = {b"data": pixels, key: labels.tolist(), b"batch_label": b"x"}
            (folder / name).write_bytes(pickle.dumps(table))
    return folder


@pytest.mark.parametrize("form", ["binary", "python"])
@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_is_that_of_its_files(classes: int, form: str, tmp_path: Path):
    write_cifar(tmp_path, classes, form)
    config = CIFAR(str(tmp_path), classes, batch=3, validation=2, shift=0, flip=0.0)
    data, files = opened(config), 5 if classes == 10 else 1
    assert task(config) == ((3, 32, 32), classes)
    labels, pixels = records(10, classes, files - 1)
    held = torch.from_numpy(pixels[8:]).reshape(2, 3, 32, 32) / 255
    assert torch.equal(torch.cat([part.images for part in data.validation.split(1)]), held)
    assert data.validation.labels.tolist() == labels[8:].tolist()
    assert data.test.labels.tolist() == records(10, classes, files)[0].tolist()
    seen = [image.numpy().tobytes() for b in data.epoch(0, 1) for image in b.images]
    assert len(seen) == len(set(seen)) == 10 * files - 2
    first = torch.from_numpy(records(10, classes, 0)[1][0]).reshape(3, 32, 32) / 255
    assert first.numpy().tobytes() in seen


def test_images_are_mirrored_by_their_words():
    images = torch.arange(400, dtype=torch.uint8).reshape(100, 1, 2, 2)
    drawn = words(5, 2, Purpose.FLIP, 100, stream=Stream.DATA)
    after = mirrored(images, 0.25, 5, 2)
    flipped = (after != images).flatten(1).any(1)
    assert flipped.tolist() == [word < 2**30 for word in drawn.tolist()]
    assert 0 < flipped.sum() < 100
    assert torch.equal(after[flipped], images[flipped].flip(-1))
    assert mirrored(images, 0.0, 5, 2) is images


class Called:
    def __reduce__(self) -> Any:
        return (print, ("called",))


class Named:
    def __reduce__(self) -> Any:
        return (np.load, ("x",))


def large_place() -> bytes:
    """A pickle that puts a value at place 2**31 of its memo: 32 GiB, if the memo is an array."""
    return b"\x80\x02}r" + (2**31 - 1).to_bytes(4, "little") + b"."


def of_objects() -> bytes:
    table = {b"data": np.array([[None] * 3072], object), b"labels": [1]}
    return pickle.dumps(table)


PIXELS = np.zeros((10, 3072), np.uint8)
PICKLES = {
    "a call": (pickle.dumps(Called()), "an array and labels, got builtins.print"),
    "another name": (pickle.dumps(Named()), "an array and labels, got numpy.*load"),
    "a place that is far away": (large_place(), "a pickle of data and labels"),
    "objects": (of_objects(), "10 rows|1 rows of 3072 bytes"),
    "cut short": (pickle.dumps({b"data": PIXELS, b"labels": [0] * 10})[:-99], "data and labels"),
    "no pickle": (b"hello", "data and labels"),
    "fewer labels": (pickle.dumps({b"data": PIXELS, b"labels": [0] * 9}), "data are 9 rows"),
    "a label too large": (
        pickle.dumps({b"data": PIXELS, b"labels": [10] * 10}),
        r"0..9, got \[10\]",
    ),
    "a label below 0": (pickle.dumps({b"data": PIXELS, b"labels": [-1] * 10}), r"got \[-1\]"),
    "labels in words": (pickle.dumps({b"data": PIXELS, b"labels": ["a"] * 10}), "and labels"),
}


@pytest.mark.parametrize("which", PICKLES)
def test_a_pickle_runs_nothing_and_is_refused_by_name(
    which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data, says = PICKLES[which]
    write_cifar(tmp_path, 10, "python")
    (tmp_path / "data_batch_3").write_bytes(data)
    with pytest.raises(InputError, match=says) as refused:
        opened(CIFAR(str(tmp_path), batch=3, validation=2))
    assert str(tmp_path / "data_batch_3") in str(refused.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("length", [0, 3072, 3074])
def test_a_binary_file_has_whole_records(length: int, tmp_path: Path):
    write_cifar(tmp_path, 10, "binary")
    (tmp_path / "test_batch.bin").write_bytes(bytes(length))
    with pytest.raises(InputError, match=rf"test_batch.bin: .* 3073 bytes, got {length} bytes"):
        opened(CIFAR(str(tmp_path), batch=3, validation=2))


def test_a_missing_file_of_cifar_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"holds train\.bin or train and its like"):
        opened(CIFAR(str(tmp_path), 100))


# Shapes

SQUARES = (
    b"OFF\n6 4 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n0 0 5\n3 0 5\n3 0 1 2\n3 0 2 3\n3 0 0 1\n3 0 5 4\n"
)


def write_shapes(folder: Path, counts: dict[str, int]) -> Path:
    for name, shape in {"flat": b"1", "tall": b"9"}.items():
        for part, count in counts.items():
            (folder / name / part).mkdir(parents=True)
            for number in range(count):
                vertices = b"0 0 0\n%d 0 0\n0 1 0\n0 0 %s\n" % (number + 1, shape)
                data = b"OFF4 4 6\n" + vertices + b"3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"
                (folder / name / part / f"{name}_{number}.off").write_bytes(data)
    return folder


def test_points_are_uniform_by_area():
    """Two triangles of area 1/2, one without, one of 15/2.

    By Hoeffding's inequality a share of n points deviates by t with a probability of at most
    2 exp(-2 n t^2), so that any of three is wrong by chance once in 1e9; a bias of 2 t, which is
    .034, is missed as seldom.
    """
    mesh = modelnet.read_off(SQUARES)
    count = 40_000
    drawn = words(1, 1, Purpose.VIEW, 3 * count, stream=Stream.DATA).reshape(-1, 3).numpy()
    points = modelnet.surface(mesh, drawn)
    flat, upright = points[:, 2] == 0, points[:, 1] == 0
    assert (flat | upright).all()
    inside = (points >= 0).all(1) & (points[:, 2] <= 5 + 1e-12)
    assert inside.all()
    # Of the triangle (0 0 0), (3 0 5), (0 0 5) a quarter of the area is below half the height.
    shares = {
        "flat": (flat.mean(), 1 / 8.5),
        "lower triangle": ((flat & (points[:, 1] < points[:, 0])).mean(), 0.5 / 8.5),
        "lower half": ((~flat & (points[:, 2] < 2.5)).mean(), 7.5 / 8.5 / 4),
    }
    width = np.sqrt(np.log(6e9) / (2 * count))
    for name, (measured, expected) in shares.items():
        assert abs(measured - expected) < width < 0.017, name


def test_clouds_are_drawn_anew_and_judged_by_the_same(tmp_path: Path):
    folder = write_shapes(tmp_path, {"train": 6, "test": 3})
    config = ModelNet(str(folder), points=20, batch=3, validation=4, turn=True, workers=0)
    data = opened(config)
    assert task(config) == ((20, 3), 2)
    first, again, later = (torch.cat([b.images for b in data.epoch(0, n)]) for n in (1, 1, 2))
    assert torch.equal(first, again)
    assert first.shape == later.shape == (8, 20, 3)
    assert not torch.equal(first.sort(0).values, later.sort(0).values)
    threaded = opened(ModelNet(str(folder), points=20, batch=3, validation=4, turn=True, workers=3))
    assert torch.equal(torch.cat([b.images for b in threaded.epoch(0, 1)]), first)
    assert first.norm(dim=2).amax(1).sub(1).abs().max() < 1e-6  # of float32
    assert first.mean(1).abs().max() < 1e-6
    judged = [torch.cat([part.images for part in data.test.split(size)]) for size in (2, 1000)]
    assert torch.equal(*judged)
    assert data.test.labels.tolist() == [0] * 3 + [1] * 3


def test_turning_keeps_heights_and_distances():
    points = np.random.default_rng(0).normal(size=(9, 3))
    quarter = modelnet.turned(points, 2**30)
    assert np.allclose(quarter, np.stack([-points[:, 1], points[:, 0], points[:, 2]], 1))
    assert np.array_equal(modelnet.turned(points, 0), points)


OFF = {
    "no header": (b"PLY\n3 1 0\n", "begins with OFF"),
    "a bomb": (b"OFF\n2000000000 2000000000 0\n", "3..10000000 vertices"),
    "no faces": (b"OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "1..10000000 faces"),
    "cut short": (SQUARES[:-20], "34 numbers|37 numbers"),
    "longer": (SQUARES + b"3 0 1 2\n", "4 triangles are 37 numbers, got 41"),
    "words": (SQUARES.replace(b"1 1 0", b"1 a 0"), "an OFF file has numbers"),
    "no counts": (b"OFF\n", "an OFF file has numbers"),
    "infinite": (SQUARES.replace(b"1 1 0", b"1 inf 0"), "a vertex is finite"),
    "a vertex that is not there": (SQUARES.replace(b"3 0 5 4", b"3 0 6 4"), "in 0..5, got"),
    "a vertex below 0": (SQUARES.replace(b"3 0 5 4", b"3 0 -1 4"), "in 0..5, got"),
    "a face of four": (SQUARES.replace(b"3 0 5 4", b"4 0 5 4"), "a face is 3 and three"),
    "no area": (b"OFF\n3 1 0\n1 1 1\n1 1 1\n1 1 1\n3 0 1 2\n", "a finite, positive area, got 0"),
    "area beyond numbers": (b"OFF\n3 1 0\n0 0 0\n1e300 0 0\n0 1e300 0\n3 0 1 2\n", "positive area"),
}


@pytest.mark.parametrize("which", OFF)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_shape_is_refused_by_name(which: str, tmp_path: Path):
    data, says = OFF[which]
    folder = write_shapes(tmp_path, {"train": 6, "test": 3})
    (folder / "tall/train/bad.off").write_bytes(data)
    with pytest.raises(InputError, match=says) as refused:
        list(opened(ModelNet(str(folder), batch=3, validation=1, points=2, workers=0)).epoch(0, 1))
    assert "bad.off" in str(refused.value)


# Text


def test_text_is_held_out_by_name_and_read_once(tmp_path: Path):
    names = [f"m{number}.py" for number in range(40)] + ["below/n.txt"]
    for number, name in enumerate([*names, "tests/t.py"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes([number]) * 50)
    data = opened(Text(folder=str(tmp_path), length=7, batch=4, held=0.2))
    parts = {text.part_of(name, 0.2) for name in names}
    assert parts == {"train", "validation", "test"}
    digest = int.from_bytes(hashlib.sha256(b"m3.py").digest()[:8], "big") / 2**64
    assert text.part_of("m3.py", digest) == "test"  # the share begins there
    expected = b"".join(
        bytes([number]) * 50
        for number, name in sorted(enumerate(names), key=lambda pair: pair[1])
        if text.part_of(name, 0.2) == "train"
    )
    for epoch in (1, 2, 3):
        found = list(data.epoch(0, epoch))
        assert {tuple(b.images.shape[1:]) for b in found} == {(7,)}
        windows = {one.numpy().tobytes(): None for b in found for one in b.images}
        first = (int(words(0, epoch, Purpose.WINDOW, 1, stream=Stream.DATA)) * 7) >> 32
        whole = torch.frombuffer(bytearray(expected), dtype=torch.uint8).long()
        count = (len(expected) - 1 - first) // 7
        assert sum(len(b.labels) for b in found) == count
        cut = whole[first : first + 7 * count].reshape(-1, 7)
        assert windows.keys() == {one.numpy().tobytes() for one in cut}
        for batch in found:
            assert torch.equal(batch.images[:, 1:], batch.labels[:, :-1])
    both = zip(*(data.epoch(0, 1, Place(rank, 2)) for rank in (0, 1)), strict=True)
    assert [torch.cat([a.labels, b.labels]).tolist() for a, b in both] == [
        batch.labels.tolist() for batch in data.epoch(0, 1)
    ]


def test_an_epoch_of_text_is_as_long_as_asked(tmp_path: Path):
    for number in range(40):
        (tmp_path / f"m{number}.py").write_bytes(bytes(range(number, number + 50)))
    whole = opened(Text(folder=str(tmp_path), length=7, batch=4))
    short = opened(Text(folder=str(tmp_path), length=7, batch=4, examples=30))
    starts = []
    for epoch in (1, 2):
        seen = torch.cat([batch.images for batch in short.epoch(0, epoch)])
        every = {tuple(row.tolist()) for batch in whole.epoch(0, epoch) for row in batch.images}
        assert len(seen) == 30 and {tuple(row.tolist()) for row in seen} <= every
        starts.append(seen[:, 0].tolist())
    assert starts[0] != starts[1]
    for wrong in (3, 300):
        with pytest.raises(InputError, match=f"from batch, 4, to the .* windows.*got {wrong}"):
            opened(Text(folder=str(tmp_path), length=7, batch=4, examples=wrong))


def test_pythons_own_library_is_a_text():
    data = opened(Text())
    assert task(Text()) == ((128,), 256)
    (first,) = (next(data.epoch(0, 1)) for _ in range(1))
    assert first.images.dtype == first.labels.dtype == torch.int64
    assert 0 <= int(first.images.min()) < int(first.images.max()) < 256
    assert sum(len(part.images) for part in data.validation.split(1000)) > 1000


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [("a.md", b"x" * 99, "without"), ("a.py", b"x", "has more than")],
)
def test_a_folder_without_text_is_refused(name: str, data: bytes, says: str, tmp_path: Path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=says):
        opened(Text(folder=str(tmp_path)))
