"""registry.h, which the build makes, for tests that compile kernels; and the kernels it lists."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "cuda" / "csrc"


def include(csrc: Path = CSRC) -> tuple[str, str]:
    """Flags for the sources, or a changed copy of them, and for the list of their algorithms."""
    from qcuda.kernels import source  # not above: mutants' processes import copies of it

    text = source.registry(source.headers(csrc))
    folder = ROOT / "build" / "generated" / source.digest(text)[:16]
    file = folder / "registry.h"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        made = folder / f"{os.getpid()}-registry.h"
        made.write_text(text)
        os.replace(made, file)
    return f"-I{csrc}", f"-I{folder}"


def step_kernels() -> set[str]:
    """The names of all step kernels."""
    from qcuda.kernels import abi, source

    names = set()
    for rule, optimiser, *types in product(
        source.stems(),
        abi.OPTIMISERS,
        abi.ON_GPU,
        abi.GRADIENTS,
        abi.GRADIENTS,
    ):
        used = types if abi.MOMENTS[optimiser] else types[:2]
        names.add(source.step(rule, optimiser, *(kind.name.lower() for kind in used)))
    return names
