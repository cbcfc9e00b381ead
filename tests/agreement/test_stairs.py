"""Stairs as activations, alone and behind batch norm: the CPU libraries against plain NumPy.

Thresholds and half widths are dyadic, so every operation of the reference is exact or the same.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from qcuda.kernels import abi
from qcuda.kernels.stairs import count_bits, described
from qreference import stairs as reference

ORDERS = [0, 1, 2, 3, 5]
SIZES = [1, 7, 8, 13, 512 + 13, 3 * 512, 64 * 512 + 3]
HALF_WIDTH = 0.5
FENCE = 16


def numbers(count: int, seed: int = 0) -> np.ndarray:
    """Ends of windows and thresholds, their neighbours, zeros of both signs, NaN, infinities."""
    ends = np.array([0, 0.25, 0.5, 0.625, 0.75, 1, 1.25, 2], np.float32)
    near = [np.nextafter(ends, np.float32(end)) for end in (-np.inf, np.inf)]
    corners = np.concatenate([ends, *near, np.array([np.nan, np.inf, 1e-40], np.float32)])
    rng = np.random.default_rng(seed + count)
    drawn = rng.normal(0, 1, count).astype(np.float32)
    chosen = rng.integers(0, 2 * len(corners), count)
    return np.where(rng.random(count) < 0.6, np.append(corners, -corners)[chosen], drawn)


def laid(stair, triangular=False) -> abi.Stair:
    up, folded = stair.tie == "up", stair.levels[0] == 0
    return described(stair.thresholds, stair.levels, folded, up, triangular)


def pointer(array: np.ndarray) -> int:
    return array.ctypes.data


def forwards(room, spec, x, bits, kind=0):
    """Levels, and the bytes that are kept; nothing is written behind them."""
    z = np.full(x.size + FENCE, 77, x.dtype)
    size = -(-x.size * bits // 8)
    kept, half_width = np.full(size + FENCE, 77, np.uint8), np.array([spec.scale])
    assert room.library.qt_stair(
        ctypes.byref(laid(spec.stair)), pointer(half_width), kind, bits, pointer(x), x.size,
        pointer(z), pointer(kept), 2,
    ) == 0  # fmt: skip
    assert (z[x.size :] == 77).all() and (kept[size:] == 77).all()
    return z[: x.size], kept[:size]


def backwards(room, spec, gradient, kept, bits, kind=0):
    out, half_width = np.empty_like(gradient), np.array([spec.scale])
    assert room.library.qt_stair_slope(
        ctypes.byref(laid(spec.stair, spec.family == "triangular")), pointer(half_width), kind,
        bits, pointer(gradient), pointer(kept), gradient.size, pointer(out), 2,
    ) == 0  # fmt: skip
    return out


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bits, and NaN at the same places."""
    raw, nan = f"u{a.itemsize}", np.isnan(a)
    return bool((nan == np.isnan(b)).all() and (a.view(raw)[~nan] == b.view(raw)[~nan]).all())


def open_windows(spec, x) -> np.ndarray:
    """How many windows are open, by distances in float32, as they are rounded there."""
    u = np.abs(x) if spec.half else x
    thresholds = np.array(spec.stair.thresholds, np.float32)
    with np.errstate(invalid="ignore"):
        return (np.abs(u[:, None] - thresholds) <= np.float32(spec.scale)).sum(axis=1)


@pytest.mark.parametrize("order", ORDERS)
def test_levels_and_windows(room, order):
    """Levels with the sign of zeros, and counts of open windows in the order of their bits."""
    spec = reference.multi_step(order, 0.5, HALF_WIDTH)
    bits = count_bits(spec.stair.levels, False)
    for count in SIZES:
        x = numbers(count)
        z, kept = forwards(room, spec, x, bits)
        assert same(z, reference.activate(spec, x, "hard"))
        counts = open_windows(spec, x).astype(np.uint8)
        lanes = counts[:, None] >> np.arange(bits, dtype=np.uint8) & 1
        assert (kept == np.packbits(lanes.ravel(), bitorder="little")).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("window", ["rectangular", "triangular"])
def test_slopes(room, order, window):
    """From the counts and from the input itself: the reference's slope times the gradient. Windows
    of height 1 / K are exact; a triangle has three roundings for each of its thresholds."""
    spec = reference.multi_step(order, 0.5, HALF_WIDTH, window)
    steps, height = len(spec.stair.thresholds), spec.stair.jumps[0]
    bits = count_bits(spec.stair.levels, window == "triangular")
    for count in SIZES:
        x, gradient = numbers(count), numbers(count, 1)
        x, gradient = (array[np.isfinite(x) & np.isfinite(gradient)] for array in (x, gradient))
        found = backwards(room, spec, gradient, x, 0)
        if window == "rectangular":
            kept = forwards(room, spec, x, bits)[1]
            assert same(backwards(room, spec, gradient, kept, bits), found)
            slope = open_windows(spec, x).astype(np.float32) * np.float32(height)
            assert same(found, slope * gradient)
        else:
            wanted = reference.derivative(spec, x) * gradient
            error = 4 * steps * 2.0**-23 * 2 * height * np.abs(gradient)
            assert (np.abs(found - wanted) <= error + 1e-44).all()


