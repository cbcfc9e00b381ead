"""Birth and death against the rationals, compiled and plain, with weak links and none at all.

Compiled loops carry two doubles: three roundings in a law, two in a time (2**-51), and n products
of relative error 2**-102 each. Plain loops round each of n products and sums: 4 n and 5 n.
"""

import math
from fractions import Fraction
from itertools import accumulate
from operator import mul

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rationals import relative_error
from strategies import examples

from qtheory.chain import (
    BandedChain,
    BirthDeathChain,
    MarkovChain,
    hitting_probabilities,
    hitting_times,
    is_irreducible,
    is_reversible,
    native,
    recurrent_classes,
    stationary_distribution,
)
from qtheory.chain.banded import banded
from qtheory.chain.birth_death import climbing_times, closed_spans

ULP = 2.0**-53


def bound(loops: str, size: int) -> float:
    return 4 * ULP + size * 2.0**-100 if loops == "compiled" else 5 * size * ULP


def exact_weights(chain: BirthDeathChain) -> list[int]:
    """Whole numbers that the law is proportional to."""
    links = zip(chain.up.tolist(), chain.down.tolist(), strict=True)
    ratios = [Fraction(p) / Fraction(q) for p, q in links]
    below = accumulate((r.numerator for r in ratios), mul, initial=1)
    above = [*accumulate((r.denominator for r in ratios[::-1]), mul, initial=1)][::-1]
    return [low * high for low, high in zip(below, above, strict=True)]


def exact_times(chain: BirthDeathChain) -> list[Fraction]:
    """Of passage to the last state."""
    steps, time = [], Fraction(0)
    for p, q in zip(chain.up.tolist(), [0.0, *chain.down.tolist()[:-1]], strict=True):
        time = (1 + Fraction(q) * time) / Fraction(p)
        steps.append(time)
    return [sum(steps[k:], Fraction(0)) for k in range(chain.size)]


@st.composite
def chains(draw, most=40, weakest=200) -> BirthDeathChain:
    """Links down to 2**-weakest; a law can fall and rise by thousands of powers of two."""
    links = st.tuples(st.integers(1, 1023), st.integers(0, weakest))
    pairs = draw(st.lists(st.tuples(links, links), min_size=1, max_size=most))
    up, down = ([m / 2048 * 2.0**-e for m, e in side] for side in zip(*pairs, strict=True))
    return BirthDeathChain(np.array(up), np.array(down))


def check_law(loops, chain):
    """Entries above 2**-1000."""
    found, weights = stationary_distribution(chain), exact_weights(chain)
    total = sum(weights)
    kept = [k for k, weight in enumerate(weights) if weight << 1000 > total]
    error = relative_error(found[kept], [weights[k] for k in kept], total)
    assert error <= bound(loops, chain.size)


def check_times(loops, chain):
    found = climbing_times(chain.up, chain.down)
    assert found[-1] == 0
    exact = exact_times(chain)
    if exact[0] < 2**1023:
        assert relative_error(found[:-1], exact[:-1]) <= bound(loops, chain.size)


@pytest.mark.parametrize("check", [check_law, check_times])
def test_laws_and_times_are_those_of_the_rationals(loops, check):
    @examples(40)
    @given(chains(weakest=20))
    def small(chain):
        check(loops, chain)

    small()


def test_a_law_may_leave_the_range_of_floats(loops):
    @examples(25)
    @given(chains())
    def wide(chain):
        check_law(loops, chain)

    wide()


