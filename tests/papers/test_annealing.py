"""What claims about annealing rest on: energies, the walk's law by enumeration, small curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from qpapers.annealing import block, budget, met, parallel, walk
from qpapers.annealing.curve import geometric, laws
from qpapers.annealing.network import DEEP, SPARE, STRICT, landscape, surveyed
from qreference import walker
from qtheory.algorithms.metropolis import Metropolis
from qtheory.chain import (
    evolve_inhomogeneous,
    gibbs_law,
    inhomogeneous_laws,
    parallel_metropolis,
    single_site_metropolis,
    stationary_distribution,
    total_variation,
)

TEMPERATURE = 1.7
EVERY = ((np.arange(2**10) << 22) + 2**21).astype(np.uint32)
"""A word from the middle of each of 1,024 equal intervals."""


def test_energies_are_sums_of_squared_errors():
    """Two students by hand, on 27 and on 9 examples; the teacher and its units exchanged are 0."""
    deep, spare = landscape(DEEP), landscape(SPARE)
    assert deep[(1,) * 8] == sum(
        (max(0, a + b) - max(0, b - c)) ** 2
        for a in (-1, 0, 1)
        for b in (-1, 0, 1)
        for c in (-1, 0, 1)
    )
    assert spare[2, 1, 0, 1, 2, 2] == 3 * sum(max(0, -x) ** 2 for x in (-1, 0, 1))
    exchanged = (*DEEP[3:6], *DEEP[:3], DEEP[7], DEEP[6])
    least = {tuple(int(i) - 1 for i in at) for at in np.argwhere(deep == 0)}
    assert least == {DEEP, exchanged}
    assert surveyed(DEEP).hajek_depth == 7 and surveyed(STRICT).hajek_depth == 1


def test_the_walk_has_the_law_of_the_chain():
    """Each state, weight and word of 1,024: an event of the law is counted to one word."""
    energy = landscape(SPARE)
    chain = single_site_metropolis(energy, TEMPERATURE)
    spec = Metropolis(walk.LATTICE, TEMPERATURE)
    states = np.indices(energy.shape).reshape(energy.ndim, -1).T
    for weight in range(energy.ndim):
        index = np.repeat(states, len(EVERY), axis=0)
        chosen = np.full((len(index), 1), weight)
        word = np.tile(EVERY, len(states))[:, None]
        after = walk.asked(energy, spec, index, chosen, word)[:, 0].reshape(-1, len(EVERY))
        before = states[:, weight, None]
        for moves, sign in ((chain.up, 1), (chain.down, -1)):
            share = (after - before == sign).mean(axis=1)
            law = energy.ndim * moves[weight].ravel()
            assert np.abs(share - law).max() <= 2 / len(EVERY)


def test_the_chain_of_weights_at_once_is_a_product():
    """Rows of the chain of three weights against products of the walker's laws, word by word; a
    share of 2**-12 for each of three weights, and a share of the words that propose: 1/2 exactly.
    """
    rng = np.random.default_rng(5)
    energy = rng.integers(0, 6, (3, 3, 3)).astype(float)
    chain = parallel_metropolis(energy, TEMPERATURE, 0.5).transition_matrix
    spec = Metropolis(walk.LATTICE, TEMPERATURE, 0.5)
    for state in ((0, 1, 2), (1, 1, 1), (2, 0, 1)):
        index = np.tile(np.array(state), (len(EVERY), 1))
        row = np.ones(1)
        for weight in range(3):
            chosen = np.full((len(EVERY), 1), weight)
            after = walk.asked(energy, spec, index, chosen, EVERY[:, None])[:, 0]
            row = np.multiply.outer(row, np.bincount(after, minlength=3) / len(EVERY)).ravel()
        place = int(np.ravel_multi_index(state, energy.shape))
        assert np.abs(chain[place] - row).max() <= 3 * 2 / len(EVERY)
    alone = parallel_metropolis(energy[0, 0], TEMPERATURE)
    gibbs = gibbs_law(energy[0, 0], TEMPERATURE)
    assert total_variation(stationary_distribution(alone), gibbs) < 1e-14


def test_weights_at_once_are_asked_each_with_its_word():
    """One iteration of 2,000 networks against the same networks asked weight by weight."""
    energy, share = landscape(SPARE), 0.6
    (found,) = walk.all_at_once(energy, np.array([TEMPERATURE]), 2000, 3, share)
    first = walk.first_levels(6, 2000, 3)
    word = walk.words(3, 0, 0, walk.Stream.MOVE, 12000).reshape(2000, 6)
    spec = Metropolis(walk.LATTICE, TEMPERATURE, share)
    after = first.copy()
    for k in range(6):
        chosen = np.full((2000, 1), k)
        after[:, k] = walk.asked(energy, spec, first, chosen, word[:, k : k + 1])[:, 0]
    assert (found == energy[tuple(after.T)]).all()
    assert (after != first).any(axis=0).all()
    assert (after >= 0).all() and (after <= 2).all()


def test_small_curves_are_met_and_a_wrong_temperature_is_not():
    """4,096 networks of DEEP, 60 iterations. By Chernoff's bound the mean energy is 0.5 away by
    chance with a probability below 1e-9, and at temperatures half as high again, where the mean is
    1.6 away, it is less than 0.5 away with one below 1e-9 too."""
    energy, temperatures = landscape(DEEP).ravel(), geometric(16.0, 4.0, 60)
    *_, law = laws(DEEP, temperatures)
    *_, other = laws(DEEP, 1.5 * temperatures)
    assert met.false_alarm(energy, law, 4096, 0.5) < 1e-9
    assert met.false_alarm(energy, other, 4096, float((other - law) @ energy) - 0.5) < 1e-9
    for seed in (0, 1):
        *_, right = walk.one_at_a_time(landscape(DEEP), temperatures, 4096, seed)
        *_, wrong = walk.one_at_a_time(landscape(DEEP), 1.5 * temperatures, 4096, seed)
        assert abs(right.mean() - law @ energy) < 0.5
        assert abs(wrong.mean() - law @ energy) > 0.5


@pytest.mark.parametrize("count", [200, 5000])
def test_the_bound_of_false_alarms_is_one(count: int):
    """For coins it is above the exact tail, and below it times 2 (n + 1)."""
    p, distance = 0.3, 3.5 / math.sqrt(count)
    law, values = np.array([1 - p, p]), np.array([0.0, 1.0])
    bound = met.false_alarm(values, law, count, distance)
    high, low = math.ceil(count * (p + distance)), math.floor(count * (p - distance))
    exact = float(binom.sf(high - 1, count, p) + binom.cdf(low, count, p))
    assert exact <= bound <= 2 * (count + 1) * exact


def test_cold_weights_that_move_at_once_leave_a_flat_minimum():
    """At T = 1/8 the law of Gibbs has 1 - 1e-7 of its mass in the global minima of SPARE. Weights
    at once have less than a thousandth of theirs there, and STRICT keeps all of it."""
    energy = landscape(SPARE).ravel()
    assert gibbs_law(energy, 0.125)[energy == 0].sum() > 1 - 1e-6
    assert parallel.settled(SPARE, 0.125, 0.5)[energy == 0].sum() < 1e-3
    assert abs(parallel.excess(STRICT, 0.125, 1.0)) < 1e-6


def test_a_simulation_of_weights_at_once_fails_by_chance_only():
    """Of parallel-met, all at once, whose energies are spread most."""
    energy, law = landscape(SPARE).ravel(), parallel.cooled(1.0)
    assert met.false_alarm(energy, law, parallel.NETWORKS, 0.16) < 1e-10


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_blocks_are_in_detailed_balance(share: float):
    """Flows between any two states, each a product of nine roundings; and blocks are no single
    weights: two weights change at once."""
    chain, gibbs = block.block_chain(TEMPERATURE, share), gibbs_law(landscape(SPARE), TEMPERATURE)
    flow = gibbs[:, None] * chain.off_diagonal
    assert np.abs(flow - flow.T).max() <= 20 * 2.0**-53 * flow.max()
    two = int(np.ravel_multi_index((1, 1, 2, 2, 2, 2), (3,) * 6))
    assert chain.off_diagonal[728, two] > 0


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_the_penalty_restores_the_odds_of_exact_energies(spread: float):
    """The closed form against 4,001 points, which are exact to exp(-12**2 / 2) = 5e-32 of tails but
    for the kink of the acceptance: h**2 / 12 of its jump in slope."""
    z, h = np.linspace(-12, 12, 4001, retstep=True)
    density = h * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    for rise in (-2.0, 0.0, 0.7, 4.0):
        for penalty in (0.0, spread**2 / 2):
            u = rise + spread * z + penalty
            found = float(density @ np.exp(-np.maximum(u, 0.0)))
            exact = block.noisy_acceptance(rise, spread, penalty)
            assert abs(found - exact) <= h**2 / 12 * spread
        up, down = (block.noisy_acceptance(x, spread, spread**2 / 2) for x in (rise, -rise))
        assert down / up == pytest.approx(math.exp(rise), rel=1e-12)


def test_the_rule_of_spreads_cools_by_its_rate(monkeypatch: pytest.MonkeyPatch):
    """Of Gibbs by its rate in spreads to 1e-3. In a run of three iterations temperatures follow
    from the laws, here of dense chains; and a geometric schedule of equal ends is another."""
    assert np.abs(np.array(budget.falls()) - 1).max() < 1e-3
    monkeypatch.setattr(budget, "DEEP", SPARE)
    monkeypatch.setattr(budget, "ITERATIONS", 3)
    energy, law, temperature = landscape(SPARE).ravel(), np.full(729, 1 / 729), 5.0
    for _ in range(3):
        chain = single_site_metropolis(landscape(SPARE), temperature).to_dense()
        law = evolve_inhomogeneous([chain], law)
        spread = math.sqrt(law @ energy**2 - (law @ energy) ** 2)
        temperature *= math.exp(-0.2 * temperature / spread)
    share, last = budget.adaptive(5.0, 0.2)
    assert last == pytest.approx(temperature, rel=1e-12)
    assert share == pytest.approx(law[energy == 0].sum(), rel=1e-12)
    assert budget.found(np.full(3, 5.0)) != pytest.approx(share, rel=1e-4)


def test_operators_in_turn_are_matrices_in_turn():
    """Laws of sums of 13 terms, ten iterations: 10 (4 * 3 + 3 + 29) 2**-53."""
    energy = np.random.default_rng(2).uniform(0, 3, (3, 3, 3))
    start, temperatures = np.full(27, 1 / 27), np.linspace(2, 0.5, 10).tolist()
    chains = [single_site_metropolis(energy, t) for t in temperatures]
    every = list(inhomogeneous_laws(chains, start))
    dense = evolve_inhomogeneous([chain.to_dense() for chain in chains], start)
    assert len(every) == 10
    assert np.abs(every[-1] - dense).max() <= 500 * 2.0**-53
    assert np.abs(every[4] - evolve_inhomogeneous(chains[:5], start)).max() == 0


def test_a_share_is_a_probability_and_matrices_are_small():
    with pytest.raises(ValueError, match=r"proposal is in \(0, 1\], got 0"):
        parallel_metropolis(np.zeros(3), 1.0, 0.0)
    with pytest.raises(ValueError, match="at most 4096 states, got 6561"):
        parallel_metropolis(landscape(DEEP), 1.0)
    assert walker.check(walk.LATTICE, walk.first_levels(3, 5, 0)) is None
