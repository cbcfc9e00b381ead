"""How far DST's thresholds may lie apart, derived and then stood upon.

The reference has T = floor(2**32 tanh(m f)), tanh in float64 within 4 ulp (2**-50 relative).
The kernel evaluates x P(x**2) / Q(x**2) in float32, x = min(m f, 9.1), u = 2**-24:

1. x carries two roundings, of m to float32 and of m f. tanh is concave with tanh(0) = 0, so a
   relative error of x changes tanh by no more than itself.
2. Every coefficient is positive, so an error of a term is at most the same relative error of the
   sum: counting roundings bounds them. Twelve reach P, twelve reach Q, one each the product and
   the quotient: 26, and 28 with those of x; (1 + u)**28 - 1 <= 28 u / (1 - 28 u).
3. In exact arithmetic, with the coefficients as float32 numbers, the rational function is within
   5e-8 of tanh, relative, on (0, 9.1]; beyond, it stays at 1 - 2.6e-8.

Each room rounds down, which adds less than one:

    |T_kernel - T_reference| <= ceil(2**32 p e) + 1,   e = (1 + 28 u / (1 - 28 u)) (1 + 5e-8) - 1
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
from cpu_room import Weights

from qreference import philox, walker
from qtheory.algorithms import DST
from qtheory.lattice import Lattice
from qtheory.streams import Stream

U, ROUNDINGS, APPROXIMATION, REACH = 2.0**-24, 28, 5e-8, 9.1
P = (1.0, 0.13374463061541894, 0.0034877966148440776, 2.048095168818676e-05, 1.3177208294494623e-08)
Q = (1.0, 0.4670777685301871, 0.02584733370948536, 0.00032728966419341444, 7.703914786332613e-07)
P, Q = (tuple(float(np.float32(c)) for c in row) for row in (P, Q))
NONLINEARITIES = [1e-30, 0.01, 0.5, 1.0, 3.0, 10.0, 40.0, 1e30]


def edge(p: np.ndarray) -> np.ndarray:
    """The bound; 2**-17 covers the reference's own tanh, before and after."""
    rounding = ROUNDINGS * U / (1 - ROUNDINGS * U)
    e = (1 + rounding) * (1 + APPROXIMATION) - 1
    return np.ceil(2.0**32 * p * e + 2.0**-17).astype(np.int64) + 1


@dataclass
class Count:
    """Roundings that a positive number has met."""

    roundings: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(max(self.roundings, other.roundings) + 1)

    def __mul__(self, other: Count) -> Count:
        return Count(self.roundings + other.roundings + 1)

    __truediv__ = __mul__


def test_twenty_six_roundings():
    x, c = Count(), Count()
    y = x * x
    p = (((c * y + c) * y + c) * y + c) * y + c
    assert (x * p / p).roundings == 26 == ROUNDINGS - 2


def rational(x, number=float):
    y = x * x
    p, q = (sum(number(c) * y**k for k, c in enumerate(row)) for row in (P, Q))
    return x * p / q


def largest_ratio(row: tuple[float, ...], order: int) -> float:
    """Bound of |derivative / polynomial|: term by term, since all terms are positive."""
    return max(math.perm(k, order) * row[k] / row[k - order] for k in range(order, 5))


def test_the_rational_function_is_within_5e8_of_tanh():
    """On a grid, and between its points by a bound on the second derivative.

    With g(x) = ln(rational / tanh): at an extremum between two points, a distance h apart,
    |g| exceeds both neighbours by at most max|g''| h**2 / 8. Dividing both functions by x,
    (ln P(x^2)/Q(x^2))'' is 2 (P'/P - Q'/Q) + 4 x^2 (P''/P - P'^2/P^2 - Q''/Q + Q'^2/Q^2), where
    the ratios are between 0 and `largest_ratio`, and |(ln(tanh x / x))''| <= 1.
    """
    points = 2 * 10**6
    grid = np.linspace(0, REACH, points + 1)[1:]
    g = np.abs(np.log1p((rational(grid) - np.tanh(grid)) / np.tanh(grid))).max()
    first = max(largest_ratio(P, 1), largest_ratio(Q, 1))
    second = max(largest_ratio(P, 2), largest_ratio(Q, 2))
    curvature = 2 * first + 4 * REACH**2 * (first**2 + second) + 1
    # Float64: about 20 roundings in a relative error, below 1e-14.
    widest = g + curvature * (REACH / points) ** 2 / 8 + 1e-14
    assert math.expm1(widest) <= APPROXIMATION
    assert 1 - rational(REACH) < 2.6e-8


def test_float64_is_enough_to_see_that():
    """The same difference with 40 digits, at 500 points."""
    with mpmath.workdps(40):
        for x in np.linspace(0, REACH, 501)[1:]:
            exact = rational(mpmath.mpf(x), mpmath.mpf) / mpmath.tanh(mpmath.mpf(x)) - 1
            assert abs(exact) <= APPROXIMATION
            assert abs(float(exact) - (rational(x) / np.tanh(x) - 1)) <= 1e-14


