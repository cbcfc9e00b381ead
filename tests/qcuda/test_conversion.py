"""Conversion: every kind of layer, what is kept, what is left and named, and what is refused."""

from __future__ import annotations

import copy
import logging
import pickle
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import qcuda
from qcuda.nn import lattice_layers
from qcuda.nn.scales import best_scales, nearest
from qtheory import DST, Lattice
from qtheory.optimisers import SGD

TERNARY = Lattice.ternary()
LATTICES = [Lattice.binary(0.3), TERNARY, Lattice.z(3), Lattice.uniform(-1.0, 0.7, 256)]

IMAGE = {1: (2, 4, 9), 2: (2, 4, 9, 8), 3: (2, 4, 7, 8, 6)}
LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "linear": (lambda: nn.Linear(6, 5), lambda: torch.randn(3, 6)),
    "linear, no bias": (lambda: nn.Linear(6, 5, bias=False), lambda: torch.randn(3, 6)),
    "embedding": (
        lambda: nn.Embedding(9, 5, padding_idx=2, scale_grad_by_freq=True),
        lambda: torch.randint(0, 9, (4, 3)),
    ),
    **{
        f"conv{n}d": (
            lambda n=n: getattr(nn, f"Conv{n}d")(4, 6, 3, stride=2, padding=1, groups=2),
            lambda n=n: torch.randn(IMAGE[n]),
        )
        for n in IMAGE
    },
    **{
        f"transposed{n}d": (
            lambda n=n: getattr(nn, f"ConvTranspose{n}d")(
                4, 6, 3, stride=2, padding=1, output_padding=1, groups=2
            ),
            lambda n=n: torch.randn(IMAGE[n]),
        )
        for n in IMAGE
    },
    "reflected": (
        lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", dilation=2),
        lambda: torch.randn(IMAGE[2]),
    ),
}


def shown(real: nn.Module, layer: qcuda.nn.LatticeLayer) -> Tensor:
    """What a float weight becomes with a layer's scale, by NumPy."""
    weight, scale = real.weight.detach().double().numpy(), layer._spread_scale().numpy()
    levels = layer.lattice.levels[layer.lattice.nearest(weight / scale)]
    return torch.from_numpy(scale * levels).float()


@pytest.mark.parametrize("scale", ["layer", "channel"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_converted_layer_is_torchs_layer_with_the_weight_on_the_lattice(kind: str, scale):
    """Equal outputs and gradients; the gradient is that of the unscaled weight."""
    torch.manual_seed(1)
    make, draw = LAYERS[kind]
    real, config = make(), qcuda.LatticeConfig(TERNARY, scale=scale)
    real.weight.data *= torch.rand(real.weight.shape[:2]).reshape(
        *real.weight.shape[:2], *(1,) * (real.weight.dim() - 2)
    )
    layer = copy.deepcopy(real)
    assert qcuda.quantize_(layer, config) is layer
    assert type(layer) is getattr(qcuda.nn, type(real).__name__)
    real.weight.data = shown(real, layer)
    x = draw()
    ours, theirs = layer(x), real(x)
    assert torch.equal(ours, theirs)
    direction = torch.randn(ours.shape)
    ours.backward(direction)
    theirs.backward(direction)
    assert torch.equal(layer.gradient, real.weight.grad * layer._spread_scale())
    names = {name for name, _ in real.named_parameters()} - {"weight"}
    assert {name for name, _ in layer.named_parameters()} == {"slot"} | names
    outputs = real.weight.shape[0] if "transposed" not in kind else 6
    assert layer.scale.shape == ((outputs,) if scale == "channel" else ())


def test_each_channel_has_the_scale_that_it_would_have_alone():
    torch.manual_seed(1)
    for kind, axis in (("conv2d", 0), ("linear", 0), ("transposed2d", 1)):
        real = LAYERS[kind][0]()
        layer = copy.deepcopy(real)
        qcuda.quantize_(layer, qcuda.LatticeConfig(TERNARY, scale="channel"))
        weight = real.weight.detach()
        parts = weight.chunk(real.groups, 0) if axis else [weight]
        alone = [best_scales(c.reshape(1, -1), TERNARY) for p in parts for c in p.unbind(axis)]
        assert torch.equal(layer.scale.double(), torch.cat(alone))


def test_every_module_of_a_model_is_in_the_table():
    model = nn.ModuleDict(
        {
            "body": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.LSTM(4, 4)),
            "head": nn.Linear(4, 2),
            "twice": nn.Bilinear(4, 4, 2),
        }
    )
    model["again"] = model["body"][0]

    def wanted(module: nn.Module, name: str) -> bool:
        return name != "head"

    table = qcuda.conversions(model, filter_fn=wanted)
    assert [(row.name, row.type, row.left) for row in table.rows] == [
        ("body.0 = again", "Linear", None),
        ("body.1", "BatchNorm1d", "its parameters are no matrix"),
        ("body.3", "LSTM", "torch computes all its steps in one call, with real weights"),
        ("head", "Linear", "filter_fn leaves it"),
        ("twice", "Bilinear", "it has no form on a lattice"),
    ]
    assert type(model["body"][0]) is nn.Linear  # nothing was changed
    assert "head            Linear" in str(table)
    with pytest.warns(UserWarning, match=r"keep real weights: body.3 \(LSTM: .*\), twice \(Bil"):
        qcuda.quantize_(model, filter_fn=wanted)
    assert list(lattice_layers(model)) == ["body.0"]
    assert model["again"] is model["body"][0]


def test_the_table_is_logged_and_a_layer_left_on_purpose_is_no_warning(
    caplog: pytest.LogCaptureFixture,
):
    model = nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 3))
    with caplog.at_level(logging.INFO, logger="qcuda"), warnings.catch_warnings():
        warnings.simplefilter("error")
        qcuda.quantize_(model, filter_fn=lambda m, name: name == "0")
    assert "left: " in caplog.text and "on the lattice" in caplog.text


