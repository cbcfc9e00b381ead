"""Layers of the baselines: ternary weights with a latent copy, and ordinary real weights.

Both draw their first weights from words of the INITIALISE stream, as lattice layers do.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qcuda._words import words
from qtheory.streams import Stream


class _Ternary(torch.autograd.Function):
    """The nearest of -1, 0, +1, half-way points away from 0; going back, the identity."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor) -> Tensor:
        return latent.sign() * (latent.abs() >= 0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class RealLayer(nn.Module):
    """A linear layer or a 3 x 3 convolution without bias, whose float32 weight is trained.

    ternary: the forward pass sees the weight rounded to -1, 0, +1 (straight-through estimator);
    the latent weight is kept in [-1, 1] by `clip_latent`.
    """

    def __init__(self, shape: tuple[int, ...], *, ternary: bool) -> None:
        super().__init__()
        self.ternary = ternary
        self.latent = nn.Parameter(torch.zeros(shape))

    def draw(self, seed: int, tensor: int) -> None:
        """Uniform on (-1, 1) if ternary, else on +-1 / sqrt(fan in)."""
        bound = 1.0 if self.ternary else 1 / math.sqrt(self.latent[0].numel())
        drawn = words(seed, 0, tensor, self.latent.numel(), stream=Stream.INITIALISE)
        unit = (drawn.to(torch.float64) + 0.5) / 2**31 - 1
        with torch.no_grad():
            self.latent.copy_((unit * bound).reshape(self.latent.shape))

    @property
    def visible(self) -> Tensor:
        """The weight that the forward pass sees."""
        return _Ternary.apply(self.latent) if self.ternary else self.latent

    def forward(self, inputs: Tensor) -> Tensor:
        if self.latent.dim() == 2:
            return F.linear(inputs, self.visible)
        return F.conv2d(inputs, self.visible, padding=1)


def clip_latent(model: nn.Module) -> None:
    """Put latent weights of ternary layers back into [-1, 1]."""
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, RealLayer) and layer.ternary:
                layer.latent.clamp_(-1, 1)
