"""Theorems on chains that are inequalities: tried on random and on adversarial chains.

A number obtained is the largest quotient of the smaller side and the larger one: at most 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qpapers.chains.cases import (
    ADVERSARIAL,
    MOST,
    REVERSIBLE,
    UNIT,
    any_chains,
    birth_death,
    double_well,
    generator,
    law_error,
    neighbour_chains,
    random_chain,
    reversible_chains,
)
from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.chain import (
    MarkovChain,
    asymptotic_variance,
    barker,
    cheeger_bounds,
    coupling_bound,
    distances,
    dobrushin_coefficient,
    dominates,
    hardy_bounds,
    lazy,
    metropolis_hastings,
    mixing_bounds,
    mixing_time,
    relaxation_rates,
    spectral_gap,
    tail_bound,
    total_variation,
)
from qtheory.chain.large_deviations import deviation
from qtheory.chain.markov import PerState
from qtheory.chain.structure import composed

REVERSIBLE_TEST = "tests/theory/chain/theorems/test_reversible.py"
MIXING_TEST = "tests/theory/chain/theorems/test_mixing.py"
DEVIATIONS_TEST = "tests/theory/chain/theorems/test_deviations.py"
GAP_SLACK = 4 * MOST**4 * UNIT

Tails = Float[ndarray, "n"]


def proposals() -> Iterator[tuple[MarkovChain, PerState]]:
    """Chains that propose, adversarial ones too, and weights over up to 12 decades."""
    for seed, chain in enumerate(any_chains()):
        if ((chain.off_diagonal > 0) == (chain.off_diagonal.T > 0)).all():
            yield chain, 10.0 ** (-(seed % 13) * generator(seed).random(chain.size))


def peskun() -> Values:
    """Largest variance of Metropolis over that of Barker, and pairs without domination."""
    worst, without = 0.0, 0
    for number, (chain, law) in enumerate(proposals()):
        better, worse = metropolis_hastings(chain, law), barker(chain, law)
        without += not dominates(better, worse)
        for f in (generator(number).standard_normal(chain.size), np.eye(chain.size)[0]):
            worst = largest((worst, asymptotic_variance(better, f) / asymptotic_variance(worse, f)))
    return worst, without


def relaxation(chain: MarkovChain) -> float:
    """1 - lambda_2 of a reversible chain."""
    moves = chain.off_diagonal
    if not np.triu(moves, 2).any() and not np.tril(moves, -2).any():
        return float(relaxation_rates(chain)[0])
    return 2 * spectral_gap(lazy(chain))


def largest_of_each(pairs: Iterable[tuple[float, float]]) -> Values:
    """Of each of two quotients."""
    found = np.array(list(pairs)).max(axis=0)
    return float(found[0]), float(found[1])


def cheeger() -> Values:
    """(Phi² / 2) / gap and gap / (2 Phi)."""

    def quotients(chain: MarkovChain) -> tuple[float, float]:
        bounds, gap = cheeger_bounds(chain), relaxation(chain)
        return bounds.lower / gap, gap / bounds.upper

    return largest_of_each(map(quotients, reversible_chains()))


def hardy() -> Values:
    """(1 / 4 B) / gap and gap / (2 / B)."""
    cold = (double_well(t) for t in (0.2, 0.05, 0.01, 0.003))
    dense = (chain.to_dense() for chain in neighbour_chains())

    def quotients(chain: MarkovChain) -> tuple[float, float]:
        bounds, gap = hardy_bounds(chain), float(relaxation_rates(chain)[0])
        return bounds.lower / gap, gap / bounds.upper

    return largest_of_each(quotients(chain) for chains in (cold, dense) for chain in chains)


def cold_gap() -> Values:
    """log10 of the gap of the coldest double well tried, and of Cheeger's upper over lower."""
    chain = double_well(0.003)
    bounds = cheeger_bounds(chain)
    return math.log10(relaxation(chain)), math.log10(bounds.upper / bounds.lower)


def mixing() -> Values:
    """Lower bound over t, t over upper bound; distances of 1/4 and 1/1000."""

    def quotients(chain: MarkovChain, distance: float) -> tuple[float, float]:
        bounds, time = mixing_bounds(chain, distance), mixing_time(chain, distance)
        return bounds.lower / largest((time, 1)), time / bounds.upper

    chains = [*REVERSIBLE.values(), *(lazy(c) for c in reversible_chains())]
    return largest_of_each(quotients(chain, d) for chain in chains for d in (0.25, 1e-3))


