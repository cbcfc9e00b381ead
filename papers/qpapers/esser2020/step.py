"""A learned step [esser2020]: its gradient, the scale of that, its start, and the best step."""

from __future__ import annotations

import numpy as np
import scipy  # pyright: ignore[reportMissingTypeStubs]

from qpapers.ledger import Claim, Values
from qreference import reader
from qtheory.algorithms.learned_steps import LearnedSteps, signed

TEST = "tests/theory/algorithms/test_learned_steps.py"
QUANTILES = scipy.special.ndtri((np.arange(40001) + 0.5) / 40001)
PLACES = (-1.5, -1.0, -0.75, 0.125, 0.375, 0.5, 2.0)


def slopes() -> Values:
    """The gradient of the step 1/2 of 2 bits, of one weight at seven places."""
    spec, state = LearnedSteps(signed(2), scale="none"), {"step": np.array([0.5])}
    found = (reader.slope(spec, np.array([x]), None, np.ones(1), state) for x in PLACES)
    return tuple(float(one["step"].item()) for one in found)


def scales() -> Values:
    """By how much the gradient of the step of 1024 weights is scaled, of 2, 3 and 4 bits."""
    x = np.linspace(-1, 1.5, 1024)
    found: list[float] = []
    for bits in (2, 3, 4):
        state = {"step": np.array([0.3])}
        with_scale, without = (
            reader.slope(LearnedSteps(signed(bits), scale=s), x, None, x, state)["step"].item()
            for s in ("size", "none")
        )
        found.append(with_scale / without)
    return tuple(found)


def lost(step: float) -> float:
    """The share of the square of normal weights that three levels with a step lose."""
    seen = reader.read(LearnedSteps(), QUANTILES, None, {"step": np.array([step])})
    return float(np.square(QUANTILES - seen).sum() / np.square(QUANTILES).sum())


def best() -> Values:
    """The best step of three levels for normal weights, its loss, and those of the start."""
    found = scipy.optimize.minimize_scalar(lost, bounds=(0.5, 2.5), method="bounded")
    start = reader.start(LearnedSteps(), QUANTILES)["step"].item()
    return float(found.x), float(found.fun), start, lost(start)


CLAIMS = (
    Claim(
        id="step-slope",
        statement="The gradient of the step s, 2 bits, levels -2 to 1, s = 1/2: -Q_N below, "
        "round(v / s) - v / s between, Q_P above; v = -1.5, -1, -.75, .125, .375, .5, 2",
        code=reader.slope,
        test=f"{TEST}::test_the_step_gradient_has_three_cases",
        printed="-2, -2, -0.5, -0.25, 0.25, 1, 1",
        number="noted",
        expected=(-2.0, -2.0, -0.5, -0.25, 0.25, 1.0, 1.0),
        tolerance=0.0,
        why="numbers of a few bits",
        run=slopes,
    ),
    Claim(
        id="step-scale",
        statement="The gradient of the step is scaled by 1 / sqrt(n Q_P): n = 1024 and 2, 3, 4 "
        "bits, Q_P = 1, 3, 7",
        code=reader.slope,
        test=f"{TEST}::test_the_scale_of_the_gradient_and_the_start",
        printed="1 / sqrt(1024 Q_P)",
        number="noted",
        expected=(1 / 32, 1 / (32 * 3**0.5), 1 / (32 * 7**0.5)),
        tolerance=1e-14,
        why="a quotient of two sums that differ by the factor",
        run=scales,
        printed_of="1/32, 1/(32*sqrt(3)), 1/(32*sqrt(7))",
    ),
    Claim(
        id="step-best",
        statement="Three levels of normal weights: the best step and the share of the square that "
        "is lost, both as with the best threshold of ternary weights, 2 x .612; and the published "
        "start 2 E(abs v) / sqrt Q_P, which is 30 % too long, with what it loses",
        code=reader.read,
        test=f"{TEST}::test_the_scale_of_the_gradient_and_the_start",
        printed="1.224, 0.1902; 1.5958, seen: 0.2298",
        number="noted",
        expected=(1.224, 0.1902, 1.5958, 0.2298),
        tolerance=5e-4,
        why="half a unit of the third decimal; 40001 quantiles lose 1e-4 of the tails",
        run=best,
    ),
)
