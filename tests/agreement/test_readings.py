"""Readers: the CPU libraries against the plain reference, row by row, and the order of their sums.

The reference computes in float64. A kernel rounds units, cuts and quotients to float32, so latents
within EDGE of a cut, relative to it, and words within WORD of a threshold may fall to the other
side; latents of a group with a unit of its own are drawn so that none does. Where unit and steps
are dyadic nothing is rounded, and latents lie on every threshold and every end of a window.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import pytest

from qcuda.kernels.readings import described
from qcuda.nn.fused_reading import NOISES, covered, row
from qreference import philox, reader
from qtheory.algorithms import LearnedSteps, PruneQuantize, Spec, rows
from qtheory.algorithms.reader import Clip, Reading, Window, group_shape, reading_of
from qtheory.stairs.stair import Stair
from qtheory.streams import Stream

ROWS = {name: one.spec for name, one in rows().items() if covered(reading_of(one.spec))}
ROWS["pruned by size, filter by filter"] = PruneQuantize(group="filter")
EDGE, WORD = 8 * 2.0**-24, 2**12
SEED, ITERATION, TENSOR = 2**63 + 5, 3, 7
RUN, LANES = 576, 16
PART = 8 * RUN
SHAPE = (3, PART + RUN + 5)
STEP, POSITIVE, NEGATIVE = 0.5, 0.75, 1.5
EXACT = ("one", "step", "threshold", "rank")  # units that are given, or that are a latent's size


class Found(NamedTuple):
    """What a library sees, and its gradients."""

    visible: np.ndarray
    latent: np.ndarray
    learned: np.ndarray


def pointer(array: np.ndarray | None) -> int | None:
    return None if array is None else array.ctypes.data


def ask(room, reading: Reading, x: np.ndarray, g: np.ndarray, learned: list[np.ndarray]) -> Found:
    """Both kernels, in float32, with words that are drawn; nothing is written behind."""
    given, _ = described(*map(tuple, row(reading)))  # pyright: ignore[reportArgumentType]
    groups = int(np.prod(group_shape(reading, x.shape)))
    out, kept = np.full(x.size + 1, 77, np.float32), np.full(2 * groups + 1, 77, np.float32)
    slopes, iteration = np.full(2 * groups + 1, 77, np.float32), np.array([ITERATION])
    first, second = ([*map(pointer, learned), None, None])[:2]
    assert room.library.qt_reading(
        ctypes.byref(given), 0, pointer(x), groups, x.size // groups, first, second, None,
        pointer(iteration), SEED, TENSOR, pointer(out), pointer(kept), 2,
    ) == 0  # fmt: skip
    back = np.full(x.size + 1, 77, np.float32)
    assert room.library.qt_reading_slope(
        ctypes.byref(given), 0, pointer(g), pointer(x), groups, x.size // groups, first, second,
        pointer(kept), pointer(back), pointer(slopes), 2,
    ) == 0  # fmt: skip
    assert out[-1] == back[-1] == kept[-1] == slopes[-1] == 77
    return Found(
        out[:-1].reshape(x.shape), back[:-1].reshape(x.shape),
        slopes[: len(learned) * groups].reshape(len(learned), groups),
    )  # fmt: skip


def ends(reading: Reading) -> np.ndarray:
    """Thresholds, and ends of a window that is a clip, in weight units."""
    window = reading.window
    clipped = [window.low, window.high] if isinstance(window, Clip) else []
    clipped += [0.5, 1.5, -0.5, -1.5] if reading.unit == "threshold" else []  # where it feels
    unit = STEP if reading.unit in ("step", "threshold") else 1.0
    return np.array([*reading.stair.thresholds, *clipped]) * unit


def latents(reading: Reading) -> np.ndarray:
    rng = np.random.default_rng(11)
    x = rng.normal(0, 0.7, SHAPE).astype(np.float32)
    exact = ends(reading).astype(np.float32)
    if reading.unit in EXACT:
        near = [np.nextafter(exact, np.float32(side)) for side in (-np.inf, np.inf)]
        corners = np.concatenate([exact, *near, np.zeros(1, np.float32)])
        x[:, : corners.size] = corners
        x[:, -1] = exact[-1]
    return x


def learned_of(spec: Spec, x: np.ndarray) -> dict[str, np.ndarray]:
    values = {"step": STEP, "threshold": STEP, "positive": POSITIVE, "negative": NEGATIVE}
    return {k: np.full_like(v, values[k]) for k, v in reader.start(spec, x).items()}


def off_kinks(reading: Reading, x: np.ndarray, noise: Window) -> np.ndarray:
    """Latents that are on no threshold, and on no kink of a noise around one."""
    far = np.ones(x.shape, bool)
    if noise is not None and not isinstance(noise, Clip):
        for t in reading.stair.thresholds:
            for cut in (t, *(t + k for k in noise.breaks().tolist())):
                far &= np.abs(x - cut) > EDGE * (np.abs(x) + abs(cut) + 1)
    return far


def settled(spec: Spec, x: np.ndarray, words: np.ndarray, state: dict) -> np.ndarray:
    """Latents and words whose level no rounding decides: all, but behind noise."""
    reading = reading_of(spec)
    far = off_kinks(reading, x, reading.noise)
    if reading.shown == "random":
        below = reader.outcomes(spec, x, state).thresholds.astype(np.int64)
        far &= (np.abs(words[..., None].astype(np.int64) - below) > WORD).all(-1)
    if reading.unit not in EXACT:
        u = reader.seen(spec, x, words, state).position[..., None]
        cuts = np.array(reading.stair.thresholds)
        assert (np.abs(u - cuts) > EDGE * (np.abs(u) + np.abs(cuts) + 1)).all()
    return far


@pytest.mark.parametrize("name", ROWS)
def test_what_is_seen_and_its_slopes(room, name):
    """Levels have a few roundings, of expectations one more for each level; sums of n numbers have
    those of each, and their double precision none; a threshold feels at most 3/2 of a gain over it,
    of which each has five roundings."""
    spec = ROWS[name]
    reading, x = reading_of(spec), latents(reading_of(spec))
    state, g = learned_of(spec, x), np.linspace(-2, 3, x.size, dtype=np.float32).reshape(x.shape)
    words = philox.words(SEED, ITERATION, TENSOR, Stream.READ, x.size).reshape(x.shape)
    found = ask(room, reading, x, g, [*state.values()])
    given = words if reading.shown == "random" else None
    one = reader.seen(spec, x, given, state)
    far = settled(spec, x, words, state)
    assert far.mean() > 0.998
    top = float(np.abs(reading.stair.levels).max())
    room_for = 2.0**-21 * (np.abs(one.visible) + (top if reading.shown == "expectation" else 0))
    assert (np.abs(found.visible - one.visible) <= room_for)[far].all()
    theirs = reader.slope(spec, x, given, g, state)
    far &= off_kinks(reading, x, reading.window)
    assert (np.abs(found.latent - theirs["latent"]) <= 2.0**-20 * (1 + np.abs(g)))[far].all()
    if reading.unit == "threshold":
        top *= 1.5 * float(np.abs(one.visible).max()) / STEP
    for slope, wanted in zip(found.learned, list(theirs.values())[1:], strict=True):
        assert np.abs(slope - wanted.ravel()).max() <= 2.0**-21 * np.abs(g).sum() * top


@pytest.mark.parametrize("name", [n for n, s in ROWS.items() if reading_of(s).unit == "one"])
def test_nan_is_handed_on(room, name):
    reading = reading_of(ROWS[name])
    x = np.array([[0.3, np.nan, -2.0], [0.1, 5.0, -0.4]], np.float32)
    found = ask(room, reading, x, np.ones_like(x), [])
    assert np.isnan(found.visible[0, 1]) and not np.isnan(found.visible[1]).any()


def test_what_is_frozen_is_held_on_its_level(room):
    x = np.linspace(-3, 3, 3 * (PART + 7), dtype=np.float32).reshape(3, -1)
    place = (np.arange(x.size) % 6 - 1).astype(np.int8).reshape(x.shape)
    unit, levels = (np.array(n, np.float32) for n in ([0.5, 4, 1], [-1, -0.5, 0, 0.5, 1]))
    out = np.full(x.size + 1, 77, np.float32)
    assert room.library.qt_held(
        0, pointer(x), pointer(place), 3, x.shape[1], pointer(unit), pointer(levels), 5,
        pointer(out), 2,
    ) == 0  # fmt: skip
    wanted = np.where(place < 0, x, levels[place] * unit[:, None])
    assert out[-1] == 77 and np.array_equal(out[:-1].reshape(x.shape), wanted)


@pytest.mark.parametrize("family", NOISES)
def test_distribution_functions_and_densities(room, family):
    """Relative errors of 9 roundings, which polynomials add up to; the exponential beyond 32 is
    that of 32, below 2**-46 of values up to 1. Ends of a uniform window are left out."""
    noise = family(1.0)
    reading = Reading(Stair.step(), noise, shown="expectation", window=noise)
    x = np.append((np.arange(-160_000, 160_000) + 0.5) * 2.0**-12, 0.0).astype(np.float32)
    found, at = ask(room, reading, x, np.ones_like(x), []), x.astype(np.float64)
    for one, exact in ((found.visible, noise.tail(-at)), (found.latent, noise.density(at))):
        assert (np.abs(one - exact) <= 9 * 2.0**-24 * exact + 2.0**-46).all()
    assert found.visible[-1] == 0.5
    assert (found.visible >= 0).all() and (found.visible <= 1).all()


def ordered_sum(x: np.ndarray) -> float:
    """Parts in order; in a part lanes, which are added in halves."""
    total = 0.0
    for start in range(0, x.size, PART):
        part = x[start : start + PART].astype(np.float64)
        lanes = np.zeros(LANES)
        for at in range(0, part.size, LANES):
            some = part[at : at + LANES]
            lanes[: some.size] += some
        while lanes.size > 1:
            lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
        total += lanes[0]
    return float(total)


@pytest.mark.parametrize("size", [1, 17, RUN + 1, PART, PART + 1, 65_536, 65_537])
def test_the_order_of_a_sum_decides(room, size):
    """Latents above the window have the gradient for their part of the step's slope: here numbers
    that cancel but for small ones, and another order loses others of these."""
    spec = LearnedSteps(scale="none")
    rng = np.random.default_rng(size)
    far = np.ldexp(1.0, rng.choice([56, 57, 58], size // 3))
    near = rng.integers(-(2**14), 2**14, size - 2 * far.size).astype(np.float64)
    g = rng.permutation(np.concatenate([far, -far, near]))
    found = ask(
        room, reading_of(spec), np.full((1, size), 2.0, np.float32),
        g.astype(np.float32).reshape(1, size), [np.full(1, STEP, np.float32)],
    )  # fmt: skip
    assert found.learned[0, 0] == np.float32(ordered_sum(g))
    assert size < 100 or np.float32(ordered_sum(g[::-1])) != np.float32(ordered_sum(g))
