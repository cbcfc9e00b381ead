"""Activations with few levels: noisy stairs, and the multi-step activation of GXNOR-Net."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from qcuda.errors import InputError, require
from qcuda.kernels.words import as_signed
from qcuda.nn.reader import Reader
from qcuda.nn.stairs import (
    FAMILIES,
    FORWARDS,
    Family,
    Forward,
    computed,
    hard,
    noisy_stair,
    odd_stair,
)
from qtheory.stairs.stair import Stair
from qtheory.streams import MAX_ITERATION, MAX_SEED, Stream

Window = Literal["rectangular", "triangular"]
NOISES: dict[str, Family] = {"rectangular": "uniform", "triangular": "triangular"}
"""The noise whose density is a window."""


class NoisyStair(nn.Module):
    """A stair as an activation, under additive noise while it trains. Formulas: qcuda.nn.stairs.

    stair: levels, thresholds and tie rule. family: uniform and triangular (scale: half width),
    normal (scale: standard deviation) or logistic (scale: its parameter). forward: what is handed
    on in training; in evaluation it is the stair without noise, with no slopes unless the pass is
    hard. scale >= 0 and mean: float64 tensors of no dimension, in units of the input; buffers that
    `set_noise` and a schedule move, or parameters if `learned`: then one that falls to 0 or below
    is a stair without noise, and stays one. They are float64 whatever the model is converted to.

    odd: the stair is that of `odd_stair`, for a hard pass with uniform or triangular noise of scale
    > 0 and mean 0, not learned. Its scale is a part of the architecture, not of a checkpoint.

    A random pass draws the word of element n (row by row, whatever the strides) of tensor `tensor`
    at `iteration` under `seed`, stream ACTIVATE: the same numbers give the same bits, for any
    number of threads, and again in a pass that is computed again. `number_stairs` gives layers
    their tensor numbers; a trainer moves `iteration` before each pass, by `set_iteration`, or words
    repeat. It is a buffer on the device of the layer, read there: a captured CUDA graph draws new
    words when it is replayed after `set_iteration`. None of these is part of a checkpoint. The
    first axis is the batch, and its rows count from `row`: ranks and microbatches that share an
    iteration set it to their first row of the whole batch, and draw what the whole would; left at 0
    they draw the same words as each other, as two places of a network that share one layer do.

    Raises ValueError if a name is not known, or scale or mean is not such a number.
    """

    scale: Tensor
    mean: Tensor
    iteration: Tensor
    family: Family
    strategy: Forward

    def __init__(
        self,
        stair: Stair,
        *,
        family: Family = "uniform",
        scale: float = 0.5,
        mean: float = 0.0,
        forward: Forward = "expectation",
        learned: bool = False,
        odd: bool = False,
    ) -> None:
        super().__init__()
        require(family in FAMILIES, f"a noise is one of {', '.join(FAMILIES)}, got {family!r}")
        require(
            forward in FORWARDS, f"a forward pass is one of {', '.join(FORWARDS)}, got {forward!r}"
        )
        require(
            not odd or (forward == "hard" and family in NOISES.values() and not learned),
            "an odd stair has a hard pass and uniform or triangular noise, not learned, got "
            f"{forward}, {family}, learned={learned}",
        )
        self.stair, self.family, self.strategy, self.odd = stair, family, forward, odd
        for name in ("scale", "mean"):
            value = torch.zeros((), dtype=torch.float64)
            if learned:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value, persistent=not odd)
        self.set_noise(scale, mean)
        self.seed, self.tensor, self.row = 0, -1, 0
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64), persistent=False)

    def set_noise(self, scale: float, mean: float = 0.0) -> None:
        """Move scale and mean, in place.

        Raises ValueError unless they are finite and scale >= 0, or scale > 0 and mean 0 if odd.
        """
        require(
            math.isfinite(scale) and scale >= 0, f"a scale of noise is finite and >= 0, got {scale}"
        )
        require(math.isfinite(mean), f"the mean of a noise is finite, got {mean}")
        require(
            not self.odd or (scale > 0 and mean == 0),
            f"the noise of an odd stair has a scale > 0 and mean 0, got {scale} and {mean}",
        )
        with torch.no_grad():
            self.scale.fill_(scale)
            self.mean.fill_(mean)

    def forward(self, inputs: Tensor) -> Tensor:
        if not inputs.is_floating_point():
            raise InputError(f"a stair takes floating-point numbers, got {inputs.dtype}")
        if self.odd:
            return odd_stair(inputs, self.scale, self.stair, self.family)
        if not (self.training or self.strategy == "hard"):
            return self.hard(inputs)
        words = self.words(inputs) if self.strategy == "random" else None
        return noisy_stair(
            inputs, self.scale, self.mean, self.stair, self.family, self.strategy, words
        )

    def hard(self, inputs: Tensor) -> Tensor:
        """The stair without noise, at inputs - mean; nothing flows back."""
        x = inputs.detach()
        if self.odd:
            return odd_stair(x, self.scale, self.stair, self.family)
        at = x.to(computed(x)) - self.mean.detach().to(computed(x))
        return torch.where(at.isnan(), at, hard(self.stair, at)).to(x.dtype)

    def words(self, inputs: Tensor) -> Tensor:
        """The words of a random pass, int64 in [0, 2**32), in the shape of the inputs.

        Raises ValueError if the layer has no tensor number yet.
        """
        require(
            self.tensor >= 0,
            "a random stair has its own tensor number, from number_stairs, got none",
        )
        offset = self.row * math.prod(inputs.shape[1:])
        return torch.ops.qtheory.words(
            inputs, self.iteration, as_signed(self.seed), self.tensor, offset, int(Stream.ACTIVATE)
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NoisyStair:
        exact = {name: getattr(self, name).detach().clone() for name in ("scale", "mean")}
        was_meta = self.iteration.is_meta
        super()._apply(fn, recurse)
        if was_meta and not self.iteration.is_meta:
            self.iteration.zero_()  # no checkpoint fills it
        for name, value in exact.items():
            moved = getattr(self, name)
            if moved.dtype != torch.float64:
                moved.data = value.to(moved.device)
        return self

    def extra_repr(self) -> str:
        shape = f"levels={len(self.stair.levels)}, family={self.family}, forward={self.strategy}"
        if self.scale.is_meta:
            return shape
        return f"{shape}, scale={self.scale.item():g}, mean={self.mean.item():g}"


def MultiStep(
    order: int = 1,
    *,
    threshold: float = 0.5,
    half_width: float = 0.5,
    window: Window = "rectangular",
) -> NoisyStair:
    """The quantising activation of GXNOR-Net, 2**order + 1 levels on [-1, 1] [deng2018].

    With K = 2**(order - 1) positive levels and thresholds t_k = r + (k - 1)(1 - r) / K, the output
    is sign(x) (number of thresholds below |x|) / K. A value on a threshold belongs to the lower
    level. order = 0 is the sign, +1 at 0. Going back, each step of height h is replaced by a
    window of area h and half-width a around it: rectangular h / 2a, or triangular h / a at its
    peak. It is a noisy stair with a hard pass: the windows are the densities of its noise.

    order: N_2 >= 0. threshold: r >= 0, in units of the input, below 1 for order > 1. half_width:
    a > 0, likewise. Raises ValueError for other numbers, or a window that is not known.
    """
    require(
        half_width > 0 and math.isfinite(half_width),
        f"a half-width is positive and finite, got {half_width}",
    )
    require(window in NOISES, f"a window is rectangular or triangular, got {window!r}")
    stair = Stair.multi_step(order, threshold)
    return NoisyStair(stair, family=NOISES[window], scale=half_width, forward="hard", odd=True)


def noise_stairs(model: nn.Module) -> dict[str, NoisyStair]:
    """The noisy stairs of a model by name, in the order of its modules."""
    return {name: m for name, m in model.named_modules() if isinstance(m, NoisyStair)}


def number_stairs(model: nn.Module, seed: int) -> None:
    """Give the noisy stairs their tensor numbers 0, 1, ... in module order, and a seed.

    Raises ValueError if the seed is not in 0..MAX_SEED.
    """
    require(0 <= seed <= MAX_SEED, f"a seed is in 0..{MAX_SEED}, got {seed}")
    for tensor, layer in enumerate(noise_stairs(model).values()):
        layer.seed, layer.tensor = seed, tensor


def set_iteration(model: nn.Module, iteration: int, row: int = 0) -> None:
    """Tell the noisy stairs and readers of a model the iteration, in place; and stairs the row.

    The row is the first of their batch.

    row: how many rows of the whole batch of this iteration are before those of the next pass.
    Raises ValueError if the iteration is not in 0..MAX_ITERATION, or the row is below 0.
    """
    require(
        0 <= iteration <= MAX_ITERATION,
        f"an iteration is in 0..{MAX_ITERATION}, got {iteration}",
    )
    require(row >= 0, f"the first row of a batch is >= 0, got {row}")
    for layer in model.modules():
        if isinstance(layer, NoisyStair | Reader):
            layer.iteration.fill_(iteration)
        if isinstance(layer, NoisyStair):
            layer.row = row