class Same(nn.Linear):
    """Adds nothing."""


class Different(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + 1


def replaced_forward() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.forward = lambda input: input  # pyright: ignore
    return layer


def with_buffer() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.register_buffer("mask", torch.ones(4, 4))
    return layer


LEFT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "old weight_norm": (
        lambda: weight_norm(nn.Linear(4, 4)),
        r"hook computes its weight \(WeightNorm",
    ),
    "weight_norm": (lambda: parametrizations.weight_norm(nn.Linear(4, 4)), "a parametrization"),
    "old spectral_norm": (
        lambda: spectral_norm(nn.Linear(4, 4)),
        r"hook computes .* \(SpectralNorm",
    ),
    "spectral_norm": (lambda: parametrizations.spectral_norm(nn.Linear(4, 4)), "a parametrization"),
    "pruning": (lambda: prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5), "hook computes"),
    "pruned bias": (lambda: prune.l1_unstructured(nn.Linear(4, 4), "bias", 0.5), "more than its"),
    "subclass": (lambda: Different(4, 4), "a subclass of Linear with its own forward"),
    "forward": (replaced_forward, "its forward was replaced"),
    "buffer": (with_buffer, "more than its weight and bias: mask"),
    "lazy": (lambda: nn.LazyLinear(4), "no shape yet"),
    "lstm": (lambda: nn.LSTM(4, 4), "one call"),
    "gru cell": (lambda: nn.GRUCell(4, 4), "no form"),
    "bag": (lambda: nn.EmbeddingBag(4, 4), "no form"),
    "max_norm": (lambda: nn.Embedding(4, 4, max_norm=1.0), "max_norm"),
    "sparse": (lambda: nn.Embedding(4, 4, sparse=True), "sparse"),
    "own": (lambda: nn.ParameterList([torch.ones(2, 2)]), "no form"),
}


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("kind", LEFT)
def test_what_can_not_be_converted_is_named_and_stays_as_it_is(kind: str):
    make, why = LEFT[kind]
    model = nn.Sequential(nn.Linear(3, 3), make())
    before = {name: id(p) for name, p in model[1].named_parameters()}
    state = vars(model[1]).copy()
    with pytest.warns(UserWarning, match=rf"1 \({type(model[1]).__name__}: .*{why}"):
        qcuda.quantize_(model)
    assert list(lattice_layers(model)) == ["0"]
    assert {name: id(p) for name, p in model[1].named_parameters()} == before
    assert vars(model[1]) == state
    with pytest.raises(ValueError, match=r"layers with a lattice form, got none:(.|\n)*left: "):
        qcuda.quantize_(nn.Sequential(make()))


