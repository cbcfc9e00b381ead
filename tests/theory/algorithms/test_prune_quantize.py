"""Pruned binary weights: by size, by a learned threshold, and by scores of weights that stay."""

from __future__ import annotations

import numpy as np
import pytest

from qreference import reader
from qtheory.algorithms import rows
from qtheory.algorithms.prune_quantize import PruneQuantize, law
from qtheory.lattice import Lattice

W = np.array([[0.4, -0.1, 0.3, -0.8], [0.05, 0.2, -0.6, 0.7]])
UPSTREAM = np.array([[1.0, 2.0, 4.0, 8.0], [-1.0, 3.0, 5.0, 7.0]])


@pytest.mark.parametrize("zeros", [0.05, 0.25, 0.5, 0.7, 1.0])
def test_a_share_of_the_smallest_weights_is_pruned(zeros):
    seen = reader.read(PruneQuantize(zeros=zeros), W)
    k = int(np.floor(zeros * W.size + 0.5))
    pruned = np.abs(W) <= np.sort(np.abs(W), axis=None)[k - 1] if k else np.zeros(W.shape, bool)
    assert ((seen == 0) == pruned).all() and pruned.sum() == k
    gain = np.abs(W)[~pruned].mean() if k < W.size else 0.0
    assert np.abs(seen - gain * np.sign(W) * ~pruned).max() <= 1e-15


def test_of_equal_sizes_at_the_cut_all_are_pruned_and_filters_have_cuts_of_their_own():
    same = np.array([0.5, -0.5, 0.5, 1.0])
    assert reader.index(PruneQuantize(zeros=0.25), same).tolist() == [1, 1, 1, 2]
    by_filter = reader.read(PruneQuantize(group="filter"), np.array([[1.0, 3.0], [10.0, 30.0]]))
    assert by_filter.tolist() == [[0.0, 3.0], [0.0, 30.0]]
    assert reader.slope(PruneQuantize(), W, None, UPSTREAM)["latent"].tolist() == UPSTREAM.tolist()


def test_scores_choose_weights_that_do_not_change():
    """Signed constants: what is seen is the mask times W, and the slope W sign(s), by hand."""
    fixed, scores = 0.25 * np.sign(W), np.array([[0.9, -0.2, 0.0, -0.7], [0.3, 0.6, 0.1, -0.5]])
    spec, state = PruneQuantize(rule="scores", zeros=0.5), {"fixed": fixed}
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 1]])
    assert reader.read(spec, scores, None, state).tolist() == (mask * fixed).tolist()
    assert (law(spec, scores, state).argmax(-1) - 1 == mask * np.sign(W)).all()
    found = reader.slope(spec, scores, None, UPSTREAM, state)
    assert set(found) == {"latent"}
    assert found["latent"].tolist() == (UPSTREAM * fixed * np.sign(scores)).tolist()
    uneven = {"fixed": np.where(mask, fixed, 9.0)}
    assert reader.read(spec, scores, None, uneven).tolist() == (mask * fixed).tolist()


def test_a_mask_of_three_levels_over_signed_constants_is_a_ternary_latent():
    """z(m) sign(W) = z(m sign(W)) for an odd stair z, ties too: no row of its own is needed."""
    m = np.linspace(-1.5, 1.5, 61)
    threshold = {"threshold": np.array([0.75])}
    spec = PruneQuantize(rule="threshold")
    for sign in (-1.0, 1.0):
        one = reader.index(spec, m, None, threshold) - 1
        assert (sign * one == reader.index(spec, sign * m, None, threshold) - 1).all()


def test_a_learned_threshold_by_hand():
    """a = 1/2: weights of size 1/4 to 3/4 pull it up if they are missed, g = mean of |W| > a."""
    spec, state = PruneQuantize(rule="threshold"), {"threshold": np.array([[0.5]])}
    gain = (0.8 + 0.6 + 0.7) / 3
    assert np.abs(reader.read(spec, W, None, state)).max() == pytest.approx(gain, rel=1e-15)
    near = [(0.4, 1.0), (0.3, 4.0), (-0.6, 5.0), (0.7, 7.0)]
    slope = -sum(g * gain * w / 0.25 for w, g in near)
    found = reader.slope(spec, W, None, UPSTREAM, state)
    assert found["threshold"].tolist() == [[pytest.approx(slope, rel=1e-14)]]
    assert found["latent"].tolist() == UPSTREAM.tolist()
    first = reader.start(PruneQuantize(rule="threshold", zeros=0.7), W)["threshold"]
    assert abs(first.item() - 0.7 * np.abs(W).mean()) <= 2.0**-25


def test_rows_have_the_published_shares():
    assert rows()["edge-popup"].spec.zeros == 0.7  # 30 % of the weights are kept
    assert rows()["multi-prize"].spec.zeros == 0.8  # 20 %, ImageNet, binary weights
    assert {row.spec.rule for row in rows().values() if isinstance(row.spec, PruneQuantize)} == {
        "size", "threshold", "scores",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PruneQuantize(Lattice.binary()), "-1, 0 and 1 times a gain, got Lattice"),
        (lambda: PruneQuantize(rule="no"), "a rule of pruning is one of .*, got 'no'"),
        (lambda: PruneQuantize(zeros=0.0), "is above 0 and at most 1, got 0.0"),
        (lambda: PruneQuantize(zeros=1.01), "is above 0 and at most 1, got 1.01"),
        (lambda: PruneQuantize(group="row"), "a group is one of .*, got 'row'"),
    ],
)
def test_other_levels_rules_and_shares_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
