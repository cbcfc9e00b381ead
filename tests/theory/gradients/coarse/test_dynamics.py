"""Descent with coarse gradients: who stays at the spurious minimum, who leaves, and when."""

import math

import numpy as np
import pytest

from qpapers.yin2019.samples import INSTANCE, settings
from qtheory.gradients.coarse.dynamics import (
    descend,
    fixed,
    lifetime,
    near_spurious,
    proportional,
    tangential,
)
from qtheory.gradients.coarse.formulas import Layer, Setting, output_gradient, relu_gradient
from qtheory.gradients.coarse.landscape import global_minimum, size_at_spurious, spurious_minimum
from qtheory.gradients.coarse.surrogates import (
    CLIPPED_RELU,
    IDENTITY,
    RELU,
    Window,
    coarse_gradient,
)
from qtheory.noise import Gaussian, Uniform

TEACHER = INSTANCE.teacher
START = near_spurious(TEACHER, 0.01, 0)
RATE = 0.05
# an angle within 2**-46 of 0 or pi is set to it, which moves a loss below 4 by as much
ROUNDING = 4 * 2.0**-46


def test_the_start_is_at_its_distance():
    minimum = spurious_minimum(TEACHER).student
    v, w = START.student.output - minimum.output, START.student.filter - minimum.filter
    assert abs(math.hypot(np.linalg.norm(v), np.linalg.norm(w)) - 0.01) <= 1e-15


@pytest.mark.parametrize("surrogate", [RELU, CLIPPED_RELU, Window(0.0, 0.1, 10.0)])
def test_one_sided_surrogates_stay(surrogate):
    """Eigenvalues in v are at least 1/4: errors in v fall by exp(-rate / 4) each iteration, so to
    1e-4 of the start after 720, and the loss to their square; the loss never rises. |w| starts
    within .01 of 1 and changes by the integral of abs(h) / (2 sqrt(2 pi)), abs(h) <= .044
    exp(-time / 4), so by .035."""
    path = descend(START, fixed(surrogate), RATE, 720)
    assert np.diff(path.loss).max() <= ROUNDING
    assert abs(path.loss[-1] - 0.625) <= 1e-12
    assert abs(path.length - 1).max() <= 0.05


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        (fixed(IDENTITY), lambda r: size_at_spurious(TEACHER, IDENTITY, r)),
        (fixed(Gaussian(0.5)), lambda r: size_at_spurious(TEACHER, Gaussian(0.5), r)),
        (fixed(Gaussian(0.25)), lambda r: size_at_spurious(TEACHER, Gaussian(0.25), r)),
        (fixed(Uniform(0.5)), lambda r: size_at_spurious(TEACHER, Uniform(0.5), r)),
        (
            proportional(Gaussian(1.0), 0.5),
            lambda r: size_at_spurious(TEACHER, Gaussian(0.5 * r), r),
        ),
    ],
)
def test_two_sided_surrogates_shrink_the_filter_until_the_loss_jumps(rule, size):
    """When |w| steps over 0 the filter is the teacher's: with v(pi) the loss is 2.5, and v has a
    few steps of rate at most behind it. The time is that of the closed form to within 2% and 3
    iterations: a start .01 off, and a rate that is not 0."""
    path = descend(START, rule, RATE, 160)
    first = int(np.argmax(path.loss > 2))
    assert abs(first - lifetime(size, RATE)) <= 0.02 * first + 3
    assert 2.4 <= path.loss.max() <= 2.5
    assert path.length[:first].min() < 0.1
    assert abs(path.loss[first - 1] - 0.625) <= 2e-3


def test_lifetimes_in_closed_form():
    """K = 1.5; quadrature of polynomials of degree 2 at most, rounded to 9 decimals."""
    k = 1.5 * RATE
    c = 0.5
    cases = (
        (lambda r: size_at_spurious(TEACHER, IDENTITY, r), math.sqrt(2 * math.pi) / k),
        (
            lambda r: size_at_spurious(TEACHER, Gaussian(c), r),
            2 * math.pi * (c * c + 1 / 3) / (c * k),
        ),
        (
            lambda r: size_at_spurious(TEACHER, Gaussian(c * r), r),
            math.pi * (c + 1 / c) / k,
        ),
    )
    for size, closed in cases:
        assert abs(lifetime(size, RATE) - closed) <= 1e-8


@pytest.mark.parametrize("surrogate", [IDENTITY, Gaussian(0.5), Gaussian(0.1)])
def test_normalised_filters_stay(surrogate):
    """A gradient along w is then without effect; so it is if that part is left out. Filters that
    are free are gone after 33 to 288 iterations."""
    for path in (
        descend(START, fixed(surrogate), RATE, 200, normalised=True),
        descend(START, tangential(fixed(surrogate)), RATE, 600),
    ):
        assert np.diff(path.loss).max() <= ROUNDING
        assert abs(path.loss[-1] - 0.625) <= 1e-6
        assert abs(path.length - 1).max() <= 0.05


def test_relu_descent_is_monotone_and_ends_at_a_critical_point():
    """Two random starts with |w| = 3, rate 0.2, 400 iterations: the loss never rises, |w| stays
    above 1 (the theorem asks for a bound), and both gradients end below 2e-3."""
    ends = []
    for at in settings(2, 20):
        w = 3 * at.student.filter / np.linalg.norm(at.student.filter)
        path = descend(Setting(at.teacher, Layer(at.student.output, w)), fixed(RELU), 0.2, 400)
        assert path.length.min() >= 1
        assert np.diff(path.loss).max() <= ROUNDING
        sizes = [np.linalg.norm(f(path.end)) for f in (output_gradient, relu_gradient)]
        ends.append(max(sizes))
    assert max(ends) <= 2e-3


def test_tangential_rules_have_no_part_along_w():
    found = tangential(fixed(IDENTITY))(INSTANCE)
    assert abs(found @ INSTANCE.student.filter) <= 8 * 2.0**-53
    whole = coarse_gradient(INSTANCE, IDENTITY)
    n = INSTANCE.student.filter / np.linalg.norm(INSTANCE.student.filter)
    assert np.abs(found + (whole @ n) * n - whole).max() <= 2.0**-50


def test_the_teacher_stays_the_teacher():
    """Loss and gradients are 0 at the global minimum, to rounding."""
    for surrogate in (RELU, IDENTITY, CLIPPED_RELU, Gaussian(0.3)):
        path = descend(global_minimum(TEACHER), fixed(surrogate), 0.1, 50)
        assert path.loss.max() <= ROUNDING


def test_bad_descents():
    with pytest.raises(ValueError, match="learning rate"):
        descend(START, fixed(RELU), 0.0, 10)
    with pytest.raises(ValueError, match="one iteration"):
        descend(START, fixed(RELU), 0.1, 0)
    with pytest.raises(ValueError, match="ratio of scale"):
        proportional(Gaussian(1.0), -1.0)


@pytest.mark.parametrize(
    ("size", "rate", "length", "rule"),
    [
        (0.0, 0.01, 1.0, "the size of a gradient along w is positive and finite, got 0"),
        (1.0, 0.0, 1.0, "a learning rate is positive and finite, got 0"),
        (1.0, 0.01, -1.0, "the length of a filter is positive and finite, got -1"),
    ],
)
def test_a_lifetime_without_an_end_is_refused(size, rate, length, rule):
    with pytest.raises(ValueError, match=rule):
        lifetime(lambda _: size, rate, length)
