"""The critical points of the loss of one layer of thresholds, and coarse gradients at them.

The letters are those of `formulas` [yin2019]; m is the number of patches, S = 1'v*. For a fixed
angle t the best output weights are v(t) = (I + 11')^-1 ((1 - 2t / pi) I + 11') v*, and on them

    h = 2 (1 - t / pi) v'v*.

    global minimum   t = 0, v = v*
    spurious         t = pi, v = v(pi) = 2 S / (m + 1) - v*, a local minimum
    saddles          t = (pi / 2) (m + 1)|v*|**2 / ((m + 1)|v*|**2 - S**2), where v'v* = 0

The last two exist iff S**2 < (m + 1)|v*|**2 / 2. Length of w is free at each. At an angle of 0 or
pi the loss has a kink in w; there "critical" means that d/dv is 0 and no direction of w descends.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.gradients.coarse.formulas import (
    Filter,
    Layer,
    Output,
    Setting,
    filter_gradient,
    geometry,
    output_gradient,
    products,
)
from qtheory.gradients.coarse.surrogates import ROOT, Surrogate, coarse_gradient, moments
from qtheory.noise.families import check_positive


def best_output(teacher: Layer, angle: float) -> Output:
    """v(t), by (I + 11')^-1 = I - 11' / (m + 1).

    >>> teacher = Layer(np.array([1.0, -1.0, 2.0, 0.5]), np.array([1.0, 0.0]))
    >>> best_output(teacher, 0.0).tolist(), best_output(teacher, math.pi).tolist()
    ([1.0, -1.0, 2.0, 0.5], [0.0, 2.0, -1.0, 0.5])
    """
    v = teacher.output
    k = 1.0 - 2.0 * angle / math.pi
    return k * v + float(v.sum()) * (1.0 - k) / (v.size + 1)


def has_spurious_minimum(teacher: Layer) -> bool:
    """Whether S**2 < (m + 1)|v*|**2 / 2.

    >>> has_spurious_minimum(Layer(np.ones(1), np.array([1.0, 0.0])))
    False
    """
    v = teacher.output
    return float(v.sum()) ** 2 < 0.5 * (v.size + 1) * float(v @ v)


def _needs_spurious(teacher: Layer) -> None:
    if not has_spurious_minimum(teacher):
        v = teacher.output
        limit = 0.5 * (v.size + 1) * float(v @ v)
        raise ValueError(
            f"a spurious minimum needs (1'v*)**2 below (m + 1)|v*|**2 / 2 = {limit}, "
            f"got {float(v.sum()) ** 2}"
        )


def global_minimum(teacher: Layer, length: float = 1.0) -> Setting:
    """The student that is the teacher, with a filter of another length."""
    scale = length / float(np.linalg.norm(teacher.filter))
    return Setting(teacher, Layer(teacher.output, scale * teacher.filter))


def spurious_minimum(teacher: Layer, length: float = 1.0) -> Setting:
    """Filter opposite to the teacher's. Raises ValueError if there is none, or length <= 0."""
    check_positive("the length of a filter", length)
    _needs_spurious(teacher)
    scale = -length / float(np.linalg.norm(teacher.filter))
    return Setting(teacher, Layer(best_output(teacher, math.pi), scale * teacher.filter))


def saddle_angle(teacher: Layer) -> float:
    """Angle of the saddles, in radians. Raises ValueError if there are none.

    >>> round(saddle_angle(Layer(np.array([1.0, -1.0, 2.0, 0.5]), np.array([1.0, 0.0]))), 6)
    1.963495
    """
    _needs_spurious(teacher)
    v = teacher.output
    top = (v.size + 1) * float(v @ v)
    return 0.5 * math.pi * top / (top - float(v.sum()) ** 2)


def at_angle(teacher: Layer, angle: float, beside: Filter, length: float = 1.0) -> Setting:
    """Best output weights with a filter turned from the teacher's by an angle towards `beside`.

    Raises ValueError if that is along the teacher's filter.
    """
    along = teacher.filter / np.linalg.norm(teacher.filter)
    across = beside - (beside @ along) * along
    size = float(np.linalg.norm(across))
    if size <= 1e-9 * float(np.linalg.norm(beside)):
        raise ValueError(f"a filter turns towards one that is not along it, got {beside}")
    turned = math.cos(angle) * along + math.sin(angle) * across / size
    return Setting(teacher, Layer(best_output(teacher, angle), length * turned))


def saddle(teacher: Layer, beside: Filter, length: float = 1.0) -> Setting:
    """A saddle, its filter turned from the teacher's towards `beside`."""
    return at_angle(teacher, saddle_angle(teacher), beside, length)


def hessian(at: Setting) -> Float[ndarray, "rows rows"]:
    """Second derivatives of the loss in (v, t): (I + 11') / 4 in v, v* / (2 pi) across, 0 in t.

    It has a negative value at every v and t, so a critical point inside (0, pi) is a saddle.
    """
    m = at.student.output.size
    inside = (np.eye(m) + 1.0) / 4.0
    across = at.teacher.output[:, None] / (2.0 * math.pi)
    return np.block([[inside, across], [across.T, np.zeros((1, 1))]])


def opening(at: Setting) -> float:
    """Slope of the loss as w turns away from an angle of 0 or pi, per radian: v'v* / (2 pi) from 0,
    minus that from pi. With d/dv = 0 the point is a local minimum if it is positive."""
    slope = products(at).inner / (2.0 * math.pi)
    return slope if geometry(at).angle < 0.5 * math.pi else -slope


def identity_size_at_spurious(teacher: Layer) -> float:
    """Length of the identity's coarse gradient there: 2 (m - 1) S**2 / (sqrt(2 pi) (m + 1)**2).

    >>> round(identity_size_at_spurious(Layer(np.array([1.0, -1, 2, 0.5]), np.ones(2))), 6)
    0.598413
    """
    m, total = teacher.output.size, float(teacher.output.sum())
    return 2.0 * (m - 1) * total**2 / (ROOT * (m + 1) ** 2)


def size_at_spurious(teacher: Layer, surrogate: Surrogate, length: float = 1.0) -> float:
    """Coarse gradient of any surrogate there, along w; h = 0 makes it

    (|v|**2 + v'v*) (a1 - a0) = -2 (m - 1) S**2 / (m + 1)**2 E[x m'(|w| x); x < 0],

    so it is 0 for surrogates that vanish below the threshold, and for no other that is >= 0 unless
    S = 0. (For m = 1 there is no spurious minimum.)
    """
    a = moments(surrogate, length, math.pi)
    return ROOT * identity_size_at_spurious(teacher) * (a.own - a.all)


def instability_ratio(at: Setting, surrogate: Surrogate) -> float:
    """|E g|**2 / (|d loss/dv|**2 + <E g, d loss/dw>).

    A step of gradient descent lowers the loss by the learning rate times the denominator, less
    terms of second order of the size of the numerator: descent is certain for small
    rates where the ratio is bounded, |w| away from 0 and no kink is crossed. 0 / 0 is 0.
    """
    found = coarse_gradient(at, surrogate)
    top = float(found @ found)
    below = float(found @ filter_gradient(at)) + float(np.sum(output_gradient(at) ** 2))
    return 0.0 if top == 0 else top / below if below else math.inf


def relu_ratio_bound(at: Setting) -> float:
    """max(4 |v|**2 / pi, sqrt(pi / 2) (1 + 8 / pi**2) |w|), at least the ratio of the ReLU.

    Why: h = 4 v'(d/dv) + 2 (1 - t / pi) v'v*, so along n the coarse gradient is
    (4 v'(d/dv) + D v'v*) / (2 sqrt(2 pi)) with D = 1 - 2t / pi - cos t, abs(D) <= (2 / pi) sin t,
    and along u it is sin(t) v'v* / (2 sqrt(2 pi)) in size; (a + b)**2 <= 2 a**2 + 2 b**2.
    (Our constant.)
    """
    square, length = products(at).square, geometry(at).length
    second = math.sqrt(0.5 * math.pi) * (1.0 + 8.0 / math.pi**2) * length
    return max(4.0 * square / math.pi, second)
