"""Theorems on chains that are identities: residuals, at the size of rounding errors."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import accumulate

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qpapers.chains.cases import (
    ADVERSARIAL,
    MOST,
    OTHERS,
    UNIT,
    any_chains,
    double_well,
    generator,
    law_error,
    neighbour_chains,
    neighbours_only,
    random_chain,
)
from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.chain import (
    BirthDeathChain,
    MarkovChain,
    asymptotic_variance,
    barker,
    escape_time,
    exact_hitting_times,
    exit_law,
    fundamental_matrix,
    hitting_times,
    kemeny_constant,
    kolmogorov_criterion,
    lazy,
    metropolis_hastings,
    passage_law,
    passage_time,
    quasi_stationary,
    relaxation_rates,
    stationary_distribution,
    times_from,
    unbalanced_cycle,
)

REVERSIBLE_TEST = "tests/theory/chain/theorems/test_reversible.py"
ESCAPE_TEST = "tests/theory/chain/theorems/test_escape.py"
MIXING_TEST = "tests/theory/chain/theorems/test_mixing.py"
PASSAGE_TEST = "tests/theory/chain/theorems/test_passage.py"
RATE = 40 * MOST * UNIT
COLDEST = double_well(0.003)

Numbers = Float[ndarray, "..."]


def apart(found: Numbers | float, exact: Numbers | float) -> float:
    """Largest relative difference."""
    return float(np.max(np.abs(np.asarray(found) / np.asarray(exact) - 1)))


def made_reversible() -> Values:
    """Metropolis and Barker for weights over up to 100 decades: asymmetry of the flows."""
    worst = 0.0
    for seed in range(30):
        proposed = random_chain(seed, 2 + seed % 7, 3.0)
        weights = 10.0 ** (-(0.0, 3.0, 100.0)[seed % 3] * generator(seed).random(proposed.size))
        for rule in (metropolis_hastings, barker):
            flow = weights[:, None] * rule(proposed, weights).off_diagonal
            flow += np.eye(proposed.size)
            worst = largest((worst, apart(flow, flow.T)))
    return (worst,)


def cycles() -> Values:
    """Adversarial chains that Kolmogorov's criterion judges as built, and unbalanced cycles
    whose products, over the rationals, do differ."""
    judged = sum(kolmogorov_criterion(c) == (name not in OTHERS) for name, c in ADVERSARIAL.items())
    unequal = 0
    for chain in OTHERS.values():
        cycle, moves = unbalanced_cycle(chain) or [0], chain.off_diagonal.tolist()
        steps = list(zip(cycle, cycle[1:] + cycle[:1], strict=True))
        forth = math.prod(Fraction(moves[i][j]) for i, j in steps)
        unequal += forth > math.prod(Fraction(moves[j][i]) for i, j in steps)
    return judged, unequal


def variances() -> Values:
    """From summed autocovariances, and from <f, (2 Z - I) f>, relative to the function's."""
    sums, forms = 0.0, 0.0
    for seed in range(10):
        chain = lazy(random_chain(seed, 2 + seed % 5, 0.3))
        pi, f = stationary_distribution(chain), generator(seed).standard_normal(chain.size)
        f = f - pi @ f
        total, moved = float(pi @ f**2), f
        for _ in range(600):
            moved = chain.transition_matrix @ moved
            total += 2 * float((pi * f) @ moved)
        form = float((pi * f) @ (2 * fundamental_matrix(chain) - np.eye(chain.size)) @ f)
        sums = largest((sums, apart(total, asymptotic_variance(chain, f))))
        forms = largest((forms, apart(form, asymptotic_variance(chain, f))))
    return sums, forms


def rare_variance() -> Values:
    """Two states left with 1e-30 and 3e-30: relative error against p q (2 - p - q) / (p + q)³."""
    p, q = 1e-30, 3e-30
    found = asymptotic_variance(MarkovChain(np.array([[0.0, p], [q, 0.0]])), np.array([0.0, 1.0]))
    a, b = Fraction(p), Fraction(q)
    return (abs(float(Fraction(found) / (a * b * (2 - a - b) / (a + b) ** 3) - 1)),)


