"""INQ: the published rule, the order in which weights are frozen, and mistakes of public code."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from qcuda.nn.freezing import places
from qreference import reader
from qtheory.algorithms import contract
from qtheory.algorithms.inq import (
    LATTICES,
    SHARES,
    IncrementalQuantization,
    codes,
    law,
    partition,
    powers,
    reading,
)
from qtheory.algorithms.reader import ORDERS, unit_of
from qtheory.lattice import Lattice

RNG = np.random.default_rng(3)
WEIGHTS = np.clip(RNG.normal(size=(6, 7)), -2.9, 2.9)
orders = pytest.mark.parametrize("order", ORDERS)
bits = pytest.mark.parametrize("b", range(2, 6))


def quantised(spec: IncrementalQuantization, w: np.ndarray, **state: np.ndarray) -> np.ndarray:
    """What is seen where all is frozen."""
    return reader.read(spec, w, None, {"frozen": np.ones(w.shape, bool), **state})


def published(w: float, n1: int, b: int) -> float:
    """beta sign(w) for (alpha + beta) / 2 <= |w| < 3 beta / 2, alpha < beta neighbours of P."""
    sizes = [0.0, *(2.0**n for n in range(n1 + 1 - 2 ** (b - 2), n1 + 1))]
    for alpha, beta in pairwise(sizes):
        if (alpha + beta) / 2 <= abs(w) < 3 * beta / 2:
            return float(np.sign(w)) * beta
    return 0.0


@bits
def test_the_rule_is_the_published_one(b):
    """n_1 = -1 for a largest weight in [3/8, 3/4): 3001 sizes, ties of both signs among them.

    The paper's intervals meet where a power of two is half the next one, and overlap nowhere.
    """
    w = np.unique(np.concatenate([np.linspace(-0.74, 0.74, 3001), *(
        sign * np.array([1.0, 1.5, 0.5]) * 2.0**-k for k in range(2, 12) for sign in (-1, 1)
    )]))  # fmt: skip
    seen = quantised(IncrementalQuantization(codes(b)), w)
    assert seen.tolist() == [published(float(x), -1, b) for x in w]
    sizes = sorted(set(np.abs(seen[seen != 0]).tolist()))
    assert sizes == [2.0**n for n in range(-(2 ** (b - 2)), 0)]


@bits
def test_the_rule_is_the_nearest_level_and_levels_are_fixed_points(b):
    spec = IncrementalQuantization(codes(b))
    w = np.append(WEIGHTS.ravel(), 2.5)
    levels = 2.0 * np.array(powers(spec.lattice).levels)  # n_1 = floor(log2(10 / 3)) = 1
    nearest = np.abs(w[:, None] - levels).min(axis=1)
    assert (np.abs(quantised(spec, w) - w) == nearest).all()
    assert (quantised(spec, levels) == levels).all()


@pytest.mark.parametrize(("largest", "top"), [(0.74, 0.5), (0.75, 1.0), (1.4, 1.0), (1.5, 2.0)])
def test_the_largest_level_is_that_of_the_largest_weight(largest, top):
    """s < 3/2 2**n_1, so no weight is beyond the last interval; in all three rooms."""
    w, row = np.array([largest, 0.0]), reading(IncrementalQuantization())
    assert unit_of(row, w, {}).tolist() == [top]
    assert places(row, torch.tensor(w))[1].tolist() == [top]
    assert quantised(IncrementalQuantization(), np.array([largest, 0.0])).tolist() == [top, 0.0]


def test_what_is_free_is_seen_itself_and_alone_has_a_slope():
    w, frozen = np.array([0.9, -0.3, 0.6, 0.1]), np.array([True, False, True, True])
    state = {"frozen": frozen}
    assert reader.read(IncrementalQuantization(), w, None, state).tolist() == [1.0, -0.3, 1.0, 0.0]
    found = reader.slope(IncrementalQuantization(), w, None, np.full(4, 3.0), state)
    assert found["latent"].tolist() == [0.0, 3.0, 0.0, 0.0]
    assert law(IncrementalQuantization(), w, state).argmax(-1).tolist() == [2, 1, 2, 1]


@orders
def test_shares_are_met_and_nothing_thaws_where_it_must_not(order):
    spec, frozen = IncrementalQuantization(order=order), np.zeros(WEIGHTS.shape, bool)
    w = WEIGHTS.copy()
    for share in SHARES["ResNet-18, 2 bits"]:
        words = None if ORDERS[order].by_size else RNG.integers(0, 2**32, w.shape, np.uint32)
        after = partition(spec, w, share, frozen, words)
        assert after.sum() == np.floor(share * w.size + 0.5)
        assert after[frozen].all() or not ORDERS[order].keeps
        if order == "largest" and (~after).any():
            assert np.abs(w[after & ~frozen]).min() >= np.abs(w[~after]).max()
        w, frozen = np.where(after, w, RNG.normal(size=w.shape)), after
    assert frozen.all()


@orders
def test_equal_ones_are_frozen_from_the_first_on(order):
    words = None if ORDERS[order].by_size else np.full(5, 7, np.uint32)
    chosen = partition(IncrementalQuantization(order=order), np.ones(5), 0.4, None, words)
    assert chosen.tolist() == [True, True, False, False, False]


def last_step_reads_no_index():
    """The released code takes a threshold at index -1 of its sorted weights in the last step."""
    for order, rule in ORDERS.items():
        for n in (1, 2, 7):
            words = None if rule.by_size else np.arange(n, dtype=np.uint32)
            spec = IncrementalQuantization(order=order)
            assert partition(spec, np.arange(float(n)), 1.0, None, words).all()


def frozen_small_weights_stay():
    """It sorts all weights anew: a frozen one thaws if it is small. That is `resorted` here."""
    w, frozen = np.array([0.1, 0.9, 0.8]), np.array([True, False, False])
    chosen = {
        order: partition(IncrementalQuantization(order=order), w, 2 / 3, frozen).tolist()
        for order in ("largest", "resorted")
    }
    assert chosen == {"largest": [True, True, False], "resorted": [False, True, True]}


def levels_of_frozen_weights_stay():
    """It measures n_1 again: a free weight that grows past 3/2 2**n_1 moves all levels."""
    w, frozen = np.array([0.5, 0.26, 0.2]), np.array([True, True, False])
    unit = {"unit": np.array([0.5])}
    grown = np.array([0.5, 0.26, 7.0])
    spec = IncrementalQuantization(codes(3))
    before = reader.read(spec, w, None, {"frozen": frozen})
    assert before.tolist() == [0.5, 0.25, 0.2]
    assert reader.read(spec, grown, None, {"frozen": frozen, **unit}).tolist() == [0.5, 0.25, 7.0]
    assert reader.read(spec, grown, None, {"frozen": frozen}).tolist() != [0.5, 0.25, 7.0]


def all_numbers_of_bits_have_levels():
    """It has the exponents of 5 bits alone, typed."""
    assert [lattice.size for lattice in LATTICES] == [3, 5, 9, 17]


def three_levels_are_not_zeros():
    """quantlib's n_2 is larger by one: 3 levels leave nothing but 0, and 17 leave 15."""
    for lattice in LATTICES:
        stair = powers(lattice)
        w = np.array(stair.levels)
        assert len(set(quantised(IncrementalQuantization(lattice), w).tolist())) == lattice.size


