"""Relaxed quantisation: laws against quantiles and draws, slopes against differences, limits."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from qtheory.algorithms import stochastic_rounding
from qtheory.algorithms.stochastic_rounding import StochasticRounding
from qtheory.gradients.stochastic.relaxed_limits import (
    far_law,
    neglected,
    two_point_bias,
    two_point_mean,
    two_point_slope_square,
)
from qtheory.gradients.stochastic.relaxed_quantization import (
    RelaxedQuantizer,
    concrete,
    draw,
    gumbel,
    kept,
    law,
    log_masses,
    mean,
    mean_slopes,
    relaxed,
    relaxed_slopes,
    rounded,
)
from qtheory.lattice import Lattice
from qtheory.noise import (
    Cauchy,
    Gaussian,
    Logistic,
    StudentT,
    Triangular,
    Uniform,
    quantile,
    scale_of,
    with_scale,
)
from qtheory.stairs import smoothing

NOISES = (
    Logistic(0.6),
    Gaussian(0.6),
    StudentT(3.0, 0.5),
    Cauchy(0.5),
    Uniform(3.1),
    Triangular(4.2),
)
X = np.linspace(-4.03, 4.0, 31)


def quantizer(noise, fuzz=0.0):
    return RelaxedQuantizer(-2, 4, 1.1, noise, 0.2, fuzz)


TWO_BITS = RelaxedQuantizer.of_bits(2, 1.0, Logistic(0.6), signed=True)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("fuzz", [0.0, 0.01])
def test_the_law_is_that_of_noise_truncated_to_the_bins(noise, fuzz):
    """Of N quantiles a bin has its mass to 1/N, so a share of the total, above 0.08, is met to
    5 / (0.08 N)."""
    spec, n = quantizer(noise, fuzz), 20_000
    moved = X[:, None] + quantile(noise, (np.arange(n) + 0.5) / n)
    ends = np.append(spec.levels - 0.55, spec.levels[-1] + 0.55)
    counts = np.stack([np.histogram(row, ends)[0] / n for row in moved])
    totals = counts.sum(axis=1, keepdims=True)
    expected = (counts + fuzz) / (totals + 4 * fuzz)
    sure = totals[:, 0] > 0.08
    assert sure.sum() > 10
    assert np.abs(law(spec, X) - expected)[sure].max() <= 5 / (0.08 * n)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("reach", [math.inf, 1.2])
def test_a_law_sums_to_one(noise, reach):
    for fuzz in (0.0, 1e-6, 0.3):
        spec = quantizer(noise, fuzz)
        x = X if math.isinf(reach) or fuzz else X[np.abs(X) < 2]
        p = law(spec, x, reach)
        assert (p >= 0).all() and np.abs(p.sum(axis=-1) - 1).max() <= 16 * 2.0**-53
        assert ((p > 0) <= kept(spec, x, reach)).all()


def test_masses_of_logistic_noise_keep_their_digits():
    """Product form against the difference of tails where that is exact: 8 roundings of masses above
    1e-4 of the tails subtracted."""
    x = np.linspace(-3.0, 3.0, 25)
    below, above = TWO_BITS.levels - 0.5 - x[:, None], TWO_BITS.levels + 0.5 - x[:, None]
    tails = TWO_BITS.noise.tail(below) - TWO_BITS.noise.tail(above)
    found = np.exp(log_masses(TWO_BITS, x))
    assert np.abs(found - tails).max() <= 32 * 2.0**-53
    assert np.isfinite(log_masses(TWO_BITS, np.array([-1e8, 1e8]))).all()


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("fuzz", [0.0, 0.01])
def test_slopes_are_central_differences(noise, fuzz):
    """h**2 / 6 times a third derivative below 1e3 here, plus 1e2 2**-53 / h; no end of a bin is
    within h of an end of the noise."""
    spec, h = quantizer(noise, fuzz), 1e-5
    bound = 1e3 * h * h / 6 + 1e2 * 2.0**-53 / h
    uniforms = np.random.default_rng(1).uniform(size=(len(X), 4))
    scale = scale_of(noise)

    def against(found, at):
        pairs = (
            (at(spec, X + h), at(spec, X - h)),
            (at(replace(spec, spacing=1.1 + h), X), at(replace(spec, spacing=1.1 - h), X)),
            tuple(at(replace(spec, noise=with_scale(noise, scale + e)), X) for e in (h, -h)),
        )
        for slope, (up, down) in zip(found, pairs, strict=True):
            assert np.abs((up - down) / (2 * h) - slope).max() <= bound

    against(mean_slopes(spec, X), mean)
    against(
        relaxed_slopes(spec, X, uniforms, 0.7),
        lambda of, x: relaxed(of, x, uniforms, 0.7),
    )


def test_inside_the_lattice_the_law_is_that_of_a_stair_under_noise():
    """The mass beyond both ends, twice 1 / (1 + exp(d / scale)) for bins d away, is all that
    differs: 2 exp(-15) = 6e-7 for d = 15 scales."""
    spec = RelaxedQuantizer.of_bits(6, 1.0, Logistic(0.6), signed=True)
    inside = np.linspace(spec.levels[0] + 9.5, spec.levels[-1] - 9.5, 101)
    stair = smoothing.law(spec.stair(), spec.noise, inside)
    assert np.abs(law(spec, inside) - stair).max() <= 2 * math.exp(-15)
    near = np.array([spec.levels[-1]])
    assert np.abs(law(spec, near) - smoothing.law(spec.stair(), spec.noise, near)).max() > 0.1


def test_uniform_noise_of_one_spacing_is_stochastic_rounding():
    """Ten roundings of 2**-53 of numbers up to 4."""
    spec = RelaxedQuantizer(-2, 4, 0.5, Uniform(0.25))
    x = np.linspace(-0.999, 0.4999, 77)
    from_zero = stochastic_rounding.law(
        StochasticRounding(Lattice(4, 0.5, -1.0)), 2, x.astype(np.float32).astype(np.float64)
    )
    found = law(spec, x.astype(np.float32).astype(np.float64))
    assert np.abs(found - from_zero).max() <= 40 * 2.0**-53
    assert np.abs(found @ spec.levels - x.astype(np.float32)).max() <= 40 * 2.0**-53
    with pytest.raises(ValueError, match=r"noise takes x to some bin.*x \[-2.1"):
        law(spec, np.array([-2.1]))


def test_far_inputs_do_not_saturate():
    """Beyond 40 scales the sigmoids are exponentials to 1e-17; positions of 1e5 scales are exact to
    1e-11 of a scale."""
    far = np.array([TWO_BITS.levels[-1] + 40 * 0.6, 1e5])
    assert np.abs(law(TWO_BITS, far) - far_law(TWO_BITS)).max() <= 1e-10
    mirrored = law(RelaxedQuantizer(-1, 4, 1.0, Logistic(0.6)), -far)
    assert np.abs(mirrored - far_law(TWO_BITS)[::-1]).max() <= 1e-10
    fuzzy = replace(TWO_BITS, fuzz=1e-9)
    assert np.abs(law(fuzzy, far[1:]) - far_law(fuzzy)).max() <= 1e-15
    with pytest.raises(ValueError, match="far law is that of logistic noise"):
        far_law(quantizer(Gaussian(1.0)))


def test_a_relaxed_draw_of_two_points_has_the_closed_mean():
    """A million draws in [0, 1]: 5 standard errors of at most 1/2000, 2.5e-3; a mean of another
    p by 0.01 is told apart."""
    spec = RelaxedQuantizer(0, 2, 1.0, Logistic(0.5))
    x = np.array([1.3])
    p = law(spec, x)[0, 1]
    uniforms = np.random.default_rng(2).uniform(size=(1_000_000, 2))
    for temperature in (1.0, 0.3):
        z = concrete(spec, np.broadcast_to(x, 1_000_000), uniforms, temperature)[:, 1]
        expected = two_point_mean(np.array([p]), temperature)[0]
        assert abs(z.mean() - expected) <= 2.5e-3
        assert abs(expected - p) > 0.01


def test_two_forms_of_the_two_point_mean():
    """A trapezium sum at 1 + 1e-13, whose slope in the temperature is below 1, and 4500 terms of
    2**-53; near p = 1/2 the closed form loses 2**-53 / d**2, d > 0.02, its series d**5 / 1e3."""
    p = np.array([0.02, 0.49, 0.4949, 0.495, 0.4951, 0.5, 0.51, 0.9, 0.999])
    gap = two_point_mean(p, 1.0) - two_point_mean(p, 1.0 + 1e-13)
    assert np.abs(gap).max() <= 1e-12
    assert two_point_mean(np.array([0.5]), 0.2)[0] == pytest.approx(0.5, abs=1e-12)


def test_bias_and_slopes_of_two_points_at_low_temperatures():
    """Bias: with the moments pi**2 / 3 and 7 pi**4 / 15 of L' and a fourth derivative of F that is
    1 - 12 p (1 - p) >= -2 times the second, the next term is relatively 7 pi**2 / 60 times 2 t**2,
    2.3 t**2. Slopes: the square of a logistic density has variance pi**2 / 3 - 2, and a second
    derivative of f is at most f: 0.65 t**2. Both with a tenth more for the terms that follow."""
    p = np.array([0.1, 0.3, 0.6, 0.9, 0.99])
    for temperature in (0.1, 0.05):
        wrong = (two_point_mean(p, temperature) - p) / two_point_bias(p, temperature)
        assert np.abs(wrong - 1).max() <= 2.53 * temperature**2
        square = two_point_slope_square(p, temperature) * 6 * temperature / (p * (1 - p))
        assert np.abs(square - 1).max() <= 0.71 * temperature**2


def test_the_slope_square_is_that_of_draws():
    """400000 relaxed draws: 6 standard errors, and those are below a twentieth of the number."""
    spec, x = RelaxedQuantizer(0, 2, 1.0, Logistic(0.5)), np.array([1.3])
    p = law(spec, x)[0, 1]
    n, temperature = 400_000, 0.3
    uniforms = np.random.default_rng(4).uniform(size=(n, 2))
    z = concrete(spec, np.broadcast_to(x, n), uniforms, temperature)[:, 1]
    squares = (z * (1 - z) / temperature) ** 2
    error = 6 * squares.std() / math.sqrt(n)
    assert abs(squares.mean() - two_point_slope_square(np.array([p]), temperature)[0]) <= error
    assert error < squares.mean() / 20


def test_draws_have_the_law():
    """Chi-square of 4 levels, 200000 draws at each of 5 inputs: false alarm 1e-9 at 45.4 with 3
    degrees of freedom for each; a level of 0.2 that is off by 0.008 gives more than that."""
    n = 200_000
    x = np.array([-2.3, -1.0, 0.1, 0.9, 2.0])
    uniforms = np.random.default_rng(3).uniform(size=(n, 5, 4))
    index = draw(TWO_BITS, np.broadcast_to(x, (n, 5)), uniforms)
    limit = stats.chi2.isf(2e-10, 3)
    for column, p in zip(index.T, law(TWO_BITS, x), strict=True):
        counts = np.bincount(column, minlength=4)
        assert ((counts - n * p) ** 2 / (n * p)).sum() <= limit
    cold = concrete(TWO_BITS, np.broadcast_to(x, (n, 5))[:500], uniforms[:500], 1e-4)
    assert (cold.argmax(axis=-1) == index[:500]).all() and cold.max(axis=-1).mean() > 0.999


def test_a_local_lattice_renormalises():
    """Levels of the whole law, within the reach; ten roundings."""
    spec = RelaxedQuantizer.of_bits(8, 1.0, Logistic(0.5), signed=True)
    x = np.array([-127.9, -3.3, 0.5, 100.2])
    whole, near = law(spec, x), kept(spec, x, 1.5)
    assert near.sum(axis=1).tolist() == [2, 3, 3, 3]
    expected = np.where(near, whole, 0.0) / np.where(near, whole, 0.0).sum(axis=1, keepdims=True)
    assert np.abs(law(spec, x, 1.5) - expected).max() <= 16 * 2.0**-53
    lost = 1 - (whole * near).sum(axis=1)[1]
    assert neglected(Logistic(0.5), 1.5) < lost < neglected(Logistic(0.5), 1.0)


def test_rounding_after_training_and_our_tie_rules():
    spec = RelaxedQuantizer.of_bits(3, 1.0, Logistic(0.3), signed=True)
    x = np.linspace(-6.03, 5.0, 301)
    for tie in ("up", "down", "away"):
        assert (rounded(spec, x) == spec.stair(tie)(x)).all()
    ties = np.array(spec.stair().thresholds)
    assert rounded(spec, ties).tolist() == [-4, -2, -2, 0, 0, 2, 2]
    agree = {t: int((spec.stair(t)(ties) == rounded(spec, ties)).sum()) for t in ("up", "down")}
    assert agree == {"up": 3, "down": 4}
    assert (spec.stair("away")(ties) == rounded(spec, ties)).sum() == 3


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: RelaxedQuantizer(0, 1, 1.0, Logistic(1.0)), "two levels or more, got 1"),
        (lambda: RelaxedQuantizer(0, 2, 0.0, Logistic(1.0)), "spacing of a relaxed .* got 0.0"),
        (lambda: quantizer(Logistic(1.0), -1e-3), "finite fuzz >= 0, got 0.2, -0.001"),
        (lambda: quantizer(Logistic(1.0), math.nan), "finite fuzz"),
        (lambda: RelaxedQuantizer.of_bits(0, 1.0, Logistic(1.0), signed=True), "bits >= 1, got 0"),
        (lambda: gumbel(np.array([0.0])), r"inside \(0, 1\), got"),
        (lambda: law(TWO_BITS, X[:1], -1.0), "a reach is at least 0"),
        (lambda: law(TWO_BITS, np.array([math.nan])), "x a number, got inf and"),
        (lambda: relaxed(TWO_BITS, X[:1], np.full((1, 4), 0.5), 0.0), "a temperature is positive"),
        (lambda: relaxed(TWO_BITS, X[:4], np.full(4, 0.5), 1.0), "uniform for each x and level"),
        (lambda: draw(TWO_BITS, X[:2], np.full((2, 1), 0.5)), r"\(2, 4\), got shape \(2, 1\)"),
        (lambda: two_point_mean(np.array([1.0]), 1.0), r"p inside \(0, 1\)"),
        (lambda: two_point_mean(np.array([0.5]), 0.01), "temperature of 0.05 or more"),
        (lambda: neglected(Logistic(1.0), 0.0), "a reach is positive"),
    ],
)
def test_bad_input_is_refused(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()
