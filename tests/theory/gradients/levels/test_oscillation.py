"""One weight at a threshold: exact rotations, windows, noise against simulation, and cures."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory.gradients.levels.oscillation import (
    OneWeight,
    dampened_gradient,
    dampened_law,
    descend,
    freeze,
    nearest,
    noisy,
    rotation,
    straight_through,
    ups,
    windowed,
)

fractions = st.fractions(Fraction(1, 40), Fraction(39, 40), max_denominator=40)
rates = st.fractions(Fraction(1, 200), Fraction(1, 1), max_denominator=200)
spacings = st.sampled_from([Fraction(1), Fraction(1, 3), Fraction(5, 2)])


def weight_of(a: Fraction, rate: Fraction, spacing: Fraction, level: int = 0) -> OneWeight:
    return OneWeight((level + a) * spacing, rate, spacing)


@given(fractions, rates, spacings, st.integers(-3, 3), st.fractions(0, 1, max_denominator=30))
def test_straight_through_is_a_rotation(a, rate, spacing, level, place):
    """Exactly: latents, average over a period, moves up, range; and D / n for any n."""
    weight = weight_of(a, rate, spacing, level)
    low = weight.threshold - (1 - a) * rate * spacing
    start = low + min(place, Fraction(29, 30)) * rate * spacing
    d = a.denominator
    orbit = straight_through(weight, start, 2 * d + 1)
    assert orbit.latent == rotation(weight, start, 2 * d + 1)
    assert orbit.latent[d] == start and len(set(orbit.latent[:d])) == d
    assert sum(orbit.visible[:d]) / d == weight.target
    assert ups(orbit.visible) == 2 * min(a.numerator, d - a.numerator)
    assert max(orbit.latent) - min(orbit.latent) == rate * spacing * (1 - Fraction(1, d))
    for n in range(1, d):
        assert abs(sum(orbit.visible[:n]) / n - weight.target) < spacing / n


@given(fractions, st.fractions(Fraction(1, 10), Fraction(1, 2), max_denominator=10))
def test_every_start_comes_to_the_rotation(a, rate):
    """From m spacings away the gradient is at least min(a, 1 - a) per move, so (m + 1) / (r min)
    moves are enough; for r <= 1/2 no threshold is jumped over without landing beside it."""
    weight = weight_of(a, rate, Fraction(1))
    needed = math.ceil(4 / (rate * min(a, 1 - a)))
    for start in (Fraction(-5, 2), Fraction(7, 2)):
        w = start
        for _ in range(needed):
            if weight.in_orbit(w):
                break
            w -= rate * (nearest(w, Fraction(1)) - weight.target)
        assert weight.in_orbit(w)


@given(fractions, rates)
def test_windows_of_half_a_spacing_change_nothing(a, rate):
    weight = weight_of(a, rate, Fraction(1))
    plain = straight_through(weight, weight.threshold, 50)
    assert windowed(weight, weight.threshold, 50, Fraction(1, 2)) == plain


@given(fractions, rates, st.fractions(Fraction(1, 20), Fraction(1, 2), max_denominator=20))
def test_narrow_windows_rotate_faster_or_stop(a, rate, half):
    """Inside: as plain descent with rate r / (2 s). If a point of that orbit is out of the window
    the weight comes to rest there; at an orbit's low end equality is inside, at its high end out.
    """
    weight = weight_of(a, rate, Fraction(1))
    faster = rate / (2 * half)
    n = 3 * a.denominator
    orbit = windowed(weight, weight.threshold, n, half)
    low, high = -(1 - a) * faster, a * faster
    step = faster / a.denominator
    if low >= -half and high - step < half:
        plain = straight_through(weight_of(a, faster, Fraction(1)), weight.threshold, n)
        assert orbit == plain
    elif faster * max(a, 1 - a) <= 1:
        assert orbit.latent[-1] == orbit.latent[-2]


def test_triangular_noise_shifts_the_mean():
    """First order, D = 1: -a (1 - a) (1 - 2a) r / (2 s**2), met to (r / s**2)**(1/2) for a golden
    fraction, whose returns after n iterations are 1 / (sqrt 5 n) away while the shift is n r / s**2
    by then; s = 1/2. 1 / n is 2% of it. Plain descent is off by 1 / n at most."""
    a, s, rate, n = 0.5 * (3 - math.sqrt(5)), 0.5, 0.005, 100_000

    def slope(w):
        return max(0.0, 1 - abs(w - 0.5) / s) / s

    shifted = descend(lambda w: slope(w) * (math.floor(w + 0.5) - a), 0.5, rate, n)[1]
    plain = descend(lambda w: math.floor(w + 0.5) - a, 0.5, rate, n)[1]
    first_order = -a * (1 - a) * (1 - 2 * a) * rate / (2 * s * s)
    assert abs(np.mean(plain) - a) <= 1.01 / n
    assert abs((np.mean(shifted) - a) / first_order - 1) <= math.sqrt(rate) / s + 0.02


def test_outside_a_window_a_weight_rests():
    weight = OneWeight(Fraction(1, 3), Fraction(1, 10))
    orbit = windowed(weight, Fraction(1, 4), 20, Fraction(1, 5))
    assert set(orbit.latent) == {Fraction(1, 4)}


def test_noise_against_a_simulation():
    """100 weights, 4000 iterations after 1000: five standard errors over weights. Sums of the
    drift make the mean's error tiny, so it is bounded by range over time instead: D / n and the
    latent's spread."""
    rng = np.random.default_rng(11)
    p, d, m = 3, 8, 10
    noise = np.full(2 * m + 1, 1 / (2 * m + 1))
    law = noisy(p, d, noise)
    j, up, above, square = np.zeros(100, dtype=np.int64), 0, 0, 0
    for n in range(5000):
        later = j + np.where(j < 0, p, p - d) + rng.integers(-m, m + 1, 100)
        if n >= 1000:
            up, above = up + ((j < 0) & (later >= 0)), above + (j >= 0)
            square = square + (j / d) ** 2
        j = later
    for sample, want in ((up / 4000, law.ups), (above / 4000, law.mean)):
        assert abs(sample.mean() - want) <= 5 * sample.std() / 10 + 1e-3
    spread = math.sqrt(np.mean(square / 4000) - np.mean(above / 4000 - p / d) ** 2)
    assert abs(spread / law.spread - 1) < 0.1


