"""`qtheory data get`, from a server of this machine and from folders: whole files or none."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from qcuda.cli import main
from qcuda.cli.data import SETS as NAMES
from qcuda.data import fetching
from qcuda.data.fetching import SETS, File, Set

PLAIN = b"many images" * 1000
INSIDE = {"batches/one.bin": b"1" * 700, "batches/two.bin": b"2" * 70}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


def archive(**more: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, data in {**INSIDE, **more}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a server shows below /good/, and two sets that lie there."""
    folder = tmp_path / "mirror"
    (folder / "good").mkdir(parents=True)
    packed = archive(**{"../out": b"x"})
    (folder / "good/plain.gz").write_bytes(gzip.compress(PLAIN))
    (folder / "good/all.tar.gz").write_bytes(packed)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    top = f"http://127.0.0.1:{server.server_address[1]}"
    mirrors = (f"{top}/gone/", f"{top}/good/")
    plain = File("plain.gz", hashlib.sha256(PLAIN).hexdigest())
    batches = File("all.tar.gz", hashlib.sha256(packed).hexdigest(), tuple(INSIDE))
    monkeypatch.setitem(SETS, "mnist", Set(mirrors, (plain,)))
    monkeypatch.setitem(SETS, "cifar10", Set(mirrors, (batches,)))
    yield folder / "good"
    server.shutdown()
    server.server_close()


def get(name: str, target: Path, *options: str) -> int:
    return main(["data", "get", name, "--to", str(target), *options])


def test_files_come_from_the_first_mirror_that_has_them_whole(mirror: Path, tmp_path: Path):
    target, table = tmp_path / "new/mnist", tmp_path / "table.json"
    assert get("mnist", target, "--json", str(table)) == 0
    assert [path.name for path in target.iterdir()] == ["plain"]
    assert (target / "plain").read_bytes() == PLAIN
    assert json.loads(table.read_text()) == {"files": [str(target / "plain")]}
    for path in mirror.iterdir():
        path.unlink()
    assert get("mnist", target) == 0  # they are there


def test_of_an_archive_only_its_own_files_are_taken(mirror: Path, tmp_path: Path):
    target = tmp_path / "a/cifar10"
    assert get("cifar10", target) == 0
    found = {path.name: path.read_bytes() for path in target.iterdir()}
    assert found == {Path(name).name: data for name, data in INSIDE.items()}
    assert not (tmp_path / "a/out").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_takes_the_place_of_mirrors(packed: bool, mirror: Path, tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    name, data = ("plain.gz", gzip.compress(PLAIN)) if packed else ("plain", PLAIN)
    (source / name).write_bytes(data)
    (mirror / "plain.gz").unlink()
    assert get("mnist", tmp_path / "mnist", "--from", str(source)) == 0
    assert (tmp_path / "mnist/plain").read_bytes() == PLAIN


DAMAGED = {
    "altered": (gzip.compress(PLAIN[:-1] + b"x"), "its SHA-256 is"),
    "no gzip": (b"<html>", "its SHA-256 is"),
    "cut": (gzip.compress(PLAIN)[:-30], "its SHA-256 is"),
    "no gzip inside": (b"\x1f\x8b" + bytes(99), "a .gz file is whole"),
    "a bomb": (gzip.compress(bytes(2_000_000)), "its SHA-256 is"),
    "too long": (bytes(1_000_001), "a file has at most 1000000 bytes"),
    "gone": (None, "HTTP Error 404"),
}


@pytest.mark.parametrize("which", DAMAGED)
def test_what_is_damaged_is_not_kept(
    which: str,
    mirror: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    data, says = DAMAGED[which]
    monkeypatch.setattr(fetching, "LARGEST", 1_000_000)
    (mirror / "plain.gz").unlink()
    if data is not None:
        (mirror / "plain.gz").write_bytes(data)
    assert get("mnist", tmp_path / "mnist") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "plain.gz is whole in one of its places" in line
    assert says in line and "/good/plain.gz: " in line
    assert list((tmp_path / "mnist").iterdir()) == []


def test_a_set_that_is_not_known_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert get("imagenet", tmp_path / "x") == 2
    assert f"one of {', '.join(NAMES)}, got 'imagenet'" in capsys.readouterr().err
    assert list(SETS) == list(NAMES)
