"""Latent methods: the exact chains against simulation with real latents, and against theory."""

import math
from itertools import pairwise

import numpy as np
import pytest

from qtheory import DST, DeterministicRounding, Lattice, StochasticRounding
from qtheory.algorithms.binary_connect import BinaryConnect
from qtheory.chain import (
    evolve,
    hitting_times,
    recurrent_classes,
    stationary_distribution,
)
from qtheory.increments import noisy_increments, noisy_increments_at_levels
from qtheory.latent import (
    AverageFlip,
    LatentReader,
    MomentumWalker,
    average_flip_chain,
    flip_rate,
    momentum_chain,
    reader_chain,
    readings,
    visible_law,
    weight_flip_rate,
    weight_law,
)
from qtheory.noise import Gaussian
from qtheory.transition import weight_chain


def hoeffding(samples: int, cells: int, alarm: float = 1e-9) -> float:
    """Every one of so many frequencies is this near its probability, but for the alarm rate."""
    return math.sqrt(math.log(2 * cells / alarm) / (2 * samples))


# BinaryConnect


@pytest.mark.parametrize(("part", "whole"), [(3, 7), (1, 5), (4, 9), (7, 10)])
def test_exact_gradients_make_a_rotation(part, whole):
    """Quadratic loss with its minimum at the share a = part / whole between two levels. The
    latent goes up a or down 1 - a, in units of the learning rate: a rotation that visits
    `whole` latents in turn, so the mean visible weight is the minimum and the visible weight
    changes 2 min(a, 1 - a) times an iteration, whatever the learning rate."""
    visible = Lattice(2, 1.0, -0.5)
    minimum = -0.5 + part / whole
    for rate in (1.0, 0.125):
        fine = DeterministicRounding(Lattice(6 * whole + 1, rate / whole, -3.0 * rate))
        spec = LatentReader(fine, BinaryConnect(visible))
        increments = noisy_increments_at_levels(lambda w: w - minimum, visible, rate)
        chain = reader_chain(spec, increments)
        assert len(recurrent_classes(chain)[0]) == whole
        # 2 n**3 2**-53 of the stationary law for its `whole` states
        bound = 4 * whole**3 * 2.0**-53
        latents = stationary_distribution(chain)
        assert abs(visible_law(spec, latents)[1] - part / whole) <= bound
        changes = 2 * min(part, whole - part) / whole
        assert abs(flip_rate(spec, increments, latents) - changes) <= bound


def test_stochastic_rounding_has_the_same_mean_and_flips_by_the_learning_rate():
    """The contrast to the rotation: equal visible law, but flips 2 lr a (1 - a) an iteration."""
    lattice, a = Lattice(2, 1.0, -0.5), 3 / 7
    for rate in (0.5, 0.05):
        laws = noisy_increments_at_levels(lambda w: w + 0.5 - a, lattice, rate)
        chain = weight_chain(StochasticRounding(lattice), laws)
        law = stationary_distribution(chain)
        assert abs(law[1] - a) <= 2.0**-48
        assert abs(law @ chain.off_diagonal.sum(axis=1) - 2 * rate * a * (1 - a)) <= 2.0**-48


def three_basins(w: np.ndarray) -> np.ndarray:
    """Gradient of the toy objective [li2017, Eq. 8]."""
    return 2 * (w - np.select([w < 1, w < 3.5], [0.0, 2.5], 4.75))


def simulated(
    spec: LatentReader, rate: float, std: float, walkers: int, iterations: int, *, draws: bool
):
    """Levels seen after so many iterations; float latents, by the rule and nothing of the chain."""
    draw = np.random.default_rng(3)
    latent = np.full(walkers, 2.5)
    spacing, low = spec.latent.lattice.spacing, spec.latent.lattice.low

    def seen() -> np.ndarray:
        position = (latent - spec.reader.lattice.low) / spec.reader.lattice.spacing
        if spec.reader.reading == "stochastic":
            position = np.floor(position + draw.random(walkers))
        else:
            position = np.floor(position + 0.5)
        return np.clip(position, 0, spec.reader.lattice.size - 1)

    for _ in range(iterations):
        w = spec.reader.lattice.low + spec.reader.lattice.spacing * seen()
        latent = latent - rate * (three_basins(w) + std * draw.standard_normal(walkers))
        if draws:
            latent = low + spacing * np.floor((latent - low) / spacing + draw.random(walkers))
        else:
            latent = low + spacing * np.floor((latent - low) / spacing + 0.5)
        latent = np.clip(latent, low, spec.latent.lattice.high)
    return seen().astype(np.int64)


