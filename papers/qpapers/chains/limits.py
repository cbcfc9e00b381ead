"""Theorems on chains at low temperature: what is measured beside the rate that theory gives."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from qpapers.chains.cases import generator, tilted
from qpapers.extremes import largest, least
from qpapers.ledger import Claim, Values
from qtheory.chain import (
    BirthDeathChain,
    anneal,
    ends_at_global_minima,
    eyring_kramers_time,
    gibbs_law,
    line,
    log_passage_time,
    logarithmic_schedule,
    metropolis_rates,
    spectral_gap,
    survey,
)
from qtheory.chain.birth_death_rates import absolute_gap

LANDSCAPE_TEST = "tests/theory/chain/test_landscape.py"
ANNEALING_TEST = "tests/theory/chain/test_annealing.py"

Points = Float[ndarray, "points"]
Depths = Int[ndarray, "n n"]


def eyring_kramers(temperature: float) -> float:
    """E / E_EK - 1 for V = (x² - 1)² on [-2, 2], extrapolated to spacing 0."""

    def at(spacing: float) -> float:
        x = np.linspace(-2, 2, round(4 / spacing) + 1)
        up, down = metropolis_rates((x * x - 1) ** 2, temperature)
        log_time = log_passage_time(up, down, round(1 / spacing), round(3 / spacing))
        rule = eyring_kramers_time(1.0, 8.0, 4.0, temperature, spacing)
        return math.exp(log_time - math.log(rule)) - 1

    return 2 * at(0.0005) - at(0.001)


def eyring_kramers_slope() -> Values:
    """(ratio - 1) / T at T = .02, .01, .005, and extrapolated from the last two."""
    found = [eyring_kramers(t) / t for t in (0.02, 0.01, 0.005)]
    return *found, 2 * found[2] - found[1]


def depths() -> Values:
    """Of 300 random landscapes with ties: d* and m that differ from those of all paths."""
    wrong = 0
    for seed in range(300):
        rng = generator(seed)
        size = int(rng.integers(1, 10))
        v = rng.integers(-2, 5, size)
        edges = [(int(rng.integers(0, k)), k) for k in range(1, size)]
        edges += [(int(a), int(b)) for a, b in rng.integers(0, size, (2, 2))]
        height: Depths = np.where(np.eye(size, dtype=bool), v, 10**6)
        for a, b in edges:
            height[a, b] = height[b, a] = least((height[a, b], largest((v[a], v[b]))))
        for k in range(size):
            height = np.minimum(height, np.maximum(height[:, k : k + 1], height[k : k + 1]))
        below = np.where(v[None, :] < v[:, None], height - v[:, None], 10**5).min(axis=1)
        d = int(largest([0, *(x for x in below.tolist() if x < 10**5)]))
        m = int((height - v[:, None] - v[None, :]).max() + v.min())
        found = survey(v.tolist(), edges)
        wrong += (found.hajek_depth, found.relaxation_depth) != (d, m)
    return (wrong,)


def log_gap(energy: Points, temperature: float) -> float:
    """ln of the gap of the Metropolis walk."""
    return math.log(spectral_gap(BirthDeathChain(*metropolis_rates(energy, temperature))))


WELL = tilted(201, 1.6)


def cold_well() -> Values:
    """m; slope of ln gap in 1 / T between T = .003 and .004."""
    slope = (log_gap(WELL, 0.003) - log_gap(WELL, 0.004)) / (1 / 0.003 - 1 / 0.004)
    return float(survey(WELL, line(201)).relaxation_depth), slope


def whole_well() -> Values:
    """Whole energies: slope of -ln gap in 1 / T between T = .016 and .008; m; d*."""
    rough = np.array([0, 3, 1, 2, 1, 5, 0, 4, 2])
    found = survey(rough.tolist(), line(9))
    warm, cold = (log_gap(rough.astype(np.float64), t) for t in (0.016, 0.008))
    return (warm - cold) * 0.016, float(found.relaxation_depth), float(found.hajek_depth)


RIM = np.array([0.0, 2.0, 1.0])


def left_behind(constant: float, *iterations: int) -> list[float]:
    """P(local minimum) after each number of iterations, started there; d* = 1."""
    pi, done, found = np.array([0.0, 0.0, 1.0]), 0, list[float]()
    for end in iterations:
        pi = anneal(RIM, logarithmic_schedule(constant, end - done, done), pi)
        done = end
        found.append(float(pi[2]))
    return found


def below_the_depth() -> Values:
    """c = .5, .8 at k = 3e5, taken on to 1e8 by exp(-sum of (k + 2)^(-1/c) / 4)."""
    found: list[float] = []
    for c in (0.5, 0.8):
        power = 1 / c - 1
        tail = 0.25 / power * (3e5**-power - 1e8**-power)
        found.append(left_behind(c, 3 * 10**5)[0] * math.exp(-tail))
    return tuple(found)


def at_the_depth() -> Values:
    """c = 1: slope of ln P in ln k between 1e5 and 1e6; P at 1e6 times (1e8 / 1e6)^(-1/4)."""
    early, late = left_behind(1.0, 10**5, 10**6)
    return math.log10(late / early), late * 100**-0.25


def above_the_depth() -> Values:
    """c = 1.5, 2 at k = 1e6 over k^(-1/c) + 4 / (c k) + 16 / c k^(1/c - 2)."""
    found: list[float] = []
    for c in (1.5, 2.0):
        k = 10.0**6
        pi = gibbs_law(RIM, c / math.log(k - 2.5e5))
        late = anneal(RIM, logarithmic_schedule(c, 250_000, 750_000), pi)[2]
        found.append(float(late) / (k ** (-1 / c) + 4 / (c * k) + 16 / c * k ** (1 / c - 2)))
    return tuple(found)


def threshold() -> Values:
    """Whether annealing ends at the global minimum by the survey: c = .5, .8, 1, 1.2."""
    found = survey(RIM, line(3))
    return tuple(float(ends_at_global_minima(found, c)) for c in (0.5, 0.8, 1.0, 1.2))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="t11",
        statement="11 (Eyring-Kramers): mean time over (2 / s²) 2 π T / sqrt(V''(a) abs(V''(b))) "
        "exp((V(b) - V(a)) / T), minus 1; Metropolis, V = (w² - 1)², s → 0, T = .1, .05, .02, .01",
        code=eyring_kramers_time,
        test=f"{LANDSCAPE_TEST}::test_eyring_kramers_is_right_up_to_its_next_term",
        printed=".044, .020, .0077, .0037 (V and s not recorded: this V comes near)",
        number="noted",
        expected=(0.044, 0.020, 0.0077, 0.0037),
        tolerance=1e-3,
        why="half a unit of the third decimal, and as much for a spacing that is not known",
        run=lambda: tuple(eyring_kramers(t) for t in (0.1, 0.05, 0.02, 0.01)),
        guard=True,
    ),
    Claim(
        id="t11-linear",
        statement="11: which is linear in T: over T, for T = .02, .01, .005, and extrapolated to "
        "0; Laplace's next terms are 3/16 T for the well and 3/16 T for the saddle",
        code=eyring_kramers_time,
        test=f"{LANDSCAPE_TEST}::test_eyring_kramers_is_right_up_to_its_next_term",
        printed="3/8 in the limit (ours)",
        number="ours",
        expected=(0.375, 0.375, 0.375, 0.375),
        tolerance=0.01,
        why="the term in T² is 0.46 T as found, 0.0093 at T = .02",
        run=eyring_kramers_slope,
    ),
    Claim(
        id="t12-depth",
        statement="12: d* = greatest depth of a local minimum that is not global, m = max [H(x, y) "
        "- V(x) - V(y)] + min V, by union-find: of 300 landscapes with ties, those where a search "
        "of all paths differs",
        code=survey,
        test=f"{LANDSCAPE_TEST}::test_depths_are_those_of_every_path",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=0.0,
        why="whole numbers",
        run=depths,
    ),
    Claim(
        id="t12-gap",
        statement="12 (Holley-Stroock): -T ln gap → m: m of the tilted double well, and the slope "
        "of ln gap in 1 / T between T = 0.003 and 0.004",
        code=absolute_gap,
        test=f"{LANDSCAPE_TEST}::test_the_gap_falls_as_the_relaxation_depth_says",
        printed=".9017 and -.8987 (constants not recorded: 201 levels on -1.6 .. 1.6 give these)",
        number="noted",
        expected=(0.9017, -0.8987),
        tolerance=0.5e-4,
        why="half a unit of the fourth decimal; the gap is exact to 1e-14",
        run=cold_well,
    ),
    Claim(
        id="t12-least",
        statement="12: where the gap is: log10",
        code=absolute_gap,
        test=f"{LANDSCAPE_TEST}::test_the_gap_is_within_powers_of_the_temperature",
        printed="log10 of 8e-133",
        number="noted",
        expected=(math.log10(8e-133),),
        tolerance=0.03,
        why="half a unit of one digit, 0.5 / 8, is 0.027 in log10",
        run=lambda: (log_gap(WELL, 0.003) / math.log(10),),
        printed_of="log(8e-133, 10)",
    ),
    Claim(
        id="t12-whole",
        statement="12: whole energies, where the next term is exp(-1 / T): slope of -ln gap in 1 / "
        "T between T = .016 and .008 (gap 1e-271); m; d*",
        code=metropolis_rates,
        test=f"{LANDSCAPE_TEST}::"
        "test_the_gap_of_a_chain_of_birth_and_death_says_so_down_to_the_end_of_floats",
        printed="5, 5, 2",
        number="noted",
        expected=(5.0, 5.0, 2.0),
        tolerance=1e-13,
        why="relative errors of 1e-14 in the gaps and of 1000 2^-52 in exp(-V / T), over 62",
        run=whole_well,
    ),
    Claim(
        id="t13",
        statement="13 (Hajek): T_k = c / ln(k + 2) ends at the global minima iff c >= d*: three "
        "states, energies 0, 2, 1, so d* = 1: for c = 0.5, 0.8, 1, 1.2",
        code=ends_at_global_minima,
        test=f"{ANNEALING_TEST}::test_below_the_depth_some_mass_never_leaves",
        printed="no, no, yes, yes",
        number="noted",
        expected=(0.0, 0.0, 1.0, 1.0),
        tolerance=0.0,
        why="yes is 1",
        run=threshold,
        printed_of="0, 0, 1, 1",
    ),
    Claim(
        id="t13-below",
        statement="13: P(local minimum) at k = 1e8, c = 0.5, 0.8: the chain to 3e5, then exp(-sum "
        "(k + 2)^(-1/c) / 4)",
        code=anneal,
        test=f"{ANNEALING_TEST}::test_the_numbers_of_the_survey",
        printed=".851, .416",
        number="noted",
        expected=(0.851, 0.416),
        tolerance=5e-4,
        why="half a unit of the third decimal",
        run=below_the_depth,
    ),
    Claim(
        id="t13-at",
        statement="13: c = 1 = d*: it falls as k^(-1/4): slope of ln P in ln k between 1e5 and "
        "1e6; and P at 1e8, taken on by that power",
        code=anneal,
        test=f"{ANNEALING_TEST}::test_at_the_depth_it_falls_as_the_fourth_root",
        printed="-1/4, .0117",
        number="noted",
        expected=(-0.25, 0.0117),
        tolerance=5e-5,
        why="half a unit of the fourth decimal; the slope is off by returns of order 1 / k",
        run=at_the_depth,
    ),
    Claim(
        id="t13-above",
        statement="13: c = 1.5, 2: P follows that of Gibbs with a lag, k^(-1/c) + 4 / (c k) + "
        "(16 / c) k^(1/c - 2): quotient at k = 1e6",
        code=anneal,
        test=f"{ANNEALING_TEST}::test_well_above_the_depth_the_law_follows_that_of_gibbs",
        printed="1 (at 1e8: 4.7e-6, 1e-4 by the formula; 2.6e-7 for c = 1.2 not run)",
        number="noted",
        expected=(1.0, 1.0),
        tolerance=2e-3,
        why="normalisation of the law, k^(-1/2) = 1e-3 for c = 2, and the lag's next term",
        run=above_the_depth,
    ),
)
