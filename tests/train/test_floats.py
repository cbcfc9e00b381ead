"""Training that begins with float weights: which level each goes to, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qcuda.errors import InputError
from qcuda.models.baselines import RealLayer
from qcuda.models.weights import KINDS, weight_layers
from qcuda.nn import LatticeLayer
from qcuda.nn.model_file import save
from qcuda.train.checkpoint import pack, restore
from qcuda.train.config import make
from qcuda.train.door import begin

TORCHVISION = {"name": "resnet20", "order": "torchvision"}


def tree(method: str, path: Path | str = "", model: Any = TORCHVISION) -> dict[str, Any]:
    return {"model": model, "learning": {"weights": str(path)}, "run": {"methods": [method]}}


def floats(model: Any = TORCHVISION, seed: int = 5) -> nn.Module:
    """Weights of which some are large, norms that have seen something, and biases."""
    made = begin(make(tree("full", "", model)), "full", seed).model
    draw = torch.Generator().manual_seed(seed)
    for name, value in made.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=draw).abs() * 0.3 + 0.1)
            if not name.endswith("var"):
                value.mul_(torch.randint(0, 2, value.shape, generator=draw) * 2 - 1)
    return made


def nearest(weight: Tensor) -> Tensor:
    """s times -1, 0 or 1, for the power of two s with the smallest squared error."""
    every = [2.0**k for k in range(-12, 6)]
    found = [s * (weight.double() / s).round().clamp(-1, 1) for s in every]
    return min(found, key=lambda one: float((one - weight).square().sum())).float()


@pytest.mark.parametrize("method", ["dst", "walker8", "ste", "full"])
def test_every_method_begins_at_the_levels_nearest_to_float_weights(method: str, tmp_path: Path):
    given = floats()
    path = tmp_path / "resnet20.pth"
    torch.save(given.state_dict(), path)
    model = begin(make(tree(method, path)), method, 1).model
    real, own = weight_layers(given), weight_layers(model)
    kinds = {type(layer) for layer in own.values()}
    assert len(kinds & {*KINDS[2:]}) == 2  # the first and the last layer are real
    for name, layer in own.items():
        weight = real[name].get_parameter("weight").detach()
        if isinstance(layer, LatticeLayer):
            assert torch.equal(layer.weight, nearest(weight)), name
        elif isinstance(layer, RealLayer):
            assert torch.equal(layer.visible * layer.scale, nearest(weight)), name
            assert torch.equal(layer.latent * layer.scale, weight), name
        else:
            assert torch.equal(layer.weight, weight), name
    rest = {k: v for k, v in given.state_dict().items() if k.rpartition(".")[0] not in real}
    assert rest and all(torch.equal(model.state_dict()[name], rest[name]) for name in rest)
    bias = real["fc"].get_parameter("bias")
    assert torch.equal(own["fc"].get_parameter("bias"), bias)


def test_learned_numbers_of_a_reader_follow_the_weights(tmp_path: Path):
    """Learned steps start at a multiple of the mean size of the latents."""
    model = {"name": "mlp", "hidden": 6}
    path = tmp_path / "full.safetensors"
    given = floats(model)
    save(given, path)
    starts = []
    for file in (path, ""):
        own = begin(make(tree("learned_steps", file, model)), "learned_steps", 1).model
        layer = next(m for m in own.modules() if isinstance(m, RealLayer))
        (number,) = layer.reader.parameters()
        starts.append((number / layer.latent.abs().mean()).item())
    # A multiplication of a float32 sum of 384 numbers, in two orders
    assert starts[0] == pytest.approx(starts[1], rel=384 * 2**-24)


def test_what_is_resumed_is_not_begun_anew(tmp_path: Path):
    model = {"name": "mlp", "hidden": 6}
    path = tmp_path / "full.safetensors"
    save(floats(model), path)
    config = make(tree("dst", path, model))
    one, other = begin(config, "dst", 1), begin(config, "dst", 1)
    layer = next(m for m in one.model.modules() if isinstance(m, LatticeLayer))
    layer.set_index(torch.zeros(layer.shape, dtype=torch.int64))
    restore(path, pack(config.to_dict(), one), other)
    for name, value in one.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("harm", "rule"),
    [
        (lambda state: state.pop("layer1.0.conv1.weight"), "got layer1.0.conv1.weight missing and"),
        (lambda state: state.update(other=torch.ones(1)), "got none missing and other more"),
        (
            lambda state: state.update({"fc.weight": torch.ones(1000, 64)}),
            r"fc.weight is torch.float32 of shape \(10, 64\), got torch.float32 of shape \(1000",
        ),
        (lambda state: state.update({"fc.bias": torch.ones(10).half()}), "got torch.float16 of"),
        (lambda state: state.update({"fc.bias": 3}), "float weights are a state_dict, got dict"),
    ],
)
def test_weights_of_another_network_are_refused(harm: Any, rule: str, tmp_path: Path):
    state, path = floats().state_dict(), tmp_path / "other.pth"
    harm(state)
    torch.save(dict(state), path)
    with pytest.raises(InputError, match=rf"other\.pth: .*{rule}"):
        begin(make(tree("dst", path)), "dst", 0)


@pytest.mark.parametrize("name", ["bad.pth", "bad.safetensors", "empty.pth", "code.pth"])
def test_damaged_files_are_refused(name: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(b"" if name.startswith("empty") else b"nothing" * 9)
    if name.startswith("code"):
        torch.save(nn.Linear(2, 2), path)  # a whole module: reading it would run code
    with pytest.raises(InputError, match=rf"{name}: float weights are safetensors, or tensors"):
        begin(make(tree("dst", path)), "dst", 0)
    with pytest.raises(InputError, match=r"float weights are loaded from a file, got .*none.pth"):
        begin(make(tree("dst", tmp_path / "none.pth")), "dst", 0)
