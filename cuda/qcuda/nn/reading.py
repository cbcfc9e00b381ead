"""A latent tensor, read as discrete: forwards its visible weights, backwards a stated slope.

Here it is made of torch's operators; on the CPU kernels do the same (`qcuda.nn.fused_reading`).
Names and formulas are those of `qtheory.algorithms.reader`. Means of a group are summed in float64;
all else is computed in float64 for float64 latents, in float32 for others, and rounded once. So
units and gains have relative errors of a rounding or two, and a latent within that of a threshold
may fall to the other side than in exact arithmetic. A NaN is handed on. Slopes can not be
differentiated again: asking for it raises an error.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from qcuda.errors import require
from qcuda.nn import fused_reading
from qcuda.nn.fused_reading import Draw, scale
from qcuda.nn.stairs import computed, cumulative, density, goes_up, once
from qtheory.algorithms.reader import LEARNED, Clip, Reading
from qtheory.noise import Gaussian, Logistic, Smoothing, Triangular, Uniform

FAMILIES = {Uniform: "uniform", Triangular: "triangular", Gaussian: "normal", Logistic: "logistic"}


def family(noise: Smoothing) -> Any:
    """What `qcuda.nn.stairs` calls a noise. Raises ValueError for heavier tails than it has."""
    found = FAMILIES.get(type(noise))
    require(found is not None, f"a noise of a reader is one of {[*FAMILIES.values()]}, got {noise}")
    return found


def _axes(reading: Reading, x: Tensor) -> tuple[int, ...]:
    filters = reading.group == "filter" and x.dim() > 1
    return tuple(range(1 if filters else 0, x.dim()))


def _mean(reading: Reading, x: Tensor, some: Tensor | None = None) -> Tensor:
    """Mean of |x| of each group, or over some of it; 0 where that is empty."""
    size = x.abs() if some is None else torch.where(some, x.abs(), 0)
    axes = _axes(reading, x)
    if some is None:
        return size.mean(axes, keepdim=True, dtype=torch.float64).to(x.dtype)
    count = some.sum(axes, keepdim=True).clamp_min(1)
    return (size.sum(axes, keepdim=True, dtype=torch.float64) / count).to(x.dtype)


def _unit(reading: Reading, x: Tensor, learned: tuple[Tensor, ...]) -> Tensor | None:
    """The unit of each group; None for 1."""
    match reading.unit:
        case "one":
            return None
        case "step":
            return learned[0].to(x.dtype)
        case "mean":
            return _mean(reading, x)
        case _:
            top = x.abs().amax(_axes(reading, x), keepdim=True)
            if reading.unit == "largest":
                return top
            fraction, exponent = torch.frexp(top)
            power = torch.ldexp(torch.ones_like(top), exponent - (fraction < 0.75).int())
            return torch.where(top > 0, power, 0)


def _gain(
    reading: Reading, x: Tensor, level: Tensor, unit: Tensor | None, learned: tuple[Tensor, ...]
) -> Tensor | None:
    """What levels are multiplied by; None for 1."""
    match reading.gain:
        case "one":
            return None
        case "mean":
            return _mean(reading, x)
        case "survivors":
            return _mean(reading, x, level != 0)
        case "sides":
            positive, negative = (one.to(x.dtype) for one in learned)
            return torch.where(level > 0, positive, negative)
        case _:
            return unit


def _level(reading: Reading, x: Tensor, unit: Tensor | None, words: Tensor | None) -> Tensor:
    """The level of each latent, or its mean; of no meaning for NaN."""
    stair, noise = reading.stair, reading.noise
    level = torch.full_like(x, stair.levels[0])
    if noise is None:
        for t, high in zip(stair.thresholds, stair.levels[1:], strict=True):
            cut = t if unit is None else t * unit
            level = torch.where(x >= cut if goes_up(stair, t) else x > cut, high, level)
        return level
    u, s = (x if unit is None else x / unit), scale(noise)
    chances = [cumulative(family(noise), (u - t) / s) for t in stair.thresholds]
    jumps = [high - low for low, high in zip(stair.levels, stair.levels[1:], strict=False)]
    if reading.shown == "expectation":
        for chance, jump in zip(chances, jumps, strict=True):
            level = level + jump * chance
        return level
    if reading.shown == "random":
        assert words is not None
        for chance, high in zip(chances, stair.levels[1:], strict=True):
            passed = words < torch.floor(chance.to(torch.float64) * 2.0**32)
            level = torch.where(passed, high, level)
        return level
    best = 1 - chances[0]
    beyond = [*chances[1:], torch.zeros_like(x)]
    for chance, above, high in zip(chances, beyond, stair.levels[1:], strict=True):
        level = torch.where(chance - above > best, high, level)
        best = torch.maximum(best, chance - above)
    return level


def _window(reading: Reading, x: Tensor, unit: Tensor | None) -> Tensor | None:
    """The surrogate derivative of the stair; None for 1."""
    w = reading.window
    if w is None:
        return None
    if isinstance(w, Clip):
        low, high = (end if unit is None else end * unit for end in (w.low, w.high))
        inside = (x >= low) & (x <= high) if w.closed else (x > low) & (x < high)
        return inside.to(x.dtype)
    stair, u, s = reading.stair, (x if unit is None else x / unit), scale(w)
    total = torch.zeros_like(u)
    steps = zip(stair.thresholds, stair.levels, stair.levels[1:], strict=False)
    for t, low, high in steps:
        total = total + (high - low) / s * density(family(w), (u - t) / s)
    return total


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(latent: Tensor, words: Tensor | None, reading: Reading, *learned: Tensor) -> Tensor:
        x = latent.to(computed(latent))
        unit = _unit(reading, x, learned)
        level = _level(reading, x, unit, words)
        gain = _gain(reading, x, level, unit, learned)
        seen = level if gain is None else gain * level
        return torch.where(x.isnan(), torch.nan, seen).to(latent.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        latent, words, reading, *learned = inputs
        ctx.save_for_backward(latent, words, *learned)
        ctx.reading = reading

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        latent, words, *learned = ctx.saved_tensors
        found = _slopes(ctx.reading, latent, words, tuple(learned), gradients[0])
        sources = (gradients[0], latent, *learned)
        first, *rest = (once(each, *sources) for each in found)
        return first, None, None, *rest


def _slopes(
    reading: Reading,
    latent: Tensor,
    words: Tensor | None,
    learned: tuple[Tensor, ...],
    upstream: Tensor,
) -> list[Tensor]:
    """Gradients of the latent and of what is learned."""
    if reading.factor == "straight" and reading.window is None and not learned:
        return [upstream.to(latent.dtype)]
    x = latent.to(computed(latent))
    g, unit = upstream.to(x.dtype), _unit(reading, x, learned)
    level = _level(reading, x, unit, words)
    gain, inside = _gain(reading, x, level, unit, learned), _window(reading, x, unit)
    flat = g if inside is None else inside * g
    if gain is not None and reading.factor != "straight":
        flat = flat * (gain if reading.factor == "gain" else torch.where(level != 0, gain, 1))
    axes = _axes(reading, x)
    n = x.numel() if len(axes) == x.dim() else x.numel() // max(x.shape[0], 1)
    if reading.gain_slope == "printed":
        flat = flat + g / n
    if reading.gain_slope == "exact":
        flat = flat + x.sign() * (_summed(g * level, axes) / n)
    found = [flat.to(latent.dtype)]
    if reading.gain == "step":
        assert unit is not None
        steady = math.sqrt(n * reading.stair.levels[-1]) if reading.steadied else 1.0
        position = x / unit if inside is None else torch.where(inside != 0, inside * (x / unit), 0)
        found.append((_summed(g * (level - position), axes) / steady).to(learned[0].dtype))
    if reading.gain == "sides":
        for side, number in zip((level > 0, level < 0), learned, strict=True):
            found.append(_summed(torch.where(side, g * level, 0), axes).to(number.dtype))
    return found


def _summed(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.sum(axes, keepdim=True, dtype=torch.float64).to(x.dtype)


def seen(
    reading: Reading,
    latent: Tensor,
    words: Tensor | Draw | None = None,
    learned: tuple[Tensor, ...] = (),
) -> Tensor:
    """The visible weights, in the shape and type of the latents, differentiable in both.

    words: int64 in [0, 2**32), one a weight, of a random reading, or how to draw them. learned:
    what the reading learns, in the order of its `parameters`, one number for each group.

    Raises ValueError if there are words for another pass or none for it, or another count of
    learned numbers.
    """
    require(
        (words is not None) == (reading.shown == "random"),
        f"words are for a random reading, and it needs them, got {reading.shown!r}",
    )
    names = LEARNED.get(reading.gain, ())
    require(
        len(learned) == len(names),
        f"a reading has its learned numbers, {names}, got {len(learned)}",
    )
    if fused_reading.suits(reading, latent):
        return fused_reading.read(reading, latent, words, learned)
    drawn = words.words(latent) if isinstance(words, Draw) else words
    return _Read.apply(latent, drawn, reading, *learned)
