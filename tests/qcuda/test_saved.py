"""Saved layers: tensors only, whole or refused, and never memory that nobody wrote."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import qcuda
from qcuda.nn import lattice_layers
from qtheory import Lattice

TERNARY = Lattice.ternary(0.5)
LATTICES = [TERNARY, Lattice.z(3), Lattice.uniform(-1.0, 1.0, 256)]
by_lattice = pytest.mark.parametrize("lattice", LATTICES, ids=["3", "9", "256"])


def network(lattice: Lattice = TERNARY, seed: int = 0, **options) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(
        qcuda.nn.Conv2d(3, 4, 3, lattice, scale=torch.arange(1.0, 5.0), **options),
        nn.ReLU(),
        nn.Flatten(),
        qcuda.nn.Linear(4 * 4, 5, lattice, bias=True, scale=0.25, **options),
    )
    if not options:
        qcuda.nn.draw_levels(model, seed)
        nn.init.normal_(model[3].bias)
    return model


def image(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).to(dtype)


@by_lattice
def test_a_state_is_tensors_of_types_that_never_change(lattice):
    """By name; conversions of the module leave them as they are."""
    model = network(lattice)
    found = model.state_dict()
    kind = torch.uint8 if lattice.size <= 3 else torch.int8
    types = {"state": kind, "levels": torch.float32, "scale": torch.float32,
             "lattice": torch.float64, "bias": torch.float32}  # fmt: skip
    assert {key.split(".")[1] for key in found} == set(types)
    for key, value in found.items():
        assert type(value) is torch.Tensor and value.dtype == types[key.split(".")[1]]
    assert found["0.lattice"].tolist() == [lattice.size, lattice.spacing, lattice.low]
    before = {key: value.clone() for key, value in found.items() if "bias" not in key}
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert model.to(dtype)[3].bias.dtype == dtype
        for key, value in before.items():
            now = model.state_dict()[key]
            assert now.dtype == value.dtype and torch.equal(now, value)


READER = """
import json, sys, numpy as np
from safetensors.numpy import load_file
assert not any(name.startswith(("qcuda", "qtheory", "torch")) for name in sys.modules)
file = load_file(sys.argv[1])
size = int(file["0.lattice"][0])
state = file["0.state"]
if state.dtype == np.uint8:  # trits: two bits each, the first in the lowest, 11 is -1
    lanes = (state[:, None] >> np.array([0, 2, 4, 6]) & 3).reshape(-1)[: 4 * 27]
    codes = np.where(lanes == 3, -1, lanes.astype(int))
else:
    codes = state.astype(int)
