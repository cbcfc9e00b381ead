"""Files that are damaged or mean harm are refused in one sentence that names them."""

from __future__ import annotations

import io
import json
import shutil
import struct
import tarfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from data.conftest import drawn, encoded

from qcuda.cli import main
from qcuda.data.config import Images, Shards
from qcuda.data.decoding import decoded
from qcuda.data.shards import indexed
from qcuda.data.source import opened
from qcuda.errors import InputError

WHOLE = encoded(drawn(7), "JPEG")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, depth: int = 8) -> bytes:
    """A PNG file with no more pixels than its header needs."""
    header = struct.pack(">2I5B", width, height, depth, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def larger(jpeg: bytes) -> bytes:
    """The same file with 60000 x 60000 pixels in its frame header."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">2H", 60000, 60000) + jpeg[place + 4 :]


def holed(jpeg: bytes) -> bytes:
    middle = len(jpeg) * 2 // 3
    return jpeg[:middle] + bytes(60) + jpeg[middle + 60 :]


IMAGES = {
    "empty": (b"", "1..268435456 bytes, got 0"),
    "text": (b"<html>not found</html>", "a whole JPEG, PNG, WebP or BMP"),
    "cut JPEG": (WHOLE[:-60], "Premature end"),
    "JPEG without an end": (WHOLE[:-2], "Premature end"),
    "JPEG with a hole": (holed(WHOLE), "Corrupt JPEG data"),
    "half a header": (WHOLE[:30], "the header of a JPEG image is whole"),
    "JPEG bomb": (larger(WHOLE), "got 60000 x 60000 in its header"),
    "PNG bomb": (png_of(12000, 9000), "got 12000 x 9000 in its header"),
    "large PNG bomb": (png_of(2**31 - 1, 2**31 - 1), "whole JPEG, PNG"),
    "cut PNG": (encoded(drawn(3), "PNG")[:-300], "whole JPEG, PNG"),
    "PNG of 16 bits": (encoded(np.zeros((30, 30), np.uint16), "PNG"), "8 bits a channel, got"),
    "GIF": (encoded(drawn(3), "GIF"), "whole JPEG, PNG"),
}


@pytest.mark.parametrize("which", IMAGES)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_is_refused_by_name_or_left_out(which: str, pictures: Path, tmp_path: Path):
    data, says = IMAGES[which]
    folder = tmp_path / "set"
    shutil.copytree(pictures, folder)
    bad = folder / "train/moss/bad.png"
    bad.write_bytes(data)
    values = {"folder": str(folder), "batch": 5, "validation": 3, "size": 8, "workers": 1}
    with pytest.raises(InputError) as refused:
        list(opened(Images(**values)).epoch(0, 4))
    assert str(bad) in str(refused.value)
    assert says in str(refused.value)
    with pytest.warns(UserWarning, match="1 examples of epoch 4 were skipped, .*bad.png"):
        seen = list(opened(Images(**values, skip=True)).epoch(0, 4))
    assert [len(batch.labels) for batch in seen] == [5] * 5
    twice = [batch for batch in seen if len(batch.images.flatten(1).unique(dim=0)) == 4]
    assert len(twice) == 1  # where another stands in its place


def test_what_is_whole_is_taken_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("JPEG", "PNG", "WEBP", "BMP"):
            found = decoded(encoded(drawn(7), kind), 3)
            assert found.shape == drawn(7).shape
            assert np.abs(found.astype(int) - drawn(7)).mean() < 8  # losses of JPEG
        assert np.array_equal(decoded(encoded(drawn(7), "PNG"), 3), drawn(7))
        assert decoded(WHOLE, 1).shape == (*drawn(7).shape[:2], 1)


# Folders


def spoiled(folder: Path, which: str) -> str:
    """Spoil a folder of images; what the error says."""
    moss = folder / "train/moss"
    match which:
        case "another type":
            (moss / "notes.txt").write_text("x")
            return "notes.txt: an image's name ends with"
        case "a class that is not trained":
            shutil.move(folder / "val/moss", folder / "val/rust")
            return "val/rust: a class of val is one of train"
        case "a file among classes":
            (folder / "train/a.png").write_bytes(WHOLE)
            return "a.png: a class has a folder"
        case "a link that leads out":
            (moss / "x.png").symlink_to("/etc/passwd")
            return "x.png: a link stays in its data set"
        case "one class":
            for name in ("moss", "sand"):
                shutil.rmtree(folder / "train" / name)
            return "two classes or more, got 1"
        case "nothing to test":
            shutil.rmtree(folder / "val")
            return "has the part train, and val or test or both"
        case "no images":
            for path in (folder / "val").rglob("*.*"):
                path.unlink()
            return "val: a part has images, got none"
    raise AssertionError(which)


@pytest.mark.parametrize(
    "which",
    [
        "another type", "a class that is not trained", "a file among classes",
        "a link that leads out", "one class", "nothing to test", "no images",
    ],
)  # fmt: skip
def test_a_folder_is_refused_by_name(which: str, pictures: Path, tmp_path: Path):
    folder = tmp_path / "set"
    shutil.copytree(pictures, folder)
    says = spoiled(folder, which)
    with pytest.raises(InputError) as refused:
        opened(Images(folder=str(folder), batch=5, validation=3))
    assert says in str(refused.value)
    assert str(folder) in str(refused.value)


# Shards


def member(name: str, data: bytes = WHOLE, kind: bytes = tarfile.REGTYPE, link: str = ""):
    """A member of a tar file, with its data."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


def pair(key: str, label: bytes = b"0") -> list[tuple[tarfile.TarInfo, bytes]]:
    return [member(f"{key}.jpg"), member(f"{key}.cls", label)]


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT):
    with tarfile.open(path, "w", format=form) as file:
        for info, data in members:
            file.addfile(info, io.BytesIO(data))


