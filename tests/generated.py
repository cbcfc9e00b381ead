"""registry.h, which the build makes, for tests that compile kernels; and the kernels it lists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "cuda" / "csrc"


def include(csrc: Path = CSRC, rules: Sequence[str] = ()) -> tuple[str, str]:
    """Flags for the sources, or a changed copy of them, and for the list of their algorithms.

    rules: the stems on that list; those of all headers that are there if none is given.
    """
    from qcuda.kernels import source  # not above: mutants' processes import copies of it

    text = source.registry(rules or source.headers(csrc))
    folder = ROOT / "build" / "generated" / source.digest(text)[:16]
    file = folder / "registry.h"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        made = folder / f"{os.getpid()}-registry.h"
        made.write_text(text)
        os.replace(made, file)
    return f"-I{csrc}", f"-I{folder}"


def parts_of_steps(shipped: bool = True) -> list[tuple[str, ...]]:
    """Rule, optimiser, storage, type of gradients and of moments, if any, of each step kernel.

    shipped: of those that an image holds, otherwise those that are made when needed.
    """
    from qcuda.kernels import abi, source

    found = []
    for rule, optimiser, *types in product(
        source.stems(),
        abi.OPTIMISERS,
        abi.ON_GPU,
        abi.GRADIENTS,
        abi.MOMENT_TYPES,
    ):
        int8 = types[2] is abi.Real.INT8
        if int8 == shipped or (int8 and abi.MOMENTS[optimiser] != 1):
            continue
        used = types if abi.MOMENTS[optimiser] else types[:2]
        found.append((rule, optimiser, *(kind.name.lower() for kind in used)))
    return sorted(set(found))


def step_kernels(shipped: bool = True) -> set[str]:
    """The names of the step kernels that an image holds, or of those that are made when needed."""
    from qcuda.kernels import source

    return {source.step(*parts) for parts in parts_of_steps(shipped)}
