"""The kernels' source as one text, its list of algorithms, and the flags that keep it exact.

One text, because a run-time compiler has no include path, and because its hash then says
whether an image was made from these sources.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

# IEEE arithmetic: nothing fused, denormals kept, division and root correctly rounded.
EXACT = ("--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--std=c++17")

_HERE = Path(__file__).resolve().parent
# A checkout has the sources beside the package, an installation inside it.
PLACES = (_HERE.parents[1] / "csrc", _HERE.parent / "_native" / "csrc")

_INCLUDE = re.compile(r'^[ \t]*#include "([^"]+)"[^\n]*$', re.MULTILINE)
# What a kernel's name and source say: types of gradients and moments.
_REALS = {"float32": "Float32", "bfloat16": "BFloat16", "int8": "Int8"}
_STEP, _STAIR, _BATCH = "qt_step_", "qt_stair_", "qt_batch_"
_REGISTRY = "registry.h"  # not a file of the sources: `registry` says what is in it


def kernels() -> Path:
    """Where kernels.cu is. Raises FileNotFoundError that names the places."""
    for place in PLACES:
        path = place / "gpu" / "kernels.cu"
        if path.is_file():
            return path
    places = ", ".join(str(place / "gpu" / "kernels.cu") for place in PLACES)
    raise FileNotFoundError(f"the kernels' source is one of {places}; neither is a file")


@cache
def stems() -> tuple[str, ...]:
    """The algorithms that have a kernel: the headers that are there, in alphabetical order.

    A rule's number is its place here. Raises FileNotFoundError as `kernels` does.
    """
    return headers(kernels().parents[1])


def headers(csrc: Path) -> tuple[str, ...]:
    """The stems of the headers in csrc/algorithms, in alphabetical order."""
    return tuple(sorted(path.stem for path in (csrc / "algorithms").glob("*.h")))


def registry(names: Sequence[str]) -> str:
    """The text of registry.h: the kernels' list of algorithms."""
    lines = [f'#include "algorithms/{name}.h"' for name in names]
    listed = " ".join(f"X({name})" for name in names)
    return "\n".join(["#pragma once", *lines, f"#define QT_ALGORITHMS(X) {listed}", ""])


def one_text(path: Path) -> str:
    """The file with every #include "..." replaced by the file it names, each once."""
    csrc = path.resolve().parents[1]
    seen: set[Path] = set()

    def expand(file: Path) -> str:
        if file in seen:
            return ""
        seen.add(file)
        if file.name == _REGISTRY:
            return replaced(registry(headers(csrc)), csrc)
        return replaced(file.read_text(encoding="utf-8"), file.parent)

    def replaced(text: str, folder: Path) -> str:
        return _INCLUDE.sub(
            lambda match: expand((folder / match.group(1)).resolve()),
            text.replace("#pragma once\n", ""),
        )

    return expand(path.resolve())


HELPERS, STAIRS, BATCH_NORM = UNITS = "helpers", "stairs", "batch_norm"
"""Units of many kernels; each step kernel is one of its own."""


def step(rule: str, optimiser: str, storage: str, *reals: str) -> str:
    """The name of a step kernel. reals: the type of gradients, and of moments if there are any."""
    return _STEP + "_".join((rule, optimiser, storage, *reals))


def unit(kernel: str) -> str:
    """What a run-time compiler compiles at a time: one of UNITS, or one step kernel."""
    if kernel.startswith(_STEP):
        return kernel
    if kernel.startswith(_BATCH):
        return BATCH_NORM
    return STAIRS if kernel.startswith(_STAIR) else HELPERS


def only(unit: str) -> tuple[str, ...]:
    """The macros, as NAME=VALUE, that leave one unit of the text.

    >>> only(HELPERS)
    ('QT_HELPERS=1',)
    >>> only("qt_step_stochastic_rounding_adam_int8_float32_bfloat16")[0].split(",", 1)[1]
    'stochastic_rounding,adam,int8,Float32,BFloat16'
    >>> only("qt_step_dst_momentum_int8_float32_int8")[0].split(",", 1)[1]
    'dst,momentum,int8,Float32,Int8'
    """
    if unit in UNITS:
        return (f"QT_{unit.upper()}=1",)
    name = unit.removeprefix(_STEP)
    *_, before_last, _ = name.split("_")
    if before_last in ("int8", "trits"):  # a storage, and no type of moments
        rest, gradient = name.rsplit("_", 1)
        moment = "float32"
    else:
        rest, gradient, moment = name.rsplit("_", 2)
    parts = (name, *rest.rsplit("_", 2), _REALS[gradient], _REALS[moment])
    return (f"QT_ONE_STEP={','.join(parts)}",)


def is_shipped(unit: str) -> bool:
    """Whether an image of many kernels has a unit. Step kernels with moments in int8 are left to
    a run-time compiler, as cuda/csrc/gpu/kernels.cu says."""
    return not unit.endswith("_int8")


def digest(text: str) -> str:
    """What names an image: a hash of source and flags."""
    return hashlib.sha256("\n".join((*EXACT, text)).encode()).hexdigest()
