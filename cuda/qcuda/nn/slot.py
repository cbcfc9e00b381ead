"""Gradient slots: how autograd hands a gradient to a weight that has no floating-point copy.

A lattice weight lives in an integer buffer, which autograd can not differentiate. Its layer
therefore also has a parameter of the weight's shape whose one number, NaN, is repeated by strides
of zero: four bytes, whatever the shape. Autograd accumulates into its `.grad`, so clipping,
scaling, accumulation and distributed averaging work as for any parameter; a program that takes
the slot for a weight computes NaN and notices.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from qcuda.kernels.abi import Storage
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair


class Owner(Protocol):
    """What an optimiser asks of the layer whose gradient arrives in a slot.

    The elements of a slot lie in the order in which the state stores them: a contiguous gradient,
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


def _hollow(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((), float("nan"), dtype=dtype, device=device).expand(tuple(shape))


class GradientSlot(torch.nn.Parameter):
    """A parameter with a shape and a gradient but no values. `owner` is its layer (a weakref)."""

    owner: weakref.ref[Owner]

    def __new__(
        cls,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        requires_grad: bool = True,
    ) -> GradientSlot:
        data = _hollow(shape, dtype, torch.device(device))
        return torch.Tensor._make_subclass(cls, data, requires_grad)  # pyright: ignore

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
        else:
            self.grad = None  # of the old dtype; torch wants them to agree
            self.data = _hollow(self.shape, dtype, device)
        slot.grad = grad
        return slot


def _make(
    shape: Sequence[int], dtype: torch.dtype, device: torch.device, requires_grad: bool
) -> GradientSlot:
    return GradientSlot.__new__(GradientSlot, shape, dtype, device, requires_grad)
