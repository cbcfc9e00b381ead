"""Data-parallel training: gradients are averaged, lattice weights are never communicated.

Every rank draws the same words and sees the same averaged gradients, so every rank moves its
weights to the same levels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from qcuda.nn import lattice_layers
from qcuda.nn.slot import GradientSlot


@torch.no_grad()
def data_parallel(model: nn.Module, **options: Any) -> DistributedDataParallel:
    """Give every rank the weights of rank 0, once, and wrap the model.

    options: those of DistributedDataParallel, except init_sync: its own way of handing out the
    first weights writes into parameters, and a gradient slot has nothing to write into. States of
    lattice layers are left out of the buffers that it broadcasts in every forward pass.
    Raises ValueError if init_sync is given.
    """
    if "init_sync" in options:
        raise ValueError("data_parallel hands out the first weights itself, got init_sync")
    group = options.get("process_group")
    for tensor in [*model.parameters(), *model.buffers()]:
        if not isinstance(tensor, GradientSlot):
            dist.broadcast(tensor, src=0, group=group)
    states = [
        f"{name}.{buffer}" if name else buffer
        for name in lattice_layers(model)
        for buffer in ("state", "levels")
    ]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, states)
    return DistributedDataParallel(model, init_sync=False, **options)
