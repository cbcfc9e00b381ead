"""What the published settings of GXNOR-Net imply, checked by other means than the claims'."""

import math
from importlib import import_module
from itertools import pairwise, product

import numpy as np
import pytest

rule = import_module("qpapers.deng2018.rule")


def test_adam_on_pure_noise():
    """4,000 weights, 3,000 iterations of Adam on normal noise: the mean square of m / sqrt(v) is
    (1 - b1) / (1 + b1) up to the spread of v, a relative (1 - b2) = 1e-3, and the sample's: the
    mean of 4,000 squares has a standard error of sqrt(2 / 4000) = 2.2 %, 1.1 % of the root; six
    of those allowed."""
    draw = np.random.default_rng(4)
    m, v = np.zeros(4000), np.zeros(4000)
    for _ in range(3000):
        g = draw.standard_normal(4000)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    v /= 1 - 0.999**3000
    (expected,) = rule.adam_rms_on_noise()
    assert abs(math.sqrt((m * m / v).mean()) / expected - 1) <= 0.07
    assert expected == pytest.approx(math.sqrt(0.1 / 1.9), rel=1e-12)


def test_moves_fall_with_the_epochs():
    """The rates are those of the script at its ends, and the bound falls all the way."""
    for moves, last in ((rule.mnist_moves, 4000), (rule.cifar_moves, 2000)):
        by_epoch = [moves(e) for e in range(last + 1)]
        assert all(a > b for a, b in pairwise(by_epoch))
    assert rule.mnist_moves(4000) == pytest.approx(5 * 3 * 1e-7, rel=1e-6)
    assert rule.cifar_moves(2000) == pytest.approx(45 * 3 * 3e-7, rel=0.02)


def test_resting_by_enumeration():
    """Uniform ternary weight and activation: 5 of 9 products are 0."""
    products = [w * a for w, a in product((-1, 0, 1), repeat=2)]
    (uniform,) = rule.resting((0.4307272992954576,))
    assert abs(uniform - products.count(0) / 9) <= 1e-12


def test_memory_saved():
    bits = {"with": (32 + 64 + 32, 2 + 64 + 32), "without": (32 + 64, 2 + 64)}
    assert rule.memory_saved() == tuple(1 - b / a for a, b in bits.values())
