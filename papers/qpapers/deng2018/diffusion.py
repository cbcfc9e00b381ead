"""Beyond the papers: the diffusion approximation of SR and DST, with measured orders."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory import DST, Lattice, StochasticRounding
from qtheory.chain import MarkovChain, evolve, stationary_distribution
from qtheory.increments import noisy_increments_at_levels
from qtheory.limits.diffusion import (
    diffusion,
    drift,
    finer_chain,
    fokker_planck_law,
    temperature,
)
from qtheory.limits.temperature import temperature_floor
from qtheory.noise import Gaussian, Points
from qtheory.transition import weight_chain

TEST = "tests/theory/limits/test_diffusion.py"
NOISE = Gaussian(1.0)


def gradient(weight: Points) -> Points:
    """Of F(w) = w**4 / 8 + w**2 / 4 - 0.37 w."""
    return 0.5 * weight**3 + 0.5 * weight - 0.37


def size(weight: Points) -> Points:
    """E|g| under NOISE."""
    mean = np.abs(gradient(weight))
    return mean + 2.0 * NOISE.excess(mean)


def walk(spacing: float, rate: float) -> tuple[MarkovChain, Lattice]:
    """Stochastic rounding on [-2, 2]."""
    lattice = Lattice.uniform(-2.0, 2.0, round(4 / spacing) + 1)
    laws = noisy_increments_at_levels(
        lambda w: float(gradient(np.array([w]))[0]), lattice, rate, NOISE
    )
    return weight_chain(StochasticRounding(lattice), laws), lattice


def orders(errors: list[float]) -> Values:
    """Order seen between the last two errors, spacing halved, with its term of order s taken out
    by the one before."""
    seen = [math.log2(abs(a / b)) for a, b in pairwise(errors)]
    return (2 * seen[-1] - seen[-2],)


def generator_error() -> Values:
    """Largest (P - 1) f minus the Fokker-Planck terms and the two corrections, f of degree 4."""
    lattice = Lattice.uniform(-1.5, 1.5, 13)
    laws = noisy_increments_at_levels(
        lambda w: float(gradient(np.array([w]))[0]), lattice, 0.02, NOISE
    )
    worst, s, w = 0.0, lattice.spacing, lattice.levels
    f = np.polynomial.Polynomial([0.3, -1.0, 0.7, 1.1, -0.4])
    for spec in (StochasticRounding(lattice), DST(lattice, 3.0)):
        chain = weight_chain(spec, laws)
        b, a = drift(chain, lattice), diffusion(chain, lattice)
        exact = chain.off_diagonal @ f(w) - chain.off_diagonal.sum(axis=1) * f(w)
        planck = b * f.deriv(1)(w) + a * f.deriv(2)(w) / 2
        left = exact - planck - s**2 * (b * f.deriv(3)(w) / 6 + a * f.deriv(4)(w) / 24)
        worst = largest((worst, float(np.abs(left[1:-1]).max())))
    return (worst,)


def stationary_order() -> Values:
    """Of the total variation between the exact law and that of Fokker and Planck."""
    apart: list[float] = []
    for s in (0.1, 0.05, 0.025):
        rate = 0.05 * s
        chain, lattice = walk(s, rate)
        planck = fokker_planck_law(
            lambda w, rate=rate: -rate * gradient(w),
            lambda w, rate=rate, s=s: s * rate * size(w),
            lattice,
        )
        apart.append(float(np.abs(stationary_distribution(chain) - planck).sum() / 2))
    return orders(apart)


def weak_orders() -> Values:
    """Of E sin(3 w) at time 1/2 from -1: minus the diffusion's, and minus that without noise.

    The diffusion is the chain with its drift and diffusion on a lattice four times finer, whose
    own error is 1/16 of what is measured.
    """
    with_noise: list[float] = []
    without: list[float] = []
    for s in (0.1, 0.05, 0.025):
        h = s / 4
        rate = h**2 / s / 4
        iterations = round(0.5 / rate)
        chain, lattice = walk(s, rate)
        law = evolve(chain, (np.abs(lattice.levels + 1) < h).astype(np.float64), iterations)
        fine = np.linspace(-2, 2, round(4 / h) + 1)
        inside = np.clip(fine, -1.6, 1.6)  # the walk does not come near it
        twin = finer_chain(-rate * gradient(inside), s * rate * size(inside), h)
        planck = evolve(twin, (np.abs(fine + 1) < h / 2).astype(np.float64), iterations)
        w = np.array([-1.0])
        for _ in range(iterations):
            w = w - rate * gradient(w)
        exact = float(law @ np.sin(3 * lattice.levels))
        with_noise.append(exact - float(planck @ np.sin(3 * fine)))
        without.append(exact - math.sin(3 * float(w[0])))
    return orders(with_noise) + orders(without)


def quadratic_excess() -> Values:
    """E F - F* over (s / 4) E|g|, and over T / 2; F = 0.7 (w - 0.11)**2 / 2, SR, s = 1/4."""
    lattice, curvature, noise, s = Lattice(81, 0.25, -10.0), 0.7, Gaussian(2.0), 0.25
    laws = noisy_increments_at_levels(lambda w: curvature * (w - 0.11), lattice, s / 40, noise)
    pi = stationary_distribution(weight_chain(StochasticRounding(lattice), laws))
    mean = np.abs(curvature * (lattice.levels - 0.11))
    excess = float(pi @ mean**2) / (2 * curvature)
    absolute = float(pi @ (mean + 2 * noise.excess(mean)))
    return (excess / (0.25 * s * absolute), 2 * excess / temperature_floor(noise, s))


def batches() -> Values:
    """T for batches of 4, 16, 64 over that of 1."""
    spec = StochasticRounding(Lattice(3, 0.5, 0.0))
    t = [temperature(spec, Gaussian(1 / math.sqrt(b)), 0.01) for b in (1, 4, 16, 64)]
    return tuple(each / t[0] for each in t[1:])


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="diffusion-generator",
        statement="One-level moves: (P - 1) f = b f' + a f''/2 + (s²/6) b f''' + (s²/24) a f'''' "
        "exactly for polynomials of degree 4, SR and DST: largest residue",
        code=drift,
        test=f"{TEST}::test_the_generators_error_is_exact_on_polynomials",
        printed="0",
        number="ours",
        expected=(0.0,),
        tolerance=1e-13,
        why="a dozen terms below 50, rounded once each; moves of two levels have P < 1e-30",
        run=generator_error,
    ),
    Claim(
        id="diffusion-law",
        statement="The Fokker-Planck stationary law of SR is off by O(s) in total variation: order",
        code=fokker_planck_law,
        test=f"{TEST}::test_the_stationary_law_is_within_order_one_of_the_spacing",
        printed="1",
        number="ours",
        expected=(1.0,),
        tolerance=0.05,
        why="what order s² leaves after extrapolation from s = 1/10..1/40",
        run=stationary_order,
    ),
    Claim(
        id="diffusion-weak",
        statement="At a fixed time E f of the diffusion is off by O(s²), of descent without noise "
        "by O(s): orders",
        code=finer_chain,
        test=f"{TEST}::test_the_weak_error_is_of_order_two_and_of_order_one_without_noise",
        printed="2 and 1",
        number="ours",
        expected=(2.0, 1.0),
        tolerance=0.05,
        why="what order s² leaves after extrapolation from s = 1/10..1/40",
        run=weak_orders,
    ),
    Claim(
        id="temperature-excess",
        statement="A quadratic loss under SR: E F - F* = (s/4) E abs(g) exactly, which is T / 2 "
        "with T = s E abs(e) / 2 up to (u / std)²: both quotients",
        code=temperature_floor,
        test=f"{TEST}::test_the_excess_of_a_quadratic_is_a_quarter_spacing_times_the_mean_gradient",
        printed="1 and 1",
        number="ours",
        expected=(1.0, 1.0),
        tolerance=0.03,
        why="E abs(g) exceeds E abs(e) by the share E u² / (2 std²), 0.7 * 0.1 / 8 = 1 % here; the "
        "first quotient is tested to 1e-11",
        run=quadratic_excess,
    ),
    Claim(
        id="temperature-batch",
        statement="The batch cools SR: T falls as B^(-1/2), B = 4, 16, 64",
        code=temperature,
        test=f"{TEST}::test_a_larger_batch_cools_by_its_square_root",
        printed="1/2, 1/4, 1/8",
        number="ours",
        expected=(0.5, 0.25, 0.125),
        tolerance=1e-7,
        why="1e-8 of the gain",
        run=batches,
    ),
)
