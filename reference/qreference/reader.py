"""What readers share: a real latent is read through a stair, with or without noise before it.

Latents x of a group have a unit a and a gain g (`qtheory.algorithms.reader` names them). Threshold
t_i of the stair is passed by words below floor(P(x / a - e passes t_i) 2**32); without noise, and
by the likeliest level, that is always or never. The level z is that of the number of thresholds
passed, and what is seen is g z.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from qreference.arrays import Decisions, Real
from qtheory.algorithms import Spec
from qtheory.algorithms.reader import Clip, Reading, State, reading_of
from qtheory.arrays import Index, Outcomes, Words


class Read(NamedTuple):
    """What is seen, and what its slope needs: latent in units, level, gain (all float64)."""

    visible: Real
    position: Real
    level: Real
    gain: Real


def start(spec: Spec, latent: Real) -> dict[str, Real]:
    """The first values of what a reader learns, float32, one for each group."""
    reading = reading_of(spec)
    mean = _grouped(reading, np.abs(latent.astype(np.float64)), np.ones(latent.shape, bool))
    return {
        p.name: (p.start * (mean if p.of_mean else np.ones_like(mean))).astype(np.float32)
        for p in reading.parameters
    }


def outcomes(spec: Spec, latent: Real, state: State | None = None) -> Outcomes:
    """The levels that each latent may show, from the highest, and the thresholds between them."""
    reading, x = reading_of(spec), latent.astype(np.float64)
    cuts, unit = np.array(reading.stair.thresholds), _unit(reading, x, state or {})[..., None]
    if reading.noise is None:
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
    reading, x, state = reading_of(spec), latent.astype(np.float64), state or {}
    levels, unit = np.array(reading.stair.levels), _unit(reading, x, state)
    position = np.divide(x, unit, out=np.zeros_like(x), where=unit != 0)
    if reading.shown == "expectation":
        assert reading.noise is not None
        cuts = np.array(reading.stair.thresholds)
        level = levels[0] + reading.noise.tail(cuts - position[..., None]) @ np.diff(levels)
    else:
        level = levels[index(spec, latent, words, state)]
    gain = _gain(reading, x, level, state)
    return Read(gain * level, position, level, gain)


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
    g, n = upstream.astype(np.float64), _size(reading, latent.shape)
    inside = window(reading, one.position)
    through = {"straight": 1.0, "gain": one.gain, "sides": np.where(one.level, one.gain, 1.0)}
    flat = inside * through[reading.factor] * g
    if reading.gain_slope == "printed":
        flat = flat + g / n
    if reading.gain_slope == "exact":
        flat = flat + np.sign(latent) / n * _summed(reading, g * one.level)
    found = {"latent": flat.astype(latent.dtype)}
    if reading.gain == "step":
        steady = math.sqrt(n * reading.stair.levels[-1]) if reading.steadied else 1.0
        error = one.level - inside * one.position
        found["step"] = _summed(reading, g * error) / steady
    if reading.gain == "sides":
        found["positive"] = _summed(reading, g * one.level * (one.level > 0))
        found["negative"] = _summed(reading, g * one.level * (one.level < 0))
    return found


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
    return w.density(apart) @ np.diff(reading.stair.levels)


def stopped(spec: Spec, latent: Real) -> Real:
    """Latents after a step, kept within the bound."""
    bound = reading_of(spec).bound
    return np.clip(latent, -bound, bound).astype(latent.dtype)


def _unit(reading: Reading, x: Real, state: State) -> Real:
    every = np.ones(x.shape, bool)
    match reading.unit:
        case "step":
            return np.broadcast_to(state["step"], x.shape).astype(np.float64)
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
        case "survivors":
            return np.broadcast_to(_grouped(reading, np.abs(x), level != 0), x.shape)
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
