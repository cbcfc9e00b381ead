"""Relaxed draws of levels [louizos2019]: their bias, their spread, and what temperature costs."""

from __future__ import annotations

import math

import numpy as np

from qpapers.ledger import Claim, Values
from qtheory.gradients.stochastic.relaxed_limits import (
    two_point_bias,
    two_point_mean,
    two_point_slope_square,
)
from qtheory.gradients.stochastic.relaxed_quantization import (
    RelaxedQuantizer,
    concrete,
    draw,
    law,
    relaxed,
    rounded,
)
from qtheory.noise import Logistic

TEST = "tests/theory/gradients/stochastic/test_relaxed_quantization.py"
TWO_BITS = RelaxedQuantizer.of_bits(2, 1.0, Logistic(0.6), signed=True)
DRAWS = 100_000
FOURTH = "half a unit of the fourth decimal"


def uniforms(seed: int) -> np.ndarray:
    """Four for each draw."""
    return np.random.Generator(np.random.PCG64(seed)).uniform(size=(DRAWS, 4))


def closed() -> Values:
    """E z at p = .6, .8, .9, .99, temperature 1; largest difference from a sum over the noise."""
    p = np.array([0.6, 0.8, 0.9, 0.99])
    form, sums = two_point_mean(p, 1.0), two_point_mean(p, 1.0 + 1e-13)
    return *(float(v) for v in form), float(np.abs(form - sums).max())


def temperatures() -> Values:
    """E z at p = .9: temperatures 2, .5, .1, .05."""
    return tuple(float(two_point_mean(np.array([0.9]), t)[0]) for t in (2.0, 0.5, 0.1, 0.05))


def leading() -> Values:
    """(E z - p) over its leading part at p = .9, temperatures .2, .1, .05; at p = 1/2, E z - p."""
    p = np.array([0.9])
    ratios = [
        float(((two_point_mean(p, t) - p) / two_point_bias(p, t))[0]) for t in (0.2, 0.1, 0.05)
    ]
    return *ratios, float(two_point_mean(np.array([0.5]), 0.5)[0] - 0.5)


def slope_squares() -> Values:
    """6 t E (dz/dd)^2 / (p (1 - p)) at p = .9, temperatures t = 1, .2, .1, .05."""
    p = np.array([0.9])
    return tuple(
        float(6.0 * t * two_point_slope_square(p, t)[0] / 0.09) for t in (1.0, 0.2, 0.1, 0.05)
    )


def chi_squares() -> Values:
    """Of draws against the law at five inputs; of cold relaxed draws, those whose largest weight is
    that of another level than the draw."""
    x = np.array([-2.3, -1.0, 0.1, 0.9, 2.0])

    def of(seed: int) -> float:
        index = draw(TWO_BITS, np.full(DRAWS, x[seed]), uniforms(seed))
        expected = DRAWS * law(TWO_BITS, x[seed : seed + 1])[0]
        return float(((np.bincount(index, minlength=4) - expected) ** 2 / expected).sum())

    here = np.full(DRAWS, x[4])
    leaning = concrete(TWO_BITS, here, uniforms(4), 0.01).argmax(axis=-1)
    differ = float((leaning != draw(TWO_BITS, here, uniforms(4))).sum())
    return *(of(seed) for seed in range(len(x))), differ


def off_levels() -> Values:
    """Mean distance of relaxed values from the nearest level, in spacings, x = 0.1: temperatures
    2, 1, .5, .1."""
    here = np.full(DRAWS, 0.1)
    values = [relaxed(TWO_BITS, here, uniforms(7), t) for t in (2.0, 1.0, 0.5, 0.1)]
    return tuple(float(np.abs(v - rounded(TWO_BITS, v)).mean()) for v in values)


CLAIMS = (
    Claim(
        id="draw-two-points",
        statement="Relaxed draw of two points at temperature 1: E z = c / (c - 1) - c log c / "
        "(c - 1)^2, c = p / (1 - p): at p = .6, .8, .9, .99; difference from a sum over the noise",
        code=two_point_mean,
        test=f"{TEST}::test_two_forms_of_the_two_point_mean",
        printed=".5672, .7172, .8160, .9628, 0 (derived)",
        number="ours",
        expected=(0.5672, 0.7172, 0.8160, 0.9628, 0.0),
        tolerance=0.5e-4,
        why=FOURTH,
        run=closed,
    ),
    Claim(
        id="draw-temperature",
        statement="Other temperatures, p = .9: E z at 2, .5, .1, .05; it tends to p",
        code=two_point_mean,
        test=f"{TEST}::test_a_relaxed_draw_of_two_points_has_the_closed_mean",
        printed=".721, .873, .899 (derived); .900",
        number="ours",
        expected=(0.721, 0.873, 0.899, 0.900),
        tolerance=0.5e-3,
        why="half a unit of the third decimal",
        run=temperatures,
    ),
    Claim(
        id="draw-bias",
        statement="The bias E z - p is temperature^2 (pi^2 / 6) p (1 - p) (1 - 2p) to leading "
        "order: ratio at p = .9, temperatures t = .2, .1, .05; no bias at p = 1/2",
        code=two_point_bias,
        test=f"{TEST}::test_bias_and_slopes_of_two_points_at_low_temperatures",
        printed="1 in the limit, 0 (derived)",
        number="ours",
        expected=(1.0, 1.0, 1.0, 0.0),
        tolerance=0.007,
        why="the next terms at p = .9 are relatively (7 pi^2 / 60) (1 - 12 p (1 - p)) t^2 = "
        "-.092 t^2 and -1.78 t^4: .0065 at t = .2",
        run=leading,
    ),
    Claim(
        id="draw-slope",
        statement="The price of a low temperature t: the second moment of the slope in the log "
        "odds is p (1 - p) / (6 t) to leading order, for relaxed values and draws alike: ratio at "
        "p = .9, t = 1, .2, .1, .05",
        code=two_point_slope_square,
        test=f"{TEST}::test_bias_and_slopes_of_two_points_at_low_temperatures",
        printed="1 in the limit (derived); by quadrature: 1.157, 1.012, 1.003, 1.001",
        number="ours",
        expected=(1.157, 1.012, 1.003, 1.001),
        tolerance=0.5e-3,
        why="half a unit of the third decimal",
        run=slope_squares,
    ),
    Claim(
        id="draw-law",
        statement="argmax of l_i + Gumbel noise has the law p_i: chi-square of 4 levels, 1e5 draws "
        "at five inputs; cold relaxed draws that lean to another level",
        code=draw,
        test=f"{TEST}::test_draws_have_the_law",
        printed="at most 35.9, which 3 degrees of freedom exceed once in 1.3e7; 0",
        number="ours",
        expected=(35.9, 35.9, 35.9, 35.9, 35.9, 0.0),
        tolerance=0.0,
        why="a bound, with seeds fixed",
        run=chi_squares,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="draw-off-levels",
        statement="RQ trains on values off the lattice, RQ straight-through on levels: mean "
        "distance of relaxed values from the nearest level in spacings, 2 bits, scale .6, x = .1; "
        "temperatures 2, 1, .5, .1",
        code=relaxed,
        test=f"{TEST}::test_draws_have_the_law",
        printed="falls with the temperature; seen: 0.2473, 0.2197, 0.17, 0.0476",
        number="ours",
        expected=(0.2473, 0.2197, 0.1700, 0.0476),
        tolerance=5 * 0.5 / math.sqrt(DRAWS) / math.sqrt(12),
        why="5 standard errors: a distance in [0, 1/2] that is not more spread than a uniform one",
        run=off_levels,
    ),
)
