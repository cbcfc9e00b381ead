"""Random stair networks with weights -1, 0, 1, whose pre-activations meet thresholds or do not.

All weights of a layer are a spacing times -1, 0 or 1, uniformly. Inputs are levels of the stair.
If levels and biases are multiples of one and of the spacing, pre-activations are multiples of the
spacing, and a share of units sits on thresholds exactly ("lattice"). Real biases are on none
("generic").
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from qtheory.gradients.networks.affine import Affine, Features
from qtheory.gradients.networks.stair_network import StairLayer, StairNetwork
from qtheory.stairs.stair import Stair

BiasKind: TypeAlias = Literal["none", "lattice", "generic"]


def ternary_network(
    width: int, depth: int, stair: Stair, seed: int, biases: BiasKind, spacing: float = 1.0
) -> StairNetwork:
    """Layers of equal width.

    biases: none (0), lattice (spacing times -1, 0 or 1) or generic (uniform within 1/2). Raises
    ValueError unless width and depth are positive and so is the spacing.

    >>> net = ternary_network(4, 2, Stair.step(), seed=0, biases="lattice")
    >>> sorted(set(net.layers[0].affine.weights.ravel().tolist()))
    [-1.0, 0.0, 1.0]
    """
    if width < 1 or depth < 1 or not spacing > 0:
        raise ValueError(
            "a ternary network has a positive width, depth and spacing, got "
            f"{width}, {depth}, {spacing}"
        )
    draws = np.random.default_rng(seed)
    layers = list[StairLayer]()
    for _ in range(depth):
        weights = spacing * draws.integers(-1, 2, (width, width)).astype(np.float64)
        match biases:
            case "none":
                bias = np.zeros(width)
            case "lattice":
                bias = spacing * draws.integers(-1, 2, width).astype(np.float64)
            case "generic":
                bias = draws.uniform(-0.5, 0.5, width)
        layers.append(StairLayer(Affine(weights, bias), stair))
    return StairNetwork(tuple(layers))


def random_levels(stair: Stair, points: int, width: int, seed: int) -> Features:
    """Inputs whose entries are levels of the stair, uniformly."""
    draws = np.random.default_rng(seed)
    return np.array(stair.levels)[draws.integers(0, len(stair.levels), (points, width))]
