"""Compiled libraries: where they are looked for, and how they are opened.

Nothing is loaded on import. A package's libraries are looked for, in order, in $QTHEORY_LIB, in
every `_native` folder of the installed package, and in build/native of a checkout.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

Signatures: TypeAlias = Mapping[str, tuple[object, Sequence[object]]]
"""By the name of a function, the type of its result and those of its arguments."""


def folders(package: str) -> Iterator[Path]:
    """Where the libraries of a package are looked for, in order."""
    if "QTHEORY_LIB" in os.environ:
        yield Path(os.environ["QTHEORY_LIB"])
    spec = find_spec(package)
    for entry in (spec and spec.submodule_search_locations) or ():
        yield Path(entry) / "_native"
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "CMakeLists.txt").exists():
        yield checkout / "build" / "native"


def find(package: str, file: str) -> Path | None:
    """The first folder's file of that name, None if no folder has it."""
    return next((f / file for f in folders(package) if (f / file).is_file()), None)


def open_library(path: Path, signatures: Signatures) -> ctypes.CDLL:
    """Load one library and declare its functions.

    Raises OSError if the system can not load it, AttributeError if it lacks a function.
    """
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
