"""The diffusion approximation: where it is exact, its measured orders, and the temperature."""

import math

import numpy as np
import pytest

from qtheory import DST, DeterministicRounding, Lattice, StochasticRounding
from qtheory.chain import MarkovChain, evolve, stationary_distribution
from qtheory.increments import noisy_increments_at_levels
from qtheory.limits.diffusion import (
    diffusion,
    drift,
    finer_chain,
    fokker_planck_law,
    gain,
    mean_square_move,
    sign_temperature,
    temperature,
)
from qtheory.limits.temperature import rounding_temperature, temperature_floor
from qtheory.noise import Gaussian, Noise, StudentT, Uniform
from qtheory.transition import weight_chain

NOISE = Uniform(2.0)


def gradient(w):
    return 0.5 * w**3 + 0.5 * w - 0.37


def size(mean):
    """E|mean + noise|."""
    return np.abs(mean) + 2 * NOISE.excess(np.abs(mean))


def walk(spacing: float, rate: float) -> tuple[MarkovChain, Lattice]:
    lattice = Lattice.uniform(-2.0, 2.0, round(4 / spacing) + 1)
    laws = noisy_increments_at_levels(gradient, lattice, rate, NOISE)
    return weight_chain(StochasticRounding(lattice), laws), lattice


@pytest.mark.parametrize("make", [StochasticRounding, DST])
def test_the_generators_error_is_exact_on_polynomials(make):
    """For moves of one level and f of degree 4, (P - 1) f = b f' + a f'' / 2 + (s**2 / 6) b f'''
    + (s**2 / 24) a f'''', to rounding: values below 50 and sums of a dozen terms, 1e-13."""
    lattice = Lattice.uniform(-1.5, 1.5, 13)
    spec = make(lattice)
    laws = noisy_increments_at_levels(gradient, lattice, 0.05, NOISE)
    chain = weight_chain(spec, laws)
    b, a, s = drift(chain, lattice), diffusion(chain, lattice), lattice.spacing
    f = np.polynomial.Polynomial([0.3, -1.0, 0.7, 1.1, -0.4])
    values, w = f(lattice.levels), lattice.levels
    exact = chain.off_diagonal @ values - chain.off_diagonal.sum(axis=1) * values
    terms = [b * f.deriv(1)(w), a * f.deriv(2)(w) / 2]
    correction = s**2 * (b * f.deriv(3)(w) / 6 + a * f.deriv(4)(w) / 24)
    inner = slice(1, -1)
    assert np.abs(exact - sum(terms) - correction)[inner].max() <= 1e-13
    assert np.abs(exact - sum(terms))[inner].max() > 1e-6


def test_the_stationary_law_is_within_order_one_of_the_spacing():
    """Total variation halves with the spacing; the mean converges faster (order 3 here)."""
    distances, means = [], []
    for spacing in (0.1, 0.05, 0.025):
        chain, lattice = walk(spacing, 0.05 * spacing)
        exact = stationary_distribution(chain)
        rate = 0.05 * spacing
        approximate = fokker_planck_law(
            lambda w, rate=rate: -rate * gradient(w),
            lambda w, rate=rate, s=spacing: s * rate * size(gradient(w)),
            lattice,
        )
        distances.append(np.abs(exact - approximate).sum() / 2)
        means.append(abs((exact - approximate) @ lattice.levels))
    orders = np.log2(np.array(distances[:-1]) / np.array(distances[1:]))
    assert (np.abs(orders - 1.0) <= 0.15).all()
    assert (np.log2(np.array(means[:-1]) / np.array(means[1:])) > 2).all()


def test_without_drift_the_law_is_inverse_to_the_diffusion():
    """And with b = a' / 2 it is flat: both to a few roundings."""
    lattice = Lattice.uniform(-1.0, 2.0, 7)
    a = 1.0 + lattice.levels**2
    still = fokker_planck_law(lambda w: 0.0 * w, lambda w: 1.0 + w * w, lattice)
    assert np.abs(still * a / (still * a)[0] - 1).max() <= 1e-14
    flat = fokker_planck_law(lambda w: w, lambda w: 1.0 + w * w, lattice)
    assert np.abs(flat * 7 - 1).max() <= 1e-13


