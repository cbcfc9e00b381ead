"""What a quick run tries of things that are slow to try one by one, and whether it is a quick run.

All of them are tried under --hypothesis-profile=deep.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from hypothesis import settings

T = TypeVar("T")


def deep() -> bool:
    """Whether a longer profile than ci was asked for."""
    return settings().max_examples > 100


def sample(things: Sequence[T], parts: Callable[[T], Iterable[object]]) -> list[T]:
    """Enough of them to have each part of one at least once, in an order of QTHEORY_RUN_KEY.

    parts: what a thing has, in a fixed order; equal parts at different places are two.

    >>> sorted(sample(["a1", "a2", "b1", "b2", "b3"], parts=lambda name: name[0]))
    ['a2', 'b2']
    """
    key = os.environ.get("QTHEORY_RUN_KEY", "")
    order = sorted(things, key=lambda x: hashlib.blake2b(f"{key}/{x}".encode()).digest())
    seen, found = set(), []
    for thing in order:
        having = set(enumerate(parts(thing)))
        if having - seen:
            seen |= having
            found.append(thing)
    return found
