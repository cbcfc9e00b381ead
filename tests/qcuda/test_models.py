"""Lattice layers in the ways models are used: dtypes, layouts, conversion, memory, audit."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qcuda
from qcuda.kernels.abi import Storage
from qcuda.nn import lattice_layers
from qtheory import DST, Lattice
from qtheory.optimisers import SGD, Adam, Momentum

TERNARY = Lattice.ternary()
LATTICES = [
    Lattice.binary(0.3),
    Lattice.ternary(0.1),
    Lattice.z(3),
    Lattice.uniform(-1.0, 0.7, 256),
]


def layer_of(lattice: Lattice, storage: Storage | None = None) -> qcuda.nn.Linear:
    layer = qcuda.nn.Linear(7, 5, lattice, storage=storage)
    layer.set_index(torch.arange(35).reshape(5, 7) % lattice.size)
    return layer


def levels_of(lattice: Lattice, layer) -> torch.Tensor:
    return torch.tensor(lattice.levels, dtype=torch.float32)[layer.index]


@pytest.mark.parametrize("lattice", LATTICES, ids=repr)
def test_layers_are_torchs_layers_with_the_visible_weight(lattice):
    """Forward and gradients, with bias and scale: torch's own functions on a dense weight."""
    torch.manual_seed(0)
    linear = qcuda.nn.Linear(6, 4, lattice, bias=True, scale=0.5)
    conv = qcuda.nn.Conv2d(
        4, 6, (3, 2), lattice, stride=2, padding=1, dilation=(1, 2), groups=2, bias=True
    )
    qcuda.nn.draw_levels(nn.ModuleList([linear, conv]), 1)
    x, image = torch.randn(3, 6), torch.randn(2, 4, 8, 9)
    for layer, value in ((linear, x), (conv, image)):
        nn.init.normal_(layer.bias)
        dense = (levels_of(lattice, layer) * layer.scale).requires_grad_()
        ours = layer(value)
        if layer is linear:
            theirs = F.linear(value, dense, layer.bias)
        else:
            theirs = F.conv2d(value, dense, layer.bias, 2, 1, (1, 2), 2)
        assert torch.equal(ours, theirs)
        direction = torch.randn(ours.shape)
        ours.backward(direction)
        theirs.backward(direction)
        # The gradient is with respect to the lattice weight, scale times that of the visible one.
        assert torch.equal(layer.gradient, dense.grad * layer.scale)


@pytest.mark.parametrize("storage", [None, Storage.INT8])
def test_conversion_of_dtype_keeps_slots_hollow(storage):
    model = nn.Sequential(layer_of(TERNARY, storage), nn.LayerNorm(5)).to(torch.bfloat16)
    slot = model[0].slot
    assert slot.dtype == torch.bfloat16
    assert slot.untyped_storage().nbytes() == 2
    assert slot.shape == (5, 7)
    assert model[0].state.dtype == (torch.int8 if storage is Storage.INT8 else torch.uint8)
    x = torch.ones(2, 7, dtype=torch.bfloat16)
    model(x).sum().backward()
    assert slot.grad.dtype == torch.bfloat16
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=Adam(0.5))
    optimizer.step()
    assert slot.untyped_storage().nbytes() == 2
    assert optimizer.state[slot]["first"].dtype == torch.float32


@pytest.mark.parametrize("lattice", LATTICES, ids=repr)
def test_levels_survive_a_round_trip_of_dtypes(lattice):
    """Levels are the lattice's, whatever the model has been: bfloat16 holds 0.1 only roughly."""
    layer = layer_of(lattice)
    before = layer.weight.detach().clone()
    layer.to(torch.bfloat16)
    assert torch.equal(layer.weight, before.to(torch.bfloat16))
    layer.to(torch.float32)
    assert torch.equal(layer.weight, before)


def test_autocast():
    """Visible weights and products in bfloat16, gradients of slots in float32."""
    model = nn.Sequential(layer_of(Lattice.ternary(0.1)), nn.ReLU())
    x = torch.randn(4, 7)
    with torch.autocast("cpu", torch.bfloat16):
        assert model[0].weight.dtype == torch.bfloat16
        y = model(x)
        loss = y.float().square().sum()
    assert y.dtype == torch.bfloat16
    loss.backward()
    dense = levels_of(Lattice.ternary(0.1), model[0]).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        theirs = torch.relu(F.linear(x, dense))
    theirs.float().square().sum().backward()
    assert torch.equal(y, theirs)
    assert model[0].slot.grad.dtype == torch.float32
    assert torch.equal(model[0].slot.grad, dense.grad)
    qcuda.LatticeOptimizer(model.parameters(), DST(Lattice.ternary(0.1))).step()


def test_channels_last():
    """Layouts of images and of the model change neither index nor gradient.

    Integer images: sums of products are exact, whichever kernel torch picks for a layout.
    """
    models = []
    for memory in (torch.contiguous_format, torch.channels_last):
        model = nn.Sequential(
            qcuda.nn.Conv2d(3, 4, 3, TERNARY), qcuda.nn.Conv2d(4, 2, 3, TERNARY)
        ).to(memory_format=memory)
        qcuda.nn.draw_levels(model, 2)
        image = torch.randint(-3, 4, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
        optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=Adam(0.3), seed=1)
        for _ in range(3):
            optimizer.zero_grad()
            model(image.float().to(memory_format=memory)).sum().backward()
            optimizer.step()
        models.append(model)
    for a, b in zip(*(lattice_layers(m).values() for m in models), strict=True):
        assert torch.equal(a.slot.grad, b.slot.grad)
        assert torch.equal(a.index, b.index)
        assert b.slot.untyped_storage().nbytes() == 4


