"""Formulas of the layer of thresholds [yin2019]: Monte Carlo, differences, and each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qpapers.extremes import largest, least
from qpapers.ledger import Claim, Values
from qpapers.yin2019.samples import INSTANCE, deviations, settings
from qtheory.gradients.coarse.formulas import (
    Filter,
    Layer,
    Output,
    Setting,
    clipped_relu_gradient,
    filter_gradient,
    geometry,
    identity_correlation,
    identity_gradient,
    loss,
    output_gradient,
    products,
    relu_correlation,
    relu_gradient,
)
from qtheory.gradients.coarse.landscape import spurious_minimum
from qtheory.gradients.coarse.surrogates import (
    CLIPPED_RELU,
    IDENTITY,
    RELU,
    Surrogate,
    coarse_gradient,
    coarse_gradient_by_quadrature,
    correlation,
)
from qtheory.noise import Gaussian, Logistic, Uniform

TEST = "tests/theory/gradients/coarse/test_formulas.py"
SURROGATES = (
    RELU,
    IDENTITY,
    CLIPPED_RELU,
    Gaussian(0.5),
    Gaussian(0.1),
    Uniform(0.5),
    Uniform(1.0),
)
PRINTED: tuple[tuple[Callable[[Setting], Filter], Surrogate], ...] = (
    (identity_gradient, IDENTITY),
    (relu_gradient, RELU),
    (clipped_relu_gradient, CLIPPED_RELU),
)
ROUNDING = (
    "1000 roundings of 2^-53 of (‖v‖ + ‖v*‖)^2 (m + 1), which bounds the sum of the terms; numbers "
    "are in that unit"
)
WITHIN = 1000 * 2.0**-53


def unit(at: Setting) -> float:
    """(|v| + |v*|)**2 (m + 1)."""
    v, teacher = at.student.output, at.teacher.output
    return float((np.linalg.norm(v) + np.linalg.norm(teacher)) ** 2) * (v.size + 1)


def monte_carlo() -> Values:
    """Largest deviation in standard errors, 1e6 samples: loss, d/dv, seven surrogates."""
    return deviations(INSTANCE, SURROGATES, 1_000_000, 1)


def instance() -> Values:
    """|w|, angle, h, loss, length of d/dw, of d/dv."""
    g = geometry(INSTANCE)
    sizes = [float(np.linalg.norm(f(INSTANCE))) for f in (filter_gradient, output_gradient)]
    return g.length, g.angle, products(INSTANCE).h, loss(INSTANCE), *sizes


def central(at: Setting, dv: Output, dw: Filter, h: float) -> float:
    """(loss at (v + dv, w + dw) - loss at (v - dv, w - dw)) / 2h."""
    v, w = at.student.output, at.student.filter
    up, down = (
        Setting(at.teacher, Layer(v + dv, w + dw)),
        Setting(at.teacher, Layer(v - dv, w - dw)),
    )
    return (loss(up) - loss(down)) / (2.0 * h)


def differences() -> Values:
    """Largest difference of gradients in v and in w from central differences, over 1 + gradient,
    the instance and 20 random settings."""
    worst_v, worst_w = 0.0, 0.0
    for at in (INSTANCE, *settings(20, 3)):
        v, w = at.student.output, at.student.filter
        h = 1e-4 * geometry(at).length * math.sin(geometry(at).angle)
        exact_v, exact_w = output_gradient(at), filter_gradient(at)
        found_v = np.array([central(at, h * e, 0 * w, h) for e in np.eye(v.size)])
        found_w = np.array([central(at, 0 * v, h * e, h) for e in np.eye(w.size)])
        worst_v = largest(
            (worst_v, float((np.abs(found_v - exact_v) / (1 + np.abs(exact_v))).max()))
        )
        worst_w = largest(
            (worst_w, float((np.abs(found_w - exact_w) / (1 + np.abs(exact_w))).max()))
        )
    return worst_v, worst_w


def printed_and_rule() -> Values:
    """Printed formula against the general rule, closed moments and quadrature, 60 settings."""
    many = settings(60, 7)
    closed = [
        largest(float(np.abs(f(at) - coarse_gradient(at, s)).max()) / unit(at) for at in many)
        for f, s in PRINTED
    ]
    by_quadrature = [
        largest(
            float(np.abs(f(at) - coarse_gradient_by_quadrature(at, s)).max()) / unit(at)
            for at in many
        )
        for f, s in PRINTED
    ]
    return *closed, *by_quadrature


def at_pi() -> Values:
    """The ReLU formula at angle pi with h = 0, where the printed fraction is 0 / 0."""
    return (float(np.linalg.norm(relu_gradient(spurious_minimum(INSTANCE.teacher)))),)


def correlations() -> Values:
    """Closed inner product against the dot product, over unit times the true gradient, and the
    identity's over the ReLU's, 60 settings."""
    many = settings(60, 7)
    errors: list[float] = []
    for f, closed in ((identity_gradient, identity_correlation), (relu_gradient, relu_correlation)):
        truths = [filter_gradient(at) for at in many]
        gaps = [
            abs(float(f(at) @ truth) - closed(at)) / (unit(at) * float(np.linalg.norm(truth)))
            for at, truth in zip(many, truths, strict=True)
        ]
        errors.append(largest(gaps))
    truth = filter_gradient(INSTANCE)
    ratio = float(identity_gradient(INSTANCE) @ truth) / float(relu_gradient(INSTANCE) @ truth)
    return *errors, ratio


def never_negative() -> Values:
    """Least cosine between coarse and true gradient, 60 settings, five surrogates."""
    cosines: list[float] = []
    for at in settings(60, 8):
        truth = filter_gradient(at)
        for surrogate in (RELU, IDENTITY, CLIPPED_RELU, Gaussian(0.3), Logistic(0.2)):
            found = coarse_gradient(at, surrogate)
            size = float(np.linalg.norm(found) * np.linalg.norm(truth))
            cosines.append(float(found @ truth) / size)
    return (least(cosines),)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="formula-instance",
        statement="The instance: v* = (1, -1, 2, 1/2), w* = (.6, .8, 0), v = (1/2, -1, 3/2, 1), "
        "w = (1, 1/2, -1/2): ‖w‖, t, h, loss, ‖df/dw‖, ‖df/dv‖",
        code=loss,
        test=f"{TEST}::test_the_loss_and_its_gradient_by_sympy",
        printed="sqrt 1.5, acos(1 / sqrt 1.5), 8.5 (derived), .614783, .649747, .279555 (sympy)",
        number="ours",
        expected=(math.sqrt(1.5), math.acos(1 / math.sqrt(1.5)), 8.5, 0.614783, 0.649747, 0.279555),
        tolerance=1e-6,
        why="six decimals are given",
        run=instance,
        printed_of="sqrt(1.5), acos(1/sqrt(1.5))",
    ),
    Claim(
        id="formula-montecarlo",
        statement="Formulas against 10^6 samples, largest component in standard errors: loss, "
        "E dg/dv = df/dv, coarse gradients of ReLU, identity, clipped ReLU, normal noise 1/2 and "
        "1/10, uniform 1/2 and 1",
        code=deviations,
        test=f"{TEST}::test_every_formula_by_monte_carlo",
        printed="agreement within Monte Carlo error: 0",
        number="noted",
        expected=(0,) * 9,
        tolerance=5.0,
        why="5 standard errors; 26 components raise a false alarm with probability 1.5e-5; for the "
        "ReLU the smallest difference found is 0.01",
        run=monte_carlo,
        slow=True,
    ),
    Claim(
        id="formula-differences",
        statement="df/dv and df/dw against central differences of the loss, 21 settings: largest "
        "difference over 1 + gradient",
        code=filter_gradient,
        test=f"{TEST}::test_gradients_are_differences_of_the_loss",
        printed="0, 0",
        number="noted",
        expected=(0, 0),
        tolerance=1e-7,
        why="step h = 1e-4 ‖w‖ sin t: h^2 / 6 times the third derivative of the angle, at most "
        "2 / (‖w‖ sin t)^3, relative to the first: 1e-8 times a few; rounding 1e-15 / h below 1e-9",
        run=differences,
    ),
    Claim(
        id="formula-printed",
        statement="Coarse gradients of identity, ReLU and clipped ReLU (with p, q as integrals of "
        "xi) against the general rule with closed moments, then with quadrature, 60 settings: "
        "largest difference over (‖v‖ + ‖v*‖)^2 (m + 1)",
        code=coarse_gradient,
        test=f"{TEST}::test_printed_formulas_follow_from_the_general_rule",
        printed="0",
        number="noted",
        expected=(0,) * 6,
        tolerance=WITHIN,
        why=ROUNDING,
        run=printed_and_rule,
    ),
    Claim(
        id="formula-at-pi",
        statement="ReLU formula: cos(t/2) (n + w*) / ‖n + w*‖ is 0 / 0 at t = pi, and equals "
        "(n + w*) / 2 elsewhere; with that form the coarse gradient at the spurious minimum is 0",
        code=relu_gradient,
        test=f"{TEST}::test_the_relu_formula_as_printed_is_the_one_without_a_fraction",
        printed="0; as printed, not defined",
        number="noted",
        expected=(0,),
        tolerance=1e-14,
        why="terms of h and v'v* add to less than 40, over 2 sqrt(2 pi): 8; 10 roundings of 2^-53",
        run=at_pi,
        verdict="holds corrected",
    ),
    Claim(
        id="formula-correlation",
        statement="Inner product with df/dw: sin t (v'v*)^2 / (2 (2 pi)^(3/2) ‖w‖) for the ReLU, "
        "twice that for the identity; error (identity, ReLU) in units of ‖df/dw‖, ratio 2",
        code=relu_correlation,
        test=f"{TEST}::test_correlations_with_the_true_gradient",
        printed="0, 0, 2",
        number="noted",
        expected=(0, 0, 2),
        tolerance=WITHIN,
        why=ROUNDING,
        run=correlations,
    ),
    Claim(
        id="formula-never-negative",
        statement="Any surrogate m' >= 0: inner product (v'v*)^2 E[m'(‖w‖ x) phi(x cot t)] / "
        "(2 pi ‖w‖) >= 0; least cosine of 60 settings, five surrogates",
        code=correlation,
        test="tests/theory/gradients/coarse/test_surrogates.py::test_no_surrogate_climbs",
        printed="at least 0, for identity and ReLU; for all (derived)",
        number="ours",
        expected=(0,),
        tolerance=0.0,
        why="a bound; the least cosine is far from rounding",
        run=never_negative,
        guard=True,
        relation=">=",
    ),
)
