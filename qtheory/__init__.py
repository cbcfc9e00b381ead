"""What discrete weights do, said exactly: definitions, laws and chains.

`from qtheory import DST` finds the class of any registered spec by its name. Nothing is imported
before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from qtheory.algorithms.base import Spec as Spec
    from qtheory.lattice import Lattice as Lattice


def __getattr__(name: str) -> Any:
    """The version, the lattice, or something of `qtheory.algorithms`, e.g. a spec class."""
    if name == "__version__":
        return _version()
    if not name[:1].isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Lattice":
        from qtheory.lattice import Lattice

        return Lattice
    from qtheory import algorithms

    return getattr(algorithms, name)


def _version() -> str:
    """The version that is installed; pyproject.toml alone says it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(__name__)
    except PackageNotFoundError:
        raise AttributeError(f"{__name__} has a version where it is installed, got none") from None
