"""How an optimiser is told its numbers: names, NumPy's numbers, seeds, groups of many kinds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import qcuda
from qcuda import LatticeOptimizer
from qcuda.kernels.abi import Storage
from qcuda.step.groups import StepNumbers, numbers_of
from qreference import optimisers as plain
from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms import BinaryConnect
from qtheory.optimisers import SGD, Adam, Momentum

TERNARY = Lattice.ternary()


def layer_of(lattice: Lattice = TERNARY, **options) -> qcuda.nn.Linear:
    layer = qcuda.nn.Linear(30, 4, lattice, bias=False, **options)
    layer.draw_levels(3, 0)
    return layer


def optimizer_of(layer: nn.Module | None = None, spec=None, **options) -> LatticeOptimizer:
    layer = layer_of() if layer is None else layer
    return LatticeOptimizer(layer.parameters(), spec or DST(TERNARY), **options)


def base_of(optimizer: LatticeOptimizer):
    return optimizer.next_numbers(optimizer.param_groups[0]).base


@pytest.mark.parametrize(
    ("options", "base"),
    [
        ({}, Adam()),
        ({"base": "adam"}, Adam()),
        ({"base": "adam", "lr": 0.25}, Adam(0.25)),
        ({"lr": np.float32(0.25)}, Adam(0.25)),
        ({"base": "sgd", "lr": 2}, SGD(2.0)),
        ({"base": "momentum", "lr": np.int64(3)}, Momentum(3.0)),
        ({"base": Momentum(0.1, 0.5), "lr": 0.5}, Momentum(0.5, 0.5)),
        ({"base": "sgd", "lr": torch.tensor(0.5)}, SGD(0.5)),
    ],
)
def test_a_base_has_a_name_and_a_learning_rate(options, base):
    layer = layer_of()
    assert base_of(optimizer_of(layer, **options)) == base


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "adamw"}, "a base is one of sgd, momentum, adam, normalized, got 'adamw'"),
        ({"base": "sgd"}, "sgd has no usual learning rate: give one as lr, got none"),
        ({"base": Adam}, "or the name of one, such as 'adam', got the class Adam"),
        ({"base": torch.optim.SGD}, "got the class SGD"),
        ({"base": 0.1}, "got float"),
        ({"lr": True}, "a learning rate is a number, got True"),
        ({"lr": "0.1"}, "a learning rate is a number, got '0.1'"),
        ({"lr": torch.ones(2)}, "a learning rate is a number, got tensor"),
        ({"seed": True}, "a seed is in 0..18446744073709551615, got True"),
        ({"seed": 1.0}, "a seed is in .*, got 1.0"),
        ({"seed": np.float64(2)}, "a seed is in .*, got"),
        ({"seed": -1}, "a seed is in .*, got -1"),
        ({"moments": "float16"}, "moments are one of .*, got 'float16'"),
        (
            {"weight_decay": 0.1},
            "weight decay shrinks a number by a factor, which no lattice weight",
        ),
        ({"weight_decay": -0.1}, "weight_decay is finite and >= 0, got -0.1"),
    ],
)
def test_what_is_no_number_or_name_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        optimizer_of(layer_of(), **options)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DST, "a spec is a value of one of the classes DST, .*, got the class DST"),
        (TERNARY, "a spec is a value .*, got Lattice"),
        ("dst", "a spec is a value .*, got str"),
        (Adam(0.1), "a spec is a value .*, got Adam"),
        (BinaryConnect(TERNARY), "binary_connect, whose weights are read from real latents"),
    ],
    ids=str,
)
def test_what_is_no_spec_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        LatticeOptimizer(layer_of().parameters(), spec)


@pytest.mark.parametrize("key", [np.int64(5), np.uint64(5), np.uint8(5), 5])
def test_a_seed_may_be_numpys(key):
    layer, twin = layer_of(), layer_of()
    for each, seed in ((layer, key), (twin, 5)):
        each.slot.grad = torch.ones(4, 30) / 3
        optimizer_of(each, base=SGD(1.0), seed=seed).step()
    assert torch.equal(layer.state, twin.state)


def test_optimisers_without_a_seed_have_seeds_of_their_own():
    """Equal layers and gradients, and two optimisers: they do not move alike."""
    layers = [layer_of() for _ in range(2)]
    optimizers = [optimizer_of(layer, base=SGD(1.0)) for layer in layers]
    keys = [o.param_groups[0]["seed"] for o in optimizers]
    assert keys[1] == keys[0] + 1
    for layer, optimizer in zip(layers, optimizers, strict=True):
        layer.slot.grad = torch.full((4, 30), 0.4)
        optimizer.step()
    assert not torch.equal(layers[0].state, layers[1].state)


def test_numbers_of_groups_may_be_numpys_and_tensors():
    layer = layer_of()
    optimizer = optimizer_of(layer)
    group = optimizer.param_groups[0]
    group.update(
        lr=np.float64(0.5), betas=[np.float32(0.5), torch.tensor(0.25)], eps=np.float32(0.125),
        nonlinearity=np.int32(2), seed=np.int64(4), iteration=np.int64(6),
    )  # fmt: skip
    numbers = optimizer.next_numbers(group)
    assert numbers.base == Adam(0.5, (0.5, 0.25), 0.125)
    assert (numbers.spec, numbers.seed) == (DST(TERNARY, 2.0), 4)
    layer.slot.grad = torch.ones(4, 30)
    optimizer.step()
    assert optimizer.param_groups[0]["iteration"] == 7


@pytest.mark.parametrize("rate", [0.5, torch.tensor(0.5)])
@pytest.mark.parametrize("betas", [(0.5, 0.25), [0.5, 0.25], (torch.tensor(0.5), 0.25)])
def test_a_step_takes_numbers_as_they_are_now(rate, betas):
    layer = layer_of()
    optimizer = optimizer_of(layer, base=Adam(), lr=rate)
    group = optimizer.param_groups[0]
    group["betas"] = betas
    layer.slot.grad = torch.ones(4, 30)
    for first in (0.5, 0.75):
        if isinstance(rate, torch.Tensor):
            rate.fill_(first)
        else:
            group["lr"] = first
        if isinstance(betas, list):
            betas[0] = first
        elif isinstance(betas[0], torch.Tensor):
            betas[0].fill_(first)
        else:
            group["betas"] = (first, 0.25)
        optimizer.step()
        clock = optimizer._clocks[0]
        assert clock is not None and clock.numbers[:2].tolist() == [first, first]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lr", True, "a learning rate is a number, got True"),
        ("nonlinearity", "3", "nonlinearity is a number, got '3'"),
        ("betas", 0.9, "betas are two numbers, got 0.9"),
        ("betas", (0.9, None), "a beta is a number, got None"),
        ("seed", False, "a seed is in .*, got False"),
        ("iteration", 1.5, "an iteration is in .*, got 1.5"),
        ("iteration", torch.tensor(1.0), "an iteration is one int64, got torch.float32"),
    ],
)
def test_a_bool_or_a_word_is_no_number(key, value, message):
    layer = layer_of()
    optimizer = optimizer_of(layer)
    layer.slot.grad = torch.ones(4, 30)
    optimizer.param_groups[0][key] = value
    with pytest.raises(ValueError, match=message):
        optimizer.step()


def test_groups_differ_in_spec_lattice_and_storage():
    """One optimiser, three kinds of lattice weight: each as the plain training step moves it."""
    five = Lattice.z(2, 0.5)
    layers = [layer_of(), layer_of(five), layer_of(storage=Storage.INT8)]
    specs = [StochasticRounding(TERNARY), StochasticRounding(five), DST(TERNARY, 2.0)]
    optimizer = LatticeOptimizer(
        [{"params": x.parameters(), "spec": s} for x, s in zip(layers, specs, strict=True)],
        specs[0], base=Adam(0.2), seed=6,
    )  # fmt: skip
    assert "nonlinearity" not in optimizer.param_groups[0]
    assert optimizer.param_groups[2]["nonlinearity"] == 2.0
    index = [layer.index.numpy() for layer in layers]
    moments = [plain.init(Adam(0.2), (4, 30)) for _ in layers]
    for t in range(1, 4):
        for k, layer in enumerate(layers):
            layer.slot.grad = torch.randn(4, 30, generator=torch.Generator().manual_seed(9 * k + t))
            index[k], moments[k], *_ = plain.train_step(
                specs[k], Adam(0.2), index[k], moments[k], layer.slot.grad.numpy(), seed=6,
                iteration=t, tensor=k,
            )  # fmt: skip
        optimizer.step()
    for layer, expected in zip(layers, index, strict=True):
        assert (layer.index.numpy() == expected).all()
    assert (optimizer.moved > 0).all()


def test_counts_are_of_their_own_slots():
    """Storages in turn, so that each launch has every second slot; one of them does not move."""
    storages = (Storage.TRITS, Storage.INT8, Storage.TRITS, Storage.INT8)
    layers = [layer_of(storage=storage) for storage in storages]
    optimizer = LatticeOptimizer([x.slot for x in layers], DST(TERNARY), base=SGD(1.0), seed=1)
    before = [layer.index.clone() for layer in layers]
    for k, layer in enumerate(layers):
        layer.slot.grad = torch.full((4, 30), k / 3)
        layer.slot.grad[0, :k] = float("nan")
    optimizer.step()
    moved = [int((a.index != b).sum()) for a, b in zip(layers, before, strict=True)]
    assert optimizer.moved.tolist() == moved
    assert moved[0] == 0 < min(moved[1:])
    assert optimizer.nan.tolist() == [0, 1, 2, 3]


def test_a_group_of_another_lattice_is_refused():
    layer = layer_of()
    with pytest.raises(ValueError, match="a layer has the spec's lattice"):
        LatticeOptimizer([{"params": layer.parameters(), "spec": DST(Lattice.z(2))}], DST(TERNARY))


@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize("base", [SGD(0.1), Momentum(0.1), Adam(0.1)], ids=repr)
def test_weight_decay_is_decoupled(base, fused):
    """Equality with torch.optim.AdamW; for SGD the factor 1 - lr decay before torch's own step."""
    torch.manual_seed(0)
    layer = layer_of()
    mine, theirs = (nn.Parameter(torch.linspace(-1, 1, 12)) for _ in range(2))
    optimizer = LatticeOptimizer(
        [{"params": layer.parameters()}, {"params": [mine], "weight_decay": 0.25}],
        DST(TERNARY), base=base, fused=fused,
    )  # fmt: skip
    which = {"foreach": True} if fused is False else {"fused": True}
    if isinstance(base, Adam):
        other = torch.optim.AdamW([theirs], 0.1, weight_decay=0.25, **which)
    else:
        other = torch.optim.SGD([theirs], 0.1, momentum=getattr(base, "momentum", 0.0), **which)
    for t in range(5):
        mine.grad = torch.randn(12, generator=torch.Generator().manual_seed(t))
        theirs.grad = mine.grad.clone()
        if not isinstance(base, Adam):
            with torch.no_grad():
                theirs.mul_(1 - 0.1 * 0.25)
        optimizer.step()
        other.step()
    assert torch.equal(mine, theirs)


