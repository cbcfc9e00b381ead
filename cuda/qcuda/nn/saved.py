"""What a saved lattice weight is: four tensors, which can be read without this package.

    state    flat, in stored order: codes in int8, or packed in uint8 with 2, 4 or 6 bits each, the
             first in the lowest bits; a code is an index less size // 2, in two's complement
    levels   float32, shape (size,): what each index shows, before the scale
    lattice  float64: size, spacing and lowest level
    scale    float32: one number, or one for each output channel

This is format 2. (Format 1 had a dictionary beside the state.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qcuda.errors import require
from qcuda.kernels import storage as stored
from qcuda.kernels.abi import Storage
from qtheory.lattice import Lattice

FORMAT = 2
PARTS = ("state", "levels", "lattice", "scale")
OLD = "_extra_state"


def lattice_tensor(lattice: Lattice) -> Tensor:
    """A lattice as three numbers, float64, on the CPU."""
    numbers = (lattice.size, lattice.spacing, lattice.low)
    return torch.tensor(numbers, dtype=torch.float64, device="cpu")


def check(
    given: dict[str, Any],
    count: int,
    lattice: Lattice,
    storage: Storage,
    levels: Tensor,
    scale: Tensor,
) -> None:
    """Raise ValueError unless saved parts are those of a layer's weight, whole and legal.

    given: by name; OLD is there too if the checkpoint has it. The others are the layer's own.
    """
    require(
        OLD not in given,
        f"a checkpoint is of format {FORMAT}, tensors only, got format 1, which has {OLD}",
    )
    require(
        set(given) == set(PARTS),
        f"a lattice weight is loaded whole, {', '.join(PARTS)}, got {', '.join(sorted(given))}",
    )
    for name, tensor in given.items():
        require(
            isinstance(tensor, Tensor) and not tensor.is_meta,
            f"{name} is a tensor with values, got {_kind(tensor)}",
        )
    mine = lattice_tensor(lattice)
    require(
        _same(given["lattice"], mine),
        f"a checkpoint has its layer's lattice, {mine.tolist()} (size, spacing, lowest level), "
        f"got {given['lattice'].tolist()} as {given['lattice'].dtype}",
    )
    require(
        _same(given["levels"], levels),
        f"a checkpoint has its layer's lattice and readout, with the levels {levels.tolist()}, "
        f"got {given['levels'].tolist()} as {given['levels'].dtype}",
    )
    found = given["scale"]
    require(
        found.dtype == torch.float32 and found.shape == scale.shape,
        f"a checkpoint has a scale of its layer's kind, float32 of shape {tuple(scale.shape)}, "
        f"got {found.dtype} of shape {tuple(found.shape)}",
    )
    check_scale(found)
    stored.check_legal(given["state"], count, lattice, storage)


def check_scale(scale: Tensor) -> None:
    """Raise ValueError unless every number of a scale is positive and finite in float32."""
    bad = scale[~(torch.isfinite(scale) & (scale > 0))].flatten().tolist()
    require(not bad, f"a scale is positive and finite in float32, got {bad[:1]}")


def _kind(value: Any) -> str:
    return "a tensor on meta" if isinstance(value, Tensor) else type(value).__name__


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.cpu(), b.cpu())
