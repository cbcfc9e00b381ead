"""Output that no terminal or file refuses: what an encoding lacks is written another way."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PLAIN = {"±": "+-", "–": "-", "²": "^2", "σ": "s"}


def _otherwise(error: UnicodeError) -> tuple[str | bytes, int]:
    """The characters that can not be written, in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    text = "".join(PLAIN.get(c, c.encode("ascii", "backslashreplace").decode()) for c in missing)
    return text, error.end


codecs.register_error("qtheory_plain", _otherwise)


@contextmanager
def any_encoding(*streams: TextIO) -> Iterator[None]:
    """Streams that write what their encoding lacks in ASCII; as they were, afterwards."""
    ours = [stream for stream in streams if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in ours]
    for stream in ours:
        stream.reconfigure(errors="qtheory_plain")
    try:
        yield
    finally:
        for stream, errors in zip(ours, before, strict=True):
            stream.reconfigure(errors=errors)