def test_a_subclass_that_adds_nothing_is_converted():
    assert isinstance(qcuda.quantize_(Same(3, 3)), qcuda.nn.Linear)


def test_hooks_attributes_mode_and_identity_stay():
    layer = nn.Linear(3, 2)
    seen: list[str] = []
    layer.register_forward_pre_hook(lambda m, args: seen.append("before"))
    handle = layer.register_forward_hook(lambda m, args, out: seen.append("after"))
    layer.register_full_backward_pre_hook(lambda m, out: seen.append("backward before"))
    layer.register_full_backward_hook(lambda m, into, out: seen.append("backward"))
    layer.register_state_dict_post_hook(lambda *args: seen.append("saved"))
    layer.register_load_state_dict_pre_hook(lambda m, *args: seen.append(type(m).__module__))
    layer.register_load_state_dict_post_hook(lambda m, keys: seen.append("loaded"))
    layer.note = "kept"  # pyright: ignore
    bias, model = layer.bias, nn.Sequential(layer).eval()
    calls = [model[0].forward]
    qcuda.quantize_(model)
    assert model[0] is layer and layer.bias is bias and not layer.training
    assert layer.note == "kept"
    model(torch.ones(1, 3, requires_grad=True)).sum().backward()
    model.load_state_dict(model.state_dict())
    assert seen == [
        "before", "after", "backward before", "backward", "saved", "qcuda.nn.linear", "loaded",
    ]  # fmt: skip
    handle.remove()
    model(torch.ones(1, 3))
    assert seen[7:] == ["before"]
    assert calls[0].__self__ is layer


def test_dtype_device_frozen_weights_and_layouts_stay():
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        layer = nn.Linear(4, 3, dtype=dtype)
        layer.weight.requires_grad_(False)
        qcuda.quantize_(layer)
        assert layer.weight.dtype == layer.bias.dtype == dtype
        assert not layer.slot.requires_grad and layer.bias.requires_grad
    torch.manual_seed(0)
    plain, last = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    last.load_state_dict(plain.state_dict())
    index = [qcuda.quantize_(layer).index for layer in (plain, last)]
    assert torch.equal(*index)


def tied(partner: nn.Module) -> nn.Module:
    model = nn.ModuleDict({"e": nn.Embedding(8, 5), "h": partner})
    partner.weight = model["e"].weight
    return model


def test_tied_weights_stay_tied():
    """One state, one slot, one step; also in another dtype, a copy, and a checkpoint."""
    model = tied(nn.Linear(5, 8))
    with torch.no_grad():
        model["e"].weight.copy_(torch.randint(-1, 2, (8, 5)))
    wanted = model["e"].weight.detach().clone()
    qcuda.quantize_(model, qcuda.LatticeConfig(TERNARY, scale=1.0))
    assert sum(p.numel() for p in model.parameters()) == 40 + 8

    def check(m: nn.Module) -> None:
        assert m["e"].slot is m["h"].slot
        assert m["e"].state.data_ptr() == m["h"].state.data_ptr()
        assert torch.equal(m["e"].weight, m["h"].weight)

    x = torch.tensor([1, 2])
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=SGD(1.0), seed=3)
    model["h"](model["e"](x)).sum().backward()
    alone = wanted.clone().requires_grad_()
    nn.functional.linear(alone[x], alone, model["h"].bias.detach()).sum().backward()
    assert torch.equal(model["e"].slot.grad, alone.grad)
    optimizer.step()
    check(model)
    assert not torch.equal(model["e"].weight, wanted)
    copies = (pickle.loads(pickle.dumps(model)), copy.deepcopy(model))
    for other in (*copies, model.to(torch.bfloat16).float()):
        check(other)
        index = other["e"].index
        other["h"].set_index((index + 1) % 3)
        assert torch.equal(other["e"].index, (index + 1) % 3)
    loaded = qcuda.quantize_(tied(nn.Linear(5, 8)), qcuda.LatticeConfig(TERNARY, scale=1.0))
    loaded.load_state_dict(model.state_dict())
    check(loaded)
    assert torch.equal(loaded["h"].index, model["e"].index)
    assert qcuda.audit(model).weights == 40


