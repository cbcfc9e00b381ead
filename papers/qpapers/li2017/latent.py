"""Section 4.2 of [li2017]: BinaryConnect on convex problems, Theorems 3 and 4, Corollary 1."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qpapers.li2017.convex_bounds import (
    Setting,
    convex_rates,
    interpolated_minimiser,
    strongly_convex_rates,
    theorem_3,
    theorem_4,
)
from qpapers.li2017.simulate import BC_NEAREST, BC_STOCHASTIC, SR, Rule, Run, Weights, simulate
from qtheory.lattice import Lattice

TEST = "tests/papers/li2017/test_latent.py"
LONG = 100_000
OFFSETS = np.array([0.1, 0.2, 0.3, 0.4])
UNIT = Lattice(size=9, spacing=1.0, low=-4.0)


def exact_quadratics(rule: Rule, iterations: int, copies: int = 1) -> Run:
    """A rule on F = (w - theta)**2 / 2, s = 1, exact gradients, rates of Theorem 1, from 0; theta =
    .1, .2, .3, .4, so many copies of each, a replica for each."""
    target = np.repeat(OFFSETS, copies)[:, None]
    rates = strongly_convex_rates(1.0, iterations)
    draws = np.random.default_rng(6)
    return simulate(rule, lambda w, _: w - target, UNIT, np.zeros_like(target), rates, draws)


def nearest_floors() -> Values:
    """F(r) - F* of BC with Q_d, theta = .1, .2, .3, .4; then the right side of Corollary 1."""
    run = exact_quadratics(BC_NEAREST, LONG)
    losses = 0.5 * (run.latent[:, 0] - OFFSETS) ** 2
    at = Setting(LONG, 1.0, 1.0, strong_convexity=1.0)
    return *losses.tolist(), theorem_4(at).total


def stochastic_floor() -> Values:
    """E F(average of r) - F* of BC with Q_s, theta = .1; 200 replicas."""
    run = exact_quadratics(BC_STOCHASTIC, LONG, 50)
    return (0.5 * float(((run.latent_mean[:50, 0] - OFFSETS[0]) ** 2).mean()),)


HESSIAN = np.array([[1.0, 0.6], [0.6, 1.2]])
TARGET = np.array([0.2, 1.35])


def coupled_floor() -> Values:
    """Where r ends in two dimensions under Q_d, and F - F* there."""

    def gradient(w: Weights, _: np.random.Generator) -> Weights:
        return (w - TARGET) @ HESSIAN

    rates = strongly_convex_rates(0.5, LONG)  # the least eigenvalue is 0.49
    run = simulate(BC_NEAREST, gradient, UNIT, np.zeros((1, 2)), rates, np.random.default_rng(7))
    e = run.latent[0] - TARGET
    return float(run.latent[0, 0]), float(run.latent[0, 1]), 0.5 * float(e @ HESSIAN @ e)


def noisy_floor() -> Values:
    """E F(average of r) - F* of BC with Q_d, theta = .1, s = 1, noise of std 1, over .08; plus 5
    standard errors."""
    draws = np.random.default_rng(8)

    def gradient(w: Weights, generator: np.random.Generator) -> Weights:
        return w - 0.1 + generator.standard_normal(w.shape)

    rates = strongly_convex_rates(1.0, 2000)
    run = simulate(BC_NEAREST, gradient, UNIT, np.zeros((400, 1)), rates, draws)
    losses = 0.5 * (run.latent_mean[:, 0] - 0.1) ** 2
    return ((float(losses.mean()) + 5 * float(losses.std()) / 20) / 0.08,)


def visible_losses() -> Values:
    """Mean of F at the visible weight, minus F*, theta = .1: BC with Q_d, BC with Q_s, SR."""
    rules = (BC_NEAREST, BC_STOCHASTIC, SR)
    return tuple(_visible_loss(rule) for rule in rules)


def _visible_loss(rule: Rule) -> float:
    rates = np.full(8000, 0.02)
    target, replicas = OFFSETS[0], 400
    run = simulate(
        rule,
        lambda w, _: w - target,
        UNIT,
        np.zeros((replicas, 1)),
        rates,
        np.random.default_rng(9),
        loss=lambda w: 0.5 * (w[:, 0] - target) ** 2,
    )
    return float(run.loss_mean.mean())


def smooth_ratios() -> Values:
    """E F(average of r) - F* plus 5 standard errors over Theorem 3's corrected bound, Q_d then Q_s;
    F = sum of sqrt(1 + (w - .3)**2) in 3 dimensions, noise of std 1, s = 1, on [-2, 2]."""
    lattice, d, iterations, c = Lattice.uniform(-2.0, 2.0, 5), 3, 1000, 0.5

    def gradient(w: Weights, generator: np.random.Generator) -> Weights:
        e = w - 0.3
        return e / np.sqrt(1 + e**2) + generator.standard_normal(w.shape)

    at = Setting(
        iterations, 1.0, math.sqrt(2.0 * d), d, smoothness=1.0,
        diameter=4.0 * math.sqrt(d), rate_constant=c,
    )  # fmt: skip
    ratios: list[float] = []
    for rule in (BC_NEAREST, BC_STOCHASTIC):
        start, draws = np.full((400, d), -2.0), np.random.default_rng(10)
        run = simulate(rule, gradient, lattice, start, convex_rates(c, iterations), draws)
        losses = (np.sqrt(1 + (run.latent_mean - 0.3) ** 2) - 1).sum(axis=1)
        largest = float(losses.mean()) + 5 * float(losses.std()) / 20
        ratios.append(largest / theorem_3(at).total)
    return tuple(ratios)


DRIFT, REACHED, CONSTANT = 0.15, 40_000, 3.0


@cache
def linear_loss() -> tuple[float, float]:
    """E F(average) - F* of BC on Theorem 2's counterexample, k = 3, and its standard error."""
    spread, replicas = math.sqrt(1.0 - DRIFT**2), 400

    def gradient(w: Weights, generator: np.random.Generator) -> Weights:
        return DRIFT + spread * np.where(generator.random(w.shape) < 0.5, -1.0, 1.0)

    rates, line = convex_rates(CONSTANT, REACHED), Lattice.uniform(0.0, 1.0, 2)
    draws = np.random.default_rng(11)
    run = simulate(BC_NEAREST, gradient, line, np.zeros((replicas, 1)), rates, draws)
    losses = DRIFT * run.latent_mean
    return float(losses.mean()), float(losses.std()) / math.sqrt(replicas)