@pytest.mark.parametrize(("order", "bits", "half_width"), [(5, 8, 0.75), (1, 1, 0.5), (1, 1, 0.75)])
def test_float16_is_rounded_to_nearest(room, order, bits, half_width):
    """Every float16, by NumPy's own conversion: levels, and products of slope and gradient."""
    spec = reference.multi_step(order, 0.5, half_width)
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    z, kept = forwards(room, spec, x, bits, kind=2)
    wide, wide_kept = forwards(room, spec, x.astype(np.float32), bits)
    assert same(z, wide.astype(np.float16)) and (kept == wide_kept).all()
    for shift in (23456, 0, -17408):  # infinities where windows are shut, small numbers, infinities
        gradient = np.roll(x, shift)
        with np.errstate(over="ignore"):
            wide = backwards(room, spec, gradient.astype(np.float32), kept, bits)
            wanted = wide.astype(np.float16)
        assert same(backwards(room, spec, gradient, kept, bits, kind=2), wanted)


@pytest.mark.parametrize("planes", [0, 1])
def test_batch_norm_and_a_stair(room, planes):
    """Given numbers of channels, float32 operations one after the other; sums in float64."""
    channels, rows, columns = 5, (30 if planes else 77), (70 if planes else 15)
    rng = np.random.default_rng(planes)
    x, gradient = rng.normal(1, 2, (2, rows, columns)).astype(np.float32)
    statistics, (weight, bias) = rng.normal(0, 1, (2, 2, channels)).astype(np.float32)
    batch = abi.Batch(0, planes, rows, columns, channels)
    norm = abi.Norm(None, None, None, pointer(weight), pointer(bias), 0.0, 0.25, 0, 0)
    channel = np.arange(rows)[:, None] % channels if planes else np.arange(columns)[None, :] // 3
    channel = np.broadcast_to(channel, x.shape)
    centre, invstd = (row[channel] for row in statistics)
    gain, shift = invstd * weight[channel], bias[channel]
    spec = reference.multi_step(2, 0.5, HALF_WIDTH)
    y = (x - centre) * gain + shift
    d = reference.derivative(spec, y) * gradient
    out, sums, half_width = np.empty_like(x), np.empty((2, channels)), np.array([HALF_WIDTH])
    slopes, shape = np.empty((2, channels), np.float32), (ctypes.byref(batch), ctypes.byref(norm))
    stair, library = ctypes.byref(laid(spec.stair)), room.library
    given = pointer(x), pointer(statistics)
    assert library.qt_batch_stair(stair, *shape, *given, pointer(out), 2) == 0
    assert same(out, reference.activate(spec, y, "hard"))
    assert library.qt_batch_stair_back(
        stair, pointer(half_width), *shape, pointer(x), pointer(gradient), pointer(statistics), 1,
        pointer(out), pointer(sums), pointer(slopes), 2,
    ) == 0  # fmt: skip
    count, wide = x.size // channels, statistics[1].astype(np.float64)
    mean = (sums[0] / count).astype(np.float32)[channel]
    slant = (sums[1] / count * wide * wide).astype(np.float32)[channel]
    assert same(out, ((d - mean) - (x - centre) * slant) * gain)
    assert same(slopes, np.array([sums[1] * wide, sums[0]], np.float32))

    def check(first, second):
        for found, terms in zip(sums, (first, second), strict=True):
            exact = np.bincount(channel.ravel(), terms.ravel(), channels)
            size = np.bincount(channel.ravel(), np.abs(terms).ravel(), channels)
            assert (np.abs(found - exact) <= 2 * x.size * 2.0**-53 * size).all()

    check(d.astype(np.float64), d.astype(np.float64) * (x - centre))
    found, running = np.empty((2, channels), np.float32), np.full((2, channels), 0.75, np.float32)
    norm.mean, norm.variance, norm.share = pointer(running[0]), pointer(running[1]), 0.125
    assert library.qt_batch_measure(*shape, pointer(x), pointer(sums), pointer(found), 2) == 0
    check(x.astype(np.float64), x.astype(np.float64) ** 2)
    variance = np.maximum(sums[1] / count - (sums[0] / count) ** 2, 0)
    wanted = np.array([sums[0] / count, 1 / np.sqrt(variance + 0.25)], np.float32)
    assert same(found, wanted)
    moved = np.array([sums[0] / count, variance * (count / (count - 1))])
    assert same(running, (np.full(moved.shape, 0.75) * 0.875 + 0.125 * moved).astype(np.float32))
