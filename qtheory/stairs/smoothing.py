"""Stairs under additive noise [spallanzani2019] [spallanzani2022]: x becomes x - mean - e.

With u_i = x - mean - t_i, and F and f the distribution function and density of the noise e,

    expectation   E q(x - mean - e) = q_0 + sum_i d_i F(u_i)
    law           P(level i) = F(u_i) - F(u_(i+1)), with F(u_0) = 1 and F(u_(T+1)) = 0
    slope         d/dx expectation = sum_i d_i f(u_i);  d/dmean is minus that
    in the scale  d/dscale expectation = -sum_i d_i u_i f(u_i) / scale

so a negative mean moves the effective thresholds to the left. The tie rule of the stair plays no
part: under noise with a density, a tie has probability 0. At the ends of a uniform noise the slope
jumps, and the derivative from the right is taken: a point belongs to the window that begins there,
not to the one that ends. Words of the papers are quoted from memory and code, not from the print.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qtheory.arrays import Index, Pmf, Words
from qtheory.noise import (
    Points,
    Smoothing,
    Uniform,
    characteristic,
    mean_size,
    peak,
    scale_of,
)
from qtheory.stairs.stair import Stair

ZOOMS, POINTS_OF_A_ZOOM, HALVINGS = 8, 33, 64


def _above(stair: Stair, x: Points, mean: float) -> Points:
    """u_i, shape (..., T)."""
    return np.asarray(x, dtype=np.float64)[..., None] - mean - np.array(stair.thresholds)


def density_from_the_right(noise: Smoothing, x: Points) -> Points:
    """f(x+), the limit of the density from the right.

    >>> density_from_the_right(Uniform(0.5), np.array([-0.5, 0.5])).tolist()
    [1.0, 0.0]
    """
    density = noise.density(x)
    return np.where(x == noise.half_width, 0.0, density) if isinstance(noise, Uniform) else density


def expectation(stair: Stair, noise: Smoothing, x: Points, mean: float = 0.0) -> Points:
    """E q(x - mean - e), in units of the levels; shape of x.

    >>> from qtheory.lattice import Lattice
    >>> ternary = Stair.nearest(Lattice.ternary())
    >>> expectation(ternary, Uniform(0.5), np.array([-2.0, -0.25, 0.75, 1.5])).tolist()
    [-1.0, -0.25, 0.75, 1.0]
    """
    return stair.levels[0] + noise.tail(-_above(stair, x, mean)) @ stair.jumps


def law(stair: Stair, noise: Smoothing, x: Points, mean: float = 0.0) -> Pmf:
    """P(level i), shape (..., T + 1). Differences are taken on the side of the smaller tail, so
    each is exact to a few units in the last place of that tail, and none is negative.

    >>> law(Stair((0.0, 1.0, 2.0), (0.5, 1.5)), Uniform(1.0), np.array([1.0])).tolist()
    [[0.25, 0.5, 0.25]]
    """
    u = _above(stair, x, mean)
    far = np.full((*u.shape[:-1], 1), np.inf)
    u = np.concatenate([far, u, -far], axis=-1)
    left, right = u[..., 1:], u[..., :-1]
    over, under = noise.tail(left) - noise.tail(right), noise.tail(-right) - noise.tail(-left)
    return np.where(left + right > 0, over, under)


def mode(stair: Stair, noise: Smoothing, x: Points, mean: float = 0.0) -> Index:
    """Position of the most probable level; of equally probable ones, the lowest."""
    return np.argmax(law(stair, noise, x, mean), axis=-1).astype(np.int64)


def draw(stair: Stair, noise: Smoothing, x: Points, words: Words, mean: float = 0.0) -> Index:
    """A random position, one word for each: the number of i with word < floor(F(u_i) 2**32).

    Positions are 0 to T whatever the rounding, and each F(u_i) is met to 2**-32.

    >>> draw(Stair.step(), Uniform(1.0), np.zeros(2), np.array([2**31 - 1, 2**31], np.uint32))
    array([1, 0])
    """
    below = np.floor(noise.tail(-_above(stair, x, mean)) * 2.0**32)
    return np.asarray((words[..., None] < below).sum(axis=-1), dtype=np.int64)


def slope(stair: Stair, noise: Smoothing, x: Points, mean: float = 0.0) -> Points:
    """d/dx of the expectation, from the right: the backward formula.

    >>> slope(Stair((-1.0, 0.0, 1.0), (-0.5, 0.5)), Uniform(0.5), np.array([-1.0, 0.0, 1.0]))
    array([1., 1., 0.])
    """
    return density_from_the_right(noise, _above(stair, x, mean)) @ stair.jumps


def slope_in_mean(stair: Stair, noise: Smoothing, x: Points, mean: float = 0.0) -> Points:
    """d/dmean of the expectation: minus the slope."""
    return -slope(stair, noise, x, mean)


def slope_in_scale(stair: Stair, noise: Smoothing, x: Points, mean: float = 0.0) -> Points:
    """d/dscale of the expectation, with the parameter that `scale_of` names."""
    u = _above(stair, x, mean)
    return -(u * density_from_the_right(noise, u)) @ stair.jumps / scale_of(noise)


class Lipschitz(NamedTuple):
    """The Lipschitz constant of a smoothed stair and three bounds on it, in levels per unit of x.

    exact: sup of the slope. by_peak: total jump times the peak density. by_variation: half the
    total jump times the total variation of the density; the same if unimodal. by_spacing:
    largest jump times (peak + 1 / smallest spacing of thresholds), which does not grow with T.
    """

    exact: float
    by_peak: float
    by_variation: float
    by_spacing: float


def variation(noise: Smoothing) -> float:
    """Total variation of the density: it rises from 0 to its peak and falls back, or jumps.

    Found from its values at the breaks, among which the middle is, where it is largest.

    >>> variation(Uniform(1.0))
    1.0
    """
    points = np.union1d(noise.breaks(), np.zeros(1))
    values = np.concatenate([[0.0], noise.density(points), [0.0]])
    return float(np.abs(np.diff(values)).sum())


def lipschitz(stair: Stair, noise: Smoothing) -> Lipschitz:
    """The constant and its bounds.

    Why by_spacing: right of its peak a unimodal density at a point is at most its mean over the
    spacing before it, and likewise on the left; one point is left over, which is at most the peak.

    >>> lipschitz(Stair((-1.0, 0.0, 1.0), (-0.5, 0.5)), Uniform(1.0)).exact
    1.0
    """
    thresholds, top = np.array(stair.thresholds), peak(noise)
    spacing = float(np.diff(thresholds).min()) if len(thresholds) > 1 else np.inf
    return Lipschitz(
        exact=_largest_slope(stair, noise),
        by_peak=stair.height * top,
        by_variation=0.5 * stair.height * variation(noise),
        by_spacing=float(stair.jumps.max()) * (top + 1.0 / spacing),
    )


def _largest_slope(stair: Stair, noise: Smoothing) -> float:
    """sup of the slope: it is between the first and the last threshold, at a kink if the noise is
    bounded. Otherwise every local maximum of a grid is zoomed into, each zoom 16 times finer;
    the grid has 64 points per threshold and 8 per scale about each."""
    t, s = np.array(stair.thresholds), scale_of(noise)
    near = (t[:, None] + s * np.arange(-8.0, 9.0) / 8.0).ravel()
    grid = np.union1d(near, np.linspace(stair.thresholds[0], stair.thresholds[-1], 64 * len(t)))
    values = slope(stair, noise, grid)
    best = float(values.max())
    peaks = 1 + np.flatnonzero((values[1:-1] >= values[:-2]) & (values[1:-1] >= values[2:]))
    low, high = grid[peaks - 1], grid[peaks + 1]
    for _ in range(ZOOMS if peaks.size else 0):
        inner = np.linspace(low, high, POINTS_OF_A_ZOOM)
        values = slope(stair, noise, inner)
        best = max(best, float(values.max()))
        at = np.clip(values.argmax(axis=0), 1, POINTS_OF_A_ZOOM - 2)
        columns = np.arange(peaks.size)
        low, high = inner[at - 1, columns], inner[at + 1, columns]
    return best


def ripple(noise: Smoothing, x: Points, reach: int) -> Points:
    """Slope of the smoothed stair of all integers, unit jumps: sum of f(x - k), abs(k) <= reach.

    >>> ripple(Uniform(1.5), np.array([0.0, 0.3]), 3).round(12).tolist()
    [1.0, 1.0]
    """
    k = np.arange(-reach, reach + 1.0)
    return density_from_the_right(noise, np.asarray(x)[..., None] - k).sum(axis=-1)


def ripple_by_poisson(noise: Smoothing, x: Points, terms: int) -> Points:
    """The same by Poisson summation: 1 + 2 sum_(j=1..terms) phi(2 pi j) cos(2 pi j x).

    >>> from qtheory.noise import Gaussian
    >>> ripple_by_poisson(Gaussian(0.25), np.array([0.0, 0.5]), 5).round(4).tolist()
    [1.5968, 0.4319]
    """
    j = np.arange(1.0, terms + 1.0)
    waves = np.cos(2 * np.pi * j * np.asarray(x)[..., None])
    return 1.0 + 2.0 * waves @ characteristic(noise, 2 * np.pi * j)


def distance(stair: Stair, noise: Smoothing, mean: float = 0.0) -> float:
    """The integral over x of abs(E q(x - mean - e) - q(x)): the W1 distance of the smoothed stair
    from the stair, in levels times units of x. Infinite if the noise has no mean.

    The difference integrates to A(x) = sum_i d_i (excess(-u_i) - (x - t_i)^+). Between two
    thresholds the stair is constant and the expectation grows, so the difference changes its sign
    once at most, at a point found by 64 halvings.

    >>> distance(Stair.step(), Uniform(1.0))
    0.5
    """
    if np.isinf(mean_size(noise)):
        return float("inf")
    t = np.array(stair.thresholds)
    middle = np.array(stair.levels[1:-1])
    low, high = t[:-1].copy(), t[1:].copy()
    for _ in range(HALVINGS):
        between = 0.5 * (low + high)
        above = expectation(stair, noise, between, mean) > middle
        low, high = np.where(above, low, between), np.where(above, between, high)

    def integral(x: Points) -> Points:
        jumps = noise.excess(-_above(stair, x, mean))
        return (jumps - np.maximum(_above(stair, x, 0.0), 0.0)) @ stair.jumps

    nodes = np.sort(np.concatenate([t, low]))
    inside = np.concatenate([[0.0], integral(nodes), [-mean * stair.height]])
    return float(np.abs(np.diff(inside)).sum())


def distance_bound(stair: Stair, noise: Smoothing, mean: float = 0.0) -> float:
    """(q_T - q_0) E abs(mean + e), at least `distance`; equal for one step, and when the noises
    about different thresholds do not overlap.

    >>> distance_bound(Stair((-1.0, 0.0, 1.0), (-0.5, 0.5)), Uniform(0.5))
    0.5
    """
    return stair.height * mean_size(noise, mean)
