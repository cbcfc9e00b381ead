"""A latent tensor, read as discrete: forwards its visible weights, backwards a stated slope.

Here it is made of torch's operators; on the CPU kernels do the same (`qcuda.nn.fused_reading`).
Names and formulas are those of `qtheory.algorithms.reader`. Means of a group are summed in float64;
all else is computed in float64 for float64 latents, in float32 for others, and rounded once. So
units and gains have relative errors of a rounding or two, and a latent within that of a threshold
may fall to the other side than in exact arithmetic. What ends that are cut leave is computed in
float64 whatever the latents are. A NaN is handed on. Slopes can not be differentiated again: asking
for it raises an error.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from qcuda.errors import require
from qcuda.nn import fused_reading
from qcuda.nn.fused_reading import Draw, scale
from qcuda.nn.stairs import computed, cumulative, density, goes_up, jumps, once
from qtheory.algorithms.reader import LEARNED, Clip, Reading, taken
from qtheory.noise import Gaussian, Logistic, Smoothing, Triangular, Uniform

NEAR = (0.5, 1.5)  # sizes that a learned threshold feels, in its units
FAMILIES = {Uniform: "uniform", Triangular: "triangular", Gaussian: "normal", Logistic: "logistic"}


def family(noise: Smoothing) -> Any:
    """What `qcuda.nn.stairs` calls a noise. Raises ValueError for heavier tails than it has."""
    found = FAMILIES.get(type(noise))
    require(found is not None, f"a noise of a reader is one of {[*FAMILIES.values()]}, got {noise}")
    return found


def names_learned(reading: Reading) -> tuple[str, ...]:
    """Names of what a reading learns, by attributes alone: torch.compile follows this."""
    by_gain = LEARNED["gain"].get(reading.gain, ())
    by_unit = LEARNED["unit"].get(reading.unit, ())
    return (*by_gain, *by_unit, *LEARNED["ends"].get(reading.ends, ()))


class _Asked(NamedTuple):
    """What a reading takes beside its latents."""

    words: Tensor | None
    plane: Tensor | None  # where it is frozen, or numbers that are fixed
    unit: Tensor | None  # in place of its own
    rank: int  # of the size that is the unit "rank"
    learned: tuple[Tensor, ...]


def _axes(reading: Reading, x: Tensor) -> tuple[int, ...]:
    filters = reading.group == "filter" and x.dim() > 1
    return tuple(range(1 if filters else 0, x.dim()))


def _each(reading: Reading, x: Tensor) -> int:
    """Latents of a group."""
    return x.numel() if len(_axes(reading, x)) == x.dim() else x.numel() // max(x.shape[0], 1)


def _rank(reading: Reading, x: Tensor) -> int:
    """Of the size that is the unit, if it is one."""
    return taken(reading.zeros, _each(reading, x)) if reading.unit == "rank" else 0


def _mean(reading: Reading, x: Tensor, some: Tensor | None = None) -> Tensor:
    """Mean of |x| of each group, or over some of it; 0 where that is empty."""
    size = x.abs() if some is None else torch.where(some, x.abs(), 0)
    axes = _axes(reading, x)
    if some is None:
        return size.mean(axes, keepdim=True, dtype=torch.float64).to(x.dtype)
    count = some.sum(axes, keepdim=True).clamp_min(1)
    return (size.sum(axes, keepdim=True, dtype=torch.float64) / count).to(x.dtype)


def _unit(reading: Reading, x: Tensor, asked: _Asked) -> Tensor | None:
    """The unit of each group; None for 1."""
    if asked.unit is not None:
        return asked.unit.to(x.dtype)
    match reading.unit:
        case "one":
            return None
        case "step" | "threshold":
            return asked.learned[0].to(x.dtype)
        case "rank":
            axes = _axes(reading, x)
            rows = x.detach().abs().reshape(1 if len(axes) == x.dim() else x.shape[0], -1)
            k = asked.rank
            found = rows.kthvalue(k, 1).values if k else rows.new_zeros(rows.shape[0])
            return found.reshape(-1, *(1,) * (x.dim() - 1))
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
    reading: Reading, x: Tensor, level: Tensor, unit: Tensor | None, asked: _Asked
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
            positive, negative = (one.to(x.dtype) for one in asked.learned)
            return torch.where(level > 0, positive, negative)
        case "fixed":
            assert asked.plane is not None
            return _mean(reading, asked.plane.to(x.dtype), level != 0)
        case _:
            return unit


def _level(reading: Reading, x: Tensor, unit: Tensor | None, asked: _Asked) -> Tensor:
    """The level of each latent, or its mean; of no meaning for NaN."""
    stair, noise, words = reading.stair, reading.noise, asked.words
    level = torch.full_like(x, stair.levels[0])
    if noise is None:
        for t, high in zip(stair.thresholds, stair.levels[1:], strict=True):
            cut = t if unit is None else t * unit
            level = torch.where(x >= cut if goes_up(stair, t) else x > cut, high, level)
        return level
    if reading.ends == "cut":
        chances = [one.chance for one in _cut(reading, x, asked)]
    else:
        u, s = (x if unit is None else x / unit), scale(noise)
        chances = [cumulative(family(noise), (u - t) / s) for t in stair.thresholds]
    if reading.shown == "expectation":
        for chance, jump in zip(chances, jumps(stair), strict=True):
            level = level + jump * chance
        return level.to(x.dtype)
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


class _Passing(NamedTuple):
    """The probability of passing a threshold, and its derivatives in u and s."""

    chance: Tensor
    in_u: Tensor
    in_s: Tensor


def _cut(reading: Reading, x: Tensor, asked: _Asked) -> list[_Passing]:
    """Of logistic noise cut off at b and e, half a spacing beyond the levels, in float64.

    With u and s the latent and the scale in units of the step, L(y) = log(1 + exp(y / s)) and
    E(y) = 1 - exp(-y / s), threshold t is passed with exp(L(b - u) - L(t - u)) E(e - t) / E(e - b).
    """
    levels = reading.stair.levels
    half = 0.5 * (levels[1] - levels[0])
    b, e = levels[0] - half, levels[-1] + half
    step, noise = (number.to(torch.float64) for number in asked.learned)
    u, s = x.to(torch.float64) / step, noise / step

    def of_end(t: float) -> Tensor:
        return (e - t) / torch.expm1((e - t) / s)

    found: list[_Passing] = []
    for t in reading.stair.thresholds:
        to_b, to_t = (b - u) / s, (t - u) / s
        rise = F.logsigmoid(-to_t) - F.logsigmoid(-to_b)
        chance = rise.exp() * (torch.expm1((t - e) / s) / torch.expm1((b - e) / s))
        over_b, over_t = torch.sigmoid(to_b), torch.sigmoid(to_t)
        in_s = (to_t * over_t - to_b * over_b) / s + (of_end(b) - of_end(t)) / s.square()
        found.append(_Passing(chance, chance * (over_t - over_b) / s, chance * in_s))
    return found


def _slopes_of_mean(reading: Reading, x: Tensor, asked: _Asked) -> tuple[Tensor, Tensor]:
    """Derivatives of the mean level in u and in s, in the type of x."""
    in_u, in_s = torch.zeros_like(x), torch.zeros_like(x)
    for one, jump in zip(_cut(reading, x, asked), jumps(reading.stair), strict=True):
        in_u, in_s = in_u + jump * one.in_u, in_s + jump * one.in_s
    return in_u.to(x.dtype), in_s.to(x.dtype)


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
    for t, jump in zip(stair.thresholds, jumps(stair), strict=True):
        total = total + jump / s * density(family(w), (u - t) / s)
    return total


def _carried(reading: Reading, latent: Tensor, asked: _Asked) -> Tensor:
    """What the stair is asked of: the latents, or the sizes of scores with the signs that stay."""
    x = latent.to(computed(latent))
    if reading.signs == "own":
        return x
    assert asked.plane is not None
    return x.abs() * asked.plane.sign().to(x.dtype)


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(
        latent: Tensor,
        words: Tensor | None,
        plane: Tensor | None,
        own_unit: Tensor | None,
        rank: int,
        reading: Reading,
        *learned: Tensor,
    ) -> Tensor:
        asked = _Asked(words, plane, own_unit, rank, learned)
        x = _carried(reading, latent, asked)
        unit = _unit(reading, x, asked)
        level = _level(reading, x, unit, asked)
        gain = _gain(reading, x, level, unit, asked)
        seen = level if gain is None else gain * level
        if reading.order != "none":
            assert plane is not None
            seen = torch.where(plane, seen, x)
        return torch.where(x.isnan(), torch.nan, seen).to(latent.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        latent, words, plane, unit, rank, reading, *learned = inputs
        ctx.save_for_backward(latent, words, plane, unit, *learned)
        ctx.reading, ctx.rank = reading, rank

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        latent, words, plane, unit, *learned = ctx.saved_tensors
        asked = _Asked(words, plane, unit, ctx.rank, tuple(learned))
        found = _slopes(ctx.reading, latent, asked, gradients[0])
        sources = (gradients[0], latent, *learned)
        first, *rest = (once(each, *sources) for each in found)
        return first, None, None, None, None, None, *rest


def _slopes(reading: Reading, latent: Tensor, asked: _Asked, upstream: Tensor) -> list[Tensor]:
    """Gradients of the latent and of what is learned."""
    if reading.order != "none":
        assert asked.plane is not None
        return [torch.where(asked.plane, 0, upstream).to(latent.dtype)]
    if reading.factor == "straight" and reading.window is None and not asked.learned:
        return [upstream.to(latent.dtype)]
    x = _carried(reading, latent, asked)
    g, unit = upstream.to(x.dtype), _unit(reading, x, asked)
    level = _level(reading, x, unit, asked)
    gain, inside, in_s = _gain(reading, x, level, unit, asked), _window(reading, x, unit), None
    if reading.ends == "cut":
        inside, in_s = _slopes_of_mean(reading, x, asked)
    flat = g if inside is None else inside * g
    if gain is not None and reading.factor != "straight":
        flat = flat * _factor(reading, latent, level, gain, asked)
    axes = _axes(reading, x)
    n = _each(reading, x)
    if reading.gain_slope == "printed":
        flat = flat + g / n
    if reading.gain_slope == "exact":
        flat = flat + x.sign() * (_summed(g * level, axes) / n)
    found = [flat.to(latent.dtype)]
    if reading.gain == "step":
        assert unit is not None
        steady = math.sqrt(n * reading.stair.levels[-1]) if reading.steadied else 1.0
        position = x / unit if inside is None else torch.where(inside != 0, inside * (x / unit), 0)
        if in_s is not None:
            position = position + in_s * (asked.learned[1].to(x.dtype) / unit)
        found.append((_summed(g * (level - position), axes) / steady).to(asked.learned[0].dtype))
    if in_s is not None:
        found.append(_summed(g * in_s, axes).to(asked.learned[1].dtype))
    if reading.gain == "sides":
        for side, number in zip((level > 0, level < 0), asked.learned, strict=True):
            found.append(_summed(torch.where(side, g * level, 0), axes).to(number.dtype))
    if reading.unit == "threshold":
        assert unit is not None and gain is not None
        u = x / unit
        near = (u.abs() >= NEAR[0]) & (u.abs() < NEAR[1])
        felt = torch.where(near, g * gain * u, 0)
        found.append((-_summed(felt, axes) / unit).to(asked.learned[0].dtype))
    return found


def _factor(reading: Reading, latent: Tensor, level: Tensor, gain: Tensor, asked: _Asked) -> Tensor:
    """What the slope in a latent is multiplied by, if not by 1."""
    if reading.factor == "fixed":
        assert asked.plane is not None
        return asked.plane.to(gain.dtype) * latent.sign().to(gain.dtype)
    return gain if reading.factor == "gain" else torch.where(level != 0, gain, 1)


def _summed(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.sum(axes, keepdim=True, dtype=torch.float64).to(x.dtype)


def level_and_unit(
    reading: Reading, latent: Tensor, unit: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Levels of a reading without noise, and the unit of each group: as given, or its own."""
    asked = _Asked(None, None, unit, 0, ())
    x = latent.to(computed(latent))
    own = _unit(reading, x, asked)
    assert own is not None
    return _level(reading, x, own, asked), own


