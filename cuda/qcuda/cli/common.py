"""What the commands share: parsers, the table as JSON, and modules that may be missing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from qcuda.errors import InputError, require


def new_parser(description: str) -> ArgumentParser:
    """A parser that raises in place of leaving the process."""
    return ArgumentParser(exit_on_error=False, allow_abbrev=False, description=description)


def common(description: str) -> ArgumentParser:
    """A parser with the options that every command has."""
    parser = new_parser(description)
    parser.add_argument("--config", action="config", help="YAML file of options")
    parser.add_argument(
        "--json", type=str | None, default=None, help="write the table here as JSON"
    )
    return parser


def choices(words: Iterable[str]) -> str:
    """How the usage shows what an option can be; the command refuses the rest by its own rule."""
    return "{" + ",".join(words) + "}"


def function(module: str, name: str) -> Any:
    """A function of a module that may not be part of this installation."""
    try:
        return getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != module:
            raise
        raise InputError(
            f"a command needs its module, got an installation without {module}.{name}"
        ) from None


def check_writable(path: str | None) -> None:
    """Raise InputError unless a file can be written there; an existing one is left as it is."""
    if path is None:
        return
    folder = Path(path).absolute().parent
    require(
        folder.is_dir() and os.access(folder, os.W_OK) and not Path(path).is_dir(),
        f"--json names a file in a folder that can be written to, got {path}",
    )


def write_json(path: str | None, values: Any) -> None:
    """Write a final table, if a file was asked for."""
    if path is not None:
        Path(path).write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")
