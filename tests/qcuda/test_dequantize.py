"""The plain float twin: equal outputs, torch's names, and what exporters make of it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import qcuda
import qcuda.nn.fused
from qcuda.nn import MultiStep, NoisyStair, lattice_layers
from qcuda.nn.activations import noise_stairs
from qtheory import Lattice
from qtheory.stairs.stair import Stair

LATTICES = [Lattice.binary(0.3), Lattice.ternary(), Lattice.uniform(-1.0, 0.7, 256)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), MultiStep(2),
        nn.ConvTranspose2d(8, 4, 3, groups=2, padding=1), MultiStep(), nn.Flatten(),
        nn.Linear(4 * 16, 10),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lattice", LATTICES, ids=repr)
def test_outputs_are_equal_and_nothing_of_qcuda_is_left_but_stairs(lattice, dtype):
    model = qcuda.quantize_(network(), qcuda.LatticeConfig(lattice)).to(dtype).eval()
    layers = len(lattice_layers(model))
    twin = qcuda.dequantize(model)
    x = torch.randn(5, 3, 8, 8, dtype=dtype)
    assert torch.equal(model(x), twin(x))
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(x), twin(x))
    assert lattice_layers(twin) == noise_stairs(twin) == {}
    assert twin.state_dict().keys() == network().state_dict().keys()
    plain = network().to(dtype)
    plain.load_state_dict(twin.state_dict())
    assert torch.equal(plain.eval()(x), twin(x))
    assert len(lattice_layers(model)) == layers  # the model is as it was


STAIRS = {
    "multi-step": lambda: MultiStep(3, threshold=0.1),
    "sign": lambda: MultiStep(0),
    "noisy, shifted": lambda: NoisyStair(Stair.nearest(Lattice.z(2)), mean=0.3, scale=0.2),
    "up": lambda: NoisyStair(Stair((-1.0, 0.5, 2.0), (-0.5, 0.5), "up"), forward="hard"),
    "down": lambda: NoisyStair(Stair((-1.0, 0.5, 2.0), (-0.5, 0.5), "down"), forward="hard"),
    "away": lambda: NoisyStair(Stair((-1.0, 0.5, 2.0), (-0.5, 0.5), "away"), forward="mode"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", STAIRS)
def test_stairs_are_what_they_are_in_evaluation(kind: str, dtype: torch.dtype):
    """Also on thresholds, at infinity, and at NaN."""
    stair = STAIRS[kind]().eval()
    twin = qcuda.dequantize(nn.Sequential(qcuda.nn.Linear(1, 1, LATTICES[1]), stair))[1]
    grid = torch.arange(-24, 25) / 8
    special = torch.tensor([0.1, -0.1, float("inf"), float("-inf"), float("nan"), 0.0, -0.0])
    x = torch.cat([grid, grid + 0.3, special, torch.randn(500)]).to(dtype)
    ours, theirs = stair(x), twin(x)
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours.nan_to_num(99.0), theirs.nan_to_num(99.0))
    scripted = torch.jit.script(twin)
    assert torch.equal(scripted(x).nan_to_num(99.0), theirs.nan_to_num(99.0))


def test_a_stair_fused_with_its_norm_is_what_it_is_in_evaluation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), MultiStep(2), nn.Flatten())
    fused = qcuda.nn.fused.fuse_(qcuda.quantize_(model))
    with torch.no_grad():
        for p in fused[1].norm.parameters():
            p.uniform_(0.5, 1.5)
    fused(torch.randn(16, 3, 8, 8))
    twin, x = qcuda.dequantize(fused.eval()), torch.randn(16, 3, 8, 8)
    assert torch.equal(fused(x), twin(x))
    assert fused(x).unique().numel() == 5
    assert torch.equal(torch.jit.script(twin)(x), twin(x))
    assert twin.state_dict().keys() == {
        "0.weight",
        "0.bias",
        *(f"1.{k}" for k in fused[1].norm.state_dict()),
    }


def test_nothing_of_the_lattice_is_left_in_a_layer():
    for layer in (
        nn.Linear(3, 2),
        nn.Conv2d(3, 2, 1),
        nn.ConvTranspose1d(3, 2, 1),
        nn.Embedding(3, 2),
        nn.MultiheadAttention(4, 2),
    ):
        names = set(vars(layer))
        twin = qcuda.dequantize(qcuda.quantize_(layer))
        assert type(twin).__module__.startswith("torch.nn")
        assert set(vars(twin)) == names
        assert b"qcuda" not in pickle.dumps(twin)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_exporters_take_the_twin():
    twin = qcuda.dequantize(qcuda.quantize_(network()).eval())
    x = torch.randn(2, 3, 8, 8)
    exported = torch.export.export(twin, (x,))
    assert torch.equal(exported.module()(x), twin(x))
    assert torch.equal(torch.jit.script(twin)(x), twin(x))
    assert torch.equal(torch.jit.trace(twin, (x,))(x), twin(x))


def test_hooks_ties_modes_and_frozen_weights_stay():
    model = nn.ModuleDict({"e": nn.Embedding(8, 5), "h": nn.Linear(5, 8)})
    model["h"].weight = model["e"].weight
    model["h"].bias.requires_grad_(False)
    calls: list[str] = []
    model["h"].register_forward_hook(lambda m, args, out: calls.append(type(m).__module__))
    qcuda.quantize_(model).eval()
    twin = qcuda.dequantize(model)
    assert twin["h"].weight is twin["e"].weight
    assert twin["h"].weight.requires_grad and not twin["h"].bias.requires_grad
    assert not twin["h"].training
    twin["h"](torch.ones(1, 5))
    assert calls == ["torch.nn.modules.linear"]
    assert torch.equal(twin["e"].weight, model["e"].weight)
    model["e"].set_index(torch.zeros(8, 5, dtype=torch.int64))
    assert not torch.equal(twin["e"].weight, model["e"].weight)


def test_an_exported_twin_runs_where_there_is_no_qcuda(tmp_path: Path):
    model = nn.Sequential(nn.Linear(6, 5), MultiStep(), nn.Linear(5, 3))
    twin = qcuda.dequantize(qcuda.quantize_(model).eval())
    x = torch.randn(4, 6)
    torch.jit.script(twin).save(str(tmp_path / "twin.pt"))
    torch.save((x, twin(x)), tmp_path / "wanted.pt")
    code = (
        "import sys; sys.modules['qcuda'] = sys.modules['qtheory'] = None\n"
        "import torch\n"
        f"x, y = torch.load({str(tmp_path / 'wanted.pt')!r})\n"
        f"assert torch.equal(torch.jit.load({str(tmp_path / 'twin.pt')!r})(x), y)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
