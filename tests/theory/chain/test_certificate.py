"""Certificates hold: for any law, near or far, a bound is above the true distance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qtheory import Lattice
from qtheory.algorithms import StochasticRounding
from qtheory.chain import (
    JointChain,
    MarkovChain,
    certified_stationary_distribution,
    certify,
    hitting_times,
    mean_times,
    quadratic_increments,
    stationary_distribution,
    verified_times,
)
from qtheory.chain.certificate import DenseOperator
from qtheory.transition import joint_chain


@st.composite
def dense_chains(draw):
    """Irreducible, with links from 1 down to 1e-9."""
    size, seed = draw(st.integers(2, 12)), draw(st.integers(0, 2**32))
    rng = np.random.Generator(np.random.PCG64(seed))
    matrix = rng.random((size, size)) * 10.0 ** -rng.integers(0, 10, (size, size)) / size
    np.fill_diagonal(matrix, 0.0)
    return MarkovChain(matrix)


def total_variation(p, q) -> float:
    return 0.5 * float(np.abs(p - q).sum())


@given(dense_chains(), st.integers(0, 2**32), st.sampled_from([0.0, 1e-14, 1e-6, 0.1, 1.0]))
@examples(100)
def test_no_law_is_further_away_than_its_certificate(chain, seed, wrong):
    """The true law by elimination errs by 2 n**3 2**-53 of itself."""
    rng = np.random.Generator(np.random.PCG64(seed))
    truth = stationary_distribution(chain)
    law = (1 - wrong) * truth + wrong * rng.dirichlet(np.ones(chain.size))
    ground = int(rng.integers(chain.size))
    operator = DenseOperator(chain)
    times = verified_times(operator, ground, hitting_times(chain, [ground]))
    bound = certify(operator, law / law.sum(), times).total_variation
    assert total_variation(law, truth) <= bound + 2 * chain.size**3 * 2.0**-53


@given(dense_chains(), st.integers(0, 2**32))
@examples(50)
def test_verified_times_are_above_the_mean_times(chain, seed):
    """Times by elimination err by 2 n**3 2**-53; any guess that passes must be above them."""
    rng = np.random.Generator(np.random.PCG64(seed))
    exact = hitting_times(chain, [0])
    guess = exact * (1 + 1e-10 * rng.random(chain.size)) * 10.0 ** rng.integers(-5, 5)
    try:
        found = verified_times(DenseOperator(chain), 0, guess)
    except ValueError:
        return
    assert (found >= exact * (1 - 2 * chain.size**3 * 2.0**-53)).all()


def two_halves(coupling: float) -> MarkovChain:
    matrix = np.full((6, 6), 0.15)
    matrix[:3, 3:] = coupling
    matrix[3:, :3] = 3 * coupling
    np.fill_diagonal(matrix, 0.0)
    return MarkovChain(matrix)


def test_a_small_residual_proves_nothing_and_the_certificate_knows():
    """Half and half is all but stationary at a coupling of 1e-9, and wrong by 1/4."""
    chain = two_halves(1e-9)
    operator, law = DenseOperator(chain), np.full(6, 1 / 6)
    assert np.abs(law - operator.advance(law)).sum() < 1e-8
    assert total_variation(law, stationary_distribution(chain)) == pytest.approx(0.25, abs=1e-8)
    times = verified_times(operator, 0, hitting_times(chain, [0]))
    assert certify(operator, law, times).total_variation >= 0.25


@pytest.mark.parametrize(
    ("guess", "rule"),
    [
        (np.array([0.0, 1.0, -1.0, 1.0, 1.0, 1.0]), "finite and >= 0"),
        (np.array([0.0, 1.0, np.nan, 1.0, 1.0, 1.0]), "finite and >= 0"),
        (np.array([0.0, 1.0, 9.0, 1.0, 1.0, 1.0]), "it rises by"),
        (np.zeros(6), "it rises by"),
    ],
)
def test_what_is_no_supersolution_is_refused(guess, rule):
    with pytest.raises(ValueError, match=rule):
        verified_times(DenseOperator(two_halves(0.01)), 0, guess)


def test_certify_refuses_what_is_no_law_and_no_times():
    operator = DenseOperator(two_halves(0.01))
    times = mean_times(operator, 0)
    with pytest.raises(ValueError, match="sums to one"):
        certify(operator, np.full(6, 0.2), times)
    with pytest.raises(ValueError, match="one state, the ground, has time 0, got 6"):
        certify(operator, np.full(6, 1 / 6), np.zeros(6))


def coupled(dimension: int, learning_rate: float) -> JointChain:
    """Random coupled quadratic on {-1, 0, 1}**d, two atoms of noise."""
    rng = np.random.Generator(np.random.PCG64(1))
    factor = rng.normal(size=(dimension, dimension)) / np.sqrt(dimension)
    hessian = factor @ factor.T + 0.3 * np.eye(dimension)
    noise = rng.normal(size=(1, dimension)) * np.array([[1.0], [-1.0]])
    minimiser = rng.uniform(-1, 1, dimension)
    return joint_chain(
        StochasticRounding(Lattice.ternary()),
        dimension,
        quadratic_increments(hessian, minimiser, learning_rate, noise),
        np.array([0.5, 0.5]),
    )


@pytest.mark.parametrize("learning_rate", [0.3, 0.01])
def test_the_law_of_a_joint_chain_comes_with_its_proof(learning_rate):
    chain = coupled(5, learning_rate)
    law, certificate = certified_stationary_distribution(chain, 1e-10)
    exact = stationary_distribution(chain.to_dense())
    assert total_variation(law, exact) <= certificate.total_variation <= 1e-10
    shortest = hitting_times(chain.to_dense(), [certificate.ground]).max()
    assert shortest <= certificate.longest <= 1.01 * shortest


def test_a_tolerance_below_rounding_is_refused():
    with pytest.raises(ValueError, match="certified to"):
        certified_stationary_distribution(coupled(3, 0.01), 1e-17)


def test_a_chain_that_leaves_a_state_for_good_has_no_times_to_it():
    matrix = np.array([[0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.0, 0.5, 0.0]])
    with pytest.raises(ValueError, match="a supersolution"):
        mean_times(DenseOperator(MarkovChain(matrix)), 0)