@pytest.mark.parametrize("reading", ["nearest", "stochastic"])
@pytest.mark.parametrize("rounding", [StochasticRounding, DeterministicRounding])
def test_the_chain_is_its_simulation(rounding, reading):
    """20,000 walkers; a law that is wrong by 0.05 in one entry is found, and one is."""
    visible = Lattice(9, 1.0, -2.0)
    spec = LatentReader(rounding(Lattice(81, 0.125, -3.0)), BinaryConnect(visible, reading))
    rate, std, walkers, iterations = 0.1, 3.0, 20_000, 25
    increments = noisy_increments_at_levels(
        lambda w: float(three_basins(np.array(w))), visible, rate, Gaussian(std)
    )
    start = np.eye(81)[44]  # 2.5
    law = visible_law(spec, evolve(reader_chain(spec, increments), start, iterations))
    seen = simulated(spec, rate, std, walkers, iterations, draws=rounding is StochasticRounding)
    measured = np.bincount(seen, minlength=visible.size) / walkers
    bound = hoeffding(walkers, visible.size)
    assert bound < 0.025
    assert np.abs(measured - law).max() <= bound
    opposite = "stochastic" if reading == "nearest" else "nearest"
    other = LatentReader(spec.latent, BinaryConnect(visible, opposite))
    wrong = visible_law(other, evolve(reader_chain(other, increments), start, iterations))
    assert np.abs(measured - wrong).max() > bound


def toy_law(latents: int, rate: float, std: float) -> np.ndarray:
    visible = Lattice(25, 0.5, -3.0)
    fine = StochasticRounding(Lattice.uniform(-3.0, 9.0, latents))
    spec = LatentReader(fine, BinaryConnect(visible))
    increments = noisy_increments_at_levels(
        lambda w: float(three_basins(np.array(w))), visible, rate, Gaussian(std)
    )
    return visible_law(spec, stationary_distribution(reader_chain(spec, increments)))


def test_a_finer_latent_lattice_converges_at_order_two():
    """Rounding latents without bias adds spacing**2 times something to their variance: halving
    the spacing divides the change of the law by 4 (between 3 and 5 at these spacings, where the
    next order is a tenth). The limit is the law for real latents: 0.663 and 0.474 in the
    simulations of 10**6 iterations that are known for std 3 and rate 0.1."""
    laws = [toy_law(n, 0.1, 3.0) for n in (121, 241, 481)]
    changes = [np.abs(a - b).sum() for a, b in pairwise(laws)]
    assert 3.0 <= changes[0] / changes[1] <= 5.0
    limit = laws[2] + (laws[2] - laws[1]) / 3
    w = Lattice(25, 0.5, -3.0).levels
    loss = (w - np.select([w < 1, w < 3.5], [0.0, 2.5], 4.75)) ** 2 + np.select(
        [w < 1, w < 3.5], [2.0, 0.75], 0.19
    )
    assert abs(limit[15:17].sum() - 0.663) <= 1e-3
    assert abs(limit @ loss - 0.474) <= 1e-3


def test_binary_connect_anneals_where_stochastic_rounding_does_not():
    """With the learning rate the visible law contracts onto the two best levels."""
    best = [toy_law(241, rate, 1.0)[15:17].sum() for rate in (1.0, 0.3, 0.1)]
    assert best[0] < 0.25 < best[1] < best[2] and best[2] > 0.99


def test_a_stationary_latent_has_no_mean_increment():
    """Away from the ends E[g(visible)] = 0: the mean visible weight of a quadratic loss is its
    minimum for every learning rate. Mass at the ends, below 1e-15 here, is what could move it;
    the law's own error is 2 n**3 2**-53 a priori and a few n 2**-53 seen, here 1e-12 allowed."""
    visible, minimum = Lattice(7, 0.5, -1.5), 0.2
    for reading in ("nearest", "stochastic"):
        spec = LatentReader(
            StochasticRounding(Lattice(241, 0.025, -3.0)), BinaryConnect(visible, reading)
        )
        laws = noisy_increments_at_levels(lambda w: w - minimum, visible, 0.1, Gaussian(1.0))
        latents = stationary_distribution(reader_chain(spec, laws))
        assert latents[0] + latents[-1] < 1e-15
        assert abs(visible_law(spec, latents) @ visible.levels - minimum) <= 1e-12


