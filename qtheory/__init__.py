"""What discrete weights do, said exactly: definitions, laws and chains.

`from qtheory import DST` finds the class of any registered spec by its name.
"""

from __future__ import annotations

from typing import Any

from qtheory.algorithms.base import Spec as Spec
from qtheory.lattice import Lattice as Lattice


def __getattr__(name: str) -> Any:
    """A spec class by its own name."""
    from qtheory import algorithms

    if name[:1].isupper():
        return getattr(algorithms, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
