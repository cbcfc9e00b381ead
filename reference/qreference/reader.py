"""What readers share: a real latent is read through a stair, with or without noise before it.

Latents x of a group have a unit a and a gain g (`qtheory.algorithms.reader` names them). Threshold
t_i of the stair is passed by words below floor(P(x / a - e passes t_i) 2**32); without noise, and
by the likeliest level, that is always or never. The level z is that of the number of thresholds
passed, and what is seen is g z, or x itself where a latent of a reading with an order is free.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from qreference.arrays import Decisions, Real
from qtheory.algorithms import Spec
from qtheory.algorithms.reader import (
    Clip,
    Reading,
    State,
    group_shape,
    planes,
    reading_of,
    taken,
)
from qtheory.arrays import Index, Outcomes, Words
from qtheory.noise import Uniform

NEAR = (0.5, 1.5)
"""Sizes in units of a learned threshold, from and up to which it feels a latent."""


class Read(NamedTuple):
    """What is seen, and what its slope needs: latent in units, level, gain (all float64)."""

    visible: Real
    position: Real
    level: Real
    gain: Real


def start(spec: Spec, latent: Real) -> dict[str, np.ndarray]:
    """The first values of what a reader learns, float32, one for each group; and of what it keeps
    in the shape of its latent: nothing is frozen, and numbers that are fixed are the latent's."""
    reading = reading_of(spec)
    mean = _grouped(reading, np.abs(latent.astype(np.float64)), np.ones(latent.shape, bool))
    found = {
        p.name: (p.start * (mean if p.of_mean else np.ones_like(mean))).astype(np.float32)
        for p in reading.parameters
    }
    first = {"frozen": np.zeros(latent.shape, bool), "fixed": latent.copy()}
    return found | {name: first[name] for name in planes(reading)}


def outcomes(spec: Spec, latent: Real, state: State | None = None) -> Outcomes:
    """The levels that each latent may show, from the highest, and the thresholds between them."""
    reading, state = reading_of(spec), state or {}
    x = _carried(reading, latent, state)
    cuts, unit = np.array(reading.stair.thresholds), _unit(reading, x, state)[..., None]
    if reading.ends == "cut":
        chance = _cut(reading, x[..., None], unit, state)[0]
    elif reading.noise is None:
        at, on = x[..., None], cuts * unit
        reached = np.array([reading.stair.reaches(t) for t in reading.stair.thresholds])
        chance = np.where(reached, at >= on, at > on).astype(np.float64)
    else:
        chance = reading.noise.tail(cuts - x[..., None] / unit)
    if reading.shown == "mode":
        likeliest = _likeliest(chance)
        chance = (likeliest[..., None] > np.arange(cuts.size)).astype(np.float64)
    below = np.floor(chance * 2.0**32).astype(np.uint64)[..., ::-1]
    levels = np.broadcast_to(np.arange(cuts.size, -1, -1), (*x.shape, cuts.size + 1))
    return Outcomes(below, levels)


def _likeliest(chance: Real) -> Index:
    """Of equally likely levels the lowest."""
    one, none = np.ones((*chance.shape[:-1], 1)), np.zeros((*chance.shape[:-1], 1))
    reached = np.concatenate([one, chance, none], axis=-1)
    return (reached[..., :-1] - reached[..., 1:]).argmax(axis=-1).astype(np.int64)


def index(
    spec: Spec, latent: Real, words: Words | None = None, state: State | None = None
) -> Index:
    """Position of the level of each latent; one word a weight where the reading is random.

    Raises ValueError if an expectation, which has no level, is asked for one, or a random reading
    has no words.
    """
    shown = reading_of(spec).shown
    if shown == "expectation" or (shown == "random" and words is None):
        raise ValueError(f"a level is drawn with words, or certain, got the pass {shown!r}")
    drawn = np.zeros(latent.shape, np.uint32) if words is None else words
    thresholds, levels = outcomes(spec, latent, state)
    passed = (drawn[..., None] >= thresholds).sum(axis=-1, dtype=np.int64)
    return np.take_along_axis(levels, passed[..., None], axis=-1)[..., 0]