def nested() -> nn.Module:
    torch.manual_seed(4)
    block = nn.ModuleDict(
        {"conv": nn.Conv2d(2, 4, 3, padding="same", groups=2, bias=False), "list": nn.ModuleList()}
    )
    block["list"].append(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)))
    return block


@pytest.mark.parametrize("levels", ["nearest", "uniform"])
@pytest.mark.parametrize("lattice", LATTICES, ids=repr)
def test_quantise_then_save_and_load(lattice, levels):
    """Names, shapes, biases and filter; the converted model's checkpoint fits a second one."""
    config = qcuda.LatticeConfig(lattice, levels=levels, seed=3)
    biases = [m.bias for m in nested().modules() if isinstance(m, nn.Linear)]
    model = qcuda.quantize_(nested(), config, lambda m, name: name != "list.0.2")
    layers = lattice_layers(model)
    assert list(layers) == ["conv", "list.0.0"]
    assert type(model["list"][0][2]) is nn.Linear
    assert layers["conv"].weight.shape == (4, 1, 3, 3)
    assert torch.equal(layers["list.0.0"].bias, biases[0])
    for name, layer in layers.items():
        weight = nested().get_submodule(name).weight.detach().double().numpy()
        if levels == "nearest":
            expected = lattice.nearest(weight / layer.scale.item())
            assert (layer.index.numpy() == expected).all()
    other = qcuda.quantize_(nested(), config, lambda m, name: name != "list.0.2")
    for layer in lattice_layers(other).values():
        layer.set_index(torch.zeros_like(layer.index))
    other.load_state_dict(model.state_dict())
    image = torch.randn(1, 2, 5, 5)
    for a, b in zip(lattice_layers(other).values(), layers.values(), strict=True):
        assert torch.equal(a.state, b.state)
    assert torch.equal(other["conv"](image), model["conv"](image))


def test_a_lattice_weight_survives_conversion_and_back():
    """Weights already on scale times the lattice are kept exactly; the scale is found."""
    index = torch.randint(0, 3, (6, 5), generator=torch.Generator().manual_seed(1))
    index[0, :3] = torch.arange(3)
    linear = nn.Linear(5, 6)
    linear.weight.data = (index - 1) * 0.125
    layer = qcuda.quantize_(linear)
    assert torch.equal(layer.index, index)
    assert torch.equal(layer.weight, linear.weight)


def test_a_shared_layer_is_converted_everywhere():
    """One module under two names stays one module."""
    shared = nn.Linear(4, 4)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)})
    qcuda.quantize_(model)
    assert model["a"] is model["b"][0]
    assert isinstance(model["a"], qcuda.nn.Linear)


def test_a_bfloat16_model_is_converted_to_one():
    model = nn.Sequential(nn.Linear(4, 3)).to(torch.bfloat16)
    qcuda.quantize_(model)
    assert model(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_frozen_layers_stay_frozen_in_a_copy():
    layer = layer_of(TERNARY)
    layer.slot.requires_grad_(False)
    assert not copy.deepcopy(layer).slot.requires_grad


def allocated(action) -> int:
    """Bytes that the allocator holds after an action and did not before."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        action()
    return sum(event.self_cpu_memory_usage for event in profile.events())


@pytest.mark.parametrize("moments", ["float32", "bfloat16"])
@pytest.mark.parametrize("base", [SGD(0.1), Momentum(0.1), Adam(0.1)], ids=repr)
def test_no_floating_point_copy_outlives_a_step(base, moments):
    """A million weights are 4 MB as floats. A first step leaves the moments, later ones nothing.

    1 % for counters and bookkeeping.
    """
    side = 1000
    layer = qcuda.nn.Linear(side, side, TERNARY)
    optimizer = qcuda.LatticeOptimizer([layer.slot], DST(TERNARY), base=base, moments=moments)
    x = torch.ones(2, side)
    kept: list[torch.Tensor] = []

    def step(keep: bool = False) -> None:
        layer(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if keep:
            kept.append(layer.weight.detach())

    layer(x)  # what torch keeps for itself
    number = {"SGD": 0, "Momentum": 1, "Adam": 2}[type(base).__name__]
    expected = number * side * side * (4 if moments == "float32" else 2)
    assert abs(allocated(step) - expected) <= 0.01 * 4 * side * side
    assert abs(allocated(step)) <= 0.01 * 4 * side * side
    assert allocated(lambda: step(keep=True)) >= 4 * side * side  # and the instrument works
    assert layer.state.untyped_storage().nbytes() == side * side // 4


def test_the_audit_refuses_an_illegal_code():
    layer = layer_of(TERNARY)
    layer.state[0] = 0b10
    with pytest.raises(ValueError, match="a trit is 00, 01 or 11, got 1 of 35 with the code 10"):
        qcuda.audit(layer)
