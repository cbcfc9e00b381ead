"""What discrete weights do, said exactly: definitions, laws and chains.

`Lattice`, `Spec` and the class of every registered spec are found here by their names. They are
imported when they are first asked for: what needs a definition alone needs NumPy alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qtheory.algorithms.base import Spec as Spec
    from qtheory.lattice import Lattice as Lattice


def __getattr__(name: str) -> Any:
    if not name[:1].isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "qtheory.lattice" if name == "Lattice" else "qtheory.algorithms"
    return getattr(import_module(home), name)
