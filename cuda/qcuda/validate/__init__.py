"""Proof that a kernel does what the exact room says: three ladders, each rung a claim.

    (a) law = reference      enumeration of words, no statistics      reference_law.py
    (b) reference = kernel   the same words, to the knife edge        same_words.py, tomography.py
                             and whole steps, as awkward as any      whole_steps.py
    (c) kernel = law         calibrated statistics                    cells.py, joint.py

A kernel under test is any callable of `kernels.Kernel`'s shape; `run.validate` judges the
project's own and, with an `op`, anybody's. This folder alone sees all rooms; those that hold the
law or the plain reference are imported inside functions. `acceptance` runs on a bare machine with
torch and NumPy alone, so importing this package imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qcuda.validate.run import validate as validate
    from qcuda.watch.odds import predicted_moves as predicted_moves

_HOMES = {"validate": "qcuda.validate.run", "predicted_moves": "qcuda.watch.odds"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'qcuda.validate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
