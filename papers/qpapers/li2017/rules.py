"""Section 3 of [li2017]: the rules R, SR and BC, their exact laws, and Adam in front of them."""

from __future__ import annotations

import math

import numpy as np

from qpapers.extremes import largest, least
from qpapers.ledger import Claim, Values
from qpapers.li2017 import toy_problem
from qpapers.li2017.simulate import (
    BC_NEAREST,
    BC_STOCHASTIC,
    SR,
    R,
    Weights,
    largest_adam_step,
    simulate,
)
from qtheory.algorithms import (
    DeterministicRounding,
    StochasticRounding,
    deterministic_rounding,
    stochastic_rounding,
)
from qtheory.algorithms.base import law
from qtheory.chain import evolve
from qtheory.increments import ContinuousIncrements, noisy_increments_at_levels
from qtheory.lattice import Lattice
from qtheory.limits.generator import limit_law
from qtheory.noise import Gaussian
from qtheory.optimisers import Adam
from qtheory.transition import weight_chain

RULES = "tests/papers/li2017/test_rules.py"
SR_TEST = "tests/theory/algorithms/test_stochastic_rounding.py"
WIDE = Lattice(size=41, spacing=0.5, low=-10.0)
MIDDLE = 20


def nearest_differs() -> Values:
    """Largest difference between Lattice.nearest and Q_d's formula, ties among the points."""
    points = WIDE.spacing / 8 * np.arange(-150.0, 151.0)
    sign = np.where(points < 0, -1.0, 1.0)
    formula = sign * WIDE.spacing * np.floor(np.abs(points) / WIDE.spacing + 0.5)
    return (float(np.abs(WIDE.levels[WIDE.nearest(points)] - formula).max()),)


def stalled() -> Values:
    """Largest probability of a move under R for increments just below half a spacing."""
    spec, most = DeterministicRounding(WIDE), 0.5 * WIDE.spacing * (1 - 2.0**-20)
    stays = [law(spec, i, d)[i] for i in range(WIDE.size) for d in (-most, most)]
    return (1.0 - float(least(stays)),)


def bias() -> Values:
    """Largest abs(mean move - increment) under SR, in spacings, over a grid of increments."""
    increments = WIDE.spacing * np.linspace(-9.7, 9.7, 389)
    means = law(StochasticRounding(WIDE), MIDDLE, increments) @ (WIDE.levels / WIDE.spacing)
    return (float(np.abs(means - increments / WIDE.spacing).max()),)


def binary_differs() -> Values:
    """Largest difference between P(+1) on {-1, +1} and clip((w + d + 1) / 2, 0, 1)."""
    spec, d = StochasticRounding(Lattice.binary()), np.arange(-64.0, 65.0) / 16
    up = [law(spec, i, d)[:, 1] - np.clip((w + d + 1) / 2, 0, 1) for i, w in ((0, -1.0), (1, 1.0))]
    return (float(np.abs(up).max()),)


def hat_differs() -> Values:
    """Largest difference between the closed form of P(k) and the quadrature of E hat(z - k), 40
    nodes on each side of k, where the hat is straight."""
    increments = ContinuousIncrements(0.3, Gaussian(0.7))
    closed = weight_chain(StochasticRounding(WIDE), [increments] * WIDE.size).off_diagonal[MIDDLE]
    nodes, weights = np.polynomial.legendre.leggauss(40)
    moves = np.array([-3, -2, -1, 1, 2, 3])
    integral = np.zeros(moves.size)
    for side in (-0.5, 0.5):
        z = moves[:, None] + side + 0.5 * nodes
        hat = 1.0 - np.abs(z - moves[:, None])
        density = increments.density(z * WIDE.spacing) * WIDE.spacing
        integral += 0.5 * (hat * density) @ weights
    return (float(np.abs(closed[MIDDLE + moves] - integral).max()),)


def lemma_1_differs() -> Values:
    """Largest abs(E|r|**2 - sum(s abs(u) - u**2)) over 200 increments in 3 dimensions."""
    spec, s = StochasticRounding(WIDE), WIDE.spacing
    u = s * np.random.default_rng(1).uniform(-1, 1, (200, 3))
    u[0], u[1], u[2] = 0.0, s, 0.5 * s
    pmf = law(spec, MIDDLE, u)
    rounding = WIDE.levels - WIDE.levels[MIDDLE] - u[..., None]
    second = (pmf * rounding**2).sum(axis=(1, 2))
    return (float(np.abs(second - (s * np.abs(u) - u**2).sum(axis=1)).max()),)


