"""Averages of discrete weights are float models, read back onto the lattice at the end."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import swa_utils

import qcuda
from qcuda.nn import lattice_layers
from qtheory import DST, Lattice
from qtheory.optimisers import SGD

TERNARY = Lattice.ternary()


def network(scale="channel") -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), qcuda.nn.MultiStep(),
        nn.ConvTranspose2d(6, 4, 3, groups=2), nn.Flatten(), nn.Linear(4 * 36, 5),
    )  # fmt: skip
    return qcuda.quantize_(model, qcuda.LatticeConfig(TERNARY, scale=scale))


def walk(model: nn.Module, steps: int):
    """The model after each of some steps of training."""
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=SGD(5.0), seed=0)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 6, 6)).square().mean().backward()
        optimizer.step()
        yield model


def visible(model: nn.Module) -> list[torch.Tensor]:
    return [layer.weight.detach().clone() for layer in lattice_layers(model).values()]


@pytest.mark.parametrize("decay", [None, 0.75])
def test_an_average_is_that_of_the_visible_weights(decay: float | None):
    """Mean or exponential mean, in float64; 16 float32 operations each lose at most 2**-23."""
    model, seen = network(), []
    rule = None if decay is None else swa_utils.get_ema_multi_avg_fn(decay)
    average = qcuda.AveragedModel(model, multi_avg_fn=rule)
    for after in walk(model, 5):
        average.update_parameters(after)
        seen.append([w.double() for w in visible(after)])
    found = [
        m.weight for m in average.module.modules() if hasattr(m, "weight") and m.weight.dim() > 1
    ]
    for k, mean in enumerate(found):
        wanted = seen[0][k]
        for n, now in enumerate(seen[1:], start=1):
            share = 1 / (n + 1) if decay is None else 1 - decay
            wanted = wanted + (now[k] - wanted) * share
        bound = 16 * 2.0**-23 * max(w[k].abs().max() for w in seen)
        assert (mean.double() - wanted).abs().max() <= bound
        assert not torch.equal(seen[0][k], seen[-1][k])


def test_the_average_is_evaluated_renewed_and_read_back():
    model = network()
    average = qcuda.AveragedModel(model)
    for after in walk(model, 6):
        average.update_parameters(after)
    batches = [torch.randn(8, 3, 6, 6) for _ in range(3)]
    swa_utils.update_bn(batches, average)
    mean = average.module[1].running_mean
    assert not torch.equal(mean, model[1].running_mean)
    target = network()
    average.read_into(target)
    for name, layer in lattice_layers(target).items():
        wanted = average.module.get_submodule(name).weight.detach() / layer._spread_scale()
        assert (layer.index.numpy() == TERNARY.nearest(wanted.numpy())).all()
    assert torch.equal(target[1].running_mean, mean)
    assert torch.equal(target[5].bias, average.module[5].bias)
    assert average.eval()(batches[0]).shape == target.eval()(batches[0]).shape == (8, 5)


def test_attention_and_ties_are_averaged():
    model = nn.ModuleDict({"a": nn.MultiheadAttention(8, 2), "e": nn.Embedding(9, 8)})
    model["h"] = nn.Linear(8, 9, bias=False)
    model["h"].weight = model["e"].weight
    qcuda.quantize_(model)
    average = qcuda.AveragedModel(model)
    average.update_parameters(model)
    before = {name: layer.index for name, layer in lattice_layers(model).items()}
    for layer in lattice_layers(model).values():
        layer.set_index(torch.ones_like(layer.index))
    average.read_into(model)
    for name, layer in lattice_layers(model).items():
        assert torch.equal(layer.index, before[name])


def test_torchs_own_average_names_ours():
    model = network("layer")
    average = swa_utils.AveragedModel(model)
    with pytest.raises(ValueError, match=r"qcuda\.AveragedModel"):
        average.update_parameters(model)
