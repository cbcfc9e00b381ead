"""DST: the table of the paper's ternary case, and what the nonlinearity does to small steps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms.base import law
from qtheory.increments import FiniteIncrements
from qtheory.transition import weight_chain

TERNARY = DST(Lattice.ternary(), nonlinearity=3.0)


@pytest.mark.parametrize(
    ("fraction", "probability"),
    [
        (0.01, 0.029991),
        (0.05, 0.148885),
        (0.1, 0.291313),
        (0.3, 0.716298),
        (0.5, 0.905148),
    ],
)
def test_published_values_of_tanh(fraction, probability):
    """Six printed digits: within half a unit of the sixth."""
    assert abs(law(TERNARY, 1, fraction)[2] - probability) <= 0.5e-6


def expected(level: int, increment: float) -> list[float]:
    """The ternary transition table, row by row (m = 3, spacing 1, bound 1)."""
    u = abs(increment)
    tanh = math.tanh
    if increment < 0:
        return expected(-level, -increment)[::-1]
    if level == -1 and u < 1:
        return [1 - tanh(3 * u), tanh(3 * u), 0.0]
    if level == -1 and u < 2:
        return [0.0, 1 - tanh(3 * (u - 1)), tanh(3 * (u - 1))]
    if level == 0 and u < 1:
        return [0.0, 1 - tanh(3 * u), tanh(3 * u)]
    return [0.0, 0.0, 1.0]


@given(
    st.sampled_from([-1, 0, 1]),
    st.one_of(st.floats(-3, 3), st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0])),
)
def test_the_ternary_table(level, increment):
    """Both sides call one correctly subtracted fraction and a tanh: 2 units in the last place of
    each tanh (math and NumPy may differ) and one subtraction from one make at most 2**-51."""
    difference = law(TERNARY, level + 1, increment) - expected(level, increment)
    assert np.abs(difference).max() <= 2.0**-51


@given(st.floats(-1, 1))
def test_binary_weights_flip(increment):
    """Spacing 2: a flip against the sign with probability tanh(m u / 2), u < 2."""
    flip = law(DST(Lattice.binary(), 3.0), 0, abs(increment))[1]
    assert abs(flip - math.tanh(1.5 * abs(increment))) <= 2.0**-51


@given(st.floats(0.1, 10), st.floats(2.0**-40, 2.0**-8))
def test_small_steps_gain_the_nonlinearity(nonlinearity, x):
    """Mean move / x lies in [m (1 - (m x)**2 / 3), m], by tanh t >= t - t**3 / 3; 2**-50 for
    rounding, relative."""
    gain = law(DST(Lattice.ternary(), nonlinearity), 1, x)[2] / x
    least = nonlinearity * (1 - (nonlinearity * x) ** 2 / 3)
    assert least * (1 - 2.0**-50) <= gain <= nonlinearity * (1 + 2.0**-50)


@given(st.floats(0.01, 100), st.integers(2, 9), st.data())
def test_a_saturated_weight_stays(nonlinearity, size, data):
    spec = DST(Lattice(size, 0.5, -1.0), nonlinearity)
    increment = data.draw(st.floats(0, 1e3))
    assert law(spec, size - 1, increment)[-1] == 1.0
    assert law(spec, 0, -increment)[0] == 1.0


@given(st.integers(2, 6), st.data(), st.floats(-8, 8))
def test_the_boundary_before_the_move_is_the_boundary_after(size, data, increment):
    """The paper stops the increment at the ends first (rho), then moves; whole numbers of
    spacings of 1/4, so that stopping is exact."""
    spec = DST(Lattice(size, 0.25, -0.5), 3.0)
    index = data.draw(st.integers(0, size - 1))
    level = spec.lattice.levels[index]
    stopped = min(max(increment, spec.lattice.low - level), spec.lattice.high - level)
    assert (law(spec, index, stopped) == law(spec, index, increment)).all()


def test_dst_is_stochastic_rounding_at_a_rescaled_learning_rate():
    """P_dst / P_sr(m lr) = tanh(t) / t with t = m lr |g|, in [1 - t**2 / 3, 1]: order 2 in lr."""
    lattice = Lattice.z(3)
    m, gradients, probabilities = 3.0, np.array([-1.0, 0.5, 2.0]), np.array([0.25, 0.25, 0.5])
    for rate in (1e-2, 1e-3, 1e-4):
        laws = [FiniteIncrements(-rate * gradients, probabilities)] * lattice.size
        gained = [FiniteIncrements(-m * rate * gradients, probabilities)] * lattice.size
        dst = weight_chain(DST(lattice, m), laws).off_diagonal
        rounding = weight_chain(StochasticRounding(lattice), gained).off_diagonal
        ratio = dst[rounding > 0] / rounding[rounding > 0]
        worst = m * rate * 2.0 / lattice.spacing
        assert ratio.max() <= 1.0 + 2.0**-48
        assert ratio.min() >= 1.0 - worst**2 / 3 - 2.0**-48


@pytest.mark.parametrize("nonlinearity", [0.0, -1.0, math.inf, math.nan])
def test_the_nonlinearity_is_positive_and_finite(nonlinearity):
    with pytest.raises(ValueError, match="nonlinearity is positive and finite"):
        DST(Lattice.ternary(), nonlinearity)
