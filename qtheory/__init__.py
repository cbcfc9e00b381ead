"""What discrete weights do, said exactly: definitions, laws and chains.

`from qtheory import DST` finds the class of any registered spec by its name. Nothing is imported
before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qtheory.algorithms.base import Spec as Spec
    from qtheory.lattice import Lattice as Lattice


def __getattr__(name: str) -> Any:
    """The lattice, or something of `qtheory.algorithms`, a spec class for example."""
    if not name[:1].isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Lattice":
        from qtheory.lattice import Lattice

        return Lattice
    from qtheory import algorithms

    return getattr(algorithms, name)
