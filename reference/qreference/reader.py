"""What readers share: a real latent is read through a stair, with or without noise before it.

Threshold i of the stair is passed by words below floor(P(x - e passes t_i) 2**32); without noise
that is always or never. The level shown is the number of thresholds passed.
"""

from __future__ import annotations

import numpy as np

from qreference.arrays import Real
from qtheory.algorithms import Spec, contract
from qtheory.algorithms.reader import Reading
from qtheory.arrays import Index, Outcomes, Words


def reading_of(spec: Spec) -> Reading:
    """The row of data that a spec is. Raises TypeError if it is no reader."""
    own = contract(spec).reading
    if own is None:
        raise TypeError(f"a reader has a reading, got {type(spec).__name__}")
    return own(spec)


def outcomes(spec: Spec, latent: Real) -> Outcomes:
    """The levels that each latent may show, from the highest, and the thresholds between them."""
    reading = reading_of(spec)
    x, cuts = latent.astype(np.float64), np.array(reading.stair.thresholds)
    if reading.noise is None:
        passed = reading.stair.index(x)[..., None] > np.arange(cuts.size)
        chance = passed.astype(np.float64)
    else:
        chance = reading.noise.tail(cuts - x[..., None])
    below = np.floor(chance * 2.0**32).astype(np.uint64)[..., ::-1]
    levels = np.broadcast_to(np.arange(cuts.size, -1, -1), (*x.shape, cuts.size + 1))
    return Outcomes(below, levels)


def index(spec: Spec, latent: Real, words: Words) -> Index:
    """Position of the level that each latent shows, one word a weight."""
    thresholds, levels = outcomes(spec, latent)
    passed = (words[..., None] >= thresholds).sum(axis=-1, dtype=np.int64)
    return np.take_along_axis(levels, passed[..., None], axis=-1)[..., 0]


def read(spec: Spec, latent: Real, words: Words) -> Real:
    """The visible weights, float32, in weight units."""
    levels = np.array(reading_of(spec).stair.levels)
    return levels.astype(np.float32)[index(spec, latent, words)]


def slope(spec: Spec, latent: Real, upstream: Real) -> Real:
    """Gradient of the latent, given that of the visible weight: the same, straight through."""
    reading_of(spec)
    return upstream.astype(latent.dtype)


def stopped(spec: Spec, latent: Real) -> Real:
    """Latents after a step, kept within the bound."""
    bound = reading_of(spec).bound
    return np.clip(latent, -bound, bound).astype(latent.dtype)
