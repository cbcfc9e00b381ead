"""Gradient slots: how autograd hands a gradient to a weight that has no floating-point copy.

A lattice weight lives in an integer buffer, which autograd can not differentiate. Its layer
therefore also has a parameter whose one number, NaN, is repeated by strides of zero: four bytes,
whatever the shape. Autograd accumulates into its `.grad`, so clipping, scaling, accumulation and
distributed averaging work as for any parameter. A program that takes the slot for a weight
(norms, penalties, averages, another optimiser) is told so by an error. An optimiser of torch meets
it in its first step, after it has changed the ordinary parameters that came before the slot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from typing_extensions import TypeIs

from qcuda.errors import InputError
from qcuda.kernels.abi import Storage
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair

# What may be asked of a slot: all that is not its values. Getters and setters of attributes are
# allowed but for VALUES; functions and methods are those that autograd, torch.func, torch.compile,
# clipping, optimisers' constructors and data parallelism call. `is_contiguous` and `type` are not
# among them: with these FSDP2 and ZeroRedundancyOptimizer begin.
VALUES = {"data", "real", "imag", "T", "mT", "H", "mH"}
ASKED = {
    "size", "stride", "dim", "ndimension", "numel", "nelement", "element_size", "storage_offset",
    "untyped_storage", "data_ptr", "get_device", "is_floating_point", "is_complex",
    "is_conj", "is_neg", "is_signed", "is_inference", "is_pinned", "is_shared", "is_same_size",
    "_is_view", "_is_zerotensor", "is_distributed", "is_set_to", "has_names",
    "requires_grad_", "register_hook", "register_post_accumulate_grad_hook", "retain_grad",
    "__len__", "__hash__", "__format__", "zeros_like", "ones_like", "empty_like", "full_like",
    "rand_like", "randn_like", "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor",
    "custom_function_call", "grad",
}  # fmt: skip


class Owner(Protocol):
    """What an optimiser asks of the layer whose gradient arrives in a slot.

    A slot has the stored shape of its weight (`qcuda.kernels.order`): a contiguous gradient,
    moments and increments of the slot's shape are read one after the other beside the state, and
    an element's place is its number in the random counter. Nothing has to be reordered.
    """

    lattice: Lattice
    readout: Stair | None
    storage: Storage
    state: Tensor

    @property
    def index(self) -> Tensor:
        """The weight as indices, int64, on the CPU (a copy)."""
        ...


def _no_owner() -> None:
    return None


def _hollow(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((), float("nan"), dtype=dtype, device=device).expand(tuple(shape))


class GradientSlot(torch.nn.Parameter):
    """A parameter with a shape and a gradient but no values.

    owner: called, gives its layer, or None if that no longer exists (a weakref).
    Raises InputError where its values are asked for, or written.
    """

    owner: Callable[[], Owner | None] = staticmethod(_no_owner)

    def __new__(
        cls,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        requires_grad: bool = True,
    ) -> GradientSlot:
        data = _hollow(shape, dtype, torch.device(device))
        return torch.Tensor._make_subclass(cls, data, requires_grad)  # pyright: ignore

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.__name__
        if name in ("__get__", "__set__", "__delete__"):
            name = getattr(func.__self__, "__name__", name)
            allowed = name not in VALUES
        else:
            allowed = name in ASKED
        if not allowed:
            raise InputError(
                f"a gradient slot has a gradient and no values, got {name!r}: values are read from "
                "layer.weight, moved by qcuda.LatticeOptimizer, averaged by qcuda.AveragedModel, "
                "and handed to other processes by qcuda.data_parallel, as a model without values "
                "to shard (FSDP, ZeroRedundancyOptimizer)"
            )
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad = "no gradient" if self.grad is None else "a gradient"
        return f"GradientSlot(shape={tuple(self.shape)}, {self.dtype}, {self.device}, {grad})"

    def __deepcopy__(self, memo: dict[int, Any]) -> GradientSlot:
        copy = _make(self.shape, self.dtype, self.device, self.requires_grad)
        if self.grad is not None:
            copy.grad = self.grad.clone()
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _make, (self.shape, self.dtype, self.device, self.requires_grad)

    def converted(self, dtype: torch.dtype, device: torch.device) -> GradientSlot:
        """The slot with another dtype and device, and its gradient; itself where torch can."""
        grad = self.grad
        if grad is not None:
            grad = grad.to(device, dtype) if not grad.is_meta else None
        slot = self
        if "meta" in (device.type, self.device.type) and device != self.device:
            slot = _make(self.shape, dtype, device, self.requires_grad)
        elif (dtype, device) != (self.dtype, self.device):
            self.grad = None  # of the old dtype; torch wants them to agree
            with torch._C.DisableTorchFunctionSubclass():
                self.data = _hollow(self.shape, dtype, device)
        slot.grad = grad
        return slot


def _make(
    shape: Sequence[int], dtype: torch.dtype, device: torch.device, requires_grad: bool
) -> GradientSlot:
    return GradientSlot.__new__(GradientSlot, shape, dtype, device, requires_grad)


def is_slot(param: Tensor) -> TypeIs[GradientSlot]:
    """Whether a parameter is where a lattice weight's gradient arrives."""
    return issubclass(type(param), GradientSlot)  # isinstance asks torch, in Python
