"""Theorems on chains of rounding weights that are limits: measured orders beside the theory's."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qpapers.chains.rounding import proposals
from qpapers.deng2018.chain import distances
from qpapers.deng2018.diffusion import generator_error, stationary_order, weak_orders
from qpapers.ledger import Claim, Values
from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms import dst
from qtheory.algorithms.base import law
from qtheory.chain import (
    JointChain,
    escape_exponents,
    log_diffusion_passage_time,
    log_passage_time,
    quadratic_increments,
    single_site_limit,
    stationary_distribution,
    unadjusted,
)
from qtheory.limits.diffusion import drift, finer_chain
from qtheory.noise import Gaussian
from qtheory.transition import joint_chain

ESCAPE_TEST = "tests/theory/chain/test_escape.py"
DIFFUSION_TEST = "tests/theory/limits/test_diffusion.py"
DST_TEST = "tests/theory/algorithms/test_dst_chain.py"
LANGEVIN_TEST = "tests/theory/chain/test_langevin.py"

Points = Float[ndarray, "points"]


def coupled(learning_rate: float) -> JointChain:
    """Two weights on five levels that share three gradients' noise."""
    noise = np.array([[0.9, -0.2], [-0.4, 0.7], [-0.5, -0.5]])
    hessian, target = np.array([[1.0, 0.6], [0.6, 1.2]]), np.array([0.2, -0.35])
    increments = quadratic_increments(hessian, target, learning_rate, noise)
    spec = StochasticRounding(Lattice.uniform(-1, 1, 5))
    return joint_chain(spec, 2, increments, np.array([0.2, 0.5, 0.3]))


def joint_orders() -> Values:
    """log2 of the fall of TV as η halves from .04 to .005; extrapolated from the last two."""
    limit = stationary_distribution(single_site_limit(coupled(0.01)).to_dense())
    laws = [stationary_distribution(coupled(0.04 / 2**k).to_dense()) for k in range(4)]
    errors = [0.5 * float(np.abs(pi - limit).sum()) for pi in laws]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    return *orders, 2 * orders[2] - orders[1]


def tanh_jump() -> Values:
    """P(one level more) of DST, m = 3, just below a spacing and at it."""
    spec = DST(Lattice.ternary(), 3.0)
    below = law(spec, 0, float(np.nextafter(1.0, 0.0)))
    return float(below[1]), float(law(spec, 0, 1.0)[1])


class Walk:
    """SR in V = (w² - 1)² / 4, learning rate over spacing 0.1, normal noise."""

    def __init__(self, std: float):
        self.noise = Gaussian(std)

    def up(self, w: Points) -> Points:
        """Probability of a level up."""
        return 0.1 * self.noise.excess(w * (w * w - 1))

    def down(self, w: Points) -> Points:
        """Probability of a level down."""
        return 0.1 * self.noise.excess(-w * (w * w - 1))

    def log_ratio(self, spacing: float) -> float:
        """ln of the diffusion's mean time from -1 to 1 over the exact one."""
        w, fine = np.linspace(-2, 2, round(4 / spacing) + 1), np.linspace(-2, 1, 40_001)
        end = round(1 / spacing)
        exact = log_passage_time(self.up(w)[:-1], self.down(w)[1:], end, 3 * end)
        p, q = self.up(fine), self.down(fine)
        drift, diffusion = spacing * (p - q), spacing**2 * (p + q)
        return log_diffusion_passage_time(drift, diffusion, -2.0, 1.0, -1.0) - exact

    def excess_exponent(self) -> float:
        """The diffusion's exponent minus the exact one."""

        def at(w: float) -> Points:
            return np.array([float(w)])

        exact, diffusion = escape_exponents(
            lambda w: float(self.up(at(w))[0]), lambda w: float(self.down(at(w))[0]), -1.0, 0.0
        )
        return diffusion - exact


def fokker_planck() -> Values:
    """Quotients of ln(E_FP / E) as s halves from 0.1 to 0.0125, std 1/2; then s ln(E_FP / E)
    extrapolated to s = 0, over the difference of the exponents."""
    walk = Walk(0.5)
    logs = [walk.log_ratio(s) for s in (0.1, 0.05, 0.025, 0.0125)]
    limit = (2 * logs[3] * 0.0125 - logs[2] * 0.025) / walk.excess_exponent()
    return *(b / a for a, b in pairwise(logs)), limit


def cubic() -> Values:
    """Difference of the exponents over -(2/3) int delta³, std 2."""
    walk, w = Walk(2.0), np.linspace(-1.0, 0.0, 10_001)
    delta = (walk.down(w) - walk.up(w)) / (walk.down(w) + walk.up(w))
    return (walk.excess_exponent() / (-(2 / 3) * float(np.trapezoid(delta**3, w))),)


def bias(quartic: float, size: float) -> float:
    """Total variation of the unadjusted law from that of Gibbs."""
    proposal, pi = proposals(quartic, size)
    return 0.5 * float(np.abs(stationary_distribution(unadjusted(proposal)) - pi).sum())


