"""Every algorithm of the registry: its `step` has its `law`, its `threshold` is obeyed.

Increments are measured in spacings by one float32 division; the law is exact for the measured
number. It is handed to the law as (measured) * (spacing): a product of two float32 numbers is
exact in float64, so the law's own division returns the measured number unchanged.
"""

from __future__ import annotations

import importlib
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qreference
from qtheory.algorithms import SPECS, Spec
from qtheory.lattice import Lattice

REPEATABLE = settings(
    derandomize=True, database=None, deadline=None, print_blob=True, max_examples=60
)
every_word = (np.arange(2**16, dtype=np.uint32) << 16) + 2**15
SIZES = [2, 3, 5, 129, 255]
SPACINGS = [1.0, 2.0, 2.0**-7, *(float(np.float32(s)) for s in (1 / 3, 0.1, 2 / 254, 1e-6, 7e5))]
stems = pytest.mark.parametrize("stem", SPECS)


@st.composite
def lattices(draw) -> Lattice:
    """Spacings are float32 numbers, and the value 0 sits exactly on a half or a whole index."""
    size = draw(st.sampled_from(SIZES))
    spacing = draw(st.sampled_from(SPACINGS))
    zero = draw(st.sampled_from([(size - 1) / 2, 0.0, 0.5, 1.0, size - 1.0, -2.5, size + 1.0]))
    lattice = Lattice(size=size, spacing=spacing, low=-zero * spacing)
    assert lattice.zero == zero
    return lattice


@st.composite
def specs(draw, stem: str) -> Spec:
    lattice = draw(lattices())
    if stem == "dst":
        return SPECS[stem](lattice, draw(st.sampled_from([0.01, 0.5, 1.0, 3.0, 10.0, 40.0])))
    return SPECS[stem](lattice)


@st.composite
def increments(draw, lattice: Lattice) -> np.float32:
    """Ties, whole spacings and their neighbours, zeros, subnormals, huge, infinite, NaN."""
    halves = st.integers(-2 * lattice.size - 3, 2 * lattice.size + 3).map(lambda k: k / 2)
    plain = st.floats(-3, 3, width=32)
    extreme = st.sampled_from(
        [0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-30, 1e30, -3e38, math.inf, -math.inf, math.nan]
    )
    if draw(st.booleans()):
        return np.float32(draw(extreme))
    x = np.float32(draw(st.one_of(halves, plain)) * lattice.spacing)
    side = draw(st.sampled_from([0, -1, 1]))
    return np.nextafter(x, np.float32(side * np.inf)) if side else x