def weak_errors(spacing: float) -> tuple[float, float]:
    """E f at time 0.5 from -1, f(w) = sin(3 w): chain minus diffusion (its chain at a quarter of
    the spacing, whose own error is 1/16 of this), and chain minus the noiseless descent."""
    h = spacing / 4
    rate = h**2 / spacing / 4  # p + q = s rate E|e| / h**2 <= 1 for E|g| <= 4
    iterations = round(0.5 / rate)
    chain, lattice = walk(spacing, rate)
    start = (lattice.levels == -1.0).astype(float)
    law = evolve(chain, start, iterations)
    fine = np.linspace(-2, 2, round(4 / h) + 1)
    clipped = np.clip(fine, -1.6, 1.6)  # far from where the walk goes, but E|g| <= 4 at the ends
    b, a = -rate * gradient(clipped), spacing * rate * size(gradient(clipped))
    twin = evolve(finer_chain(b, a, h), (np.abs(fine + 1) < h / 2).astype(float), iterations)
    w = -1.0
    for _ in range(iterations):
        w -= rate * gradient(w)
    exact = law @ np.sin(3 * lattice.levels)
    return exact - twin @ np.sin(3 * fine), exact - math.sin(3 * w)


def test_the_weak_error_is_of_order_two_and_of_order_one_without_noise():
    """The error is c s**2 (1 + k s + ...), so the order seen is 2 less a term of order s: it halves
    with s, and extrapolates to 2. The next term, of order s**2, is 1e-2 at these spacings."""
    errors = np.array([weak_errors(s) for s in (0.1, 0.05, 0.025)])
    orders = np.log2(np.abs(errors[:-1] / errors[1:]))
    assert (np.abs(2 * orders[1] - orders[0] - [2.0, 1.0]) <= 0.03).all()
    assert (orders[1] > orders[0]).all()


# Temperature


@pytest.mark.parametrize("noise", [Gaussian(1.0), Uniform(1.5), StudentT(3.0, 1.0)])
@pytest.mark.parametrize("nonlinearity", [None, 1.0, 3.0, 30.0])
def test_the_temperature_is_that_of_the_exact_chain(noise: Noise, nonlinearity: float | None):
    """A small constant gradient u: the law of the chain falls by exp(-s u / T) a level far from
    the ends. With moves of one level (noise well below a spacing) the exact quotient is
    E[p(g^-)] / E[p(g^+)], odd in u: corrections are of relative order (u / std)**2 = 1e-6, gain
    is good to 1e-8; with rarer longer moves, below 1e-3 of all, their share. Allowed: 4e-3."""
    lattice = Lattice(61, 0.5, 0.0)
    spec = StochasticRounding(lattice) if nonlinearity is None else DST(lattice, nonlinearity)
    rate, u = 0.05, 1e-3
    laws = noisy_increments_at_levels(lambda w: u, lattice, rate, noise)
    law = stationary_distribution(weight_chain(spec, laws))
    slope = math.log(law[40] / law[20]) / 20
    expected = -lattice.spacing * u / temperature(spec, noise, rate)
    assert abs(slope / expected - 1) <= 4e-3


@pytest.mark.parametrize("noise", [Gaussian(1.0), Uniform(1.5)])
@pytest.mark.parametrize("rate", [0.01, 0.3, 1.0])
def test_the_temperature_of_rounding_is_its_closed_form(noise: Gaussian | Uniform, rate: float):
    """By the moves of a chain here, by a sum of mean excesses there. The gain is good to 1e-8;
    moves are cut at 8 spacings, 4 stds at the largest rate, which takes E(z**2 - 16)^+ = 1.2e-4
    of E k**2 and P(abs(z) > 4) = 6e-5 of the gain."""
    got = temperature(StochasticRounding(Lattice(3, 0.5, 0.0)), noise, rate)
    closed_form = rounding_temperature(noise, 0.5, rate)
    assert abs(got / closed_form - 1) <= (1e-4 if rate == 1.0 else 1e-7)


def test_dst_goes_from_the_temperature_of_rounding_to_that_of_the_sign():
    """At m lr std / s = 1e-3: E tanh(t) / E sech(t)**2 = E t (1 + O(t**2)); at 1e4 the density
    varies by (1e-4)**2 over the steep part and 1 - E tanh is a few 1e-4."""
    for noise in (Gaussian(1.0), Uniform(1.0)):
        cold = temperature(DST(Lattice(3, 1.0, 0.0), 1e-1), noise, 1e-2)
        assert abs(cold / temperature_floor(noise, 1.0) - 1) <= 1e-5
        hot = temperature(DST(Lattice(3, 1.0, 0.0), 1e5), noise, 1e-1)
        assert abs(hot / sign_temperature(1.0, noise) - 1) <= 1e-3
    assert abs(sign_temperature(1.0, Gaussian(2.0)) / temperature_floor(Gaussian(2.0), 1.0)
               - math.pi / 2) <= 1e-14  # fmt: skip