weight = file["0.levels"][codes + size // 2].reshape(4, 3, 3, 3)  # output, height, width, input
weight = np.moveaxis(weight, -1, 1) * file["0.scale"].reshape(-1, 1, 1, 1)
print(json.dumps(weight.tolist()))
"""


@by_lattice
def test_a_safetensors_file_is_read_without_this_package(lattice, tmp_path):
    model, path = network(lattice), tmp_path / "model.safetensors"
    save_file(model.state_dict(), path)
    command = [sys.executable, "-c", READER, str(path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    read = np.array(json.loads(out), np.float32)
    assert (read == model[0].weight.detach().numpy()).all()
    other = network(lattice, seed=1)
    other.load_state_dict(load_file(path))
    assert torch.equal(other(image()), model(image()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@by_lattice
def test_a_model_on_meta_takes_what_is_assigned(lattice, dtype):
    """All that computes is in place afterwards, the slot included, and it trains."""
    saved = network(lattice).to(dtype).state_dict()
    model = network(lattice, device="meta", dtype=dtype)
    assert all(value.is_meta for key, value in model.state_dict().items() if "state" in key)
    result = model.load_state_dict(saved, assign=True)
    assert str(result) == "<All keys matched successfully>"
    twin = network(lattice).to(dtype)
    out = model(image(dtype))
    assert torch.equal(out, twin(image(dtype)))
    out.sum().backward()
    for layer in lattice_layers(model).values():
        assert layer.slot.device == layer.slot.grad.device == torch.device("cpu")
        assert layer.slot.dtype == layer.slot.grad.dtype == dtype
        assert layer.slot.owner() is layer


@by_lattice
def test_an_emptied_model_says_so_until_it_is_whole(lattice):
    """to_empty from meta and from memory; a partial load leaves the rest refused."""
    saved = network(lattice).state_dict()
    for model in (network(lattice, device="meta"), network(lattice, seed=5)):
        model.to_empty(device="cpu")
        for layer in lattice_layers(model).values():
            with pytest.raises(ValueError, match="loaded, drawn or set before it is read"):
                layer(image() if layer is model[0] else torch.ones(1, 16))
            with pytest.raises(ValueError, match="loaded, drawn or set before it is read"):
                _ = layer.index
        part = {key: value for key, value in saved.items() if key.startswith("0.")}
        result = model.load_state_dict(part, strict=False)
        assert set(result.missing_keys) == {key for key in saved if key.startswith("3.")}
        assert torch.equal(model[0].weight, network(lattice)[0].weight)
        with pytest.raises(ValueError, match="loaded, drawn or set before it is read"):
            model(image())
        with pytest.raises(RuntimeError, match=r"Missing key.*3\.state"):
            model.load_state_dict(part)
        model.load_state_dict(saved)
        assert torch.equal(model(image()), network(lattice)(image()))


@pytest.mark.parametrize("how", ["draw", "set", "reset"])
def test_an_emptied_layer_may_be_drawn_or_set(how):
    layer = qcuda.nn.Linear(6, 5, TERNARY, bias=True, scale=0.25, device="meta")
    layer.to_empty(device="cpu")
    if how == "draw":
        layer.draw_levels(3, 1)
    elif how == "set":
        layer.set_index(torch.zeros(5, 6, dtype=torch.int64))
    else:
        layer.reset_parameters()
        assert (layer.bias == 0).all()
    assert torch.equal(layer.weight, (layer.index - 1) * 0.125)


def test_a_copy_into_meta_leaves_it_on_meta():
    """torch warns that it does nothing; what comes then is refused, not made of thin air."""
    model = network(device="meta")
    with pytest.warns(UserWarning, match="is a no-op"):
        model.load_state_dict(network().state_dict())
    assert model[0].state.is_meta
    model.to_empty(device="cpu")
    with pytest.raises(ValueError, match="loaded, drawn or set before it is read"):
        model(image())


def test_parts_that_are_left_out_are_named():
    saved = network().state_dict()
    for part in ("state", "levels", "lattice", "scale"):
        some = {key: value for key, value in saved.items() if key != f"0.{part}"}
        for strict in (True, False):
            with pytest.raises(RuntimeError, match=r"0\.state: a lattice weight is loaded whole"):
                network().load_state_dict(some, strict=strict)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*0\.slot"):
        network().load_state_dict({**saved, "0.slot": torch.zeros(4, 3, 3, 3)})


def test_averages_of_states_are_refused():
    """In floats by their type; in bytes by their codes, 10 where 00 meets 01 twice."""
    one, two = network(seed=1).state_dict(), network(seed=2).state_dict()
    float_mean = {key: (one[key] / 2 + two[key] / 2) for key in one}
    with pytest.raises(RuntimeError, match=r"dtype torch\.uint8, got torch\.float32"):
        network().load_state_dict(float_mean)
    added = {**one, "0.state": one["0.state"] + two["0.state"]}
    with pytest.raises(RuntimeError, match=r"a trit is 00, 01 or 11, got \d+ of 108 with .* 10"):
        network().load_state_dict(added)
    fine = network(LATTICES[1]).state_dict()
    with pytest.raises(RuntimeError, match=r"codes of 9 levels are in -4\.\.4, got"):
        network(LATTICES[1]).load_state_dict({**fine, "0.state": fine["0.state"] * 2})


def test_scales_are_loaded_and_not_only_compared():
    model, other = network(), network(seed=1)
    other[0].scale.mul_(3)
    other[3].scale.fill_(1.0)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(image()), model(image()))
    other(image()).sum().backward()
    model(image()).sum().backward()
    assert torch.equal(other[3].slot.grad, model[3].slot.grad)


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_copies_are_whole_layers_of_their_own(how):
    model = network()
    model(image()).sum().backward()
    if how == "deepcopy":
        twin = copy.deepcopy(model)
        assert torch.equal(twin[0].slot.grad, model[0].slot.grad)
    elif how == "pickle":
        twin = pickle.loads(pickle.dumps(model))
    else:
        buffer = io.BytesIO()
        torch.save(model, buffer)
        twin = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    for mine, other in zip(
        lattice_layers(model).values(), lattice_layers(twin).values(), strict=True
    ):
        assert other.slot.owner() is other and mine.slot.owner() is mine
        assert other.slot is not mine.slot
    assert torch.equal(twin(image()), model(image()))
    before = model[0].state.clone()
    twin[0].set_index(torch.zeros_like(twin[0].index))
    assert torch.equal(model[0].state, before)


def test_a_shallow_copy_shares_weight_and_slot_as_torchs_do():
    """And keeps them working when the layer that it was made of is gone."""
    layer = qcuda.nn.Linear(3, 2, TERNARY)
    twin = copy.copy(layer)
    assert twin.slot is layer.slot and twin.state is layer.state
    assert twin.slot.owner() is layer
    slot = layer.slot
    del layer
    assert slot.owner() is not None and slot.owner().state is twin.state
    twin.set_index(torch.zeros(2, 3, dtype=torch.int64))
    assert (slot.owner().index == 0).all()


def test_layers_that_share_a_weight_share_it_after_conversions():
    """As torch's parameters do: conversions change the shared tensors in place."""
    one, two = (qcuda.nn.Linear(3, 3, TERNARY) for _ in range(2))
    two._buffers.update(one._buffers)
    two._parameters["slot"] = one.slot
    model = nn.Sequential(one, two).to(torch.bfloat16).double()
    model._apply(torch.clone)  # other memory, as on another device
    assert one.state is two.state and one.slot is two.slot
    one.draw_levels(1, 0)
    assert torch.equal(one.weight, two.weight) and len(list(model.parameters())) == 1
