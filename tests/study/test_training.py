"""One run of a study: what moves by what, what falls, and how it is judged."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import qcuda
from qcuda.data.mnist1d import Opened
from qcuda.models.baselines import RealLayer, read_as
from qcuda.nn import lattice_layers
from qcuda.optimizer import LatticeOptimizer
from qcuda.study import training
from qcuda.study.rules import RULES, Between, configurations


def values_of(name: str) -> dict:
    rule = RULES[name]
    return {**rule.fixed, **configurations(rule.space, 1, 0)[0]}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_trains_and_says_what_it_reached(name: str, small: Opened):
    values = configurations(RULES[name].space, 1, 0)[0]
    if isinstance(threshold := RULES[name].space.get("threshold"), Between):
        values["threshold"] = threshold.low  # so that something moves in a few steps
    found = [
        training.train(RULES[name], values, 3, small, steps=12, hidden=16, tested=True)
        for _ in range(2)
    ]
    for one in found:
        assert one.pop("seconds") > 0
    assert found[0] == found[1]
    assert set(found[0]) == {"validation", "test", "moves", "zeros"}
    assert 0 <= found[0]["zeros"] <= 1
    assert found[0]["moves"] > 0


@pytest.mark.parametrize("name", RULES)
def test_the_bits_of_a_row_are_those_that_training_keeps(name: str, small: Opened):
    """Moments bit for bit; a level in the next of 2, 4, 6 and 8 bits."""
    rule = RULES[name]
    model, optimizer = training.begin(rule, values_of(name), 0, 16)
    batch = next(iter(small.epoch(0, 1)))
    model(batch.images).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    kept = optimizer.param_groups[0]["params"]
    if rule.stem is None:
        sizes = [
            sum(t.numel() * t.element_size() for t in optimizer.state[p].values()) for p in kept
        ]
        numel = sum(p.numel() for p in kept)
        assert 32 + 8 * (sum(sizes) - 4 * len(kept)) / numel == rule.state_bits  # but for `step`
        return
    found = qcuda.audit(model, optimizer)
    stored = 2 * math.ceil((rule.bits or 2) / 2)
    assert found.weight_bits == stored
    assert found.total_bits - stored == rule.moments


@pytest.mark.parametrize("name", ["ste", "walker8", "dst"])
def test_only_weights_have_the_rate_of_the_rule(name: str):
    values = values_of(name)
    model, optimizer = training.begin(RULES[name], values, 0, 16)
    weights, others = optimizer.param_groups
    assert (weights["lr"], others["lr"]) == (values["learning_rate"], 0.01)
    assert len(weights["params"]) == 3 and len(others["params"]) == 6
    assert isinstance(optimizer, LatticeOptimizer) == bool(lattice_layers(model))


def test_rates_fall_to_zero_along_a_cosine(small: Opened, monkeypatch: pytest.MonkeyPatch):
    seen: list[list[float]] = []
    step = LatticeOptimizer.step

    def watched(self, *arguments):
        seen.append([group["lr"] for group in self.param_groups])
        return step(self, *arguments)

    monkeypatch.setattr(LatticeOptimizer, "step", watched)
    given = {"learning_rate": 0.5}
    training.train(RULES["walker8"], given, 0, small, steps=25, hidden=8, tested=False)
    falls = [(1 + math.cos(math.pi * t / 25)) / 2 for t in range(25)]
    assert seen == [[0.5 * f, 0.01 * f] for f in falls]


def test_statistics_are_taken_from_the_images_given(small: Opened):
    model, _ = training.begin(RULES["walker8"], {"learning_rate": 0.1}, 0, 16)
    training.restate(model, [small.train.images[:50]])
    hand = copy.deepcopy(model)
    first = small.train.images[:50] @ hand.linear1.weight.detach().T
    assert torch.allclose(model.norm1.running_mean, first.mean(0), atol=1e-6)
    assert torch.allclose(model.norm1.running_var, first.var(0), rtol=1e-5)
    assert [m.momentum for m in model if isinstance(m, nn.BatchNorm1d)] == [0.1] * 3


def test_a_threshold_says_where_a_latent_shows_0():
    layer = RealLayer((1, 4), read_as(3, 0.25))
    with torch.no_grad():
        layer.latent.copy_(torch.tensor([[-0.3, -0.2, 0.25, 0.24]]))
    assert layer.visible.tolist() == [[-1, 0, 1, 0]]


def test_a_loss_that_is_not_finite_reaches_nothing(small: Opened):
    found = training.train(
        RULES["float"], {"learning_rate": 1e38}, 0, small, steps=201, hidden=8, tested=True
    )
    assert (found["validation"], found["test"]) == (0.0, 0.0)