def test_a_stochastic_reading_flips_although_the_latent_stays():
    spec = LatentReader(
        StochasticRounding(Lattice.uniform(-1.0, 1.0, 3)), BinaryConnect(reading="stochastic")
    )
    laws = [noisy_increments(0.0, 0.0, None)] * 2
    middle = np.array([0.0, 1.0, 0.0])
    assert flip_rate(spec, laws, middle) == 0.5


def test_readings_are_laws_with_the_latent_as_their_mean():
    visible = Lattice(5, 0.5, -1.0)
    spec = LatentReader(
        StochasticRounding(Lattice(97, 2.0**-5, -1.5)), BinaryConnect(visible, "stochastic")
    )
    seen = readings(spec)
    assert (seen.sum(axis=1) == 1.0).all() and (seen >= 0).all()
    stopped = np.clip(spec.latent.lattice.levels, -1.0, 1.0)
    assert (seen @ visible.levels == stopped).all()


# Bop


def test_the_average_of_bop_is_its_simulation():
    """20,000 binary weights under the loss (w - 0.4)**2 / 2 with noise; float averages rounded
    to the fine lattice by the rule. A wrong comparison (> for >=) changes nothing here, as the
    threshold lies between levels; a gain that is off by a factor two is found."""
    fine, rate_noise, walkers, iterations = Lattice(121, 0.025, -1.5), 1.0, 20_000, 40
    spec = AverageFlip(DeterministicRounding(fine), 0.2, 0.5125)
    levels = Lattice.binary()
    laws = noisy_increments_at_levels(lambda w: w - 0.4, levels, 1.0, Gaussian(rate_noise))
    start = np.zeros((2, 121))
    start[0, 60] = 1.0
    law = weight_law(evolve(average_flip_chain(spec, laws), start.ravel(), iterations), 2)
    draw = np.random.default_rng(5)
    weight, average = np.full(walkers, -1.0), np.zeros(walkers)
    for _ in range(iterations):
        gradient = weight - 0.4 + rate_noise * draw.standard_normal(walkers)
        average = 0.8 * average - 0.2 * gradient
        average = np.clip(np.round((average + 1.5) / 0.025) * 0.025 - 1.5, -1.5, 1.5)
        weight = np.where(np.abs(average) >= spec.threshold, np.sign(average), weight)
    bound = hoeffding(walkers, 2)
    assert abs((weight > 0).mean() - law[1]) <= bound
    wrong = average_flip_chain(AverageFlip(spec.average, 0.1, spec.threshold), laws)
    assert abs((weight > 0).mean() - weight_law(evolve(wrong, start.ravel(), 40), 2)[1]) > bound


