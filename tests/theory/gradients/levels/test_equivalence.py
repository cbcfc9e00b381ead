"""Surrogate derivatives as learning rates: closed forms, scipy's quadrature, and the O(r) gap."""

import math

import numpy as np
import pytest
from scipy import integrate

from qtheory.gradients.levels.descent import Quadratic, nearest_level, random_quadratic
from qtheory.gradients.levels.equivalence import (
    Surrogate,
    adam_descent,
    cauchy_transport,
    check_admissible,
    cosine,
    cosine_transport,
    gap,
    noisy_stair,
    of_noise,
    plain_descent,
    rates_of_cells,
    surrogate_descent,
)
from qtheory.lattice import Lattice
from qtheory.noise import Cauchy, Gaussian, Logistic, StudentT, Triangular, Uniform
from qtheory.optimisers import Adam
from qtheory.stairs.stair import Stair

POINTS = np.linspace(0.0, 1.0, 101)
NOISES = (
    Gaussian(0.2),
    Logistic(0.1365),
    Uniform(0.75),
    Triangular(0.8),
    Cauchy(0.1),
    StudentT(3.0, 0.2),
)


@pytest.mark.parametrize("depth", [-0.9, 0.0, 0.8])
def test_the_cosine_in_closed_form(depth):
    """64 panels of 10 nodes: convergence far below rounding; 1 / S <= 10, 64 roundings."""
    surrogate = Surrogate(cosine(depth))
    assert abs(surrogate.alpha - math.sqrt(1 - depth**2)) <= 64 * 2.0**-53
    found = surrogate.transport(0.5 + POINTS) - 0.5
    assert np.abs(found - cosine_transport(depth, POINTS)).max() <= 64 * 2.0**-53


def test_the_arctangent_that_was_derived_before():
    """0.6 (atan(tan(pi y) / 3) + pi if y > 1/2) / (0.6 pi), away from the pole at 1/2."""
    y = np.array([0.1, 0.3, 0.45, 0.6, 0.9])
    branch = np.arctan(np.tan(np.pi * y) / 3) + np.where(y > 0.5, np.pi, 0.0)
    assert np.abs(cosine_transport(0.8, y) - branch / np.pi).max() <= 16 * 2.0**-53


@pytest.mark.parametrize("scale", [0.05, 0.1, 0.4])
def test_cauchy_noise_in_closed_form(scale):
    surrogate = noisy_stair(Cauchy(scale))
    assert abs(surrogate.alpha - math.tanh(2 * math.pi * scale)) <= 64 * 2.0**-53
    w = 3.0 * POINTS - 1.3
    assert np.abs(surrogate.transport(w) - cauchy_transport(scale, w)).max() <= 128 * 2.0**-53


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("spacing", [1.0, 0.5])
def test_transport_by_another_quadrature(noise, spacing):
    """scipy's quadrature of 1 / (D sum_k f(w - t_k)) within ten times its error; tails of the sum
    over 4000 thresholds hold below 1 / (pi 2000) of the slope for Cauchy noise, 1e-6 for Student's.
    """
    surrogate = noisy_stair(noise.scaled(spacing), spacing)
    reach = 2000 if isinstance(noise, Cauchy | StudentT) else 60
    shifts = (np.arange(-reach, reach + 1.0) + 0.5) * spacing

    def inverse(w):
        return 1.0 / (spacing * noise.scaled(spacing).density(w - shifts).sum())

    cuts = sorted({0.5 * spacing * c for c in (0.4, 0.5, 1.0, 1.5, 1.6)})
    whole, error = integrate.quad(inverse, -0.5 * spacing, 0.5 * spacing, limit=200)
    left_out = 2e-4 if isinstance(noise, Cauchy) else 1e-6
    assert abs(surrogate.alpha - spacing / whole) <= 10 * error + left_out
    for w in cuts:
        part = integrate.quad(inverse, 0.5 * spacing, w, limit=200)[0]
        want = 0.5 * spacing + spacing * part / whole
        assert abs(surrogate.transport(np.array([w]))[0] - want) <= 10 * error + left_out


