"""Readers that a test draws, with latents and state, and what these readers show in other words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from strategies import specs

from qreference import reader
from qtheory.algorithms import Spec
from qtheory.algorithms.reader import (
    Clip,
    learned,
    quantizer_of,
    reading_law,
    reading_of,
    unit_of,
)
from qtheory.gradients.stochastic.relaxed_quantization import Slopes, mean_slopes
from qtheory.noise import Uniform

Draw = Callable[[SearchStrategy[Any]], Any]


class Case(NamedTuple):
    """A spec, latents of a few filters, and what it has learned."""

    spec: Spec
    latent: np.ndarray
    state: dict[str, np.ndarray]

    @property
    def reading(self):
        return reading_of(self.spec)

    def words(self, draw: Draw) -> np.ndarray | None:
        if self.reading.shown != "random":
            return None
        few = draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=7))
        return np.resize(np.array(few, np.uint32), self.latent.shape)


def some_case(draw: Draw, stem: str, dtype: type = np.float32) -> Case:
    """Latents on thresholds, on levels, beside them, beyond the ends, at 0: shape (3, n).

    A threshold is in units that depend on all latents of a group, so some are put on it after the
    unit is known from the first ones: no mean moves, as they come in a filter of their own.
    """
    spec = draw(specs(stem))
    reading = reading_of(spec)
    places = np.array([*reading.stair.thresholds, *reading.stair.levels])
    picks = draw(st.lists(st.sampled_from(list(places)), min_size=3, max_size=6))
    exact = np.array(picks) * draw(st.sampled_from([1.0, 0.03, 40.0, 1.0]))
    rest = draw(st.lists(st.floats(-3, 3), min_size=len(exact), max_size=len(exact)))
    far = np.array(rest) * float(np.abs(places).max())
    latent = np.stack([exact, exact + far, np.where(np.arange(len(exact)) % 2, 0.0, far)])
    if draw(st.booleans()):
        latent[0] = np.nextafter(latent[0].astype(dtype), dtype(draw(st.sampled_from([-9e9, 9e9]))))
    latent = latent.astype(dtype)
    first = reader.start(spec, latent)
    state = {
        name: (first[name] * draw(st.sampled_from([1.0, 0.7]))).astype(dtype)
        for name in learned(reading)
    }
    state = {name: np.where(value > 0, value, dtype(1)) for name, value in state.items()}
    if "frozen" in first:
        state["frozen"] = np.resize(draw(st.lists(st.booleans(), min_size=1)), latent.shape)
    if "frozen" in first and draw(st.booleans()):
        state["unit"] = np.full((1, 1), draw(st.sampled_from([0.5, 4.0])), dtype)
    if "fixed" in first:
        some = draw(st.lists(st.sampled_from([-1.5, -0.25, 0.0, 0.25, 2.0]), min_size=1))
        state["fixed"] = np.resize(np.array(some, dtype), latent.shape)
    return Case(spec, latent, state)


def clear(case: Case, margin: float) -> np.ndarray:
    """Latents whose likeliest level is so much likelier than others; of other passes all.

    Of equally likely levels each room takes the lowest, but what is equal may be rounded apart.
    """
    if case.reading.shown != "mode":
        return np.ones(case.latent.shape, bool)
    drawn = dataclasses.replace(case.reading, shown="random")
    law = np.sort(reading_law(drawn, case.latent.astype(np.float64), case.state), axis=-1)
    return law[..., -1] - law[..., -2] > margin


def gains_of(case: Case, row: int) -> list[float]:
    """The gains of a filter; empty for survivors, whose gain depends on what is read."""
    reading, own = case.reading, case.latent[row] if case.reading.group == "filter" else case.latent
    x = np.abs(own.astype(np.float64))
    match reading.gain:
        case "one":
            return [1.0]
        case "mean":
            return [x.mean()]
        case "survivors" | "fixed":
            return []
        case "power" if "unit" in case.state:
            return [float(case.state["unit"].item())]
        case "power":
            return [2.0 ** np.floor(np.log2(4 * x.max() / 3))] if x.max() else [0.0]
        case _:
            found = [case.state[p.name] for p in reading.parameters if p.name != "scale"]
            return [float(v[row, 0] if v.shape[0] > 1 else v[0, 0]) for v in found]


def slopes_of_mean(case: Case, u: np.ndarray) -> Slopes:
    """Of noise with ends cut, the exact room's, at latents in units of the step."""
    step = unit_of(case.reading, case.latent, case.state)
    return mean_slopes(quantizer_of(case.reading, step, case.state), u)


def inside(case: Case, u: float) -> float:
    """The window by its words, one latent at a time; with ends cut, the slope of the mean."""
    reading, w = case.reading, case.reading.window
    if reading.ends == "cut":
        return float(slopes_of_mean(case, np.array([u])).x[0])
    if w is None:
        return 1.0
    if isinstance(w, Clip):
        return float(w.low <= u <= w.high if w.closed else w.low < u < w.high)
    steps = zip(reading.stair.thresholds, np.diff(reading.stair.levels), strict=True)
    at = [(u - t, d) for t, d in steps]
    if isinstance(w, Uniform):  # the window of a threshold has its left end and not its right one
        return sum(d / (2 * w.half_width) * (-w.half_width <= a < w.half_width) for a, d in at)
    return sum(d * float(w.density(np.array([a]))[0]) for a, d in at)
