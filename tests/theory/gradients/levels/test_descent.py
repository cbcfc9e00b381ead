"""Descent with gradients at the nearest levels: potential, circulation, and a bound that is met."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory.gradients.levels.descent import (
    Quadratic,
    bound,
    circulation,
    excess,
    hidden_loss,
    nearest_level,
    random_quadratic,
)


def test_ties_of_levels_go_up():
    assert nearest_level(np.array([-1.5, -0.5, 0.5, 0.49])).tolist() == [-1.0, 0.0, 1.0, 0.0]


@given(st.floats(-4, 4), st.floats(-4, 4), st.sampled_from([0.25, 1.0, 1.7]))
def test_the_hidden_loss_has_the_straight_through_gradient(w, target, spacing):
    """Central differences of a quadratic are exact up to rounding: 16 units of 2**-53 of values
    below 64 over 2 h, h = 2**-10; a threshold closer than that is not asked."""
    h = 2.0**-10
    near = np.array([w - h, w, w + h])
    q = nearest_level(near, spacing)
    if q[0] == q[2]:
        low, _, high = hidden_loss(near, target, spacing)
        assert abs((high - low) / (2 * h) - (q[1] - target)) <= 64 * 16 * 2.0**-53 / (2 * h)


def test_the_hidden_loss_is_continuous_with_a_kink_down():
    """At a threshold the gradient jumps up by D, so w = t is its least point nearby: a valley."""
    at = hidden_loss(np.array([0.5 - 1e-9, 0.5, 0.5 + 1e-9]), 0.3)
    assert at[1] < at[0] and at[1] < at[2] and np.ptp(at) < 1e-8


def test_circulation_is_the_jump_times_the_height():
    """A_12 D h around a threshold of weight 1, minus A_12 D w around one of weight 2; exact in
    binary fractions, and 0 for a diagonal Hessian or without a threshold."""
    problem = Quadratic(np.array([[2.0, 0.75], [0.75, 1.0]]), np.array([0.25, 0.125]))
    assert circulation(problem, np.array([0.25, -0.125]), (0.5, 0.25)) == 0.75 * 0.25
    assert circulation(problem, np.array([-0.25, 0.25]), (0.5, 0.5)) == -0.75 * 0.5
    assert circulation(problem, np.array([0.25, 0.25]), (0.5, 0.75)) == 0.75 * (0.75 - 0.5)
    assert circulation(problem, np.array([-0.25, -0.25]), (0.5, 0.5)) == 0.0
    separable = Quadratic(np.diag([2.0, 1.0]), problem.target)
    assert circulation(separable, np.array([0.25, 0.25]), (0.5, 0.75)) == 0.0


def test_circulation_against_a_fine_sum():
    """1000 midpoints per side: the gradient jumps twice a side by less than 8, so the error is
    below 4 sides * 2 jumps * 8 * side / 1000."""
    rng = np.random.default_rng(4)
    problem = random_quadratic(rng, 2, 5.0)
    corner, sides = np.array([-0.3, 0.2]), (1.3, 1.1)
    corners = corner + np.array([(0, 0), (sides[0], 0), sides, (0, sides[1]), (0, 0)])
    total = 0.0
    for a, b in pairwise(corners):
        for k in range(1000):
            total += problem.gradient(a + (k + 0.5) / 1000 * (b - a)) @ (b - a) / 1000
    assert abs(circulation(problem, corner, sides) - total) <= 4 * 2 * 8 * 1.3 / 1000
    assert abs(total) > 0.1


@pytest.mark.parametrize(("condition", "reached"), [(1.0, 0.7), (3.0, 0.5), (30.0, 0.05)])
def test_the_bound_holds(condition, reached):
    """A bound, up to 1e-12 of rounding, and not far above the start, where it is loss + floor."""
    rng = np.random.default_rng(3)
    ratios = []
    for _ in range(10):
        problem = random_quadratic(rng, 5, condition)
        start = problem.target + 3.0 * rng.standard_normal(5)
        rate = 0.999 / condition
        found, most = (f(problem, start, rate, 200) for f in (excess, bound))
        ratios.append((found / most).max())
    assert reached < max(ratios) <= 1 + 1e-12


def test_the_bound_sums_its_steps():
    """b_0 = L(w_0) + floor and b_(n+1) = (1 - r mu) b_n + r M**2 d D**2 / 8; 16 roundings."""
    problem, rate = random_quadratic(np.random.default_rng(1), 4, 7.0), 0.1
    mu, most = problem.curvatures
    start = problem.target + 2.0
    b = bound(problem, start, rate, 30)
    assert abs(b[0] / (problem.loss(start) + most**2 * 4 / (8 * mu)) - 1) <= 16 * 2.0**-53
    steps = (1 - rate * mu) * b[:-1] + rate * most**2 * 4 / 8
    assert np.abs(b[1:] / steps - 1).max() <= 16 * 2.0**-53


def test_one_step_of_the_bound_for_every_rate():
    """L(w - r g) <= (1 - r mu) L(w) + r M**2 d D**2 / 8, from random points: the step proved."""
    rng = np.random.default_rng(8)
    for _ in range(200):
        problem = random_quadratic(rng, 3, float(rng.uniform(1, 20)))
        mu, most = problem.curvatures
        rate, w = float(rng.uniform(0, 1)) / most, 2.0 * rng.standard_normal(3)
        after = problem.loss(w - rate * problem.gradient(w))
        most_after = (1 - rate * mu) * problem.loss(w) + rate * most**2 * 3 / 8
        assert after <= most_after * (1 + 1e-12)


@pytest.mark.parametrize("a", [0.1, 0.01])
def test_the_floor_is_attained_in_the_limit(a):
    """Identity Hessian, begun .3 below the threshold and creeping by a r. At the threshold the
    error is 1/2 - a, and the latent at most a r above or (1 - a) r below: L over d / 8 is
    (1 - 2a)**2 to within 4 r."""
    problem, rate = Quadratic(np.eye(3), np.full(3, a)), 0.02
    found = excess(problem, np.full(3, 0.2), rate, int(1 / (rate * a)))[-100:]
    assert abs(found.max() / problem.floor - (1 - 2 * a) ** 2) <= 4 * rate
    assert found.min() / problem.floor > (1 - 2 * a) ** 2 - 4 * rate


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Quadratic(np.eye(2), np.zeros(2), 0.0), "a spacing is positive"),
        (lambda: Quadratic(np.eye(1), np.array([np.nan])), "targets are finite"),
        (lambda: Quadratic(np.eye(0), np.zeros(0)), "one at least"),
        (lambda: Quadratic(np.array([[np.inf]]), np.zeros(1)), "positive definite"),
        (lambda: Quadratic(np.eye(2), np.zeros(3)), "a row and a column for each weight"),
        (lambda: Quadratic(np.array([[1.0, 1.0], [0.0, 1.0]]), np.zeros(2)), "is symmetric"),
        (lambda: Quadratic(np.diag([1.0, -1.0]), np.zeros(2)), "positive definite"),
        (lambda: bound(Quadratic(2 * np.eye(1), np.zeros(1)), np.ones(1), 0.6, 1), "in \\(0, 1 /"),
    ],
)
def test_bad_problems_are_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
