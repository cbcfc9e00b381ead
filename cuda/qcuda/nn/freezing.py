"""Which weights of a latent tensor are frozen, and at which levels, in torch's words.

The rule is that of the reading's `order` (`qtheory.algorithms.reader.ORDERS`): of those that may be
chosen the largest, or those of the smallest words, of equal ones those that come first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qcuda.nn.reading import level_and_unit
from qtheory.algorithms.reader import Order, Reading, taken


def partition(
    order: Order, latent: Tensor, share: float, before: Tensor, words: Tensor | None
) -> Tensor:
    """Whether a weight is frozen when floor(share n + 1/2) of n are to be; where weights that are
    frozen stay so, those of `before` are, and there may be more. A NaN comes last."""
    rank = -latent.abs().flatten().double() if words is None else words.flatten().double()
    count = taken(share, latent.numel())
    if order.keeps:
        rank = torch.where(before.flatten(), -torch.inf, rank)
        count = max(count, int(before.sum()))
    after = torch.zeros_like(rank, dtype=torch.bool)
    after[rank.argsort(stable=True)[:count]] = True
    return after.reshape(latent.shape)


def places(reading: Reading, latent: Tensor, unit: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The level at which each latent would be frozen, counted from the lowest, int8, and the unit
    of each group, the reading's own if none is given."""
    level, unit = level_and_unit(reading, latent, unit)
    levels = level.new_tensor(reading.stair.levels)
    return torch.searchsorted(levels, level.contiguous()).to(torch.int8), unit
