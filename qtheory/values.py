"""Values that check themselves, and keep doing so when they are copied or read from a file.

A frozen dataclass checks its fields once, when it is made, and makes its arrays read-only. Python
copies and unpickles objects without making them: arrays would be writable again, and fields
could be anything. With

    __reduce__ = rebuilt

in its body a dataclass is made anew from its fields by copy.copy, copy.deepcopy and pickle, as
dataclasses.replace does anyway. Fields that are not arguments, as caches, begin empty.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast

import numpy as np


def rebuilt(self: Any) -> tuple[Any, ...]:
    """How to make the value again, for copy and pickle."""
    given = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
    return _made, (type(self), given)


def _made(kind: type[Any], given: dict[str, Any]) -> Any:
    return kind(**given)


def own_arrays(self: Any) -> None:
    """Replace the arrays of a frozen dataclass, and those in its tuples, by read-only copies."""
    for field in fields(self):
        object.__setattr__(self, field.name, _owned(getattr(self, field.name)))


def _owned(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = cast(Any, value).copy()
        value.setflags(write=False)
    elif isinstance(value, tuple):
        parts: Any = [_owned(part) for part in cast(Any, value)]
        return tuple(parts) if type(cast(Any, value)) is tuple else type(cast(Any, value))(*parts)
    return value
