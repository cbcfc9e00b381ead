"""The algorithms again, in plain NumPy and slow on purpose: what kernels are held to.

Every stem of `qtheory.algorithms` has a module here with what is its own, and `algorithm(spec)`
finds it. A walker's module has `outcomes`; `init`, `step` and `read` of all walkers are in
`qreference.walker`. A module may have `edge(spec, thresholds)`: how far a kernel's threshold may
lie from this room's, where both do not compute the same integer.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np

from qtheory.algorithms import Spec, stem
from qtheory.arrays import Increment, Index, Outcomes, Thresholds


@runtime_checkable
class Walker(Protocol):
    """What a walker's module offers; `spec` is the spec of its own stem."""

    def outcomes(self, spec: Any, index: Index, increment: Increment) -> Outcomes:
        """Thresholds and the places between them, before the ends of the lattice stop anything."""
        ...


def algorithm(spec: Spec) -> Any:
    """The module that implements a spec. Raises TypeError if the spec is not registered."""
    return import_module(f"qreference.{stem(spec)}")


def edge(spec: Spec, thresholds: Thresholds) -> Index:
    """How far a kernel's thresholds may lie from this room's; 0 where both are the same."""
    own = getattr(algorithm(spec), "edge", None)
    return np.zeros(thresholds.shape, np.int64) if own is None else own(spec, thresholds)
