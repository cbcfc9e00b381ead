"""Layers whose weights are indices."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qcuda.errors import require
from qcuda.kernels import storage as stored
from qcuda.kernels.abi import Storage
from qcuda.kernels.words import words
from qcuda.nn.slot import GradientSlot
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair
from qtheory.streams import Stream


class LatticeLayer(nn.Module):
    """A layer with one weight on a lattice.

    state: the weight, int8 codes or packed trits (a buffer).
    slot: where its gradient arrives (a parameter without values).
    scale: constant factor of the visible weight; gradients are those of the unscaled weight.
    readout: the stair through which hidden levels are seen, None if the levels themselves are.
    """

    state: Tensor
    levels: Tensor
    slot: GradientSlot

    def __init__(
        self,
        shape: tuple[int, ...],
        lattice: Lattice,
        *,
        bias: bool,
        scale: float,
        storage: Storage | None,
        readout: Stair | None = None,
    ) -> None:
        super().__init__()
        require(math.isfinite(scale) and scale > 0, f"a scale is positive and finite, got {scale}")
        self.lattice, self.readout = lattice, readout
        self.storage = stored.storage_for(lattice) if storage is None else storage
        self.scale = scale
        index = torch.full(shape, lattice.centre, dtype=torch.int64)
        self.register_buffer("state", stored.encode(index, lattice, self.storage))
        self.register_buffer("levels", self._visible_levels(), persistent=False)
        self.slot = GradientSlot(shape)  # pyright: ignore[reportArgumentType]
        self.slot.owner = weakref.ref(self)
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None

    def _visible_levels(self) -> Tensor:
        """What each index shows, float32."""
        levels = self.lattice.levels
        return torch.from_numpy(levels if self.readout is None else self.readout(levels)).float()

    @property
    def index(self) -> Tensor:
        """The weight as indices, int64, on the CPU (a copy)."""
        flat = stored.decode(self.state, self.slot.numel(), self.lattice, self.storage)
        return flat.reshape(self.slot.shape)

    def set_index(self, index: Tensor) -> None:
        """Store indices. Raises ValueError if the shape is wrong or one is off the lattice."""
        require(
            index.shape == self.slot.shape,
            f"indices have the weight's shape {tuple(self.slot.shape)}, got {tuple(index.shape)}",
        )
        self.state.copy_(stored.encode(index.cpu(), self.lattice, self.storage))

    def draw_levels(self, seed: int, tensor: int) -> None:
        """Put every weight on a level drawn uniformly: index = word * size // 2**32."""
        drawn = words(seed, 0, tensor, self.slot.numel(), stream=Stream.INITIALISE)
        self.set_index(((drawn * self.lattice.size) >> 32).reshape(self.slot.shape))

    @property
    def weight(self) -> Tensor:
        """The visible weight: made anew from the indices, differentiable towards the slot."""
        dtype = self.slot.dtype
        device = self.state.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        weight = torch.ops.qtheory.decode(
            self.state, self.slot, self.levels, int(self.storage), dtype
        )
        return weight if self.scale == 1.0 else weight * self.scale

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LatticeLayer:
        slot: GradientSlot = self.slot
        self._parameters["slot"] = None
        try:
            super()._apply(fn, recurse)
        finally:
            self._parameters["slot"] = slot
        self._parameters["slot"] = slot.converted(fn)
        self.slot.owner = weakref.ref(self)
        self.levels = self._visible_levels().to(self.state.device)  # float32, whatever fn does
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.slot.owner = weakref.ref(self)

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint must agree on."""
        read = {} if self.readout is None else {"readout": dataclasses.asdict(self.readout)}
        return {
            **read,
            "lattice": dataclasses.asdict(self.lattice),
            "storage": self.storage.name,
            "scale": self.scale,
        }

    def set_extra_state(self, state: dict[str, Any] | None) -> None:
        """Raise ValueError unless the checkpoint was made with the same lattice and storage."""
        mine = self.get_extra_state()
        require(state == mine, f"a checkpoint has its layer's lattice, {mine}, got {state}")

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        del destination[f"{prefix}slot"]

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        given = state_dict.get(f"{prefix}state")
        if given is not None:
            try:
                self.set_extra_state(state_dict.get(f"{prefix}_extra_state"))
                stored.check_legal(given, self.slot.numel(), self.lattice, self.storage)
            except ValueError as error:
                error_msgs.append(f"{prefix}state: {error}")
                return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        missing_keys[:] = [key for key in missing_keys if key != f"{prefix}slot"]

    def extra_repr(self) -> str:
        shape, lattice = tuple(self.slot.shape), self.lattice
        return f"shape={shape}, levels={lattice.size}, storage={self.storage.name.lower()}"


class Linear(LatticeLayer):
    """torch.nn.Linear with a lattice weight of shape (outputs, inputs); no bias by default."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        lattice: Lattice,
        *,
        bias: bool = False,
        scale: float = 1.0,
        storage: Storage | None = None,
        readout: Stair | None = None,
    ) -> None:
        shape = (outputs, inputs)
        super().__init__(shape, lattice, bias=bias, scale=scale, storage=storage, readout=readout)

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weight, self.bias)


class Conv2d(LatticeLayer):
    """torch.nn.Conv2d with a lattice weight of shape (outputs, inputs / groups, height, width)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int | tuple[int, int],
        lattice: Lattice,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        scale: float = 1.0,
        storage: Storage | None = None,
        readout: Stair | None = None,
    ) -> None:
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        require(
            inputs % groups == 0 and outputs % groups == 0,
            f"groups divide inputs and outputs, got {groups} for {inputs} and {outputs}",
        )
        shape = (outputs, inputs // groups, *kernel)
        super().__init__(shape, lattice, bias=bias, scale=scale, storage=storage, readout=readout)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def forward(self, inputs: Tensor) -> Tensor:
        return F.conv2d(
            inputs, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


def lattice_layers(model: nn.Module) -> dict[str, LatticeLayer]:
    """The lattice layers of a model by name, in the order of its modules."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LatticeLayer)}


def draw_levels(model: nn.Module, seed: int) -> None:
    """Draw every lattice weight uniformly; layers are numbered 0, 1, ... in module order."""
    for tensor, layer in enumerate(lattice_layers(model).values()):
        layer.draw_levels(seed, tensor)
