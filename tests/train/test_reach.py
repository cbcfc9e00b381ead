"""Every value of a config reaches the part that it is of, and no other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from qcuda.data.source import opened
from qcuda.models.weights import weight_layers
from qcuda.nn import LatticeLayer, NoisyStair
from qcuda.nn.fused import BatchStair
from qcuda.optimizer import LatticeOptimizer
from qcuda.train.config import make
from qcuda.train.door import begin
from qcuda.train.loop import Trainee


def trainee(method: str = "dst", seed: int = 0, **tree: Any) -> Trainee:
    return begin(make({"run": {"methods": [method]}, **tree}), method, seed)


def every(model: nn.Module, kind: type) -> list[Any]:
    return [m for m in model.modules() if isinstance(m, kind)]


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_numbers_of_a_model_reach_its_layers(name: str):
    own = {"channels": 3} if name == "cnn" else {}
    activation = {"threshold": 0.2, "half_width": 0.75, "window": "triangular"}
    made = trainee(model={"name": name, "hidden": 7, **own, "activation": activation}).model
    stairs = every(made, NoisyStair)
    assert len(stairs) == (3 if name == "cnn" else 2)
    for stair in stairs:
        assert stair.stair.thresholds == (0.2,)  # of the half that is mirrored
        assert float(stair.scale) == 0.75
        assert stair.family == "triangular"
    shapes = [tuple(layer.weight.shape) for layer in every(made, LatticeLayer)]
    convolutions = [(3, 1, 3, 3), (6, 3, 3, 3), (7, 6 * 16)]
    assert shapes == [*(convolutions if name == "cnn" else [(7, 64), (7, 7)]), (10, 7)]


@pytest.mark.parametrize(("method", "levels"), [("ste", 3), ("full", None)])
def test_baselines_have_the_levels_and_the_activations_of_their_method(method: str, levels: Any):
    made = trainee(method).model
    reads = [getattr(layer, "reader", None) for layer in weight_layers(made).values()]
    layers = [read and len(read.reading.stair.levels) for read in reads]
    assert set(layers) == {levels}
    assert bool(every(made, NoisyStair)) == (method == "ste")
    assert bool(every(made, nn.ReLU)) == (method == "full")


@pytest.mark.parametrize("memory", ["plain", "least"])
def test_a_model_keeps_as_little_as_is_asked(memory: str):
    made = trainee(learning={"memory": memory}, model={"name": "mlp", "hidden": 7}).model
    assert {layer.frugal for layer in every(made, LatticeLayer)} == {memory == "least"}
    assert bool(every(made, BatchStair)) == (memory == "least")
    plain = trainee(model={"name": "mlp", "hidden": 7}).model
    assert made.state_dict().keys() == plain.state_dict().keys()


def test_a_base_optimiser_has_its_numbers():
    base = {"betas": [0.8, 0.95], "epsilon": 1e-5, "moments": "bfloat16"}
    for method in ("dst", "full"):
        rates = {"learning_rate": {method: 0.125}}
        optimizer = trainee(method, base={"name": "adam", **base, **rates}).optimizer
        for group in optimizer.param_groups:
            assert (group["lr"], tuple(group["betas"]), group["eps"]) == (0.125, (0.8, 0.95), 1e-5)
        if isinstance(optimizer, LatticeOptimizer):
            assert optimizer.moment_type is torch.bfloat16
    for method in ("dst", "full"):
        base = {"name": "momentum", "momentum": 0.7, "learning_rate": {method: 0.5}}
        for group in trainee(method, base=base).optimizer.param_groups:
            assert (group["lr"], group["momentum"]) == (0.5, 0.7)


def test_rates_belong_to_their_methods():
    rates = {"dst": 0.5, "ste": 0.25, "full": 0.125}
    config = make({"base": {"learning_rate": rates}})
    found = {m: begin(config, m, 0).optimizer.param_groups[0]["lr"] for m in rates}
    assert found == rates


def test_knobs_of_an_algorithm_reach_its_optimiser():
    optimizer = trainee(algorithm={"dst": {"nonlinearity": 1.5}}).optimizer
    assert isinstance(optimizer, LatticeOptimizer)
    assert optimizer.next_numbers(optimizer.param_groups[0]).spec.nonlinearity == 1.5


def test_a_seed_reaches_levels_latents_and_words():
    for method in ("dst", "full"):
        models = [trainee(method, seed).model.state_dict() for seed in (3, 3, 4)]
        states = [next(iter(model.values())) for model in models]
        assert torch.equal(states[0], states[1])
        assert not torch.equal(states[0], states[2])
    optimizer = trainee(seed=3).optimizer
    assert optimizer.param_groups[0]["seed"] == 3
    # Layers have words of their own: two of one shape begin on different levels.
    layers = every(trainee(model={"name": "mlp", "hidden": 64}).model, LatticeLayer)
    assert layers[0].slot.shape == layers[1].slot.shape
    assert not torch.equal(layers[0].state, layers[1].state)


def test_numbers_of_the_data_reach_it():
    config = make({"data": {"examples": 45, "batch": 20, "shift": 0, "validation_share": 0.3}})
    data = opened(config.data)
    sizes = [len(batch.labels) for batch in data.epoch(0, 1)]
    assert sizes == [23, 22]
    assert len(data.validation.labels) == round(0.3 * 1347)
    seen = torch.cat([batch.images for batch in data.epoch(0, 1)])
    own = {image.numpy().tobytes() for image in data.train.images}
    assert {image.numpy().tobytes() for image in seen} == own  # not shifted


def test_an_audit_of_the_law_is_for_those_who_ask_and_move_on_lattices():
    on = {"run": {"methods": ["dst", "full"], "law_audit": True}}
    assert begin(make(on), "dst", 0).evidence is not None
    assert begin(make(on), "full", 0).evidence is None
    assert trainee().evidence is None
