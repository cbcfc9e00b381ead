"""Schedules that see how training goes, going back to the best epoch, and both after a stop."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from stopping import stopped_after

from qcuda.data.source import opened
from qcuda.errors import InputError
from qcuda.nn import lattice_layers
from qcuda.optimizer import LatticeOptimizer
from qcuda.schedules.adaptive import Adaptive, Moved, Seen, Spread
from qcuda.schedules.shapes import Linear, Logarithmic
from qcuda.schedules.table import Stretched
from qcuda.train import job, loop
from qcuda.train.checkpoint import pack, restore
from qcuda.train.config import make
from qcuda.train.door import begin
from qcuda.train.loop import Trainee, train_epoch
from qtheory.chain import logarithmic_schedule
from qtheory.schedules import cooled

METHOD = "metropolis"
SMALL = {
    "run": {"epochs": 4, "methods": [METHOD]},
    "data": {"examples": 60, "batch": 20},
    "model": {"name": "mlp", "hidden": 16},
}


def trained(**tree: Any) -> Trainee:
    """A trainee after all epochs, by one thread."""
    config = make({**SMALL, **tree})
    trainee, data = begin(config, config.run.methods[0], 0), opened(config.data)
    with job._threads(1):
        for number in range(1, config.run.epochs + 1):
            train_epoch(trainee, data.epoch(0, number), data.validation)
    return trainee


# Shapes


def test_a_logarithmic_shape_is_hajeks_schedule():
    """One epoch for one k: c = first ln 2, to two roundings of a logarithm and a product."""
    schedule = Stretched(Logarithmic(60.0), 3.0, 61)
    exact = logarithmic_schedule(3.0 * math.log(2), 61)
    assert [schedule(k) for k in range(61)] == pytest.approx(exact.tolist(), rel=1e-15)


def test_a_linear_shape_has_equal_steps():
    values = [Stretched(Linear(0.5), 8.0, 5)(k) for k in range(6)]
    assert values == [8.0, 7.0, 6.0, 5.0, 4.0, 4.0]


# Rules


def test_spread_is_the_rule_of_the_exact_room():
    for value, spread in ((2.0, 4.0), (0.1, 3.0), (5.0, 0.01), (1.0, 0.0)):
        found = Spread(0.7, 0.25).next(value, Seen(spread, None), 0.5)
        assert found == cooled(value, spread, 0.7, 0.25)
        assert 0.25 * value <= found < value


def test_moved_raises_what_moves_too_little_and_lowers_what_moves_too_much():
    rule = Moved(0.04, 0.25, gain=0.5)
    assert rule.next(3.0, Seen(0.0, 0.01), 0.0) == 6.0
    assert rule.next(3.0, Seen(0.0, 0.01), 1.0) == pytest.approx(3.0)
    assert rule.next(3.0, Seen(0.0, 0.0225), 1.0) == pytest.approx(2.0)
    assert rule.next(3.0, Seen(0.0, 0.9), 0.0) == 1.5
    assert Adaptive(rule, 0.9, 10, highest=1.0).value == 0.9


def test_progress_is_that_of_the_epoch_to_come_and_the_highest_value_is_kept():
    schedule = Adaptive(Moved(0.08, 0.25, gain=1.0), 0.5, 3, highest=0.75)
    schedule.see(0, Seen(0.0, 0.04))  # wanted 0.04 half-way
    assert schedule(1) == 0.5
    schedule.see(1, Seen(0.0, 0.01))  # wanted 0.02 at the end
    assert schedule(2) == 0.75


def test_moved_needs_weights_that_move():
    with pytest.raises(InputError, match="an optimiser with weights on a lattice, got none"):
        Moved().next(1.0, Seen(0.1, None), 0.0)
    own = {"run": {"methods": ["dst", "full"]}, "schedules": {"learning_rate": {"name": "moved"}}}
    with pytest.raises(InputError, match=r"moved is for methods .* lattice, got \['full'\]"):
        make(own)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"name": "spread", "rate": 0.0}, "rate is finite and positive, got 0"),
        ({"name": "spread", "least": 0.0}, r"least is in \(0, 1\], got 0"),
        ({"name": "moved", "share": 1.5}, r"share is in \(0, 1\], got 1.5"),
        ({"name": "moved", "final": 0.0}, "final is finite and positive, got 0"),
        ({"name": "moved", "gain": 2.0}, r"gain is in \(0, 1\], got 2"),
        ({"name": "logarithmic", "slowest": 0.0}, "slowest is finite and positive, got 0"),
        ({"name": "linear", "final": 0.0}, "final is finite and positive, got 0"),
    ],
)
def test_a_bad_number_is_named(part: dict[str, Any], message: str):
    with pytest.raises(InputError, match=f"schedules.temperature: {message}"):
        make({**SMALL, "schedules": {"temperature": part}})


def test_a_state_of_another_form_is_refused():
    for state in ({}, {"value": math.nan}, {"value": 1.0, "more": 2.0}):
        with pytest.raises(InputError, match="a finite value"):
            Adaptive(Spread(), 1.0, 3).load_state_dict(state)


# In training


def test_the_knob_follows_from_the_losses_and_moves_of_each_epoch():
    """Losses by hand; moves from the optimiser's counts, over the weights and iterations."""
    losses: list[list[float]] = []
    own = loop._pass

    def listening(*parts: Any) -> Any:
        found = own(*parts)
        losses.append(found[0])
        return found

    rules = {"temperature": {"name": "spread", "rate": 0.3}, "proposal": {"name": "moved"}}
    with mock.patch.object(loop, "_pass", listening):
        trainee = trained(schedules=rules)
    first, *records = trainee.records
    optimizer = trainee.optimizer
    assert isinstance(optimizer, LatticeOptimizer)
    weights = sum(slot.numel() for slot in optimizer.slots)
    value, proposal = 0.25, 1.0
    for place, record in enumerate(records):
        assert (record["temperature"], record["proposal"]) == (value, proposal)
        seen = Seen(
            statistics.pstdev(losses[place]), sum(record["moved"]) / (weights * len(losses[place]))
        )
        assert seen == (record["loss_spread"], record["moved_share"])
        value = Spread(0.3).next(value, seen, 0.0)
        proposal = min(Moved().next(proposal, seen, (place + 1) / 3), 1.0)
    assert len(losses[0]) > 2 and proposal < 1
    assert (
        "loss_spread" not in first
        and "loss_spread" not in trained(run={"epochs": 1, "methods": [METHOD]}).records[-1]
    )