def kemeny_starts() -> Values:
    """sum_j pi_j E_i[T_j] over K, from every state."""

    def worst(chain: MarkovChain) -> float:
        times = np.array([times_from(chain, i) for i in range(chain.size)])
        return apart(times @ stationary_distribution(chain), kemeny_constant(chain))

    return (largest(map(worst, any_chains())),)


def kemeny_traces() -> Values:
    """tr Z - 1, and sum 1 / (1 - lambda), over K; chains that are not hard."""
    traces, values = 0.0, 0.0
    for seed in range(20):
        chain = random_chain(seed, 2 + seed % 8, 1.0)
        k, spectrum = kemeny_constant(chain), np.linalg.eigvals(chain.transition_matrix)
        modes = np.delete(spectrum, np.argmin(np.abs(spectrum - 1)))
        traces = largest((traces, apart(float(np.trace(fundamental_matrix(chain))) - 1, k)))
        values = largest((values, apart(float((1 / (1 - modes)).sum().real), k)))
    return traces, values


def fractions(chain: BirthDeathChain) -> tuple[list[Fraction], list[Fraction]]:
    """Probabilities up and down."""
    return [Fraction(p) for p in chain.up.tolist()], [Fraction(q) for q in chain.down.tolist()]


def rates() -> Values:
    """Product of the rates against sum_j prod_{k<j} p_k prod_{k>=j} q_k, and sum of 1 / rate
    against sum F (1 - F) / (pi p), both over the rationals."""
    products, inverses = 0.0, 0.0
    for chain in (*neighbour_chains(), neighbours_only(COLDEST)):
        up, down = fractions(chain)
        size, found = chain.size, [Fraction(r) for r in relaxation_rates(chain).tolist()]
        trees = [math.prod(up[:j]) * math.prod(down[j:]) for j in range(size)]
        products = largest((products, abs(float(math.prod(found) / sum(trees) - 1))))
        pi = [tree / sum(trees) for tree in trees]
        below = list(accumulate(pi))
        k = sum(below[i] * (1 - below[i]) / (pi[i] * up[i]) for i in range(size - 1))
        inverses = largest((inverses, abs(float(sum(1 / r for r in found) / k - 1))))
    return products, inverses


def smallest_rate() -> Values:
    """log10 of the smallest gap among them."""
    return (math.log10(float(relaxation_rates(COLDEST)[0])),)


