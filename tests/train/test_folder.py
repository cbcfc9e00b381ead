"""The run folder: atomic files, checkpoints that know when they were altered, one process."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from qcuda.cli import main
from qcuda.errors import InputError
from qcuda.files import write_atomically
from qcuda.train import folder as kept


@pytest.fixture
def broken(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run whose results are to be made again."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / kept.RESULTS).unlink()
    return run


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGE = {
    "cut": (cut, "SHA-256"),
    "a bit flipped": (flipped, "SHA-256"),
    "longer": (lambda data: data + b"\0", "SHA-256"),
    "empty": (lambda data: b"", "begins with"),
    "another file": (lambda data: b"PK" + data, "begins with"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("command", ["audit", "train"])
def test_a_damaged_checkpoint_is_named_and_left(
    command: str,
    damage: str,
    broken: Path,
    run_quickly: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
):
    path = kept.checkpoint_path(broken, "dst", 0)
    change, rule = DAMAGE[damage]
    path.write_bytes(change(path.read_bytes()))
    before = {p: p.read_bytes() for p in broken.rglob("*") if p.is_file()}
    status = main(["audit", str(path)]) if command == "audit" else run_quickly(broken)
    assert status == 2
    message = one_line(capsys)
    assert str(path) in message
    assert rule in message
    assert {p: p.read_bytes() for p in broken.rglob("*") if p.is_file()} == before


class Trap:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("trap",)


def test_a_pickle_from_outside_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A checkpoint with the right sum may still be hostile: only tensors and values are built."""
    monkeypatch.chdir(tmp_path)
    torch.save({"config": Trap(), "method": "dst", "seed": 0}, "payload")
    payload = Path("payload").read_bytes()
    Path("x.ckpt").write_bytes(kept.MAGIC + sha256(payload).digest() + payload)
    with pytest.raises(InputError, match=r"x\.ckpt: a checkpoint holds tensors and plain values"):
        kept.load_checkpoint(Path("x.ckpt"))
    plain = pickle.dumps({"config": 1}, protocol=2)
    Path("x.ckpt").write_bytes(kept.MAGIC + sha256(plain).digest() + plain)
    with pytest.raises(InputError, match=r"x\.ckpt: a checkpoint holds tensors and plain values"):
        kept.load_checkpoint(Path("x.ckpt"))
    assert not Path("trap").exists()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda v: v.pop("best"), "has the parts"),
        (lambda v: v.update(method="full"), "fits its own config"),
        (lambda v: v["config"]["run"].update(epochs=3), "run.epochs is 4, got 3"),
        (lambda v: v["config"]["model"].update(colour=3), "colour"),
        (lambda v: v.update(seed=7), "of a method and seed of its config, got 'dst', 7"),
        (lambda v: v["model"].pop("linear3.state"), "linear3.state"),
        (lambda v: v["model"]["linear3.state"].fill_(0b10), "got 40 of 160 with the code 10"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    change: Callable[[dict], object],
    rule: str,
    broken: Path,
    run_quickly: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
):
    path = kept.checkpoint_path(broken, "dst", 0)
    values = kept.load_checkpoint(path)
    change(values)
    kept.save_checkpoint(path, values)
    assert run_quickly(broken) == 2
    message = one_line(capsys)
    assert str(path) in message
    assert rule in message


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_one_process_at_a_time(
    broken: Path, run_quickly: Callable[..., int], capsys: pytest.CaptureFixture[str]
):
    with open(broken / kept.LOCK, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run_quickly(broken) == 2
    assert "one process at a time" in one_line(capsys)
    assert run_quickly(broken) == 0