def exact_tail(chain: MarkovChain, values: PerState, least: int, iterations: int) -> Tails:
    """P_i(S_n >= least) for whole values >= 0, by the law of (X, S)."""
    found = np.zeros(chain.size)
    for start in range(chain.size):
        law = np.zeros((chain.size, int(values.max()) * iterations + 1))
        law[start, 0] = 1.0
        for _ in range(iterations):
            moved = chain.transition_matrix.T @ law
            law = np.array([np.roll(row, int(v)) for row, v in zip(moved, values, strict=True)])
        found[start] = law[:, least:].sum()
    return found


def tails() -> Values:
    """Largest P_i(S_n >= n a) over its bound, where that is below 1."""
    worst = 0.0
    hard = [ADVERSARIAL[n] for n in ("a turning ring", "banded, one way weak")]
    for number, chain in enumerate(hard + [random_chain(s, 2 + s % 4, 2.0) for s in range(20)]):
        values = generator(number).integers(0, 3, chain.size).astype(np.float64)
        values[0], n = 2.0, 5 + number % 20
        for mean in (1.2, 1.6, 1.9):
            exact = exact_tail(chain, values, math.ceil(mean * n - 1e-9), n)
            bounds = tail_bound(chain, values, mean, n)
            worst = largest((worst, float((exact / bounds).max(initial=0.0, where=bounds < 1.0))))
    return (worst,)


def tail_rate() -> Values:
    """(ln(bound) - ln P) / (ln n + 4) at n = 400 and 1600, from state 0."""
    chain = birth_death(np.array([0.3, 0.2]), np.array([0.25, 0.4]))
    values = np.array([0.0, 1.0, 2.0])
    found: list[float] = []
    for n in (400, 1600):
        exact = exact_tail(chain, values, math.ceil(1.5 * n), n)[0]
        excess = math.log(tail_bound(chain, values, 1.5, n)[0] / exact)
        found.append(excess / (math.log(n) + 4))
    return tuple(found)


def contraction() -> Values:
    """tau(P^s P^t) - tau tau and TV after - tau TV before, each the largest."""
    products, laws = -1.0, -1.0
    pairs = list(any_chains())
    for seed, one in enumerate(pairs):
        other = random_chain(seed + 100, one.size, (0.3, 4.0)[seed % 2])
        tau = dobrushin_coefficient(one)
        together = dobrushin_coefficient(composed(one, other))
        products = largest((products, together - tau * dobrushin_coefficient(other)))
        p, q = generator(seed).dirichlet(np.ones(one.size), 2)
        moved = 0.5 * float(np.abs((p - q) @ one.transition_matrix).sum())
        laws = largest((laws, moved - tau * total_variation(p / p.sum(), q / q.sum())))
    return products, laws


