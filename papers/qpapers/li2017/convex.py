"""Section 4.1 of [li2017]: SR on convex problems, Theorems 1 and 2, and their floor."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qpapers.li2017.convex_bounds import (
    Setting,
    constant_gradient_means,
    convex_rates,
    strongly_convex_rates,
    theorem_1,
    theorem_2,
    two_levels,
)
from qpapers.li2017.simulate import SR, Weights, simulate
from qtheory.chain import stationary_distribution
from qtheory.increments import FiniteIncrements
from qtheory.lattice import Lattice
from qtheory.limits.generator import joint_generator, limit_law, slowed, states_of_product
from qtheory.noise import Gaussian

TEST = "tests/papers/li2017/test_convex.py"
LONG = 100_000
OFFSET = 0.01  # of the minimiser above the lower level, in spacings


def hopping() -> Values:
    """F = abs(w - .01), s = 1, rate .5 / sqrt t, T = 1e5: means of F(w_t) and F(average), minus
    F*. The average exceeds w* in every run but exp(-100) of them."""
    rates = convex_rates(0.5, LONG)
    moments = two_levels(rates, rates)
    upper = float(moments.law.mean())
    mean_loss = upper * (1 - OFFSET) + (1 - upper) * OFFSET
    return mean_loss, moments.mean - OFFSET


def strong_hopping() -> Values:
    """F = abs(e) + mu e**2 / 2, e = w - .01, mu = .01, rates of Theorem 1: E F(average) - F*, and
    the floor. The average is above w* in every run but exp(-100) of them."""
    mu = 0.01
    rates = strongly_convex_rates(mu, LONG)
    up, down = rates * (1 + mu * OFFSET), rates * (1 + mu * (1 - OFFSET))
    moments = two_levels(np.minimum(up, 1.0), np.minimum(down, 1.0))
    square = moments.second - 2 * OFFSET * moments.mean + OFFSET**2
    at = Setting(LONG, 1.0, 1.0 + mu * (1 - OFFSET), strong_convexity=mu)
    return moments.mean - OFFSET + 0.5 * mu * square, theorem_1(at).floor


def hopping_in_ten_dimensions() -> Values:
    """Mean of F(w_t) - F* over sqrt(d) s G / 2 for F the l1 distance, d = 10, G = sqrt d."""
    target, lattice = OFFSET, Lattice(2, 1.0, 0.0)

    def gradient(w: Weights, _: np.random.Generator) -> Weights:
        return np.sign(w - target)

    run = simulate(
        SR,
        gradient,
        lattice,
        np.zeros((100, 10)),
        convex_rates(0.5, 2000),
        np.random.default_rng(4),
        loss=lambda w: np.abs(w - target).sum(axis=1),
    )
    return (float(run.loss_mean.mean()) / 5.0,)


def theorem_1_ratios() -> Values:
    """E F(average) - F* plus 5 standard errors, over the bound: noisy quadratics in 1 and 4
    dimensions, at T = 10, 100, 1000; then the tight example."""
    lattice = Lattice.uniform(-2.0, 2.0, 9)
    ratios = [_quadratic_ratio(lattice, d, t) for d in (1, 4) for t in (10, 100, 1000)]
    found, floor = strong_hopping()
    at = Setting(LONG, 1.0, 2 * floor, strong_convexity=0.01)
    return largest(ratios), found / theorem_1(at).total


def _quadratic_ratio(lattice: Lattice, dimensions: int, iterations: int) -> float:
    target, replicas = 0.3, 400

    def gradient(w: Weights, draws: np.random.Generator) -> Weights:
        return w - target + draws.standard_normal(w.shape)

    start = np.full((replicas, dimensions), -2.0)
    rates = strongly_convex_rates(1.0, iterations)
    run = simulate(SR, gradient, lattice, start, rates, np.random.default_rng(5))
    losses = 0.5 * ((run.visible_mean - target) ** 2).sum(axis=1)
    bound = math.sqrt(dimensions * (2.3**2 + 1.0))  # E abs(g)**2 at the farthest corner
    at = Setting(iterations, lattice.spacing, bound, dimensions, strong_convexity=1.0)
    error = float(losses.std()) / math.sqrt(replicas)
    return (float(losses.mean()) + 5 * error) / theorem_1(at).total


def quadratic_floor() -> Values:
    """E F - F* and (s / 4) E abs(g) under the limit law: F = w**2 / 2, noise of std 1, s = 1/2."""
    lattice, noise = Lattice.uniform(-10.0, 10.0, 41), Gaussian(1.0)
    law = limit_law(lambda w: w, noise, lattice)
    size = noise.excess(lattice.levels) + noise.excess(-lattice.levels)
    return float(law @ lattice.levels**2) / 2, lattice.spacing / 4 * float(law @ size)


HESSIAN = np.array([[1.0, 0.6], [0.6, 1.2]])
PLANE = Lattice.uniform(-4.5, 4.5, 19)


def coupled_quadratic_floor() -> Values:
    """(s / 4) E |g|_1 / (E F - F*) under the limit law, a coupled Hessian in 2 dimensions."""
    target, noises = np.array([0.2, 0.35]), (Gaussian(1.0), Gaussian(0.5))
    points = states_of_product(PLANE, 2)
    g = (points - target) @ HESSIAN
    rates = joint_generator(lambda x: (x - target) @ HESSIAN, noises, PLANE)
    law = stationary_distribution(slowed(rates))
    excess = float(law @ (0.5 * (g * (points - target)).sum(axis=1)))
    size = sum(n.excess(g[:, k]) + n.excess(-g[:, k]) for k, n in enumerate(noises))
    return (PLANE.spacing / 4 * float(law @ size) / excess,)


def lower_bounds() -> Values:
    """(E F - F*) / ((s / 4) E abs(noise)) for curvatures 0.01, 1 and 100, noise of std 1."""
    ratios: list[float] = []
    for curvature, width in ((0.01, 20.0), (1.0, 10.0), (100.0, 2.0)):
        lattice, noise = Lattice.uniform(-width, width, round(4 * width) + 1), Gaussian(1.0)
        law = limit_law(lambda w, h=curvature: h * (w - 0.2), noise, lattice)
        floor = 0.25 * lattice.spacing * 2.0 * float(noise.excess(np.zeros(1))[0])
        ratios.append(0.5 * curvature * float(law @ (lattice.levels - 0.2) ** 2) / floor)
    return tuple(ratios)


def averaging_ratios() -> Values:
    """E F(average) over E F(last) - F* for curvature kappa mu = 1, 2, 4: rates of Theorem 1, exact
    gradients, w* half way between two levels; then both for kappa = 1."""
    rates = strongly_convex_rates(1.0, LONG)
    moments = [two_levels(0.5 * kappa * rates, 0.5 * kappa * rates) for kappa in (1.0, 2.0, 4.0)]
    last = 0.25  # the square of the distance to w*, at either level
    means = [m.second - m.mean + 0.25 for m in moments]
    return *(mean / last for mean in means), 0.5 * last, 0.5 * means[0]


DRIFT, REACHED = 0.15, 40_000


@cache
def linear_losses() -> Values:
    """E F(average) - F* of SR on F = .15 w on [0, 1], g = .15 +- sqrt(1 - .15**2), s = .001,
    rate k / sqrt t, T = 4e4, k = 3 and 5; exact."""
    spread = math.sqrt(1.0 - DRIFT**2)
    coin = FiniteIncrements(np.array([DRIFT - spread, DRIFT + spread]), np.array([0.5, 0.5]))
    line = Lattice.uniform(0.0, 1.0, 1001)
    means = [constant_gradient_means(line, 0, coin, convex_rates(k, REACHED)) for k in (3, 5)]
    return tuple(DRIFT * float(mean.mean()) for mean in means)


def linear_setting(k: float, spacing: float = 1e-3) -> Setting:
    """Theorem 2's constants of that run."""
    return Setting(REACHED, spacing, 1.0, diameter=1.0, rate_constant=k)


