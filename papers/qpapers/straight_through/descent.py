"""The loss that a straight-through gradient descends, and a bound on the descent at levels."""

from __future__ import annotations

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.gradients.levels.descent import (
    Quadratic,
    bound,
    circulation,
    excess,
    hidden_loss,
    nearest_level,
    random_quadratic,
)

TEST = "tests/theory/gradients/levels/test_descent.py"


def decomposition() -> Values:
    """Largest abs(central difference of the hidden loss - (q(w) - w*)) at 1000 points."""
    rng, h = np.random.default_rng(2), 2.0**-10
    w, target = rng.uniform(-3, 3, 1000), 0.3
    w = w[nearest_level(w - h) == nearest_level(w + h)]
    slope = (hidden_loss(w + h, target) - hidden_loss(w - h, target)) / (2 * h)
    return (float(np.abs(slope - (nearest_level(w) - target)).max()),)


def circulations() -> Values:
    """A_12 = 3/4, spacing 1, height 1/4, across a threshold; the same with A_12 = 0."""
    target, corner = np.array([0.25, 0.125]), np.array([0.25, -0.125])
    coupled = Quadratic(np.array([[2.0, 0.75], [0.75, 1.0]]), target)
    free = Quadratic(np.array([[2.0, 0.0], [0.0, 1.0]]), target)
    return circulation(coupled, corner, (0.5, 0.25)), circulation(free, corner, (0.5, 0.25))


def descent_bound() -> Values:
    """Largest excess over bound, condition 1, 3, 10, 30, 20 quadratics of 6 weights each."""
    rng = np.random.default_rng(0)

    def worst(condition: float) -> float:
        rate, ratios = 0.999 / condition, list[float]()
        for _ in range(20):
            problem = random_quadratic(rng, 6, condition)
            start = problem.target + 3.0 * rng.standard_normal(6)
            ratio = excess(problem, start, rate, 200) / bound(problem, start, rate, 200)
            ratios.append(float(ratio.max()))
        return largest(ratios)

    return worst(1.0), worst(3.0), worst(10.0), worst(30.0)


def floors() -> Values:
    """Largest late loss over the floor, identity Hessian, a = .1, .01, .001, rate .02."""

    def late(a: float) -> float:
        problem = Quadratic(np.eye(2), np.full(2, a))
        n = round(2 / a)
        found = excess(problem, np.full(2, 0.5), 0.02, n)
        return float(found[n // 2 :].max()) / problem.floor

    return late(0.1), late(0.01), late(0.001)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="dynamics-hidden-loss",
        statement="One-weight linear model (Wenshøj et al. 2025): the straight-through gradient "
        "is that of (w - w*)²/2 - (w - q(w))²/2: largest difference from central differences",
        code=hidden_loss,
        test=f"{TEST}::test_the_hidden_loss_has_the_straight_through_gradient",
        printed="0 (an earlier derivation: 2e-16)",
        number="noted",
        expected=(0.0,),
        tolerance=1e-11,
        why="central differences of quadratics are exact: 64 roundings of 2^-53 of numbers below 6 "
        "over 2h = 2^-9",
        run=decomposition,
    ),
    Claim(
        id="dynamics-circulation",
        statement="Not so for several weights: the line integral of A (Q(w) - w*) around a "
        "rectangle cut by one threshold is A_12 D times its height, 3/16 here; 0 if A_12 = 0",
        code=circulation,
        test=f"{TEST}::test_circulation_is_the_jump_times_the_height",
        printed="0.1875, 0 (derived)",
        number="ours",
        expected=(0.1875, 0.0),
        tolerance=0.0,
        why="binary fractions",
        run=circulations,
    ),
    Claim(
        id="dynamics-bound",
        statement="Gradients at Q(w), r <= 1/M: L(w_n) - L* <= (1 - r μ)^n (L(w_0) - L*) + M² d D²"
        " / (8 μ): largest quotient, condition M/μ = 1, 3, 10, 30, random quadratics, d = 6",
        code=bound,
        test=f"{TEST}::test_the_bound_holds",
        printed="at most 1",
        number="ours",
        expected=(1.0,) * 4,
        tolerance=1e-12,
        why="a bound; 200 iterations of rounding",
        run=descent_bound,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="dynamics-floor",
        statement="whose floor is attained in the limit of small a and r: largest late loss over "
        "d D²/8, identity Hessian, targets a above levels, a = .1, .01, .001, r = .02",
        code=excess,
        test=f"{TEST}::test_the_floor_is_attained_in_the_limit",
        printed="(1 - 2a)²: 0.64, 0.9604, 0.996 (derived)",
        number="ours",
        expected=(0.64, 0.9604, 0.996004),
        tolerance=7e-3,
        why="late in a period the latent is within a r of the threshold: 4 a r = 0.008 at most; "
        "0.0064 with the factor 1 - 2a",
        run=floors,
    ),
)
