"""The convex theorems of [li2017] for BinaryConnect: where r ends, and which floors are needed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qpapers.li2017.convex_bounds import (
    Setting,
    convex_rates,
    interpolated_minimiser,
    strongly_convex_rates,
    theorem_3,
    theorem_4,
)
from qpapers.li2017.simulate import BC_NEAREST, BC_STOCHASTIC, SR, Rule, Run, simulate
from qtheory import Lattice

UNIT = Lattice(size=9, spacing=1.0, low=-4.0)


def quadratic(rule: Rule, offset: float, rates: np.ndarray, replicas: int = 1) -> Run:
    """F = (w - offset)**2 / 2, exact gradients, from 0."""
    start = np.zeros((replicas, 1))
    return simulate(rule, lambda w, _: w - offset, UNIT, start, rates, np.random.default_rng(3))


def test_theorem_3_holds_with_half_the_floor():
    """Quadratic of curvature 1 without noise, so the floor matters; five standard errors."""
    c, iterations, offset = 0.5, 2000, 0.05
    for rule in (BC_NEAREST, BC_STOCHASTIC):
        run = quadratic(rule, offset, convex_rates(c, iterations), 100)
        losses = 0.5 * (run.latent_mean - offset) ** 2
        at = Setting(iterations, 1.0, 4.05, smoothness=1.0, diameter=8.0, rate_constant=c)
        assert losses.mean() + 5 * losses.std() / 10 <= theorem_3(at).total
        assert theorem_3(at).floor == theorem_3(at, quoted=True).floor / 2


def test_the_middle_term_of_theorem_3_as_quoted_is_too_small():
    """F = .15 w: no curvature, so no floor; five standard errors on the safe side."""
    drift, iterations, c, replicas = 0.15, 8000, 5.0, 400
    spread, line = math.sqrt(1 - drift**2), Lattice.uniform(0.0, 1.0, 2)

    def gradient(w: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        return drift + spread * np.where(draws.random(w.shape) < 0.5, -1.0, 1.0)

    rates, start = convex_rates(c, iterations), np.zeros((replicas, 1))
    run = simulate(BC_NEAREST, gradient, line, start, rates, np.random.default_rng(4))
    losses = drift * run.latent_mean
    error = 5 * losses.std() / math.sqrt(replicas)
    at = Setting(iterations, 1.0, 1.0, diameter=1.0, rate_constant=c)
    assert theorem_3(at, quoted=True).total < losses.mean() - error
    assert losses.mean() + error <= theorem_3(at).total


def test_the_floor_of_theorem_4_as_quoted_has_the_wrong_units():
    """F' = e + .005 e**2 on levels a spacing apart: r ends at the zero of the interpolated
    derivative, found here by following the mean gradient. The floor quoted fails for a large
    spacing and holds for a small one; D L_2 d s**2 / 8 always holds."""
    for spacing, broken in ((100.0, True), (2.0, False)):
        best = 0.634 * spacing

        def derivative(w: float, best: float = best) -> float:
            return (w - best) + 0.005 * (w - best) ** 2

        end = interpolated_minimiser(derivative, 0.0, spacing)
        r = 0.5 * spacing
        for _ in range(200):  # contracts by at most 1/2 each time
            r -= 0.5 * (derivative(0.0) * (1 - r / spacing) + derivative(spacing) * r / spacing)
        assert abs(r - end) <= 1e-9 * spacing
        loss = (end - best) ** 2 / 2 + 0.005 * (end - best) ** 3 / 3
        at = Setting(10**9, spacing, abs(derivative(0.0)), 1, 1 - 0.0127 / 2, 0.0, 0.01, spacing)
        assert (loss > theorem_4(at, quoted=True).total) is broken
        assert loss <= theorem_4(at).total
        assert abs(derivative(end)) <= 0.01 * spacing**2 / 8 * (1 + 1e-12)


def test_a_derivative_without_a_sign_change_is_refused():
    with pytest.raises(ValueError, match="the derivative changes sign between the levels"):
        interpolated_minimiser(lambda w: w + 1, 0.0, 1.0)


def test_without_bias_a_quadratic_has_no_floor():
    """Q_s: E(r - w*)**2 is at most 2 (1/4) / T by the theorem's own proof; ten times that. Q_d, on
    the same runs, keeps 0.08."""
    iterations = 5000
    rates = strongly_convex_rates(1.0, iterations)
    losses = 0.5 * (quadratic(BC_STOCHASTIC, 0.1, rates, 50).latent_mean - 0.1) ** 2
    assert losses.mean() <= 5 / iterations
    nearest = quadratic(BC_NEAREST, 0.1, rates).latent[0, 0]
    assert 0.5 * (nearest - 0.1) ** 2 > 0.079


@pytest.mark.parametrize("offset", [0.1, 0.25, 0.45, 0.8])
def test_with_nearest_rounding_a_quadratic_keeps_a_floor(offset: float):
    """r dithers around 1/2 by its last steps, 1 / T times a gradient below 1."""
    iterations = 5000
    run = quadratic(BC_NEAREST, offset, strongly_convex_rates(1.0, iterations))
    assert abs(run.latent[0, 0] - 0.5) <= 1 / iterations
    if offset < 0.3:
        at = Setting(iterations, 1.0, 1.0, strong_convexity=1.0)
        assert 0.5 * (run.latent[0, 0] - offset) ** 2 > 10 * theorem_4(at).total


def test_in_two_dimensions_r_ends_at_midpoints_whatever_the_hessian():
    target, rates = np.array([0.3, -1.2]), strongly_convex_rates(0.5, 4000)
    for hessian in (np.array([[1.0, -0.4], [-0.4, 0.9]]), np.array([[1.5, 0.6], [0.6, 0.8]])):
        run = simulate(
            BC_NEAREST,
            lambda w, _, h=hessian: (w - target) @ h,
            UNIT,
            np.zeros((1, 2)),
            rates,
            np.random.default_rng(5),
        )
        # two of the last steps: 1 / (.5 T) times gradients below 1.5
        assert np.abs(run.latent[0] - np.array([0.5, -1.5])).max() <= 2 / (0.5 * 4000) * 1.5


def test_noise_lowers_the_floor_of_nearest_rounding():
    """Noise of std 1 keeps r off the boundary for a while; five standard errors."""

    def gradient(w: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        return w - 0.1 + draws.standard_normal(w.shape)

    rates = strongly_convex_rates(1.0, 2000)
    run = simulate(BC_NEAREST, gradient, UNIT, np.zeros((200, 1)), rates, np.random.default_rng(6))
    losses = 0.5 * (run.latent_mean - 0.1) ** 2
    assert losses.mean() + 5 * losses.std() / math.sqrt(200) < 0.08


def test_visible_weights_of_all_rules_have_the_same_loss():
    """theta (1 - theta) / 2: SR and Q_s by their mean, Q_d as its mean gradient vanishes. Exact for
    Q_d up to the way to the boundary and the last move; else five standard errors and the start."""
    offset, rates = 0.3, np.full(4000, 0.05)
    want = 0.5 * offset * (1 - offset)
    for rule in (BC_NEAREST, BC_STOCHASTIC, SR):
        run = simulate(
            rule,
            lambda w, _: w - offset,
            UNIT,
            np.zeros((200, 1)),
            rates,
            np.random.default_rng(7),
            loss=lambda w: 0.5 * (w[:, 0] - offset) ** 2,
        )
        start = 0.5 / (offset * 0.05) / 4000 * 0.1
        error = 5 * float(run.loss_mean.std()) / math.sqrt(200)
        assert abs(float(run.loss_mean.mean()) - want) <= start + error + 1e-4
