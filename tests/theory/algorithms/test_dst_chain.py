"""DST as a chain: when it is rounding at m times the rate, when not, and what m and momentum do."""

import math

import numpy as np
import pytest

from qtheory import DST, Lattice, Spec, StochasticRounding
from qtheory.algorithms.base import law
from qtheory.chain import (
    MarkovChain,
    evolve,
    hitting_times,
    spectral_gap,
    stationary_distribution,
)
from qtheory.increments import noisy_increments_at_levels
from qtheory.latent import MomentumWalker, momentum_chain, weight_law
from qtheory.noise import Gaussian, StudentT
from qtheory.optimisers import Adam
from qtheory.transition import weight_chain

LATTICE = Lattice.z(3)
BEST = 0.3


def chain(spec: Spec, rate: float, noise=Gaussian(1.0)) -> MarkovChain:  # noqa: B008
    """F(w) = (w - 0.3)**2 / 2 with noise, nine levels a quarter apart."""
    laws = noisy_increments_at_levels(lambda w: w - BEST, LATTICE, rate, noise)
    return weight_chain(spec, laws)


def stationary(spec: Spec, rate: float, noise=Gaussian(1.0)) -> np.ndarray:  # noqa: B008
    return stationary_distribution(chain(spec, rate, noise))


def loss(pi: np.ndarray) -> float:
    return float(pi @ (LATTICE.levels - BEST) ** 2 / 2)


SR = StochasticRounding(LATTICE)


def test_the_law_of_dst_is_that_of_rounding_at_m_times_the_rate_to_order_two():
    """Total variation falls by 100 for each factor of 10 in the rate; the next order, and the
    fourth, are (m lr std / s)**2 = 1.4 % of it at 1e-2."""
    apart = [
        np.abs(stationary(DST(LATTICE, 3.0), rate) - stationary(SR, 3 * rate)).sum() / 2
        for rate in (1e-2, 1e-3, 1e-4)
    ]
    assert abs(math.log10(apart[0] / apart[1]) - 2) <= 0.02
    assert abs(math.log10(apart[1] / apart[2]) - 2) <= 2e-4


@pytest.mark.parametrize("nonlinearity", [0.5, 3.0, 10.0])
def test_the_gap_of_dst_is_m_times_that_of_rounding_at_small_rates(nonlinearity):
    """tanh t >= t (1 - t**2 / 3), and E[(g^-)**3] / E[g^-] <= u**2 + 3 for g ~ N(u, 1): with
    |u| <= 1.3 every entry of P falls by at most 1.6 t**2, t = m lr / s. The gap is the square of
    a singular value of a bidiagonal with 16 entries, the roots of these, so it falls by at most
    16 times as much."""
    rate = 1e-4 / nonlinearity
    ratio = spectral_gap(chain(DST(LATTICE, nonlinearity), rate)) / spectral_gap(chain(SR, rate))
    assert abs(ratio / nonlinearity - 1) <= 16 * 1.6 * (1e-4 / 0.25) ** 2


def test_at_a_fixed_rate_a_larger_m_heats_under_normal_noise():
    losses = [loss(stationary(DST(LATTICE, m), 0.05)) for m in (1.0, 3.0, 10.0, 30.0, 1000.0)]
    assert (np.diff(losses) > 0).all()
    limit = loss(stationary(SR, 1e-4))
    assert losses[0] > limit  # all are above that of rounding
    assert 1.4 < losses[-1] / limit < math.pi / 2 + 0.02


def test_and_cools_under_heavy_tails():
    """Student's t with 1.5 degrees of freedom: rounding follows the tail, tanh clips it."""
    noise = StudentT(1.5, 1.0)
    assert loss(stationary(DST(LATTICE, 3.0), 0.02, noise)) < 0.95 * loss(
        stationary(SR, 0.06, noise)
    )


def test_mixing_is_fastest_at_a_middle_m():
    """The gap grows like m, then falls: when every increment moves the weight it never stays, and
    the chain comes near period two (only the ends break it)."""
    gaps = [spectral_gap(chain(DST(LATTICE, m), 0.05)) for m in (1.0, 3.0, 20.0, 100.0, 1e5)]
    assert gaps[0] < gaps[1] < gaps[2] > gaps[3] > gaps[4]
    assert gaps[2] > 3 * gaps[0] and gaps[2] > 10 * gaps[4]


def test_a_certain_gradient_leaves_two_levels_with_weights_inverse_to_the_moves():
    """Without noise the recurrent levels are the two beside the minimum; rounding weighs them
    inversely to |g|, DST to tanh(m lr |g| / s): evenly as m grows. (Levels 0.25 and 0.5 about
    0.3: |g| = 0.05 and 0.2.) GTH on two states: a dozen roundings."""
    for rate in (1.0, 0.1):
        laws = noisy_increments_at_levels(lambda w: w - BEST, LATTICE, rate)
        t = rate * np.array([0.05, 0.2]) / 0.25
        for spec, p in ((SR, t), (DST(LATTICE, 3.0), np.tanh(3 * t)), (DST(LATTICE, 1e6), [1, 1])):
            pi = stationary_distribution(weight_chain(spec, laws))
            expected = np.array([p[1], p[0]]) / (p[0] + p[1])
            assert np.abs(pi[5:7] - expected).max() <= 1e-12
            assert pi[:5].sum() + pi[7:].sum() == 0.0


