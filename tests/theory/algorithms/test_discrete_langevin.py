"""Discrete Langevin: the proposal and test of the chain room, balance, bias, limits, quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qreference import walker
from qtheory.algorithms import from_dict, law, to_dict
from qtheory.algorithms.discrete_langevin import DiscreteLangevin
from qtheory.algorithms.walker import realised_law
from qtheory.chain import metropolis_hastings, stationary_distribution
from qtheory.chain.langevin import langevin_proposal, unadjusted
from qtheory.increments import ContinuousIncrements, certain
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian
from qtheory.transition import weight_chain

words = pytest.mark.parametrize("adjusted", ["no", "yes"])
LATTICES = [Lattice.binary(0.5), Lattice.ternary(), Lattice.uniform(-0.3, 0.9, 5)]
lattices = pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: str(lattice.size))
forces = pytest.mark.parametrize("x", [0.0, 0.07, -0.4, 1.3, -5.0])
knobs = pytest.mark.parametrize(
    ("temperature", "step"), [(0.25, 0.5), (0.1, 0.1), (2.0, 3.0), (0.5, 100.0)]
)


def matrix(spec: DiscreteLangevin, x: float) -> np.ndarray:
    """Laws from every level under an increment of x spacings, shape (size, size)."""
    return law(spec, np.arange(spec.lattice.size), x * spec.lattice.spacing)


def gibbs(x: float, temperature: float, size: int) -> np.ndarray:
    """exp(x i / T), normalised."""
    exponents = x / temperature * np.arange(size)
    pmf = np.exp(exponents - exponents.max())
    return pmf / pmf.sum()


@lattices
@forces
@knobs
def test_it_is_the_proposal_of_the_chain_room_and_its_test(lattice, x, temperature, step):
    """That room has any gradient and no formula for the acceptance: it compares four numbers.

    Exponents are below 1,000 and rounded to 2**-53: 1e-12 of a probability; the diagonal is what
    is left to one.
    """
    size = lattice.size
    proposal = langevin_proposal(
        lambda at: np.full_like(at, -x), np.arange(float(size)), 1, temperature, step
    )
    free = matrix(DiscreteLangevin(lattice, temperature, step), x)
    assert free == pytest.approx(proposal, rel=1e-12, abs=1e-300)
    tested = metropolis_hastings(unadjusted(proposal), gibbs(x, temperature, size))
    found = matrix(DiscreteLangevin(lattice, temperature, step, "yes"), x)
    assert found == pytest.approx(tested.transition_matrix, rel=1e-11, abs=1e-14)


@lattices
@forces
@knobs
def test_adjusted_it_is_in_balance_with_the_gibbs_law(lattice, x, temperature, step):
    """Flows of both directions are products of exponentials with exponents below 1,000: 1e-12."""
    flow = gibbs(x, temperature, lattice.size)[:, None] * matrix(
        DiscreteLangevin(lattice, temperature, step, "yes"), x
    )
    assert flow == pytest.approx(flow.T, rel=1e-11, abs=1e-300)


@lattices
@forces
@knobs
def test_unadjusted_it_is_in_balance_with_another_law(lattice, x, temperature, step):
    """Z_i exp(x i / T), and no weight of two levels or more has Z_i all alike under a force."""
    free = matrix(DiscreteLangevin(lattice, temperature, step), x)
    moves = np.arange(lattice.size) - np.arange(lattice.size)[:, None]
    mass = np.exp(x * moves / (2 * temperature) - moves**2 / (2 * step)).sum(axis=1)
    own = gibbs(x, temperature, lattice.size) * mass
    flow = own[:, None] / own.sum() * free
    assert flow == pytest.approx(flow.T, rel=1e-11, abs=1e-300)
    wrong = gibbs(x, temperature, lattice.size)[:, None] * free
    if x != 0 and step > 1 and abs(x / temperature) < 10:
        assert np.abs(wrong - wrong.T).max() > 1e-3


def settled(spec: DiscreteLangevin, x: float) -> np.ndarray:
    force = certain(x * spec.lattice.spacing)
    return stationary_distribution(weight_chain(spec, [force] * spec.lattice.size))


def test_the_bias_goes_with_the_weight_of_a_free_move():
    """Small steps: Z_i = 1 + exp(-1 / 2a) (moves that stay on the lattice), so the law of Gibbs is
    missed by a multiple of exp(-1 / 2a); the next order is that of its square, or of moves by two,
    exp(-2 / a). Of two steps the larger has the weight 4e-3."""
    x, temperature, lattice = 0.3, 0.5, Lattice.ternary()
    missed = []
    for step in (0.09, 0.045):
        own = settled(DiscreteLangevin(lattice, temperature, step), x)
        bias = np.abs(own - gibbs(x, temperature, 3)).sum()
        missed.append(bias / math.exp(-0.5 / step))
    assert missed[1] > 0.1
    assert missed[0] == pytest.approx(missed[1], rel=0.02)


def test_a_large_step_is_a_draw_from_gibbs_at_twice_the_temperature():
    """w(d) = exp(x d / 2T) up to 2**2 / 2a: from any level the law is the same; adjusted, the chain
    still has the right temperature."""
    x, lattice, step = 0.3, Lattice.ternary(), 1e6
    twice = gibbs(x, 1.0, 3)
    for row in matrix(DiscreteLangevin(lattice, 0.5, step), x):
        assert row == pytest.approx(twice, rel=4 / step)
    adjusted = settled(DiscreteLangevin(lattice, 0.5, step, "yes"), x)
    assert adjusted == pytest.approx(gibbs(x, 0.5, 3), rel=1e-12)


@pytest.mark.parametrize("step", [0.1, 0.5])
def test_small_forces_move_as_rounding_does_at_a_lower_rate(step):
    """Mean move e / (1 + 2e) x / T, e = exp(-1 / 2a); the next order is (x / T)**2 = 1e-6 of it."""
    free = math.exp(-0.5 / step)
    pmf = law(DiscreteLangevin(Lattice.ternary(), 0.25, step), 1, 0.25e-3)
    assert pmf[2] - pmf[0] == pytest.approx(1e-3 * free / (1 + 2 * free), rel=1e-6)


@words
def test_infinities_go_to_the_end_and_nan_stays(adjusted):
    spec = DiscreteLangevin(Lattice.uniform(-1.0, 1.0, 4), 0.5, 2.0, adjusted)
    assert (matrix(spec, math.inf) == np.eye(4)[3]).all()
    assert (matrix(spec, -math.inf) == np.eye(4)[0]).all()
    assert (matrix(spec, math.nan) == np.eye(4)).all()


@words
@pytest.mark.parametrize(("temperature", "step"), [(0.05, 0.1), (0.25, 0.5), (1.0, 4.0)])
@pytest.mark.parametrize("mean", [-0.6, 0.2])
def test_chains_under_noise_are_the_integrals(adjusted, temperature, step, mean):
    """Against the trapezoidal rule on 40,001 points, which has no panels: its error is h**2 / 12
    times jumps of the slope at the kinks, at most 2 size / T: below 1e-7."""
    lattice, std = Lattice.uniform(-1.0, 1.0, 4), 0.4
    spec = DiscreteLangevin(lattice, temperature, step, adjusted)
    noise = ContinuousIncrements(mean * lattice.spacing, Gaussian(std * lattice.spacing))
    found = weight_chain(spec, [noise] * 4).transition_matrix
    x, h = np.linspace(mean - 12 * std, mean + 12 * std, 40_001, retstep=True)
    density = h * np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
    rows = np.array([density @ law(spec, i, x * lattice.spacing) for i in range(4)])
    assert np.abs(found - rows).max() < 1e-7
    assert (found > 0).all()


@words
def test_the_reference_realises_the_law_to_an_integer(adjusted):
    """Sums on either side are rounded down to multiples of 2**-32: a level is off by 2**-31."""
    spec = DiscreteLangevin(Lattice.uniform(-1.0, 3.0, 5), 0.3, 0.9, adjusted)
    x = np.array([-3.0, -0.25, -1e-6, 0.0, 1e-6, 0.5, 40.0], np.float32)
    index = np.arange(7) % 5
    realised = realised_law(walker.outcomes(spec, index, x), 5)
    assert np.abs(realised - law(spec, index, x.astype(np.float64))).max() <= 2.0**-31


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, r"a temperature is finite and at least 2\*\*-100 spacings, got 0"),
        ({"temperature": math.inf}, "got inf"),
        ({"step": 2.0**-6}, r"a step is finite and above 2\*\*-6 squared spacings, got 0.015625"),
        ({"step": math.nan}, "got nan"),
        ({"adjusted": "maybe"}, "adjusted is no or yes, got 'maybe'"),
        (
            {"adjusted": "yes", "lattice": Lattice.uniform(-1.0, 1.0, 17)},
            "proposals are adjusted on at most 16 levels, got 17",
        ),
    ],
)
def test_a_bad_spec_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        DiscreteLangevin(**{"lattice": Lattice.ternary(), **change})


def test_a_spec_survives_a_plain_dict():
    spec = DiscreteLangevin(Lattice.ternary(), 0.5, 0.25, "yes")
    assert from_dict(to_dict(spec)) == spec
