"""Two learned gains with a threshold, as trained ternary quantisation has them [zhu2017]."""

from __future__ import annotations

import numpy as np

from qpapers.ledger import Claim, Values
from qreference import reader
from qtheory.algorithms.ternary_weights import TernaryWeights
from qtheory.lattice import Lattice

TEST = "tests/theory/algorithms/test_ternary_weights.py"
TTQ = TernaryWeights(Lattice.ternary(), "learned", 0.05, "layer")
GAINS = {"positive": np.array([[3.0]]), "negative": np.array([[2.0]])}


def gradients() -> Values:
    """Of four weights and of both gains, with the gains 3 and 2 and a largest weight of 1."""
    w, g = np.array([[1.0, 0.05, -0.06, -0.9]]), np.array([[1.0, 10.0, 100.0, 1000.0]])
    found = reader.slope(TTQ, w, None, g, GAINS)
    numbers = (found["latent"], found["positive"], found["negative"])
    return tuple(float(x) for one in numbers for x in one.ravel())


def zeros() -> Values:
    """The share of zeros of weights uniform on [-1, 1], thresholds 0.05 and 0.3 of the largest."""
    w = np.linspace(-1, 1, 8001)[None]
    specs = (TernaryWeights(Lattice.ternary(), "learned", t, "layer") for t in (0.05, 0.3))
    return tuple(float((reader.read(s, w, None, GAINS) == 0).mean()) for s in specs)


CLAIMS = (
    Claim(
        id="learned-slopes",
        statement="Weights 1, .05, -.06, -.9, threshold .05 of the largest, gains 3 and 2, "
        "gradients 1, 10, 100, 1000 of what is seen: those of the weights are scaled by the gain "
        "of their side, and not at 0; of the gain above 0 the sum there, of that below 0 minus it",
        code=reader.slope,
        test=f"{TEST}::test_two_learned_gains_and_their_gradients_by_hand",
        printed="3, 10, 200, 2000; 1, -1100",
        number="noted",
        expected=(3.0, 10.0, 200.0, 2000.0, 1.0, -1100.0),
        tolerance=1e-12,
        why="whole numbers",
        run=gradients,
    ),
    Claim(
        id="learned-zeros",
        statement="Uniform weights: a threshold t of the largest weight leaves the share t at 0; "
        "t = .05, .3",
        code=reader.read,
        test=f"{TEST}::test_two_learned_gains_and_their_gradients_by_hand",
        printed=".05, .3",
        number="ours",
        expected=(0.05, 0.3),
        tolerance=5e-4,
        why="a grid of 8001 places, one more or less at either threshold",
        run=zeros,
    ),
)
