"""Reading by kernels on the CPU, forwards and backwards: see qcuda.kernels.readings.

One rule says where: latents on the CPU, of float32, bfloat16 or float16, whose row the kernels
cover. Latents elsewhere and in float64, and other rows, are read by operators of torch, which
torch.compile fuses. The two agree but for a few roundings, and for latents and words that are that
close to a threshold.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from qcuda.kernels import abi
from qcuda.kernels.readings import FACTORS, GAIN_SLOPES, SCALES, SHOWN, TYPES, WINDOWS
from qcuda.kernels.words import as_signed
from qcuda.nn.stairs import goes_up, once, quick_to_bind
from qtheory.algorithms.reader import Clip, Reading
from qtheory.noise import Gaussian, Logistic, Smoothing, Triangular, Uniform
from qtheory.streams import Stream

NOISES = (Uniform, Triangular, Gaussian, Logistic)
# Fields that the kernels follow, or that say nothing of one read; any other has to be as it is
# where a row says nothing of it.
_FOLLOWED = (
    "stair", "noise", "bound", "shown", "unit", "gain", "group", "window", "factor", "gain_slope",
    "steadied", "start", "zeros",
)  # fmt: skip
_OTHERS = tuple((f.name, f.default) for f in dataclasses.fields(Reading) if f.name not in _FOLLOWED)
Row: TypeAlias = tuple[list[int], list[float], list[float], list[float], list[bool]]


class Draw(NamedTuple):
    """Words that are not drawn yet: one for each latent, at an iteration that is one int64."""

    iteration: Tensor
    seed: int
    tensor: int

    def words(self, latent: Tensor) -> Tensor:
        """The words, int64 in [0, 2**32), in the shape of the latents."""
        return torch.ops.qtheory.words(
            latent.detach(), self.iteration, as_signed(self.seed), self.tensor, 0, int(Stream.READ)
        )


def scale(noise: Smoothing) -> float:
    """The scale of one of `NOISES`, by attributes alone: torch.compile follows this."""
    if isinstance(noise, Gaussian):
        return noise.std
    return noise.half_width if isinstance(noise, Uniform | Triangular) else noise.scale


def covered(reading: Reading) -> bool:
    """Whether the kernels read as a row says: asked of its fields.

    Noise, before the stair or as a window, is for a unit and a gain of 1.
    """
    noises = [n for n in (reading.noise, reading.window) if n is not None and type(n) is not Clip]
    return (
        all(getattr(reading, name) == usual for name, usual in _OTHERS)
        and len(reading.stair.thresholds) <= abi.MOST_STEPS
        and reading.shown in SHOWN
        and reading.unit in SCALES
        and reading.gain in SCALES
        and reading.factor in FACTORS
        and reading.gain_slope in GAIN_SLOPES
        and all(type(n) in NOISES for n in noises)
        and (not noises or reading.unit == reading.gain == "one")
    )


def row(reading: Reading) -> Row:
    """A covered row as the operators take it."""
    noise, window, stair = reading.noise, reading.window, reading.stair
    family, width, kind, low, high, outer, outer_width = 0, 1.0, "none", 0.0, 0.0, 0, 1.0
    if noise is not None:
        family, width = NOISES.index(type(noise)), scale(noise)
    if isinstance(window, Clip):
        kind, low, high = ("closed" if window.closed else "open"), window.low, window.high
    elif window is not None:
        kind, outer, outer_width = "noise", NOISES.index(type(window)), scale(window)
    kinds = [
        SHOWN.index(reading.shown), SCALES.index(reading.unit), SCALES.index(reading.gain),
        FACTORS.index(reading.factor), GAIN_SLOPES.index(reading.gain_slope),
        int(reading.steadied), family, WINDOWS.index(kind), outer, int(reading.group == "filter"),
    ]  # fmt: skip
    up = [goes_up(stair, t) for t in stair.thresholds]
    numbers = [width, outer_width, low, high, reading.zeros]
    return kinds, numbers, [*stair.thresholds], [*stair.levels], up


def _on_cpu(latent: Tensor) -> bool:
    return latent.device.type == "cpu" and latent.dtype in TYPES


def suits(reading: Reading, latent: Tensor) -> bool:
    """Whether the kernels read these latents."""
    return _on_cpu(latent) and covered(reading)


def shows_what_it_holds(reading: Reading, latent: Tensor) -> bool:
    """Whether held latents are what is seen, and their slope its: a level is read as itself."""
    return _on_cpu(latent) and reading.gain == reading.unit == "power" and reading.window is None


class _Held(torch.autograd.Function):
    @staticmethod
    @quick_to_bind
    def forward(latent: Tensor, place: Tensor, unit: Tensor, levels: Tensor) -> Tensor:
        return torch.ops.qtheory.held(latent, place, unit, levels)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (place,) = ctx.saved_tensors
        return gradients[0].masked_fill(place >= 0, 0), None, None, None


def held(latent: Tensor, place: Tensor, unit: Tensor, levels: Tensor) -> Tensor:
    """Latents with the frozen ones on their levels; a place is a level's, or below 0 if it is free.

    place: int8, of the latents' shape. unit: one, or one for each filter. levels: in its units.
    """
    if _on_cpu(latent):
        return _Held.apply(latent, place, unit, levels)
    level = levels[place.clamp_min(0).long()] * unit
    return torch.where(place >= 0, level.to(latent.dtype), latent)


class _Fused(torch.autograd.Function):
    @staticmethod
    @quick_to_bind
    def forward(
        latent: Tensor,
        first: Tensor | None,
        second: Tensor | None,
        words: Tensor | None,
        iteration: Tensor | None,
        seed: int,
        tensor: int,
        reading: Reading,
    ) -> tuple[Tensor, Tensor]:
        learned = [one for one in (first, second) if one is not None]
        return torch.ops.qtheory.reading(
            latent, words, iteration, seed, tensor, learned, *row(reading)
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        latent, first, second, *_, reading = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # or zeros would be written for what is kept
        straight = reading.factor == "straight" and reading.window is None and first is None
        ctx.reading, ctx.count = reading, len(inputs)
        if not straight:
            ctx.save_for_backward(latent, output[1], first, second)
        ctx.straight = straight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        g, rest = gradients[0], (None,) * (ctx.count - 3)
        if g is None:
            return None, None, None, *rest
        if ctx.straight:
            return once(g, g), None, None, *rest
        latent, kept, first, second = ctx.saved_tensors
        learned = [one for one in (first, second) if one is not None]
        slope, slopes = torch.ops.qtheory.reading_slope(g, latent, kept, learned, *row(ctx.reading))
        sources = (g, latent, *learned)
        found: list[Tensor | None] = [None, None]
        for number, one in enumerate(learned):
            found[number] = once(slopes[number].to(one.dtype).view_as(one), *sources)
        return once(slope, *sources), *found, *rest


def read(
    reading: Reading, latent: Tensor, words: Tensor | Draw | None, learned: tuple[Tensor, ...]
) -> Tensor:
    """What is seen of latents that the kernels suit; arguments are those of `seen`."""
    first, second, *_ = (*learned, None, None)
    if isinstance(words, Draw):
        rest = None, words.iteration, as_signed(words.seed), words.tensor
    else:
        rest = words, None, 0, 0
    return _Fused.apply(latent, first, second, *rest, reading)[0]
