"""Activations with few levels."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qcuda.errors import require

Window = Literal["rectangular", "triangular"]


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, thresholds: tuple[float, ...], half_width: float, window: Window
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.shape = (thresholds, half_width, window)
        if not thresholds:
            return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
        magnitude = x.abs()
        steps = torch.zeros_like(x)
        for threshold in thresholds:
            steps += magnitude > threshold
        return x.sign() * steps / len(thresholds)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        thresholds, a, window = ctx.shape
        magnitude = x.abs()
        height = 1.0 / max(len(thresholds), 1)
        if not thresholds:
            thresholds, height = (0.0,), 2.0
        slope = torch.zeros_like(x)
        for threshold in thresholds:
            distance = (magnitude - threshold).abs()
            if window == "rectangular":
                slope += (distance <= a).to(x.dtype) * (height / (2 * a))
            else:
                slope += (1 - distance / a).clamp_min(0) * (height / a)
        return gradients[0] * slope, None, None, None


class MultiStep(nn.Module):
    """The quantising activation of GXNOR-Net, 2**order + 1 levels on [-1, 1] [deng2018].

    With K = 2**(order - 1) positive levels and thresholds t_k = r + (k - 1)(1 - r) / K, the output
    is sign(x) (number of thresholds below |x|) / K. A value on a threshold belongs to the lower
    level. order = 0 is the sign, +1 at 0. Going back, each step of height h is replaced by a
    window of area h and half-width a around it: rectangular h / 2a, or triangular h / a at its
    peak.

    order: N_2 >= 0. threshold: r >= 0, in units of the input, below 1 for order > 1. half_width:
    a > 0, likewise.
    """

    def __init__(
        self,
        order: int = 1,
        *,
        threshold: float = 0.5,
        half_width: float = 0.5,
        window: Window = "rectangular",
    ) -> None:
        super().__init__()
        require(order >= 0, f"the order of an activation is >= 0, got {order}")
        require(
            0 <= threshold < (1 if order > 1 else math.inf),
            f"the first threshold is >= 0, and below 1 for order > 1, got {threshold}",
        )
        require(
            half_width > 0 and math.isfinite(half_width),
            f"a half-width is positive and finite, got {half_width}",
        )
        require(
            window in ("rectangular", "triangular"),
            f"a window is rectangular or triangular, got {window!r}",
        )
        self.order, self.threshold, self.half_width = order, threshold, half_width
        self.window: Window = window

    @property
    def thresholds(self) -> tuple[float, ...]:
        """t_1 < ... < t_K, empty for order 0."""
        if self.order == 0:
            return ()
        steps = 2 ** (self.order - 1)
        return tuple(self.threshold + k * (1 - self.threshold) / steps for k in range(steps))

    def forward(self, inputs: Tensor) -> Tensor:
        return _MultiStep.apply(inputs, self.thresholds, self.half_width, self.window)

    def extra_repr(self) -> str:
        return (
            f"order={self.order}, threshold={self.threshold}, half_width={self.half_width}, "
            f"window={self.window}"
        )
