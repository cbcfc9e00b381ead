"""`qcuda.least_memory_`: a model that trains in as little memory as this package knows."""

from __future__ import annotations

import logging

from torch import nn

from qcuda.memory.units import units_
from qcuda.nn.fused import fuse_pairs_
from qcuda.nn.layers import LatticeLayer


def least_memory_(model: nn.Module) -> nn.Module:
    """Keep as little of a forward pass as possible; in place, and before a compiler sees it.

    Each batch norm before a stair in a `Sequential` becomes one function (`qcuda.nn.fuse_`, which
    rounds otherwise than torch); lattice layers keep two bits of ternary inputs and no weight
    (`LatticeLayer.frugal`); a `Sequential` keeps what enters its units and makes the rest again in
    the backward pass (`qcuda.memory.units`), which is one more forward pass. The last two change no
    bit. Names and keys of the state_dict stay. Says to the logger "qcuda" what it did.

    What is left of memory: `qcuda.StepInBackward` for gradients, `moments=` of
    `qcuda.LatticeOptimizer` for moments. Returns the model.
    """
    fused, units = fuse_pairs_(model), units_(model)
    frugal = [m for m in model.modules() if isinstance(m, LatticeLayer)]
    for layer in frugal:
        layer.frugal = True
    logging.getLogger("qcuda").info(
        "least memory: %d norms fused, units in %d sequences, %d frugal layers",
        len(fused), len(units), len(frugal),
    )  # fmt: skip
    return model
