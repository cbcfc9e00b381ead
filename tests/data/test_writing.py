"""`qtheory data shards`: the images of the source, resized, whatever stopped the call before."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.conftest import COUNTS, drawn, encoded, files, write

from qcuda.cli import main
from qcuda.data import writing
from qcuda.data.decoding import decoded
from qcuda.data.shards import indexed, part_of, read_index

SIZE = 39  # of the shorter side; one image has exactly that


def shards(source: Path, target: Path, *options: str) -> int:
    sizes = ["--size", str(SIZE), "--per-shard", "5"]
    return main(["data", "shards", str(source), str(target), *sizes, *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_hold_every_image_with_its_label(pictures: Path, shards_folder: Path):
    """In order of words; those that are no larger than asked are the bytes of their files."""
    found: dict[str, list[tuple[bytes, int]]] = {}
    for path in sorted(shards_folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            read = [tar.extractfile(name).read() for name in names]  # pyright: ignore
        assert [Path(name).stem for name in names[::2]] == [Path(n).stem for n in names[1::2]]
        pairs = zip(read[::2], map(int, read[1::2]), strict=True)
        found.setdefault(path.name[: path.name.index("-")], []).extend(pairs)
    classes, exact = read_index(shards_folder)["classes"], list[int]()
    for part, count in COUNTS.items():
        assert len(found[part]) == count * len(classes)
        expected = {
            data: classes.index(Path(path).parent.name)
            for path, data in files()
            if path.startswith(part) and min(decoded(data, 3).shape[:2]) <= SIZE
        }
        kept = {data: label for data, label in found[part] if data in expected}
        assert kept == expected and len(expected) > 2
        exact += [min(decoded(data, 3).shape[:2]) for data in expected]
        for data, _ in found[part]:
            assert min(decoded(data, 3).shape[:2]) <= SIZE
    assert max(exact) == SIZE


@pytest.fixture(scope="module")
def shards_folder(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    assert shards(pictures, folder) == 0
    return folder


def test_a_larger_image_is_made_smaller_in_proportion(tmp_path: Path):
    pixels = np.asarray(drawn(1))[:24, :24].repeat(10, 0).repeat(20, 1)  # 240 x 480
    for part in ("train/a", "train/b", "val/a"):
        (tmp_path / "in" / part).mkdir(parents=True)
        (tmp_path / "in" / part / "x.png").write_bytes(encoded(pixels, "PNG"))
    assert shards(tmp_path / "in", tmp_path / "out", "--size", "40") == 0
    index = read_index(tmp_path / "out")
    data = part_of(tmp_path / "out", "val", index).data(0)
    assert data[:3] == b"\xff\xd8\xff"
    smaller = decoded(data, 3)
    assert smaller.shape == (40, 80, 3)
    means = pixels.reshape(40, 6, 80, 6, 3).mean((1, 3))
    assert np.abs(smaller - means).mean() < 6 < means.std() / 6  # losses of JPEG at quality 90


def test_no_byte_depends_on_threads_or_on_being_stopped(
    pictures: Path, shards_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped at the 17th image: three shards are whole, which the next call keeps."""
    prepared, numbers = writing._prepared, itertools.count(1)

    def stopping(*arguments: Any, **options: Any) -> Any:
        if next(numbers) == 17:
            raise KeyboardInterrupt
        return prepared(*arguments, **options)

    target = tmp_path / "out"
    monkeypatch.setattr(writing, "_prepared", stopping)
    assert shards(pictures, target, "--workers", "3") == 130
    whole = sorted(target.glob("*.tar"))
    assert [path.name for path in whole] == [f"train-{n:06d}.tar" for n in range(3)]
    assert not (target / "index.json").exists()
    times = [path.stat().st_mtime_ns for path in whole]
    monkeypatch.setattr(writing, "_prepared", prepared)
    assert shards(pictures, target, "--workers", "0") == 0
    assert [path.stat().st_mtime_ns for path in whole] == times
    assert contents(target) == contents(shards_folder)


def test_a_target_with_something_else_is_refused(
    pictures: Path, shards_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.tex").write_text("x")
    assert shards(pictures, target) == 2
    assert "a folder of new shards is empty, got" in capsys.readouterr().err
    assert shards(pictures, shards_folder) == 2  # a finished one
    assert shards(pictures, target / "thesis.tex") == 2
    shutil.rmtree(target)
    target.mkdir()
    (target / "plan.json").write_text("{}")
    assert shards(pictures, target) == 2
    assert "goes on with its own options and files" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(contents(target)) == ["plan.json"]


@pytest.mark.parametrize("options", ["--size 0", "--per-shard 0", "--quality 101", "--workers -2"])
def test_a_number_out_of_range_is_refused(
    options: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flag, value = options.split()
    assert main(["data", "shards", str(pictures), str(tmp_path / "x"), flag, value]) == 2
    assert f"{flag[2:]} is in" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_damaged_image_stops_it_or_is_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source, target = write(tmp_path / "in"), tmp_path / "out"
    (source / "train/sand/04.png").write_bytes(b"x")
    assert shards(source, target) == 2
    assert "sand/04.png: an image is a whole" in capsys.readouterr().err.splitlines()[-1]
    shutil.rmtree(target)
    assert shards(source, target, "--skip", "--json", str(tmp_path / "t.json")) == 0
    assert "26 in train, 12 in val, 1 damaged left out" in capsys.readouterr().out
    assert json.loads((tmp_path / "t.json").read_text())["skipped"] == 1


def test_shards_of_another_program_get_an_index(tmp_path: Path):
    """Labels are those of the samples, whatever lies beside them; a shard has any number."""
    for part, labels in {"train": (2, 0, 1), "test": (1,)}.items():
        with tarfile.open(tmp_path / f"{part}-a1.tar", "w", format=tarfile.GNU_FORMAT) as tar:
            for number, label in enumerate(labels):
                for ending, data in (("json", b"{}"), ("JPG", encoded(drawn(number), "JPEG"))):
                    member = tarfile.TarInfo(f"./deep/{number}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                member = tarfile.TarInfo(f"./deep/{number}.cls")
                member.size = 1
                tar.addfile(member, io.BytesIO(b"%d" % label))
    made = indexed(tmp_path)
    assert made["classes"] == ["0", "1", "2"]
    part = part_of(tmp_path, "train", made)
    assert part.labels.tolist() == [2, 0, 1]
    assert part.data(1) == encoded(drawn(1), "JPEG")
    assert part.name(1).endswith("train-a1.tar: b'./deep/1.JPG'")
