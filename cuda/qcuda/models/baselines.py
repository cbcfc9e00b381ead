"""Layers of the baselines: torch's own, and those whose weights are seen as two or three levels.

Both draw their first weights from words of the INITIALISE stream, as lattice layers do.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qcuda.kernels.order import as_weight, stored_shape
from qcuda.kernels.words import words
from qcuda.nn.reader import Reader
from qtheory.algorithms import readers, spec_class
from qtheory.algorithms.reader import Reading, reading_of
from qtheory.lattice import Lattice
from qtheory.streams import Stream


def read_as(levels: Literal[2, 3], threshold: float) -> Reading:
    """The registry's first reader on -1 and +1, or on -1, 0 and +1 with a threshold of its own."""
    lattice = Lattice.ternary() if levels == 3 else Lattice.binary()
    own = reading_of(spec_class(readers()[0])(lattice))
    thresholds = (-threshold, threshold) if levels == 3 else own.stair.thresholds
    return replace(own, stair=replace(own.stair, thresholds=thresholds))


class RealLayer(nn.Module):
    """A linear layer or a convolution that keeps a real weight and sees it rounded.

    levels: to -1, 0, +1 if 3, to -1, +1 if 2, as in BinaryConnect [courbariaux2015]: a
    straight-through estimator, whose latent weight is kept in [-1, 1] by `qcuda.stop_latents`.
    threshold: from which |weight| on three levels show -1 or +1. scale: factor of what is seen.
    stride, padding, groups: of a convolution.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        levels: Literal[2, 3],
        threshold: float = 0.5,
        scale: float = 1.0,
        bias: bool = False,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.levels, self.threshold, self.scale = levels, threshold, scale
        self.stride, self.padding, self.groups = stride, padding, groups
        self.latent = nn.Parameter(torch.zeros(shape))
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape[0])) if bias else None)
        self.reader = Reader(read_as(levels, threshold), self.latent)

    def draw(self, seed: int, tensor: int) -> None:
        """Latents uniform on (-1, 1)."""
        draw_real(self.latent, 1.0, seed, tensor)

    @property
    def visible(self) -> Tensor:
        """The weight that the forward pass sees, but for its scale."""
        return self.reader(self.latent)

    @property
    def visible_index(self) -> Tensor:
        """Indices of the visible weights, int64, as of a lattice layer."""
        visible = self.visible.detach()
        return ((visible + 1) * (self.levels - 1) / 2).to(torch.int64)

    def forward(self, inputs: Tensor) -> Tensor:
        visible = self.visible if self.scale == 1 else self.visible * self.scale
        if self.latent.dim() == 2:
            return F.linear(inputs, visible, self.bias)
        return F.conv2d(inputs, visible, self.bias, self.stride, self.padding, groups=self.groups)


@torch.no_grad()
def draw_real(weight: Tensor, bound: float, seed: int, tensor: int) -> None:
    """Fill a weight with numbers uniform on (-bound, bound).

    By the words that draw a lattice weight of this shape: elements in stored order.
    """
    drawn = words(seed, 0, tensor, weight.numel(), stream=Stream.INITIALISE)
    unit = (drawn.to(torch.float64) + 0.5) / 2**31 - 1
    weight.copy_(as_weight((unit * bound).reshape(stored_shape(weight.shape))))


def draw_layer(layer: nn.Linear | nn.Conv2d, seed: int, tensor: int) -> None:
    """The first weights of torch's own layer, uniform on +-1 / sqrt(fan in); a bias becomes 0."""
    draw_real(layer.weight, 1 / math.sqrt(layer.weight[0].numel()), seed, tensor)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