def judging(*accuracies: float) -> Any:
    """Validation finds these, one after the other."""
    return mock.patch.object(loop, "evaluate", side_effect=[(one, 1.0) for one in accuracies])


def test_it_goes_back_to_the_best_and_on_with_new_words():
    """Validation gets worse from the second epoch on, and is equal to the best in the fifth."""
    config = make({**SMALL, "run": {"epochs": 8, "methods": [METHOD], "patience": 3}})
    trainee, data = begin(config, METHOD, 0), opened(config.data)
    optimizer, after = trainee.optimizer, []
    with judging(0.3, 0.6, 0.5, 0.4, 0.6, 0.2, 0.2, 0.2), job._threads(1):
        for number in range(1, 9):
            train_epoch(trainee, data.epoch(0, number), data.validation)
            states = (trainee.model.state_dict(), optimizer.state_dict())
            after.append(copy.deepcopy(states))
    went = [record.get("went_back_to") for record in trainee.records[1:]]
    assert went == [None, None, None, None, 2, None, None, 2]
    best, back, on = after[1], after[4], after[5]
    assert all(torch.equal(best[0][name], value) for name, value in back[0].items())
    for number, found in back[1]["state"].items():
        then, new = best[1]["state"][number], on[1]["state"][number]
        assert set(found) == set(then) == set(new)
        for name, value in found.items():
            goes_on = name in ("moved", "nan")
            assert torch.equal(value, then[name]) or goes_on
        if "moved" in found:
            assert then["moved"] < found["moved"] < new["moved"]
    iterations = [state["param_groups"][0]["iteration"] for _, state in after]
    assert iterations == [iterations[0] * (k + 1) for k in range(8)]
    layers = lattice_layers(trainee.model)
    assert len(layers) > 1
    third = [after[2][0][f"{name}.state"] for name in layers]
    sixth = [after[5][0][f"{name}.state"] for name in layers]
    assert not all(torch.equal(a, b) for a, b in zip(third, sixth, strict=True))


def test_an_average_begins_anew_where_training_goes_back_to():
    with judging(0.6, 0.5):
        run = {"epochs": 2, "methods": [METHOD], "patience": 1}
        trainee = trained(run=run, learning={"average": 0.9})
    assert trainee.records[-1]["went_back_to"] == 1
    assert trainee.average is not None and trainee.average.steps == 1
    for name, value in trainee.average.values.items():
        assert torch.equal(value, trainee.best["model"][name])


@pytest.mark.parametrize("method", ["full", "walker8"])
def test_every_kind_of_state_goes_back(method: str):
    with judging(0.6, 0.5):
        trainee = trained(run={"epochs": 2, "methods": [method], "patience": 1})
    assert trainee.records[-1]["went_back_to"] == 1
    best = trainee.best["optimizer"]
    for number, found in trainee.optimizer.state_dict()["state"].items():
        own = {k: v for k, v in found.items() if k not in ("moved", "nan")}
        assert own and all(torch.equal(value, best[number][name]) for name, value in own.items())


def test_a_checkpoint_has_the_states_of_schedules():
    rules = {"temperature": {"name": "spread"}, "proposal": {"name": "moved"}}
    tree = {**SMALL, "schedules": rules, "run": {"epochs": 2, "methods": [METHOD]}}
    trainee, other = trained(**tree), begin(make(tree), METHOD, 0)
    values = {knob: one(2) for knob, one in trainee.schedules.items()}
    assert values != {knob: one(2) for knob, one in other.schedules.items()}
    restore(Path("a checkpoint"), pack(make(tree).to_dict(), trainee), other)
    assert values == {knob: one(2) for knob, one in other.schedules.items()}


@pytest.mark.parametrize("writes", [2, 5])
def test_stopped_with_a_state_it_goes_on_with_the_same_bits(
    writes: int,
    tmp_path: Path,
    contents_of: Callable[[Path], dict[str, Any]],
):
    """It went back before the second stop, as validation of so few examples is often no better."""
    tree = {
        **SMALL,
        "run": {"epochs": 7, "methods": [METHOD], "seeds": 1, "patience": 1, "checkpoint_every": 1},
        "schedules": {
            "temperature": {"name": "spread", "rate": 0.2},
            "proposal": {"name": "moved", "share": 0.02},
        },
    }
    config = make(tree)
    job.run(config, tmp_path / "whole")

    with stopped_after(writes):
        job.run(config, tmp_path / "run")
    job.run(config, tmp_path / "run")
    assert contents_of(tmp_path / "run") == contents_of(tmp_path / "whole")
    log = job.read_log(tmp_path / "run")
    assert any("went_back_to" in record for record in log)
    assert len({record["temperature"] for record in log[1:]}) == 7