def indices(lattice: Lattice):
    """All of a small lattice's indices, the ends and the middle of a large one."""
    few = {0, 1, 2, lattice.size // 2, lattice.size - 2, lattice.size - 1}
    return sorted(few & set(range(lattice.size)))


def measured(lattice: Lattice, increment: np.float32) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(increment / np.float32(lattice.spacing))


def law_of(stem: str):
    return importlib.import_module(f"qtheory.algorithms.{stem}").law


@stems
@REPEATABLE
@given(data=st.data())
def test_step_has_the_law(stem, data):
    spec = data.draw(specs(stem))
    increment = data.draw(increments(spec.lattice))
    exact = measured(spec.lattice, increment) * spec.lattice.spacing
    for i in indices(spec.lattice):
        after = qreference.algorithm(spec).step(
            spec, np.full(2**16, i), np.full(2**16, increment), every_word
        )
        frequency = np.bincount(after, minlength=spec.lattice.size) / 2**16
        # Of 2**16 words in the middles of equal cells, those below T are T / 2**16 rounded:
        # 2**-17 of probability. T itself is p rounded down: 2**-32 more.
        assert np.abs(frequency - law_of(stem)(spec, i, exact)).max() <= 2.0**-16


@stems
@REPEATABLE
@given(data=st.data(), size=st.sampled_from(SIZES), order=st.integers(-9, 3))
def test_step_has_the_law_of_the_raw_increment_where_division_is_exact(stem, data, size, order):
    """Spacings that are powers of two, so of Z_N: nothing is measured, nothing rounded."""
    spec = SPECS[stem](Lattice(size=size, spacing=2.0**order, low=-(2.0**order)))
    increment = data.draw(increments(spec.lattice))
    i = data.draw(st.integers(0, size - 1))
    after = qreference.algorithm(spec).step(
        spec, np.full(2**16, i), np.full(2**16, increment), every_word
    )
    frequency = np.bincount(after, minlength=size) / 2**16
    assert np.abs(frequency - law_of(stem)(spec, i, float(increment))).max() <= 2.0**-16


@stems
@REPEATABLE
@given(data=st.data())
def test_the_threshold_divides_the_words_that_move_from_those_that_do_not(stem, data):
    spec = data.draw(specs(stem))
    lattice = spec.lattice
    i = data.draw(st.integers(0, lattice.size - 1))
    increment = data.draw(increments(lattice))
    algorithm = qreference.algorithm(spec)
    x = measured(lattice, increment)
    x = 0.0 if math.isnan(x) else max(min(x, lattice.size), -lattice.size)
    sign, whole = (-1 if x < 0 else 1), math.floor(abs(Fraction(x)))

    def after(word: int) -> int:
        return algorithm.step(
            spec, np.array([i]), np.array([increment]), np.array([word], dtype=np.uint32)
        ).item()

    def stopped(index: int) -> int:
        return min(max(index, 0), lattice.size - 1)

    threshold = algorithm.threshold(spec, np.array([i]), np.array([increment])).item()
    assert 0 <= threshold <= 2**32
    if threshold > 0:
        assert after(threshold - 1) == after(0) == stopped(i + sign * (whole + 1))
    if threshold < 2**32:
        assert after(threshold) == after(2**32 - 1) == stopped(i + sign * whole)


@stems
def test_nan_does_not_move_and_infinities_go_to_the_ends(stem):
    spec = SPECS[stem](Lattice.uniform(-1.0, 2.0, 7))
    index = np.arange(7)
    words = np.full(7, 0, dtype=np.uint32)
    step = qreference.algorithm(spec).step
    assert step(spec, index, np.full(7, np.nan, np.float32), words).tolist() == [*range(7)]
    assert step(spec, index, np.full(7, -0.0, np.float32), words).tolist() == [*range(7)]
    assert step(spec, index, np.full(7, np.inf, np.float32), words).tolist() == [6] * 7
    assert step(spec, index, np.full(7, -np.inf, np.float32), words).tolist() == [0] * 7


@stems
@pytest.mark.parametrize("size", SIZES)
def test_read_gives_the_levels_and_init_finds_them_again(stem, size):
    spec = SPECS[stem](Lattice.uniform(-0.7, 1.3, size))
    algorithm = qreference.algorithm(spec)
    index = np.arange(size).reshape(1, size)
    weights = algorithm.read(spec, index)
    assert weights.dtype == np.float32
    assert weights.shape == (1, size)
    # One rounding to float32 of numbers below 2: half of 2**-23.
    assert np.abs(weights[0] - spec.lattice.levels).max() <= 2.0**-24
    assert algorithm.init(spec, weights).tolist() == index.tolist()


@stems
@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_index_off_the_lattice_is_refused(stem, wrong):
    spec = SPECS[stem](Lattice.ternary())
    algorithm = qreference.algorithm(spec)
    index, zeros = np.array([0, wrong]), np.zeros(2)
    with pytest.raises(ValueError, match=f"an index is in 0..2, got {wrong}"):
        algorithm.read(spec, index)
    with pytest.raises(ValueError, match=f"an index is in 0..2, got {wrong}"):
        algorithm.step(spec, index, zeros.astype(np.float32), zeros.astype(np.uint32))


@stems
def test_weights_do_not_see_each_other(stem):
    """Any part of the arrays, in any order and shape, moves as it does in the whole."""
    spec = SPECS[stem](Lattice.uniform(-1.0, 1.0, 9))
    rng = np.random.default_rng(3)
    index = rng.integers(0, 9, 60)
    increment = rng.normal(0, 0.4, 60).astype(np.float32)
    words = rng.integers(0, 2**32, 60, dtype=np.uint32)
    step = qreference.algorithm(spec).step
    whole = step(spec, index, increment, words)
    back = slice(None, None, -1)
    assert (step(spec, index[back], increment[back], words[back]) == whole[back]).all()
    parts = [slice(k, k + 7) for k in range(0, 60, 7)]
    pieces = [step(spec, index[part], increment[part], words[part]) for part in parts]
    assert (np.concatenate(pieces) == whole).all()
    square = step(spec, index.reshape(6, 10), increment.reshape(6, 10), words.reshape(6, 10))
    assert (square.reshape(-1) == whole).all()


def test_every_stem_has_a_reference_and_nothing_else_has():
    assert list(qreference.ALGORITHMS) == list(SPECS)
    assert [module.__name__ for module in qreference.ALGORITHMS.values()] == [
        f"qreference.{stem}" for stem in SPECS
    ]
