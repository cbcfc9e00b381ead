"""Theorems on chains of rounding weights that are identities."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qpapers.chains.cases import UNIT, generator, law_error
from qpapers.chains.identities import apart
from qpapers.deng2018.latent import rotation
from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms import stochastic_rounding
from qtheory.algorithms.base import law
from qtheory.chain import (
    MarkovChain,
    escape_exponents,
    gibbs_law,
    hitting_times,
    is_lumpable,
    langevin_proposal,
    lattice_points,
    log_passage_time,
    lump_permutations,
    metropolis_hastings,
    quadratic_increments,
    relaxation_rates,
    stationary_distribution,
    unadjusted,
)
from qtheory.chain.lumping import SAME
from qtheory.chain.markov import PerState
from qtheory.increments import minibatch_increments_at_levels, noisy_increments_at_levels
from qtheory.latent import reader_chain
from qtheory.transition import joint_chain, off_diagonal, weight_chain

SR_TEST = "tests/theory/algorithms/test_stochastic_rounding.py"

Examples = Float[ndarray, "examples"]
States = Float[ndarray, "states weights"]


def coin() -> Values:
    """E[move] - x, and Var - f (1 - f), in spacings; multiples of 1/64 from the middle of 41."""
    spec, moves = StochasticRounding(Lattice(41, 1.0, -20.0)), np.arange(-20.0, 21.0)
    means, variances_ = 0.0, 0.0
    for x in (k / 64 for k in range(-300, 301)):
        pmf, f = law(spec, 20, x), abs(x) % 1
        means = largest((means, abs(float(pmf @ moves) - x)))
        variances_ = largest((variances_, abs(float(pmf @ (moves - x) ** 2) - f * (1 - f))))
    return means, variances_


LATTICE = Lattice.uniform(-1.0, 1.0, 9)
TARGETS = np.array([-1.7, -1.3, 0.2, 1.1, 1.9])
WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25, 0.75])


def gradients(weight: float) -> Examples:
    """Of five examples' losses c (w - t)² / 2."""
    return WEIGHTS * (weight - TARGETS)


def rounded(rate: float) -> MarkovChain:
    """One weight, nine levels, batches of two."""
    laws = minibatch_increments_at_levels(gradients, LATTICE, 2, rate)
    return weight_chain(StochasticRounding(LATTICE), laws)


def blind(question: Callable[[MarkovChain, float], PerState | float]) -> Values:
    """Largest relative change of what is asked over rates of 1e-2 to 1e-8."""
    found = [question(rounded(10.0**-k), 10.0**-k) for k in range(2, 9)]
    return (largest(apart(each, found[0]) for each in found[1:]),)


def ratios() -> Values:
    """pi_(k+1) / pi_k over E[g_k^-] / E[g_(k+1)^+], over the ten batches."""
    batches = [[(i, j) for j in range(i)] for i in range(5)]
    g = np.array([gradients(float(w)) for w in LATTICE.levels])
    means = np.array([(g[:, i] + g[:, j]) / 2 for row in batches for i, j in row])
    up, down = np.maximum(-means, 0).sum(axis=0), np.maximum(means, 0).sum(axis=0)
    pi = stationary_distribution(rounded(1e-3))
    return (apart(pi[1:] / pi[:-1], up[:-1] / down[1:]),)


def two_levels() -> Values:
    """pi abs(g) of the two levels beside the minimum, quotient minus 1; and the other levels' pi;
    rates 1 and 1e-6."""
    found: list[tuple[float, float]] = []
    for rate in (1.0, 1e-6):
        laws = noisy_increments_at_levels(lambda w: w - 0.3125, LATTICE, rate)
        pi = stationary_distribution(weight_chain(StochasticRounding(LATTICE), laws))
        weights = pi * np.abs(LATTICE.levels - 0.3125)
        found.append((apart(weights[5], weights[6]), float(1 - pi[5:7].sum())))
    return float(largest(a for a, _ in found)), float(largest(b for _, b in found))


def exponents() -> Values:
    """Constant p = 0.1, q = 0.3: the exponents minus ln(q / p) and 2 (q - p) / (q + p), and the
    growth of ln E per level, between 200 and 400 levels, minus the first."""
    p, q = 0.1, 0.3
    exact, diffusion = escape_exponents(lambda _: p, lambda _: q, -1.0, 0.0)
    long, short = (log_passage_time(np.full(n, p), np.full(n, q), 0, n) for n in (400, 200))
    growth = (long - short) / 200
    return tuple(abs(x) for x in (exact - math.log(3), diffusion - 1, growth - math.log(3)))


