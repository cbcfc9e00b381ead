"""What layers with a lattice weight have in common."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qcuda.errors import require
from qcuda.kernels import storage as stored
from qcuda.kernels.abi import Storage
from qcuda.kernels.decoding import VISIBLE, decode
from qcuda.kernels.ops import REALS
from qcuda.kernels.order import DIMENSIONS, as_stored, as_weight, stored_shape
from qcuda.kernels.words import words
from qcuda.nn import saved
from qcuda.nn.kept import Again, keeping_little
from qcuda.nn.slot import GradientSlot
from qcuda.nn.visible import WRITTEN, Reading, visible
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair
from qtheory.streams import Stream

EMPTIED = "a weight that was on meta, or emptied, is loaded, drawn or set before it is read"


class LatticeLayer(nn.Module):
    """A layer with one weight on a lattice. It begins on the central level, with biases of 0.

    shape: of the weight. outputs: entries of the bias, and of a scale for each output channel.
    scale: constant factor of the visible weight, a number or a tensor of shape (outputs,);
    gradients are those of the unscaled weight.
    readout: the stair through which hidden levels are seen, None if the levels themselves are.
    device, dtype: as torch's layers take them; dtype is that of the visible weight and the bias,
    float32, bfloat16, float16 or float64.
    gradient_dtype: of the slot, float32 or bfloat16; by default bfloat16 if the weight is.

    storage: by default trits for up to three levels, the fewest bits for hidden ones, else int8.
    frugal: an attribute, False unless it is set. Linear layers and convolutions that are frugal
    keep for the backward pass two bits of each number of a ternary input, and nothing for their
    weight, which is read again; gradients have the same bits. Under torch.compile and in torch.func
    they keep what others do.

    Buffers: state (codes, one a byte or packed, in stored order), levels, scale. The parameter slot
    is where the weight's gradient arrives: it has a stored shape and no values.
    Raises ValueError if a number breaks its rule, or the storage can not hold the lattice.
    """

    state: Tensor
    levels: Tensor
    scale: Tensor
    slot: GradientSlot
    bias: nn.Parameter | None
    frugal: bool = False
    held: dict[Reading, Tensor] | None = None  # of `qcuda.nn.once`

    def __init__(
        self,
        shape: tuple[int, ...],
        lattice: Lattice,
        *,
        outputs: int,
        bias: bool,
        scale: float | Tensor,
        storage: Storage | None,
        readout: Stair | None,
        gradient_dtype: torch.dtype | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        require(min(shape) >= 0, f"a weight's shape has no negative number, got {shape}")
        _check_gradients(gradient_dtype)
        device = torch.get_default_device() if device is None else torch.device(device)
        self.dtype = _visible(torch.get_default_dtype() if dtype is None else dtype)
        self.shape, self.lattice, self.readout = shape, lattice, readout
        fewest = stored.storage_for(lattice, hidden=readout is not None)
        self.storage = fewest if storage is None else storage
        self.gradient_dtype, self.channels_last = gradient_dtype, False
        self._numbers = saved.lattice_tensor(lattice)  # one for all layers that share a weight
        state = stored.central(math.prod(shape), lattice, self.storage, device)
        self.register_buffer("state", state)
        self.register_buffer("levels", self._visible_levels())
        self.register_buffer("scale", _scale(scale, outputs))
        self.slot = GradientSlot(stored_shape(shape), self._kind, device)  # pyright: ignore
        zeros = torch.zeros(outputs, device=device, dtype=self.dtype) if bias else None
        self.register_parameter("bias", None if zeros is None else nn.Parameter(zeros))
        self._settle()

    def _visible_levels(self) -> Tensor:
        """What each index shows, float32, on the CPU."""
        levels = self.lattice.levels
        return torch.from_numpy(levels if self.readout is None else self.readout(levels)).float()

    @property
    def _kind(self) -> torch.dtype:
        """The dtype of gradients."""
        if self.gradient_dtype is not None:
            return self.gradient_dtype
        return torch.bfloat16 if self.dtype == torch.bfloat16 else torch.float32

    def set_gradient_dtype(self, dtype: torch.dtype | None) -> None:
        """Have gradients in another dtype from now on, as `gradient_dtype` of a new layer.

        An optimiser is made afterwards. Raises ValueError for other dtypes than its own.
        """
        _check_gradients(dtype)
        self.gradient_dtype = dtype
        self._settle()

    def _settle(self) -> None:
        """Bring what depends on the state to its device, and the slot to the layer.

        Levels and scale stay in memory where the state is on meta: they are known already.
        """
        device = self.state.device
        if device.type != "meta" and self.levels.device != device:
            self.levels.data, self.scale.data = self.levels.to(device), self.scale.to(device)
        self._parameters["slot"] = self.slot.converted(self._kind, device)
        self.slot.owner = weakref.ref(self)
        self._reading = Reading(
            self.shape, int(self.storage), self.dtype, self.channels_last, self._kind
        )
        self._per_channel = self.scale.dim() > 0
        one = not self._per_channel and float(self.scale) == 1.0
        self._one = (self.scale, self.scale._version) if one else None

    @property
    def index(self) -> Tensor:
        """The weight as indices, int64, of the weight's shape, on the CPU (a copy)."""
        require(not self._emptied, f"{EMPTIED}, got one to be read")
        flat = stored.decode(self.state, self.slot.numel(), self.lattice, self.storage)
        return as_weight(flat.reshape(self.slot.shape)).contiguous()

    @property
    def visible_index(self) -> Tensor:
        """Indices of the visible levels, int64, of the weight's shape, on the CPU (a copy).

        Without a readout they are those of the weight.
        """
        if self.readout is None:
            return self.index
        return torch.from_numpy(self.readout.index(self.lattice.levels))[self.index]

    @property
    def visible_size(self) -> int:
        """Number of visible levels."""
        return self.lattice.size if self.readout is None else len(self.readout.levels)

    @property
    def _emptied(self) -> bool:
        """Whether the state's memory is none, or was never written."""
        return self.state.is_meta or bool(self.levels[:1].isnan())

    def set_index(self, index: Tensor) -> None:
        """Store indices of the weight's shape.

        Raises ValueError if the shape is wrong, one is off the lattice, or the layer is on meta.
        """
        require(
            tuple(index.shape) == tuple(self.shape),
            f"indices have the weight's shape {tuple(self.shape)}, got {tuple(index.shape)}",
        )
        self._store(as_stored(index.cpu()))

    def _store(self, index: Tensor) -> None:
        require(
            not self.state.is_meta,
            "a weight that is set has memory, got a layer on meta: call to_empty first",
        )
        self.state.copy_(stored.encode(index, self.lattice, self.storage))
        self.levels.copy_(self._visible_levels())

    def draw_levels(self, seed: int, tensor: int) -> None:
        """Put every weight on a level drawn uniformly: index = word * size // 2**32.

        The word of an element is that of its place in the stored order.
        """
        drawn = words(seed, 0, tensor, self.slot.numel(), stream=Stream.INITIALISE)
        self._store((drawn * self.lattice.size) >> 32)

    def reset_parameters(self) -> None:
        """Draw every weight uniformly, by a seed from torch's generator; biases become 0."""
        if not self.state.is_meta:
            self.draw_levels(int(torch.randint(2**63 - 1, (), device="cpu")), 0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def weight(self) -> Tensor:
        """The visible weight: made anew from the indices, differentiable towards the slot.

        Under autocast it has autocast's dtype. Writing to it raises InputError.
        """
        buffers: dict[str, Any] = self._buffers  # an attribute of a module is searched for
        parameters: dict[str, Any] = self._parameters
        state, levels, scale = buffers["state"], buffers["levels"], buffers["scale"]
        reading = self._reading_on(state.device.type)
        scaled = self._scaled(scale)
        if self._per_channel:
            scale = self._spread_scale()
        if self.held is None or scaled or self.frugal or not torch.is_grad_enabled():
            return visible(parameters["slot"], state, levels, scale, scaled, reading)
        if reading not in self.held:
            self.held[reading] = visible(parameters["slot"], state, levels, scale, scaled, reading)
        return self.held[reading]

    def _reading_on(self, device: str) -> Reading:
        """How the weight is read now, under autocast or not."""
        if device != "meta" and torch.is_autocast_enabled(device):
            return self._reading._replace(dtype=torch.get_autocast_dtype(device))
        return self._reading

    def _keeping(self, weight: Tensor) -> AbstractContextManager[Any]:
        """A context for the operator that takes the visible weight: what it keeps, if frugal."""
        if not self.frugal:
            return nullcontext()
        state, scale = self.state, self._spread_scale()
        shape, storage, dtype, channels_last, _ = self._reading_on(state.device.type)
        read = partial(decode, state, self.levels, scale, shape, storage, dtype, channels_last)
        return keeping_little(weight, Again(state, state._version, read))

    @property
    def gradient(self) -> Tensor | None:
        """The slot's gradient in the weight's shape (a view), None without one."""
        grad = self.slot.grad
        return None if grad is None else as_weight(grad)

    def _spread_scale(self) -> Tensor:
        """The scale as it multiplies the weight: a number, or of the weight's dimensions."""
        scale = self.scale
        return scale.reshape(-1, *(1,) * (len(self.shape) - 1)) if scale.dim() else scale

    def _scaled(self, scale: Tensor) -> bool:
        """Whether gradients must be multiplied by the scale, as it is not known to be 1."""
        if self._one is None or torch.compiler.is_compiling():
            return True
        known, version = self._one
        return scale is not known or scale._version != version

    def __setattr__(self, name: str, value: Any) -> None:
        require(name != "weight", WRITTEN)
        super().__setattr__(name, value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LatticeLayer:
        """As torch's; integers and float32 stay what they are, and what was emptied is known."""
        layout = torch.channels_last if len(self.shape) == 4 else torch.channels_last_3d
        lies = layout if self.channels_last else torch.contiguous_format
        probe = torch.empty((2,) * len(self.shape), dtype=self.dtype, device=self.state.device)
        probe = fn(probe.contiguous(memory_format=lies))
        self.dtype = _visible(probe.dtype)
        self.channels_last = len(self.shape) in DIMENSIONS and not probe.is_contiguous()
        held = {name: self._buffers[name] for name in ("state", "levels", "scale")}
        with self._without_slot():
            self._buffers.update(dict.fromkeys(held))
            try:
                super()._apply(fn, recurse)
            finally:
                self._buffers.update(held)
        self._convert(fn)
        self._settle()
        return self

    def _convert(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Apply a conversion to the state."""
        before = self.state
        after = fn(before)
        after = after if after.dtype == before.dtype else before.to(after.device)
        if after.is_meta:
            kept = True
        else:
            kept = not before.is_meta and torch.equal(before.to(after.device), after)
        if not kept:
            after.zero_()
            self.levels.fill_(math.nan)  # to_empty: nothing is a weight until it is set
        if before.is_meta == after.is_meta:
            before.data = after  # as torch does with parameters, so that layers may share it
        else:
            self._buffers["state"] = after

    @contextmanager
    def _without_slot(self) -> Iterator[None]:
        """Hide the slot from torch where it saves, loads or converts parameters by their values."""
        slot, self._parameters["slot"] = self.slot, None
        try:
            yield
        finally:
            self._parameters["slot"] = slot

    def __copy__(self) -> LatticeLayer:
        """A second layer with the same weight and slot, as torch's shallow copies share them."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, _original=self)  # the slot's owner lives as long
        return twin

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._settle()

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        with self._without_slot():
            super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}lattice"] = self._numbers

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
        names = {f"{prefix}{name}": name for name in (*saved.PARTS, saved.OLD)}
        given = {name: state_dict[key] for key, name in names.items() if key in state_dict}
        if given:
            try:
                saved.check(
                    given, self.slot.numel(), self.lattice, self.storage, self._visible_levels(),
                    self.scale,
                )  # fmt: skip
            except ValueError as error:
                error_msgs.append(f"{prefix}state: {error}")
                return
        with self._without_slot():
            super()._load_from_state_dict(
                state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                error_msgs,
            )  # fmt: skip
        if strict and not given:
            missing_keys.append(f"{prefix}lattice")
        unexpected_keys[:] = [key for key in unexpected_keys if key != f"{prefix}lattice"]
        self._settle()

    def extra_repr(self) -> str:
        said = f"levels={self.lattice.size}, storage={self.storage.name.lower()}"
        if self.scale.dim():
            return f"{said}, scale={tuple(self.scale.shape)}"
        return said if float(self.scale) == 1.0 else f"{said}, scale={float(self.scale):.6g}"


def _check_gradients(dtype: torch.dtype | None) -> None:
    require(
        dtype is None or dtype in REALS,
        f"gradients of a lattice weight are float32 or bfloat16, got {dtype}",
    )


def _scale(scale: float | Tensor, outputs: int) -> Tensor:
    """A scale as a layer keeps it, float32, on the CPU."""
    made = torch.as_tensor(scale, device="cpu").detach().to(torch.float32, copy=True)
    saved.check_scale(made)
    require(
        made.shape in ((), (outputs,)),
        f"a scale is one number or one for each of {outputs} outputs, got {tuple(made.shape)}",
    )
    return made


def _visible(dtype: torch.dtype) -> torch.dtype:
    names = ", ".join(str(known).removeprefix("torch.") for known in VISIBLE)
    require(dtype in VISIBLE, f"the dtype of a layer is one of {names}, got {dtype}")
    return dtype


def lattice_layers(model: nn.Module) -> dict[str, LatticeLayer]:
    """The lattice layers of a model by name, in the order of its modules."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LatticeLayer)}


def draw_levels(model: nn.Module, seed: int) -> None:
    """Draw every lattice weight uniformly; layers are numbered 0, 1, ... in module order."""
    for tensor, layer in enumerate(lattice_layers(model).values()):
        layer.draw_levels(seed, tensor)
