"""The algorithms again, in plain NumPy and slow on purpose: what kernels are held to.

Every stem of `qtheory.algorithms` has a module here with the same four functions, and
`algorithm(spec)` finds it.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from qreference import deterministic_rounding, dst, stochastic_rounding
from qreference.arrays import Real
from qtheory.algorithms import Spec, stem
from qtheory.arrays import Increment, Index, Thresholds, Words


@runtime_checkable
class Algorithm(Protocol):
    """What a module of an algorithm offers; `spec` is the spec of its own stem."""

    def init(self, spec: Any, weights: Real) -> Index:
        """Levels nearest to real weights."""
        ...

    def threshold(self, spec: Any, index: Index, increment: Increment) -> Thresholds:
        """Words below it move a weight one level more."""
        ...

    def step(self, spec: Any, index: Index, increment: Increment, words: Words) -> Index:
        """Move every weight once."""
        ...

    def read(self, spec: Any, index: Index, words: Words | None = None) -> Real:
        """What the forward pass sees."""
        ...


ALGORITHMS: dict[str, Algorithm] = {
    "dst": dst,
    "stochastic_rounding": stochastic_rounding,
    "deterministic_rounding": deterministic_rounding,
}


def algorithm(spec: Spec) -> Algorithm:
    """The module that implements a spec. Raises TypeError if the spec is not registered."""
    return ALGORITHMS[stem(spec)]