def bop_flips(gain: float, threshold: float, spacings: int = 12) -> float:
    """Flip rate under pure unit noise; the threshold half-way between levels of the average."""
    fine = Lattice(2 * 8 * spacings + 1, threshold / (spacings + 0.5), 0.0)
    fine = Lattice(fine.size, fine.spacing, -fine.spacing * (fine.size // 2))
    std = math.sqrt(gain / (2 - gain))
    assert fine.high > 6 * std
    laws = [noisy_increments(0.0, 1.0, Gaussian(1.0))] * 2
    return weight_flip_rate(
        average_flip_chain(AverageFlip(StochasticRounding(fine), gain, threshold), laws), 2
    )


def test_flips_of_bop_are_rare_events_in_the_threshold():
    """The average is an autoregression of variance v = gain / (2 - gain), so flips fall like the
    crossings of a Gaussian process: d ln(rate) / d(t**2 / (2 v)) tends to -1 from the algebraic
    prefactor; between thresholds of 3 and 4 stds it is within 15 % of it (prefactor t: 2 ln(4/3)
    / 7 = 0.08; lattice: its spacing**2 / 12 adds under 1 % to v). Rounding flips linearly."""
    gain = 0.1
    variance = gain / (2 - gain)
    rates = [bop_flips(gain, k * math.sqrt(variance), 6 * k) for k in (3, 4)]
    slope = math.log(rates[1] / rates[0]) / 3.5
    assert -1.15 <= slope <= -0.85


def test_bop_anneals_by_its_gain():
    """Lowering the gain at a fixed threshold silences the noise, by a larger factor each time;
    stochastic rounding keeps its odds at every learning rate."""
    rates = [bop_flips(gain, 0.5, 12) for gain in (0.4, 0.2, 0.1)]
    assert 2 < rates[0] / rates[1] < rates[1] / rates[2]


def test_the_tie_of_bop_flips():
    fine = DeterministicRounding(Lattice(3, 0.5, -0.5))
    laws = [noisy_increments(-0.5, 1.0, None), noisy_increments(0.5, 1.0, None)]
    chain = average_flip_chain(AverageFlip(fine, 1.0, 0.5), laws)
    assert hitting_times(chain, [5])[1] == 1.0  # (low, 0) goes to (high, 0.5) at once
    never = average_flip_chain(AverageFlip(fine, 1.0, 0.51), laws)
    assert hitting_times(never, [5])[1] == math.inf


# Momentum


def test_without_decay_momentum_is_the_walker():
    """b = d, rounded to its lattice: with gradients on that lattice the pair's weight is the
    walker's chain. Laws differ by 2 n**3 2**-53 for the n = 45 states, a priori."""
    lattice = Lattice(5, 1.0, -2.0)
    sums = DeterministicRounding(Lattice(9, 1.0, -4.0))
    laws = noisy_increments_at_levels(lambda w: w - 1.0, lattice, 1.0)
    from_table = [
        type(each)(np.array([each.values[0] - 1.0, each.values[0] + 1.0]), np.array([0.5, 0.5]))
        for each in laws
    ]
    rated = [type(each)(0.25 * each.values, each.probabilities) for each in from_table]
    for walker in (StochasticRounding(lattice), DST(lattice, 2.0)):
        chain = momentum_chain(MomentumWalker(walker, sums, 0.0, 0.25), from_table)
        plain = weight_chain(walker, rated)
        pairs = weight_law(stationary_distribution(chain), 5)
        assert np.abs(pairs - stationary_distribution(plain)).max() <= 2 * 45**3 * 2.0**-53


def test_momentum_cools_stochastic_rounding_like_a_larger_batch():
    """At small rates the law is that of plain rounding with the noise's std divided by
    sqrt((1 + beta) / (1 - beta)): the average over 1 / (1 - beta) gradients, not the learning
    rate, is what the weight sees. The distance is of order one in the learning rate."""
    lattice, beta, std = Lattice.uniform(-1.0, 1.0, 9), 0.5, 2.0
    cooled = Gaussian(std * math.sqrt((1 - beta) / (1 + beta)))
    laws = noisy_increments_at_levels(lambda w: w - 0.3, lattice, 1e-3, cooled)
    limit = stationary_distribution(weight_chain(StochasticRounding(lattice), laws))
    reach = 6 * std / math.sqrt(1 - beta**2) + 2 / (1 - beta)
    sums = StochasticRounding(Lattice.uniform(-reach, reach, 81))
    gradients = noisy_increments_at_levels(lambda w: w - 0.3, lattice, 1.0, Gaussian(std))
    distances = []
    for rate in (4e-3, 2e-3, 1e-3):
        walker = MomentumWalker(StochasticRounding(lattice), sums, beta, rate * (1 - beta))
        pairs = stationary_distribution(momentum_chain(walker, gradients))
        distances.append(np.abs(weight_law(pairs, 9) - limit).sum() / 2)
    # a fine lattice of spacing 0.4 with std 2.3 adds 0.5 % to the variance, 1e-3 to the law
    assert distances[-1] < 4e-3
    assert 1.6 <= (distances[0] - distances[1]) / (distances[1] - distances[2]) <= 2.4


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: BinaryConnect(Lattice.binary(), "up"), "a reading is"),
        (lambda f: AverageFlip(f, 0.0, 1.0), "the gain of an average"),
        (lambda f: AverageFlip(f, 0.5, -1.0), "a threshold is positive"),
        (lambda f: MomentumWalker(f, f, 1.0, 0.1), "a decay is in"),
        (lambda f: MomentumWalker(f, f, 0.5, math.nan), "a learning rate is finite"),
        (lambda f: reader_chain(LatentReader(f, BinaryConnect()), []), "needs 2 laws"),
        (lambda f: average_flip_chain(AverageFlip(f, 0.5, 1.0), []), "needs two laws"),
        (lambda f: momentum_chain(MomentumWalker(f, f, 0.5, 0.1), []), "needs 3 laws"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(StochasticRounding(Lattice.ternary()))
