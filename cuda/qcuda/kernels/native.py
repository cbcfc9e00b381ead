"""The CPU library: it is found, chosen by the processor's level, loaded and tried at its first use.

Nothing is loaded on import. The folders looked through are, in order, $QTHEORY_LIB, every
`_native` folder of the installed package, and build/native of a checkout. If no library can
be loaded, the error names these folders: nothing falls back to a slower path.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from functools import cache, partial
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qcuda.errors import BackendUnavailable, require
from qcuda.kernels import abi, source
from qtheory import native

if TYPE_CHECKING:  # a bare machine, which compares kernels, has no jaxtyping
    from qtheory.algorithms import Spec
    from qtheory.arrays import Outcomes

LEVELS = {4: "v4", 3: "v3", 1: "v1", 0: "generic"}

_POINTER, _INT32, _INT64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
_UINT32, _UINT64 = ctypes.c_uint32, ctypes.c_uint64
SIGNATURES: native.Signatures = {
    "qt_step_all": (
        ctypes.c_int,
        [_POINTER, _POINTER, _INT64, _POINTER, _POINTER, _POINTER, _INT32],
    ),
    "qt_scalars": (ctypes.c_int, [_INT32, _POINTER, _POINTER, _POINTER, _POINTER]),
    "qt_words": (
        None,
        [_UINT64, _POINTER, _UINT32, _UINT32, _INT64, _INT64, _POINTER, _INT32],
    ),
    "qt_destinations": (ctypes.c_int, [_POINTER]),
    "qt_outcomes": (
        ctypes.c_int,
        [_POINTER, _POINTER, _POINTER, _INT64, _POINTER, _POINTER],
    ),
    "qt_decode": (
        ctypes.c_int,
        [
            _INT32,
            *[_POINTER] * 2,
            _INT32,
            _POINTER,
            _INT64,
            _POINTER,
            _INT32,
            *[_INT64] * 2,
            _INT32,
        ],
    ),
    "qt_stored": (
        ctypes.c_int,
        [_POINTER, _INT64, _INT32, _INT64, _INT64, _POINTER, _INT32],
    ),
    "qt_stair": (
        ctypes.c_int,
        [_POINTER, _POINTER, _INT32, _INT32, _POINTER, _INT64, _POINTER, _POINTER, _INT32],
    ),
    "qt_stair_slope": (
        ctypes.c_int,
        [_POINTER, _POINTER, _INT32, _INT32, _POINTER, _POINTER, _INT64, _POINTER, _INT32],
    ),
    "qt_reading": (
        ctypes.c_int,
        [
            *(_POINTER, _INT32, _POINTER, _INT64, _INT64),
            *[_POINTER] * 4,
            *(_UINT64, _UINT32, _POINTER, _POINTER, _INT32),
        ],
    ),
    "qt_held": (
        ctypes.c_int,
        [_INT32, *(_POINTER,) * 2, *(_INT64,) * 2, *(_POINTER,) * 2, _INT32, _POINTER, _INT32],
    ),
    "qt_reading_slope": (
        ctypes.c_int,
        [_POINTER, _INT32, *[_POINTER] * 2, _INT64, _INT64, *[_POINTER] * 5, _INT32],
    ),
    "qt_batch_measure": (ctypes.c_int, [*(_POINTER,) * 5, _INT32]),
    "qt_batch_stair": (ctypes.c_int, [*(_POINTER,) * 6, _INT32]),
    "qt_batch_stair_back": (
        ctypes.c_int,
        [*(_POINTER,) * 7, _INT32, *(_POINTER,) * 3, _INT32],
    ),
    "qt_squares": (ctypes.c_int, [_POINTER, _INT64, _INT32, _POINTER, _INT32]),
    "qt_illegal": (_INT64, [_POINTER, _INT64]),
    "qt_pack": (ctypes.c_int, [_INT32, _POINTER, _INT64, _POINTER]),
    "qt_trits": (ctypes.c_int, [_INT32, _POINTER, _INT64, _POINTER, _INT32]),
    "qt_unpack": (ctypes.c_int, [_INT32, _POINTER, _INT64, _POINTER]),
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

    With two runtimes in a process each keeps spinning workers, so the system is asked among the
    libraries that torch itself is linked to, wherever they lie and whatever else is loaded.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    linked = ctypes.CDLL(torch._C.__file__)
    if not hasattr(linked, "GOMP_parallel"):
        return None
    return ctypes.cast(linked.GOMP_parallel, ctypes.c_void_p).value


def self_test(library: ctypes.CDLL, path: Path) -> None:
    """The random words, and every rule that has known answers, with every optimiser.

    Raises BackendUnavailable if the library was built from other headers, for other numbers, or
    miscompiled: contracted multiply-adds and flushed denormals show here.
    """
    rules, built = source.stems(), _built_rules(library)
    if rules != built:
        raise BackendUnavailable(
            f"{path} has the rules of the headers, {', '.join(rules)}, got {', '.join(built)}: "
            "build it again"
        )
    wrong = [] if _words(library) == read_answers("words") else ["words"]
    wrong += [
        f"{rule} {key}"
        for rule in rules
        if answers_file(rule).is_file()
        for key, answer in known_answers(library, rule).items()
        if read_answers(rule).get(key) != answer
    ]
    if wrong:
        raise BackendUnavailable(
            f"{path} fails its self-test on {', '.join(wrong)}: build it again"
        )


@cache
def check_rule(name: str) -> None:
    """Raise BackendUnavailable unless the kernel of a name was tried on known answers.

    A name without them is refused, and no other.
    """
    if not answers_file(name).is_file():
        raise BackendUnavailable(
            f"a kernel is used after a test on known answers, got none for {name}: "
            f"`python3 -m qcuda.kernels.native {name}` writes {answers_file(name)}"
        )


def _built_rules(library: ctypes.CDLL) -> tuple[str, ...]:
    """The library's own list: the name of each number, up to the first that has none."""
    names = map(library.qt_rule, count())
    return tuple(name.decode() for name in takewhile(bool, names))


