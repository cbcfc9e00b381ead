"""Joint chains against their matrix, written out in longer floats."""

import itertools
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qtheory import Lattice
from qtheory.algorithms import DST, DeterministicRounding, StochasticRounding
from qtheory.chain import joint_kernel, quadratic_increments
from qtheory.transition import joint_chain

RULES = [StochasticRounding, DST, DeterministicRounding]
UNIT = 2.0**-53


def backends() -> list[str]:
    return ["plain", "native"] if joint_kernel.available() else ["plain"]


@st.composite
def joint_chains(draw, backend="plain"):
    """Coupled quadratic losses on up to 3 weights and 5 levels, up to 3 atoms, any step."""
    dimension, size, atoms = (draw(st.integers(1, most)) for most in (3, 5, 3))
    rule = draw(st.sampled_from(RULES))
    number = st.integers(-8, 8).map(lambda k: k / 8)
    hessian = np.array(draw(st.lists(number, min_size=dimension**2, max_size=dimension**2)))
    minimiser = np.array(draw(st.lists(number, min_size=dimension, max_size=dimension)))
    noise = np.array(draw(st.lists(number, min_size=atoms * dimension, max_size=atoms * dimension)))
    rate = draw(st.sampled_from([0.0, 1e-9, 0.1, 0.5, 3.0]))
    weight = np.array(draw(st.lists(st.integers(1, 9), min_size=atoms, max_size=atoms)), float)
    return joint_chain(
        rule(Lattice.uniform(-1.0, 1.0, max(size, 2))),
        dimension,
        quadratic_increments(
            hessian.reshape(dimension, dimension),
            minimiser,
            rate,
            noise.reshape(atoms, dimension),
        ),
        weight / weight.sum(),
        backend=backend,
    )


def matrix_by_definition(chain) -> np.ndarray:
    """sum over atoms of products of laws, in long double (2**-64 or less) and rounded once."""
    levels = chain.lattice.size
    matrix = np.zeros((chain.size, chain.size), np.longdouble)
    for i, start in enumerate(itertools.product(range(levels), repeat=chain.dimension)):
        weights = chain.lattice.levels[np.array([start])]
        for p, increments in zip(chain.probabilities, chain.increments(weights)[0], strict=True):
            row = np.array([p], np.longdouble)
            for x, z in zip(start, increments, strict=True):
                row = np.kron(row, chain.law(x, float(z)))
            matrix[i] += row
    return matrix.astype(np.float64)


@pytest.mark.parametrize("backend", backends())
@given(st.data())
@examples(25)
def test_products_with_the_chain_are_those_with_its_matrix(backend, data):
    """Entries of P err by 2 d + 3 units of 2**-53, sums of n terms by n more; all terms are >= 0,
    so the bound is relative to the result."""
    chain = data.draw(joint_chains(backend))
    matrix = matrix_by_definition(chain)
    rng = np.random.Generator(np.random.PCG64(3))
    law_now, values = rng.dirichlet(np.ones(chain.size)), rng.random(chain.size)
    terms = chain.size * len(chain.probabilities)
    bound = (2 * chain.dimension + 6 + 2 * terms) * UNIT
    for got, exact in [
        (chain.advance(law_now), law_now @ matrix),
        (chain.advance(law_now, compensated=True), law_now @ matrix),
        (chain.expect(values), matrix @ values),
    ]:
        assert (np.abs(got - exact) <= bound * exact).all()


@given(joint_chains())
@examples(25)
def test_small_chances_keep_their_digits_in_the_matrix(chain):
    exact = matrix_by_definition(chain)
    np.fill_diagonal(exact, 0.0)
    found = chain.to_dense().off_diagonal
    bound = (2 * chain.dimension + 4 + len(chain.probabilities)) * UNIT
    assert (np.abs(found - exact) <= bound * exact).all()


@pytest.mark.skipif(not joint_kernel.available(), reason="the compiled loops were not built")
def test_twelve_weights_take_seconds_and_less_than_a_hundred_megabytes():
    """3**12 states with 1.5e9 moves: 0.6 s a step on two idle cores; the limit is for busy ones.

    law P and P f come from loops of their own, one scattering and one gathering; both give the
    mean of f after a step, each within `roundings` units, and 3**12 plain additions.
    """
    rng = np.random.Generator(np.random.PCG64(1))
    factor = rng.normal(size=(12, 12)) / np.sqrt(12)
    hessian, minimiser = factor @ factor.T + 0.3 * np.eye(12), rng.uniform(-1, 1, 12)
    increments = quadratic_increments(hessian, minimiser, 0.2)
    chain = joint_chain(StochasticRounding(Lattice.ternary()), 12, increments)
    law_now, values = rng.random(chain.size) / (0.5 * chain.size), rng.random(chain.size)
    tracemalloc.start()
    chain.advance(law_now)
    start = time.perf_counter()
    after = chain.advance(law_now)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    bound = (sum(chain.roundings) + 2 * chain.size) * UNIT
    assert after @ values == pytest.approx(law_now @ chain.expect(values), rel=bound, abs=0)
    assert seconds < 10
    assert peak < 10**8


@pytest.mark.parametrize("backend", backends())
def test_moves_are_worked_out_again_where_there_is_no_memory(backend):
    def chain(memory):
        increments = quadratic_increments(
            np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([0.3, -0.2]), 0.7
        )
        spec = StochasticRounding(Lattice.uniform(-1, 1, 9))
        return joint_chain(spec, 2, increments, memory=memory, backend=backend)

    law_now = np.full(81, 1 / 81)
    assert (chain(2**26).advance(law_now) == chain(0).advance(law_now)).all()


def test_weights_that_share_a_minibatch_move_together():
    """One atom moves both up, the other both down: independent weights would also part."""
    both = np.array([[0.5, 0.5], [-0.5, -0.5]])
    chain = joint_chain(
        DeterministicRounding(Lattice.binary(0.5)), 2,
        lambda w: np.broadcast_to(2 * both, (len(w), 2, 2)), np.array([0.5, 0.5]),
    )  # fmt: skip
    assert chain.advance(np.full(4, 0.25)).tolist() == [0.5, 0.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"dimension": 0}, "at least one weight"),
        ({"probabilities": np.array([0.5, 0.6])}, "sum to one"),
        ({"probabilities": np.array([1.5, -0.5])}, "are >= 0"),
        ({"probabilities": np.array([np.nan])}, "are >= 0"),
    ],
)
def test_bad_chains_are_refused(change, rule):
    given_ = {
        "spec": StochasticRounding(Lattice.ternary()),
        "dimension": 2,
        "increments": quadratic_increments(np.eye(2), np.zeros(2), 0.1),
    }
    with pytest.raises(ValueError, match=rule):
        joint_chain(**(given_ | change))


def test_bad_use_is_refused():
    spec = StochasticRounding(Lattice.ternary())
    chain = joint_chain(spec, 2, quadratic_increments(np.eye(2), np.zeros(2), 0.1))
    with pytest.raises(ValueError, match="each of 9 states"):
        chain.advance(np.ones(8))
    with pytest.raises(ValueError, match="at most 2147483647 states"):
        next(joint_chain(spec, 20, lambda w: w[:, None, :]).tables())
    with pytest.raises(ValueError, match="increments have the shape"):
        joint_chain(spec, 2, lambda w: w).advance(np.ones(9) / 9)
    with pytest.raises(ValueError, match="at most 4096 states"):
        joint_chain(spec, 8, quadratic_increments(np.eye(8), np.zeros(8), 0.1)).to_dense()
