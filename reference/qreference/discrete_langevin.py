"""Discrete Langevin proposals: any level, by a force and a distance [zhang2022, not verified].

A move by d levels has the weight exp(h d - g d**2), h = x / (2 T) for an increment of x spacings
and g = 1 / (2 a) for the step a; the moves that stay on the lattice share the probability by their
weights. Adjusted, one to level j is accepted with probability min(1, Z_i / Z_j), Z_i the sum of
the weights of moves from level i; what is refused stays.
"""

from __future__ import annotations

import math

import numpy as np

from qreference import walker
from qreference.arrays import Real
from qtheory.algorithms.discrete_langevin import DiscreteLangevin
from qtheory.arrays import Increment, Index, Outcomes, Thresholds


def outcomes(spec: DiscreteLangevin, index: Index, increment: Increment) -> Outcomes:
    """Every level; the best takes what the shares of the others leave, each rounded down once.

    Thresholds are floor(sum 2**32) of the shares below the best level, and 2**32 less that of the
    shares above it from there on, in float64. A sum less than 2**-20 words below
    a whole number counts as that: so are sums rounded that are whole, as 1/2 by symmetry.
    """
    share, best = shares(spec, index, increment)
    levels = np.arange(spec.lattice.size)
    lower, upper = (np.where(part, share, 0.0) for part in (levels < best, levels > best))
    below = np.floor(np.cumsum(lower, axis=-1) * 2.0**32 + 2.0**-20)
    above = np.floor(np.cumsum(upper[..., ::-1], axis=-1)[..., ::-1] * 2.0**32 + 2.0**-20)
    thresholds = np.where((levels < best)[..., :-1], below[..., :-1], 2.0**32 - above[..., 1:])
    return Outcomes(thresholds.astype(np.uint64), 0 * index[..., None] + levels)


def shares(spec: DiscreteLangevin, index: Index, increment: Increment) -> tuple[Real, Index]:
    """Probability of each level, shape (..., size), and the level whose proposal is likeliest."""
    size, g = spec.lattice.size, 0.5 / spec.step
    x = walker.spacings(spec.lattice, increment).astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        h = np.clip(0.5 * x / spec.temperature, -2 * size * g - 800, 2 * size * g + 800)
    exponents = [h * (j - index) - g * (j - index) ** 2 for j in range(size)]
    best = np.argmax(exponents, axis=0) - index

    def weight(move: Index | int) -> Real:
        """Over that of the best move."""
        with np.errstate(over="ignore", under="ignore"):
            return np.exp((move - best) * (h - g * (move + best)))

    share = np.stack([weight(j - index) for j in range(size)], axis=-1)
    mass = share.sum(axis=-1)
    share /= mass[..., None]
    if spec.adjusted == "yes":
        for j in range(size):
            there = sum(weight(k - j) for k in range(size))
            refused = share[..., j] * np.where(index == j, 0.0, 1 - mass / np.maximum(there, mass))
            share[..., j] -= refused
            stay = np.take_along_axis(share, index[..., None], -1) + refused[..., None]
            np.put_along_axis(share, index[..., None], stay, -1)
    return share, (index + best)[..., None]


def edge(spec: DiscreteLangevin, thresholds: Thresholds) -> Index:
    """How far a kernel's thresholds may lie from this room's, in units of 2**-32.

    With u = 2**-24 the kernel computes z = (d - m) (h - g (d + m)), m the best move, with two
    roundings in each of h and g (T or a, and the quotient), one in each product and the difference:
    at most |z| 4 u + 5 u g |d**2 - m**2|, and 2**-31 since h below 2**-35 is 0. Its exponential has
    26 u, as derived for the Metropolis walker. Both d and m are within the l + 1 levels of the
    lattice, so |d**2 - m**2| <= l**2; and as m is the best of all whole moves, -z >= g (n**2 - n)
    for n = |d - m|, so that g n <= g / 2 + sqrt(g**2 / 4 + 26 g) wherever -z <= 26, with
    |d + m| <= 2 l. What lies beyond 26 is less than a word in all.

    A threshold sums shares w / Z. Where they sum to P on the side that is summed, the mean of -z
    among them is at most ln(L / P), L the number of levels, and in Z at most ln L (entropies). The
    sum Z is rounded L times, the quotient once: u P (4 ln(L / P) + 4 ln L + 10 G + L + 54), with G
    the bound of g |d**2 - m**2|. Sums are exact, and rounded down. Which side is summed depends on
    the best level, which is among those within a tenth of the largest share: between these, either.

    Adjusted, w / max(Z_i, Z_j) has the error of Z_j too, in which the mean of z is at most
    ln Z_j + ln L, and sum (w / Z_j) ln Z_j <= ln L: u (12 ln L + 10 G + L + 54) for a sum of moves.
    What is refused is a difference, w (1 / Z_i - 1 / Z_j), and has all of this absolutely, and that
    of the moves and of Z_i once more: u (20 ln L + 20 G + 3 L + 106).
    """
    size, g, t = spec.lattice.size, 0.5 / spec.step, thresholds.astype(np.float64)
    many, last = math.log(size), size - 1
    if spec.adjusted == "yes":
        units = 32 * many + 30 * g * last**2 + 4 * size + 160
        return np.full(t.shape, math.ceil(units * 2.0**8) + 2, np.int64)
    far = min(g * last**2, last * (g + math.sqrt(g * g + 104 * g)))
    share = np.diff(t, axis=-1, prepend=0.0, append=2.0**32)
    heavy = share >= 0.9 * share.max(-1, keepdims=True)
    first = np.argmax(heavy, -1)[..., None]
    final = last - np.argmax(heavy[..., ::-1], -1)[..., None]
    place = np.arange(last)
    side = np.where(
        place < first, t, np.where(place >= final, 2.0**32 - t, np.maximum(t, 2.0**32 - t))
    )
    entropy = np.log(2.0**32 / np.maximum(side, 1.0))
    return (
        np.ceil(side * (4 * entropy + 8 * many + 10 * far + size + 54) * 2.0**-24).astype(np.int64)
        + 2
    )