def place(
    reading: Reading, latent: Tensor, learned: tuple[Tensor, ...], fixed: Tensor | None
) -> Tensor:
    """Places of the levels of a reading without noise, counted from the lowest, int64."""
    asked = _Asked(None, fixed, None, _rank(reading, latent), learned)
    x = _carried(reading, latent, asked)
    level = _level(reading, x, _unit(reading, x, asked), asked)
    return torch.searchsorted(level.new_tensor(reading.stair.levels), level.contiguous())


def seen(
    reading: Reading,
    latent: Tensor,
    words: Tensor | Draw | None = None,
    learned: tuple[Tensor, ...] = (),
    plane: Tensor | None = None,
    unit: Tensor | None = None,
) -> Tensor:
    """The visible weights, in the shape and type of the latents, differentiable in both.

    words: int64 in [0, 2**32), one a weight, of a random reading, or how to draw them. learned:
    what the reading learns, in the order of its `parameters`, one number for each group. plane: of
    the latents' shape, "frozen" (bool) if the reading has an order, or "fixed". unit: of such a
    reading, in place of its own, one a group.

    Raises ValueError if there are words for another pass or none for it, or another count of
    learned numbers or planes.
    """
    require(
        (words is not None) == (reading.shown == "random"),
        f"words are for a random reading, and it needs them, got {reading.shown!r}",
    )
    ordered = reading.order != "none"
    kept = ordered or reading.signs == "fixed"
    require(unit is None or ordered, f"a unit is of a reading with an order, got {reading.unit!r}")
    names = names_learned(reading)
    require(
        len(learned) == len(names),
        f"a reading has its learned numbers, {names}, got {len(learned)}",
    )
    require(
        (plane is not None) == kept,
        f"a plane is of an order or of signs that are fixed, got {reading.order!r} and "
        f"{reading.signs!r} {'without' if plane is None else 'with'} one",
    )
    if fused_reading.suits(reading, latent):
        return fused_reading.read(reading, latent, words, learned)
    drawn = words.words(latent) if isinstance(words, Draw) else words
    rank = _rank(reading, latent)  # here, as torch.compile follows no number within the function
    return _Read.apply(latent, drawn, plane, unit, rank, reading, *learned)
