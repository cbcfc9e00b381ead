"""How a run shows that it advances: a bar on a terminal, else a line for each method and seed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Progress(Protocol):
    """Called with every record, and with a line when a method and seed is done."""

    def record(self, record: dict[str, Any]) -> None: ...

    def line(self, text: str) -> None: ...


class Lines:
    """A line when a method and seed is done."""

    def record(self, record: dict[str, Any]) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Print it on standard error."""
        print(text, file=sys.stderr, flush=True)


class Bar:
    """A tqdm bar over the epochs of all methods and seeds."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def record(self, record: dict[str, Any]) -> None:
        """One epoch more."""
        if record["epoch"]:
            name = f"{record['method']} seed {record['seed']}"
            self.bar.set_postfix_str(f"{name}, validation {record['validation_accuracy']:.3f}")
            self.bar.update()

    def line(self, text: str) -> None:
        """Print it above the bar."""
        self.bar.write(text, file=sys.stderr)


class Nothing(Lines):
    """Where another process shows it."""

    def line(self, text: str) -> None:
        """Nothing."""


@contextmanager
def progress(epochs: int, done: int, *, shown: bool = True) -> Iterator[Progress]:
    """A bar on a terminal, else lines; nothing if it is not shown."""
    if not shown:
        yield Nothing()
        return
    if not sys.stderr.isatty():
        yield Lines()
        return
    from tqdm import tqdm

    with tqdm(total=epochs, initial=done, unit="epoch", dynamic_ncols=True) as bar:
        yield Bar(bar)
