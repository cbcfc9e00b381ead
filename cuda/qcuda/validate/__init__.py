"""Proof that a kernel does what the exact room says: three ladders, each rung a claim.

    (a) law = reference      enumeration of words, no statistics      reference_law.py
    (b) reference = kernel   the same words, to the knife edge        same_words.py, tomography.py
    (c) kernel = law         calibrated statistics                    cells.py, joint.py

A kernel under test is any callable of `kernels.Kernel`'s shape; `run.validate` judges the
project's own and, with an `op`, anybody's. This folder alone sees all rooms; those that hold the
law or the plain reference are imported inside functions.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`validate`, when it is asked for: GPU acceptance runs where only NumPy and torch are."""
    if name != "validate":
        raise AttributeError(f"module 'qcuda.validate' has no attribute {name!r}")
    from qcuda.validate.run import validate

    return validate
