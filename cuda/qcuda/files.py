"""Writing files so that a crash leaves either the whole file or none."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

TEMPORARY = ".tmp"  # ending of a file that is not yet whole


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside it, flush to the disk, and rename.

    A reader, and a program started after a crash, sees the old file or the new one. Who may read it
    is up to the umask.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