@pytest.mark.parametrize("m", [1.0, 3.0])
def test_whole_spacings_are_moved_for_certain_and_just_below_only_with_tanh_m(m):
    """The jump of the move probability at a whole spacing: from tanh m to 1."""
    spec = DST(Lattice.ternary(), m)
    assert law(spec, 0, 1.0).tolist() == [0.0, 1.0, 0.0]
    below = law(spec, 0, float(np.nextafter(1.0, 0.0)))
    assert abs(below[1] - math.tanh(m)) <= 2.0**-51 and below[2] == 0.0


def test_escape_takes_m_times_less_and_no_better_a_path():
    """From one end to the other under weak noise, at rates where DST is rounding with gain: the
    quotient of mean times is m to order (m lr std / s)**2."""
    rate = 1e-4
    slow = hitting_times(chain(SR, rate), [0])[8]
    fast = hitting_times(chain(DST(LATTICE, 3.0), rate), [0])[8]
    assert abs(slow / fast / 3.0 - 1) <= 10 * (3e-4 / 0.25) ** 2


# Momentum


def pairs(spec: Spec, beta: float, rate: float, std: float = 1.0) -> np.ndarray:
    reach = 6 * std / math.sqrt(1 - beta**2) + 1.5 / (1 - beta)
    sums = StochasticRounding(Lattice.uniform(-reach, reach, 61))
    gradients = noisy_increments_at_levels(lambda w: w - BEST, LATTICE, 1.0, Gaussian(std))
    walker = MomentumWalker(spec, sums, beta, rate * (1 - beta))
    return weight_law(stationary_distribution(momentum_chain(walker, gradients)), 9)


@pytest.mark.parametrize("spec", [SR, DST(LATTICE, 3.0)])
def test_momentum_cools_dst_as_it_cools_rounding(spec):
    """At small rates the law is the walker's under noise smaller by sqrt((1 - b) / (1 + b)).
    Rounding the sum adds spacing**2 / 6 at most = 0.7 % to its variance, half of that to the std
    and the loss; the rest is of order the rate."""
    beta = 0.5
    cooled = stationary(SR, 1e-4, Gaussian(math.sqrt((1 - beta) / (1 + beta))))
    warm = stationary(SR, 1e-4)
    got = loss(pairs(spec, beta, 2e-4))
    assert abs(got / loss(cooled) - 1) <= 0.015
    assert loss(warm) / got > 1.5


def test_momentum_is_its_simulation():
    """20,000 weights under DST with momentum 0.9, float sums rounded by the rule; forgetting the
    momentum is found."""
    beta, rate, walkers, iterations = 0.9, 0.05, 20_000, 30
    sums = StochasticRounding(Lattice.uniform(-16.0, 16.0, 65))
    spec = DST(LATTICE, 3.0)
    gradients = noisy_increments_at_levels(lambda w: w - BEST, LATTICE, 1.0, Gaussian(1.0))

    def exact(decay: float) -> np.ndarray:
        made = momentum_chain(MomentumWalker(spec, sums, decay, rate), gradients)
        start = np.zeros((9, 65))
        start[0, 32] = 1.0
        return weight_law(evolve(made, start.ravel(), iterations), 9)

    draw = np.random.default_rng(1)
    index, b = np.zeros(walkers, dtype=np.int64), np.zeros(walkers)
    for _ in range(iterations):
        g = LATTICE.levels[index] - BEST + draw.standard_normal(walkers)
        b = np.clip(0.5 * np.floor((beta * b - g) / 0.5 + draw.random(walkers)), -16, 16)
        x = rate * b / LATTICE.spacing
        whole = np.floor(np.abs(x))
        more = draw.random(walkers) < np.tanh(3.0 * (np.abs(x) - whole))
        index = np.clip(index + np.sign(x).astype(int) * (whole + more).astype(int), 0, 8)
    measured = np.bincount(index, minlength=9) / walkers
    bound = math.sqrt(math.log(2 * 9 / 1e-9) / (2 * walkers))
    assert np.abs(measured - exact(beta)).max() <= bound
    assert np.abs(measured - exact(0.0)).max() > bound


def test_adam_never_asks_for_more_than_sqrt_ten_rates():
    """After a long silence one gradient gives (1 - b1) / sqrt(1 - b2) = sqrt(10) rates at most
    (Cauchy-Schwarz on the two sums); with rates of 0.1 and spacing 1 nothing whole is moved."""
    assert (1 - 0.9) / math.sqrt(1 - 0.999) == pytest.approx(math.sqrt(10), rel=1e-12)
    settings = Adam(0.1)
    m = v = 0.0
    for t in range(1, 20_001):
        g = 1.0 if t == 20_000 else 0.0
        s = settings.scalars(t)
        m = 0.9 * m + (1 - 0.9) * g
        v = 0.999 * v + (1 - 0.999) * g * g
    step = float(s.learning_rate) * m / (math.sqrt(v) * float(s.second_scale) + float(s.epsilon))
    # float32 scalars: three roundings of 2**-24; the bias correction of 20,000 iterations, e-20
    assert abs(step / (0.1 * math.sqrt(10)) - 1) <= 1e-6
    assert step < 1.0
