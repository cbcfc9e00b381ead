"""Variants of the straight-through estimator: the noise behind each, and where there is none."""

import numpy as np
import pytest
import sympy

from qtheory.noise import Cauchy, Gaussian, Logistic, StudentT, Triangular, Uniform
from qtheory.stairs import surrogates
from qtheory.stairs.smoothing import slope
from qtheory.stairs.stair import Stair
from qtheory.stairs.surrogates import OTHERS, VARIANTS, Variant
from qtheory.stairs.symbolic import X

BY_NAME = {variant.name: variant for variant in (*VARIANTS, *OTHERS)}
NUMERIC = {
    "clipped identity": (Uniform(1.0), 0.0),
    "approximate sign": (Triangular(1.0), 0.0),
    "tanh": (Logistic(0.5), 0.0),
    "sigmoid": (Logistic(1.0), 0.0),
    "erf": (Gaussian(0.5**0.5), 0.0),
    "clipped ReLU": (Uniform(0.5), 0.5),
    "arctangent": (Cauchy(1.0), 0.0),
    "square root": (StudentT(2.0, 0.5**0.5), 0.0),
}

variants = pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)


@variants
def test_a_smoothed_step_has_the_surrogate_for_its_slope(variant: Variant):
    assert variant.difference() == 0
    assert variant.mass() == variant.height


@variants
def test_numpy_agrees(variant: Variant):
    """Quotients and sums of a few numbers below 2: 2^-48 is 32 roundings."""
    x = (np.arange(129) - 64) / 16
    noise, mean = NUMERIC[variant.name]
    found = slope(Stair.step(0.0, float(variant.height)), noise, x, mean)
    assert np.abs(found - variant.at(x)).max() <= 2.0**-48


def test_another_scale_is_not_behind_it():
    tanh = BY_NAME["tanh"]
    assert tanh.noise is not None
    other = Variant("tanh", 2, tanh.surrogate, tanh.noise._replace(scale=sympy.Integer(1)))
    assert other.difference() != 0


@pytest.mark.parametrize("name", ["identity", "ReLU"])
def test_an_open_window_has_infinite_mass(name):
    assert BY_NAME[name].mass() == sympy.oo
    sides = {"identity": 2, "ReLU": 1}[name]
    assert [surrogates.mass_up_to(BY_NAME[name], r) for r in (1, 10)] == [sides, 10 * sides]


def test_the_identity_is_a_limit_whose_mass_grows():
    for a in (1, 3, 10):
        scaled = surrogates.identity_as_limit(sympy.Integer(a))
        assert [scaled.subs(X, x) for x in (-a, 0, a)] == [1, 1, 0]
        assert sympy.integrate(scaled, (X, -sympy.oo, sympy.oo)) == 2 * a


def test_the_sign_swish_has_the_mass_and_is_negative():
    swish = BY_NAME["sign swish"]
    assert swish.mass() == 2
    zero = float(sympy.nsolve(swish.surrogate, X, 2.5))
    assert swish.at(np.array([zero - 0.01]))[0] > 0 > swish.at(np.array([zero + 0.01]))[0]


def test_what_has_no_noise_has_no_slope():
    with pytest.raises(ValueError, match="slope is that of a smoothed step, got ReLU"):
        BY_NAME["ReLU"].slope()
