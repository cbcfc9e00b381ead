"""The conditional audit: moves made in real training, held to the exact law.

Before a step the levels of the audited weights are read, and the kernel tells the increments that
it used. A weight then has two places to land, `near` after the whole part of its increment and
`far` one level beyond, and goes to the far one with a probability p that the exact law knows,
independently of all other weights: whatever the increments. Weights that would leave the lattice
have one place only and tell nothing about p. Of a walker with more places one is judged, another
from weight to weight (`odds`): it is landed on or not, and all others that are possible are alike.

For a set of weights that is fixed before their words are drawn, with X of them going far, and a
tilt l,

    E = exp(l X - sum log(1 + p (exp(l) - 1)))

has mean 1, so products of E over iterations are an e-process: by Ville's inequality, with
probability 1 - a, they never exceed 1 / a. There is one for each tilt and stratum, and their
average is the evidence against the kernel. Sums are kept by eighths of p: by Jensen's inequality
sum log(1 + p u) is at most n log(1 + mean(p) u), which only makes E smaller.

Strata: all weights; each tensor; sign of the level by sign of the increment; eighths of p; and what
another weight did whose word is another: the first of the same group of four, the same weight one
iteration ago, the same element of the tensor before. The last three find words that are used twice.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from qcuda.watch.odds import odds
from qtheory.algorithms import Spec, contract
from qtheory.arrays import Increment, Index
from qtheory.lattice import Lattice

TILTS = np.array([sign * 2.0**-k for k in range(9) for sign in (-1, 1)])
BINS = 8  # of p
SILENT, STAYED, WENT = 0, 1, 2  # what a weight did; silent ones had no choice, or nobody looked
# Axes of a tally: bin of p, direction, level, and what three others did: group, last, tensor.
SHAPE = (BINS, 2, 3, 3, 3, 3)
SIZE = int(np.prod(SHAPE))
# A kernel's p may be off, relative, by the widest edge an algorithm declares (28 roundings of a
# float32 tanh, one of m and 5e-8 of approximation), and by 2**-32: a threshold is a whole number.
# What the thresholds of a walker with more places may be off beyond that is asked of it (`slack`).
EDGE, WORD = 30 * 2.0**-24, 2.0**-32


@dataclass(frozen=True, slots=True)
class Expected:
    """Where weights may land, shape (n,), and of those with a choice the place and probability."""

    near: np.ndarray
    far: np.ndarray
    places: np.ndarray  # of the weights with a choice
    probability: np.ndarray  # of far, float64
    stratum: np.ndarray  # bin of p, direction and level as one number
    possible: np.ndarray | None = None  # (n, size), where there are more places than near and far
    slack: float = WORD  # how far a right kernel's p may be off, beyond EDGE p


def expect(spec: Spec, index: Index, increments: Increment) -> Expected:
    """What the exact law says of a step that takes these increments, in weight units."""
    if contract(spec).destinations != "coin":
        return _expect_of_many(spec, index, increments)
    x, distance = _spacings(spec.lattice, increments)
    last, whole = spec.lattice.size - 1, distance.astype(np.int32)
    direction = np.where(x < 0, np.int32(-1), np.int32(1))
    near = index + direction * whole
    far = np.clip(near + direction, 0, last)
    near = np.clip(near, 0, last)
    far = np.where(distance == whole, near, far)
    places = np.flatnonzero(far != near)
    start = index[places]
    p = _probability(spec, start, x[places], far[places])
    never = p == 0
    far[places[never]] = near[places[never]]
    places, start, p = places[~never], start[~never], p[~never]
    return Expected(near, far, places, p, _stratum(spec, start, direction[places], p))


def _expect_of_many(spec: Spec, index: Index, increments: Increment) -> Expected:
    """As `expect`, one of several places being the far one, and near the one where a weight is."""
    found = odds(spec, index.astype(np.int64), increments, np.arange(len(index)))
    places = np.flatnonzero(~found.certain)
    p = found.p[places]
    slack = max(WORD, float(np.max(found.width[places] - EDGE * p, initial=0.0)))
    stratum = _stratum(spec, index[places], increments[places], p)
    near = np.where(found.certain, found.far, index)
    return Expected(near, found.far, places, p, stratum, found.support, slack)


def _stratum(spec: Spec, start: Index, direction: np.ndarray, p: np.ndarray) -> np.ndarray:
    level = np.sign(start - spec.lattice.centre) + 1
    eighth = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    return (eighth * 2 + (direction > 0)) * 3 + level


def _spacings(lattice: Lattice, increments: Increment) -> tuple[np.ndarray, np.ndarray]:
    """Increments in spacings as every room measures them, and their distance; NaN is 0."""
    with np.errstate(over="ignore", under="ignore"):
        x = increments / np.float32(lattice.spacing)
    x[np.isnan(x)] = 0
    return x, np.minimum(np.abs(x), np.float32(lattice.size))


def _probability(spec: Spec, start: Index, x: np.ndarray, far: Index) -> np.ndarray:
    """Exact probability of landing on `far`.

    x is in spacings, so the law is asked about a lattice of spacing 1: then its own division is
    exact, and both split an increment at the same whole number.
    """
    from qtheory.algorithms import law

    lattice = spec.lattice
    unit = dataclasses.replace(lattice, spacing=1.0, low=lattice.low / lattice.spacing)
    pmf = law(dataclasses.replace(spec, lattice=unit), start, x)
    return np.take_along_axis(pmf, far[:, None], -1)[:, 0]


def outcomes(expected: Expected, after: Index) -> tuple[np.ndarray, int]:
    """SILENT, STAYED or WENT of every weight, int8, and how many landed where none may."""
    done = np.zeros(len(after), np.int8)
    went = (after == expected.far)[expected.places]
    done[expected.places] = STAYED + went
    if expected.possible is None:
        lost = (after != expected.near) & (after != expected.far)
    else:
        on = np.clip(after, 0, expected.possible.shape[1] - 1)
        lost = ~np.take_along_axis(expected.possible, on[:, None], -1)[:, 0] | (on != after)
    done[lost] = SILENT
    return done, int(np.count_nonzero(lost))


def tally(
    expected: Expected, done: np.ndarray, last: np.ndarray | None, tensor: np.ndarray | None
) -> np.ndarray:
    """Number of weights with a choice, sum of p, and number that went, (3, *SHAPE).

    done: what they did; the weights are of whole groups of four, but for the end of a tensor.
    last: what they did one iteration ago. tensor: what the same elements of another tensor did.
    """
    places = expected.places
    cell = expected.stratum * 3 + np.where(places % 4 == 0, SILENT, done[places - places % 4])
    for other in (last, tensor):
        cell = cell * 3 if other is None else cell * 3 + other[places]
    quantities = (None, expected.probability, done[places] == WENT)
    return np.array([np.bincount(cell, q, SIZE).reshape(SHAPE) for q in quantities])


def log_terms(tallies: np.ndarray, slack: float = WORD) -> np.ndarray:
    """Log e-values, (strata, tilts), of one iteration; tallies: (tensors, 3, *SHAPE).

    slack: how far a right kernel's p may be off, beyond EDGE p.
    """
    count, probability, went = np.moveaxis(_strata(tallies), 1, 0)
    mean = (probability / np.maximum(count, 1))[..., None]
    bound = mean + np.sign(TILTS) * (EDGE * mean + slack)
    sums = (count[..., None] * np.log1p(bound * np.expm1(TILTS))).sum(1)
    return went.sum(1)[:, None] * TILTS - sums


def _strata(tallies: np.ndarray) -> np.ndarray:
    """The tallies of every stratum, (strata, 3, BINS)."""
    tensors, whole = tallies.reshape(len(tallies), 3, BINS, -1), tallies.sum(0)
    bins = whole.reshape(3, BINS, -1).sum(2)
    others = [whole.sum(tuple({2, 3, 4, 5, 6} - {axis})) for axis in (4, 5, 6)]
    groups = [
        bins[None],
        tensors.sum(3),
        np.moveaxis(whole.sum((4, 5, 6)).reshape(3, BINS, 6), -1, 0),
        np.moveaxis(np.eye(BINS) * bins[:, None], 1, 0),
        *(np.moveaxis(other, -1, 0)[STAYED:] for other in others),
    ]
    return np.concatenate(groups)


def information(tallies: np.ndarray) -> float:
    """Sum of p / (1 - p) over the decisions, from their mean in each bin: what a bias shows by."""
    count, probability, _ = tallies.reshape(len(tallies), 3, BINS, -1).sum((0, 3))
    mean = np.minimum(probability / np.maximum(count, 1), 1 - WORD)
    return float((count * mean / (1 - mean)).sum())


def smallest_bias(variance: float, strata: int, false_alarm: float, miss: float) -> float:
    """Smallest relative bias of all p that the audit notices with probability 1 - miss.

    variance: V, the sum of p / (1 - p) over the audited decisions. To first order, and with the
    normal tail z, a bias d gives the tilt l a log e-value of mean (l d - l**2 / 2) V and variance
    l**2 V, which notices if it exceeds log(strata tilts / false_alarm); the best tilt counts.
    """
    from scipy.special import ndtri

    if variance <= 0:
        return float("inf")
    tilts = TILTS[TILTS > 0]
    goal = np.log(strata * len(TILTS) / false_alarm)
    return float((goal / (tilts * variance) + tilts / 2).min() - ndtri(miss) / variance**0.5)
