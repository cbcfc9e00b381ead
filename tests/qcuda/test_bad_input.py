"""Bad input: one clear error that names the rule and the value, and nothing has changed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import qcuda
from qcuda.kernels import storage as stored
from qcuda.kernels.abi import Storage
from qcuda.nn import Conv2d, Linear
from qtheory import DST, Lattice
from qtheory.optimisers import SGD, Adam

TERNARY = Lattice.ternary()
NAN, INF = float("nan"), float("inf")


def everything(*parts) -> list:
    """All bytes of models' and optimisers' state."""
    found: list = []

    def visit(value) -> None:
        if isinstance(value, torch.Tensor):
            found.append((value.dtype, bytes(value.contiguous().reshape(-1).view(torch.uint8))))
        elif isinstance(value, dict):
            for key in value:
                found.append(str(key))
                visit(value[key])
        elif isinstance(value, list | tuple):
            for each in value:
                visit(each)
        else:
            found.append(repr(value))

    for part in parts:
        visit(dict(part.state_dict()))
    return found


def network(lattice: Lattice = TERNARY, seed: int = 0) -> nn.Sequential:
    model = nn.Sequential(Linear(6, 5, lattice), nn.BatchNorm1d(5), Linear(5, 3, lattice))
    qcuda.nn.draw_levels(model, seed)
    return model


def trained(steps: int = 2):
    torch.manual_seed(0)
    model = network()
    optimizer = qcuda.LatticeOptimizer(
        [{"params": model[:2].parameters()}, {"params": model[2].parameters()}],
        DST(TERNARY), base=Adam(0.1),
    )  # fmt: skip
    for k in range(steps):
        backward(model, k)
        optimizer.step()
    return model, optimizer


def backward(model: nn.Module, seed: int) -> None:
    model.zero_grad()
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
    model(x).square().sum().backward()


# --- the operators -------------------------------------------------------------------------


def arguments() -> dict:
    return {
        "states": [torch.zeros(3, dtype=torch.uint8)],
        "gradients": [torch.ones(10)],
        "first": [torch.zeros(10)],
        "second": [torch.zeros(10)],
        "increments": [torch.zeros(10)],
        "gains": [],
        "counters": torch.zeros(1, 2, dtype=torch.int64),
        "scalars": torch.tensor(Adam(0.3).scalars(1)),
        "iteration": torch.tensor([1]),
        "tensors": [0], "offsets": [0], "seed": 5, "rule": "dst", "optimiser": "adam",
        "storage": 1, "spacing": 1.0, "zero": 1.0, "size": 3, "parameters": [3.0],
    }  # fmt: skip


BAD_STEPS = [
    ({"gains": [torch.ones(1)] * 2}, "for each gradient or for none, got 2 for 1"),
    ({"gains": [torch.ones(3)]}, "a tensor has whole rows, one for each gain, got 10 in 3"),
    ({"gains": [torch.ones(2, dtype=torch.float64)]}, "gains are contiguous float32, got"),
    ({"gradients": [torch.ones(10, dtype=torch.float64)]}, "bfloat16, got torch.float64"),
    ({"gradients": [torch.ones(10, dtype=torch.int32)]}, "float32 or bfloat16, got torch.int32"),
    ({"gradients": [torch.ones(20)[::2]]}, r"contiguous, got strides \(2,\)"),
    ({"gradients": []}, "one gradient for each state, got 0 for 1"),
    ({"gradients": [torch.ones(13)]}, "13 weights take 4 bytes, got 3|13, got 10"),
    ({"states": [torch.zeros(3, dtype=torch.int8)]}, "dtype torch.uint8, got torch.int8"),
    ({"states": [torch.zeros(4, dtype=torch.uint8)]}, "10 weights take 3 bytes, got 4"),
    ({"states": [torch.zeros(6, dtype=torch.uint8)[::2]]}, "a state is contiguous, got strides"),
    ({"first": [torch.zeros(9)]}, "as many elements as its gradient, 10, got 9"),
    ({"first": [torch.zeros(10, dtype=torch.float16)]}, "bfloat16 or int8, got torch.float16"),
    ({"second": [torch.zeros(10, dtype=torch.bfloat16)]}, "both moments have the same dtype"),
    ({"increments": [torch.zeros(9)]}, "as many elements as its gradient, 10, got 9"),
    ({"increments": [torch.zeros(10, dtype=torch.bfloat16)]}, "told in float32, got torch.bf"),
    ({"second": []}, "one moment for each state, got 0 for 1"),
    ({"counters": torch.zeros(1, 2)}, r"counters are int64 of shape \(1, 2\), got torch.float32"),
    ({"counters": torch.zeros(2, 2, dtype=torch.int64)}, r"got torch.int64 \(2, 2\)"),
    ({"scalars": torch.zeros(6)}, r"scalars are 7 float32, got torch.float32 \(6,\)"),
    ({"iteration": torch.tensor([1.0])}, "the iteration is one int64, got torch.float32"),
    ({"tensors": [0, 1]}, "one number and one offset for each state, got 2 and 1"),
    ({"tensors": [-1]}, "got -1"),
    ({"tensors": [2**32]}, "got 4294967296"),
    ({"offsets": [-4]}, "got 10 from -4"),
    ({"offsets": [2**58]}, "got 10 from 288230376151711744"),
    ({"rule": "dts"}, "a rule is one of .*'dst'.*, got 'dts'"),
    ({"optimiser": "lion"}, "an optimiser is one of .*, got 'lion'"),
    ({"storage": 4}, "4 is not a valid Storage"),
    ({"size": 5}, "trits holds 2 to 3 levels, got 5"),
    ({"size": 1}, "trits holds 2 to 3 levels, got 1"),
    ({"spacing": 0.0}, "spacing is positive.*, got 0.0"),
    ({"spacing": NAN}, "spacing is positive.*, got nan"),
    ({"spacing": INF}, "spacing is positive.*, got inf"),
    ({"spacing": 1e-50}, "spacing is positive.*, got 1e-50"),
    ({"parameters": []}, "got 0|got \\[\\]"),
    ({"parameters": [1e39]}, "got 1e\\+39"),
    ({"parameters": [1.0] * 5}, "dst has 1 parameters, got 5"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD_STEPS, ids=[str(m) for _, m in BAD_STEPS])
def test_a_bad_step_is_refused_whole(change, message):
    given = arguments() | change
    lists = [v if isinstance(v, list) else [v] for v in given.values()]
    tensors = [t for each in lists for t in each if isinstance(t, torch.Tensor)]
    before = [t.clone() for t in tensors]
    with pytest.raises(ValueError, match=message):
        torch.ops.qtheory.step_(*given.values())
    assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))


@pytest.mark.parametrize("part", ["states", "gradients", "first"])
def test_a_tensor_on_another_device_is_refused(part):
    given = arguments()
    given[part] = [t.to("meta") for t in given[part]]
    with pytest.raises((ValueError, NotImplementedError, RuntimeError), match=r"device|meta|Meta"):
        torch.ops.qtheory.step_(*given.values())
    assert not any(t.any() for t in given["states"] if t.device.type == "cpu")


# --- storage and layers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: Linear(3, 3, Lattice.uniform(0.0, 1.0, 257)), "at most 256.*, got 257"),
        (lambda: Linear(3, 3, Lattice.z(2), storage=Storage.TRITS), "holds 3 levels, got 5"),
        (lambda: Lattice(1, 1.0, 0.0), "at least two levels, got 1"),
        (lambda: Linear(3, 3, TERNARY, scale=0.0), "positive and finite in float32, got .0.0"),
        (lambda: Linear(3, 3, TERNARY, scale=NAN), "positive and finite in float32, got .nan"),
        (lambda: Conv2d(3, 4, 3, TERNARY, groups=2), "groups divide .*, got 2 for 3 and 4"),
        (lambda: stored.encode(torch.tensor([3]), TERNARY, Storage.INT8), r"in 0..2, got 3"),
        (lambda: stored.encode(torch.tensor([-1]), TERNARY, Storage.TRITS), r"in 0..2, got -1"),
        (lambda: stored.encode(torch.tensor([1.0]), TERNARY, Storage.INT8), "got torch.float32"),
        (lambda: qcuda.words(-1, 0, 0, 1), r"seed is in 0..\d+, got -1"),
        (lambda: qcuda.words(0, 2**32, 0, 1), r"iteration is in 0..4294967295, got 4294967296"),
        (lambda: qcuda.words(0, 0, 0, 4, offset=2**58 - 2), "offset"),
        (lambda: qcuda.words(0, 0, 0, -1, offset=5), "got -1"),
        (lambda: qcuda.quantize_(nn.ReLU()), "has layers with a lattice form, got none"),
        (lambda: qcuda.LatticeConfig(levels="best"), "nearest or uniform, got 'best'"),
        (lambda: qcuda.LatticeConfig(scale=-1.0), "finite, or 'layer' or 'channel', got -1.0"),
    ],
)  # fmt: skip
def test_bad_layers(action, message):
    with pytest.raises(ValueError, match=message):
        action()


def test_indices_of_the_wrong_shape_or_level_change_nothing():
    layer = network()[0]
    before = everything(layer)
    for index, message in (
        (torch.zeros(6, 5, dtype=torch.int64), r"shape \(5, 6\), got \(6, 5\)"),
        (torch.full((5, 6), 3), r"in 0..2, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            layer.set_index(index)
    assert everything(layer) == before


# --- the optimiser -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"base": lambda: SGD(NAN)}, "learning rate is finite and >= 0, got nan"),
        ({"base": lambda: Adam(INF)}, "learning rate is finite and >= 0, got inf"),
        ({"base": lambda: Adam(0.1, (1.0, 0.9))}, r"beta1 is in \[0, 1\), got 1.0"),
        ({"seed": lambda: -1}, r"seed is in 0..18446744073709551615, got -1"),
        ({"seed": lambda: 2**64}, "got 18446744073709551616"),
        ({"moments": lambda: "float16"}, "moments are one of .*, got 'float16'"),
        (
            {"spec": lambda: DST(Lattice.z(2))},
            "a layer has the spec's lattice.*size=5.*got.*size=3",
        ),
        (
            {"spec": lambda: DST(TERNARY, NAN)},
            "nonlinearity is positive and finite in float32, got nan",
        ),
    ],
)
def test_a_bad_optimiser(keywords, message):
    model = network()
    with pytest.raises(ValueError, match=message):
        qcuda.LatticeOptimizer(
            model.parameters(), **{"spec": DST(TERNARY)} | {k: v() for k, v in keywords.items()}
        )


def test_an_unknown_group_key():
    with pytest.raises(ValueError, match=r"a group has the keys .*, got \['nonlinearty'\]"):
        qcuda.LatticeOptimizer(
            [{"params": network().parameters(), "nonlinearty": 2.0}], DST(TERNARY)
        )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lr", NAN, "learning rate is finite and >= 0, got nan"),
        ("lr", INF, "learning rate is finite and >= 0, got inf"),
        ("lr", -0.1, "learning rate is finite and >= 0, got -0.1"),
        ("lr", 1e300, r"learning rate.*got 1e\+300"),
        ("betas", (0.9, 1.0), r"beta2 is in \[0, 1\), got 1.0"),
        ("eps", 0.0, "epsilon is positive.*, got 0.0"),
        ("nonlinearity", NAN, "nonlinearity is positive and finite in float32, got nan"),
        ("nonlinearity", -3.0, "nonlinearity is positive and finite in float32, got -3.0"),
        ("nonlinearity", 1e39, r"nonlinearity.*got 1e\+39"),
        ("seed", -1, "seed is in .*, got -1"),
        ("seed", 2**64, "seed is in .*, got 18446744073709551616"),
        ("iteration", -1, "iteration"),
        ("iteration", 2**32, "iteration is in 0..4294967294, got 4294967296"),
    ],
)
@pytest.mark.parametrize("group", [0, 1])
def test_a_bad_number_set_later_is_found_before_anything_moves(group, key, value, message):
    model, optimizer = trained()
    optimizer.param_groups[group][key] = value
    before = everything(model, optimizer)
    backward(model, 7)
    after_backward = everything(model, optimizer)
    with pytest.raises(ValueError, match=message):
        optimizer.step()
    assert everything(model, optimizer) == after_backward
    assert len(before) == len(after_backward)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int32, torch.complex64], ids=str)
def test_gradients_of_a_wrong_type_are_found_before_anything_moves(dtype):
    """In the second group: the first has not moved, no iteration was counted."""
    model, optimizer = trained()
    backward(model, 7)
    model[2].slot.grad_dtype = None  # let torch take any
    model[2].slot.grad = torch.zeros(3, 5).to(dtype)
    before = everything(model, optimizer)
    with pytest.raises(ValueError, match=rf"read as float32, got {dtype}"):
        optimizer.step()
    assert everything(model, optimizer) == before


def altered(change) -> dict:
    _, optimizer = trained()
    state = copy.deepcopy(optimizer.state_dict())
    change(state)
    return state


def group(state, **changes) -> None:
    state["param_groups"][1].update(changes)


BAD_STATES = {
    "no state": (lambda s: s.pop("state"), "state"),
    "no groups": (lambda s: s.pop("param_groups"), "param_groups"),
    "a group less": (lambda s: s["param_groups"].pop(), "as many groups as there are, 2, got 1"),
    "a parameter less": (lambda s: s["param_groups"][0]["params"].pop(), "there are, 4, got 3"),
    "a moment less": (lambda s: s["state"][0].pop("second"), "second"),
    "a moment of another shape": (
        lambda s: s["state"][3].update(first=torch.zeros(5, 3)), r"shape \(3, 5\), got \(5, 3\)"),
    "a moment of another type": (
        lambda s: s["state"][3].update(first=torch.zeros(3, 5, dtype=torch.float16)),
        "is torch.float32, got torch.float16"),
    "a moment that is none": (lambda s: s["state"][3].update(first=[1.0]), "first"),
    "an unknown state": (lambda s: s["state"][3].update(third=torch.zeros(3, 5)), "got .*third"),
    "a state of nobody": (lambda s: s["state"].update({9: {"first": torch.zeros(1)}}), "9"),
    "a decay of lattice weights": (
        lambda s: group(s, weight_decay=0.1), "got 0.1 in a group with 1 of them"),
    "another algorithm": (
        lambda s: group(s, spec="stochastic_rounding"), "the group's spec.*dst on"),
    "a moment that is NaN": (
        lambda s: s["state"][3].update(first=torch.full((3, 5), NAN)), "finite.*got.*nan"),
    "a moment that is infinite": (
        lambda s: s["state"][3].update(first=torch.full((3, 5), -INF)), "finite.*got.*inf"),
    "a negative mean of squares": (
        lambda s: s["state"][3].update(second=torch.full((3, 5), -1.0)), "finite and >= 0.*-1.0"),
    "counts of another type": (
        lambda s: s["state"][3].update(moved=torch.zeros(())), "'moved' is int64, got torch.float"),
    "a key less": (lambda s: s["param_groups"][1].pop("seed"), "a group has the keys"),
    "a learning rate": (lambda s: group(s, lr=NAN), "learning rate is finite and >= 0, got nan"),
    "a nonlinearity": (lambda s: group(s, nonlinearity=-1.0), "nonlinearity is positive.*got -1.0"),
    "an iteration": (lambda s: group(s, iteration=-3), "iteration.*got -3"),
    "an iteration too late": (lambda s: group(s, iteration=2**40), "iteration.*got 1099511627776"),
    "a seed": (lambda s: group(s, seed=2**70), "seed.*got"),
    "betas": (lambda s: group(s, betas=(0.5,)), "betas|beta2"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_STATES)
def test_an_altered_optimiser_state_is_refused_whole(name):
    change, message = BAD_STATES[name]
    state = altered(change)
    model, optimizer = trained(1)
    before = everything(model, optimizer)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert everything(model, optimizer) == before


def checkpoint(change=None, lattice: Lattice = TERNARY) -> dict:
    state = {k: copy.deepcopy(v) for k, v in network(lattice, seed=9)[0].state_dict().items()}
    if change is not None:
        change(state)
    return state


BAD_CHECKPOINTS = {
    "code 10": (lambda s: s["state"].__setitem__(0, 0b10), "a trit is 00, 01 or 11, got 1 of 30"),
    "padding": (lambda s: s["state"].__setitem__(7, s["state"][7] | 0b01_00_00_00), "padding bits"),
    "truncated": (lambda s: s.update(state=s["state"][:-1]), "30 weights take 8 bytes, got 7"),
    "dtype": (lambda s: s.update(state=s["state"].long()), "dtype torch.uint8, got torch.int64"),
    "missing": (lambda s: s.pop("state"), "state"),
    "no lattice": (lambda s: s.pop("lattice"), "loaded whole, .*, got levels, scale, state"),
    "lattice": (lambda s: s["lattice"].mul_(2), "layer's lattice, .3.0, 1.0, -1.0.*, got .6.0"),
    "levels": (lambda s: s["levels"].add_(1), "with the levels .-1.0, 0.0, 1.0., got .0.0, 1.0, 2"),
    "emptied": (lambda s: s["levels"].fill_(NAN), "levels .*, got .nan, nan, nan"),
    "averaged": (lambda s: s.update(state=s["state"] / 2), "torch.uint8, got torch.float32"),
    "scale": (lambda s: s["scale"].fill_(-1.0), "scale is positive and finite .*, got .-1.0"),
    "scale's type": (lambda s: s.update(scale=s["scale"].double()), "float32 .*got torch.float64"),
    "scales": (lambda s: s.update(scale=torch.ones(5)), r"of shape \(\), got .* shape \(5,\)"),
    "no tensor": (lambda s: s.update(state=[1, 2]), "state is a tensor with values, got list"),
    "on meta": (lambda s: s.update(state=s["state"].to("meta")), "values, got a tensor on meta"),
    "format 1": (lambda s: s.update(_extra_state={"lattice": {}}), "format 2.*got format 1"),
}


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_an_altered_checkpoint_changes_nothing_in_its_layer(name):
    """torch reports through RuntimeError what layers found; a lattice mismatch is a ValueError."""
    change, message = BAD_CHECKPOINTS[name]
    layer = network()[0]
    before = everything(layer)
    with pytest.raises((RuntimeError, ValueError), match=message):
        layer.load_state_dict(checkpoint(change))
    assert everything(layer) == before


@pytest.mark.parametrize(
    "lattice",
    [Lattice.ternary(2.0), Lattice.binary(), Lattice(3, 1.0, 0.0), Lattice.z(2)],
    ids=repr,
)
def test_a_checkpoint_of_another_lattice_changes_nothing(lattice):
    """Even where the bytes would fit: three levels, but not these."""
    layer = network()[0]
    before = everything(layer)
    with pytest.raises((RuntimeError, ValueError), match=r"lattice|dtype"):
        layer.load_state_dict(checkpoint(lattice=lattice))
    assert everything(layer) == before


def test_int8_codes_off_the_lattice_are_refused():
    layer = Linear(6, 5, Lattice.z(2))
    state = {k: copy.deepcopy(v) for k, v in layer.state_dict().items()}
    state["state"][3] = 3
    before = everything(layer)
    with pytest.raises(RuntimeError, match=r"codes of 5 levels are in -2..2, got 0 to 3"):
        layer.load_state_dict(state)
    assert everything(layer) == before
