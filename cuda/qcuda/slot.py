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
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from qcuda.nn import LatticeLayer


def _hollow(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((), float("nan"), dtype=dtype, device=device).expand(tuple(shape))


class GradientSlot(torch.nn.Parameter):
    """A parameter with a shape and a gradient but no values. `owner` is its layer (a weakref)."""

    owner: weakref.ref[LatticeLayer]

    def __new__(
        cls,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> GradientSlot:
        data = _hollow(shape, dtype, torch.device(device))
        return torch.Tensor._make_subclass(cls, data, True)  # pyright: ignore

    def __deepcopy__(self, memo: dict[int, Any]) -> GradientSlot:
        copy = GradientSlot.__new__(GradientSlot, self.shape, self.dtype, self.device)
        if self.grad is not None:
            copy.grad = self.grad.clone()
        memo[id(self)] = copy
        return copy

    def hollow(self) -> None:
        """Give back the storage that a conversion of dtype or device has filled in."""
        self.data = _hollow(self.shape, self.dtype, self.device)