@pytest.mark.parametrize("noise", NOISES)
def test_cells_are_mapped_onto_themselves(noise):
    """Thresholds stay to rounding, M grows, and far cells are as near ones."""
    surrogate = noisy_stair(noise)
    w = np.linspace(-3.0, 3.0, 1201) + 1e-4
    m = surrogate.transport(w)
    assert (np.diff(m) > 0).all()
    assert np.array_equal(nearest_level(m), nearest_level(w))
    thresholds = np.arange(-5.0, 6.0) + 0.5
    assert np.abs(surrogate.transport(thresholds) - thresholds).max() <= 1e-14
    far = surrogate.slope(POINTS + 1000.0)
    assert np.abs(far / surrogate.slope(POINTS) - 1).max() <= 1e-8


def test_a_harmonic_mean_is_at_most_one():
    """Noise leaves the slope's mean at 1; equality for uniform noise of whole half spacings."""
    for noise in NOISES:
        surrogate = noisy_stair(noise)
        assert surrogate.alpha < 1
    for half in (0.5, 1.0, 1.5):
        assert abs(noisy_stair(Uniform(half)).alpha - 1) <= 1e-14
    assert abs(noisy_stair(Uniform(0.75)).alpha - 8 / 9) <= 1e-14


def gaps(surrogate, rate, count=8):
    rng = np.random.default_rng(3)
    problems = [random_quadratic(rng, 6, 3.0) for _ in range(count)]
    starts = [p.target + 1.5 * rng.standard_normal(6) for p in problems]
    return [gap(p, surrogate, s, rate, 2.0) for p, s in zip(problems, starts, strict=True)]


@pytest.mark.parametrize(
    "surrogate", [Surrogate(cosine(0.8)), noisy_stair(Gaussian(0.15)), noisy_stair(Cauchy(0.1))]
)
def test_the_gap_is_of_the_order_of_the_rate(surrogate):
    """Below 3 r, twice the largest seen; without M or alpha the median is above 5 r."""
    for rate in (0.01, 0.005, 0.0025):
        assert max(gaps(surrogate, rate)) <= 3 * rate


def test_no_gap_where_the_slope_is_one():
    """S = 1 + rounding 2**-52 of each of 400 steps, gradients below 64."""
    assert max(gaps(noisy_stair(Uniform(0.5)), 0.005)) <= 400 * 64 * 0.005 * 2.0**-50


def test_without_transport_or_rate_the_gap_stays():
    surrogate = Surrogate(cosine(0.8))
    rng = np.random.default_rng(3)
    left = []
    for _ in range(8):
        p = random_quadratic(rng, 6, 3.0)
        start = p.target + 1.5 * rng.standard_normal(6)
        w = surrogate.transport(surrogate_descent(p, surrogate, start, 0.005, 400))
        other_start = plain_descent(p, start, surrogate.alpha * 0.005, 400)
        other_rate = plain_descent(p, surrogate.transport(start), 0.005, 400)
        left.append([np.abs(w - u).max() for u in (other_start, other_rate)])
    assert (np.median(left, axis=0) > 5 * 0.005).all()


def test_a_jump_at_the_threshold_breaks_the_equivalence():
    """S = 3/2 above and 1/2 below: coupled weights part for good, by more than 0.1 at any rate, and
    by more than 20 times what a continuous S leaves."""
    jump = Surrogate(lambda x: np.where(x - np.floor(x) < 0.5, 1.5, 0.5), breaks=(0.5,))
    pair = Quadratic(np.array([[1.0, 0.6], [0.6, 1.0]]), np.array([0.4, 0.77]))
    start = np.array([2.6, -1.7])
    for rate in (0.02, 0.005):
        assert gap(pair, jump, start, rate, 8.0) > 0.1
        assert gap(pair, Surrogate(cosine(0.5)), start, rate, 8.0) <= rate