@pytest.mark.parametrize("size", [255, 256, 257, 258, 511, 512, 513, 514, 770])
def test_blocks_meet(loops, size):
    """Sizes about the blocks of both loops, falling by 2**-2 and rising again."""
    rng = np.random.Generator(np.random.PCG64(size))
    tilt = np.where(np.arange(size - 1) < size // 2, 0.25, 4.0)
    down = rng.uniform(0.05, 0.1, size - 1)
    chain = BirthDeathChain(down * tilt * rng.uniform(0.9, 1.1, size - 1), down)
    check_law(loops, chain)


def test_extreme_links(loops):
    """The least positive float over the largest: each step is 2**1073."""
    least = math.ulp(0.0)
    chain = BirthDeathChain(np.array([least, 0.5, 0.5]), np.array([0.5, least, 0.25]))
    check_law(loops, chain)
    law = stationary_distribution(chain)
    assert law[1] == 0.0  # 2**-1075 of the largest
    assert law[0] + law[2] + law[3] == pytest.approx(1.0, rel=4 * ULP)


@st.composite
def broken_chains(draw) -> BirthDeathChain:
    """Some links of probability zero, in one direction or both."""
    link = st.sampled_from([0.0, 0.0, 0.125, 0.25, 0.5])
    pairs = draw(st.lists(st.tuples(link, link), min_size=1, max_size=7))
    up, down = map(list, zip(*pairs, strict=True))
    return BirthDeathChain(np.array(up), np.array(down))


def test_what_may_not_happen_is_found_as_in_a_matrix(loops):
    """Classes, laws and times of chains with missing links; dense: 2 n**3 + 16 roundings."""

    @examples(150)
    @given(broken_chains(), st.sets(st.integers(0, 7), min_size=1, max_size=3))
    def broken(chain, targets):
        dense, error = chain.to_dense(), (4 * chain.size**3 + 32) * ULP
        classes = recurrent_classes(dense)
        assert recurrent_classes(chain) == classes
        assert is_irreducible(chain) == is_irreducible(dense)
        assert [list(range(s.first, s.last + 1)) for s in closed_spans(chain)] == classes
        if len(classes) == 1:
            expected = pytest.approx(stationary_distribution(dense), rel=error, abs=0)
            assert stationary_distribution(chain) == expected
        hit = {t % chain.size for t in targets}
        expected = pytest.approx(hitting_times(dense, hit), rel=error, abs=0)
        assert hitting_times(chain, hit) == expected
        avoid = {t for t in range(chain.size) if t % 3 == 2} - hit
        expected = pytest.approx(hitting_probabilities(dense, hit, avoid), rel=error, abs=0)
        assert hitting_probabilities(chain, hit, avoid) == expected

    broken()


def test_more_than_one_closed_class_is_reported():
    chain = BirthDeathChain(np.array([0.5, 0.0, 0.5]), np.array([0.5, 0.0, 0.5]))
    with pytest.raises(ValueError, match=r"one recurrent class, got 2: 0\.\.1, 2\.\.3"):
        stationary_distribution(chain)


def test_thirty_digits_of_time(loops):
    """A Metropolis double well at 1/40 of its barrier: 10**28 iterations, to two roundings."""
    x = np.linspace(-1.5, 1.5, 101)
    energy = 40 * (x**2 - 1) ** 2
    rise = np.diff(energy)
    up, down = 0.5 * np.exp(-np.maximum(rise, 0)), 0.5 * np.exp(np.minimum(rise, 0))
    chain = BirthDeathChain(up, down)
    start, barrier_crossed = 17, 83
    times = hitting_times(chain, [barrier_crossed])
    part = BirthDeathChain(up[:barrier_crossed], down[:barrier_crossed])
    exact = exact_times(part)
    assert times[start] > 1e17
    assert relative_error(times[:barrier_crossed], exact[:-1]) <= bound(loops, 101)


def test_a_time_above_the_largest_float_is_an_error(loops):
    chain = BirthDeathChain(np.full(600, 2.0**-8), np.full(600, 0.5))
    for form in (chain, banded(chain), chain.to_dense()):
        with pytest.raises(OverflowError, match=r"a mean time .* a float"):
            hitting_times(form, [600])


def test_birth_and_death_is_reversible():
    chain = BirthDeathChain(np.array([0.5, 0.125, 0.0]), np.array([0.25, 0.5, 0.5]))
    assert is_reversible(chain) and is_reversible(banded(chain)) and is_reversible(chain.to_dense())
    apart = BirthDeathChain(np.array([0.5, 0.0]), np.array([0.25, 0.0]))
    with pytest.raises(ValueError, match="one recurrent class, got 2"):
        is_reversible(apart)
    ring = BandedChain(np.array([[0.5, 0.5, 0], [0, 0, 0]]), np.array([[0, 0, 0], [0, 0, 0.5]]))
    assert not is_reversible(ring)


def test_these_tests_bite():
    """A plain running product of 770 doubles is off by more than two roundings allow."""
    rng = np.random.Generator(np.random.PCG64(5))
    chain = BirthDeathChain(*rng.uniform(0.2, 0.25, (2, 770)))
    weight, exact = np.concatenate([[1.0], np.cumprod(chain.up / chain.down)]), exact_weights(chain)
    error = relative_error(weight / weight.sum(), exact, sum(exact))
    assert error > bound("compiled", chain.size)


@pytest.mark.parametrize(
    ("up", "down", "message"),
    [
        ([0.5], [0.5, 0.5], r"one entry for each link, got \(1,\) and \(2,\)"),
        ([0.5, -0.5], [0.5, 0.5], ">= 0, got -0.5"),
        ([0.5, math.nan], [0.5, 0.5], ">= 0, got nan"),
        ([0.5, 0.75], [0.5, 0.5], "at most one, got 1.25"),
        ([math.inf], [0.5], "at most one, got inf"),
        ([0.5], [1.5], "at most one, got 1.5"),
    ],
)
def test_what_is_not_a_chain_is_refused(up, down, message):
    with pytest.raises(ValueError, match=message):
        BirthDeathChain(np.array(up), np.array(down))


def test_forms_of_a_chain_agree():
    chain = BirthDeathChain(np.array([0.5, 0.25]), np.array([0.5, 1.0]))
    matrix = np.array([[0, 0.5, 0], [0.5, 0, 0.25], [0, 1, 0]])
    assert (chain.to_dense().off_diagonal == matrix).all()
    assert chain.staying.tolist() == [0.5, 0.25, 0.0]
    wide = BandedChain(np.array([[0.5, 0.25, 0], [0, 0, 0]]), np.array([[0, 0.5, 1.0], [0, 0, 0]]))
    assert (wide.to_dense().off_diagonal == matrix).all()
    assert wide.staying.tolist() == [0.5, 0.25, 0.0]
    assert {*zip(*chain.moves, strict=True)} == {*zip(*MarkovChain(matrix).moves, strict=True)}
    assert stationary_distribution(BirthDeathChain(np.zeros(0), np.zeros(0))).tolist() == [1.0]


def test_a_library_that_does_not_fit_is_an_error(monkeypatch, tmp_path):
    (tmp_path / native.LIBRARY).write_bytes(b"no library")
    monkeypatch.setenv("QTHEORY_LIB", str(tmp_path))
    with pytest.raises(RuntimeError, match="not a chain library of this version, build it again"):
        native.library.__wrapped__()