def over_theorem_2(*, quoted: bool) -> Values:
    """Those losses over the bound."""
    bounds = [theorem_2(linear_setting(k), quoted=quoted).total for k in (3.0, 5.0)]
    return tuple(loss / bound for loss, bound in zip(linear_losses(), bounds, strict=True))


def flat_share() -> Values:
    """The same loss over c G**2 / sqrt T + s G / 2 on a flatter line, .05 w, k = 1, T = 1e5."""
    spread, length = math.sqrt(1.0 - 0.05**2), LONG
    coin = FiniteIncrements(np.array([0.05 - spread, 0.05 + spread]), np.array([0.5, 0.5]))
    means = constant_gradient_means(
        Lattice.uniform(0.0, 1.0, 1001), 0, coin, convex_rates(1.0, length)
    )
    return (0.05 * float(means.mean()) / (1.0 / math.sqrt(length) + 0.0005),)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="thm-1",
        statement="Theorem 1: E F(average) - F* <= (1 + log(T + 1)) G^2 / (2 μ T) + sqrt(d) s G / "
        "2; ratio of the sides, the largest of six noisy quadratics, and F = abs(e) + μ e^2 / 2",
        code=theorem_1,
        test=f"{TEST}::test_theorem_1_holds_on_every_example",
        printed="at most 1",
        number="noted",
        expected=(1.0, 1.0),
        tolerance=0.0,
        why="a bound; five standard errors are added to what was measured",
        run=theorem_1_ratios,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="thm-1-floor",
        statement="The floor s G / 2 is attained: F = abs(w - s / 100), η = 1 / (2 sqrt t), T = "
        "10^5: mean of F(w_t) - F*, and F(average) - F*",
        code=two_levels,
        test=f"{TEST}::test_the_floor_of_theorem_1_is_attained",
        printed="0.498, 0.488 (one run) against 0.5",
        number="noted",
        expected=(0.498, 0.488),
        tolerance=0.0324,
        why="the std of F(average) between runs, from its exact second moment; ours is the mean",
        run=hopping,
    ),
    Claim(
        id="thm-1-floor-strong",
        statement="Also under strong convexity: F = abs(e) + μ e^2 / 2, e = w - s / 100, μ = 0.01, "
        "rates of Theorem 1: F(average) - F*, against a floor of 0.505",
        code=two_levels,
        test=f"{TEST}::test_the_floor_of_theorem_1_is_attained",
        printed="0.486 (one run)",
        number="noted",
        expected=(0.486,),
        tolerance=0.0352,
        why="the std of F(average) between runs, from its exact second moment; ours is the mean",
        run=lambda: strong_hopping()[:1],
        guard=True,
    ),
    Claim(
        id="thm-1-dimensions",
        statement="Also in d = 10 dimensions: mean of F(w_t) - F* over sqrt(d) s G / 2, F the l1 "
        "distance",
        code=simulate,
        test=f"{TEST}::test_the_floor_of_theorem_1_is_attained",
        printed="1",
        number="noted",
        expected=(1.0,),
        tolerance=0.03,
        why="1,000 weights, each with 2000 / (2 sqrt 2000) = 22 independent hops: five times "
        "0.98 / sqrt(22,000)",
        run=hopping_in_ten_dimensions,
    ),
    Claim(
        id="quadratic-floor",
        statement="Any quadratic, η → 0: E F(w) - F* = (s / 4) E abs(g), at most half the floor of "
        "Theorem 1; both sides for F = w^2 / 2, noise of std 1, s = 1/2",
        code=limit_law,
        test=f"{TEST}::test_on_quadratics_the_floor_is_a_quarter_of_the_gradient",
        printed="0.1101832 and 0.1101832",
        number="noted",
        expected=(0.1101832, 0.1101832),
        tolerance=1e-7,
        why="seven decimals are given",
        run=quadratic_floor,
    ),
    Claim(
        id="quadratic-floor-2d",
        statement="The same in 2 dimensions, coupled Hessian, l1 norm of g: ratio of the sides",
        code=joint_generator,
        test=f"{TEST}::test_on_quadratics_the_floor_is_a_quarter_of_the_gradient",
        printed="1 (0.187366794 on both sides, for constants that are not recorded)",
        number="noted",
        expected=(1.0,),
        tolerance=1e-9,
        why="the ends of the 19 by 19 lattice are 8 stds away: exp(-32), times 1,000",
        run=coupled_quadratic_floor,
    ),
    Claim(
        id="review-lower-bound",
        statement="What the reviewers asked for, a lower bound: on any quadratic with symmetric "
        "noise, SR keeps E F(w) - F* >= (s / 4) E of the noise's l1 norm, for every small η; ratio "
        "at curvatures 0.01, 1, 100",
        code=limit_law,
        test=f"{TEST}::test_on_quadratics_the_floor_is_a_quarter_of_the_gradient",
        printed="at least 1 (Jensen; ours)",
        number="ours",
        expected=(1.0, 1.0, 1.0),
        tolerance=1e-9,
        why="rounding of 81 terms",
        run=lower_bounds,
        guard=True,
        relation=">=",
    ),
    Claim(
        id="thm-1-average",
        statement="Rates of Theorem 1, curvature κ μ: E F(average) - F* tends to 1 / (1 + κ) of "
        "the last iterate's; κ = 1, 2, 4, then last and average for κ = 1",
        code=two_levels,
        test=f"{TEST}::test_averaging_gains_one_plus_the_condition_number",
        printed="0.502, 0.334, 0.204; 0.1250 and 0.0633 (measured)",
        number="noted",
        expected=(1 / 2, 1 / 3, 1 / 5, 0.125, 0.0625),
        tolerance=1e-4,
        why="the first of 10^5 iterations are not stationary: a few 1 / T",
        run=averaging_ratios,
        printed_of="1/2, 1/3, 1/5, 1/8, 1/16",
    ),
    Claim(
        id="thm-2-example",
        statement="Theorem 2's counterexample, F = 0.15 w on [0, 1], g = 0.15 ± 0.989, s = 0.001, "
        "η = k / sqrt t, T = 40,000: E F(average) - F* for k = 3 and 5, exact",
        code=constant_gradient_means,
        test=f"{TEST}::test_the_counterexample_to_theorem_2_as_quoted",
        printed="0.01185 (s.e. 1e-5), 0.01861 (s.e. 2e-5)",
        number="noted",
        expected=(0.01185, 0.01861),
        tolerance=4e-5,
        why="two standard errors of the runs that gave these numbers",
        run=linear_losses,
        slow=True,
    ),
    Claim(
        id="thm-2-quoted",
        statement="Theorem 2 as quoted (middle term sqrt(T + 1) c G^2 / (2 T), first term D^2 / (c "
        "sqrt T)) is broken by it: measured over bound, k = 3 and 5",
        code=theorem_2,
        test=f"{TEST}::test_the_counterexample_to_theorem_2_as_quoted",
        printed="0.01185 / 0.00967 and 0.01861 / 0.01400: above 1",
        number="noted",
        expected=(0.01185 / 0.00967, 0.01861 / 0.014),
        tolerance=4e-3,
        why="two standard errors of the quoted runs, 2e-5 / 0.0097 and 4e-5 / 0.014",
        run=lambda: over_theorem_2(quoted=True),
        slow=True,
        verdict="holds corrected",
    ),
    Claim(
        id="thm-2",
        statement="Theorem 2 corrected: E F(average) - F* <= D^2 / (2 c sqrt T) + c G^2 / sqrt T + "
        "sqrt(d) s G / 2; measured over bound, k = 3 and 5",
        code=theorem_2,
        test=f"{TEST}::test_the_counterexample_to_theorem_2_as_quoted",
        printed="0.01185 / 0.01633 and 0.01861 / 0.02600: at most 1",
        number="noted",
        expected=(0.01185 / 0.01633, 0.01861 / 0.026),
        tolerance=2e-3,
        why="two standard errors of the quoted runs, 2e-5 / 0.0163 and 4e-5 / 0.026",
        run=lambda: over_theorem_2(quoted=False),
        slow=True,
        verdict="holds corrected",
    ),
    Claim(
        id="thm-2-constant",
        statement="The corrected middle term has the right constant: F(average) - F* tends to c "
        "(G^2 - slope^2) / sqrt T; loss over middle term and floor, slope 0.05, k = 1, T = 10^5",
        code=constant_gradient_means,
        test=f"{TEST}::test_the_counterexample_to_theorem_2_as_quoted",
        printed="toward 1; half of it would be 0.5; asked for: 0.75",
        number="ours",
        expected=(0.75,),
        tolerance=0.0,
        why="a bound: at this T no more than a quarter could be cut",
        run=flat_share,
        guard=True,
        relation=">=",
        verdict="holds corrected",
        slow=True,
    ),
)
