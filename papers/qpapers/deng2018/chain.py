"""DST as an exact chain: the nonlinearity as a gain, temperature, mixing, momentum. Ours."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from qpapers.ledger import Claim, Values
from qtheory import DST, Lattice, Spec, StochasticRounding
from qtheory.algorithms import dst
from qtheory.algorithms.base import law
from qtheory.arrays import Pmf
from qtheory.chain import MarkovChain, spectral_gap, stationary_distribution
from qtheory.increments import noisy_increments_at_levels
from qtheory.latent import MomentumWalker, momentum_chain, weight_law
from qtheory.limits.diffusion import temperature
from qtheory.limits.temperature import temperature_floor
from qtheory.noise import Gaussian, Noise, StudentT, Uniform
from qtheory.transition import weight_chain

TEST = "tests/theory/algorithms/test_dst_chain.py"
DIFFUSION = "tests/theory/limits/test_diffusion.py"
LATTICE = Lattice.z(3)
SR = StochasticRounding(LATTICE)
BEST = 0.3


def gradient(weight: float) -> float:
    """Of F(w) = (w - 0.3)**2 / 2."""
    return weight - BEST


def chain(spec: Spec, rate: float, noise: Noise) -> MarkovChain:
    """One weight on nine levels a quarter apart."""
    laws = noisy_increments_at_levels(gradient, LATTICE, rate, noise)
    return weight_chain(spec, laws)


def stationary(spec: Spec, rate: float, std: float = 1.0) -> Pmf:
    """The stationary law under normal noise."""
    return stationary_distribution(chain(spec, rate, Gaussian(std)))


def loss(pi: Pmf) -> float:
    """E F."""
    return float(pi @ (LATTICE.levels - BEST) ** 2 / 2)


def distances(rates: tuple[float, ...]) -> Values:
    """Total variation between DST at lr and rounding at 3 lr, a decade of lr apart: log10 of the
    quotients."""
    apart = [
        float(np.abs(stationary(DST(LATTICE, 3.0), r) - stationary(SR, 3 * r)).sum() / 2)
        for r in rates
    ]
    return tuple(math.log10(a / b) for a, b in pairwise(apart))


def gap_ratios(rate: float) -> Values:
    """Gap of DST over that of rounding at one rate, m = 1/2, 3, 10."""
    base = spectral_gap(chain(SR, rate, Gaussian(1.0)))
    return tuple(
        spectral_gap(chain(DST(LATTICE, m), rate, Gaussian(1.0))) / base for m in (0.5, 3.0, 10.0)
    )


def chain_temperature(spec: Spec, noise: Noise, rate: float) -> float:
    """From the law of the chain under a gradient of 1e-3: s u / ln of the quotient of levels."""
    lattice, u = Lattice(41, 0.5, 0.0), 1e-3
    on = replace(spec, lattice=lattice)
    laws = noisy_increments_at_levels(lambda _: u, lattice, rate, noise)
    pi = stationary_distribution(weight_chain(on, laws))
    return 10 * lattice.spacing * u / math.log(pi[15] / pi[25])


def slopes() -> Values:
    """The chain's temperature over the formula's, SR and DST with m = 1, 3, 30."""
    lattice, noise = Lattice(3, 0.5, 0.0), Gaussian(1.0)
    specs: list[Spec] = [StochasticRounding(lattice), *(DST(lattice, m) for m in (1.0, 3.0, 30.0))]
    return tuple(
        chain_temperature(spec, noise, 0.05) / temperature(spec, noise, 0.05) for spec in specs
    )


def hot_ratios() -> Values:
    """Temperature of DST at m lr std / s = 1e4 over that of rounding, by noise."""
    hot = DST(Lattice(3, 0.5, 0.0), 5e4)
    noises = (Uniform(1.0), Gaussian(1.0), StudentT(3.0, 1.0), StudentT(2.0, 1.0))
    return tuple(
        chain_temperature(hot, e, 1e-3 if isinstance(e, StudentT) else 0.1)
        / temperature_floor(e, 0.5)
        for e in noises
    )


def loads() -> Values:
    """T / T of rounding under normal noise at m lr std / s = .1, .3, 1, 3, from `temperature`."""
    lattice, rate = Lattice(3, 1.0, 0.0), 1e-3
    base = temperature_floor(Gaussian(1.0), 1.0)
    return tuple(
        temperature(DST(lattice, x / rate), Gaussian(1.0), rate) / base
        for x in (0.1, 0.3, 1.0, 3.0)
    )


def heavy_ratio() -> Values:
    """Stationary loss of DST (m = 3, lr = .02) over rounding at lr = .06, Student's t, df 1.5."""
    pis = [
        stationary_distribution(chain(spec, rate, StudentT(1.5, 1.0)))
        for spec, rate in ((DST(LATTICE, 3.0), 0.02), (SR, 0.06))
    ]
    return (loss(pis[0]) / loss(pis[1]),)


