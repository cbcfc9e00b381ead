"""One weight at its threshold: rotation, windows, noise, and two cures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from qpapers.extremes import largest, least
from qpapers.ledger import Claim, Values
from qtheory.gradients.levels.oscillation import (
    OneWeight,
    dampened_gradient,
    dampened_law,
    descend,
    freeze,
    noisy,
    rotation,
    straight_through,
    ups,
    windowed,
)
from qtheory.noise import Triangular

TEST = "tests/theory/gradients/levels/test_oscillation.py"
FRACTIONS = tuple(Fraction(n, 100) for n in (5, 20, 37, 50, 63, 90))
RATES = (Fraction(1, 100), Fraction(1, 10), Fraction(1))
GOLDEN = 0.5 * (3.0 - math.sqrt(5.0))


def weights() -> list[OneWeight]:
    """Six fractions above the level 3, three learning rates."""
    return [OneWeight(3 + a, rate) for a in FRACTIONS for rate in RATES]


def rotations() -> Values:
    """Latents that are not those of the rotation, 200 iterations."""
    pairs = [
        zip(
            straight_through(w, w.threshold, 200).latent,
            rotation(w, w.threshold, 200),
            strict=True,
        )
        for w in weights()
    ]
    return (float(sum(a != b for pair in pairs for a, b in pair)),)


def averages() -> Values:
    """Largest difference of the visible average over 100 iterations from the target, and largest
    n abs(average - w*) / D over shorter ones."""
    runs = [(w, straight_through(w, w.threshold, 100).visible) for w in weights()]
    whole = largest(abs(sum(v) / 100 - w.target) for w, v in runs)
    parts = largest(abs(sum(v[:n]) - n * w.target) for w, v in runs for n in range(1, 100))
    return float(whole), float(parts)


def frequencies() -> Values:
    """Moves up per 100 iterations by fraction, learning rate 1/10; and moves that other rates
    have more or less."""

    def count(w: OneWeight) -> int:
        return ups(straight_through(w, w.threshold, 101).visible)

    found = [[count(OneWeight(3 + a, rate)) for rate in RATES] for a in FRACTIONS]
    changed = sum(abs(n - row[1]) for row in found for n in row)
    return (*(float(row[1]) for row in found), float(changed))


def ranges() -> Values:
    """Range of the latent over rate times spacing, by fraction."""

    def one(w: OneWeight) -> Fraction:
        latent = straight_through(w, w.threshold, 101).latent
        return (largest(latent) - least(latent)) / w.learning_rate

    return tuple(float(one(OneWeight(3 + a, RATES[1]))) for a in FRACTIONS)


def windows() -> Values:
    """Moves up per 1000 iterations, a = .37, half widths 1/2, 1/4, 1/10, rates .01 and .1."""

    def count(rate: Fraction, half: Fraction) -> float:
        w = OneWeight(Fraction(37, 100), rate)
        return float(ups(windowed(w, w.threshold, 1001, half).visible))

    halves = (Fraction(1, 2), Fraction(1, 4), Fraction(1, 10))
    return tuple(count(rate, half) for rate in RATES[:2] for half in halves)


def triangular_means() -> Values:
    """(mean of q - w*) over -a (1 - a) (1 - 2a) r / (2 s**2), triangular noise of half width 1/2,
    a golden, rates .005 and .0025, 200 000 iterations."""

    def ratio(rate: float) -> float:
        noise, a = Triangular(0.5), GOLDEN

        def gradient(w: float) -> float:
            slope = largest((0.0, 1.0 - abs(w - 0.5) / noise.half_width)) / noise.half_width
            return slope * (math.floor(w + 0.5) - a)

        _, visible = descend(gradient, 0.5, rate, 200_000)
        first_order = -a * (1 - a) * (1 - 2 * a) * rate / (2 * noise.half_width**2)
        return (math.fsum(visible) / 200_000 - a) / first_order

    return ratio(0.005), ratio(0.0025)


def noise_and_mean() -> Values:
    """Mean and moves up with uniform noise on -m/8 ... m/8, a = 3/8, m = 0, 8, 16, 32."""
    found = [noisy(3, 8, np.full(2 * m + 1, 1.0 / (2 * m + 1))) for m in (0, 8, 16, 32)]
    return (*(each.mean for each in found), *(each.ups for each in found))


def strong_noise() -> Values:
    """ups v / (a (1 - a) E abs(e)), extrapolated in 1 / std from stds 2.40 and 3.56; a = 1/3, 2/3
    of the same noise."""

    def ratio(p: int, m: int) -> tuple[float, float]:
        pmf, e = np.full(2 * m + 1, 1.0 / (2 * m + 1)), np.arange(-m, m + 1) / 3
        v = float(e @ (e * pmf))
        return math.sqrt(v), noisy(p, 3, pmf).ups * v / (2 / 9 * float(np.abs(e) @ pmf))

    def limit(p: int) -> float:
        (s1, r1), (s2, r2) = ratio(p, 12), ratio(p, 18)
        return (s2 * r2 - s1 * r1) / (s2 - s1)

    return limit(1), limit(2)


def dampened() -> Values:
    """Largest error of the law, rate .001, 20 000 iterations; a = .2, .37, strengths 0 to .39."""
    errors: list[float] = []
    for a in (0.2, 0.37):
        for strength in (0.0, 0.1, 0.25, 0.39):
            _, visible = descend(dampened_gradient(a, strength), 0.5, 1e-3, 30_001)
            tail = visible[10_000:]
            frequency, mean = dampened_law(a, strength)
            errors += [abs(ups(tail) / 20_000 - frequency), abs(math.fsum(tail) / 20_001 - mean)]
    return (largest(errors),)


def mean_loss(visible: Sequence[float], target: float) -> float:
    return math.fsum(0.5 * (q - target) ** 2 for q in visible) / len(visible)


def dampened_losses() -> Values:
    """Mean of (q - w*)**2 / 2, a = .37, strengths 0, .3, .6, .76, rate .001."""
    runs = [descend(dampened_gradient(0.37, c), 0.5, 1e-3, 30_001)[1] for c in (0, 0.3, 0.6, 0.76)]
    return tuple(mean_loss(visible[10_001:], 0.37) for visible in runs)


def freezing() -> Values:
    """Level and iteration, a = .37, .63 after 500 iterations, a = .63 at once; whether a weight
    that changes .04 times an iteration is frozen. Momentum .01, threshold .1."""

    def visible(a: Fraction) -> list[int]:
        w = OneWeight(a, RATES[0])
        return [int(q) for q in straight_through(w, w.threshold - (1 - a) / 100, 600).visible]

    high, low = visible(Fraction(63, 100)), visible(Fraction(37, 100))
    rare = freeze(visible(Fraction(1, 50)), 0.01, 0.1).iteration
    found = [freeze(low, 0.01, 0.1, 500), freeze(high, 0.01, 0.1, 500), freeze(high, 0.01, 0.1)]
    return (
        *(float(f.level) for f in found),
        float(found[2].iteration or 0),
        float(rare is not None),
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="dynamics-rotation",
        statement="One weight, loss (q(w) - w*)²/2, spacing D, w* = (k + a) D: straight-through "
        "descent with rate r is the rotation y -> y + a mod 1, y = (w - t)/(r D) + 1 - a, if "
        "r max(a, 1 - a) <= 1: latents that differ; a = .05 .2 .37 .5 .63 .9, r = .01 .1 1, 200 "
        "iterations, exact fractions",
        code=rotation,
        test=f"{TEST}::test_straight_through_is_a_rotation",
        printed="0",
        number="ours",
        expected=(0.0,),
        tolerance=0.0,
        why="whole numbers and fractions",
        run=rotations,
    ),
    Claim(
        id="dynamics-average",
        statement="The visible weight averages w*: difference over 100 iterations, a whole number "
        "of periods; and n abs(average - w*) / D over fewer: below 1",
        code=straight_through,
        test=f"{TEST}::test_straight_through_is_a_rotation",
        printed="0; below 1",
        number="ours",
        expected=(0.0, 1.0),
        tolerance=0.0,
        why="exact fractions",
        run=averages,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="dynamics-frequency",
        statement="It moves up min(a, 1 - a) times an iteration whatever r <= 1 (oscillations as "
        "seen by Nagel et al. 2022): moves in 100 iterations, r = .1; changed by r = .01 or 1",
        code=ups,
        test=f"{TEST}::test_straight_through_is_a_rotation",
        printed="5 20 37 50 37 10; 0",
        number="ours",
        expected=(5.0, 20.0, 37.0, 50.0, 37.0, 10.0, 0.0),
        tolerance=0.0,
        why="counts",
        run=frequencies,
    ),
    Claim(
        id="dynamics-range",
        statement="The latent stays within r D of the threshold, in a range r D (1 - 1/d), a = p/d "
        "in lowest terms: over r D",
        code=OneWeight,
        test=f"{TEST}::test_straight_through_is_a_rotation",
        printed="at most 1; .95 .8 .99 .5 .99 .9 (derived)",
        number="ours",
        expected=(0.95, 0.8, 0.99, 0.5, 0.99, 0.9),
        tolerance=2.0**-52,
        why="exact fractions, rounded once",
        run=ranges,
    ),
    Claim(
        id="dynamics-window",
        statement="Backward uniform noise of half width s D: the same frequency if r D max(a, 1 - "
        "a) <= 2 s², else the weight leaves the window and rests. Moves up in 1000 iterations, a = "
        ".37, s = 1/2, 1/4, 1/10, r = .01; r = .1. An earlier derivation has the frequency "
        "unchanged in all cases",
        code=windowed,
        test=f"{TEST}::test_narrow_windows_rotate_faster_or_stop",
        printed="370 370 370; 370 370 0",
        number="ours",
        expected=(370.0, 370.0, 370.0, 370.0, 370.0, 0.0),
        tolerance=0.0,
        why="counts",
        run=windows,
        verdict="holds corrected",
    ),
    Claim(
        id="dynamics-triangular",
        statement="With triangular noise the mean of q is off the target by -a (1 - a)(1 - 2a) r "
        "D³ / (2 s²) to first order, a irrational, so the frequency is not exactly that of plain "
        "descent: error over this, s = D/2, r = .005, .0025, a = (3 - √5)/2",
        code=descend,
        test=f"{TEST}::test_triangular_noise_shifts_the_mean",
        printed="1, 1 (derived)",
        number="ours",
        expected=(1.0, 1.0),
        tolerance=0.15,
        why="returns of the golden rotation after n iterations are 1/(√5 n) away, the shift by "
        "then is n r/s²: equal at n² ~ s²/r, so the law is uniform to (r/s²)^(1/2) = 0.14; D/n is "
        "2% of the least mean",
        run=triangular_means,
        verdict="holds corrected",
    ),
    Claim(
        id="dynamics-noise-mean",
        statement="Gradient noise, exact stationary law, a = 3/8, noise uniform on the eighths to "
        "0, 1, 2, 4 spacings: the mean stays a for any noise; moves up an iteration",
        code=noisy,
        test=f"{TEST}::test_noise_leaves_the_mean",
        printed="0.375 each; 0.375 0.2068 0.1313 0.0753 (derived), whatever r",
        number="ours",
        expected=(0.375, 0.375, 0.375, 0.375, 0.375, 0.2068, 0.1313, 0.0753),
        tolerance=6e-5,
        why="half a unit of the fourth decimal; the law is cut at exp(-40)",
        run=noise_and_mean,
    ),
    Claim(
        id="dynamics-noise-strong",
        statement="Strong noise e: it moves up about a (1 - a) E abs(e) D / E e² times an "
        "iteration: ratio extrapolated in 1/std, a = 1/3, 2/3",
        code=noisy,
        test=f"{TEST}::test_strong_noise_has_the_law_of_a_diffusion",
        printed="1, 1 (derived)",
        number="ours",
        expected=(1.0, 1.0),
        tolerance=1.2e-2,
        why="the ratio is 1 - 0.32/std + 0.09/std² at these noises: 0.1 over the product of the "
        "stds 2.40 and 3.56",
        run=strong_noise,
    ),
    Claim(
        id="dynamics-dampening",
        statement="Dampening (Nagel et al. 2022), a pull c (w - q): to first order in r it moves "
        "up (min(a, 1 - a) - c/2)/(1 - c) times an iteration and averages (a - c/2)/(1 - c), off "
        "the target; none from c = 2 min(a, 1 - a) on: largest error, a = .2 .37, c = 0 to .39, "
        "r = .001",
        code=dampened_law,
        test=f"{TEST}::test_dampened_weights_have_the_law",
        printed="0 (derived)",
        number="ours",
        expected=(0.0,),
        tolerance=1.05e-3,
        why="the pull varies by r relatively over the orbit; 20 000 iterations resolve 5e-5",
        run=dampened,
    ),
    Claim(
        id="dynamics-dampening-loss",
        statement="Mean loss (q - w*)²/2, a = .37, c = 0, .3, .6, .76: from a(1 - a)/2 D² to "
        "that of the nearest level, a²/2 D², once it rests",
        code=dampened_gradient,
        test=f"{TEST}::test_strong_dampening_ends_oscillation",
        printed="0.1166 0.1093 0.0912 0.0685 (derived)",
        number="ours",
        expected=tuple(
            0.5 * (0.37**2 + (1 - 0.74) * dampened_law(0.37, c)[1]) for c in (0, 0.3, 0.6, 0.76)
        ),
        tolerance=2e-4,
        why="the loss is a²/2 + (1 - 2a)/2 of the mean, which is met to 1.05e-3: times 0.13",
        run=dampened_losses,
    ),
    Claim(
        id="dynamics-freezing",
        statement="Freezing above a frequency of .1, momentum .01 (Nagel et al. 2022): level for "
        "a = .37, .63 after 500 iterations, the nearest to the target; for a = .63 at once, a "
        "wrong one, at iteration 14; whether a = .02 (.04 changes) is frozen",
        code=freeze,
        test=f"{TEST}::test_freezing",
        printed="0, 1, 0, 14, 0 (derived)",
        number="ours",
        expected=(0.0, 1.0, 0.0, 14.0, 0.0),
        tolerance=0.0,
        why="whole numbers; averages are far from ties",
        run=freezing,
    ),
)