def lemma_1_ratios() -> Values:
    """E|r|**2 / (sqrt(d) s rate G): equal tiny coordinates, and the worst of random ones."""
    spec, s = StochasticRounding(WIDE), WIDE.spacing

    def ratio(u: np.ndarray) -> float:
        rounding = WIDE.levels - WIDE.levels[MIDDLE] - u[:, None]
        second = float((law(spec, MIDDLE, u) * rounding**2).sum())
        return second / (math.sqrt(len(u)) * s * float(np.linalg.norm(u)))

    draw = np.random.default_rng(2)
    others = [ratio(draw.standard_normal(d) * s * x) for d in (1, 2, 7) for x in (0.01, 1.0, 5.0)]
    return ratio(np.full(7, s * 2.0**-20)), largest(others)


def off_lattice() -> Values:
    """E r**2 / s**2 of a weight that was half way between two levels, and made a step of 2**-30."""
    spec, s = StochasticRounding(WIDE), WIDE.spacing
    after = s * (0.5 + 2.0**-30)
    pmf = law(spec, MIDDLE, after)
    return (float(pmf @ (WIDE.levels - WIDE.levels[MIDDLE] - after) ** 2) / s**2,)


def telescoped() -> Values:
    """Largest abs(mean of g(Q(r)) weighted by rates - (r_1 - r_(T+1)) / sum of rates), mu = 1."""
    target, rates = 0.3, 1.0 / np.arange(2.0, 402.0)
    start = np.linspace(-2.0, 2.0, 50)[:, None]
    worst = 0.0
    for rule in (BC_NEAREST, BC_STOCHASTIC):
        draws = np.random.default_rng(3)
        run = simulate(rule, lambda w, _: w - target, WIDE, start, rates, draws)
        whole = (start - run.latent) / rates.sum()
        worst = largest((worst, float(np.abs(run.weighted_mean - target - whole).max())))
    return (worst,)


def adam_steps() -> Values:
    """Largest step of Adam at rate .01: after one spike, and over all gradients; then R's moves."""
    spike = np.zeros(20_000)
    spike[-1] = 1.0
    grown = np.zeros(20_000)
    growth = 0.999 / 0.9
    grown[-300:] = growth ** np.arange(-299.0, 1.0)
    adam = Adam(0.01, epsilon=1e-30)
    steps = [_last_step(adam, gradients) for gradients in (spike, grown)]
    move = law(DeterministicRounding(Lattice.binary()), 0, steps[1])[1]
    return steps[0], steps[1], float(move)


def _last_step(adam: Adam, gradients: np.ndarray) -> float:
    """The last increment's size, in float64, of a sequence of gradients."""
    first = second = 0.0
    for g in gradients.tolist():
        first = adam.betas[0] * first + (1 - adam.betas[0]) * g
        second = adam.betas[1] * second + (1 - adam.betas[1]) * g * g
    t = len(gradients)
    corrected = math.sqrt(second / (1 - adam.betas[1] ** t))
    return adam.learning_rate * first / (1 - adam.betas[0] ** t) / (corrected + adam.epsilon)


def changed_shares() -> Values:
    """Share of signs that differ after 100 and 3,000 iterations of noise at rate .01: exact chain,
    then 1/2 (1 - exp(-sum of rates E|u| / 2))."""
    rate, noise, binary = 0.01, Gaussian(1.0), Lattice.binary()
    laws = noisy_increments_at_levels(lambda w: 0.0, binary, rate, noise)
    chain = weight_chain(StochasticRounding(binary), laws)
    size = 2.0 * float(noise.excess(np.zeros(1))[0])
    exact = [float(evolve(chain, np.array([1.0, 0.0]), t)[1]) for t in (100, 3000)]
    return *exact, *(0.5 * (1.0 - math.exp(-t * rate * size / 2)) for t in (100, 3000))


def adam_losses() -> Values:
    """Mean loss of SR-ADAM at rates .005 and .01 over that of the limit law with noise of std
    sqrt((1 - beta1) / (1 + beta1)); F = .025 w**2, noise of std 1."""
    cold = limit_law(lambda w: 0.05 * w, Gaussian(math.sqrt(0.1 / 1.9)), WIDE)
    least = 0.025 * float(cold @ WIDE.levels**2)
    found: list[float] = []
    for rate in (0.005, 0.01):
        draws = np.random.default_rng(14)
        start = draws.choice(WIDE.levels, size=(2000, 1), p=cold)
        run = simulate(
            SR,
            lambda w, generator: 0.05 * w + generator.standard_normal(w.shape),
            WIDE,
            start,
            np.full(round(50 / rate), rate),
            draws,
            loss=lambda w: 0.025 * w[:, 0] ** 2,
            adam=Adam(rate),
        )
        found.append(float(run.loss_mean.mean()))
    return tuple(each / least for each in found)