def test_gradients_of_other_types_are_read_as_float32():
    """float16 and float64, as `.half()` and `.double()` models leave them."""
    for dtype in (torch.float16, torch.float64):
        layer, twin = layer_of(), layer_of()
        gradient = torch.randn(4, 30, generator=torch.Generator().manual_seed(1)).to(dtype)
        layer.slot.grad_dtype = None
        layer.slot.grad, twin.slot.grad = gradient, gradient.float()
        for each in (layer, twin):
            optimizer_of(each, base=Adam(0.3), seed=0).step()
        assert torch.equal(layer.state, twin.state)


def test_options_in_a_group_name_the_way_for_many_processes():
    layer = layer_of()
    with pytest.raises(ValueError, match=r"in qcuda\.data_parallel\), got \['moments'\]"):
        LatticeOptimizer([{"params": layer.parameters(), "moments": "float32"}], DST(TERNARY))


def test_a_checked_number_is_what_the_step_uses():
    group = {"spec": DST(TERNARY), "base": "sgd", "lr": 0.5, "nonlinearity": 2.0, "seed": 1}
    numbers = numbers_of({**group, "weight_decay": 0.0}, 1)
    assert numbers == StepNumbers(SGD(0.5), DST(TERNARY, 2.0), 1, 0.0)
