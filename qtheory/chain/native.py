"""The compiled loops of exact chains: found and loaded at the first use, never on import.

Looked through in order: $QTHEORY_LIB, the `_native` folder of the installed package, and
build/native of a checkout. Where there is no library the plain loops of NumPy serve; they are
slower, and `available` tells. A library that is there and does not fit is an error.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from numpy import ndarray

LIBRARY = "libqtheory_chain.so"

POINTER, INT64, INT32 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32

SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "qt_chain_birth_death_law": (INT32, [POINTER, POINTER, INT64, POINTER]),
    "qt_chain_birth_death_climb": (None, [POINTER, POINTER, INT64, POINTER]),
    "qt_chain_birth_death_count": (None, [POINTER, POINTER, INT64, POINTER, INT32, POINTER]),
    "qt_chain_birth_death_propagate": (
        None,
        [POINTER, POINTER, POINTER, INT64, POINTER, INT64, POINTER, POINTER],
    ),
    "qt_chain_banded_law": (
        INT64,
        [POINTER, POINTER, INT64, INT32, POINTER, POINTER],
    ),
    "qt_chain_banded_totals": (
        INT64,
        [POINTER, POINTER, INT64, INT32, POINTER, POINTER, POINTER, POINTER, POINTER],
    ),
}


def folders() -> Iterator[Path]:
    """Where the library is looked for, in order."""
    if "QTHEORY_LIB" in os.environ:
        yield Path(os.environ["QTHEORY_LIB"])
    import qtheory

    for entry in qtheory.__path__:
        yield Path(entry) / "_native"
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "CMakeLists.txt").exists():
        yield checkout / "build" / "native"


def available() -> bool:
    """Whether the compiled loops are there; the plain ones serve otherwise."""
    return library() is not None


@cache
def library() -> ctypes.CDLL | None:
    """The library with its functions declared, None where it was not built.

    Raises RuntimeError if there is one that can not be loaded or lacks a function.
    """
    path = next((f / LIBRARY for f in folders() if (f / LIBRARY).is_file()), None)
    if path is None:
        return None
    try:
        loaded = ctypes.CDLL(str(path))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise RuntimeError(
            f"{path} is not a chain library of this version, build it again: {error}"
        ) from error
    return loaded


def address(array: ndarray) -> int:
    """Where the numbers of a contiguous array begin. Raises ValueError if it is not contiguous."""
    if not array.flags.c_contiguous:
        raise ValueError(f"compiled loops take contiguous numbers, got strides {array.strides}")
    return array.ctypes.data