@pytest.mark.parametrize(("p", "d"), [(1, 3), (3, 8), (4, 5)])
def test_noise_leaves_the_mean(p, d):
    """No drift in the stationary mean: a, up to the cut of exp(-40) and rounding."""
    skew = np.array([0.0, 0.25, 0.5, 0.0, 0.25])  # -1, 0, 2 with 1/4, 1/2, 1/4: mean 1/4
    centred = np.array([0.25, 0.0, 0.5, 0.25, 0.0])  # -2, 0, 1 ... not symmetric
    with pytest.raises(ValueError, match="no mean"):
        noisy(p, d, skew)
    with pytest.raises(ValueError, match="no mean"):
        noisy(p, d, centred)
    lopsided = np.array([1 / 3, 0.0, 0.0, 2 / 3, 0.0])  # -2 and +1
    assert abs(noisy(p, d, lopsided).mean - p / d) < 1e-12
    assert abs(noisy(p, d, np.ones(1)).ups - min(p, d - p) / d) < 1e-12


def test_strong_noise_has_the_law_of_a_diffusion():
    """ups v / (a (1 - a) E abs(e)) is 1 - c / std, c about .32: extrapolated from two noises in
    1 / std, the rest is below .1 / (std std') = .012."""
    found = []
    for m in (12, 18):
        pmf, e = np.full(2 * m + 1, 1 / (2 * m + 1)), np.arange(-m, m + 1) / 3
        v = e @ (e * pmf)
        found.append((math.sqrt(v), noisy(1, 3, pmf).ups * v / (2 / 9 * (np.abs(e) @ pmf))))
    (s1, r1), (s2, r2) = found
    assert r1 < r2 < 1
    assert abs((s2 * r2 - s1 * r1) / (s2 - s1) - 1) < 0.1 / (s1 * s2)