def coupling() -> Values:
    """d(t) - P(copies have not met) and d(t) - tau^t, each the largest, t up to 60."""
    found: list[tuple[float, float]] = []
    for chain in any_chains():
        tau = dobrushin_coefficient(chain)
        for t in (0, 1, 3, 10, 60):
            d = float(distances(chain, [t])[0])
            found.append((d - coupling_bound(chain, t), d - tau**t))
    return largest_of_each(found)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="t02",
        statement="2 (Peskun): off-diagonal domination gives the smaller asymptotic variance; "
        "Metropolis dominates Barker: largest quotient of variances, and pairs without domination",
        code=asymptotic_variance,
        test=f"{REVERSIBLE_TEST}::test_peskun",
        printed="at most 1; none, 0 (constants of abs(dP) = .32 not recorded)",
        number="noted",
        expected=(1.0, 0.0),
        tolerance=20 * law_error(MOST),
        why="a variance errs by a few times the law's (2 n³ + 16) u: 20 times for two, n = 15",
        run=peskun,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="t05-cheeger",
        statement="5 (Cheeger): Phi² / 2 <= 1 - λ_2 <= 2 Phi, reversible: largest quotients",
        code=cheeger_bounds,
        test=f"{REVERSIBLE_TEST}::test_the_gap_lies_between_the_bounds_of_cheeger",
        printed="at most 1",
        number="noted",
        expected=(1.0, 1.0),
        tolerance=GAP_SLACK,
        why="4 n⁴ u of the gap, n = 15",
        run=cheeger,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="t05-hardy",
        statement="5 (Hardy, Miclo): 1 / (4 B) <= 1 - λ_2 <= 2 / B for birth-death chains, B from "
        "the median: largest quotients",
        code=hardy_bounds,
        test=f"{REVERSIBLE_TEST}::test_the_gap_lies_between_the_bounds_of_hardy",
        printed="at most 1, for gaps down to 1e-131",
        number="noted",
        expected=(1.0, 1.0),
        tolerance=law_error(MOST),
        why="(2 n³ + 16) u of B, and 40 n u of the gap, which is less; n = 15",
        run=hardy,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="t05-cold",
        statement="and so down to a gap of: log10, tilted double well, 15 levels, T = 0.003; where "
        "Cheeger's bounds are apart by: log10",
        code=relaxation_rates,
        test=f"{REVERSIBLE_TEST}::test_hardy_holds_down_to_gaps_of_1e_130",
        printed="below 1e-128, 1e130 (constants of 1e-131 not recorded); seen: -130, 130.3",
        number="ours",
        expected=(-130.0, 130.3),
        tolerance=0.05,
        why="half a unit of the decimal given, ours",
        run=cold_gap,
    ),
    Claim(
        id="t06",
        statement="6: (t_rel - 1) ln(1 / 2ε) <= t_mix(ε) <= t_rel ln(1 / (ε π_min)), reversible, "
        "absolute gap, ε = 1/4 and 1/1000: largest quotients",
        code=mixing_bounds,
        test=f"{MIXING_TEST}::test_mixing_lies_between_the_bounds_of_the_gap",
        printed="at most 1 (constants of 2146 <= 3004 <= 28703 not recorded)",
        number="noted",
        expected=(1.0, 1.0),
        tolerance=GAP_SLACK,
        why="2 n⁴ u of the gap, n = 15, and 2 log2(t) (n + 3) u of t, which is less",
        run=mixing,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="t21",
        statement="21 (Donsker-Varadhan): P_i(S_n >= n a) <= (x_i / min x) exp(-n I(a)) at every "
        "n, so it serves as a p-value: largest quotient, bounds of 1 left out",
        code=tail_bound,
        test=f"{DEVIATIONS_TEST}::test_tails_are_below_their_bound",
        printed="at most 1 (constants of 1.7e-12, 0 of 20,000 runs, not recorded)",
        number="noted",
        expected=(1.0,),
        tolerance=1e-11,
        why="the roundings of at most 25 iterations on 15 states, and (n + iterations) 2^-50",
        run=tails,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="t21-rate",
        statement="and its rate is reached: ln(bound / P) / (ln n + 4) at n = 400, 1600, three "
        "states",
        code=deviation,
        test=f"{DEVIATIONS_TEST}::test_the_rate_is_reached",
        printed="at most 1: (1/2) ln n + O(1) by the prefactor",
        number="ours",
        expected=(1.0, 1.0),
        tolerance=0.0,
        why="a bound; ln n is twice the prefactor's term, and 4 the rest",
        run=tail_rate,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="t23",
        statement="23 (Dobrushin): τ(P^s P^t) <= τ τ, and TV of laws falls by τ: largest excess "
        "of the left side",
        code=dobrushin_coefficient,
        test=f"{DEVIATIONS_TEST}::test_contraction",
        printed="at most 0",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=8 * (MOST + 4) * UNIT,
        why="n + 4 roundings of sums of at most 1, eight times",
        run=contraction,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="t23-coupling",
        statement="23: d(t) <= P(two copies have not met by t), and d(t) <= τ^t: largest excess",
        code=coupling_bound,
        test=f"{DEVIATIONS_TEST}::test_copies_that_have_not_met_bound_the_distance",
        printed="at most 0",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=(60 * (MOST + 4) + 2 * MOST**3 + 16) * UNIT,
        why="t (n + 4) u of d and (2 n³ + 16) u of the law, t = 60, n = 15",
        run=coupling,
        guard=True,
        relation="<=",
    ),
)
