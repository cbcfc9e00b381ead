"""Compiled kernels on disk: whole or absent, made once, and never an obstacle."""

from __future__ import annotations

import multiprocessing
import os
import pwd
from pathlib import Path

import pytest

from qcuda.files import write_atomically
from qcuda.kernels.gpu import cache

IMAGE = b"\x7fELF" + bytes(range(256))


@pytest.fixture
def entry(monkeypatch, tmp_path) -> cache.Entry:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return cache.Entry("image")


def test_what_was_written_is_read(entry, tmp_path):
    assert entry.read() is None
    assert entry.write(IMAGE) == f"kept in {tmp_path / 'cache'}"
    assert entry.read() == IMAGE
    assert entry.path.read_bytes().startswith(IMAGE)  # as an ELF file, with bytes behind its end


@pytest.mark.parametrize("kept", [0, 1, 31, 32, 100, 260, 291])
def test_a_file_that_was_cut_short_is_absent(entry, kept):
    entry.write(IMAGE)
    entry.path.write_bytes(entry.path.read_bytes()[:kept])
    assert entry.read() is None


def test_a_file_with_a_wrong_byte_is_absent(entry):
    entry.write(IMAGE)
    for place in (0, 100, 259, 260, 291):
        data = bytearray(IMAGE)
        entry.write(IMAGE)
        data = bytearray(entry.path.read_bytes())
        data[place] ^= 1
        entry.path.write_bytes(data)
        assert entry.read() is None


def test_a_cache_that_cannot_be_written_is_no_obstacle(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "cache"))
    entry = cache.Entry("image")
    with entry.locked():
        assert entry.read() is None
        assert entry.write(IMAGE).startswith("not kept: [Errno 20]")


def test_a_cache_that_can_only_be_read_is_read(entry, monkeypatch):
    entry.write(IMAGE)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # a superuser may write wherever it pleases
    monkeypatch.setattr(Path, "mkdir", refuse)
    with entry.locked():
        assert entry.read() == IMAGE
        assert entry.write(IMAGE) == "not kept: [Errno 13] Permission denied"


def test_places_in_order(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert cache.folder() == Path("/a")
    monkeypatch.delenv(cache.VARIABLE)
    assert cache.folder() == Path("/b/qtheory")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path("/c/.cache/qtheory")


def test_a_user_without_home_and_entry_has_no_cache(monkeypatch):
    for name in (cache.VARIABLE, "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    entry = cache.Entry("image")
    with entry.locked():
        assert entry.path is None and entry.read() is None
        assert entry.write(IMAGE) == "not kept: no $QTHEORY_CACHE, $XDG_CACHE_HOME or home"


def _make_if_missing(folder: str, log: str) -> None:
    os.environ[cache.VARIABLE] = folder
    entry = cache.Entry("image")
    with entry.locked():
        if entry.read() is None:
            with Path(log).open("a") as file:
                file.write("made\n")
            multiprocessing.Event().wait(0.2)  # others arrive meanwhile
            entry.write(IMAGE)


def test_processes_of_a_machine_make_an_image_once(tmp_path):
    context, log = multiprocessing.get_context("fork"), tmp_path / "log"
    arguments = (str(tmp_path / "cache"), str(log))
    processes = [context.Process(target=_make_if_missing, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert log.read_text() == "made\n"


def test_a_write_is_whole_or_nothing(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(path, b"three")
    assert list(path.parent.iterdir()) == [path]