def fractions() -> np.ndarray:
    """Dense in [0, 1), and down to subnormals."""
    dense = np.linspace(0, 1, 2**18, endpoint=False).astype(np.float32)
    small = np.geomspace(1e-45, 1, 2**17, endpoint=False).astype(np.float32)
    return np.concatenate([dense, small, np.nextafter(np.float32(1), np.float32([0]))])


def thresholds(room, spec: DST, fraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index = np.ones(fraction.size, np.int64)
    ours = room.outcomes(spec, index, fraction).thresholds[..., 0]
    theirs = walker.outcomes(spec, index, fraction).thresholds[..., 0]
    return ours.astype(np.int64), theirs.astype(np.int64)


def sweep(room) -> list[str]:
    """Every threshold of the sweep is within the edge; the widest distance for each m."""
    f = fractions()
    report = []
    for m in NONLINEARITIES:
        ours, theirs = thresholds(room, DST(Lattice.ternary(), m), f)
        allowed = edge(np.tanh(m * f.astype(np.float64)))
        distance = np.abs(ours - theirs)
        assert (distance <= allowed).all()
        assert ours.min() >= 0
        assert ours.max() <= 2**32
        report.append(f"m {m:g}: {distance.max()} of {allowed[distance.argmax()]}")
    return report


def test_thresholds_on_a_dense_sweep(room, capsys):
    report = sweep(room)
    with capsys.disabled():
        print("\n  widest edge, in 2**-32, of what is allowed there: " + "; ".join(report))


def on_the_edge(room, spec: DST, words: np.ndarray) -> np.ndarray:
    """For each word a fraction whose kernel threshold is as near to word, word + 1 as can be."""
    goal = words.astype(np.int64) + np.arange(words.size) % 3 - 1
    middle = np.arctanh(np.clip((goal + 0.5) / 2**32, 0, 1 - 2.0**-30)) / spec.nonlinearity
    middle = np.minimum(middle, 1 - 2.0**-24).astype(np.float32)
    best, nearest = middle, np.full(words.size, 2**40)
    for ulps in range(-4, 5):
        candidate = (middle.view(np.int32) + ulps).view(np.float32)
        candidate = np.clip(candidate, 0, np.float32(1 - 2.0**-24))
        ours, _ = thresholds(room, spec, candidate)
        near = np.abs(ours - goal)
        best, nearest = np.where(near < nearest, candidate, best), np.minimum(near, nearest)
    return best


@pytest.mark.parametrize("m", [0.5, 3.0, 10.0])
def test_words_on_the_edge(room, m, capsys):
    """Decisions are `word < threshold` for each room's own threshold, and differ only between."""
    count = 100_000
    spec = DST(Lattice.ternary(), m)
    words = philox.words(21, 1, 3, Stream.MOVE, 20 * count)
    low = np.flatnonzero((words < 2**24) & (words > 2))  # every integer in reach
    chosen = np.union1d(low, np.arange(count))
    fraction = np.zeros(int(chosen.max()) + 1, np.float32)
    fraction[chosen] = on_the_edge(room, spec, words[chosen])
    words = words[: fraction.size].astype(np.int64)
    ours, theirs = thresholds(room, spec, fraction)
    weights = Weights(np.ones(fraction.size, np.int64), fraction, tensor=3)
    room.step(spec, None, [weights], seed=21, iteration=1)
    moved = weights.index == 2
    assert (moved == (words < ours)).all()
    reference = walker.step(
        spec, np.ones(fraction.size, np.int64), fraction, words.astype(np.uint32)
    )
    differ = moved != (reference == 2)
    between = (np.minimum(ours, theirs) <= words) & (words < np.maximum(ours, theirs))
    assert (differ == between).all()
    hits = [int((words - ours == d)[chosen].sum()) for d in (-1, 0, 1)]
    assert min(hits) >= 500  # word T - 1, T, T + 1
    assert differ.sum() >= 500  # the edge is really there
    with capsys.disabled():
        print(
            f"\n  m {m:g}: {differ.sum()} of {chosen.size} decisions differ on the edge; "
            f"words at T - 1, T, T + 1: {hits}"
        )


def test_four_million_random_decisions(room, capsys):
    """Thresholds a few hundred apart: about one word in 2**23 falls between them."""
    count, spec = 4_000_000, DST(Lattice.ternary(), 3.0)
    rng = np.random.default_rng(3)
    increment = rng.normal(0.1, 0.7, count).astype(np.float32)
    index = rng.integers(0, 3, count)
    words = philox.words(21, 2, 3, Stream.MOVE, count)
    ours, theirs = thresholds(room, spec, increment)
    weights = Weights(index, increment, tensor=3)
    room.step(spec, None, [weights], seed=21, iteration=2, threads=2)
    differ = weights.index != walker.step(spec, index, increment, words)
    assert not (differ & ((words < ours) == (words < theirs))).any()
    with capsys.disabled():
        print(f"\n  {differ.sum()} of {count} random decisions differ")