LINK = {"kind": tarfile.SYMTYPE, "data": b"", "link": "/etc/passwd"}
MEMBERS = {
    "path traversal": ([*pair("../../a")], "'../../a.jpg'"),
    "traversal inside a name": ([*pair("a/../../b")], "'a/../../b.jpg'"),
    "an absolute name": ([*pair("/tmp/a")], "'/tmp/a.jpg'"),
    "a backslash": ([*pair("..\\a")], "stays in its folder"),
    "a control character": ([*pair("a\x1b[2J")], "stays in its folder"),
    "a symbolic link": ([member("a.jpg", **LINK), member("a.cls", b"0")], "a.jpg: a member is"),
    "a hard link": ([member("b.jpg", **{**LINK, "kind": tarfile.LNKTYPE})], "b.jpg: a member is"),
    "a device": ([member("c.jpg", b"", tarfile.CHRTYPE)], "c.jpg: a member is a regular file"),
    "a name twice": ([*pair("a"), *pair("a")], "got a.jpg twice"),
    "a sample in two places": ([*pair("a"), *pair("b"), member("a.png")], "a.png: a sample is in"),
    "no label": ([member("a.jpg"), *pair("b")], "a.jpg: a sample has an image and a .cls"),
    "no image": ([member("a.cls", b"0"), *pair("b")], "got 0 and 1"),
    "two images": ([*pair("a"), member("a.png")], "got 2 and 1"),
    "a label in words": ([*pair("a", b"cat")], "a label is in 0..999999, got b'cat'"),
    "a label below 0": ([*pair("a", b"-1")], "a label is in 0..999999, got b'-1'"),
    "a label too large": ([*pair("a", b"99999999")], "a label is in 0..999999"),
    "an empty image": ([member("a.jpg", b""), member("a.cls", b"0")], "1..268435456 bytes, got 0"),
}  # fmt: skip


