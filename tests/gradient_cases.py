"""Networks, data and noises that tests of coarse gradients share."""

import numpy as np

from qtheory.gradients.laboratory.measure import FiniteData, GaussianData
from qtheory.gradients.networks.loss_network import random_network
from qtheory.gradients.networks.stair_network import LayerNoise
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian, Logistic
from qtheory.stairs.stair import Stair

TERNARY = Stair.nearest(Lattice.ternary())
UNEVEN = Stair((-1.5, 0.0, 0.5, 1.0), (-0.6, 0.1, 0.7))
DEEP = random_network((2, 3, 3, 1), TERNARY, 1)
NOISES = (LayerNoise(Logistic(0.2)), LayerNoise(Gaussian(0.4), -0.1))
TEACHER = random_network((2, 4, 1), Stair.step(-1.0), 2)
POINTS = np.random.default_rng(0).normal(size=(5, 2))
DATA = FiniteData(POINTS, TEACHER(POINTS), np.array([0.1, 0.2, 0.3, 0.25, 0.15]))
GAUSS = GaussianData(2, TEACHER)
UNIT = 2.0**-53
ROUNDING = 3000 * UNIT  # 729 paths, each a dozen products and sums of numbers below 4
