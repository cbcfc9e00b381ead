"""The order of a weight's elements in memory and in the random counter.

Weights of four and five dimensions (O, I, H, W) lie as torch's channels_last has them,
(O, H, W, I): convolutions read them so, and gradients arrive so. Other weights lie as they are
written. A state, a gradient slot, moments and increments have the *stored shape*; an index and a
visible weight have the weight's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

DIMENSIONS = (4, 5)  # of weights whose channels are stored last


def stored_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The stored shape of a weight's shape.

    >>> stored_shape((8, 3, 5, 5)), stored_shape((8, 3))
    ((8, 5, 5, 3), (8, 3))
    """
    return (shape[0], *shape[2:], shape[1]) if len(shape) in DIMENSIONS else tuple(shape)


def as_stored(weight: Tensor) -> Tensor:
    """A view of a tensor of the weight's shape in the stored one."""
    return weight.movedim(1, -1) if weight.dim() in DIMENSIONS else weight


def as_weight(stored: Tensor) -> Tensor:
    """A view of a tensor of the stored shape in the weight's."""
    return stored.movedim(-1, 1) if stored.dim() in DIMENSIONS else stored


def places_and_channels(shape: Sequence[int]) -> tuple[int, int]:
    """H W and I of a weight's shape, 1 and 1 where nothing is moved."""
    return (math.prod(shape[2:]), shape[1]) if len(shape) in DIMENSIONS else (1, 1)
