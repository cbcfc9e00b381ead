"""What the conformance suite knows of a stem: its law, and the declared edge of its kernels.

The edge is how far a kernel's threshold may lie from the reference's: 0 where both rooms compute
the same integer. For DST it is derived, step by step, in tests/agreement/test_knife_edge.py.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np

from qcuda.watch.odds import knife_edge
from qreference import algorithm
from qtheory.algorithms import Spec, stem


def law(spec: Spec, index, increment) -> np.ndarray:
    """The exact law of a spec's own stem, shape (..., size)."""
    return import_module(f"qtheory.algorithms.{stem(spec)}").law(spec, index, increment)


def exact(thresholds: np.ndarray) -> np.ndarray:
    return np.zeros(thresholds.shape, np.int64)


EDGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dst": lambda thresholds: knife_edge(thresholds / 2.0**32),
    "stochastic_rounding": exact,
    "deterministic_rounding": exact,
}


def unexplained(spec: Spec, index, increment, words, after) -> np.ndarray:
    """Weights that are not where the reference puts them, though their word is off the edge.

    With thresholds T here and T' there, |T - T'| <= w, decisions differ for the words between:
    T - w <= word < T + w holds for each of them, and for no word if w = 0.
    """
    plain = algorithm(spec)
    thresholds = plain.threshold(spec, index, increment)
    width = EDGES[stem(spec)](thresholds)
    away = words.astype(np.int64) - thresholds.astype(np.int64)
    explained = (-width <= away) & (away < width)
    return (after != plain.step(spec, index, increment, words)) & ~explained
