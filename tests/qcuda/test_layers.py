"""Lattice layers beside torch's layers of the same names: arguments, attributes and outputs."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn

import qcuda
from qtheory import Lattice

TERNARY = Lattice.ternary()
NAMES = [
    "Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
]  # fmt: skip
STRAIGHT = [
    {},
    {"stride": 2, "padding": 1, "bias": True},
    {"padding": "same", "dilation": 2, "groups": 2},
    {"padding": "valid", "padding_mode": "circular"},
    *({"padding": 1, "padding_mode": mode} for mode in ("reflect", "replicate", "circular")),
    {"padding": "same", "padding_mode": "reflect", "dilation": 3},
]
TRANSPOSED = [
    {},
    {"stride": 2, "padding": 1, "output_padding": 1, "bias": True},
    {"stride": 3, "dilation": 2, "groups": 2},
]


def pair(name: str, *sizes, **options) -> tuple[qcuda.nn.LatticeLayer, nn.Module]:
    """A lattice layer with drawn levels, and torch's with its visible weight and its bias."""
    ours = getattr(qcuda.nn, name)(*sizes, TERNARY, **options)
    ours.draw_levels(4, 0)
    theirs = getattr(nn, name)(*sizes, **({"bias": False} | options))
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
        if ours.bias is not None:
            ours.bias.normal_()
            theirs.bias.copy_(ours.bias)
    return ours, theirs


