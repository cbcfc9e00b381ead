"""Discrete weights, fast: kernels, layers, optimiser, training and the command line.

Names are imported when they are first used, so that the command line can answer `--help`
without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qcuda import nn as nn
    from qcuda._audit import audit as audit
    from qcuda._words import words as words
    from qcuda.convert import LatticeConfig as LatticeConfig
    from qcuda.convert import quantize_ as quantize_
    from qcuda.optimizer import LatticeOptimizer as LatticeOptimizer

_HOMES = {
    "audit": "qcuda._audit",
    "LatticeConfig": "qcuda.convert",
    "quantize_": "qcuda.convert",
    "LatticeOptimizer": "qcuda.optimizer",
    "words": "qcuda._words",
}


def __getattr__(name: str) -> Any:
    if name == "nn":
        return import_module("qcuda.nn")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'qcuda' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "nn", *_HOMES])
