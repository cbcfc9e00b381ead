"""Every stem's kernel has its stem's law, judged from moves under any increments.

One property, two rules: an event of probability 0 or 1 never fails, and the audit, an e-value for
any increments whatever, stays below its threshold. Words are keyed by a hash of the example, so the
search can not look for unlucky ones; still each of at most N_MAX examples may alarm, so each has
FALSE_ALARM / N_MAX. Kernels realise probabilities within 2e-6, relative, of the law's; over 10**4
weights that is worth 0.02 in a logarithm that alarms at 28.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from conformance.rooms import COINS
from cpu_room import Weights
from hypothesis import given
from hypothesis import strategies as st
from strategies import RUN, examples, lattices, seed_of, specs, weights

from qreference import philox, walker
from qtheory.algorithms import contract, law, spec_class, walkers
from qtheory.evidence import log_audit
from qtheory.lattice import Lattice
from qtheory.streams import Stream

FALSE_ALARM, N_MAX, COUNT = 1e-9, 2000, 16 * RUN
THRESHOLD = math.log(N_MAX / FALSE_ALARM)
stems = pytest.mark.parametrize("stem", walkers())


def judged(spec, index, increment) -> tuple[np.ndarray, np.ndarray]:
    """One of the places of each weight but the last, in turn, and its probability."""
    places = walker.outcomes(spec, index, increment).destinations
    turn = np.arange(index.size) // 4 % (places.shape[1] - 1)
    there = np.take_along_axis(places, turn[:, None], -1)
    return there[:, 0], np.take_along_axis(law(spec, index, increment), there, -1)[:, 0]


def evidence_against(spec, index, increment, after) -> float:
    """Log e-value; infinite if what can not be was seen."""
    there, p = judged(spec, index, increment)
    seen = np.take_along_axis(law(spec, index, increment), after[:, None], -1)[:, 0]
    took = after == there
    if (~took & (p == 1)).any() or (seen == 0).any():
        return math.inf
    lane = np.arange(index.size) % 4
    return log_audit(took, np.clip(p, 0, 1), (np.nan_to_num(increment) < 0) * 4 + lane)


@stems
@examples(20)
@given(data=st.data())
def test_moves_have_the_law(room, stem, data):
    """Spacings are powers of two, so the law's own measure of an increment is the rooms'."""
    spec = data.draw(specs(stem, lattices(sizes=[2, 3, 5, 17], spacings=[0.25, 1.0, 8.0])))
    index, increment = data.draw(weights(spec.lattice, COUNT))
    seed = seed_of(stem, spec, index, increment)
    one = Weights(index.copy(), increment)
    room.step(spec, None, [one], seed=seed, iteration=1)
    assert evidence_against(spec, index, increment, one.index) < THRESHOLD


@pytest.mark.parametrize("stem", [s for s in COINS if contract(s).knobs])
def test_a_law_of_another_knob_is_told_apart(stem):
    """Power: a coin judged by two thirds of its knob, and a kernel that never moves: far beyond."""
    (knob,) = contract(stem).knobs
    knobs = [{knob.name: knob.default * share} for share in (1, 2 / 3)]
    spec, other = (spec_class(stem)(Lattice.ternary(), **values) for values in knobs)
    index = np.ones(COUNT, np.int64)
    increment = np.resize(np.array([0.1, -0.2, 0.3, -0.05], np.float32), COUNT)
    words = philox.words(3, 1, 0, Stream.MOVE, COUNT)
    after = walker.step(spec, index, increment, words)
    assert evidence_against(spec, index, increment, after) < THRESHOLD
    assert evidence_against(other, index, increment, after) > THRESHOLD
    assert evidence_against(spec, index, increment, index) > 2 * THRESHOLD
    assert evidence_against(spec, index, increment, np.full(COUNT, 0)) == math.inf
