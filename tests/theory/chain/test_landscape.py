"""Landscapes: union-find against every path, and what temperature does to Metropolis chains."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qtheory.chain import (
    BirthDeathChain,
    MarkovChain,
    communication_height,
    eyring_kramers_time,
    gibbs_law,
    hitting_times,
    lattice_edges,
    line,
    log_passage_time,
    metropolis_chain,
    metropolis_rates,
    spectral_gap,
    stationary_distribution,
    survey,
)


@st.composite
def landscapes(draw):
    """A random tree and some further edges, with few heights, so that ties are common."""
    size = draw(st.integers(1, 9))
    energy = draw(st.lists(st.integers(-2, 4), min_size=size, max_size=size))
    edges = [(draw(st.integers(0, k - 1)), k) for k in range(1, size)]
    more = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))
    return energy, edges + draw(st.lists(more, max_size=4))


def heights_by_paths(energy, edges) -> np.ndarray:
    """H(x, y) by relaxing every triple (Floyd and Warshall, max for sum)."""
    size = len(energy)
    height = np.full((size, size), 10**6)
    np.fill_diagonal(height, energy)
    for a, b in edges:
        height[a, b] = height[b, a] = min(height[a, b], max(energy[a], energy[b]))
    for k in range(size):
        height = np.minimum(height, np.maximum(height[:, k : k + 1], height[k : k + 1]))
    return height


@given(landscapes())
@examples(100)
def test_depths_are_those_of_every_path(landscape):
    energy, edges = landscape
    height, v = heights_by_paths(energy, edges), np.array(energy)
    depths = [
        min((height[x, y] - v[x] for y in range(len(v)) if v[y] < v[x]), default=math.inf)
        for x in range(len(v))
    ]
    found = survey(energy, edges)
    assert found.hajek_depth == max((d for d in depths if d < math.inf), default=0)
    assert found.relaxation_depth == (height - v[:, None] - v[None, :]).max() + v.min()
    for valley in found.valleys:
        assert {depths[x] for x in valley.bottom} == {valley.depth}
        assert valley.depth == valley.rim - v[valley.bottom[0]]
    minima = {x for valley in found.valleys for x in valley.bottom}
    assert {x for x, d in enumerate(depths) if d > 0} == minima
    for x, y in itertools.product(range(len(v)), repeat=2):
        assert communication_height(energy, edges, x, y) == height[x, y]


def test_energies_may_be_fractions_and_lattices_of_any_dimension():
    third = Fraction(1, 3)
    assert survey([0, third, Fraction(1, 7)], line(3)).hajek_depth == third - Fraction(1, 7)
    energy = np.array([[0, 5, 1], [9, 9, 4], [2, 3, 9]])
    found = survey(energy.ravel(), lattice_edges((3, 3)))
    assert [valley.bottom for valley in found.valleys] == [(0,), (2,), (6,)]
    assert (found.hajek_depth, found.relaxation_depth) == (7, 7)


@pytest.mark.parametrize(
    ("energy", "edges", "rule"),
    [
        ([], [], r"at least one state .* got \[\]"),
        ([0.0, math.nan], [(0, 1)], r"finite energies, got \[0\.0, nan\]"),
        ([0, 1], [(0, 2)], r"0..1, got \(0, 2\)"),
        ([0, 1, 2], [(0, 1)], "connected, got 2 parts"),
    ],
)
def test_bad_landscapes_are_refused(energy, edges, rule):
    with pytest.raises(ValueError, match=rule):
        survey(energy, edges)


@given(st.integers(0, 2**32), st.sampled_from([(7,), (3, 3), (2, 3, 2)]))
@examples(40)
def test_the_metropolis_law_is_that_of_gibbs(seed, shape):
    """An entry of the law errs by 2 n**3 2**-53; exp(-V / T) by 2 + 2 V / T units each, V / T <= 6,
    on both sides, and a path of at most n links multiplies them."""
    rng = np.random.Generator(np.random.PCG64(seed))
    energy = rng.uniform(0.0, 3.0, shape)
    chain = metropolis_chain(energy, 0.5)
    law, exact = stationary_distribution(chain), gibbs_law(energy, 0.5)
    bound = (2 * chain.size**3 + 2 * chain.size * 14) * 2.0**-53
    assert (np.abs(law - exact) <= bound * exact).all()
    if len(shape) == 1:
        up, down = metropolis_rates(energy, 0.5)
        dense = np.diag(up, 1) + np.diag(down, -1)
        assert (dense == chain.off_diagonal).all()


ROUGH = np.array([0, 3, 1, 2, 1, 5, 0, 4, 2], dtype=float)


def test_the_gap_falls_as_the_relaxation_depth_says():
    """ln gap = ln K - m / T + O(exp(-1 / T)) for whole energies: between T and T / 2 the slope in
    1 / T is -m up to exp(-1 / T) times a constant. m = 5 is the way between the global minima; d*
    is 2. The constant 20 is generous: 9 states, prefactors between 1/9 and 9."""
    m = survey(ROUGH, line(9)).relaxation_depth
    assert (m, survey(ROUGH, line(9)).hajek_depth) == (5, 2)
    for temperature in (0.1, 0.05, 0.02):
        gaps = [spectral_gap(metropolis_chain(ROUGH, t)) for t in (temperature, temperature / 2)]
        slope = math.log(gaps[0] / gaps[1]) * temperature
        assert slope == pytest.approx(m, abs=20 * math.exp(-1 / temperature) + 1e-12)
    assert gaps[1] < 1e-210


def test_the_gap_of_a_chain_of_birth_and_death_says_so_down_to_the_end_of_floats():
    """At T = 0.008 the gap is 1e-271 and its slope is -m to the twelve digits of exp(-1 / T) = 0,
    with relative errors of 1e-14 in the gaps and of 1000 2**-52 in exp(-V / T)."""
    gaps = [spectral_gap(BirthDeathChain(*metropolis_rates(ROUGH, t))) for t in (0.016, 0.008)]
    assert 1e-273 < gaps[1] < 1e-270
    assert math.log(gaps[0] / gaps[1]) * 0.016 == pytest.approx(5, abs=1e-13)


def test_the_gap_is_within_powers_of_the_temperature():
    """-T ln gap -> m, from above by T ln(1 / K): at T = 0.01 within T ln 100."""
    temperature = 0.01
    gap = spectral_gap(metropolis_chain(ROUGH, temperature))
    assert 0 < -temperature * math.log(gap) - 5 < temperature * math.log(100)


def excess_over_eyring_kramers(temperature: float) -> float:
    """E / E_EK - 1 for V = (x**2 - 1)**2 / 4 on [-2, 2], extrapolated to spacing 0."""

    def at(spacing: float) -> float:
        x = np.linspace(-2, 2, round(4 / spacing) + 1)
        up, down = metropolis_rates((x * x - 1) ** 2 / 4, temperature)
        log_time = log_passage_time(up, down, round(1 / spacing), round(3 / spacing))
        rule = eyring_kramers_time(0.25, 2.0, 1.0, temperature, spacing)
        return math.exp(log_time - math.log(rule)) - 1

    return 2 * at(0.0005) - at(0.001)


def test_eyring_kramers_is_right_up_to_its_next_term():
    """Laplace's next terms are 3/4 T for the well, 5 V'''**2 / (24 V''**3) - V'''' / (8 V''**2),
    and 3/4 T for the saddle: the ratio is 1 + 3/2 T + O(T**2), the slope's error linear in T."""
    errors = [excess_over_eyring_kramers(t) / t - 1.5 for t in (0.02, 0.01, 0.005)]
    assert 0 < errors[2] < 0.06
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.3)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.5)


def test_passage_times_agree_with_elimination():
    """Logarithms err by some n 2**-53 (1 + 30)."""
    rng = np.random.Generator(np.random.PCG64(3))
    up, down = 0.5 * 10.0 ** -rng.uniform(0, 2, (2, 24))
    chain = MarkovChain(np.diag(up, 1) + np.diag(down, -1))
    for start, target in [(0, 24), (24, 0), (5, 17), (20, 3), (4, 5)]:
        exact = hitting_times(chain, [target])[start]
        assert log_passage_time(up, down, start, target) == pytest.approx(
            math.log(exact), abs=25 * 40 * 2.0**-53
        )
    assert log_passage_time(up, down, 3, 3) == -math.inf


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_positive(temperature):
    for use in (metropolis_rates, metropolis_chain, gibbs_law):
        with pytest.raises(ValueError, match="a temperature is positive"):
            use(np.zeros(3), temperature)
    with pytest.raises(ValueError, match="are positive"):
        eyring_kramers_time(1.0, 1.0, 1.0, temperature if temperature < 1 else 0.0, 1.0)
