"""Critical points of the layer of thresholds: against the loss itself, and what happens at them."""

import math

import numpy as np
import pytest

from qpapers.yin2019.samples import INSTANCE, settings
from qtheory.gradients.coarse.formulas import (
    Layer,
    Setting,
    filter_gradient,
    identity_gradient,
    loss,
    output_gradient,
    products,
    relu_gradient,
)
from qtheory.gradients.coarse.landscape import (
    at_angle,
    best_output,
    global_minimum,
    has_spurious_minimum,
    hessian,
    identity_size_at_spurious,
    instability_ratio,
    opening,
    relu_ratio_bound,
    saddle,
    saddle_angle,
    size_at_spurious,
    spurious_minimum,
)
from qtheory.gradients.coarse.surrogates import (
    CLIPPED_RELU,
    IDENTITY,
    RELU,
    Window,
    coarse_gradient,
)
from qtheory.noise import Gaussian, Logistic, Uniform

TEACHER = INSTANCE.teacher
TEACHERS = tuple(at.teacher for at in settings(100, 3))
WITH = tuple(t for t in TEACHERS if has_spurious_minimum(t))
WITHOUT = tuple(t for t in TEACHERS if not has_spurious_minimum(t))
SIDES = (RELU, CLIPPED_RELU, Window(0.0, 0.1, 10.0), Window(0.3, 2.0))
BOTH = (IDENTITY, Gaussian(0.5), Logistic(0.1), Uniform(0.2), Window(-0.1, 1.0))


def beside(teacher):
    """A direction that is not the teacher's."""
    return teacher.filter[::-1] + np.arange(teacher.filter.size) + 1.0


def test_the_sample_has_teachers_of_both_kinds():
    assert min(len(WITH), len(WITHOUT)) >= 10


def test_best_output_weights_solve_the_equations():
    """Gradient 0 at every angle, 64 roundings of terms below (m + 1)|v*|."""
    for teacher in TEACHERS:
        for angle in (0.0, 0.4, 2.0, math.pi):
            at = at_angle(teacher, angle, beside(teacher), 2.0)
            limit = 2.0**-47 * (teacher.output.size + 1) * np.linalg.norm(teacher.output)
            assert np.abs(output_gradient(at)).max() <= limit
            closed = 2 * (1 - angle / math.pi) * products(at).inner
            assert abs(products(at).h - closed) <= 16 * limit * np.linalg.norm(teacher.output)


def test_the_loss_on_best_outputs_has_a_second_valley_iff_the_condition_holds():
    """On v(t) the loss as a function of t rises from 0 and, with a saddle, falls again to pi. A
    grid of 4001 angles, on which its maximum is at the saddle to within one spacing."""
    angles = np.linspace(0, math.pi, 4001)
    for teacher in TEACHERS[:40]:
        v = teacher.output
        k = 1 - 2 * angles / math.pi
        best = k[:, None] * v + v.sum() * (1 - k[:, None]) / (v.size + 1)
        inner = best @ v
        # minimised over v the loss is (|v*|**2 + S**2 - v(t)'(k v* + S)) / 8
        losses = (v @ v + v.sum() ** 2 - k * inner - best.sum(axis=1) * v.sum()) / 8
        at = at_angle(teacher, angles[777], beside(teacher))
        assert abs(loss(at) - losses[777]) <= 1e-13 * (v @ v + v.sum() ** 2)
        if has_spurious_minimum(teacher):
            top = angles[losses.argmax()]
            assert abs(top - saddle_angle(teacher)) <= angles[1]
            assert losses[-1] < losses.max()
        else:
            assert (np.diff(losses) >= -1e-14 * v.size * (v @ v)).all()


@pytest.mark.parametrize("teacher", WITH)
def test_points_are_critical(teacher):
    """Gradients in v vanish; v'v* = 0 at saddles, which have exactly one way down; minima open
    upwards. Random steps from a minimum climb, for eigenvalues in v are 1/4 at least."""
    scale = float(teacher.output @ teacher.output) * (teacher.output.size + 1)
    lowest, local = global_minimum(teacher, 3.0), spurious_minimum(teacher, 3.0)
    pass_ = saddle(teacher, beside(teacher), 3.0)
    for at in (lowest, local, pass_):
        assert np.abs(output_gradient(at)).max() <= 2.0**-46 * math.sqrt(scale)
        assert np.linalg.norm(filter_gradient(at)) <= 2.0**-46 * scale
        assert np.linalg.norm(relu_gradient(at)) <= 2.0**-44 * scale
    assert loss(lowest) <= 2.0**-50 * scale and loss(local) > 1e-6 * scale
    assert opening(lowest) > 0 and opening(local) > 0
    values = np.linalg.eigvalsh(hessian(pass_))
    assert (values < 0).sum() == 1 and values[0] < -1e-6 * np.abs(values).max()
    draws = np.random.default_rng(1)
    for at in (lowest, local):
        for _ in range(20):
            step = 1e-4 * opening(at) / (1 + scale) * draws.standard_normal(at.student.output.size)
            turn = 1e-4 * draws.standard_normal(at.student.filter.size)
            near = Layer(at.student.output + step, at.student.filter + turn)
            assert loss(Setting(teacher, near)) > loss(at)


