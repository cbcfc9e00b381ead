"""What a latent is seen as, as a torch module."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from qcuda.nn.fused_reading import Draw
from qcuda.nn.reading import seen
from qtheory.algorithms.reader import LEARNED, Reading, group_shape


class Reader(nn.Module):
    """What a latent is seen as; a parametrization, or a function of any latent of its shape.

    latent: its first values, from which learned numbers start; they are
    parameters of this module by their names. In evaluation a random reading is the stair without
    its noise. While it trains, element n draws its word at `iteration`, under `seed` and `tensor`,
    in the stream READ; `set_iteration` moves it, or a weight shows the same level for ever.
    """

    iteration: Tensor

    def __init__(self, reading: Reading, latent: Tensor, *, seed: int = 0, tensor: int = 0) -> None:
        super().__init__()
        self.reading = reading
        self.seed, self.tensor = seed, tensor
        quiet = {"noise": None, "shown": "hard"} if self.reading.shown == "random" else {}
        self.settled = dataclasses.replace(self.reading, **quiet)
        shape = group_shape(self.reading, tuple(latent.shape))
        size = latent.detach().abs()
        mean = size.mean() if shape[:1] in ((), (1,)) else size.flatten(1).mean(1).reshape(shape)
        for p in self.reading.parameters:
            first = (p.start * mean if p.of_mean else mean.new_tensor(p.start)).expand(shape)
            self.register_parameter(p.name, nn.Parameter(first.clone()))
        drawn = torch.zeros((), dtype=torch.int64, device=latent.device)
        self.register_buffer("iteration", drawn, persistent=False)

    def forward(self, latent: Tensor) -> Tensor:
        """The visible weights."""
        reading = self.reading if self.training else self.settled
        learned = tuple(getattr(self, name) for name in LEARNED.get(reading.gain, ()))
        words = None
        if reading.shown == "random":
            words = Draw(self.iteration, self.seed, self.tensor)
        return seen(reading, latent, words, learned)

    def extra_repr(self) -> str:
        return repr(self.reading)
