"""Beyond the papers: BinaryConnect and Bop as exact chains of a fixed-point latent."""

from __future__ import annotations

import math

import numpy as np

from qpapers.ledger import Claim, Values
from qpapers.li2017.toy_problem import gradient, loss
from qtheory import DeterministicRounding, Lattice, StochasticRounding
from qtheory.algorithms.binary_connect import BinaryConnect
from qtheory.arrays import Pmf
from qtheory.chain import MarkovChain, stationary_distribution
from qtheory.increments import noisy_increments, noisy_increments_at_levels
from qtheory.latent import (
    AverageFlip,
    LatentReader,
    average_flip_chain,
    flip_rate,
    reader_chain,
    visible_law,
    weight_flip_rate,
)
from qtheory.noise import Gaussian
from qtheory.transition import weight_chain

TEST = "tests/theory/test_latent.py"
VISIBLE = Lattice(25, 0.5, -3.0)


def rotation(part: int, whole: int, rate: float) -> Values:
    """P(upper level) and changes an iteration; the minimum at the share part / whole."""
    visible, low = Lattice(2, 1.0, -0.5), -0.5
    fine = DeterministicRounding(Lattice(6 * whole + 1, rate / whole, -3.0 * rate))
    spec = LatentReader(fine, BinaryConnect(visible))
    laws = noisy_increments_at_levels(lambda w: w - low - part / whole, visible, rate)
    pi = stationary_distribution(reader_chain(spec, laws))
    return (float(visible_law(spec, pi)[1]), flip_rate(spec, laws, pi))


def toy_law(latents: int, rate: float, std: float) -> Pmf:
    """Visible law of BinaryConnect on the toy problem, latents on [-3, 9]."""
    fine = StochasticRounding(Lattice.uniform(-3.0, 9.0, latents))
    spec = LatentReader(fine, BinaryConnect(VISIBLE))
    laws = noisy_increments_at_levels(
        lambda w: float(gradient(np.array([w]))[0]), VISIBLE, rate, Gaussian(std)
    )
    return visible_law(spec, stationary_distribution(reader_chain(spec, laws)))


def rounding_chain(rate: float, std: float) -> MarkovChain:
    """Stochastic rounding on the same levels and problem."""
    laws = noisy_increments_at_levels(
        lambda w: float(gradient(np.array([w]))[0]), VISIBLE, rate, Gaussian(std)
    )
    return weight_chain(StochasticRounding(VISIBLE), laws)


def toy(rate: float, std: float, latents: int = 241) -> Values:
    """E f and P{4.5, 5.0}, extrapolated to real latents from two spacings, order 2."""
    coarse, fine = toy_law(latents, rate, std), toy_law(2 * latents - 1, rate, std)
    law = fine + (fine - coarse) / 3
    return (
        float(law @ loss(VISIBLE.levels)),
        float(law[15:17].sum()),
    )


def latent_order() -> Values:
    """Order in the latent spacing of the visible law, from three spacings."""
    laws = [toy_law(n, 0.1, 3.0) for n in (121, 241, 481)]
    apart = [float(np.abs(a - b).sum()) for a, b in ((laws[0], laws[1]), (laws[1], laws[2]))]
    return (math.log2(apart[0] / apart[1]),)


def flips(gain: float, threshold: float, levels: int) -> float:
    """Flip rate of Bop under unit noise; so many levels of the average below the threshold."""
    spacing = threshold / (levels + 0.5)
    fine = Lattice(16 * levels + 1, spacing, -8 * levels * spacing)
    laws = [noisy_increments(0.0, 1.0, Gaussian(1.0))] * 2
    return weight_flip_rate(
        average_flip_chain(AverageFlip(StochasticRounding(fine), gain, threshold), laws), 2
    )


def bop_slope() -> Values:
    """d ln(flip rate) / d (t² / 2 v) between thresholds of 3 and 4 stds of the average."""
    std = math.sqrt(0.1 / 1.9)
    low, high = flips(0.1, 3 * std, 18), flips(0.1, 4 * std, 24)
    return (math.log(high / low) / 3.5,)