def test_adam_needs_no_transport():
    """Median gap of eight: falls at least as the rate, once that is small against 1 - beta2, and
    below a tenth of what plain descent with the same rate and start leaves, which does not fall."""
    surrogate = Surrogate(cosine(0.8))

    def gaps_at(rate):
        rng, n, found = np.random.default_rng(3), round(1 / rate), []
        adam = Adam(rate, (0.9, 0.9), 1e-12)
        for _ in range(8):
            p = random_quadratic(rng, 6, 3.0)
            start = p.target + 1.5 * rng.standard_normal(6)
            with_it, without = (adam_descent(p, s, start, adam, n) for s in (surrogate, None))
            plain = surrogate_descent(p, surrogate, start, rate, n) - plain_descent(
                p, start, rate, n
            )
            found.append([np.abs(with_it - without).max(), np.abs(plain).max()])
        return np.median(found, axis=0)

    coarse, fine = gaps_at(0.005), gaps_at(0.00125)
    assert fine[0] <= coarse[0] / 4
    assert fine[0] < 0.1 * fine[1]


def test_adam_against_two_steps_by_hand():
    """Target 1/4, from 3/4: the gradient is 3/4, then, at 1/4, it is -1/4."""
    problem, adam = Quadratic(np.eye(1), np.array([0.25])), Adam(0.5, (0.5, 0.5), 1e-12)
    first = adam_descent(problem, None, np.array([0.75]), adam, 1)
    assert abs(first[0] - 0.25) < 1e-11
    m, v = (0.25 * 0.75 - 0.5 * 0.25) / 0.75, (0.25 * 0.75**2 + 0.5 * 0.25**2) / 0.75
    second = adam_descent(problem, None, np.array([0.75]), adam, 2)
    assert abs(second[0] - (first[0] - 0.5 * m / math.sqrt(v))) < 1e-11
    doubled = Surrogate(lambda x: np.full(np.shape(x), 2.0))
    assert abs(adam_descent(problem, doubled, np.array([0.75]), adam, 2) - second)[0] < 1e-11


def test_cells_of_a_finite_stair():
    """Little noise: inner cells are those of the infinite stair; noise without reach into the next
    cell: all. A ternary stair has one bounded cell."""
    rates = rates_of_cells(Stair.whole(3, signed=True), Gaussian(0.5))
    assert abs(rates[2] / noisy_stair(Gaussian(0.5)).alpha - 1) < 1e-6
    assert 0.02 < 1 - rates[0] / rates[2] < 0.03
    ternary = Stair.nearest(Lattice.ternary())
    assert rates_of_cells(ternary, Uniform(0.5)).tolist() == pytest.approx([1.0], abs=1e-14)


@pytest.mark.parametrize("noise", [Uniform(0.49), Triangular(0.5), Triangular(0.2)])
def test_dead_zones_are_refused(noise):
    for make in (lambda: check_admissible(noise), lambda: of_noise(noise)):
        with pytest.raises(ValueError, match=r"at least, triangular noise of more than half"):
            make()
    check_admissible(noise, 0.3)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Surrogate(lambda x: np.cos(2 * np.pi * x)), "positive in all of a cell"),
        (lambda: cosine(1.0), "inside \\(-1, 1\\), got 1.0"),
        (lambda: noisy_stair(Uniform(0.2), 0.5), "half the spacing 1.0"),
        (lambda: noisy_stair(Gaussian(0.2), 0.0), "a spacing is positive"),
        (lambda: Surrogate(cosine(0.5), -1.0), "a spacing is positive"),
    ],
)
def test_bad_surrogates_are_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()


def test_a_wave_that_is_not_positive_and_a_rate_of_zero_are_refused():
    with pytest.raises(ValueError, match=r"depth of a positive wave is inside .* got 1"):
        cosine_transport(1.0, np.zeros(1))
    problem = Quadratic(np.eye(1), np.zeros(1))
    plain = Surrogate(cosine(0.0))
    with pytest.raises(ValueError, match="a learning rate is positive and finite, got 0"):
        gap(problem, plain, np.zeros(1), 0.0, 1.0)
