"""`qcuda.least_memory_`: a model that trains in as little memory as this package knows."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from qcuda.memory.units import units_
from qcuda.nn.fused import fuse_pairs_
from qcuda.nn.layers import LatticeLayer


def least_memory_(model: nn.Module, gradients: torch.dtype | None = None) -> nn.Module:
    """Keep as little of a forward pass as possible; in place, and before a compiler sees it.

    Each batch norm before a stair in a `Sequential` becomes one function (`qcuda.nn.fuse_`, which
    rounds otherwise than torch); lattice layers keep two bits of ternary inputs and no weight
    (`LatticeLayer.frugal`); a `Sequential` keeps what enters its units and makes the rest again in
    the backward pass (`qcuda.memory.units`), which is one more forward pass. The last two change no
    bit. A network of `qcuda.models` with a large first layer runs it in chunks, which rounds
    otherwise. Names and keys of the state_dict stay. Says to the logger "qcuda" what it did.

    gradients: the dtype of the gradients of lattice weights from now on, as a layer's
    gradient_dtype; bfloat16 halves what they take, and rounds them.

    What is left of memory: `qcuda.StepInBackward` for gradients, `moments=` of
    `qcuda.LatticeOptimizer` for moments. Returns the model.
    """
    fused, units = fuse_pairs_(model), units_(model)
    frugal: list[Any] = [m for m in model.modules() if hasattr(m, "frugal")]
    for module in frugal:
        module.frugal = True
        if gradients is not None and isinstance(module, LatticeLayer):
            module.set_gradient_dtype(gradients)
    logging.getLogger("qcuda").info(
        "least memory: %d norms fused, units in %d sequences, %d frugal modules",
        len(fused), len(units), len(frugal),
    )  # fmt: skip
    return model
