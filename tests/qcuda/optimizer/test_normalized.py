"""Walkers with hidden levels and normalised gradients: eight bits a weight in all."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import qcuda
from qcuda.kernels.abi import Storage
from qcuda.nn import Linear
from qreference import optimisers
from qtheory.algorithms import DST, StochasticRounding, hidden
from qtheory.lattice import Lattice
from qtheory.optimisers import Adam, Momentum, Normalized

SPEC = StochasticRounding(**hidden(8))
INT8 = Storage.INT8


def network(bits: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 30, bias=False), nn.BatchNorm1d(30), nn.Linear(30, 7))
    return qcuda.quantize_(model, qcuda.LatticeConfig(**hidden(bits), levels="uniform"))  # type: ignore[return-value]


def gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator)


def bits(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[bytes]:
    kept = [t for state in optimizer.state.values() for t in state.values()]
    every = (*model.state_dict().values(), *kept)
    return [t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for t in every]


@pytest.mark.parametrize("moments", ["float32", "int8"])
@pytest.mark.parametrize("base", [Normalized(0.1), Normalized(0.1, 0.9, 0.9, "neuron")], ids=repr)
def test_steps_are_the_references(base: Normalized, moments: str):
    """Three of them: states, moments, mean squares and counts, bit for bit."""
    layer = Linear(40, 30, SPEC.lattice, bias=False, readout=SPEC.readout)
    layer.draw_levels(3, 0)
    optimizer = qcuda.LatticeOptimizer(layer.parameters(), SPEC, base=base, seed=5, moments=moments)
    kind = "int8" if moments == "int8" else "float32"
    index, kept = layer.index.numpy(), optimisers.init(base, (30, 40), kind)
    total = 0
    for iteration in (1, 2, 3):
        gradients(layer, iteration)
        index, kept, moved, _ = optimisers.train_step(
            SPEC, base, index, kept, layer.slot.grad.numpy(), seed=5, iteration=iteration,
            tensor=0, moment_type=kind,
        )  # fmt: skip
        total += moved
        optimizer.step()
        assert (layer.index.numpy() == index).all()
        found = optimizer.state[layer.slot]
        assert set(found) == ({"first", "square"} if base.momentum else {"square"})
        assert found["square"].numpy().tobytes() == np.asarray(kept.square).tobytes()
        if base.momentum:
            assert found["first"].numpy().tobytes() == np.asarray(kept.first).tobytes()
    assert optimizer.moved.tolist() == [total]
    assert total > 1000


def test_a_weight_takes_eight_bits_in_all():
    """The audit's own words: state 8, moments 0, and no gradient once it is cleared."""
    model = network()
    optimizer = qcuda.LatticeOptimizer(model.parameters(), SPEC, base=Normalized(0.1))
    gradients(model, 1)
    optimizer.step()
    optimizer.zero_grad()
    found = qcuda.audit(model, optimizer)
    assert found.weight_bits == 8
    assert found.total_bits == 8
    with_momentum = qcuda.LatticeOptimizer(
        model.parameters(), SPEC, base=Normalized(0.1, 0.9), moments="int8"
    )
    gradients(model, 1)
    with_momentum.step()
    with_momentum.zero_grad()
    assert qcuda.audit(model, with_momentum).total_bits == 16


@pytest.mark.parametrize(("levels", "stored"), [(2, 2), (3, 4), (4, 4), (5, 6), (6, 6), (8, 8)])
def test_hidden_levels_take_the_fewest_bits(levels: int, stored: int):
    """And move as they do in int8, bit for bit; the last quads are not whole (1201 weights)."""
    spec = StochasticRounding(**hidden(levels))
    layers = [Linear(1201, 1, spec.lattice, bias=False, readout=spec.readout)]
    layers.append(Linear(1201, 1, spec.lattice, bias=False, readout=spec.readout, storage=INT8))
    assert layers[0].storage.bits == stored
    for layer in layers:
        layer.draw_levels(3, 0)
        optimizer = qcuda.LatticeOptimizer([layer.slot], spec, base=Normalized(0.5), seed=5)
        for iteration in (1, 2, 3):
            gradients(layer, iteration)
            optimizer.step()
    assert torch.equal(layers[0].index, layers[1].index)
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert set(layers[0].weight.unique().tolist()) == {-1.0, 0.0, 1.0}
    optimizer = qcuda.LatticeOptimizer([layers[0].slot], spec, base=Normalized(0.5))
    layers[0].slot.grad = None
    assert qcuda.audit(layers[0], optimizer).total_bits == pytest.approx(stored, abs=0.01)


