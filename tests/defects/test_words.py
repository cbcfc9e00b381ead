"""Random numbers as public code has drawn them, each defect restated in a few lines of NumPy.

Beside each: the check of ours that catches it, and that our words pass the same check.
"""

from __future__ import annotations

import numpy as np
import pytest

from qreference import philox, walker
from qtheory import DST, Lattice
from qtheory.evidence import repeated_windows, worst_lag
from qtheory.streams import Stream

ALARM = 1e-9
SPEC = DST(Lattice.ternary())
TIE = np.float32(np.arctanh(0.5) / 3)  # moves with probability 1/2 under m = 3, within 2**-24


def ours(iteration: int, count: int, offset: int = 0, tensor: int = 0) -> np.ndarray:
    return philox.words(20180401, iteration, tensor, Stream.MOVE, count, offset)


def decisions(words: np.ndarray) -> np.ndarray:
    """Fair coins: does a weight in the middle go up?"""
    middle = np.ones(words.size, np.int64)
    return walker.step(SPEC, middle, np.full(words.size, TIE), words) == 2


# A random number that is drawn while the graph is built [facts of a ternary network's script]


def graph_with_its_numbers_inside(seed: int):
    """The function that training calls; the draw happens here, once."""
    drawn = np.random.default_rng(seed).integers(0, 2**32, 4096, dtype=np.uint32)
    return lambda iteration: drawn


def test_words_drawn_when_the_graph_is_built_agree_in_every_iteration():
    stale = graph_with_its_numbers_inside(1)
    bits = np.concatenate([decisions(stale(t)) for t in (1, 2, 3)])
    found = worst_lag(bits)
    assert found.lag in (4096, 8192)
    assert found.agreements == found.pairs
    assert found.p_value <= ALARM
    fresh = np.concatenate([decisions(ours(t, 4096)) for t in (1, 2, 3)])
    assert worst_lag(fresh).p_value > ALARM
    assert repeated_windows(bits).count >= 2 * 4000 and not repeated_windows(fresh).count


def test_one_number_for_a_whole_tensor_moves_all_of_it_or_none():
    """The same script drew its restart from one Python number for each tensor."""
    rng = np.random.default_rng(2)
    shared = [np.full(64, rng.integers(0, 2**32, dtype=np.uint32)) for _ in range(50)]
    assert all(decisions(words).all() or not decisions(words).any() for words in shared)
    assert worst_lag(np.concatenate([decisions(w) for w in shared]), 63).p_value <= ALARM
    own = np.concatenate([decisions(ours(t, 64)) for t in range(1, 51)])
    assert worst_lag(own, 63).p_value > ALARM


# Rounding keyed on the geometry of the launch


def keyed_on_launch(count: int, block: int, seed: int) -> np.ndarray:
    """A hash of (thread, block x size): another block size, other numbers for the same weight."""
    element = np.arange(count)
    thread, group = element % block, element // block
    counter = np.zeros((count, 4), np.uint32)
    counter[:, 0], counter[:, 1] = thread, group * block
    return philox.philox(counter, seed)[:, 0]


def test_words_keyed_on_a_launch_change_with_it():
    """D2 and D3: ours depend on the element alone, however the tensor is cut."""
    assert (keyed_on_launch(4096, 128, 1) != keyed_on_launch(4096, 256, 1)).mean() > 0.4
    whole = ours(1, 4096)
    for block in (1, 3, 128, 256, 1000):
        pieces = [ours(1, min(block, 4096 - k), k) for k in range(0, min(4096, 40 * block), block)]
        joined = np.concatenate(pieces)
        assert (joined == whole[: joined.size]).all()


# A buffer of 1024 random numbers, used over and over


@pytest.mark.parametrize("length", [1024, 1024 - 4])
def test_a_buffer_that_is_used_again_is_found_by_its_length(length):
    """Roundings a buffer's length apart are the same coin; one launch of 2**14 is enough."""
    buffer = np.random.default_rng(3).integers(0, 2**32, 1024, dtype=np.uint32)
    bits = decisions(buffer[np.arange(2**14) % length])
    found = worst_lag(bits)
    assert found.lag % length == 0
    assert found.agreements == found.pairs
    assert found.p_value <= ALARM
    assert repeated_windows(bits).count > 10_000
    assert worst_lag(decisions(ours(1, 2**14))).p_value > ALARM
    assert repeated_windows(decisions(ours(1, 2**14))).count == 0


# Uniforms with 24 bits


@pytest.mark.parametrize(("p", "realised"), [(1e-8, 2.0**-24), (2.0**-25, 2.0**-24)])
def test_uniforms_of_24_bits_realise_small_probabilities_wrongly(p, realised):
    """u = k 2**-24 is below p for ceil(p 2**24) values of k: 1e-8 becomes 6e-8, six times as often.

    Ours compares 32-bit words with floor(p 2**32): the difference is below 2**-32, always.
    """
    below = int(np.ceil(p * 2**24))
    assert below * 2.0**-24 == realised
    assert realised >= 2 * p * (1 - 1e-9)
    fraction = np.array([np.float32(p / 3)])
    threshold = int(walker.outcomes(SPEC, np.array([1]), fraction).thresholds[0, 0])
    assert 0 <= np.tanh(3 * float(fraction[0])) - threshold / 2**32 < 2.0**-32


def test_small_uniforms_that_were_rounded_up_reach_one():
    """float32(word / 2**32) is 1 for the 128 largest words: `u < 1` then fails a certain event.

    Ours says certainty with the integer 2**32, which every word is below.
    """
    largest = np.arange(2**32 - 130, 2**32, dtype=np.uint64)
    u = (largest / 2**32).astype(np.float32)
    assert (u == 1).sum() == 128 and not (u < 1)[-128:].any()
    sure = DST(Lattice.ternary(), 40.0)
    thresholds, _ = walker.outcomes(sure, np.array([1]), np.array([0.9], np.float32))
    assert thresholds.tolist() == [[2**32]]
    words = largest.astype(np.uint32)
    up = walker.step(sure, np.ones(130, np.int64), np.full(130, 0.9, np.float32), words)
    assert (up == 2).all()
