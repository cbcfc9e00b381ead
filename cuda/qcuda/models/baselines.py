"""Layers of the baselines: weights of two or three levels with a latent copy, and real weights.

Both draw their first weights from words of the INITIALISE stream, as lattice layers do.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qcuda.kernels.order import as_weight, stored_shape
from qcuda.kernels.words import words
from qtheory.streams import Stream


class _Nearest(torch.autograd.Function):
    """One of -1, 0, +1 by a threshold or, for two levels, of -1, +1; going back, the identity.

    The threshold itself goes away from 0; 0, half-way between two levels, goes to +1.
    """

    @staticmethod
    def forward(ctx: Any, latent: Tensor, levels: int, threshold: float) -> Tensor:
        if levels == 2:
            return 1.0 - 2.0 * (latent < 0).to(latent.dtype)
        return latent.sign() * (latent.abs() >= threshold)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


class RealLayer(nn.Module):
    """A linear layer, or a convolution that keeps the size of the image, without bias.

    Its float32 weight is trained.

    levels: the forward pass sees the weight rounded to -1, 0, +1 if 3, to -1, +1 if 2, as in
    BinaryConnect [courbariaux2015]: a straight-through estimator, whose latent weight is kept in
    [-1, 1] by `clip_latent`. None: it sees the weight itself. threshold: from which |weight| on
    three levels show -1 or +1.
    """

    def __init__(
        self, shape: tuple[int, ...], *, levels: Literal[2, 3] | None, threshold: float = 0.5
    ) -> None:
        super().__init__()
        self.levels, self.threshold = levels, threshold
        self.latent = nn.Parameter(torch.zeros(shape))

    def draw(self, seed: int, tensor: int) -> None:
        """Uniform on (-1, 1) if it is rounded, else on +-1 / sqrt(fan in).

        By the words that draw a lattice weight of this shape: elements in stored order.
        """
        bound = 1.0 if self.levels else 1 / math.sqrt(self.latent[0].numel())
        drawn = words(seed, 0, tensor, self.latent.numel(), stream=Stream.INITIALISE)
        unit = (drawn.to(torch.float64) + 0.5) / 2**31 - 1
        with torch.no_grad():
            self.latent.copy_(as_weight((unit * bound).reshape(stored_shape(self.latent.shape))))

    @property
    def visible(self) -> Tensor:
        """The weight that the forward pass sees."""
        if self.levels is None:
            return self.latent
        return _Nearest.apply(self.latent, self.levels, self.threshold)

    @property
    def visible_index(self) -> Tensor | None:
        """Indices of the visible weights, int64, as of a lattice layer; None if they are real."""
        if self.levels is None:
            return None
        visible = self.visible.detach()
        return ((visible + 1) * (self.levels - 1) / 2).to(torch.int64)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.latent.dim() == 2:
            return F.linear(inputs, self.visible)
        return F.conv2d(inputs, self.visible, padding=self.latent.shape[2] // 2)


def clip_latent(model: nn.Module) -> None:
    """Put latent weights that are rounded back into [-1, 1]."""
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, RealLayer) and layer.levels:
                layer.latent.clamp_(-1, 1)
