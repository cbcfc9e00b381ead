"""Chains on products: against their matrices, and as the limit of joint chains."""

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
    ProductChain,
    SingleSiteChain,
    certified_stationary_distribution,
    gibbs_law,
    metropolis_chain,
    quadratic_increments,
    single_site_limit,
    single_site_metropolis,
    stationary_distribution,
)
from qtheory.transition import joint_chain


def random_chain(rng, size: int) -> MarkovChain:
    matrix = rng.random((size, size)) / size
    np.fill_diagonal(matrix, 0.0)
    return MarkovChain(matrix)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 2**32))
@examples(40)
def test_a_product_is_the_kronecker_product(sizes, seed):
    """All terms are positive: errors are relative, of the stated number of units on either side."""
    rng = np.random.Generator(np.random.PCG64(seed))
    chain = ProductChain(tuple(random_chain(rng, n) for n in sizes))
    matrix = np.ones((1, 1))
    for factor in chain.factors:
        matrix = np.kron(matrix, factor.transition_matrix)
    law, values = rng.dirichlet(np.ones(chain.size)), rng.random(chain.size)
    bound = (2 * chain.roundings[0] + chain.size) * 2.0**-53
    for got, exact in ((chain.advance(law), law @ matrix), (chain.expect(values), matrix @ values)):
        assert (np.abs(got - exact) <= bound * exact).all()
    fixed = chain.stationary_distribution()
    assert np.abs(chain.advance(fixed) - fixed).max() <= 1e-13


def test_separable_weights_are_a_product():
    """A diagonal Hessian and no noise: the joint chain is that of each weight by itself."""
    spec, minimiser = StochasticRounding(Lattice.uniform(-1, 1, 4)), np.array([0.1, -0.6, 0.4])
    curvature = np.array([1.0, 2.0, 0.5])
    joint = joint_chain(spec, 3, quadratic_increments(np.diag(curvature), minimiser, 0.3))
    alone = [
        joint_chain(spec, 1, quadratic_increments(np.eye(1) * c, np.array([m]), 0.3)).to_dense()
        for c, m in zip(curvature, minimiser, strict=True)
    ]
    law = np.random.Generator(np.random.PCG64(1)).dirichlet(np.ones(64))
    assert np.abs(joint.advance(law) - ProductChain(tuple(alone)).advance(law)).max() <= 1e-15


@given(st.sampled_from([(5,), (3, 4), (2, 3, 3), (2, 2, 2, 2)]), st.integers(0, 2**32))
@examples(40)
def test_single_site_chains_have_the_products_of_their_matrix(shape, seed):
    rng = np.random.Generator(np.random.PCG64(seed))
    up, down = rng.random((2, len(shape), *shape)) / (2 * len(shape))
    for k in range(len(shape)):
        up[(k, *(slice(None),) * k, -1)] = 0.0
        down[(k, *(slice(None),) * k, 0)] = 0.0
    chain = SingleSiteChain(up, down)
    matrix = chain.to_dense().transition_matrix
    law, values = rng.dirichlet(np.ones(chain.size)), rng.random(chain.size)
    bound = (chain.roundings[0] + chain.size) * 2.0**-53
    assert np.abs(chain.advance(law) - law @ matrix).max() <= bound
    assert np.abs(chain.expect(values) - matrix @ values).max() <= bound


def test_metropolis_without_a_matrix_is_metropolis_and_has_its_certified_law():
    energy = np.random.Generator(np.random.PCG64(2)).uniform(0, 2, (3, 3, 3, 3))
    chain = single_site_metropolis(energy, 0.7)
    assert (chain.to_dense().off_diagonal == metropolis_chain(energy, 0.7).off_diagonal).all()
    law, certificate = certified_stationary_distribution(chain, 1e-11)
    assert 0.5 * np.abs(law - gibbs_law(energy, 0.7)).sum() <= certificate.total_variation <= 1e-11


def coupled(learning_rate: float) -> JointChain:
    noise = np.array([[0.9, -0.2], [-0.4, 0.7], [-0.5, -0.5]])
    increments = quadratic_increments(
        np.array([[1.0, 0.6], [0.6, 1.2]]), np.array([0.2, -0.35]), learning_rate, noise
    )
    return joint_chain(
        StochasticRounding(Lattice.uniform(-1, 1, 5)), 2, increments, np.array([0.2, 0.5, 0.3])
    )


def test_the_joint_law_tends_to_that_of_single_moves_with_the_learning_rate():
    """TV(pi_r, pi_Q) = C r + O(r**2): halving r halves it, and the ratio's error halves too."""
    limit = stationary_distribution(single_site_limit(coupled(0.01)).to_dense())
    laws = [stationary_distribution(coupled(0.08 / 2**k).to_dense()) for k in range(6)]
    errors = [0.5 * float(np.abs(law - limit).sum()) for law in laws]
    ratios = np.array(errors[:-1]) / errors[1:]
    assert errors[-1] < 1e-3 < errors[0]
    assert np.abs(ratios[-1] - 2) < 0.02
    assert (np.abs(ratios[1:] - 2) <= 0.6 * np.abs(ratios[:-1] - 2)).all()


def test_the_limit_does_not_depend_on_the_learning_rate():
    """Rates are scaled by a power of two, so not one bit of the law changes."""
    laws = [
        stationary_distribution(single_site_limit(coupled(r)).to_dense()) for r in (0.125, 2**-9)
    ]
    assert (laws[0] == laws[1]).all()


@pytest.mark.parametrize(
    ("up", "down", "rule"),
    [
        (
            np.full((1, 2), 0.25),
            np.zeros((1, 2)),
            "leaves the lattice, got one along coordinate 0 with probability 0.25",
        ),
        (np.zeros((2, 2)), np.zeros((2, 2)), "one array of d axes"),
        (np.array([[-0.1, 0.0]]), np.zeros((1, 2)), ">= 0"),
        (np.array([[1.1, 0.0]]), np.zeros((1, 2)), "at most one"),
    ],
)
def test_bad_moves_are_refused(up, down, rule):
    with pytest.raises(ValueError, match=rule):
        SingleSiteChain(up, down)


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="at least one factor"):
        ProductChain(())
    with pytest.raises(ValueError, match="at most one"):
        single_site_limit(coupled(3.0))
    chain = single_site_metropolis(np.zeros((2, 2)), 1.0)
    with pytest.raises(ValueError, match="each of 4 states"):
        chain.advance(np.ones(3))
    with pytest.raises(ValueError, match="each of 4 states"):
        ProductChain((metropolis_chain(np.zeros(4), 1.0),)).expect(np.ones(3))
    with pytest.raises(ValueError, match="temperature"):
        single_site_metropolis(np.zeros(2), 0.0)
