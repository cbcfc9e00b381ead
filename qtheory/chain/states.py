"""Sets of states, given as NumPy gives them; every function that takes states reads them here.

    3, np.int64(3)                 one state
    [0, 2], {0, 2}, range(3)       numbers of states, in any order, repeated or not
    np.array([0, 2])               the same
    law > 0.1                      a mask: one truth value for each state
    np.nonzero(law > 0.1)          what it returns, a tuple of one array
    slice(2, 5)                    as in law[2:5]

States are counted from 0; -1 is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias, cast

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

States: TypeAlias = int | np.integer | slice | Iterable[object]
"""A set of states in any of these forms."""

State: TypeAlias = int | np.integer | ndarray
"""One state; an array has no axis."""

Mask = Bool[ndarray, "levels"]
"""A set of states."""

Blocks = Int[ndarray, "levels"]
"""For each state the number of its block, 0 to the number of blocks - 1."""

Partition: TypeAlias = Iterable[object]
"""For each state the number of its block, or the blocks, each a set of states."""


def mask_of(size: int, states: object) -> Mask:
    """A set of states out of `size` as a mask.

    Raises ValueError if a number is not an integer or not in 0..n-1, or a mask has not n values.

    >>> mask_of(4, [0, 2]).tolist()
    [True, False, True, False]
    >>> [np.flatnonzero(mask_of(4, s)).tolist() for s in (3, {1}, slice(2, None), range(2))]
    [[3], [1], [2, 3], [0, 1]]
    """
    mask = np.zeros(size, dtype=np.bool_)
    if isinstance(states, slice):
        mask[states] = True
        return mask
    given = _listed(states)
    if given.dtype == np.bool_:
        if len(given) != size:
            raise ValueError(f"a mask has a value for each of {size} states, got {len(given)}")
        return given.copy()
    beyond = (given < 0) | (given >= size)
    if beyond.any():
        raise ValueError(f"a state is in 0..{size - 1}, got {given[beyond][0]}")
    mask[given] = True
    return mask


def state_of(size: int, state: object) -> int:
    """One state out of `size`. Raises ValueError if it is not an integer in 0..n-1.

    >>> state_of(4, np.int64(3))
    3
    """
    given = _listed(state)
    if given.dtype == np.bool_ or len(given) != 1:
        raise ValueError(f"one state is an integer, got {state!r}")
    number = int(given[0])
    if not 0 <= number < size:
        raise ValueError(f"a state is in 0..{size - 1}, got {number}")
    return number


def blocks_of(size: int, blocks: Partition) -> Blocks:
    """A partition of `size` states as the number of each one's block.

    Raises ValueError if numbers are not 0.. without gaps, one for each state, or sets do not have
    each state once.

    >>> blocks_of(3, [0, 1, 1]).tolist(), blocks_of(3, [[1, 2], [0]]).tolist()
    ([0, 1, 1], [1, 0, 0])
    """
    parts = list(blocks)
    if not any(isinstance(part, Iterable | slice) for part in parts):
        labels = _listed(parts)
        if labels.shape != (size,) or set(labels.tolist()) != set(range(len(set(labels.tolist())))):
            raise ValueError(
                f"blocks are numbered 0.. without gaps, one for each of {size} states, got "
                f"{sorted(set(labels.tolist()))} for {len(labels)}"
            )
        return labels.astype(np.int64)
    masks = np.array([mask_of(size, part) for part in parts])
    times, sizes = masks.sum(axis=0), masks.sum(axis=1)
    if (times != 1).any() or not sizes.all():
        odd = int(np.argmax(times != 1)) if (times != 1).any() else None
        what = "an empty block" if odd is None else f"state {odd} in {times[odd]} blocks"
        raise ValueError(f"a partition has each state in one block, and none is empty, got {what}")
    return masks.argmax(axis=0)


def _listed(states: object) -> ndarray:
    """Integers or truth values, on one axis."""
    if isinstance(states, str | bytes):
        raise ValueError(f"states are integers, got {states!r}")
    given: Any
    if isinstance(states, ndarray):
        given = np.atleast_1d(cast(Any, states))
    else:
        some = list(cast(Iterable[object], states)) if isinstance(states, Iterable) else [states]
        if isinstance(states, tuple) and len(some) == 1 and isinstance(some[0], ndarray):
            return _listed(cast(Any, some[0]))  # as numpy.nonzero returns them
        kinds = {isinstance(one, bool | np.bool_) for one in some}
        if len(kinds) > 1 or any(isinstance(one, Iterable) for one in some):
            raise ValueError(f"states are integers or all truth values, got {some}")
        given = np.asarray(some)
    if given.ndim != 1:
        raise ValueError(f"a set of states has one axis, got shape {given.shape}")
    if given.size == 0:
        return np.zeros(0, dtype=np.int64) if given.dtype != np.bool_ else given
    if given.dtype.kind not in "iub":
        raise ValueError(f"states are integers, got {given.tolist()[0]!r}")
    return given
