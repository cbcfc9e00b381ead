"""The compiled loops of exact chains: found (`qtheory.native`) and loaded at the first use.

Where there is no library the plain loops of NumPy serve; they are slower, and `available` tells.
A library that is there and does not fit is an error.
"""

from __future__ import annotations

import ctypes
from functools import cache

from numpy import ndarray

from qtheory import native

LIBRARY = "libqtheory_chain.so"

POINTER, DOUBLE = ctypes.c_void_p, ctypes.c_double
INT64, INT32 = ctypes.c_int64, ctypes.c_int32

SIGNATURES: native.Signatures = {
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
    "qt_chain_sparse_cost": (INT64, [INT64, POINTER, POINTER, DOUBLE, POINTER]),
    "qt_chain_sparse_law": (
        INT64,
        [INT64, POINTER, POINTER, POINTER, DOUBLE, POINTER, POINTER],
    ),
    "qt_chain_sparse_totals": (
        INT64,
        [INT64, POINTER, POINTER, POINTER, DOUBLE, POINTER, POINTER, POINTER, POINTER],
    ),
}


def available() -> bool:
    """Whether the compiled loops are there; the plain ones serve otherwise."""
    return library() is not None


@cache
def library() -> ctypes.CDLL | None:
    """The library with its functions declared, None where it was not built.

    Raises RuntimeError if there is one that can not be loaded or lacks a function.
    """
    path = native.find("qtheory", LIBRARY)
    if path is None:
        return None
    try:
        return native.open_library(path, SIGNATURES)
    except (OSError, AttributeError) as error:
        raise RuntimeError(
            f"{path} is not a chain library of this version, build it again: {error}"
        ) from error


def address(array: ndarray) -> int:
    """Where the numbers of a contiguous array begin. Raises ValueError if it is not contiguous."""
    if not array.flags.c_contiguous:
        raise ValueError(f"compiled loops take contiguous numbers, got strides {array.strides}")
    return array.ctypes.data