@pytest.mark.parametrize("a", [0.2, 0.37, 0.63])
@pytest.mark.parametrize("strength", [0.0, 0.1, 0.25, 0.35])
def test_dampened_weights_have_the_law(a, strength):
    """r = .001: the pull varies by r relatively over the orbit, 1e-3 of a move at most, and
    20 000 iterations resolve 1 / 20 000."""
    _, visible = descend(dampened_gradient(a, strength), 0.5, 1e-3, 30_001)
    tail = visible[10_000:]
    frequency, mean = dampened_law(a, strength)
    assert abs(ups(tail) / 20_000 - frequency) <= 1e-3 + 1 / 20_000
    assert abs(np.mean(tail) - mean) <= 1e-3 + 1 / 20_000


@pytest.mark.parametrize(("a", "level"), [(0.2, 0), (0.37, 0), (0.63, 1)])
def test_strong_dampening_ends_oscillation(a, level):
    """Just above 2 min(a, 1 - a), where the pull exceeds the drift: at rest at q + (w* - q) / c."""
    strength = 2 * min(a, 1 - a) + 0.02
    latent, visible = descend(dampened_gradient(a, strength), 0.5, 0.01, 20_001)
    assert dampened_law(a, strength) == (0.0, float(level))
    assert ups(visible[10_000:]) == 0 and visible[-1] == level
    assert abs(latent[-1] - (level + (a - level) / strength)) < 1e-9


def test_freezing():
    """0.74 changes an iteration at a = .37 and at .63; .04 at .02, below the threshold. Without a
    warm-up the mean level is still near the first one, 0: .63 is frozen at the wrong level."""
    for a, begin, want in (
        (Fraction(37, 100), 500, (500, 0)),
        (Fraction(63, 100), 500, (500, 1)),
        (Fraction(63, 100), 0, (14, 0)),
    ):
        weight = OneWeight(a, Fraction(1, 100))
        low = weight.threshold - (1 - a) * weight.learning_rate
        visible = [int(q) for q in straight_through(weight, low, 600).visible]
        assert freeze(visible, 0.01, 0.1, begin) == want
    rare = OneWeight(Fraction(1, 50), Fraction(1, 100))
    visible = [int(q) for q in straight_through(rare, rare.threshold, 600).visible]
    assert freeze(visible, 0.01, 0.1).iteration is None


def test_frequency_of_freezing_at_once():
    """Two changes: f = m, then m + (1 - m) m; z = 1 - m and so on, from level 1."""
    assert freeze([1, 0, 1], 0.5, 0.6) == (2, 1)
    assert freeze([1, 0, 0], 0.5, 0.4) == (1, 1)  # z = 1/2: a tie goes up
    assert freeze([1, 0, 0], 0.625, 0.5) == (1, 0)  # z = 3/8
    assert freeze([3, 3, 3], 0.5, 0.1) == (None, 3)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: OneWeight(Fraction(1, 2), Fraction(1), Fraction(0)), "a spacing is positive"),
        (lambda: OneWeight(Fraction(2), Fraction(1)), "between two levels, got 2"),
        (lambda: OneWeight(Fraction(1, 4), Fraction(3, 2)), "less than a spacing, got 3/2"),
        (lambda: OneWeight(Fraction(1, 4), Fraction(0)), "a learning rate is positive"),
        (lambda: rotation(OneWeight(Fraction(1, 4), Fraction(1)), Fraction(3), 2), "begins in"),
        (
            lambda: windowed(OneWeight(Fraction(1, 4), Fraction(1)), Fraction(0), 2, Fraction(0)),
            "a window is positive",
        ),
        (lambda: noisy(1, 3, np.full(3, 0.1)), "add up to 1"),
        (lambda: noisy(1, 3, np.array([np.nan])), "no mean"),
        (lambda: freeze([], 0.1, 0.1), "at least one level"),
        (lambda: noisy(3, 3, np.ones(1)), "inside \\(0, 1\\), got 3 / 3"),
        (lambda: dampened_law(0.3, 1.4), "below 2 max"),
    ],
)
def test_bad_input_is_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
