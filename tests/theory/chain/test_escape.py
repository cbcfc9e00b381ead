"""Escape times of stochastic rounding: exact, by the diffusion, and how wrong the second is."""

import itertools
import math

import numpy as np
import pytest

from qtheory.chain import escape_exponents, log_diffusion_passage_time, log_passage_time
from qtheory.noise import Gaussian


def gradient(w):
    """Of (w**2 - 1)**2 / 4: wells at -1 and 1, a saddle at 0."""
    return w * (w * w - 1)


class Walk:
    """Stochastic rounding with Gaussian noise: p = r E[(-g)^+], q = r E[g^+], r = 0.1 the learning
    rate over the spacing, kept while the spacing goes to 0."""

    def __init__(self, std: float):
        self.noise = Gaussian(std)

    def up(self, w):
        return 0.1 * self.noise.excess(gradient(np.atleast_1d(w)))

    def down(self, w):
        return 0.1 * self.noise.excess(-gradient(np.atleast_1d(w)))

    def exact(self, spacing: float) -> float:
        w = np.linspace(-2, 2, round(4 / spacing) + 1)
        end = round(1 / spacing)
        return log_passage_time(self.up(w)[:-1], self.down(w)[1:], end, 3 * end)

    def diffusion(self, spacing: float, points: int = 40_001) -> float:
        w = np.linspace(-2, 1, points)
        p, q = self.up(w), self.down(w)
        return log_diffusion_passage_time(spacing * (p - q), spacing**2 * (p + q), -2.0, 1.0, -1.0)

    def exponents(self) -> tuple[float, float]:
        return escape_exponents(
            lambda w: float(self.up(float(w))[0]), lambda w: float(self.down(float(w))[0]), -1, 0
        )


SPACINGS = (0.1, 0.05, 0.025, 0.0125)


@pytest.mark.parametrize("std", [0.5, 2.0])
def test_the_diffusion_escapes_too_soon_exponentially_so(std):
    """ln(E_diffusion / E) = (I_diffusion - I_exact) / D + c D + O(D**2), no constant term: to first
    order in D both times have one prefactor. So it doubles as D halves, and the remainder
    halves."""
    walk = Walk(std)
    exact, diffusion = walk.exponents()
    assert diffusion < exact
    errors = [walk.diffusion(d) - walk.exact(d) for d in SPACINGS]
    left = [error - (diffusion - exact) / d for error, d in zip(errors, SPACINGS, strict=True)]
    assert all(error < 0 for error in errors)
    assert errors[3] / errors[2] == pytest.approx(2, abs=0.02)
    for wide, narrow in itertools.pairwise(left[1:]):
        assert narrow / wide == pytest.approx(0.5, abs=0.05)


def test_the_exponents_are_those_of_the_times():
    """D ln E = I_exact + D ln(prefactor): differences between D and D / 2 leave I_exact and the
    prefactor's power of D, -ln D for p and q that stay fixed."""
    walk = Walk(0.5)
    exact, diffusion = walk.exponents()
    for time, exponent in ((walk.exact, exact), (walk.diffusion, diffusion)):
        wide, narrow = time(0.02), time(0.01)
        found = (narrow - wide - math.log(2)) / (1 / 0.01 - 1 / 0.02)
        assert found == pytest.approx(exponent, abs=1e-3)


def test_the_difference_is_that_of_the_third_power():
    """-(2/3) int delta**3 (1 + O(delta**2)), delta = (q - p) / (q + p) < 0.25 at std 2: the next
    term of 2 artanh is (3/5) delta**2 < 4 % of it."""
    walk = Walk(2.0)
    exact, diffusion = walk.exponents()
    w = np.linspace(-1, 0, 10_001)
    delta = (walk.down(w) - walk.up(w)) / (walk.down(w) + walk.up(w))
    cubic = -(2 / 3) * np.trapezoid(delta**3, w)
    assert np.abs(delta).max() < 0.25
    assert (diffusion - exact) / cubic == pytest.approx(1.02, abs=0.02)


def test_the_diffusion_times_quadrature_is_of_second_order():
    """Halving the points' distance divides the error by four."""
    walk = Walk(0.5)
    best = walk.diffusion(0.05, 96_001)
    errors = [walk.diffusion(0.05, n) - best for n in (3001, 6001)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("start", [0.0, 0.25, 0.7])
def test_a_drifting_motion_in_closed_form(start):
    """b = -1, a = 1 on [0, 1] from x: [exp(2 y) - 1 - 2 y] / 2 taken between x and 1; the rule errs
    by (2 / 2000)**2 of it, or less."""
    points = np.ones(2001)
    closed = [(math.exp(2 * y) - 1 - 2 * y) / 2 for y in (start, 1.0)]
    found = math.exp(log_diffusion_passage_time(-points, points, 0.0, 1.0, start))
    assert found == pytest.approx(closed[1] - closed[0], rel=1e-6)


def test_bad_use_is_refused():
    half = np.full(3, 0.5)
    with pytest.raises(
        ValueError, match=r"as many up as down, got \[0\.5 0\.5 0\.5\], \[0\. 0\. 0\.\]"
    ):
        log_passage_time(half, np.zeros(3), 0, 1)
    with pytest.raises(ValueError, match=r"in 0..3, got 4"):
        log_passage_time(half, half, 0, 4)
    with pytest.raises(ValueError, match="low <= start < high"):
        log_diffusion_passage_time(half, half, 0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"diffusion > 0, got \(3,\) and \(3,\), at least -0\.5"):
        log_diffusion_passage_time(half, -half, 0.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="rates are positive"):
        escape_exponents(lambda w: w, lambda w: 1.0, 0.0, 1.0)