def rounding_flips() -> Values:
    """Of SR on two levels under the same rotation's gradients, at two rates: changes / rate."""
    lattice, a = Lattice(2, 1.0, -0.5), 3 / 7
    rates: list[float] = []
    for rate in (0.5, 0.05):
        laws = noisy_increments_at_levels(lambda w: w + 0.5 - a, lattice, rate)
        moves = weight_chain(StochasticRounding(lattice), laws).off_diagonal
        pi = moves[::-1].sum(axis=1) / moves.sum()
        rates.append(float(pi @ moves.sum(axis=1)) / rate)
    return tuple(rates)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="latent-rotation",
        statement="BinaryConnect, quadratic loss with its minimum at the share a between two "
        "levels, exact gradients: P(upper) = a and 2 min(a, 1 - a) changes an iteration, whatever "
        "η; a = 3/7, η = 1 and 1/8",
        code=reader_chain,
        test=f"{TEST}::test_exact_gradients_make_a_rotation",
        printed="3/7, 6/7",
        number="ours",
        expected=(3 / 7, 6 / 7) * 2,
        tolerance=4 * 7**3 * 2.0**-53,
        why="the a priori error of a stationary law of 7 states, twice",
        run=lambda: rotation(3, 7, 1.0) + rotation(3, 7, 0.125),
    ),
    Claim(
        id="latent-contrast",
        statement="SR on the same problem has the same law of the weight, but changes "
        "2 a (1 - a) η times: its changes / η at η = 1/2, 1/20",
        code=weight_chain,
        test=f"{TEST}::test_stochastic_rounding_has_the_same_mean_and_flips_by_the_learning_rate",
        printed="24/49",
        number="ours",
        expected=(24 / 49, 24 / 49),
        tolerance=2.0**-50,
        why="a dozen roundings",
        run=rounding_flips,
    ),
    Claim(
        id="latent-order",
        statement="A latent on a lattice with unbiased rounding: the visible law is off by the "
        "latent spacing squared: order (toy problem, η = .1, std 3)",
        code=reader_chain,
        test=f"{TEST}::test_a_finer_latent_lattice_converges_at_order_two",
        printed="2",
        number="ours",
        expected=(2.0,),
        tolerance=0.2,
        why="the next order is a tenth at latent spacings of 1/10..1/40",
        run=latent_order,
    ),
    Claim(
        id="latent-toy-hot",
        statement="BinaryConnect on the toy problem, η = 1, std 1: E f and P{4.5, 5} of the exact "
        "chain, where a simulation of 10^6 iterations gave",
        code=reader_chain,
        test=f"{TEST}::test_a_finer_latent_lattice_converges_at_order_two",
        printed="1.447, 0.186",
        number="noted",
        expected=(1.447, 0.186),
        tolerance=0.004,
        why="six standard errors of the simulation, 0.9 / 10^3 and less; ends at -3 and 9",
        run=lambda: toy(1.0, 1.0),
    ),
    Claim(
        id="latent-toy-warm",
        statement="The same with η = .1, std 3",
        code=reader_chain,
        test=f"{TEST}::test_a_finer_latent_lattice_converges_at_order_two",
        printed="0.474, 0.663",
        number="noted",
        expected=(0.474, 0.663),
        tolerance=0.004,
        why="as above; successive iterations are correlated over about ten",
        run=lambda: toy(0.1, 3.0),
    ),
    Claim(
        id="latent-toy-cold",
        statement="The same with η = .1, std 1, and η = .01, std 3: BinaryConnect anneals with η",
        code=reader_chain,
        test=f"{TEST}::test_binary_connect_anneals_where_stochastic_rounding_does_not",
        printed="0.2545, 0.996 and 0.2532, 0.999",
        number="noted",
        expected=(0.2545, 0.996, 0.2532, 0.999),
        tolerance=0.0006,
        why="half a unit of the third decimal, and the simulation's standard error",
        run=lambda: toy(0.1, 1.0) + toy(0.01, 3.0, 481),
        slow=True,
    ),
    Claim(
        id="bop-rare",
        statement="Bop under pure noise flips as a rare event: ln(rate) falls by t²/2v, v = g / "
        "(2 - g), between thresholds of 3 and 4 stds; SR flips linearly: slope",
        code=average_flip_chain,
        test=f"{TEST}::test_flips_of_bop_are_rare_events_in_the_threshold",
        printed="-1",
        number="ours",
        expected=(-1.0,),
        tolerance=0.15,
        why="an algebraic prefactor, t at most: 2 ln(4/3) / 7 = 8 %, and the spread of a step "
        "across the threshold",
        run=bop_slope,
    ),
)
