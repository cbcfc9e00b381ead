"""Rules whose weights begin their first moment anew when they move: moments bit for bit.

Increments of these rules are compared to the last bit elsewhere; here a move changes a moment too.
"""

from __future__ import annotations

import numpy as np
import pytest
from agreement.test_normalized import assert_same_reals, finite, train
from cpu_room import Weights, storages

from qreference import optimisers
from qtheory.algorithms import contract, spec_class, walkers
from qtheory.lattice import Lattice
from qtheory.optimisers import Adam, Momentum, Normalized

FORGETFUL = [stem for stem in walkers() if contract(stem).forgets]
CASES = [(Momentum(0.1, 0.9), "float32"), (Momentum(0.1, 0.9), "bfloat16")]
CASES += [(Adam(0.5), "bfloat16"), (Normalized(0.2, 0.9, 0.7), "float32")]
CASES += [(Normalized(0.05, 0.97, 0.99, "neuron"), "int8")]


@pytest.mark.parametrize("stem", FORGETFUL)
@pytest.mark.parametrize(("base", "moment_type"), CASES)
def test_first_moments_are_0_where_weights_have_moved(room, stem, base, moment_type):
    """Four iterations around runs' ends; both storages, 1 and 2 threads in turn."""
    for lattice, count in ((Lattice.ternary(0.01), 577), (Lattice(255, 0.01, -1.0), 1203)):
        spec, rng, forgotten = spec_class(stem)(lattice), np.random.default_rng(count), 0
        moments = optimisers.init(base, (count,), moment_type)
        index = rng.integers(0, lattice.size, count)
        ours = Weights(index, np.zeros(count, np.float32), moments, tensor=2, offset=8)
        theirs = ours.copy()
        for iteration in range(1, 5):
            before = ours.index.copy()
            ours.gradient = theirs.gradient = finite(count, iteration)
            theirs, counters = train(
                spec, base, theirs, seed=7, iteration=iteration, moment_type=moment_type
            )
            got = room.step(
                spec, base, [ours], seed=7, iteration=iteration, storage=storages(lattice)[-1],
                threads=1 + iteration % 2,
            )  # fmt: skip
            assert got.tolist() == [counters]
            assert (ours.index == theirs.index).all()
            for mine, other in zip(ours.moments, theirs.moments, strict=True):
                if other is not None and other.dtype == np.int8:
                    assert (mine == other).all()
                else:
                    assert_same_reals(mine, other)
            first = ours.moments.first
            assert first is not None
            assert (first[ours.index != before] == 0).all()
            assert (first[ours.index == before] != 0).any()
            forgotten += int((ours.index != before).sum())
        assert forgotten > 50


def test_a_rule_that_forgets_is_among_the_stems():
    assert FORGETFUL