@pytest.mark.parametrize("teacher", WITHOUT)
def test_without_the_condition_the_opposite_filter_is_no_minimum(teacher):
    """At t = pi with d/dv = 0 the loss falls as the filter turns away; for one patch the two sides
    of the condition are equal, v(pi) is 0 and the loss is level."""
    slope = opening(Setting(teacher, Layer(best_output(teacher, math.pi), -teacher.filter)))
    assert slope == 0 if teacher.output.size == 1 else slope < 0
    with pytest.raises(ValueError, match="spurious minimum needs"):
        spurious_minimum(teacher)
    with pytest.raises(ValueError, match="spurious minimum needs"):
        saddle_angle(teacher)


def test_hessian_by_differences():
    """The loss is bilinear in (v, t) up to its quadratic part in v: second differences are exact
    up to rounding, 2**-52 times 16 over h**2."""
    h, teacher = 1e-2, TEACHER
    base = INSTANCE.student.output

    def value(x):
        v, angle = base + x[:-1], 1.0 + x[-1]
        side = at_angle(teacher, angle, beside(teacher))
        return loss(Setting(teacher, Layer(v, side.student.filter)))

    eye = h * np.eye(5)
    found = [
        [(value(a + b) - value(a - b) - value(b - a) + value(-a - b)) / (4 * h * h) for b in eye]
        for a in eye
    ]
    assert np.abs(np.array(found) - hessian(INSTANCE)).max() <= 64 * 2.0**-52 / h**2


@pytest.mark.parametrize("teacher", WITH[:20])
def test_who_rests_at_the_spurious_minimum(teacher):
    """Size along w by the closed form, and 0 for surrogates that vanish below the threshold."""
    at = spurious_minimum(teacher, 0.7)
    n = at.student.filter / 0.7
    scale = float(teacher.output @ teacher.output) * (teacher.output.size + 1)
    for surrogate in (*SIDES, *BOTH):
        found, size = coarse_gradient(at, surrogate), size_at_spurious(teacher, surrogate, 0.7)
        assert np.abs(found - size * n).max() <= 10 * 2.0**-46 * scale
        if surrogate in SIDES or teacher.output.size == 1:
            assert size == 0
        else:
            assert size > 1e-6 * identity_size_at_spurious(teacher)
    assert abs(np.linalg.norm(identity_gradient(at)) - identity_size_at_spurious(teacher)) <= (
        2.0**-46 * scale
    )


def test_the_ratio_of_the_relu_is_bounded():
    """At random points, and beside every critical point."""
    points = list(settings(500, 21))
    for teacher in WITH:
        points += [at_angle(teacher, t, beside(teacher)) for t in (1e-3, math.pi - 1e-3)]
    ratios = [instability_ratio(at, RELU) / relu_ratio_bound(at) for at in points]
    assert 0.5 < max(ratios) <= 1


@pytest.mark.parametrize("surrogate", BOTH)
def test_the_ratio_of_two_sided_surrogates_is_not(surrogate):
    """Towards the spurious minimum it grows like 1 / (pi - t), to within 5% from 1e-4 to 1e-5."""
    far, near = (
        instability_ratio(at_angle(TEACHER, math.pi - e, beside(TEACHER)), surrogate)
        for e in (1e-4, 1e-5)
    )
    assert near > 0.5 and abs(near / far / 10 - 1) <= 0.05
    sided = instability_ratio(at_angle(TEACHER, math.pi - 1e-5, beside(TEACHER)), CLIPPED_RELU)
    assert sided < 1e-3


def test_the_bound_on_d():
    """abs(1 - 2t/pi - cos t) <= (2 / pi) sin t, on a grid; both are 0 at the ends."""
    t = np.linspace(0, math.pi, 10_001)
    assert (np.abs(1 - 2 * t / math.pi - np.cos(t)) <= 2 / math.pi * np.sin(t) + 1e-15).all()


def test_a_direction_beside_is_needed():
    with pytest.raises(ValueError, match="not along it"):
        at_angle(TEACHER, 1.0, 2 * TEACHER.filter)
