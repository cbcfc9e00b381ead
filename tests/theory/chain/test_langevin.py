"""Discrete Langevin proposals: exact with the Metropolis test, and how wrong without."""

import numpy as np
import pytest

from qtheory.chain import (
    gibbs_law,
    langevin_proposal,
    lattice_points,
    metropolis_hastings,
    stationary_distribution,
    unadjusted,
)

LEVELS = np.linspace(-1.0, 1.0, 5)
TEMPERATURE = 0.5
HESSIAN, MINIMISER = np.array([[1.0, 0.5], [0.5, 1.3]]), np.array([0.2, -0.1])


class Energy:
    """(x - w)' H (x - w) / 2 + c sum x**4, and its gradient."""

    def __init__(self, quartic: float):
        self.quartic = quartic

    def law(self) -> np.ndarray:
        x = lattice_points(LEVELS, 2)
        bowl = 0.5 * np.einsum("si,ij,sj->s", x - MINIMISER, HESSIAN, x - MINIMISER)
        return gibbs_law(bowl + self.quartic * (x**4).sum(axis=1), TEMPERATURE)

    def proposal(self, step: float) -> np.ndarray:
        def gradient(x):
            return (x - MINIMISER) @ HESSIAN + 4 * self.quartic * x**3

        return langevin_proposal(gradient, LEVELS, 2, TEMPERATURE, step)

    def bias(self, step: float) -> float:
        """Total variation distance of the unadjusted law from that of Gibbs."""
        found = stationary_distribution(unadjusted(self.proposal(step)))
        return 0.5 * float(np.abs(found - self.law()).sum())


@pytest.mark.parametrize("quartic", [0.0, 0.5])
@pytest.mark.parametrize("step", [1.0, 0.1, 0.01])
def test_the_adjusted_chain_has_the_law_it_was_adjusted_to(quartic, step):
    """Flows are symmetric but for the division and product by law_x, one rounding each; the law of
    a chain moves by n times the relative error of its entries at most, 2 n for both ends."""
    energy = Energy(quartic)
    law = energy.law()
    chain = metropolis_hastings(unadjusted(energy.proposal(step)), law)
    flow = law[:, None] * chain.off_diagonal
    assert (np.abs(flow - flow.T) <= 4 * 2.0**-53 * flow).all()
    bound = (2 * chain.size**3 + 4 * chain.size) * 2.0**-53
    assert (np.abs(stationary_distribution(chain) - law) <= bound * law).all()


def test_proposals_are_those_of_the_formula():
    """One entry by hand: x = (0, -1), y = (0.5, -1)."""
    proposal = Energy(0.0).proposal(0.2)
    slope = (np.array([0.0, -1.0]) - MINIMISER) @ HESSIAN
    pmfs = []
    for s, start in zip(slope, (0.0, -1.0), strict=True):
        weight = np.exp(-s * (LEVELS - start) / (2 * TEMPERATURE) - (LEVELS - start) ** 2 / 0.4)
        pmfs.append(weight / weight.sum())
    assert proposal[2 * 5 + 0, 3 * 5 + 0] == pytest.approx(pmfs[0][3] * pmfs[1][0], rel=1e-14)
    assert np.abs(proposal.sum(axis=1) - 1).max() <= 20 * 2.0**-53


def test_without_adjustment_a_quadratic_energy_is_right_for_small_steps_only():
    """The bias is C exp(-spacing**2 / (2 a)): C settles to four digits by a = 1/80."""
    ratios = [Energy(0.0).bias(a) / np.exp(-0.125 / a) for a in (0.025, 0.0125, 0.00625)]
    assert Energy(0.0).bias(1.0) > 0.15
    assert abs(ratios[1] / ratios[0] - 1) < 0.05
    assert abs(ratios[2] / ratios[1] - 1) < 1e-3


def test_without_adjustment_another_energy_stays_wrong():
    """The bias settles at a positive number."""
    biases = [Energy(0.5).bias(a) for a in (0.025, 0.0125, 0.00625)]
    assert biases[2] > 0.035
    assert abs(biases[2] - biases[1]) < 1e-3 * biases[1]


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="a temperature is positive"):
        langevin_proposal(np.zeros_like, LEVELS, 1, 0.0, 1.0)
    with pytest.raises(ValueError, match="a step is positive"):
        langevin_proposal(np.zeros_like, LEVELS, 1, 1.0, np.inf)
