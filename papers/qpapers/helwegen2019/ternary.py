"""Ours: Bop on three levels, with hysteresis and reset, after [helwegen2019]."""

from __future__ import annotations

import numpy as np

from qpapers.ledger import Claim, Values
from qreference import optimisers
from qtheory.algorithms.ternary_bop import TernaryBop, law
from qtheory.chain import stationary_distribution
from qtheory.increments import noisy_increments
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian
from qtheory.optimisers import Normalized
from qtheory.transition import weight_chain

TEST = "tests/theory/algorithms/test_ternary_bop.py"
TERNARY = Lattice.ternary()


def moves() -> Values:
    """P(leave) under unit noise without an average: of an outer level, and of 0 to one side."""
    noise = [noisy_increments(0.0, 1.0, Gaussian(1.0))] * 3
    matrix = weight_chain(TernaryBop(TERNARY), noise).off_diagonal
    return float(matrix[0, 1]), float(matrix[1, 2])


def zeros() -> Values:
    """Stationary share of 0 under that noise, with hysteresis 0.7 and 1."""
    noise = [noisy_increments(0.0, 1.0, Gaussian(1.0))] * 3
    specs = [TernaryBop(TERNARY, 2.0, h) for h in (0.7, 1.0)]
    return tuple(float(stationary_distribution(weight_chain(s, noise))[1]) for s in specs)


def journey() -> Values:
    """Iterations from -1 to 0, and from 0 to +1, under a constant gradient."""
    base = Normalized(1.0, momentum=0.97, over="neuron")
    index, moments = np.zeros(1, np.int64), optimisers.init(base, (1,))
    times: list[int] = []
    for t in range(1, 40):
        index, moments, moved, _ = optimisers.train_step(
            TernaryBop(TERNARY), base, index, moments, np.full(1, -3.0, np.float32),
            seed=0, iteration=t, tensor=0,
        )  # fmt: skip
        times += [t] * moved
    return float(times[0]), float(times[1] - times[0])


CLAIMS = (
    Claim(
        id="ternary-moves",
        statement="With increments in units of their noise, thresholds are its tails: an outer "
        "level is left with P(z > 2), 0 to either side with P(z > 1.4)",
        code=law,
        test=f"{TEST}::test_thresholds_are_tails_of_the_noise",
        printed="0.022750 and 0.080757",
        number="ours",
        expected=(0.022750, 0.080757),
        tolerance=5e-7,
        why="half a unit of the sixth decimal",
        run=moves,
    ),
    Claim(
        id="ternary-zeros",
        statement="Hysteresis empties the level in the middle: under noise alone its stationary "
        "share is q / (q + 2 p), q and p the probabilities above, and 1/3 without hysteresis",
        code=weight_chain,
        test=f"{TEST}::test_hysteresis_empties_the_middle",
        printed="0.123465 and 0.333333",
        number="ours",
        expected=(0.123465, 0.333333),
        tolerance=5e-7,
        why="half a unit of the sixth decimal",
        run=zeros,
    ),
    Claim(
        id="ternary-reset",
        statement="A momentum of 0.97 that begins at 0 passes z under a constant gradient after "
        "ln(1 - z / 8.103) / ln 0.97 iterations, rounded up, 8.103 = sqrt(1.97 / 0.03); so a "
        "weight goes from -1 to 0 in ten iterations, and on to +1 in seven more",
        code=optimisers.train_step,
        test=f"{TEST}::test_a_weight_that_moves_begins_its_momentum_anew",
        printed="10 and 7",
        number="ours",
        expected=(10.0, 7.0),
        tolerance=0.0,
        why="whole numbers",
        run=journey,
    ),
)
