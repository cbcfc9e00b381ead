"""A model in one safetensors file: back into a model, and into NumPy where there is no qcuda."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch as files
import torch
from torch import nn

import qcuda
import qcuda.nn.model_file as documented
from qcuda.nn import lattice_layers
from qtheory import Lattice

LATTICES = [Lattice.binary(0.3), Lattice.ternary(0.7), Lattice.uniform(-1.0, 0.7, 256)]


def network(lattice: Lattice, scale: float | str, storage: str | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "body": nn.Sequential(
                nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ConvTranspose2d(6, 4, (3, 2), groups=2),
                nn.Conv3d(2, 3, 2), nn.Conv1d(3, 5, 3),
            ),
            "attention": nn.MultiheadAttention(6, 2),
            "words": nn.Embedding(7, 6),
            "head": nn.Linear(6, 7),
        }
    )  # fmt: skip
    model["head"].weight = model["words"].weight
    return qcuda.quantize_(model, qcuda.LatticeConfig(lattice, scale=scale, storage=storage))


def emptied(model: nn.Module) -> nn.Module:
    for layer in lattice_layers(model).values():
        layer.set_index(torch.zeros_like(layer.index))
    return model


@pytest.mark.parametrize("scale", ["layer", "channel", 0.3])
@pytest.mark.parametrize("lattice", LATTICES, ids=repr)
def test_weights_are_read_back_where_there_is_no_qcuda(tmp_path: Path, lattice: Lattice, scale):
    """The lines of the documentation, run by an interpreter that has neither qcuda nor torch."""
    storage = "int8" if scale == 0.3 else None
    model = network(lattice, scale, storage)
    qcuda.save(model, tmp_path / "model.safetensors")
    lines = textwrap.dedent(str(documented.__doc__).partition("layer name:\n\n")[2])
    assert lines.count("\n") <= 17
    code = (
        "import sys\n"
        "for name in ('qcuda', 'qtheory', 'qreference', 'torch'): sys.modules[name] = None\n"
        f"path = {str(tmp_path / 'model.safetensors')!r}\n{lines}\n"
        f"np.savez({str(tmp_path / 'weights.npz')!r}, **weights)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    found = np.load(tmp_path / "weights.npz")
    layers = lattice_layers(model)
    assert set(found) == set(layers)
    for name, layer in layers.items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], layer.weight.detach().numpy())


def test_a_model_is_loaded_again_with_its_ties(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    for dtype in (torch.float32, torch.bfloat16):
        model = network(LATTICES[1], "layer").to(dtype)
        qcuda.save(model, path)
        other = emptied(network(LATTICES[1], "layer").to(dtype))
        assert qcuda.load(other, path) is other
        for (name, one), two in zip(
            model.state_dict().items(), other.state_dict().values(), strict=True
        ):
            assert torch.equal(one, two), name
        assert other["head"].slot is other["words"].slot
        assert len(files.load_file(path)) == len(model.state_dict()) - 4  # the tied weight's


def test_safetensors_own_functions_take_a_lattice_model(tmp_path: Path):
    path = str(tmp_path / "model.safetensors")
    model, other = (network(LATTICES[1], "channel") for _ in range(2))
    files.save_model(model, path)
    missing, unexpected = files.load_model(emptied(other), path)
    assert not missing and not unexpected
    for one, two in zip(
        lattice_layers(model).values(), lattice_layers(other).values(), strict=True
    ):
        assert torch.equal(one.index, two.index)
    untied = qcuda.quantize_(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(3, 3)))
    files.save_file(untied.state_dict(), path)
    again = emptied(qcuda.quantize_(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(3, 3))))
    again.load_state_dict(files.load_file(path))
    assert torch.equal(again[0].index, untied[0].index)


def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    model = qcuda.quantize_(nn.Sequential(nn.Linear(4, 3)))
    before = model[0].index
    for write, why in (
        (lambda: None, "a model is loaded from a file, got .*, not there"),
        (lambda: path.write_bytes(b"none"), "model.safetensors: a model file is safetensors, got"),
        (lambda: files.save_file(model.state_dict(), path), "has the metadata 'qcuda', got none"),
        (lambda: qcuda.save(nn.Linear(4, 3), path), r"got 0\..*missing and bias, weight more"),
        (
            lambda: qcuda.save(qcuda.quantize_(nn.Sequential(nn.Linear(5, 3))), path),
            r"0.state is torch.uint8 of shape \(3,\), got torch.uint8 of shape \(4,\)",
        ),
        (
            lambda: qcuda.save(
                qcuda.quantize_(
                    nn.Sequential(nn.Linear(4, 3)), qcuda.LatticeConfig(Lattice.ternary(2.0))
                ),
                path,
            ),
            "a model file fits its model, got: .*has its layer's lattice",
        ),
    ):
        write()
        with pytest.raises(ValueError, match=why) as caught:
            qcuda.load(model, path)
        assert "\n" not in str(caught.value)
        assert torch.equal(model[0].index, before)


def test_a_model_on_meta_is_not_saved(tmp_path: Path):
    layer = qcuda.nn.Linear(3, 3, LATTICES[1], device="meta")
    with pytest.raises(ValueError, match=r"a model file has tensors, got .* on meta"):
        qcuda.save(layer, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