def with_tensor_hook() -> nn.Module:
    layer = nn.Linear(3, 3)
    layer.weight.register_hook(lambda g: g)
    return layer


def sharing_memory() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(model[0].weight.detach().t())
    return model


def not_finite() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight.data[1, 1] = float("nan")
    return model


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "tied to the unknown": (lambda: tied(nn.Bilinear(1, 5, 8)), "stays in Bilinear"),
    "two parameters": (sharing_memory, "got 0.weight and 1.weight, two in the same memory"),
    "hook": (with_tensor_hook, "no hook of its own, got one on 'weight'"),
    "not finite": (not_finite, "1: weights to convert are finite, got NaN or infinity"),
    "meta": (lambda: nn.Linear(4, 4, device="meta"), "has numbers, got one on meta"),
    "complex": (lambda: nn.Linear(4, 4, dtype=torch.complex64), "got torch.complex64"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_conversion_changes_nothing(kind: str):
    make, why = REFUSED[kind]
    model = make()
    before = [(name, type(m), id(m)) for name, m in model.named_modules()]
    parameters = [id(p) for p in model.parameters()]
    with pytest.raises(ValueError, match=why):
        qcuda.quantize_(model)
    with pytest.raises(ValueError, match=why):
        qcuda.conversions(model)
    assert [(name, type(m), id(m)) for name, m in model.named_modules()] == before
    assert [id(p) for p in model.parameters()] == parameters


def test_a_tie_to_a_layer_that_the_filter_leaves_is_refused():
    with pytest.raises(ValueError, match=r"with all layers that share it, got 'h.weight', which"):
        qcuda.quantize_(tied(nn.Linear(5, 8)), filter_fn=lambda m, name: name == "e")


def test_an_optimiser_made_too_early_is_named():
    model = nn.Sequential(nn.Linear(3, 3))
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(
        ValueError, match=r"before its optimiser is made, got Adam, which holds 0.weight"
    ):
        qcuda.quantize_(model)
    assert type(model[0]) is nn.Linear
    del optimizer
    qcuda.quantize_(model)
    early = qcuda.LatticeOptimizer([model[0].bias], DST(TERNARY))  # keeps what stays
    assert early.param_groups[0]["params"][0] is model[0].bias


@pytest.mark.parametrize("config", [DST(TERNARY), TERNARY, "ternary"], ids=str)
def test_what_is_no_config_is_named(config):
    with pytest.raises(ValueError, match=r"such as LatticeConfig\(spec.lattice\), got "):
        qcuda.quantize_(nn.Linear(3, 3), config)


@pytest.mark.parametrize("lattice", LATTICES, ids=repr)
def test_scales_and_levels_are_those_of_the_definition(lattice: Lattice):
    """The power of two with the smallest squared error, by NumPy; ties as `Lattice.nearest`."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 70_000)) * np.array([1.0, 0.01, 30.0, 0.5, 0.0])[:, None]
    rows[1] = np.round(rows[1] * 2**9) / 2**9 * lattice.spacing / 2
    scales = best_scales(torch.from_numpy(rows), lattice)
    assert scales[4] == 1.0
    for row, found in zip(rows[:4], scales[:4].tolist(), strict=True):
        tried = [2.0**k for k in range(-20, 10)]
        errors = [
            float(((row - s * lattice.levels[lattice.nearest(row / s)]) ** 2).sum()) for s in tried
        ]
        reach = max(abs(lattice.low), abs(lattice.high))
        top = int(np.ceil(np.log2(np.abs(row).max() / reach)))
        near = [e for s, e in zip(tried, errors, strict=True) if top - 6 <= np.log2(s) <= top]
        assert errors[tried.index(found)] == pytest.approx(min(near), rel=1e-12)
    index = nearest(torch.from_numpy(rows), scales, lattice).numpy()
    assert (index == lattice.nearest(rows / scales.numpy()[:, None])).all()


def test_a_config_chooses_the_storage():
    layer = qcuda.quantize_(nn.Linear(5, 3), qcuda.LatticeConfig(storage="int8"))
    assert layer.state.dtype == torch.int8
    with pytest.raises(ValueError, match=r"nibbles, sixes, got 'bits'"):
        qcuda.LatticeConfig(storage="bits")  # pyright: ignore
