"""The processes of a run: one, or those that torchrun has started, which share every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from qcuda.data.source import ALONE, Place


def place() -> Place:
    """Which of the processes this one is."""
    if not dist.is_initialized():
        return ALONE
    return Place(dist.get_rank(), dist.get_world_size())


def leads() -> bool:
    """Whether this process writes and prints."""
    return place().rank == 0


@contextmanager
def joined() -> Iterator[Place]:
    """Meet the other processes, if the environment says that torchrun has started some."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield place()
        return
    dist.init_process_group("gloo")
    try:
        yield place()
    finally:
        dist.destroy_process_group()


def wait() -> None:
    """Until all are here."""
    if place().ranks > 1:
        dist.barrier()


def total(value: Tensor) -> Tensor:
    """The sum over all processes, the same on each; alone, the value itself."""
    if place().ranks == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value


def total_of(value: float) -> float:
    """The sum over all processes of a number, in float64."""
    return total(torch.tensor(value, dtype=torch.float64)).item()


def gathered(parts: list[Tensor], rows: int) -> Tensor:
    """Tables of all processes one below the other, so many rows together; the same on each.

    parts: of this process; the first has some. What they hold is added to zeros, which is exact.
    """
    here = place()
    if here.ranks == 1:
        return torch.cat(parts)
    sizes = torch.zeros(here.ranks, 2, dtype=torch.int64)
    if parts:
        sizes[here.rank] = torch.tensor([sum(map(len, parts)), parts[0].shape[1]])
    sizes = total(sizes)
    whole = torch.zeros(rows, int(sizes[0, 1]))
    first = int(sizes[: here.rank, 0].sum())
    for part in parts:
        whole[first : first + len(part)] = part
        first += len(part)
    return total(whole)