def counts() -> Values:
    """Three equal weights on five levels, SR and DST: largest difference between the sum of the
    joint chain's moves into a count and the lumped chain's move."""
    worst = 0.0
    hessian, noise = np.eye(3) + 0.4, np.array([[-0.7], [0.2], [0.45]]) * np.ones(3)
    increments = quadratic_increments(hessian, np.full(3, 0.3), 0.3, noise)
    levels = Lattice.uniform(-1.0, 1.0, 5)
    for spec in (StochasticRounding(levels), DST(levels, 3.0)):
        joint = joint_chain(spec, 3, increments, np.array([0.25, 0.5, 0.25]))
        lumped, moves = lump_permutations(joint), joint.to_dense().off_diagonal
        of = {tuple(c): k for k, c in enumerate(lumped.counts.tolist())}
        rows = joint.indices().tolist()
        block = np.array([of[tuple(np.bincount(row, minlength=5).tolist())] for row in rows])
        into = moves @ np.eye(len(of))[block]
        into[np.arange(len(rows)), block] = 0.0
        worst = largest((worst, float(np.abs(into - lumped.chain.off_diagonal[block]).max())))
    return (worst,)


def lumpings() -> Values:
    """Of forty chains: made to be lumpable and found so; one row off by 1e-9 and found not so."""
    right = wrong = 0
    for seed in range(40):
        rng = generator(seed)
        block = np.repeat(np.arange(3), rng.integers(2, 5, 3))
        between, matrix = rng.random((3, 3)) / 3, np.zeros((len(block), len(block)))
        for i, b in enumerate(block):
            for other in range(3):
                here = np.flatnonzero(block == other)
                matrix[i, here] = between[b, other] * rng.dirichlet(np.ones(len(here)))
        np.fill_diagonal(matrix, 0.0)
        right += is_lumpable(MarkovChain(matrix), block)
        matrix[0] *= 1 - 1e-9
        wrong += not is_lumpable(MarkovChain(matrix), block)
    return right, wrong


HESSIAN, MINIMISER = np.array([[1.0, 0.5], [0.5, 1.3]]), np.array([0.2, -0.1])
PLANE = np.linspace(-1.0, 1.0, 5)


def proposals(quartic: float, size: float) -> tuple[ndarray, PerState]:
    """Langevin proposals on 5 by 5 levels, temperature 1/2, for a quadratic and sum x**4 times
    `quartic`; and the law of Gibbs."""

    def gradient(x: States) -> States:
        return (x - MINIMISER) @ HESSIAN + 4 * quartic * x**3

    x = lattice_points(PLANE, 2)
    bowl = 0.5 * np.einsum("si,ij,sj->s", x - MINIMISER, HESSIAN, x - MINIMISER)
    pi = gibbs_law(bowl + quartic * (x**4).sum(axis=1), 0.5)
    return langevin_proposal(gradient, PLANE, 2, 0.5, size), pi


