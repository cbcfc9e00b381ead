"""Derivatives of training in the schedule of the noise, checked and used [spallanzani2022]."""

from __future__ import annotations

import dataclasses

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qpapers.spallanzani2022 import hypergradient_network as network
from qtheory.gradients.levels.hypergradient import (
    Phi,
    curvature,
    density_derivative,
    forward_mode,
    hard_validation,
    learn,
    regression,
    reverse_mode,
    scale_slopes,
    scales,
    slope_in_scale_of_slope,
    train,
    validation,
)
from qtheory.noise import (
    Cauchy,
    Gaussian,
    Logistic,
    Smoothing,
    StudentT,
    Triangular,
    Uniform,
    with_scale,
)
from qtheory.stairs.smoothing import slope
from qtheory.stairs.stair import Stair

TEST = "tests/theory/gradients/levels/test_hypergradient.py"
NETWORK_TEST = "tests/papers/test_hypergradient_network.py"
UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.3, 0.5))
FAMILIES: tuple[Smoothing, ...] = (Gaussian(1.0), Logistic(1.0), StudentT(3.0, 1.0), Cauchy(1.0))
PHI = Phi(0.6, 1.5)
SAME = np.array([[0.5, 2.0], [0.5, 2.0]])


def second_derivatives() -> Values:
    """Largest errors of d2/dx2 and d2/dx ds against central differences of the slope over their
    largest value; four families, scale .4, h = 1e-5."""
    h, x = 1e-5, np.linspace(-2.0, 2.0, 41)

    def errors(noise: Smoothing) -> tuple[float, float]:
        at = with_scale(noise, 0.4)
        by_x = (slope(UNEVEN, at, x + h) - slope(UNEVEN, at, x - h)) / (2 * h)
        up, down = (slope(UNEVEN, with_scale(noise, 0.4 + e), x) for e in (h, -h))
        pairs = (
            (by_x, curvature(UNEVEN, at, x)),
            ((up - down) / (2 * h), slope_in_scale_of_slope(UNEVEN, at, x)),
        )
        first, second = (float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
        return first, second

    rows = np.array([errors(noise) for noise in FAMILIES])
    return tuple(float(v) for v in rows.max(axis=0))


def refused() -> Values:
    """How many of uniform and triangular noise are refused."""
    count = 0
    for noise in (Uniform(1.0), Triangular(1.0)):
        try:
            slope_in_scale_of_slope(UNEVEN, noise, np.zeros(1))
        except ValueError:
            count += 1
    return (float(count),)


def against_differences() -> Values:
    """Largest error of the hyper-gradient over its larger component, seeds 1, 3, 4; h = 1e-5."""

    def error(seed: int) -> float:
        toy, h = regression(seed), 1e-5

        def loss(beta: float, alpha: float) -> float:
            return validation(toy, train(toy, scales(toy, Phi(beta, alpha)))[-1])

        (beta, alpha), found = PHI, forward_mode(toy, PHI).hypergradient
        measured = np.array(
            [
                loss(beta + h, alpha) - loss(beta - h, alpha),
                loss(beta, alpha + h) - loss(beta, alpha - h),
            ]
        ) / (2 * h)
        return float(np.abs(found - measured).max() / np.abs(found).max())

    return (largest(map(error, (1, 3, 4))),)


def two_modes() -> Values:
    """Largest difference of forward and reverse mode over the larger component, seeds 1, 3, 4."""

    def error(seed: int) -> float:
        toy = regression(seed)
        found = forward_mode(toy, PHI).hypergradient
        back = reverse_mode(toy, scales(toy, PHI)) @ scale_slopes(toy, PHI)
        return float(np.abs(found - back).max() / np.abs(found).max())

    return (largest(map(error, (1, 3, 4))),)


def used() -> Values:
    """Validation loss after four changes of the schedule over that before, seeds 1 to 5."""
    found = [learn(regression(seed), PHI, 4, 0.3) for seed in range(1, 6)]
    return tuple(each.losses[-1] / each.losses[0] for each in found)


def flat() -> Values:
    """Of 200 small changes of beta between .05 and 2, those that change the hard validation loss,
    seeds 1 to 4."""

    def count(seed: int) -> float:
        toy = regression(seed)
        betas = np.linspace(0.05, 2.0, 201)
        runs = [train(toy, scales(toy, Phi(float(b), 1.5)))[-1] for b in betas]
        losses = np.array([hard_validation(toy, w) for w in runs])
        return float((np.diff(losses) != 0).sum())

    return tuple(count(seed) for seed in (1, 2, 3, 4))


def layers_against_differences() -> Values:
    """Largest error of the four derivatives over the largest, seeds 1 to 3; h = 1e-5."""

    def error(seed: int) -> float:
        net, h = network.teacher(seed), 1e-5
        found = network.train(net, SAME).hypergradient
        steps = h * np.eye(4).reshape(4, 2, 2)
        ends = [
            (network.train(net, SAME + e).loss, network.train(net, SAME - e).loss) for e in steps
        ]
        measured = np.array([(up - down) / (2 * h) for up, down in ends]).reshape(2, 2)
        return float(np.abs(found - measured).max() / np.abs(found).max())

    return (largest(map(error, (1, 2, 3))),)


def layers_used() -> Values:
    """Loss after six changes over that before, seeds 1 to 8: largest; the hard loss: how many
    fell, how many rose; and seeds in which layer 1 has the smaller mean scale at the end."""
    nets = [network.teacher(seed) for seed in range(1, 9)]
    found = [network.learn(net, SAME, 6, 0.4) for net in nets]
    ratio = largest(each.losses[-1] / each.losses[0] for each in found)
    hard = np.array([each.hard[-1] - each.hard[0] for each in found])
    means = [
        network.scales(n, each.phis[-1]).mean(axis=0) for n, each in zip(nets, found, strict=True)
    ]
    first = sum(bool(m[0] < m[1]) for m in means)
    return ratio, float((hard < 0).sum()), float((hard > 0).sum()), float(first)


def exploded() -> Values:
    """Largest derivative at learning rate 1 and floor .05 over that at .3 and .1, seeds 1 to 8."""

    def explosion(**changes: float) -> float:
        nets = [dataclasses.replace(network.teacher(seed), **changes) for seed in range(1, 9)]
        return largest(float(np.abs(network.train(n, SAME).hypergradient).max()) for n in nets)

    return (explosion(learning_rate=1.0, floor=0.05) / explosion(),)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="hyper-mixed",
        statement="d2/dx2 E q = sum d_i f'(u_i) and d2/dx ds E q = -sum d_i (f(u_i) + u_i f'(u_i)) "
        "/ s, f the density at scale s: largest error against central differences of the slope, "
        "over the largest value; normal, logistic, Student, Cauchy",
        code=slope_in_scale_of_slope,
        test=f"{TEST}::test_second_derivatives_are_central_differences",
        printed="0 to 1e-7",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=1e-7,
        why="step 1e-5: h^2 / 6 times a ratio of derivatives below 100 / s^2 = 600 is 1e-8; "
        "rounding 1e-15 / h is 1e-10",
        run=second_derivatives,
    ),
    Claim(
        id="hyper-refused",
        statement="Densities that jump or have a kink have no such derivative: of uniform and "
        "triangular noise, how many are refused",
        code=density_derivative,
        test=f"{TEST}::test_bounded_noises_are_refused",
        printed="2 (ours)",
        number="ours",
        expected=(2.0,),
        tolerance=0.0,
        why="a count",
        run=refused,
    ),
    Claim(
        id="hyper-forward",
        statement="J' = J - η (dg/dw J + dg/ds ds/dφ), 8 weights, 200 iterations, φ = (β, α) of "
        "s = 0.05 + β (1 - k/T)^α: error against central differences over the larger component, "
        "largest of 3 data sets",
        code=forward_mode,
        test=f"{TEST}::test_hypergradients_are_complex_steps",
        printed="0 to 1e-5; 1e-11 against complex steps, in the test",
        number="noted",
        expected=(0.0,),
        tolerance=1e-5,
        why="h^2 / 6 times a ratio of derivatives in φ below 1e4 is 2e-7; rounding 1e-16 / h over "
        "components above 1e-3 is 1e-8",
        run=against_differences,
    ),
    Claim(
        id="hyper-reverse",
        statement="The adjoint a = a' - η (dg/dw)' a', dL/ds_k = -η a' dg/ds gives the same: "
        "difference over the larger component, largest of 3 data sets",
        code=reverse_mode,
        test=f"{TEST}::test_forward_and_reverse_mode_agree",
        printed="0 to 1e-12",
        number="noted",
        expected=(0.0,),
        tolerance=1e-12,
        why="200 products of 8 terms in another order: 1600 roundings of 2^-53 are 2e-13",
        run=two_modes,
    ),
    Claim(
        id="hyper-used",
        statement="Four changes of (log β, log α) along the hyper-gradient reduce the validation "
        "loss in expectation: loss over that before, five data sets",
        code=learn,
        test=f"{TEST}::test_learning_a_schedule_reduces_the_loss",
        printed="below 1 (ours); asked for: 0.95, 0.95, 0.95, 0.95, 0.95",
        number="ours",
        expected=(0.95,) * 5,
        tolerance=0.0,
        why="a fall of 5 % is far above rounding",
        run=used,
        guard=True,
        relation="<=",
        slow=True,
    ),
    Claim(
        id="hyper-flat",
        statement="The hard loss is piecewise constant in the schedule, without hyper-gradient: "
        "of 200 small changes of β between 0.05 and 2, those that change it, four data sets",
        code=hard_validation,
        test=f"{TEST}::test_deployed_weights_do_not_see_a_small_change",
        printed="few (derived); 1, 0, 5, 3 seen first",
        number="ours",
        expected=(1.0, 0.0, 5.0, 3.0),
        tolerance=2.0,
        why="counts; two jumps between neighbours, or one at a point, come and go by rounding",
        run=flat,
        guard=True,
        slow=True,
    ),
    Claim(
        id="hyper-layers",
        statement="Two layers of ternary weights and activations, (β, α) of each: error of the "
        "four derivatives by tangents against central differences, over the largest, 3 data sets",
        code=network.train,
        test=f"{NETWORK_TEST}::test_hypergradients_of_layers_are_central_differences",
        printed="0 to 1e-5",
        number="noted",
        expected=(0.0,),
        tolerance=1e-5,
        why="as for 8 weights",
        run=layers_against_differences,
        slow=True,
    ),
    Claim(
        id="hyper-layers-used",
        statement="Six changes of the four parameters from equal schedules, 8 data sets: largest "
        "loss over that before; the deployed loss falls in, rises in so many; layer 1 ends with "
        "the smaller mean scale in so many. Learnt schedules lower the loss in expectation; they "
        "do not help the deployed one for certain, and do not prefer input first: rather the last",
        code=network.learn,
        test=f"{NETWORK_TEST}::test_learning_schedules_of_layers_reduces_the_loss",
        printed="below 1; not in all; not in all (ours); asked for: 0.999, 6, 6, 6",
        number="ours",
        expected=(0.999, 6.0, 6.0, 6.0),
        tolerance=0.0,
        why="counts of 8; six or fewer are no certain majority: 7 or 8 have a chance of 3.5 %",
        run=layers_used,
        guard=True,
        relation="<=",
        slow=True,
    ),
    Claim(
        id="hyper-explode",
        statement="Fast and sharp training has hyper-gradients that explode: largest at learning "
        "rate 1 and floor 0.05 over largest at 0.3 and 0.1, 8 data sets",
        code=network.train,
        test=f"{NETWORK_TEST}::test_hypergradients_of_layers_are_central_differences",
        printed="hundreds and more (ours); asked for: 100",
        number="ours",
        expected=(100.0,),
        tolerance=0.0,
        why="a bound: the derivatives multiply 200 Jacobians, so the size is that of the data "
        "sets; last bits move its seventh digit",
        run=exploded,
        relation=">=",
        slow=True,
    ),
)