def test_groups_of_both_kinds_are_split_and_follow_schedules():
    model = network()
    optimizer = qcuda.LatticeOptimizer(
        model.named_parameters(), SPEC, base=Normalized(0.1), others=Momentum(0.02, 0.5)
    )
    lattice, other = optimizer.param_groups
    assert [lattice["base"], other["base"]] == ["normalized", "momentum"]
    assert (lattice["lr"], other["lr"], other["momentum"]) == (0.1, 0.02, 0.5)
    assert lattice["param_names"] == ["0.slot", "2.slot"]
    assert other["param_names"] == ["1.weight", "1.bias", "2.bias"]
    assert set(lattice) == {
        "params", "param_names", "base", "lr", "momentum", "decay", "over", "weight_decay", "spec",
        "seed", "iteration",
    }  # fmt: skip
    assert set(other) == set(lattice) - {"decay", "over"}
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 0.5**t)
    copies = copy.deepcopy(list(model[1].parameters()))
    plain = torch.optim.SGD(copies, lr=0.02, momentum=0.5)
    for iteration in (1, 2):
        gradients(model, iteration)
        for mine, theirs in zip(
            model[1].parameters(), plain.param_groups[0]["params"], strict=True
        ):
            theirs.grad = mine.grad.clone()
        plain.param_groups[0]["lr"] = other["lr"]
        optimizer.step()
        plain.step()
        scheduler.step()
    assert (lattice["lr"], other["lr"]) == (0.025, 0.005)
    for mine, theirs in zip(model[1].parameters(), copies, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("moments", ["float32", "bfloat16", "int8"])
def test_a_saved_state_goes_on_with_the_same_bits(moments: str, tmp_path):
    def start() -> tuple[nn.Sequential, qcuda.LatticeOptimizer]:
        model = network()
        base = Normalized(0.1, 0.9, 0.9, "neuron")
        return model, qcuda.LatticeOptimizer(
            model.parameters(), SPEC, base=base, seed=3, moments=moments
        )

    model, optimizer = start()
    for iteration in (1, 2):
        gradients(model, iteration)
        optimizer.step()
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    gradients(model, 3)
    optimizer.step()
    other, resumed = start()
    states = torch.load(tmp_path / "state.pt", weights_only=True)
    other.load_state_dict(states[0])
    resumed.load_state_dict(states[1])
    gradients(other, 3)
    resumed.step()
    assert bits(other, resumed) == bits(model, optimizer)


def test_what_does_not_fit_is_refused():
    model = network()
    slots = [p for p in model.parameters() if p.dim() == 2]
    with pytest.raises(ValueError, match="int8 are those of normalised gradients"):
        qcuda.LatticeOptimizer(slots, SPEC, base=Adam(), moments="int8")
    with pytest.raises(ValueError, match="one that torch has, sgd, momentum or adam"):
        qcuda.LatticeOptimizer(slots, SPEC, base=Normalized(0.1), others=Normalized(0.1))
    with pytest.raises(ValueError, match="gradients of lattice weights alone are normalised"):
        qcuda.LatticeOptimizer(
            [{"params": model.parameters(), "base": "normalized"}], SPEC, base=Normalized(0.1)
        )
    with pytest.raises(ValueError, match="normalised over one of"):
        Normalized(0.1, over="channel")
    optimizer = qcuda.LatticeOptimizer(slots, SPEC, base=Normalized(0.1))
    gradients(model, 1)
    optimizer.step()
    before = bits(model, optimizer)
    optimizer.param_groups[0]["momentum"] = 0.9
    with pytest.raises(ValueError, match=r"'first' of a lattice weight has the shape .* got none"):
        optimizer.step()
    assert bits(model, optimizer) == before
    state = optimizer.state_dict()
    state["param_groups"][0]["base"] = "sgd"
    with pytest.raises(ValueError, match="a state is of the group's base, normalized, got sgd"):
        optimizer.load_state_dict(state)


@pytest.mark.parametrize("bits_", [2, 3, 4, 5, 6, 8])
def test_hidden_levels_keep_what_nearest_levels_show(bits_: int):
    """A float weight is read as the ternary level nearest to it, but for one beside a threshold."""
    torch.manual_seed(1)
    plain, ternary = nn.Linear(64, 50), nn.Linear(64, 50)
    ternary.load_state_dict(plain.state_dict())
    weight = plain.weight.detach().clone()
    walker, nearest = nn.Sequential(plain), nn.Sequential(ternary)
    qcuda.quantize_(walker, qcuda.LatticeConfig(**hidden(bits_)))
    qcuda.quantize_(nearest, qcuda.LatticeConfig(Lattice.ternary()))
    scale = float(nearest[0].scale)
    assert float(walker[0].scale) == scale
    spacing = hidden(bits_)["lattice"].spacing
    sure = ((weight / scale).abs() - 0.5).abs() > 0.75 * spacing
    assert sure.any()
    assert torch.equal(walker[0].weight[sure], nearest[0].weight[sure])


def test_a_spec_without_its_readout_is_refused():
    model = network()
    with pytest.raises(ValueError, match="a layer has the spec's readout"):
        qcuda.LatticeOptimizer(model.parameters(), DST(hidden(8)["lattice"]))