def over_theorem_3() -> Values:
    """That loss less 5 standard errors over the bound as quoted, and plus 5 over the corrected."""
    loss, error = linear_loss()
    at = Setting(REACHED, 1.0, 1.0, diameter=1.0, rate_constant=CONSTANT)
    quoted, right = theorem_3(at, quoted=True).total, theorem_3(at).total
    return (loss - 5 * error) / quoted, right / (loss + 5 * error)


ENDS, BEND, BEST = (0.0, 100.0), 0.005, 63.4


def bent_derivative(w: float) -> float:
    """F' = e + .005 e**2, e = w - 63.4."""
    return (w - BEST) + BEND * (w - BEST) ** 2


def bent_loss(w: float) -> float:
    """F - F* of it."""
    e = w - BEST
    return e**2 / 2 + BEND * e**3 / 3


def bent_floor() -> Values:
    """E F(average of r) - F* of BC with Q_s on two levels 100 apart, T = 2e5, 400 replicas; then
    the value at the zero of the interpolated derivative."""

    def gradient(w: Weights, _: np.random.Generator) -> Weights:
        return (w - BEST) + BEND * (w - BEST) ** 2

    least = 1.0 + 2 * BEND * (ENDS[0] - BEST)  # of F'' on [0, 100]
    rates = strongly_convex_rates(least, 2 * LONG)
    start = np.full((400, 1), 50.0)
    draws = np.random.default_rng(12)
    run = simulate(BC_STOCHASTIC, gradient, Lattice.uniform(*ENDS, 2), start, rates, draws)
    found = float(np.mean([bent_loss(float(w)) for w in run.latent_mean[:, 0]]))
    return found, bent_loss(interpolated_minimiser(bent_derivative, *ENDS))