def adam_on_the_toy() -> Values:
    """Mean of f at the visible weights after 8,000 iterations at rate .005 from 4.0: R-ADAM,
    BC-ADAM, SR-ADAM; noise of std 3."""

    def gradient(w: Weights, draws: np.random.Generator) -> Weights:
        return toy_problem.gradient(w) + 3.0 * draws.standard_normal(w.shape)

    values: list[float] = []
    for rule in (R, BC_NEAREST, SR):
        draws, start, rates = np.random.default_rng(15), np.full((400, 1), 4.0), np.full(8000, 5e-3)
        run = simulate(rule, gradient, toy_problem.NARROW, start, rates, draws, adam=Adam(0.005))
        values.append(float(toy_problem.loss(run.visible).mean()))
    return tuple(values)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="eq-3",
        statement="Q_d(w) = sign(w) s floor(abs(w) / s + 1/2), with sign(0) = +1: largest "
        "difference from our nearest level, ties included",
        code=Lattice.nearest,
        test="tests/theory/algorithms/test_deterministic_rounding.py::test_it_is_the_rounding_of_the_sum",
        printed="0 (Eq. 3)",
        number="noted",
        expected=(0.0,),
        tolerance=0.0,
        why="all numbers are multiples of 1/16, which floats hold exactly",
        run=nearest_differs,
    ),
    Claim(
        id="eq-4",
        statement="R stalls: probability of a move while abs(d) < s / 2",
        code=deterministic_rounding.law,
        test="tests/theory/algorithms/test_deterministic_rounding.py::test_below_half_a_spacing_nothing_moves",
        printed="0 (Eq. 4)",
        number="noted",
        expected=(0.0,),
        tolerance=0.0,
        why="the law is one or zero",
        run=stalled,
    ),
    Claim(
        id="eq-5",
        statement="SR is unbiased: largest abs(E move - d) / s away from the ends",
        code=stochastic_rounding.law,
        test=f"{SR_TEST}::test_the_mean_move_is_the_increment_and_the_variance_that_of_a_coin",
        printed="0 (Eq. 5)",
        number="noted",
        expected=(0.0,),
        tolerance=41 * 20 * 2.0**-52,
        why="41 products with levels up to 20 spacings, each rounded twice by 2^-53",
        run=bias,
    ),
    Claim(
        id="eq-6",
        statement="One step of SR under noise with a density: P(k) = E hat(z - k) = second "
        "difference of E(z - x)^+; largest difference of the two",
        code=weight_chain,
        test="tests/theory/test_transition.py::test_closed_forms_are_the_quadrature",
        printed="0 (from Eq. 6; ours)",
        number="ours",
        expected=(0.0,),
        tolerance=1e-12,
        why="40 nodes err by less than 1e-13, and cancellation in the differences costs 2^-48",
        run=hat_differs,
    ),
    Claim(
        id="binary-sr",
        statement="SR on {-1, +1}: P(+1) = clip((w + d + 1) / 2, 0, 1); largest difference",
        code=stochastic_rounding.law,
        test=f"{SR_TEST}::test_binary_weights_follow_their_sum",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=0.0,
        why="sixteenths are exact",
        run=binary_differs,
    ),
    Claim(
        id="eq-7",
        statement="BC, any Q: the mean of the gradients at Q(r), weighted by the learning rates, "
        "is (r_1 - r_(T+1)) / (sum of rates), so on a quadratic the weighted mean of the visible "
        "weight tends to w*; largest difference",
        code=simulate,
        test=f"{RULES}::test_the_latent_weight_is_the_sum_of_its_gradients",
        printed="0 (from Eq. 7; ours)",
        number="ours",
        expected=(0.0,),
        tolerance=1e-12,
        why="400 additions of numbers up to 3, each rounded by 2^-52",
        run=telescoped,
    ),
    Claim(
        id="lemma-1",
        statement="Lemma 1 as an identity: E abs(r)^2 = sum over k of s abs(u_k) - u_k^2 while "
        "abs(u_k) <= s, u = η g; largest difference over s = 1/2",
        code=stochastic_rounding.law,
        test=f"{SR_TEST}::test_small_moves_have_the_variance_of_lemma_1",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=2.0**-46,
        why="41 levels in 3 coordinates, squares up to 100, masses off two levels are exact zeros",
        run=lemma_1_differs,
    ),
    Claim(
        id="lemma-1-bound",
        statement="Lemma 1: E abs(r)^2 <= sqrt(d) s η G; ratio of the sides for 7 equal tiny steps "
        "(attained: the constant is best), and the largest among random steps",
        code=stochastic_rounding.law,
        test=f"{RULES}::test_lemma_1_is_attained_and_never_broken",
        printed="at most 1",
        number="noted",
        expected=(1.0, 1.0),
        tolerance=1e-9,
        why="rounding of sums of 287 terms",
        run=lemma_1_ratios,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="lemma-1-lattice",
        statement="Lemma 1 needs w on the lattice: off it, E r^2 / s^2 does not fall with η",
        code=stochastic_rounding.law,
        test=f"{RULES}::test_lemma_1_needs_a_weight_on_the_lattice",
        printed="1/4",
        number="ours",
        expected=(0.25,),
        tolerance=1e-9,
        why="the point is 2^-30 from the middle",
        run=off_lattice,
        verdict="holds corrected",
    ),
    Claim(
        id="r-adam",
        statement="R-ADAM at η = 0.01 never flips a weight ±1: Adam's largest increment after one "
        "spike η (1 - β1) / sqrt(1 - β2); over all gradients η (1 - β1) / sqrt((1 - β2)(1 - β1^2 / "
        "β2)), 2.3 times the bound usually quoted, reached by gradients that grow by β2 / β1; "
        "then P(flip) at the latter",
        code=largest_adam_step,
        test=f"{RULES}::test_no_gradients_make_adam_step_further",
        printed="0.032 quoted as the most; conv weights never change",
        number="noted",
        expected=(0.01 * 0.1 / math.sqrt(0.001), largest_adam_step(0.01, 0.9, 0.999), 0.0),
        tolerance=1e-6,
        why="after 20,000 iterations the bias corrections differ from 1 by 0.999^20000 = 2e-9, and "
        "300 growing gradients leave out (0.9^2 / 0.999)^300",
        run=adam_steps,
        printed_of="0.1/sqrt(0.001)*0.01, 0.01*0.1/sqrt(0.001*(1 - 0.81/0.999)), 0",
        verdict="holds corrected",
    ),
    Claim(
        id="changed-signs",
        statement="Share of binary weights whose sign changed, noise alone: the exact chain after "
        "100 and 3,000 iterations at η = 0.01, and 1/2 (1 - exp(-(sum of η) E abs(u) / 2)); "
        "saturates at 50 %",
        code=weight_chain,
        test=f"{RULES}::test_noise_alone_changes_signs_at_the_stated_rate",
        printed="0.1645 and 0.5 (formula; ours)",
        number="ours",
        expected=(0.16449, 0.5, 0.16449, 0.5),
        tolerance=5e-4,
        why="exp(-x t) for (1 - x)^t, x = 0.004, errs by at most x / (2 e) = 7e-4, halved",
        run=changed_shares,
    ),
    Claim(
        id="sr-adam",
        statement="SR-ADAM does not cool with η either, but its momentum does: its law is that of "
        "SR with noise smaller by sqrt((1 - β1) / (1 + β1)), as of a batch 19 times larger; mean "
        "loss on F = w^2 / 40 over that prediction, which is 0.233 of SR's, at η = 0.005 and 0.01",
        code=simulate,
        test=f"{RULES}::test_momentum_is_a_larger_batch_to_stochastic_rounding",
        printed="1, 1 in the limit (ours)",
        number="ours",
        expected=(1.0, 1.0),
        tolerance=0.12,
        why="five standard errors of 2,000 runs, 0.09, and a move within β1's memory of 10 "
        "iterations, each 270 or 135: 0.03 and 0.07",
        run=adam_losses,
        slow=True,
    ),
    Claim(
        id="adam-toy",
        statement="Toy problem with Adam in front, η = 0.005, noise of std 3: mean f after 8,000 "
        "iterations from 4.0, R-ADAM (never moves), BC-ADAM, SR-ADAM",
        code=simulate,
        test=f"{RULES}::test_momentum_is_a_larger_batch_to_stochastic_rounding",
        printed="f(4.0) = 0.7525, 0.2525, 0.2820 (limit law with noise of std 3 sqrt(0.1 / 1.9); "
        "ours)",
        number="ours",
        expected=(0.7525, 0.2525, 0.28204),
        tolerance=0.025,
        why="five standard errors of 400 runs, f having a std of 0.1 where 3 % are at 0.75",
        run=adam_on_the_toy,
        slow=True,
    ),
)
