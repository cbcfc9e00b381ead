"""Noise in front of thresholds, after [yin2019]: closed forms, limits and bias."""

from __future__ import annotations

import math

import numpy as np

from qpapers.extremes import largest, least
from qpapers.ledger import Claim, Values
from qpapers.yin2019.samples import INSTANCE, settings
from qtheory.gradients.coarse.formulas import filter_gradient, geometry, identity_gradient, products
from qtheory.gradients.coarse.surrogates import (
    bias,
    coarse_gradient,
    coarse_gradient_by_quadrature,
    correlation,
    normal_moments,
    small_noise_bias,
)
from qtheory.noise import (
    Cauchy,
    Gaussian,
    Logistic,
    Smoothing,
    Triangular,
    Uniform,
    peak,
    std_of,
    with_scale,
)

TEST = "tests/theory/gradients/coarse/test_surrogates.py"
WITH_STD: tuple[Smoothing, ...] = (Gaussian(1.0), Uniform(1.0), Triangular(1.0), Logistic(1.0))
SCALES = (1.0, 0.5, 0.25, 0.1, 0.01, 0.001)


def closed_and_quadrature() -> Values:
    """Largest difference over sizes of the weights: normal, uniform; 40 settings, 3 scales."""

    def worst(noise: Smoothing) -> float:
        gaps: list[float] = []
        for at in settings(40, 5):
            size = float(np.sum(at.student.output**2) + np.sum(at.teacher.output**2)) * 7
            for scale in (0.05, 0.5, 5.0):
                law = with_scale(noise, scale)
                gap = coarse_gradient(at, law) - coarse_gradient_by_quadrature(at, law)
                gaps.append(float(np.abs(gap).max()) / (size * largest((peak(law), 1.0))))
        return largest(gaps)

    return worst(Gaussian(1.0)), worst(Uniform(1.0))


def limit_at_zero() -> Values:
    """Relative distance from df/dw, normal noise of std 1e-12 |w|, three settings."""
    return tuple(
        bias(at, Gaussian(1e-12 * geometry(at).length)).relative
        for at in (INSTANCE, *settings(2, 6))
    )


def distances() -> Values:
    """Relative distance from df/dw at the instance, normal noise."""
    return tuple(bias(INSTANCE, Gaussian(s)).relative for s in SCALES)


def orders() -> Values:
    """Slopes of logarithms from s = 1e-3 to 1e-4: along n, along u, overall; normal noise."""
    wide, thin = bias(INSTANCE, Gaussian(1e-3)), bias(INSTANCE, Gaussian(1e-4))
    return tuple(math.log10(abs(a / b)) for a, b in zip(wide, thin, strict=True))


def coefficients() -> Values:
    """Bias over its leading term, along n for four laws, then along u; std 1e-4."""
    laws = [with_scale(law, 1e-4 / std_of(law)) for law in WITH_STD]
    found = [bias(INSTANCE, law) for law in laws]
    leading = [small_noise_bias(INSTANCE, law) for law in laws]
    pairs = list(zip(found, leading, strict=True))
    return *(f.along / x.along for f, x in pairs), *(f.across / x.across for f, x in pairs)


def cauchy_order() -> Values:
    """Slope of the logarithm of the bias along u from scale 1e-4 to 1e-5, Cauchy noise."""
    wide, thin = bias(INSTANCE, Cauchy(1e-4)), bias(INSTANCE, Cauchy(1e-5))
    return (math.log10(wide.across / thin.across),)


def limit_at_infinity() -> Values:
    """E g over f(0), against the identity's: relative distance; scale 1e6, five laws."""
    identity = identity_gradient(INSTANCE)
    size = float(np.linalg.norm(identity))
    laws = [with_scale(law, 1e6) for law in (*WITH_STD, Cauchy(1.0))]
    gaps = [coarse_gradient(INSTANCE, law) / peak(law) - identity for law in laws]
    return tuple(float(np.linalg.norm(gap)) / size for gap in gaps)


def normal_correlation() -> Values:
    """Printed correlation over the dot product with df/dw: most and least of 300 settings with a
    log-uniform std; and the least correlation over (v'v*)**2."""
    ratios: list[float] = []
    inner: list[float] = []
    scales = 10.0 ** np.random.default_rng(4).uniform(-2.0, 2.0, 300)
    for at, s in zip(settings(300, 4), scales, strict=True):
        found = correlation(at, Gaussian(float(s)))
        g = geometry(at)
        tau = float(s) / math.hypot(float(s), g.length)
        kappa = math.hypot(math.sin(g.angle), tau * math.cos(g.angle))
        c = 1.0 / math.sqrt(2.0 * math.pi * (float(s) ** 2 + g.length**2))
        closed = products(at).inner ** 2 * c * math.sin(g.angle)
        closed /= kappa * (2.0 * math.pi) ** 1.5 * g.length
        ratios.append(found / closed)
        inner.append(found / products(at).inner ** 2)
    return largest(ratios), least(ratios), least(inner) > 0