def seen(spec: Spec, latent: Real, words: Words | None = None, state: State | None = None) -> Read:
    """Visible weights before they are rounded, and what slopes need."""
    reading, state = reading_of(spec), state or {}
    x = _carried(reading, latent, state)
    levels, unit = np.array(reading.stair.levels), _unit(reading, x, state)
    with np.errstate(over="ignore"):  # where a unit is the smallest number
        position = np.divide(x, unit, out=np.zeros_like(x), where=unit != 0)
    if reading.shown == "expectation":
        assert reading.noise is not None
        passed = reading.noise.tail(np.array(reading.stair.thresholds) - position[..., None])
        if reading.ends == "cut":
            passed = _cut(reading, x[..., None], unit[..., None], state)[0]
        level = levels[0] + passed @ np.diff(levels)
    else:
        level = levels[index(spec, latent, words, state)]
    gain = _gain(reading, x, level, state)
    shown = gain * level
    if reading.order != "none":
        shown = np.where(state["frozen"], shown, x)
    return Read(shown, position, level, gain)


def read(spec: Spec, latent: Real, words: Words | None = None, state: State | None = None) -> Real:
    """The visible weights, in weight units and in the type of the latents."""
    return seen(spec, latent, words, state).visible.astype(latent.dtype)


def slope(
    spec: Spec,
    latent: Real,
    words: Words | None,
    upstream: Real,
    state: State | None = None,
) -> dict[str, Real]:
    """Gradients of the latent and of what is learned, given that of the visible weights."""
    reading, one = reading_of(spec), seen(spec, latent, words, state)
    g, n, state = upstream.astype(np.float64), _size(reading, latent.shape), state or {}
    inside, by_scale = window(reading, one.position), np.zeros(latent.shape)
    if reading.ends == "cut":
        x, unit = latent.astype(np.float64)[..., None], one.gain[..., None]
        inside, by_scale = (
            part @ np.diff(reading.stair.levels) for part in _cut(reading, x, unit, state)[1:]
        )
    through = {"straight": 1.0, "gain": one.gain, "sides": np.where(one.level, one.gain, 1.0)}
    if reading.factor == "fixed":
        through["fixed"] = state["fixed"] * np.sign(latent)
    flat = inside * through[reading.factor] * g
    if reading.order != "none":
        flat = np.where(state["frozen"], 0.0, flat)
    if reading.gain_slope == "printed":
        flat = flat + g / n
    if reading.gain_slope == "exact":
        flat = flat + np.sign(latent) / n * _summed(reading, g * one.level)
    found = {"latent": flat.astype(latent.dtype)}
    if reading.gain == "step":
        steady = math.sqrt(n * reading.stair.levels[-1]) if reading.steadied else 1.0
        error = one.level - inside * one.position
        if reading.ends == "cut":
            ratio = state["scale"].astype(np.float64) / one.gain
            error = error - by_scale * ratio
            found["scale"] = _summed(reading, g * by_scale)
        found["step"] = _summed(reading, g * error) / steady
    if reading.unit == "threshold":
        size = np.abs(one.position)
        near = (size >= NEAR[0]) & (size < NEAR[1])
        unit = _unit(reading, latent.astype(np.float64), state)
        found["threshold"] = -_summed(reading, g * near * one.gain * one.position / unit)
    if reading.gain == "sides":
        found["positive"] = _summed(reading, g * one.level * (one.level > 0))
        found["negative"] = _summed(reading, g * one.level * (one.level < 0))
    return found


def _carried(reading: Reading, latent: Real, state: State) -> Real:
    """What the stair is asked of: the latents, or the sizes of scores with the signs that stay."""
    x = latent.astype(np.float64)
    return np.abs(x) * np.sign(state["fixed"]) if reading.signs == "fixed" else x


def _cut(reading: Reading, x: Real, unit: Real, state: State) -> tuple[Real, Real, Real]:
    """Probabilities of passing thresholds t, noise cut off half a spacing beyond the levels, at b
    and e; and their derivatives in u = x / a, and in r / a, r the scale of the noise.

    With s = r / a, L(y) = log(1 + exp(y / s)) and E(y) = 1 - exp(-y / s), a quotient of differences
    of sigmoids between t, b and e is exp(L(b - u) - L(t - u)) E(e - t) / E(e - b).
    """
    levels, t = np.array(reading.stair.levels), np.array(reading.stair.thresholds)
    half = 0.5 * (levels[1] - levels[0])
    b, e = levels[0] - half, levels[-1] + half
    u, s = x / unit, state["scale"].astype(np.float64)[..., None] / unit
    to_b, to_t = (b - u) / s, (t - u) / s
    rise = np.logaddexp(0.0, to_b) - np.logaddexp(0.0, to_t)
    chance = np.exp(rise) * np.expm1((t - e) / s) / np.expm1((b - e) / s)
    above_b, above_t = (1.0 / (1.0 + np.exp(-np.clip(y, -700, 700))) for y in (to_b, to_t))
    in_u = chance * (above_t - above_b) / s
    of_e = [y / np.expm1(np.minimum(y / s, 700.0)) for y in (e - t, e - b)]
    in_s = chance * (to_t * above_t - to_b * above_b) / s + chance * (of_e[1] - of_e[0]) / s**2
    return chance, in_u, in_s