def answers_file(name: str) -> Path:
    """Where the known answers of a stem, or of the random words, are kept."""
    return Path(__file__).parent / "known_answers" / f"{name}.json"


def read_answers(name: str) -> dict[str, str]:
    """Known answers, by what was asked."""
    return json.loads(answers_file(name).read_text())


def _words(library: ctypes.CDLL) -> dict[str, str]:
    words, iteration = np.zeros(64, np.uint32), np.array([3], np.int64)
    library.qt_words(0x0123456789ABCDEF, iteration.ctypes.data, 5, 1, 7, 64, words.ctypes.data, 1)
    return {"words": words.tobytes().hex()}


def known_answers(library: ctypes.CDLL, rule: str) -> dict[str, str]:
    """For each optimiser and storage: the codes after three steps, as hexadecimal."""
    return {
        f"{optimiser} {storage.name.lower()}": _three_steps(library, rule, optimiser, storage)
        for storage in (abi.Storage.INT8, abi.Storage.TRITS)
        for optimiser in abi.OPTIMISERS
    }


def _three_steps(library: ctypes.CDLL, rule: str, optimiser: str, storage: abi.Storage) -> str:
    """64 weights on three levels 0.75 apart, under the default spec of the rule."""
    from qtheory.algorithms import spec_class
    from qtheory.lattice import Lattice

    weights = 64
    launch = launch_of(
        spec_class(rule)(Lattice(3, 0.75, -0.75)), seed=11, optimiser=optimiser, storage=storage
    )
    state = np.zeros(storage.bytes(weights), np.uint8)
    moments = np.zeros((2, weights), np.float32)
    moments[:, ::5] = 1e-40  # denormal
    counters = np.zeros(2, np.int64)
    scalars = np.array([0.7, 0.9, 0.1, 0.999, 0.001, 31.6, 1e-8], np.float32)
    for iteration in range(1, 4):
        gradient = ((np.arange(weights) * 37 + iteration * 11) % 64 - 31).astype(np.float32) / 29
        row = abi.Tensor(
            state.ctypes.data, gradient.ctypes.data, moments[0].ctypes.data,
            moments[1].ctypes.data, None, weights, 6, 2, 0,
        )  # fmt: skip
        now = np.array([iteration], np.int64)
        library.qt_step_all(
            ctypes.byref(launch), ctypes.byref(row), 1, scalars.ctypes.data,
            now.ctypes.data, counters.ctypes.data, 1,
        )  # fmt: skip
    return state.tobytes().hex() + moments.tobytes().hex()[:64] + counters.tobytes().hex()


def launch_of(
    spec: Spec,
    *,
    seed: int,
    optimiser: str = "given",
    storage: abi.Storage = abi.Storage.INT8,
) -> abi.Launch:
    """What a spec and a seed are to the kernels; increments are taken as given by default."""
    from qtheory.algorithms import parameters, stem

    lattice = spec.lattice
    numbers = abi.spec(lattice.spacing, lattice.zero, lattice.size, parameters(spec))
    return abi.launch(numbers, seed=seed, rule=stem(spec), optimiser=optimiser, storage=storage)


def outcomes(
    library: ctypes.CDLL, launch: abi.Launch, codes: np.ndarray, increments: np.ndarray
) -> Outcomes:
    """Where a kernel may move weights: thresholds (n, K - 1) and destinations (n, K).

    codes: int8, shape (n,). increments: float32, shape (n,), in weight units.
    """
    from qtheory.arrays import Outcomes

    places = library.qt_destinations(ctypes.byref(launch))
    thresholds = np.empty((codes.size, places - 1), np.uint64)
    destinations = np.empty((codes.size, places), np.int32)
    error = library.qt_outcomes(
        ctypes.byref(launch), codes.ctypes.data, increments.ctypes.data, codes.size,
        thresholds.ctypes.data, destinations.ctypes.data,
    )  # fmt: skip
    require(error == 0, f"the kernel takes this launch, got {abi.Error(error).words}")
    return Outcomes(thresholds, destinations.astype(np.int64))


def main(stems: list[str]) -> int:
    """Write the known answers of stems, from the baseline library, for a person to look at."""
    base = find("libqtheory_v1.so") or find("libqtheory_generic.so")
    if base is None:
        print("there is no baseline library: run `python3 bootstrap.py`", file=sys.stderr)
        return 2
    for name in stems:
        text = json.dumps(known_answers(open_library(base), name), indent=1)
        answers_file(name).write_text(text + "\n")
        print(f"written: {answers_file(name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
