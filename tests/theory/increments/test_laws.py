"""Laws of increments, and minibatches against every batch there is."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory import Lattice
from qtheory.increments import (
    ContinuousIncrements,
    FiniteIncrements,
    certain,
    minibatch_increments,
    minibatch_increments_at_levels,
    noisy_increments,
    noisy_increments_at_levels,
)
from qtheory.noise import Gaussian

gradient_lists = st.lists(
    st.one_of(st.sampled_from([-1.0, 0.0, 0.1, 3.0]), st.floats(-1e3, 1e3)), min_size=1, max_size=6
)


def enumerated(gradients, batches, rate):
    """The law over a list of batches, each alike, by counting equal rounded increments."""
    counts = Counter(
        float(-Fraction(rate) * sum(Fraction(gradients[i]) for i in batch) / len(batch))
        for batch in batches
    )
    total = sum(counts.values())
    return {value: Fraction(count, total) for value, count in counts.items()}


@pytest.mark.parametrize("replacement", [False, True])
@given(gradients=gradient_lists, data=st.data(), rate=st.floats(0, 10))
def test_a_minibatch_law_is_the_enumeration_of_batches(replacement, gradients, data, rate):
    """Equal floats: both sides round exact rationals once."""
    size = data.draw(st.integers(1, 4 if replacement else len(gradients)))
    everyone = range(len(gradients))
    batches = (
        itertools.product(everyone, repeat=size)
        if replacement
        else itertools.combinations(everyone, size)
    )
    expected = enumerated(gradients, batches, rate)
    law = minibatch_increments(np.array(gradients), size, rate, replacement=replacement)
    found = dict(zip(law.values.tolist(), law.probabilities.tolist(), strict=True))
    assert found == {value: float(p) for value, p in expected.items()}
    assert (np.diff(law.values) > 0).all()


def test_a_full_batch_is_certain():
    law = minibatch_increments(np.array([1.0, 2.0, 4.5]), 3, 0.5)
    assert (law.values.tolist(), law.probabilities.tolist()) == ([-1.25], [1.0])


def test_equal_gradients_keep_large_batches_exact():
    """100 examples of two kinds: hypergeometric probabilities, each rounded once."""
    gradients = np.array([1.0] * 40 + [0.0] * 60)
    law = minibatch_increments(gradients, 50, 50.0)
    for value, probability in zip(law.values, law.probabilities, strict=True):
        k = round(-value)
        assert probability == math.comb(40, k) * math.comb(60, 50 - k) / math.comb(100, 50)
    assert law.values.size == 41


def test_a_law_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr("qtheory.increments.laws.MAX_MINIBATCH_SUMS", 10**4)
    with pytest.raises(ValueError, match="keeps at most 10000 sums; batches of 20 from 40"):
        minibatch_increments(np.sqrt(np.arange(1.0, 41.0)), 20, 1.0)


@pytest.mark.parametrize(("size", "replacement"), [(0, False), (4, False), (0, True), (-1, True)])
def test_a_batch_has_the_right_size(size, replacement):
    with pytest.raises(ValueError, match="a batch has 1 to"):
        minibatch_increments(np.ones(3), size, 1.0, replacement=replacement)


@pytest.mark.parametrize("gradients", [[], [math.nan], [1.0, math.inf]])
def test_gradients_of_examples_are_finite(gradients):
    with pytest.raises(
        ValueError, match=r"gradients are a list of finite numbers, at least one, got \["
    ):
        minibatch_increments(np.array(gradients, dtype=np.float64), 1, 1.0)


@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf])
def test_a_learning_rate_is_finite_and_not_negative(rate):
    with pytest.raises(ValueError, match="a learning rate is finite"):
        minibatch_increments(np.ones(3), 1, rate)
    with pytest.raises(ValueError, match="a learning rate is finite"):
        noisy_increments(1.0, rate, None)


@pytest.mark.parametrize(
    ("values", "probabilities", "message"),
    [
        ([], [], "length >= 1"),
        ([1.0, 2.0], [1.0], "one length"),
        ([1.0, 2.0], [1.5, -0.5], "finite and >= 0"),
        ([1.0], [math.nan], "finite and >= 0"),
        ([1.0, 2.0], [0.5, 0.4], "sum to one"),
    ],
)
def test_a_finite_law_is_a_law(values, probabilities, message):
    with pytest.raises((ValueError, TypeError)) as error:
        FiniteIncrements(np.array(values), np.array(probabilities))
    # lists of two lengths are stopped by the type checker, which runs while testing
    assert message in str(error.value) or message == "one length"


def test_a_law_can_not_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        certain(1.0).values[0] = 2.0


def test_noise_is_scaled_by_the_learning_rate():
    law = noisy_increments(3.0, 0.5, Gaussian(4.0))
    assert law == ContinuousIncrements(-1.5, Gaussian(2.0))
    assert law.mirrored() == ContinuousIncrements(1.5, Gaussian(2.0))


def test_a_learning_rate_of_zero_is_certain():
    law = noisy_increments(3.0, 0.0, Gaussian(4.0))
    assert isinstance(law, FiniteIncrements)
    assert law.values.tolist() == [0.0]


@pytest.mark.parametrize("mean", [math.nan, math.inf])
def test_a_mean_is_finite(mean):
    with pytest.raises(ValueError, match="mean increment is finite"):
        ContinuousIncrements(mean, Gaussian(1.0))


def test_there_is_one_law_for_each_level():
    lattice = Lattice.z(2)
    noisy = noisy_increments_at_levels(lambda w: 2 * w, lattice, 0.25, Gaussian(1.0))
    assert [law.mean for law in noisy] == [0.5, 0.25, 0.0, -0.25, -0.5]
    drawn = minibatch_increments_at_levels(lambda w: np.array([w, w + 1]), lattice, 1, 1.0)
    assert [law.values.tolist() for law in drawn] == [[-w - 1, -w] for w in lattice.levels]