def window(reading: Reading, position: Real) -> Real:
    """The surrogate derivative of the stair at positions in units of the unit."""
    w = reading.window
    if w is None:
        return np.ones_like(position)
    if isinstance(w, Clip):
        low, high = position >= w.low, position <= w.high
        ends = (position != w.low) & (position != w.high)
        return (low & high & (ends | w.closed)).astype(np.float64)
    apart = position[..., None] - np.array(reading.stair.thresholds)
    density = w.density(apart)
    if isinstance(w, Uniform):  # whose window has its left end and not its right one
        density = np.where(apart < w.half_width, density, 0.0)
    return density @ np.diff(reading.stair.levels)


def stopped(spec: Spec, latent: Real) -> Real:
    """Latents after a step, kept within the bound."""
    bound = reading_of(spec).bound
    return np.clip(latent, -bound, bound).astype(latent.dtype)


def _unit(reading: Reading, x: Real, state: State) -> Real:
    every = np.ones(x.shape, bool)
    if "unit" in state:
        return np.broadcast_to(state["unit"], x.shape).astype(np.float64)
    match reading.unit:
        case "step" | "threshold" as name:
            return np.broadcast_to(state[name], x.shape).astype(np.float64)
        case "rank":
            k = taken(reading.zeros, _size(reading, x.shape))
            groups = np.abs(x).reshape(math.prod(group_shape(reading, x.shape)), -1)
            largest = np.array([([0.0, *sorted(row)])[k] for row in groups.tolist()])
            return np.broadcast_to(largest.reshape(group_shape(reading, x.shape)), x.shape)
        case "mean":
            return np.broadcast_to(_grouped(reading, np.abs(x), every), x.shape)
        case "largest" | "power":
            top = np.abs(x).max(axis=_axes(reading, x.ndim), keepdims=True)
            if reading.unit == "power":
                top = np.array([_power(s) for s in top.ravel().tolist()]).reshape(top.shape)
            return np.broadcast_to(top, x.shape)
        case _:
            return np.ones_like(x)


def _power(largest: float) -> float:
    """The largest power of two p with p <= 4/3 of it, so that it is below 3/2 p."""
    power = 1.0
    while power * 3 > 4 * largest > 0:
        power /= 2
    while power * 6 <= 4 * largest:
        power *= 2
    return power if largest > 0 else 0.0


def _gain(reading: Reading, x: Real, level: Real, state: State) -> Real:
    match reading.gain:
        case "one":
            return np.ones_like(x)
        case "sides":
            return np.where(level > 0, state["positive"], state["negative"]).astype(np.float64)
        case "survivors" | "fixed":
            size = np.abs(x) if reading.gain == "survivors" else np.abs(state["fixed"])
            return np.broadcast_to(_grouped(reading, size, level != 0), x.shape)
        case "mean":
            return np.broadcast_to(_grouped(reading, np.abs(x), level == level), x.shape)
        case _:
            return _unit(reading, x, state)


def _axes(reading: Reading, dimensions: int) -> tuple[int, ...]:
    filters = reading.group == "filter" and dimensions > 1
    return tuple(range(1 if filters else 0, dimensions))


def _summed(reading: Reading, x: Real) -> Real:
    return x.sum(axis=_axes(reading, x.ndim), keepdims=True)


def _grouped(reading: Reading, x: Real, some: Decisions) -> Real:
    """Mean of some numbers of each group, 0 where there are none."""
    count = _summed(reading, some.astype(np.float64))
    return _summed(reading, x * some) / np.maximum(count, 1.0)


def _size(reading: Reading, shape: tuple[int, ...]) -> int:
    """Latents of a group."""
    return math.prod(shape[axis] for axis in _axes(reading, len(shape)))
