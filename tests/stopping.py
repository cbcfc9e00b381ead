"""A job of training that ends in the middle, as a process does that is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from qcuda.train import folder as kept


class Stop(Exception):
    """The process ends here."""


@contextmanager
def stopped_after(writes: int) -> Iterator[None]:
    """The job within ends when it has written so many checkpoints, and has to write them."""
    save, written = kept.save_checkpoint, count(1)

    def counted(path: Path, values: dict[str, Any]) -> None:
        save(path, values)
        if next(written) == writes:
            raise Stop

    with mock.patch.object(kept, "save_checkpoint", counted), pytest.raises(Stop):
        yield
