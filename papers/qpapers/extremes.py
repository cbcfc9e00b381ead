"""The largest and the least of numbers, which is NaN if one of them is.

Python's `max` and `min` drop a NaN or keep it, as the order has it: max(1.0, nan) is 1.0. A claim
that takes the worst of its errors would hold although one of them could not be computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def largest(values: Iterable[T]) -> T:
    """The largest value. Raises ValueError if there is none.

    >>> largest((1.0, 3.0, 2.0)), largest((1.0, float("nan"), 2.0))
    (3.0, nan)
    """
    return _of(max, values)


def least(values: Iterable[T]) -> T:
    """The least value. Raises ValueError if there is none.

    >>> least((1.0, 3.0, 2.0)), least((1.0, float("nan"), 2.0))
    (1.0, nan)
    """
    return _of(min, values)


def _of(choose: Callable[..., T], values: Iterable[T]) -> T:
    found = list(values)
    unknown = [value for value in found if value != value]
    return unknown[0] if unknown else choose(found)
