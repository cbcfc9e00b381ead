"""Attention on a lattice: torch's forward pass, masks and fast path with visible weights."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

import qcuda
from qcuda.nn import lattice_layers
from qtheory import DST, Lattice
from qtheory.optimisers import SGD

TERNARY = Lattice.ternary()
KINDS = {
    "packed": {},
    "batch first": {"batch_first": True},
    "split": {"kdim": 6, "vdim": 10},
    "no bias": {"bias": False},
    "bias of keys": {"add_bias_kv": True, "add_zero_attn": True},
}


def attention(kind: str) -> tuple[nn.MultiheadAttention, nn.MultiheadAttention]:
    """One on the lattice, and torch's with the same visible weights."""
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, **KINDS[kind])
    qcuda.quantize_(layer)
    twin = qcuda.dequantize(layer)
    assert type(twin) is nn.MultiheadAttention
    return layer, twin


def inputs(layer: nn.MultiheadAttention) -> list[Tensor]:
    """Five queries of a batch of three, and seven keys and values."""
    lengths = [(5, 8), (7, layer.kdim), (7, layer.vdim)]
    shape = [(3, n, d) if layer.batch_first else (n, 3, d) for n, d in lengths]
    return [torch.randn(s) for s in shape]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_torchs(kind: str):
    layer, twin = attention(kind)
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[1, 4:] = True
    masks = [
        {},
        {"key_padding_mask": padding, "average_attn_weights": False},
        {"attn_mask": torch.ones(5, 7, dtype=torch.bool).triu(2), "need_weights": False},
    ]
    for training, mask in itertools.product((True, False), masks):
        layer.train(training), twin.train(training)
        x = inputs(layer)
        layer.zero_grad(), twin.zero_grad()
        (ours, seen), (theirs, wanted) = layer(*x, **mask), twin(*x, **mask)
        assert torch.equal(ours, theirs)
        assert seen is wanted is None or torch.equal(seen, wanted)
        ours.square().sum().backward()
        theirs.square().sum().backward()
        for name, projection in lattice_layers(layer).items():
            torchs = "out_proj.weight" if name == "out_proj" else f"{name}_weight"
            gradient = twin.get_parameter(torchs).grad
            assert torch.equal(projection.slot.grad, gradient * projection.scale)
    names = ["q_proj", "k_proj", "v_proj"] if kind == "split" else ["in_proj"]
    assert sorted(lattice_layers(layer)) == sorted([*names, "out_proj"])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("nested", [True, False])
def test_the_encoder_takes_torchs_fast_path_in_evaluation(nested: bool):
    torch.manual_seed(0)
    one = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(one, 2, enable_nested_tensor=nested)
    qcuda.quantize_(model)
    assert len(lattice_layers(model)) == 8
    twin = qcuda.dequantize(model)
    x, padding = torch.randn(3, 6, 8), torch.zeros(3, 6, dtype=torch.bool)
    padding[1, 4:] = True
    slow = model(x, src_key_padding_mask=padding)
    assert torch.equal(slow, twin(x, src_key_padding_mask=padding))
    model.eval(), twin.eval()
    with torch.no_grad(), torch.profiler.profile() as profile:
        fast = model(x, src_key_padding_mask=padding)
    assert any("_transformer_encoder_layer_fwd" in event.name for event in profile.events())
    with torch.no_grad():
        assert torch.equal(fast, twin(x, src_key_padding_mask=padding))
    assert not fast.isnan().any()
    # Sums in another order: 8 layers of products of at most 16 numbers around 1.
    assert (fast - slow)[~padding].abs().max() < 1e-5


def test_a_transformer_trains_and_copies():
    torch.manual_seed(0)
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)
    qcuda.quantize_(model)
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=SGD(0.3), seed=1)
    source, target = torch.randn(2, 5, 8), torch.randn(2, 4, 8)
    wanted = torch.randn(2, 4, 8)
    before = {name: layer.index for name, layer in lattice_layers(model).items()}
    for _ in range(3):
        optimizer.zero_grad()
        (model(source, target) * wanted).sum().backward()
        optimizer.step()
    after = {name: layer.index for name, layer in lattice_layers(model).items()}
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved == list(before)
    again = copy.deepcopy(model)
    assert torch.equal(again(source, target), model(source, target))


def test_a_filter_chooses_among_the_projections():
    layer = nn.MultiheadAttention(8, 2)
    qcuda.quantize_(layer, filter_fn=lambda m, name: name == "out_proj")
    assert list(lattice_layers(layer)) == ["out_proj"]
    assert type(layer) is nn.MultiheadAttention
    other = nn.MultiheadAttention(8, 2)
    qcuda.quantize_(other, filter_fn=lambda m, name: name != "out_proj")
    assert list(lattice_layers(other)) == ["in_proj"]
    x = torch.randn(5, 3, 8)
    for one in (layer, other):
        assert torch.equal(one(x, x, x)[0], qcuda.dequantize(one)(x, x, x)[0])