def biases() -> Values:
    """Quadratic: quotient of bias / exp(-s² / 2 a) at a = 1/160 and 1/80; quartic: that of the
    bias, and the bias at 1/160."""
    at = [bias(0.0, a) / math.exp(-0.125 / a) for a in (0.0125, 0.00625)]
    stuck = [bias(0.5, a) for a in (0.0125, 0.00625)]
    return at[1] / at[0], stuck[1] / stuck[0], stuck[1]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="t16",
        statement="16: weights that move at once: P_η = 1 + η Q + O(η²), π_η = π_Q + O(η): order "
        "of TV as η halves from .04 to .005, and extrapolated; two weights, five levels",
        code=single_site_limit,
        test="tests/theory/chain/test_product.py::"
        "test_the_joint_law_tends_to_that_of_single_moves_with_the_learning_rate",
        printed="1 (constants of 1.8e-3, 9.1e-4, 4.5e-4, 2.3e-4 not recorded: 0.98, 1.02, 0.97)",
        number="noted",
        expected=(1.0, 1.0, 1.0, 1.0),
        tolerance=0.03,
        why="the next order, halved each time: 0.026 at first, as found",
        run=joint_orders,
    ),
    Claim(
        id="t17",
        statement="17: DST's law is that of SR at m η up to O((m η g / s)²): log10 of the fall of "
        "their distance a decade, η = 1e-2..1e-5, m = 3",
        code=distances,
        test=f"{DST_TEST}::"
        "test_the_law_of_dst_is_that_of_rounding_at_m_times_the_rate_to_order_two",
        printed="2 (constants of .42, 5.9e-3, 5.9e-5, 5.9e-7 not recorded: 1.85, 2, 2)",
        number="noted",
        expected=(2.0, 2.0, 2.0),
        tolerance=0.02,
        why="the next order is (m η std / s)² = 1.4 % of the distance at 1e-2, 0.6 % in log10",
        run=lambda: distances((1e-2, 1e-3, 1e-4, 1e-5)),
    ),
    Claim(
        id="t17-jump",
        statement="17: P(one level more) jumps at a whole spacing: m = 3, just below it and at it",
        code=dst.law,
        test=f"{DST_TEST}::"
        "test_whole_spacings_are_moved_for_certain_and_just_below_only_with_tanh_m",
        printed="tanh 3 and 1",
        number="noted",
        expected=(math.tanh(3.0), 1.0),
        tolerance=2.0**-51,
        why="tanh rounds to 2 u, and its argument is 3 u below 3",
        run=tanh_jump,
        printed_of="tanh(3), 1",
    ),
    Claim(
        id="t19",
        statement="19: one-level moves: (P - 1) f = b f' + a f''/2 + (s²/6) b f''' + (s²/24) a "
        "f'''' exactly for polynomials of degree 4: largest residue",
        code=drift,
        test=f"{DIFFUSION_TEST}::test_the_generators_error_is_exact_on_polynomials",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=1e-13,
        why="a dozen terms below 50, rounded once each; moves of two levels have P < 1e-30",
        run=generator_error,
    ),
    Claim(
        id="t19-orders",
        statement="19: at a fixed time E f of the diffusion is off by O(s²), of descent without "
        "noise by O(s); the stationary law of the diffusion by O(s): orders",
        code=finer_chain,
        test=f"{DIFFUSION_TEST}::"
        "test_the_weak_error_is_of_order_two_and_of_order_one_without_noise",
        printed="2, 1, 1",
        number="noted",
        expected=(2.0, 1.0, 1.0),
        tolerance=0.05,
        why="what order s² leaves after extrapolation from s = 1/10..1/40",
        run=lambda: (*weak_orders(), *stationary_order()),
    ),
    Claim(
        id="t20",
        statement="20: the diffusion's escape times are exponentially wrong in 1 / s: ln(E_FP / E) "
        "doubles as s halves from 0.1 to 0.0125 (SR, V = (w² - 1)² / 4, std 1/2); and s times it, "
        "extrapolated, over the difference of the exponents",
        code=log_diffusion_passage_time,
        test=f"{ESCAPE_TEST}::test_the_diffusion_escapes_too_soon_exponentially_so",
        printed="2, 2, 2, 1 (constants of -2.71, -5.32, -10.59, -21.14 not recorded: 1.96, 1.99, "
        "2.00)",
        number="noted",
        expected=(2.0, 2.0, 2.0, 1.0),
        tolerance=0.03,
        why="the next order of ln(E_FP / E) is s, so what is left falls by 4: 0.023 at first",
        run=fokker_planck,
    ),
    Claim(
        id="t20-values",
        statement="20: ln(E_FP / E) itself there, and at std 2, for s = 0.1 and 0.0125",
        code=log_passage_time,
        test=f"{ESCAPE_TEST}::test_the_diffusion_escapes_too_soon_exponentially_so",
        printed="-2.055, -16.691, -0.033, -0.322 (ours)",
        number="ours",
        expected=(-2.055, -16.691, -0.033, -0.322),
        tolerance=1e-3,
        why="half a unit of the third decimal, and as much for the diffusion's quadrature",
        run=lambda: tuple(Walk(std).log_ratio(s) for std in (0.5, 2.0) for s in (0.1, 0.0125)),
    ),
    Claim(
        id="t20-cubic",
        statement="20: the difference of the exponents is -(2/3) int δ³ (1 + O(δ²)), δ = (r- - r+) "
        "/ (r- + r+): quotient at std 2",
        code=escape_exponents,
        test=f"{ESCAPE_TEST}::test_the_difference_is_that_of_the_third_power",
        printed="1",
        number="noted",
        expected=(1.0,),
        tolerance=0.0375,
        why="the next term is (3/5) δ², and δ < 1/4",
        run=cubic,
    ),
    Claim(
        id="t24-unadjusted",
        statement="24: without the Metropolis test the law is right only for quadratic energies "
        "and steps a → 0: bias as exp(-s² / 2 a), quotient at a = 1/160 and 1/80; a quartic's bias "
        "stays: quotient, and the bias",
        code=unadjusted,
        test=f"{LANGEVIN_TEST}::"
        "test_without_adjustment_a_quadratic_energy_is_right_for_small_steps_only",
        printed="1, 1, 0.0358 (ours)",
        number="ours",
        expected=(1.0, 1.0, 0.0358),
        tolerance=1e-3,
        why="the next order is exp(-s² / 2 a) again, 5e-5 at a = 1/80, times 20",
        run=biases,
    ),
)
