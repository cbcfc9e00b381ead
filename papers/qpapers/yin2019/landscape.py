"""Critical points of the layer of thresholds [yin2019] and who rests there."""

from __future__ import annotations

import math

import numpy as np

from qpapers.extremes import largest, least
from qpapers.ledger import Claim, Values
from qpapers.yin2019.samples import INSTANCE, settings
from qtheory.gradients.coarse.formulas import (
    Filter,
    Layer,
    Products,
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

TEST = "tests/theory/gradients/coarse/test_landscape.py"
TEACHER = INSTANCE.teacher


def beside(teacher: Layer) -> Filter:
    """A direction that is not along the teacher's filter."""
    return teacher.filter[::-1] + np.arange(teacher.filter.size) + 1.0


def teachers() -> tuple[list[Layer], list[Layer]]:
    """Of 100 random ones, those with a spurious minimum and those without."""
    drawn = [at.teacher for at in settings(100, 3)]
    return [t for t in drawn if has_spurious_minimum(t)], [
        t for t in drawn if not has_spurious_minimum(t)
    ]


def size(teacher: Layer) -> float:
    """(m + 1)|v*|**2, the unit of losses."""
    return float(teacher.output @ teacher.output) * (teacher.output.size + 1)


def critical() -> Values:
    """Largest gradients, true and ReLU's, over size: global minimum, spurious minimum, saddle."""
    found, _ = teachers()
    points = (
        [global_minimum(t) for t in found],
        [spurious_minimum(t) for t in found],
        [saddle(t, beside(t)) for t in found],
    )

    def worst(at: Setting) -> float:
        gradients = (output_gradient(at), filter_gradient(at), relu_gradient(at))
        return largest(float(np.linalg.norm(g)) for g in gradients) / (1.0 + size(at.teacher))

    return tuple(largest(map(worst, kind)) for kind in points)


def condition() -> Values:
    """Of teachers with the condition: least opening at the spurious point over size, and least
    and largest number of negative eigenvalues at saddles. Without it: largest opening."""
    found, rest = teachers()
    openings = [opening(spurious_minimum(t)) / size(t) for t in found]
    ways = [int((np.linalg.eigvalsh(hessian(saddle(t, beside(t)))) < 0).sum()) for t in found]
    closed = [opening(Setting(t, Layer(best_output(t, math.pi), -t.filter))) for t in rest]
    return least(openings) > 0, least(ways), largest(ways), largest(closed) <= 0


def valley() -> Values:
    """Angle where the loss on v(t) is largest, on 20001 angles; the formula; loss there and at
    pi. v* = (1, -1, 2, 1/2)."""
    v, angles = TEACHER.output, np.linspace(0.0, math.pi, 20_001)
    k = 1.0 - 2.0 * angles / math.pi
    total = float(v.sum())
    best = k[:, None] * v + total * (1.0 - k[:, None]) / (v.size + 1)
    losses = (float(v @ v) + total**2 - k * (best @ v) - best.sum(axis=1) * total) / 8.0
    top = saddle(TEACHER, beside(TEACHER))
    return (
        float(angles[losses.argmax()]),
        saddle_angle(TEACHER),
        loss(top),
        loss(spurious_minimum(TEACHER)),
    )


def h_on_best_outputs() -> Values:
    """Largest abs(h - 2 (1 - t/pi) v'v*) over size, 100 teachers, four angles; h at the saddle
    and at the spurious minimum."""
    drawn = [at.teacher for at in settings(100, 3)]
    gaps: list[float] = []
    for teacher in drawn:
        for angle in (0.0, 0.4, 2.0, math.pi):
            p = products(at_angle(teacher, angle, beside(teacher)))
            gaps.append(abs(p.h - 2.0 * (1.0 - angle / math.pi) * p.inner) / size(teacher))
    at_saddle = products(saddle(TEACHER, beside(TEACHER))).h
    return largest(gaps), abs(at_saddle), abs(products(spurious_minimum(TEACHER)).h)


def identity_size() -> Values:
    """Length of the identity's coarse gradient at the spurious minimum of the instance; largest
    difference of formula and length over size, all teachers that have one."""
    found, _ = teachers()
    gaps = [
        abs(float(np.linalg.norm(identity_gradient(spurious_minimum(t)))) - closed) / size(t)
        for t in found
        for closed in [identity_size_at_spurious(t)]
    ]
    length = float(np.linalg.norm(identity_gradient(spurious_minimum(TEACHER))))
    return length, largest(gaps)


def resting() -> Values:
    """Size along w at the spurious minimum of the instance, nine surrogates."""
    at = spurious_minimum(TEACHER)
    surrogates = (
        *(RELU, CLIPPED_RELU, Window(0.0, 0.1, 10.0)),
        *(IDENTITY, Gaussian(0.5), Gaussian(0.1), Uniform(0.5), Logistic(0.3)),
    )
    return tuple(float(coarse_gradient(at, s) @ at.student.filter) for s in surrogates)


def resting_formula() -> Values:
    """Largest difference of closed size and coarse gradient over size, two-sided surrogates."""
    found, _ = teachers()
    gaps: list[float] = []
    for teacher in found[:20]:
        at = spurious_minimum(teacher, 0.7)
        n = at.student.filter / 0.7
        for surrogate in (IDENTITY, Gaussian(0.5), Logistic(0.3), Window(-0.1, 1.0)):
            gap = coarse_gradient(at, surrogate) - size_at_spurious(teacher, surrogate, 0.7) * n
            gaps.append(float(np.abs(gap).max()) / size(teacher))
    return (largest(gaps),)


def ratios() -> Values:
    """Ratio at pi - 1e-4 and its growth from pi - 1e-3: identity, normal 1/10; ReLU's over its
    bound at most of 300 random points and beside the minima."""
    found, _ = teachers()
    near = [at_angle(TEACHER, math.pi - e, beside(TEACHER)) for e in (1e-3, 1e-4)]
    grown = [
        instability_ratio(near[1], s) / instability_ratio(near[0], s)
        for s in (IDENTITY, Gaussian(0.1))
    ]
    points = list(settings(300, 21))
    points += [at_angle(t, math.pi - 1e-3, beside(t)) for t in found]
    bounded = largest(instability_ratio(at, RELU) / relu_ratio_bound(at) for at in points)
    return instability_ratio(near[1], IDENTITY), grown[0], grown[1], bounded <= 1.0


def ratio_in_closed_form(e: float, std: float) -> float:
    """The ratio on v(pi - e), |w| = 1, from scalars alone; std = inf is the identity.

    There d/dv is 0. With rho**2 = std**2 + 1, tau = std / rho, kappa**2 = sin**2 + tau**2 cos**2
    2 pi E g is, for the normal law, |v|**2 std / rho**2 + v'v* tau**2 cos e / (rho kappa) along w
    and v'v* sin e / (rho kappa) across, which is against d/dw = v'v* / (2 pi).
    """
    v, k = TEACHER.output, -1.0 + 2.0 * e / math.pi
    own, total, m = float(v @ v), float(v.sum()), v.size
    square = k * k * own + total**2 * (1 - k) * (2 * k / (m + 1) + m * (1 - k) / (m + 1) ** 2)
    inner = k * own + total**2 * (1 - k) / (m + 1)
    if math.isinf(std):
        top = square**2 + inner**2 + 2.0 * square * inner * math.cos(e)
        return math.sqrt(2.0 * math.pi) * top / (inner**2 * math.sin(e))
    rho = math.hypot(std, 1.0)
    kappa = math.hypot(math.sin(e), std / rho * math.cos(e))
    along = square * std / rho**2 + inner * (std / rho) ** 2 * math.cos(e) / (rho * kappa)
    across = inner * math.sin(e) / (rho * kappa)
    return (along**2 + across**2) / (across * inner)


RATIO = ratio_in_closed_form(1e-4, math.inf)
GROWTHS = tuple(
    ratio_in_closed_form(1e-4, std) / ratio_in_closed_form(1e-3, std) for std in (math.inf, 0.1)
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="landscape-critical",
        statement="Global minimum, spurious minimum and saddle: largest of df/dv, df/dw and the "
        "ReLU's coarse gradient over 1 + (m + 1)‖v*‖^2, teachers of 100 that have all three",
        code=saddle,
        test=f"{TEST}::test_points_are_critical",
        printed="0, 0, 0",
        number="noted",
        expected=(0, 0, 0),
        tolerance=2.0**-44,
        why="an angle rounded by 2^-50 and 100 roundings of 2^-53 of terms below that unit",
        run=critical,
    ),
    Claim(
        id="landscape-condition",
        statement="S^2 < (m + 1)‖v*‖^2 / 2 decides: with it the loss rises from the spurious point "
        "in every direction (1 = yes) and saddles have one way down (least, most); without it the "
        "loss does not rise (for m = 1 the two sides are equal, v = 0 and the loss is level)",
        code=has_spurious_minimum,
        test=f"{TEST}::test_without_the_condition_the_opposite_filter_is_no_minimum",
        printed="yes, 1, 1, yes",
        number="noted",
        expected=(1, 1, 1, 1),
        tolerance=0.0,
        why="counts",
        run=condition,
    ),
    Claim(
        id="landscape-saddle",
        statement="v* = (1, -1, 2, 1/2): largest loss on v(t) among 20001 angles, and "
        "(pi/2)(m + 1)‖v*‖^2 / ((m + 1)‖v*‖^2 - S^2) = 5 pi / 8; loss there and at t = pi",
        code=saddle_angle,
        test=f"{TEST}::test_the_loss_on_best_outputs_has_a_second_valley_iff_the_condition_holds",
        printed="5 pi / 8 twice; 125/128, 5/8 (derived)",
        number="ours",
        expected=(5 * math.pi / 8, 5 * math.pi / 8, 125 / 128, 5 / 8),
        tolerance=1e-12,
        why="5/8 of 20000 is 12500: the angle is on the grid; 10 roundings of numbers below 40",
        run=valley,
        printed_of="5*pi/8",
    ),
    Claim(
        id="landscape-h",
        statement="h = 2 (1 - t/pi) v'v* wherever df/dv = 0, so h = 0 at saddles and at the "
        "spurious minimum: largest difference over (m + 1)‖v*‖^2 of 100 teachers, h at both",
        code=Products,
        test=f"{TEST}::test_best_output_weights_solve_the_equations",
        printed="0, 0, 0",
        number="noted",
        expected=(0, 0, 0),
        tolerance=1e-13,
        why="100 roundings of 2^-53 of terms that add to at most 10 units",
        run=h_on_best_outputs,
    ),
    Claim(
        id="landscape-identity",
        statement="The identity's coarse gradient at the spurious minimum has length "
        "2 (m - 1) S^2 / (sqrt(2 pi) (m + 1)^2): 3/2 / sqrt(2 pi) at the instance; largest "
        "difference over (m + 1)‖v*‖^2, other teachers",
        code=identity_size_at_spurious,
        test=f"{TEST}::test_who_rests_at_the_spurious_minimum",
        printed="0.598413 (derived), 0",
        number="ours",
        expected=(1.5 / math.sqrt(2 * math.pi), 0),
        tolerance=1e-13,
        why="100 roundings of 2^-53 of terms that add to at most 10 units",
        run=identity_size,
    ),
    Claim(
        id="landscape-rest",
        statement="There the ReLU (as the paper says), the clipped ReLU and any surrogate that is "
        "0 below the threshold rest, symmetric ones do not: size along w for ReLU, clipped ReLU, "
        "uniform noise on (0, 1/10); identity, normal 1/2, 1/10, uniform 1/2, logistic .3",
        code=size_at_spurious,
        test=f"{TEST}::test_who_rests_at_the_spurious_minimum",
        printed="0, 0, 0; 1.5 / sqrt(2 pi), .095493, .023637, .070315, .094118 (derived)",
        number="ours",
        expected=(0, 0, 0, 0.598413, 0.095493, 0.023637, 0.070315, 0.094118),
        tolerance=1e-6,
        why="six decimals are given",
        run=resting,
        printed_of="1.5/sqrt(2*pi)",
    ),
    Claim(
        id="landscape-rest-formula",
        statement="E g = -2 (m - 1) S^2 / (m + 1)^2 E[x m'(‖w‖ x); x < 0] n at the spurious "
        "minimum, any surrogate: largest difference over (m + 1)‖v*‖^2, 20 teachers, ‖w‖ = .7",
        code=size_at_spurious,
        test=f"{TEST}::test_who_rests_at_the_spurious_minimum",
        printed="0 (derived)",
        number="ours",
        expected=(0,),
        tolerance=1e-13,
        why="100 roundings of 2^-53 of terms that add to at most 10 units",
        run=resting_formula,
    ),
    Claim(
        id="landscape-ratio",
        statement="‖E g‖^2 / (‖df/dv‖^2 + <E g, df/dw>) on v(t) at t = pi - e: grows like 1/e for "
        "the identity (value at e = 1e-4; growth from 1e-3) and for normal noise, std 1/10; the "
        "ReLU's is at most max(4 ‖v‖^2 / pi, sqrt(pi/2)(1 + 8/pi^2)‖w‖) (1 = yes; our constant)",
        code=instability_ratio,
        test=f"{TEST}::test_the_ratio_of_the_relu_is_bounded",
        printed="infinite in the limit; 4009.92, 10.02, 9.42 (derived); bounded",
        number="ours",
        expected=(RATIO, *GROWTHS, 1),
        tolerance=1e-6,
        why="angles of 1e-4 are rounded by 1e-12 of themselves, so is a value of 4010; growth is "
        "10 in the limit, 10 / (1 + (2.5 e / std^2)^2) = 9.4 from e = 1e-3, for what is across w",
        run=ratios,
        printed_of="1",
    ),
)