def check_pair(ours: qcuda.nn.LatticeLayer, theirs: nn.Module, x: torch.Tensor, **call) -> None:
    """Equality, forward and backward: it is torch's own function of the same numbers."""
    out, expected = ours(x, **call), theirs(x, **call)
    assert torch.equal(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    assert torch.equal(ours.gradient, theirs.weight.grad)
    own = {"training", "forward", "dtype", "scale"}
    for key, value in vars(theirs).items():
        if not key.startswith("_") and key not in own:
            assert getattr(ours, key) == value, key
    assert repr(ours).startswith(repr(theirs)[:-1] + ", levels=3, storage=trits")


def test_linear():
    ours, theirs = pair("Linear", 6, 5, bias=True)
    check_pair(ours, theirs, torch.randn(2, 3, 6))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("options", STRAIGHT, ids=repr)
def test_convolutions(dimensions, options):
    """Unequal sizes in each dimension, even kernels among them."""
    kernel, size = (3, 2, 1)[:dimensions], (9, 8, 7)[:dimensions]
    ours, theirs = pair(f"Conv{dimensions}d", 4, 6, kernel, **options)
    check_pair(ours, theirs, torch.randn(2, 4, *size))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("options", TRANSPOSED, ids=repr)
def test_transposed_convolutions(dimensions, options):
    kernel, size = (3, 2, 1)[:dimensions], (5, 4, 3)[:dimensions]
    ours, theirs = pair(f"ConvTranspose{dimensions}d", 4, 6, kernel, **options)
    check_pair(ours, theirs, torch.randn(2, 4, *size))


def test_an_output_size_chooses_among_those_that_a_stride_leaves():
    ours, theirs = pair("ConvTranspose2d", 4, 6, 3, stride=2, padding=1)
    check_pair(ours, theirs, torch.randn(2, 4, 5, 6), output_size=(10, 11))
    with pytest.raises(ValueError, match=r"at least \[9, 11\] and less .* larger, got \[11, 11\]"):
        ours(torch.randn(2, 4, 5, 6), output_size=(11, 11))


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
def test_an_image_without_a_batch(name):
    ours, theirs = pair(name, 2, 4, 3)
    check_pair(ours, theirs, torch.randn(2, 5, 5))


@pytest.mark.parametrize("name", NAMES)
def test_arguments_have_torchs_names(name):
    """All of torch's, and what a lattice needs."""
    theirs = inspect.signature(getattr(nn, name)).parameters
    ours = inspect.signature(getattr(qcuda.nn, name)).parameters
    added = {"lattice", "scale", "storage", "readout", "gradient_dtype"}
    assert set(ours) == set(theirs) | added
    for key in set(theirs) - {"bias"}:
        assert ours[key].default == theirs[key].default, key
    assert ours["bias"].default is False


def test_sizes_may_be_numpys_and_lists():
    layer = qcuda.nn.Conv2d(2, 2, [3, np.int64(1)], TERNARY, padding=np.int64(1))
    assert layer.kernel_size == (3, 1) and layer.padding == (1, 1)
    assert {type(size) for size in layer.kernel_size + layer.padding} == {int}


BAD = {
    "groups": (lambda: qcuda.nn.Conv1d(3, 4, 3, TERNARY, groups=2), "groups divide .*got 2 for 3"),
    "groups 0": (lambda: qcuda.nn.Conv1d(3, 4, 3, TERNARY, groups=0), "got 0 for 3 and 4"),
    "kernel": (lambda: qcuda.nn.Conv2d(1, 1, (3, 3, 3), TERNARY), r"or 2 of .* got \(3, 3, 3\)"),
    "real": (lambda: qcuda.nn.Conv2d(1, 1, 2.0, TERNARY), "kernel_size is a whole .*got 2.0"),
    "stride": (lambda: qcuda.nn.Conv2d(1, 1, 3, TERNARY, stride=0), "at least 1, got 0"),
    "padding": (lambda: qcuda.nn.Conv2d(1, 1, 3, TERNARY, padding=-1), "at least 0, got -1"),
    "word": (lambda: qcuda.nn.Conv2d(1, 1, 3, TERNARY, padding="full"), "same, got 'full'"),
    "strided same": (
        lambda: qcuda.nn.Conv2d(1, 1, 3, TERNARY, padding="same", stride=2), r"got \(2, 2\)",
    ),
    "mode": (
        lambda: qcuda.nn.Conv2d(1, 1, 3, TERNARY, padding_mode="mirror"),
        "zeros, reflect, replicate, circular, got 'mirror'",
    ),
    "transposed mode": (
        lambda: qcuda.nn.ConvTranspose2d(1, 1, 3, TERNARY, padding_mode="circular"),
        "'zeros', got 'circular'",
    ),
    "dtype": (lambda: qcuda.nn.Linear(1, 1, TERNARY, dtype=torch.int8), "float64, got torch.int8"),
    "features": (lambda: qcuda.nn.Linear(-1, 1, TERNARY), r"no negative number, got \(1, -1\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_named(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("how", ["argument", "default", "to"])
def test_dtypes(dtype, how):
    """Weight, bias and output have it; gradients arrive in one that kernels read."""
    if how == "argument":
        layer = qcuda.nn.Linear(6, 5, TERNARY, bias=True, scale=0.5, dtype=dtype)
    elif how == "to":
        layer = qcuda.nn.Linear(6, 5, TERNARY, bias=True, scale=0.5).to(dtype)
    else:
        torch.set_default_dtype(dtype)
        try:
            layer = qcuda.nn.Linear(6, 5, TERNARY, bias=True, scale=0.5)
        finally:
            torch.set_default_dtype(torch.float32)
    layer.draw_levels(1, 0)
    assert layer.weight.dtype == layer.bias.dtype == dtype
    assert torch.equal(layer.weight.double(), (layer.index - 1) * 0.5)
    x = torch.ones(2, 6, dtype=dtype)
    layer(x).sum().backward()
    expected = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32
    assert layer.slot.grad.dtype == layer.slot.dtype == expected
    assert torch.equal(layer.slot.grad.double(), torch.ones(5, 6, dtype=torch.float64))
    assert layer.levels.dtype == torch.float32


@pytest.mark.parametrize("how", ["argument", "context", "to"])
@pytest.mark.parametrize("name", NAMES)
def test_on_meta_a_layer_has_shapes_and_no_memory(name, how):
    sizes = (4, 6) if name == "Linear" else (4, 6, 3)
    if how == "argument":
        layer = getattr(qcuda.nn, name)(*sizes, TERNARY, bias=True, device="meta")
    elif how == "context":
        with torch.device("meta"):
            layer = getattr(qcuda.nn, name)(*sizes, TERNARY, bias=True)
    else:
        layer = getattr(qcuda.nn, name)(*sizes, TERNARY, bias=True).to("meta")
    assert all(p.is_meta for p in layer.parameters()) and layer.state.is_meta
    dimensions = 0 if name == "Linear" else layer.dimensions
    x = torch.empty(2, *([4] + [9] * dimensions if dimensions else [4]), device="meta")
    out, like = layer(x), getattr(nn, name)(*sizes, device="meta")(x)
    assert out.is_meta and out.shape == like.shape
    out.sum().backward()
    assert layer.gradient.shape == layer.weight.shape
    layer.reset_parameters()
    with pytest.raises(ValueError, match="has memory, got a layer on meta: call to_empty first"):
        layer.draw_levels(0, 0)


def test_resetting_draws_by_torchs_generator():
    layer = qcuda.nn.Conv2d(8, 8, 3, TERNARY, bias=True)
    assert (layer.index == 1).all()
    nn.init.ones_(layer.bias)
    found = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        layer.reset_parameters()
        found.append(layer.index)
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])
    assert (layer.bias == 0).all()
    # 576 weights, a third on each level: 2 exp(-2 576 d^2) < 1e-9 for d = 0.137 (Hoeffding).
    shares = torch.bincount(found[0].flatten(), minlength=3) / 576
    assert (shares - 1 / 3).abs().max() < 0.137
