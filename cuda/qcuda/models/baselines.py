"""Layers with real weights: torch's own, and those whose weights are seen as a reader does.

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


def read_as(levels: Literal[2, 3], threshold: float = 0.5) -> Reading:
    """The registry's first reader on -1 and +1, or on -1, 0 and +1 with a threshold of its own."""
    lattice = Lattice.ternary() if levels == 3 else Lattice.binary()
    own = reading_of(spec_class(readers()[0])(lattice))
    thresholds = (-threshold, threshold) if levels == 3 else own.stair.thresholds
    return replace(own, stair=replace(own.stair, thresholds=thresholds))


class RealLayer(nn.Module):
    """A linear layer or a convolution that keeps a real weight and sees it as a reader does.

    `qcuda.stop_latents` keeps the latent weight within the bound of the reading. scale: factor of
    what is seen. stride, padding, groups: of a convolution.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        shape: tuple[int, ...],
        reading: Reading,
        *,
        scale: float = 1.0,
        bias: bool = False,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.scale, self.stride, self.padding, self.groups = scale, stride, padding, groups
        self.latent = nn.Parameter(torch.zeros(shape))
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape[0])) if bias else None)
        self.reader = Reader(reading, self.latent)

    def draw(self, seed: int, tensor: int) -> None:
        """Latents uniform on (-1, 1); learned numbers start from them, and words have this seed."""
        draw_real(self.latent, 1.0, seed, tensor)
        self.reader = Reader(self.reader.reading, self.latent, seed=seed, tensor=tensor)

    @torch.no_grad()
    def begin_at(self, weight: Tensor, scale: float) -> None:
        """See about a weight, by latents that are it over a scale; learned numbers begin anew."""
        self.scale = scale
        self.latent.copy_(weight / scale)
        own = self.reader
        self.reader = Reader(own.reading, self.latent, seed=own.seed, tensor=own.tensor)

    @property
    def visible(self) -> Tensor:
        """The weight that the forward pass sees, but for its scale."""
        return self.reader(self.latent)

    @property
    def visible_index(self) -> Tensor:
        """Places of the levels among those of the reading, int64; of a mean, of the nearest."""
        return self.reader.place_of(self.latent)

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
