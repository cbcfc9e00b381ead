"""What layers with a lattice weight have in common."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qcuda.errors import require
from qcuda.kernels import storage as stored
from qcuda.kernels.abi import Storage
from qcuda.kernels.ops import REALS
from qcuda.kernels.words import words
from qcuda.nn.slot import GradientSlot
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair
from qtheory.streams import Stream

VISIBLE = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class LatticeLayer(nn.Module):
    """A layer with one weight on a lattice. It begins on the central level, with biases of 0.

    shape: of the weight. outputs: entries of the bias.
    state: the weight, int8 codes or packed trits (a buffer).
    slot: where its gradient arrives (a parameter without values).
    scale: constant factor of the visible weight; gradients are those of the unscaled weight.
    readout: the stair through which hidden levels are seen, None if the levels themselves are.
    device, dtype: as torch's layers take them; dtype is that of the visible weight and the bias,
    float32, bfloat16, float16 or float64. Gradients arrive in float32, or bfloat16 as the weight.

    Raises ValueError if a number breaks its rule, or the storage can not hold the lattice.
    """

    state: Tensor
    levels: Tensor
    slot: GradientSlot
    bias: nn.Parameter | None

    def __init__(
        self,
        shape: tuple[int, ...],
        lattice: Lattice,
        *,
        outputs: int,
        bias: bool,
        scale: float,
        storage: Storage | None,
        readout: Stair | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        require(math.isfinite(scale) and scale > 0, f"a scale is positive and finite, got {scale}")
        require(min(shape) >= 0, f"a weight's shape has no negative number, got {shape}")
        device = torch.get_default_device() if device is None else torch.device(device)
        self.dtype = _visible(torch.get_default_dtype() if dtype is None else dtype)
        self.lattice, self.readout = lattice, readout
        self.storage = stored.storage_for(lattice) if storage is None else storage
        self.scale = scale
        count = math.prod(shape)
        self.register_buffer("state", stored.central(count, lattice, self.storage, device))
        self.register_buffer("levels", self._visible_levels().to(device), persistent=False)
        kind = _of_gradients(self.dtype)
        self.slot = GradientSlot(shape, kind, device)  # pyright: ignore[reportCallIssue]
        self.slot.owner = weakref.ref(self)
        self.register_parameter(
            "bias",
            nn.Parameter(torch.zeros(outputs, device=device, dtype=self.dtype)) if bias else None,
        )

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
        require(
            not self.state.is_meta,
            "a weight that is set has memory, got a layer on meta: call to_empty first",
        )
        self.state.copy_(stored.encode(index.cpu(), self.lattice, self.storage))

    def draw_levels(self, seed: int, tensor: int) -> None:
        """Put every weight on a level drawn uniformly: index = word * size // 2**32."""
        drawn = words(seed, 0, tensor, self.slot.numel(), stream=Stream.INITIALISE)
        self.set_index(((drawn * self.lattice.size) >> 32).reshape(self.slot.shape))

    def reset_parameters(self) -> None:
        """Draw every weight uniformly, by a seed from torch's generator; biases become 0."""
        if not self.state.is_meta:
            self.draw_levels(int(torch.randint(2**63 - 1, (), device="cpu")), 0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def weight(self) -> Tensor:
        """The visible weight: made anew from the indices, differentiable towards the slot."""
        dtype, device = self.dtype, self.state.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        made = dtype if dtype in REALS else torch.float32
        weight = torch.ops.qtheory.decode(
            self.state, self.slot, self.levels, int(self.storage), made
        )
        return (weight if self.scale == 1.0 else weight * self.scale).to(dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LatticeLayer:
        slot: GradientSlot = self.slot
        self._parameters["slot"] = None
        try:
            super()._apply(fn, recurse)
        finally:
            self._parameters["slot"] = slot
        probe = fn(torch.empty((), dtype=self.dtype, device=slot.device))
        self.dtype = _visible(probe.dtype)
        self._parameters["slot"] = slot.converted(_of_gradients(self.dtype), probe.device)
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
        lattice = f"levels={self.lattice.size}, storage={self.storage.name.lower()}"
        return lattice if self.scale == 1.0 else f"{lattice}, scale={self.scale:.6g}"


def _visible(dtype: torch.dtype) -> torch.dtype:
    names = ", ".join(str(known).removeprefix("torch.") for known in VISIBLE)
    require(dtype in VISIBLE, f"the dtype of a layer is one of {names}, got {dtype}")
    return dtype


def _of_gradients(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which gradients of a visible weight arrive: one that kernels read."""
    return dtype if dtype in REALS else torch.float32


def lattice_layers(model: nn.Module) -> dict[str, LatticeLayer]:
    """The lattice layers of a model by name, in the order of its modules."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LatticeLayer)}


def draw_levels(model: nn.Module, seed: int) -> None:
    """Draw every lattice weight uniformly; layers are numbered 0, 1, ... in module order."""
    for tensor, layer in enumerate(lattice_layers(model).values()):
        layer.draw_levels(seed, tensor)