@pytest.mark.parametrize("which", MEMBERS)
def test_a_shard_is_refused_by_name(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    members, says = MEMBERS[which]
    tar(tmp_path / "train-0.tar", *members)
    tar(tmp_path / "val-0.tar", *pair("a"))
    assert main(["data", "index", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert str(tmp_path / "train-0.tar") in line
    assert not (tmp_path / "index.json").exists()


def altered(data: bytearray, which: str) -> tuple[bytes, str]:
    """A tar file that is damaged, and what the error says."""
    match which:
        case "cut in a header":
            return bytes(data[:300]), "ends with an empty block"
        case "cut in an image":
            return bytes(data[:700]), "a member lies in its file"
        case "no end":
            return bytes(data[:2560]), "ends with an empty block"
        case "another checksum":
            data[100] ^= 1
            return bytes(data), "a header has its checksum"
        case "a size that is no number":
            data[124:136] = b"\x80" + bytes(10) + b"\x01"
            return bytes(data), "begins with a ustar header"
        case "no magic":
            data[257:262] = b"gnats"
            return bytes(data), "begins with a ustar header"
        case "empty":
            return b"", "empty file"
    raise AssertionError(which)


@pytest.mark.parametrize(
    "which",
    [
        "cut in a header", "cut in an image", "no end", "another checksum",
        "a size that is no number", "no magic", "empty",
    ],
)  # fmt: skip
def test_a_damaged_tar_file_is_refused_by_name(which: str, tmp_path: Path):
    tar(tmp_path / "train-0.tar", member("a.cls", b"0"), member("a.jpg", WHOLE[:900]))
    data, says = altered(bytearray((tmp_path / "train-0.tar").read_bytes()), which)
    (tmp_path / "train-0.tar").write_bytes(data)
    tar(tmp_path / "val-0.tar", *pair("a"))
    with pytest.raises(InputError, match=says) as refused:
        indexed(tmp_path)
    assert "train-0.tar" in str(refused.value)


def test_extended_headers_may_say_times_and_nothing_else(tmp_path: Path):
    """As WebDataset's writer makes them, whose times are no whole seconds."""
    timed = pair("a") + pair("b", b"1")
    for info, _ in timed:
        info.mtime = 1.5  # pyright: ignore[reportAttributeAccessIssue]
    tar(tmp_path / "train-0.tar", *timed, form=tarfile.PAX_FORMAT)
    tar(tmp_path / "val-0.tar", *timed, form=tarfile.PAX_FORMAT)
    assert indexed(tmp_path)["parts"]["train"]["samples"] == 2
    tar(tmp_path / "val-0.tar", *pair("x" * 120), form=tarfile.PAX_FORMAT)
    with pytest.raises(InputError, match=r"val-0.tar: .*says times alone, got \['path='\]"):
        indexed(tmp_path)


def unfit(folder: Path, which: str) -> tuple[str, str]:
    """Make index and shards disagree; the file that is named, and what is said of it."""
    first, rows = folder / "train-000000.tar", folder / "train.index"
    said = json.loads((folder / "index.json").read_text())
    match which:
        case "no index":
            (folder / "index.json").unlink()
            return str(folder), "has an index.json"
        case "no table":
            (folder / "index.json").write_text("[]")
            return "index.json", "a table of its form"
        case "a shard elsewhere":
            said["parts"]["train"]["shards"][0][0] = "../train-000000.tar"
        case "another format":
            said["format"] = "other"
        case "fewer classes":
            said["classes"] = said["classes"][:2]
        case "a shard is gone":
            first.unlink()
            return first.name, "got None bytes"
        case "a shard is longer":
            first.write_bytes(first.read_bytes() + bytes(512))
            return first.name, "an index fits its shards"
        case "rows are altered":
            rows.write_bytes(rows.read_bytes()[:-1] + b"\x01")
            return rows.name, "has its SHA-256"
        case "rows are gone":
            rows.unlink()
            return rows.name, "an index can be read"
    (folder / "index.json").write_text(json.dumps(said))
    if which == "fewer classes":
        return rows.name, "labels of known"
    return "index.json", "has the format"


@pytest.mark.parametrize(
    "which",
    [
        "no index", "no table", "a shard elsewhere", "another format", "fewer classes",
        "a shard is gone", "a shard is longer", "rows are altered", "rows are gone",
    ],
)  # fmt: skip
def test_an_index_that_does_not_fit_is_refused_by_name(which: str, shards: Path, tmp_path: Path):
    folder = tmp_path / "shards"
    shutil.copytree(shards, folder)
    name, says = unfit(folder, which)
    with pytest.raises(InputError, match=says) as refused:
        opened(Shards(folder=str(folder), batch=5, validation=3))
    assert name in str(refused.value)


def test_a_shard_that_took_the_place_of_another_is_found_when_it_is_read(
    shards: Path, tmp_path: Path
):
    """It is as long, so that only the headers before its images tell."""
    folder = tmp_path / "shards"
    shutil.copytree(shards, folder)
    first = folder / "train-000000.tar"
    first.write_bytes(bytes(512) + first.read_bytes()[:-512])
    data = opened(Shards(folder=str(folder), batch=5, validation=3, workers=0))
    with pytest.raises(InputError, match=r"train-000000.tar: .*begins with a ustar header"):
        list(data.epoch(0, 1))
