"""The CPU library: it is found, chosen by the processor's level, loaded and tried at its first use.

Nothing is loaded on import. The folders looked through are, in order, $QTHEORY_LIB, every
`_native` folder of the installed package, and build/native of a checkout. If no library can
be loaded, the error names these folders: nothing falls back to a slower path.
"""

from __future__ import annotations

import ctypes
import json
import os
from functools import cache, partial
from pathlib import Path

import numpy as np

from qcuda.errors import BackendUnavailable
from qcuda.kernels import abi
from qtheory import native

LEVELS = {4: "v4", 3: "v3", 1: "v1", 0: "generic"}

_POINTER, _INT32, _INT64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
_UINT32, _UINT64 = ctypes.c_uint32, ctypes.c_uint64
SIGNATURES: native.Signatures = {
    "qt_step_all": (
        ctypes.c_int,
        [_POINTER, _POINTER, _INT64, _POINTER, _POINTER, _POINTER, _INT32],
    ),
    "qt_words": (
        None,
        [_UINT64, _UINT32, _UINT32, _UINT32, _INT64, _INT64, _POINTER, _INT32],
    ),
    "qt_thresholds": (ctypes.c_int, [_POINTER, _POINTER, _POINTER, _INT64, _POINTER]),
    "qt_decode": (
        ctypes.c_int,
        [_INT32, _POINTER, _INT32, _POINTER, _INT64, _POINTER, _INT32, _INT32],
    ),
    "qt_illegal": (_INT64, [_POINTER, _INT64]),
    "qt_pack": (None, [_POINTER, _INT64, _POINTER]),
    "qt_unpack": (None, [_POINTER, _INT64, _POINTER]),
    "qt_rule": (ctypes.c_char_p, [_INT32]),
    "qt_optimiser": (ctypes.c_char_p, [_INT32]),
    "qt_processor_level": (ctypes.c_int, []),
    "qt_share_threads": (None, [_POINTER]),
}


folders = partial(native.folders, "qcuda")
find = partial(native.find, "qcuda")


def _build_log() -> str:
    """What the build said about libraries that it did not make."""
    path = find("build.txt")
    return f"; the build said: {path.read_text().strip()}" if path else ""


def open_library(path: Path) -> ctypes.CDLL:
    """Load one library and declare its functions.

    Raises BackendUnavailable if the system can not load it, or it lacks a function.
    """
    try:
        return native.open_library(path, SIGNATURES)
    except (OSError, AttributeError) as error:
        raise BackendUnavailable(
            f"{path} is not a kernel library of this version: {error}"
        ) from error


@cache
def library() -> ctypes.CDLL:
    """The library for this processor, tried on its known answers.

    $QTHEORY_LEVEL (v1, v3, v4) picks another. Raises BackendUnavailable, saying why.
    """
    wanted = os.environ.get("QTHEORY_LEVEL")
    if wanted is None:
        base = find("libqtheory_v1.so") or find("libqtheory_generic.so")
        wanted = LEVELS[open_library(base).qt_processor_level()] if base else "v1"
    elif wanted not in LEVELS.values():
        raise BackendUnavailable(f"QTHEORY_LEVEL is one of v1, v3, v4, generic, got {wanted!r}")
    path = find(f"libqtheory_{wanted}.so")
    if path is None:
        looked = ", ".join(str(folder) for folder in folders())
        raise BackendUnavailable(
            f"the CPU kernels were not built: libqtheory_{wanted}.so is in none of {looked}. "
            "Install a C++ compiler and run `python3 bootstrap.py`, or `make kernels` in a checkout"
            + _build_log()
        )
    loaded = open_library(path)
    loaded.qt_share_threads(openmp_of_torch())
    self_test(loaded, path)
    return loaded


def openmp_of_torch() -> int | None:
    """Address of GOMP_parallel in the OpenMP runtime that torch has loaded, None without one.

    With two runtimes in a process each keeps spinning workers, so the mapped file is looked up
    instead of a name.
    """
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    mapped = {line.split()[-1] for line in maps.read_text().splitlines() if ".so" in line}
    for file in sorted(mapped):
        if Path(file).name.startswith(("libgomp", "libomp", "libiomp5")) and "torch" in file:
            return ctypes.cast(ctypes.CDLL(file).GOMP_parallel, ctypes.c_void_p).value
    return None


def self_test(library: ctypes.CDLL, path: Path) -> None:
    """Every rule with every optimiser on 64 weights, against the answers in known_answers.json.

    Raises BackendUnavailable if the library was built for other numbers or miscompiled: contracted
    multiply-adds and flushed denormals show here.
    """
    answers = json.loads((Path(__file__).parent / "known_answers.json").read_text())
    got = known_answers(library)
    wrong = sorted(name for name in answers if answers[name] != got.get(name))
    if wrong or len(answers) != len(got):
        names = ", ".join(wrong) or "the list itself"
        raise BackendUnavailable(f"{path} fails its self-test on {names}: build it again")


def known_answers(library: ctypes.CDLL) -> dict[str, str]:
    """For each rule, optimiser and storage: the codes after three steps, as hexadecimal."""
    words = np.zeros(64, np.uint32)
    library.qt_words(0x0123456789ABCDEF, 3, 5, 1, 7, 64, words.ctypes.data, 1)
    answers = {"words": words.tobytes().hex()}
    for storage in abi.Storage:
        for rule in abi.RULES:
            for optimiser in abi.OPTIMISERS:
                key = f"{rule} {optimiser} {storage.name.lower()}"
                answers[key] = _three_steps(library, rule, optimiser, storage)
    return answers


def _three_steps(library: ctypes.CDLL, rule: str, optimiser: str, storage: abi.Storage) -> str:
    count = 64
    spec = abi.spec(0.75, 1.0, 3, [3.0])
    launch = abi.launch(spec, seed=11, rule=rule, optimiser=optimiser, storage=storage)
    state = np.zeros(storage.bytes(count), np.uint8)
    moments = np.zeros((2, count), np.float32)
    moments[:, ::5] = 1e-40  # denormal
    counters = np.zeros(2, np.int64)
    scalars = np.array([0.7, 0.9, 0.1, 0.999, 0.001, 31.6, 1e-8], np.float32)
    for iteration in range(1, 4):
        gradient = ((np.arange(count) * 37 + iteration * 11) % 64 - 31).astype(np.float32) / 29
        row = abi.Tensor(
            state.ctypes.data, gradient.ctypes.data, moments[0].ctypes.data,
            moments[1].ctypes.data, count, 6, 2, 0,
        )  # fmt: skip
        now = np.array([iteration], np.int64)
        library.qt_step_all(
            ctypes.byref(launch), ctypes.byref(row), 1, scalars.ctypes.data,
            now.ctypes.data, counters.ctypes.data, 1,
        )  # fmt: skip
    return state.tobytes().hex() + moments.tobytes().hex()[:64] + counters.tobytes().hex()