def adjusted_law() -> Values:
    """Largest relative difference from the law of Gibbs, quadratic and quartic, steps 1 to .01."""
    worst = 0.0
    for quartic in (0.0, 0.5):
        for size in (1.0, 0.1, 0.01):
            proposal, pi = proposals(quartic, size)
            chain = metropolis_hastings(unadjusted(proposal), pi)
            worst = largest((worst, apart(stationary_distribution(chain), pi)))
    return (worst,)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="t14",
        statement="14: SR moves by d = -η g on average, with variance s² f (1 - f), f = frac(η g "
        "/ s): largest differences, in spacings",
        code=stochastic_rounding.law,
        test=f"{SR_TEST}::test_the_mean_move_is_the_increment_and_the_variance_that_of_a_coin",
        printed="0, 0",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=0.0,
        why="increments are multiples of 1/64, so nothing is rounded",
        run=coin,
    ),
    Claim(
        id="t15",
        statement="15: one weight, η abs(g) <= s: the stationary law of SR does not depend on η: "
        "largest relative change over η = 1e-2..1e-8, nine levels, batches of two",
        code=off_diagonal,
        test=f"{SR_TEST}::test_the_stationary_law_does_not_depend_on_the_learning_rate",
        printed="0 (2.4e-15)",
        number="noted",
        expected=(0.0,),
        tolerance=2 * (2 * 8 * 14 + 2 * 9**3) * UNIT,
        why="14 u for an entry, times 2 (n - 1) for the law; 2 n³ u to solve; both sides, n = 9",
        run=lambda: blind(lambda chain, _: stationary_distribution(chain)),
    ),
    Claim(
        id="t15-ratio",
        statement="15: π_(k+1) / π_k = E[g_k^-] / E[g_(k+1)^+]: largest relative difference",
        code=stationary_distribution,
        test=f"{SR_TEST}::test_the_stationary_law_is_a_product_of_mean_gradients",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=(2 * (2 * 8 * 14 + 2 * 9**3) + 26) * UNIT,
        why="as t15, and 13 u for each of the two sums of ten batches",
        run=ratios,
    ),
    Claim(
        id="t15-gap",
        statement="15: and the gap is proportional to η: largest relative change of gap / η",
        code=relaxation_rates,
        test=f"{SR_TEST}::test_the_gap_is_proportional_to_the_learning_rate",
        printed="0 (1e-15)",
        number="noted",
        expected=(0.0,),
        tolerance=2 * (40 * 9 + 14) * UNIT,
        why="40 n u for a rate and 14 u for an entry, both sides, n = 9",
        run=lambda: blind(lambda chain, rate: float(relaxation_rates(chain)[0]) / rate),
    ),
    Claim(
        id="t15-hitting",
        statement="15: and hitting times to 1 / η: largest relative change of η E_i[T_top]",
        code=hitting_times,
        test=f"{SR_TEST}::test_the_gap_is_proportional_to_the_learning_rate",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=2 * (law_error(9) + 2 * 8 * 14 * UNIT),
        why="(2 n³ + 16) u to solve and 14 u for an entry, times 2 (n - 1); both sides, n = 9",
        run=lambda: blind(lambda chain, rate: rate * hitting_times(chain, [8])[:8]),
    ),
    Claim(
        id="t18",
        statement="18: without noise SR ends on the two levels around the sign change of g, with "
        "weights inverse to abs(g): relative difference, and the mass elsewhere; η = 1, 1e-6",
        code=stationary_distribution,
        test="tests/theory/algorithms/test_dst_chain.py::"
        "test_a_certain_gradient_leaves_two_levels_with_weights_inverse_to_the_moves",
        printed="0, 0",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=12 * UNIT,
        why="a dozen roundings of two states",
        run=two_levels,
    ),
    Claim(
        id="t20-exponent",
        statement="20: exact escape exponent (1/s) int ln(r-/r+), by the diffusion (1/s) int 2 (r- "
        "- r+) / (r- + r+): for constant r, minus ln 3 and 1; growth of ln E per level, minus ln 3",
        code=escape_exponents,
        test="tests/theory/chain/test_escape.py::test_the_exponents_are_those_of_the_times",
        printed="0, 0, 0",
        number="noted",
        expected=(0.0, 0.0, 0.0),
        tolerance=1e-13,
        why="ln E = 440 to 40 u relative, over 200 levels: 1e-14; 3^-200 is left out",
        run=exponents,
    ),
    Claim(
        id="t22",
        statement="22: weights that may be exchanged lump into counts: sum of the joint chain's "
        "moves into a count minus the lumped chain's, SR and DST, three weights on five levels",
        code=lump_permutations,
        test="tests/theory/chain/test_lumping.py::test_counts_have_the_chain_of_their_joint_states",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=3 * SAME,
        why="chances of each of three weights count as equal within 2^-40",
        run=counts,
    ),
    Claim(
        id="t22-criterion",
        statement="22: strongly lumpable iff block row sums agree: of forty chains made so, found "
        "so; of forty with one row off by 1e-9, found not so",
        code=is_lumpable,
        test="tests/theory/chain/test_lumping.py::test_chains_made_to_be_lumpable_are_and_others_are_not",
        printed="all: 40 and 40",
        number="noted",
        expected=(40.0, 40.0),
        tolerance=0.0,
        why="counts",
        run=lumpings,
    ),
    Claim(
        id="t24",
        statement="24: proposals informed by gradients, with the Metropolis test, keep the law of "
        "Gibbs at every step size: largest relative difference, 25 states",
        code=metropolis_hastings,
        test="tests/theory/chain/test_langevin.py::"
        "test_the_adjusted_chain_has_the_law_it_was_adjusted_to",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=(2 * 25**3 + 4 * 25) * UNIT,
        why="2 n³ u to solve, and 2 n times two roundings of the flows, n = 25",
        run=adjusted_law,
    ),
    Claim(
        id="t25",
        statement="25: BinaryConnect on fixed-point latents is a chain of the latent: a rotation "
        "by the share 3/7 has P(upper) = 3/7 and 6/7 changes an iteration; η = 1 and 1/8",
        code=reader_chain,
        test="tests/theory/test_latent.py::test_exact_gradients_make_a_rotation",
        printed="3/7, 6/7",
        number="noted",
        expected=(3 / 7, 6 / 7, 3 / 7, 6 / 7),
        tolerance=4 * 7**3 * UNIT,
        why="the a priori error of a stationary law of 7 states, twice",
        run=lambda: rotation(3, 7, 1.0) + rotation(3, 7, 0.125),
    ),
)