def dot_products() -> Values:
    """<E g, df/dw> by adding products of components, over the formula, at the instance."""
    truth = filter_gradient(INSTANCE)
    return tuple(
        float(coarse_gradient(INSTANCE, Gaussian(s)) @ truth) / correlation(INSTANCE, Gaussian(s))
        for s in (1.0, 0.5, 0.1, 0.01)
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="noise-closed",
        statement="Closed a0, a1, a2 of normal and of uniform noise against quadrature for any "
        "surrogate, 40 settings, scales .05, .5, 5: largest difference over size; uniform noise "
        "needs no quadrature",
        code=normal_moments,
        test=f"{TEST}::test_closed_moments_are_those_of_quadrature",
        printed="0, 0",
        number="ours",
        expected=(0, 0),
        tolerance=1000 * 2.0**-53,
        why="1000 roundings of 2^-53 of 7 (‖v‖^2 + ‖v*‖^2) f(0), which bounds the terms",
        run=closed_and_quadrature,
    ),
    Claim(
        id="noise-zero",
        statement="s -> 0: E g is df/dw; relative distance at s = 1e-12 ‖w‖, three settings",
        code=bias,
        test=f"{TEST}::test_little_noise_gives_the_true_gradient",
        printed="0",
        number="ours",
        expected=(0, 0, 0),
        tolerance=1e-9,
        why="first order: 1e-12 sqrt(2 pi) ‖v‖^2 / (2 v'v*), below 1e-10 for these; rounding 1e-14",
        run=limit_at_zero,
    ),
    Claim(
        id="noise-distance",
        statement="Relative distance ‖E g - df/dw‖ / ‖df/dw‖ of normal noise at our instance, "
        "s = 1, .5, .25, .1, .01, .001; for another instance, not kept, "
        ".209, .119, .063, .026, .0026 for the first five",
        code=bias,
        test=f"{TEST}::test_moments_by_two_dimensional_integrals",
        printed=".437835, .236995, .135673, .064482, .007254, .000734 (derived; the same by two-"
        "dimensional integrals of the definition)",
        number="ours",
        expected=(0.437835, 0.236995, 0.135673, 0.064482, 0.007254, 0.000734),
        tolerance=0.5e-6,
        why="half a unit of the sixth decimal",
        run=distances,
    ),
    Claim(
        id="noise-orders",
        statement="Bias of order s along w, s^2 along u, s overall: slopes of logarithms from "
        "s = 1e-3 to 1e-4",
        code=bias,
        test=f"{TEST}::test_orders_of_the_bias",
        printed="1, 2, 1",
        number="ours",
        expected=(1, 2, 1),
        tolerance=0.002,
        why="the next order is relative 3 s, at most 0.003, so 0.0013 in its decimal logarithm; "
        "rounding is 1e-16 of a bias of 6e-9, 1e-7",
        run=orders,
    ),
    Claim(
        id="noise-coefficients",
        statement="Any law with a std: along n ‖v‖^2 E abs(e) / (2 sqrt(2 pi) ‖w‖^2), along u "
        "v'v* std^2 / (4 pi ‖w‖^3 sin^2 t); bias over these for std 1e-4: normal, uniform, "
        "triangular, logistic",
        code=small_noise_bias,
        test=f"{TEST}::test_little_noise_gives_the_true_gradient",
        printed="1 (derived)",
        number="ours",
        expected=(1,) * 8,
        tolerance=5e-4,
        why="next order: 4 std ‖v'v*‖ / (‖v‖^2 ‖w‖ sin^2 t) at most, relative, 3e-4 with kurtosis "
        "of 4.2; rounding 1e-16 of a bias of 6e-9, 1e-7",
        run=coefficients,
    ),
    Claim(
        id="noise-cauchy",
        statement="Cauchy noise has no std: bias along u of order s, not s^2; slope from 1e-4 to "
        "1e-5",
        code=bias,
        test=f"{TEST}::test_without_a_std_the_bias_along_u_is_not_of_second_order",
        printed="1 (derived)",
        number="ours",
        expected=(1,),
        tolerance=0.001,
        why="next order relative s, 1e-4 times a few",
        run=cauchy_order,
    ),
    Claim(
        id="noise-infinity",
        statement="s -> infinity: E g / f(0) is the identity's coarse gradient (normal: s sqrt(2 "
        "pi) E g); relative distance at s = 1e6: normal, uniform, triangular, logistic, Cauchy",
        code=coarse_gradient,
        test=f"{TEST}::test_much_noise_gives_the_identity",
        printed="0",
        number="ours",
        expected=(0,) * 5,
        tolerance=1e-5,
        why="f(x) / f(0) - 1 is at most abs(x) / s, with abs(x) below 6 but for 1e-9 of the mass",
        run=limit_at_infinity,
    ),
    Claim(
        id="noise-correlation",
        statement="Normal noise: inner product (v'v*)^2 C sin t / (K (2 pi)^(3/2) ‖w‖) for every "
        "s; largest and least quotient with the general rule's, 300 settings, s from .01 to 100; "
        "last, whether all are positive",
        code=correlation,
        test=f"{TEST}::test_correlation_with_normal_noise_as_a_formula",
        printed="1, 1, yes",
        number="ours",
        expected=(1, 1, 1),
        tolerance=64 * 2.0**-53,
        why="64 roundings",
        run=normal_correlation,
    ),
    Claim(
        id="noise-dot",
        statement="The same formula against the dot product at the instance, s = 1, .5, .1, .01",
        code=correlation,
        test=f"{TEST}::test_no_surrogate_climbs",
        printed="1",
        number="ours",
        expected=(1,) * 4,
        tolerance=1e-12,
        why="terms of 10 at most added to 0.2 at least: 50 times 20 roundings",
        run=dot_products,
    ),
)