def staying() -> Values:
    """nu Q = theta nu; E_nu[T] (1 - theta) = 1; law of time and place, t = 1..12, over the product
    of theta^(t-1) (1 - theta) and the law of the place: largest residues."""
    residue, mean, worst = 0.0, 0.0, 0.0
    for chain in any_chains():
        inside = np.arange(largest((1, chain.size // 3)))
        nu, theta, leaving, *_ = quasi_stationary(chain, inside.tolist())
        q = chain.transition_matrix[np.ix_(inside, inside)]
        residue = largest((residue, float(np.abs(nu[inside] @ q - theta * nu[inside]).max())))
        mean = largest(
            (mean, apart(float(nu @ escape_time(chain, inside.tolist())) * leaving, 1.0))
        )
    for seed in range(20):
        chain = random_chain(seed, 3 + seed % 6, 2.0)
        inside, out = np.arange(chain.size - 2), np.arange(chain.size - 2, chain.size)
        nu, theta, leaving, *_ = quasi_stationary(chain, inside.tolist())
        q, now = chain.transition_matrix[np.ix_(inside, inside)], nu[inside]
        places = exit_law(chain, inside.tolist())
        for t in range(12):
            joint = now @ chain.off_diagonal[np.ix_(inside, out)]
            worst = largest((worst, apart(joint, theta**t * leaving * places[out])))
            now = now @ q
    return residue, mean, worst


def passages() -> Values:
    """Mean relative, variance relative to E[T²]: sums over rates against the rationals."""
    means, squares = 0.0, 0.0
    for chain in neighbour_chains():
        up, down = fractions(chain)
        mean = variance = t = s = Fraction(0)  # t, s: first two moments of a climb
        for k, p in enumerate(up):
            q = down[k - 1] if k else Fraction(0)
            climb = (1 + q * t) / p
            t, s = climb, (2 * climb - 1 + q * (s + 2 * t * climb)) / p
            mean, variance = mean + t, variance + s - t * t
        found = passage_law(chain)
        means = largest((means, abs(float(Fraction(found.mean) / mean - 1))))
        error = (Fraction(found.variance) - variance) / (variance + mean * mean)
        squares = largest((squares, abs(float(error))))
    return means, squares


def potentials() -> Values:
    """E_a[T_b] by committor and capacity, ends of every chain, over the hitting time; and the
    latter over the rationals."""
    ratios, errors = 0.0, 0.0
    for chain in any_chains():
        for a, b in ((0, chain.size - 1), (chain.size - 1, 0)):
            time = float(hitting_times(chain, [b])[a])
            ratios = largest((ratios, apart(passage_time(chain, a, b), time)))
            exact = exact_hitting_times(chain, [b])[a]
            errors = largest((errors, abs(float(Fraction(time) / exact - 1))))
    return ratios, errors


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="t01",
        statement="1: Metropolis-Hastings min(q_ij, π_j q_ji / π_i), and Barker, are reversible: "
        "largest relative asymmetry of the flows, π over up to 100 decades",
        code=metropolis_hastings,
        test=f"{REVERSIBLE_TEST}::test_metropolis_and_barker_have_the_law_they_were_made_for",
        printed="0 (residual 1e-17, which is absolute)",
        number="noted",
        expected=(0.0,),
        tolerance=6 * UNIT,
        why="rounding of π, the division and the product, on both sides: 6 u",
        run=made_reversible,
    ),
    Claim(
        id="t01-cycles",
        statement="1 (Kolmogorov): reversible without knowing π iff all cycles balance: hard "
        "chains judged as they were built, of 13, and cycles found that do not balance, of 5",
        code=kolmogorov_criterion,
        test=f"{REVERSIBLE_TEST}::test_an_unbalanced_cycle_is_one",
        printed="all: 13 and 5",
        number="noted",
        expected=(13.0, 5.0),
        tolerance=0.0,
        why="counts, the products of cycles over the rationals",
        run=cycles,
    ),
    Claim(
        id="t03",
        statement="3: σ² = <f, (2 Z - 1) f>_π, Z = (1 - P + 1π)^-1, is the sum of autocovariances: "
        "of 600 lags, and of Z, relative differences from `asymptotic_variance`",
        code=asymptotic_variance,
        test=f"{REVERSIBLE_TEST}::test_the_variance_is_the_sum_of_autocovariances",
        printed="0 (1e-16)",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=6 * 8 * law_error(6),
        why="n abs(Z) times the rounding of Z, 8 (2 n³ + 16) u, n = 6; rows of the lazy chains "
        "overlap, so that 600 lags leave less",
        run=variances,
    ),
    Claim(
        id="t03-rare",
        statement="3: two states left with p = 1e-30, q = 3e-30, σ² of an indicator against "
        "p q (2 - p - q) / (p + q)³: relative error",
        code=asymptotic_variance,
        test=f"{REVERSIBLE_TEST}::test_a_variance_of_1e30_keeps_its_digits",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=12 * law_error(2),
        why="four roundings of a square, twice those of a solution and of π: 12 (2 n³ + 16) u",
        run=rare_variance,
    ),
    Claim(
        id="t04",
        statement="4 (Kemeny): K = sum_j π_j E_i[T_j] from every state i; for birth-death chains K "
        "= sum_k F_k (1 - F_k) / (π_k p_k): largest relative difference",
        code=kemeny_constant,
        test=f"{MIXING_TEST}::test_kemeny_is_the_same_from_every_state",
        printed="0 (constants of 1697.02550794052 not recorded)",
        number="noted",
        expected=(0.0,),
        tolerance=2 * (4 * MOST**3 + 2 * MOST + 32) * UNIT,
        why="n³ for each of π and E, doubled, and 2 n for the sum, on both sides, n = 15",
        run=kemeny_starts,
    ),
    Claim(
        id="t04-trace",
        statement="4: K = tr Z - 1 = sum 1 / (1 - λ), on chains that are not hard, where LAPACK "
        "has digits: largest relative differences",
        code=fundamental_matrix,
        test=f"{MIXING_TEST}::test_kemeny_is_the_trace_and_the_sum_over_eigenvalues",
        printed="0 (8e-14 and 7e-13, constants not recorded)",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=1e-10,
        why="n² 2^-52 abs(Z)² with n = 9 and abs(Z) below 50",
        run=kemeny_traces,
    ),
    Claim(
        id="t07",
        statement="7: rates 1 - λ through 1 - P = B'B of birth-death chains: their product is the "
        "sum over rooted trees, and the sum of 1 / (1 - λ) is K, against the rationals, relative",
        code=relaxation_rates,
        test=f"{PASSAGE_TEST}::test_all_rates_to_their_own_relative_error",
        printed="0 (1e-16)",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=MOST * RATE,
        why="40 n u for each rate, n = 15 of them in the product",
        run=rates,
    ),
    Claim(
        id="t07-least",
        statement="7: and so down to a gap of: log10",
        code=relaxation_rates,
        test=f"{PASSAGE_TEST}::test_all_rates_to_their_own_relative_error",
        printed="about -132; seen: -130",
        number="ours",
        expected=(-130.0,),
        tolerance=0.05,
        why="half a unit of the decimal given, ours: the temperature of the -132 is 0.003, its "
        "levels are 201 (t12-gap)",
        run=smallest_rate,
    ),
    Claim(
        id="t08",
        statement="8 (quasi-stationary law): ν Q = θ ν; E_ν T = 1 / (1 - θ); P_ν(T = t, place) = "
        "θ^(t-1) (1 - θ) P(place): largest residues, the last two relative, t to 12",
        code=quasi_stationary,
        test=f"{ESCAPE_TEST}::test_time_and_place_of_leaving_are_independent",
        printed="0 (3e-15, 5e-15)",
        number="noted",
        expected=(0.0, 0.0, 0.0),
        tolerance=(12 * (MOST + 4) + 64 * MOST) * 2.0**-52,
        why="t (n + 4) u for the steps and 64 n u for ν, doubled, t = 12, n = 15",
        run=staying,
    ),
    Claim(
        id="t09",
        statement="9 (Keilson, Fill): a birth-death passage is a sum of geometric times with the "
        "killed chain's rates: mean, and variance over E T², against the rationals",
        code=passage_law,
        test=f"{PASSAGE_TEST}::test_mean_and_variance_of_a_passage",
        printed="0 (4e-13, 9e-13 with an eigensolver)",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=5 * RATE,
        why="40 n u for each rate, five times for squares and differences, n = 15",
        run=passages,
    ),
    Claim(
        id="t10",
        statement="10: E_a[T_b] = sum_y π_y h_ab(y) / cap(a, b), with the reversed chain's "
        "committor; over the hitting time, and the hitting time over the rationals: largest errors",
        code=passage_time,
        test=f"{ESCAPE_TEST}::test_passage_times_are_ratios_of_committor_to_capacity",
        printed="0 (6e-16)",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=20 * law_error(MOST),
        why="(2 n³ + 16) u for each of reversal, committor, capacity and law, n = 15",
        run=potentials,
    ),
)
