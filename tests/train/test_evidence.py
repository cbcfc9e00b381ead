"""The audit of the law learns from every layer, and its evidence goes on from epoch to epoch."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch

from qcuda.data.source import opened
from qcuda.kernels.words import words
from qcuda.train.config import make
from qcuda.train.door import begin
from qcuda.train.loop import train_epoch
from qcuda.watch import conditional, law_audit
from qcuda.watch.odds import predicted_moves
from qtheory import Lattice, StochasticRounding
from qtheory.streams import Stream

CONFIG = {
    "run": {"methods": ["dst"], "law_audit": True, "epochs": 3},
    "data": {"examples": 40, "batch": 20},
    "model": {"name": "mlp", "hidden": 8},
    "base": {"learning_rate": {"dst": 0.2}},
}


def test_evidence_is_of_every_layer_and_of_all_epochs():
    """Two iterations an epoch; 1, 2 and 4 are audited."""
    config, told = make(CONFIG), []
    trainee, data = begin(config, "dst", 5), opened(config.data)
    of = conditional.log_terms

    def heard(tallies: np.ndarray, slack: float) -> np.ndarray:
        assert slack == conditional.WORD
        assert (tallies[:, 0].reshape(len(tallies), -1).sum(1) > 0).all()  # each layer has a say
        told.append((tallies.copy(), of(tallies)))
        return told[-1][1]

    with mock.patch.object(conditional, "log_terms", heard):
        for epoch in (1, 2, 3):
            train_epoch(trainee, data.epoch(5, epoch), data.validation)
    assert trainee.evidence is not None and len(told) == 3
    terms = np.sum([terms for _, terms in told], axis=0)
    assert np.allclose(trainee.evidence.process.terms, terms, rtol=1e-12, atol=1e-12)
    counted = [sum(t[:, 0].sum() for t, _ in told[:seen]) for seen in (2, 3, 3)]
    records = trainee.records[1:]
    assert [r["law_audit"]["decisions"] for r in records] == counted
    assert [[t for t, _ in r["law_audit"]["trace"]] for r in records] == [[1, 2], [4], []]
    assert records[2]["log_e"] == records[1]["log_e"] == records[1]["law_audit"]["trace"][-1][1]


def test_an_impossible_move_is_counted_on_any_layer_and_for_ever():
    config = make(CONFIG)
    trainee, data = begin(config, "dst", 5), opened(config.data)
    read, layer = law_audit.levels, list(trainee.optimizer.slots)[-1].owner()

    def spoilt(owner: object, start: int, stop: int) -> np.ndarray:
        found = read(owner, start, stop)
        return np.full_like(found, -1) if owner is layer else found

    with mock.patch.object(law_audit, "levels", spoilt):
        train_epoch(trainee, data.epoch(5, 1), data.validation)
    assert trainee.evidence.noticed == 1
    train_epoch(trainee, data.epoch(5, 2), data.validation)
    assert trainee.evidence.failing and trainee.records[2]["law_audit"]["failing"]


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (7, 1), (7, 3)])
def test_the_order_of_an_epoch_is_that_of_its_words(seed: int, epoch: int):
    """Seed and epoch, and nothing else: another seed sees another order."""
    config = make({"data": {"examples": 100, "batch": 20, "shift": 0}}).data
    data = opened(config)
    drawn = words(seed, epoch, 1, 100, stream=Stream.DATA)
    order = torch.argsort(drawn, stable=True)
    found = list(data.epoch(seed, epoch))
    assert torch.equal(torch.cat([b.images for b in found]), data.train.images[order])
    assert torch.equal(torch.cat([b.labels for b in found]), data.train.labels[order])


def test_the_parts_of_a_source_are_those_of_the_split():
    from qcuda.data.digits import load, split

    config = make({"data": {"examples": 100, "batch": 20}}).data
    data, every = opened(config), load()
    for name, places in split(every.labels, config)._asdict().items():
        part = getattr(data, name)
        assert torch.equal(part.images, every.images[places])
        assert torch.equal(part.labels, every.labels[places])


def test_the_law_of_a_step_is_that_of_the_knobs_of_its_epoch():
    schedule = {"nonlinearity": {"name": "exponential", "final": 4}}
    trainee = begin(make({**CONFIG, "schedules": schedule}), "dst", 5)
    data, expect = opened(make(CONFIG).data), conditional.expect
    with mock.patch.object(conditional, "expect", side_effect=expect) as asked:
        for epoch in (1, 2):
            train_epoch(trainee, data.epoch(5, epoch), data.validation)
    # Three layers in iterations 1, 2 and 4; of three epochs, the second has twice the first value.
    found = [call.args[0].nonlinearity for call in asked.call_args_list]
    assert found == pytest.approx([3.0] * 6 + [6.0] * 3)


def test_mean_and_variance_of_moves_are_those_of_coins():
    spec = StochasticRounding(Lattice.ternary())
    found = predicted_moves(spec, np.array([1, 1, 2]), np.array([0.25, -0.5, 0.5]))
    assert found == (0.25 + 0.5, 0.25 * 0.75 + 0.5 * 0.5)  # the last weight is at its end