def bent_bounds() -> Values:
    """Measured, over the floor and optimisation term as quoted; corrected floor over measured."""
    steepest = largest(abs(bent_derivative(w)) for w in ENDS)
    at = Setting(
        2 * LONG, 100.0, steepest, strong_convexity=1.0 + 2 * BEND * (ENDS[0] - BEST),
        hessian_lipschitz=2 * BEND, diameter=100.0,
    )  # fmt: skip
    limit = bent_loss(interpolated_minimiser(bent_derivative, *ENDS))
    quoted, right = theorem_4(at, quoted=True), theorem_4(at)
    return quoted.floor, quoted.optimisation, right.floor, limit / quoted.total


def bent_gradient() -> Values:
    """abs F' where r ends, over L_2 s**2 / 8."""
    end = interpolated_minimiser(bent_derivative, *ENDS)
    return (abs(bent_derivative(end)) / (2 * BEND * 100.0**2 / 8),)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="thm-3",
        statement="Theorem 3 corrected: E F(average of r) - F* <= D^2 / (2 c sqrt T) + c G^2 / "
        "sqrt T + sqrt(d) s L D / 2 (half the floor quoted); measured over bound, Q_d and Q_s",
        code=theorem_3,
        test=f"{TEST}::test_theorem_3_holds_with_half_the_floor",
        printed="at most 1",
        number="noted",
        expected=(1.0, 1.0),
        tolerance=0.0,
        why="a bound; five standard errors are added to what was measured",
        run=smooth_ratios,
        guard=True,
        relation="<=",
        verdict="holds corrected",
    ),
    Claim(
        id="thm-3-quoted",
        statement="Theorem 3 as quoted (middle term sqrt(T + 1) c G^2 / (2 T)) is broken by "
        "Theorem 2's counterexample, where L = 0, k = 3: measured over bound quoted, and bound "
        "corrected over measured, 5 standard errors on the safe side",
        code=theorem_3,
        test=f"{TEST}::test_the_middle_term_of_theorem_3_as_quoted_is_too_small",
        printed="above 1 (D1)",
        number="ours",
        expected=(1.0, 1.0),
        tolerance=0.0,
        why="five standard errors are taken off already",
        run=over_theorem_3,
        guard=True,
        relation=">=",
        verdict="holds corrected",
        slow=True,
    ),
    Claim(
        id="thm-4-units",
        statement="Theorem 4's floor, F' = e + e^2 / 200 on two levels 100 apart, w* = 63.4: E F - "
        "F* of BC with Q_s at T = 2 10^5, and at the zero of the interpolated derivative",
        code=interpolated_minimiser,
        test=f"{TEST}::test_the_floor_of_theorem_4_as_quoted_has_the_wrong_units",
        printed="85.6 (measured)",
        number="noted",
        expected=(85.6, 85.6),
        tolerance=0.7,
        why="five standard errors: the average of r has a std of about 50 / (0.87 sqrt T) = 0.13 "
        "between runs, times F' = 12.5, over 20 for 400 runs, plus 0.2 of the number given",
        run=bent_floor,
        slow=True,
    ),
    Claim(
        id="thm-4",
        statement="There the floor quoted, D L_2 sqrt(d) s / 2, and the optimisation term are "
        "exceeded; D L_2 d s^2 / 8 is not: these three, and the limit over the bound quoted",
        code=theorem_4,
        test=f"{TEST}::test_the_floor_of_theorem_4_as_quoted_has_the_wrong_units",
        printed="50, 0.17, 1250, 85.6 / 50.17",
        number="noted",
        expected=(50.0, 0.17, 1250.0, 85.6 / 50.17),
        tolerance=5e-3,
        why="two decimals are given; 85.6 is 85.74 in the limit, 0.003 of the ratio",
        run=bent_bounds,
        verdict="holds corrected",
    ),
    Claim(
        id="thm-4-gradient",
        statement="One dimension: BC with Q_s ends where abs F' <= L_2 s^2 / 8; ratio there",
        code=interpolated_minimiser,
        test=f"{TEST}::test_the_floor_of_theorem_4_as_quoted_has_the_wrong_units",
        printed="at most 1, and attained (ours)",
        number="ours",
        expected=(1.0,),
        tolerance=3.6e-9,
        why="attained: F' is a parabola about the middle of two levels 100 apart, and r ends less "
        "than 0.003 from it: (0.003 / 50)^2",
        run=bent_gradient,
    ),
    Claim(
        id="cor-1",
        statement="Corollary 1, no floor on quadratics, holds for Q_s: E F(average of r) - F*, "
        "theta = 0.1, T = 10^5",
        code=simulate,
        test=f"{TEST}::test_without_bias_a_quadratic_has_no_floor",
        printed="1e-6, against 6e-5 on the right side",
        number="noted",
        expected=(1e-6,),
        tolerance=0.5e-6,
        why="one digit is given",
        run=stochastic_floor,
        slow=True,
    ),
    Claim(
        id="cor-1-nearest",
        statement="Corollary 1 fails for Q_d: F = μ (w - theta s)^2 / 2, exact gradients: r tends "
        "to the cell's boundary, F - F* to μ s^2 (1/2 - theta)^2 / 2; theta = 0.1, 0.2, 0.3, 0.4; "
        "then the right side of Corollary 1",
        code=simulate,
        test=f"{TEST}::test_with_nearest_rounding_a_quadratic_keeps_a_floor",
        printed="0.0800 (0.07998 measured) against 6e-5; 0.045, 0.02, 0.005",
        number="noted",
        expected=(0.08, 0.045, 0.02, 0.005, 6e-5),
        tolerance=1e-5,
        why="r dithers by one step, 1 / T times a gradient of 1",
        run=nearest_floors,
        verdict="holds corrected",
        slow=True,
    ),
    Claim(
        id="cor-1-nearest-2d",
        statement="The same with Hessian [[1, 0.6], [0.6, 1.2]], s = 1, w* = (0.2, 1.35): r ends "
        "at the midpoint of the levels around w*, in each coordinate; then F - F*",
        code=simulate,
        test=f"{TEST}::test_with_nearest_rounding_a_quadratic_keeps_a_floor",
        printed="(0.500, 1.500), 0.0855",
        number="noted",
        expected=(0.5, 1.5, 0.0855),
        tolerance=5e-5,
        why="r dithers by one step, 2 / T times a gradient of 1",
        run=coupled_floor,
        verdict="holds corrected",
        slow=True,
    ),
    Claim(
        id="cor-1-noise",
        statement="Gradient noise smears the thresholds of Q_d and lowers that floor: with noise "
        "of std 1, theta = 0.1, T = 2000, over the 0.08 without noise",
        code=simulate,
        test=f"{TEST}::test_noise_lowers_the_floor_of_nearest_rounding",
        printed="below 1 (0.0029 for 0.0283, for constants that are not recorded)",
        number="ours",
        expected=(1.0,),
        tolerance=0.0,
        why="five standard errors are added already",
        run=noisy_floor,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="review-visible",
        statement="The reviewers' first complaint: bounds on BC are about r. At the visible weight "
        "F(w) - F* on a quadratic is s^2 theta (1 - theta) / 2 for BC with Q_d, BC with Q_s and SR "
        "alike, theta = 0.1",
        code=simulate,
        test=f"{TEST}::test_visible_weights_of_all_rules_have_the_same_loss",
        printed="0.045 each (ours)",
        number="ours",
        expected=(0.045,) * 3,
        tolerance=5e-3,
        why="r starts at 0 and needs 0.4 / (0.1 η) = 200 of 8000 iterations: 0.001; five standard "
        "errors of 400 runs of 80 correlation times, 0.12 / 180 each, are 0.0034",
        run=visible_losses,
    ),
)
