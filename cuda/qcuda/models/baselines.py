"""Layers of the baselines: weights of two or three levels with a latent copy, and real weights.

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
    """A linear layer or a convolution, without bias, whose float32 weight is trained.

    padding: of a convolution, in pixels at each end; by default its image keeps its size.

    levels: the forward pass sees the weight rounded to -1, 0, +1 if 3, to -1, +1 if 2, as in
    BinaryConnect [courbariaux2015]: a straight-through estimator, whose latent weight is kept in
    [-1, 1] by `qcuda.stop_latents`. None: it sees the weight itself. threshold: from which |weight|
    on three levels show -1 or +1.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        levels: Literal[2, 3] | None,
        threshold: float = 0.5,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        self.padding = shape[-1] // 2 if padding is None else padding
        self.levels, self.threshold = levels, threshold
        self.latent = nn.Parameter(torch.zeros(shape))
        reading = read_as(levels, threshold) if levels else None
        self.reader = None if reading is None else Reader(reading, self.latent)

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
        return self.latent if self.reader is None else self.reader(self.latent)

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
        return F.conv2d(inputs, self.visible, padding=self.padding)