def mixing() -> Values:
    """Gaps at lr = .05 over that of m = 1: m = 3, 20, 100."""
    gaps = [spectral_gap(chain(DST(LATTICE, m), 0.05, Gaussian(1.0))) for m in (1, 3, 20, 100)]
    return tuple(gap / gaps[0] for gap in gaps[1:])


def momentum_losses(beta: float, rates: tuple[float, ...]) -> Values:
    """Stationary loss of rounding with momentum, extrapolated to rate 0 from two rates in the
    ratio 2, over that of rounding with noise smaller by sqrt((1 - b) / (1 + b))."""
    std = 2.0
    reach = 6 * std / math.sqrt(1 - beta**2) + 1.5 / (1 - beta)
    sums = StochasticRounding(Lattice.uniform(-reach, reach, 81))
    gradients = noisy_increments_at_levels(gradient, LATTICE, 1.0, Gaussian(std))
    cooled = loss(stationary(SR, 1e-4, std * math.sqrt((1 - beta) / (1 + beta))))
    made = [MomentumWalker(SR, sums, beta, rate * (1 - beta)) for rate in rates]
    got = [
        loss(weight_law(stationary_distribution(momentum_chain(m, gradients)), LATTICE.size))
        for m in made
    ]
    return ((2 * got[1] - got[0]) / cooled, loss(stationary(SR, 1e-4, std)) / cooled)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="gain-small",
        statement="DST is rounding with gain: mean move / x tends to m as x falls; m = 3, x = 1e-6",
        code=dst.law,
        test="tests/theory/algorithms/test_dst.py::test_small_steps_gain_the_nonlinearity",
        printed="3",
        number="ours",
        expected=(3.0,),
        tolerance=1e-11,
        why="tanh t >= t - t^3 / 3 with t = 3e-6: relative 3e-12",
        run=lambda: (float(law(DST(Lattice.ternary(), 3.0), 1, 1e-6)[2]) / 1e-6,),
    ),
    Claim(
        id="gain-law",
        statement="The stationary law of DST at η is that of SR at m η up to O((m η abs(g) / s)²): "
        "log10 of the fall of their distance a decade, η = 1e-2..1e-5",
        code=distances,
        test=f"{TEST}::test_the_law_of_dst_is_that_of_rounding_at_m_times_the_rate_to_order_two",
        printed="2",
        number="ours",
        expected=(2.0, 2.0, 2.0),
        tolerance=0.02,
        why="the next order is (m η std / s)² = 1.4 % of the distance at 1e-2, 0.6 % in log10",
        run=lambda: distances((1e-2, 1e-3, 1e-4, 1e-5)),
    ),
    Claim(
        id="gain-gap",
        statement="The spectral gap of DST is m times that of SR at small η; m = 1/2, 3, 10",
        code=gap_ratios,
        test=f"{TEST}::test_the_gap_of_dst_is_m_times_that_of_rounding_at_small_rates",
        printed="m",
        number="ours",
        expected=(0.5, 3.0, 10.0),
        tolerance=5e-7,
        why="26 (m η / s)² at most, derived in the test: 4e-8 of 10 at η = 1e-6",
        run=lambda: gap_ratios(1e-6),
        printed_of="1/2, 3, 10",
    ),
    Claim(
        id="heat-sign",
        statement="For m η std >> s DST is descent by the sign of the gradient, with temperature "
        "s / (4 ρ(0)): over that of SR, s E abs(e) / 2, for uniform, normal, t_3, t_2 noise",
        code=hot_ratios,
        test=f"{DIFFUSION}::test_dst_goes_from_the_temperature_of_rounding_to_that_of_the_sign",
        printed="2, pi / 2, pi² / 8, 1 (derived)",
        number="ours",
        expected=(2.0, math.pi / 2, math.pi**2 / 8, 1.0),
        tolerance=0.03,
        why="the tails of t_2 at moves beyond a spacing, P = 4e-6 of weight x² to 20², 2e-3; "
        "t_3, t_2 are at a load of 100 and 1 - E tanh is 1 % there",
        run=hot_ratios,
        printed_of="2, pi/2, pi**2/8, 1",
    ),
    Claim(
        id="heat-formula",
        statement="T = s² E[k²] / (2 gain η) is the slope of the exact law: their quotient, SR and "
        "DST with m = 1, 3, 30; s = .5, η = .05, normal noise",
        code=temperature,
        test=f"{DIFFUSION}::test_the_temperature_is_that_of_the_exact_chain",
        printed="1",
        number="ours",
        expected=(1.0, 1.0, 1.0, 1.0),
        tolerance=2e-6,
        why="(u / std)² = 1e-6 relative, and 1e-8 of the gain",
        run=slopes,
    ),
    Claim(
        id="heat-load",
        statement="Normal noise: T of DST over that of SR rises with the load x = m η std / s "
        "alone, E tanh(x abs(z)) / (E abs(z) E[x sech²(x z)]), x = .1, .3, 1, 3",
        code=temperature,
        test=f"{DIFFUSION}::test_normal_noise_heats_with_the_load_and_heavy_tails_cool",
        printed="1.003275, 1.026120, 1.150422, 1.347224 (Simpson's rule)",
        number="ours",
        expected=(1.003275, 1.026120, 1.150422, 1.347224),
        tolerance=1e-6,
        why="half a unit of the sixth decimal, and 1e-8 of the gain",
        run=loads,
    ),
    Claim(
        id="heat-heavy",
        statement="Heavy tails (Student's t, df 1.5): DST with m = 3 ends below SR of the same "
        "gain, as tanh clips the tail: quotient of stationary losses",
        code=heavy_ratio,
        test=f"{TEST}::test_and_cools_under_heavy_tails",
        printed="below 0.95",
        number="ours",
        expected=(0.95,),
        tolerance=0.0,
        why="a bound; the chain is exact",
        run=heavy_ratio,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="mix-middle",
        statement="Mixing is fastest at a middle m: the gap at η = .05 over that of m = 1 rises, "
        "then falls as the weight moves in every iteration; m = 3, 20, 100",
        code=mixing,
        test=f"{TEST}::test_mixing_is_fastest_at_a_middle_m",
        printed="2.397, 3.957, 1.338 (exact chain)",
        number="ours",
        expected=(2.397, 3.957, 1.338),
        tolerance=0.0005,
        why="three decimals",
        run=mixing,
    ),
    Claim(
        id="momentum-cools",
        statement="SR with momentum b at η (1 - b), η → 0: the law of SR with noise smaller by "
        "sqrt((1 - b) / (1 + b)), as from a batch (1 + b) / (1 - b) times larger; b = 1/2: loss "
        "over the cooled one's, and SR without momentum over it",
        code=momentum_chain,
        test=f"{TEST}::test_momentum_cools_dst_as_it_cools_rounding",
        printed="1 and 1.53",
        number="ours",
        expected=(1.0, 1.526),
        tolerance=0.005,
        why="rounding the sum adds at most 0.7 % to its variance, 0.4 % to its std, and η² 0.1 %",
        run=lambda: momentum_losses(0.5, (2e-3, 1e-3)),
    ),
    Claim(
        id="momentum-cools-more",
        statement="The same with b = 0.9, as from a batch 19 times larger",
        code=momentum_chain,
        test=f"{TEST}::test_momentum_cools_dst_as_it_cools_rounding",
        printed="1 and 3.41",
        number="ours",
        expected=(1.0, 3.412),
        tolerance=0.024,
        why="rounding the sum to 81 levels adds at most 4.7 % to its variance, 2.4 % to its std",
        run=lambda: momentum_losses(0.9, (2e-4, 1e-4)),
        slow=True,
    ),
)
