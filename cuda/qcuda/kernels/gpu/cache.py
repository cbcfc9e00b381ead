"""Compiled kernels in the user's cache: whole or absent, and made by one process of a machine.

The folder is $QTHEORY_CACHE, else $XDG_CACHE_HOME/qtheory, else ~/.cache/qtheory. A file is an
image and a hash of it behind its end, where loaders do not look: what is cut short or changed
counts as absent. Nothing here is an obstacle: a cache that can be neither found, locked nor
written is done without.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qcuda.files import write_atomically

VARIABLE = "QTHEORY_CACHE"
_HASH = 32  # bytes of SHA-256


def folder() -> Path | None:
    """Where compiled kernels are kept; None for a user who has no home."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "qtheory"
    try:
        return Path.home() / ".cache" / "qtheory"
    except RuntimeError:  # $HOME is not set, and the user has no entry in the password file
        return None


class Entry:
    """One file of the cache. Its path is None where there is no cache."""

    def __init__(self, name: str) -> None:
        place = folder()
        self.path = place / name if place else None

    def read(self) -> bytes | None:
        """The image; None if it is not there, or not as it was written."""
        try:
            data = self.path.read_bytes() if self.path else b""
        except OSError:
            return None
        image, seal = data[:-_HASH], data[-_HASH:]
        return image if image and hashlib.sha256(image).digest() == seal else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from making the same image, where files can be locked."""
        lock = self._lock()
        try:
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def _lock(self) -> int | None:
        if self.path is None:
            return None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(
                self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666
            )
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            os.close(lock)
            return None
        return lock

    def write(self, image: bytes) -> str:
        """Keep an image; returns what became of it, as the end of a sentence."""
        if self.path is None:
            return f"not kept: no ${VARIABLE}, $XDG_CACHE_HOME or home"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, image + hashlib.sha256(image).digest())
        except OSError as error:
            return f"not kept: {error}"
        return f"kept in {self.path.parent}"
