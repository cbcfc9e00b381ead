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


def gathered(rows: list[list[float]]) -> Tensor:
    """Pairs of numbers of all processes one below the other, (n, 2) float64, the same on each."""
    here = place()
    counts = torch.zeros(here.ranks, dtype=torch.int64)
    counts[here.rank] = len(rows)
    ends = total(counts).cumsum(0)
    whole = torch.zeros(int(ends[-1]), 2, dtype=torch.float64)
    whole[ends[here.rank] - len(rows) : ends[here.rank]] = torch.tensor(
        rows, dtype=whole.dtype
    ).view(-1, 2)
    return total(whole)