def weights_keep_their_units():
    """quantlib divides W by its scale for good; here a weight is seen within half of itself."""
    for factor in (1e-6, 1.0, 1e6):
        w = factor * WEIGHTS
        seen = quantised(IncrementalQuantization(codes(5)), w)
        assert (np.abs(seen - w) <= np.maximum(np.abs(w) / 3, factor * 2.0**-6)).all()


DEFECTS: dict[str, Callable[[], None]] = {
    "C6: index -1 in the last step": last_step_reads_no_index,
    "C6: frozen weights thaw": frozen_small_weights_stay,
    "C6: levels are measured again": levels_of_frozen_weights_stay,
    "C6: 5 bits alone": all_numbers_of_bits_have_levels,
    "C7: n_2 off by one": three_levels_are_not_zeros,
    "C7: weights in other units": weights_keep_their_units,
}


@pytest.mark.parametrize("name", DEFECTS)
def test_mistakes_of_public_code_are_not_made(name):
    """Those of masks that an optimiser passes by, and of biases, are in qcuda/test_freezing.py."""
    DEFECTS[name]()


def test_published_shares_increase_to_all_and_rows_have_all_orders():
    for shares in SHARES.values():
        assert (np.diff((0.0, *shares)) > 0).all() and shares[-1] == 1.0
    assert {row.spec.order for row in contract("inq").rows} == set(ORDERS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IncrementalQuantization(Lattice.ternary(2.0)), "of 2 to 5 bits, got Lattice"),
        (lambda: IncrementalQuantization(order="first"), "an order is one of .*, got 'first'"),
        (lambda: codes(6), "powers of two have 2 to 5 bits, got 6"),
        (lambda: partition(IncrementalQuantization(), WEIGHTS, 1.5), "is in .0, 1., got 1.5"),
        (
            lambda: partition(IncrementalQuantization(order="random"), WEIGHTS, 0.5),
            "words are for an order that is random, got 'random'",
        ),
    ],
)
def test_other_lattices_orders_and_shares_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
