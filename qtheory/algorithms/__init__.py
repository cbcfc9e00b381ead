"""The algorithms: one module a stem, with a spec, a contract and its exact law.

`from qtheory.algorithms import DST` finds the class of any registered spec by its name.
"""

from __future__ import annotations

from typing import Any

from qtheory.algorithms import base
from qtheory.algorithms.base import STEMS as STEMS
from qtheory.algorithms.base import Contract as Contract
from qtheory.algorithms.base import Knob as Knob
from qtheory.algorithms.base import Plane as Plane
from qtheory.algorithms.base import Row as Row
from qtheory.algorithms.base import Spec as Spec
from qtheory.algorithms.base import contract as contract
from qtheory.algorithms.base import from_dict as from_dict
from qtheory.algorithms.base import law as law
from qtheory.algorithms.base import parameters as parameters
from qtheory.algorithms.base import readers as readers
from qtheory.algorithms.base import readout as readout
from qtheory.algorithms.base import rows as rows
from qtheory.algorithms.base import spec_class as spec_class
from qtheory.algorithms.base import stem as stem
from qtheory.algorithms.base import to_dict as to_dict
from qtheory.algorithms.base import usual as usual
from qtheory.algorithms.base import walkers as walkers
from qtheory.algorithms.walker import hidden as hidden


def __getattr__(name: str) -> Any:
    """A spec class by its own name."""
    for each in STEMS:
        if name[:1].isupper() and spec_class(each).__name__ == name:
            return spec_class(each)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *(spec_class(each).__name__ for each in base.STEMS)])