def test_normal_noise_heats_with_the_load_and_heavy_tails_cool():
    loads = [0.01, 0.1, 0.3, 1.0, 3.0, 30.0]
    lattice, rate = Lattice(3, 1.0, 0.0), 1e-3
    normal = [temperature(DST(lattice, x / rate), Gaussian(1.0), rate) for x in loads]
    assert (np.diff(normal) > 0).all()
    heavy = [temperature(DST(lattice, x / rate), StudentT(1.5, 1.0), rate) for x in loads]
    assert max(heavy) < temperature_floor(StudentT(1.5, 1.0), 1.0)


def test_the_excess_of_a_quadratic_is_a_quarter_spacing_times_the_mean_gradient():
    """E F - F* = (s / 4) E|g| for stochastic rounding and any curvature, far from the ends: the
    generator on (w - w*)**2 has mean 0. Half the printed bound of the floor at most. Normal noise
    at lr std = s / 20 jumps a level with probability e-90; the law's own error, 1e-13 of it."""
    lattice, curvature, best = Lattice(81, 0.25, -10.0), 0.7, 0.11
    noise, rate = Gaussian(2.0), 0.25 / 40
    laws = noisy_increments_at_levels(lambda w: curvature * (w - best), lattice, rate, noise)
    pi = stationary_distribution(weight_chain(StochasticRounding(lattice), laws))
    mean = curvature * (lattice.levels - best)
    size = np.abs(mean) + 2 * noise.excess(np.abs(mean))
    excess = pi @ (0.5 * curvature * (lattice.levels - best) ** 2)
    assert abs(excess / (0.25 * lattice.spacing * (pi @ size)) - 1) <= 1e-11
    # and T / 2 of it in the weak-gradient limit: E|g| = E|e| (1 + u**2 / (2 std**2)), u << std
    assert abs(2 * excess / temperature_floor(noise, 0.25) - 1) <= 0.05


@pytest.mark.parametrize("load", [0.01, 1.0, 30.0])
def test_the_gain_is_the_mean_slope_of_the_rule(load):
    """m E sech(m z)**2 for normal z of std 0.05 spacings, by Simpson's rule on 10**5 points of 40
    stds (1e-12); moves beyond a spacing have probability 1e-88."""
    std, m = 0.05, load / 0.05
    z = np.linspace(-2.0, 2.0, 100_001)
    rule = np.where(np.arange(z.size) % 2, 4.0, 2.0) / 3 * (z[1] - z[0])
    density = np.exp(-0.5 * (z / std) ** 2) / (std * math.sqrt(2 * math.pi))
    expected = float((m / np.cosh(np.clip(m * z, -300, 300)) ** 2 * density) @ rule)
    assert abs(gain(DST(Lattice.ternary(), m), Gaussian(std)) / expected - 1) <= 1e-7


def test_a_larger_batch_cools_by_its_square_root():
    spec = StochasticRounding(Lattice(3, 0.5, 0.0))
    got = [temperature(spec, Gaussian(1.0 / math.sqrt(b)), 0.01) for b in (1, 4, 16)]
    assert np.abs(np.array(got) * [1, 2, 4] / got[0] - 1).max() <= 1e-7


def test_deterministic_rounding_has_no_drift_at_small_increments():
    """Its gain is 2 s rho(s / 2), exponentially small: 0 for bounded noise, which freezes it."""
    spec = DeterministicRounding(Lattice(3, 1.0, 0.0))
    assert gain(spec, Uniform(0.3)) == 0.0
    noise = Gaussian(0.4)
    expected = 2 * float(noise.density(np.array([0.5]))[0])
    assert abs(gain(spec, noise) / expected - 1) <= 2e-2  # moves of two levels are left out


def test_the_mean_square_move_has_a_floor_of_rounding():
    """E k**2 = E[x**2] + E[f (1 - f)]: for uniform increments over [-1, 1], 1/3 + 1/6."""
    spec = StochasticRounding(Lattice(3, 1.0, 0.0))
    assert abs(mean_square_move(spec, Uniform(1.0)) - 0.5) <= 1e-15


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, lat: drift(c, Lattice.binary()), "the lattice's 2 levels"),
        (lambda c, lat: fokker_planck_law(np.sin, np.sin, lat), "a diffusion is positive"),
        (lambda c, lat: finer_chain(np.ones(3), np.ones(3), 2.0), "sum to at most one"),
        (lambda c, lat: temperature(StochasticRounding(lat), Gaussian(1.0), 0.0), "learning rate"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(MarkovChain(np.zeros((3, 3))), Lattice.ternary())
