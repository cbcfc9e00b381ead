"""The networks: their published sizes, torchvision's names, every method, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qcuda
from qcuda.errors import InputError
from qcuda.models import MODELS, build, on_lattice, real, relu
from qcuda.models.baselines import read_as
from qcuda.models.resnet import Fitted, fitted
from qcuda.models.weights import scale_of, weight_layers
from qcuda.nn import NoisyStair, lattice_layers
from qcuda.nn.fused import BatchStair, fuse_
from qtheory import DST, Lattice
from qtheory.algorithms import hidden
from qtheory.optimisers import Adam

TERNARY = Lattice.ternary()
STE = real(read_as(3))
SMALL = {  # an example of each model that takes another than an image of 3 x 32 x 32
    "gxnor": (1, 28, 28), "alexnet": (3, 63, 64), "pointnet": (9, 3), "pointnet_vanilla": (9, 3),
    "gpt": (8,),
}  # fmt: skip
ONCE = [name for name in MODELS if name not in ("resnet34", "resnet56")]  # the others' rows
LIGHT = {"channels": 4, "hidden": 8}  # where a network can be thinner, a test needs no more


def config_of(name: str, **values: Any) -> Any:
    own = MODELS[name]()
    return MODELS[name](**{k: v for k, v in {**LIGHT, **values}.items() if hasattr(own, k)})


def examples(name: str) -> torch.Tensor:
    shape = SMALL.get(name, (3, 32, 32))
    generator = torch.Generator().manual_seed(0)
    if name == "gpt":
        return torch.randint(0, 10, (2, *shape), generator=generator)
    return torch.randn(2, *shape, generator=generator)


@pytest.mark.parametrize("name", ONCE)
def test_methods_have_the_same_layers_and_all_learn(name: str):
    """Layers, shapes and names agree; every weight and parameter gets a gradient."""
    config, inputs = config_of(name), examples(name)
    built = {}
    for method, weight in (
        ("lattice", on_lattice(TERNARY)),
        ("ste", STE),
        ("full", None),
    ):
        built[method] = model = build(config, tuple(inputs.shape[1:]), 10, weight)
        outputs = model(inputs)
        assert outputs.shape == ((2, 8, 10) if name == "gpt" else (2, 10))
        outputs.square().mean().backward()
        silent = [n for n, p in model.named_parameters() if p.grad is None]
        assert silent == []
    layers = {method: weight_layers(model) for method, model in built.items()}
    assert list(layers["lattice"]) == list(layers["ste"]) == list(layers["full"])
    shapes = [
        [tuple(getattr(m, "latent", getattr(m, "weight", None)).shape) for m in found.values()]
        for found in layers.values()
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    real_ends = sum(getattr(config, end, "quantised") == "real" for end in ("first", "last"))
    assert len(lattice_layers(built["lattice"])) == len(shapes[0]) - real_ends


@pytest.mark.parametrize("name", [name for name in ONCE if name != "mlp"])
def test_either_end_is_real_if_asked(name: str):
    shape = SMALL.get(name, (3, 32, 32))
    for first, last in (("real", "quantised"), ("quantised", "real")):
        model = build(config_of(name, first=first, last=last), shape, 10, on_lattice(TERNARY))
        kept = [n for n, m in weight_layers(model).items() if isinstance(m, nn.Linear | nn.Conv2d)]
        every = list(weight_layers(model))
        begins = "before.conv1" if name.startswith("pointnet") else every[0]
        assert kept == [begins if first == "real" else every[-1]]


def drawn_on_meta(name: str, shape: tuple[int, ...], classes: int, **values: Any) -> nn.Module:
    """A network without memory, for its sizes."""
    from importlib import import_module

    config = MODELS[name](**values)
    with torch.device("meta"):
        module = import_module(f"qcuda.models.{config.MODULE}")
        return module.network(config, shape, classes, real(None), relu)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters"),
    [  # torchvision 0.25, `num_params` of its documented weights
        ("resnet18", (3, 224, 224), 1000, 11_689_512),
        ("resnet34", (3, 224, 224), 1000, 21_797_672),
        ("resnet50", (3, 224, 224), 1000, 25_557_032),
        ("mobilenet_v2", (3, 224, 224), 1000, 3_504_872),
    ],
)
def test_sizes_are_those_of_torchvision(name: str, shape: Any, classes: int, parameters: int):
    model = drawn_on_meta(name, shape, classes, order="torchvision")
    assert sum(p.numel() for p in model.parameters()) == parameters
    ours = drawn_on_meta(name, shape, classes)
    found = [
        {n: m.weight.shape for n, m in weight_layers(network).items()} for network in (model, ours)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name", "shape", "classes", "said", "digits"),
    [
        ("gxnor_cifar10", (3, 32, 32), 10, 12_973_440, 0),  # of the release [deng2018]
        ("gxnor", (1, 28, 28), 10, 581_408, 0),
        ("resnet20", (3, 32, 32), 10, 270_000, 4),  # [he2016, Table 6]
        ("resnet56", (3, 32, 32), 10, 850_000, 4),
        ("pointnet", (1024, 3), 40, 3_500_000, 5),  # [qi2017, Table 6]
        ("pointnet_vanilla", (1024, 3), 40, 800_000, 5),
    ],
)
def test_weights_are_as_many_as_published(
    name: str, shape: Any, classes: int, said: int, digits: int
):
    """digits: of the published number that were rounded away."""
    layers = weight_layers(drawn_on_meta(name, shape, classes)).values()
    assert round(sum(m.weight.numel() for m in layers), -digits) == said


def test_alexnet_has_the_filters_of_the_release():
    """Of XNOR-Net's release [rastegari2016], where the linear layers are convolutions."""
    model = drawn_on_meta("alexnet", (3, 224, 224), 1000)
    shapes = [tuple(m.weight.shape) for m in weight_layers(model).values()]
    assert shapes == [
        (96, 3, 11, 11), (256, 96, 5, 5), (384, 256, 3, 3), (384, 384, 3, 3), (256, 384, 3, 3),
        (4096, 256, 6, 6), (4096, 4096, 1, 1), (1000, 4096),
    ]  # fmt: skip
    kinds = [name.rstrip("0123456789") for name, _ in model.named_children()]
    assert kinds[4:8] == ["norm", "active", "conv", "pool"]


def norm_keys(name: str) -> list[str]:
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [f"{name}.{part}" for part in parts]


def resnet_keys(blocks: tuple[int, ...], deep: bool) -> Iterator[str]:
    """The names of torchvision's ResNet: conv1, bn1, layer1.0.conv1, ..., fc."""
    yield "conv1.weight"
    yield from norm_keys("bn1")
    for stage, count in enumerate(blocks, start=1):
        for number in range(count):
            block = f"layer{stage}.{number}"
            for part in range(1, 4 if deep else 3):
                yield f"{block}.conv{part}.weight"
                yield from norm_keys(f"{block}.bn{part}")
            if number == 0 and (stage > 1 or deep):
                yield f"{block}.downsample.0.weight"
                yield from norm_keys(f"{block}.downsample.1")
    yield from ("fc.weight", "fc.bias")


def mobilenet_keys() -> Iterator[str]:
    """The names of torchvision's MobileNetV2: features.0.0, features.1.conv.0.0, ..."""
    for stem in ("features.0", "features.18"):
        yield f"{stem}.0.weight"
        yield from norm_keys(f"{stem}.1")
    for number in range(1, 18):
        block = f"features.{number}.conv"
        inner = 1 if number == 1 else 2  # the first block does not widen
        for part in range(inner):
            yield f"{block}.{part}.0.weight"
            yield from norm_keys(f"{block}.{part}.1")
        yield f"{block}.{inner}.weight"
        yield from norm_keys(f"{block}.{inner + 1}")
    yield from ("classifier.1.weight", "classifier.1.bias")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("resnet18", resnet_keys((2, 2, 2, 2), deep=False)),
        ("resnet34", resnet_keys((3, 4, 6, 3), deep=False)),
        ("resnet50", resnet_keys((3, 4, 6, 3), deep=True)),
        ("mobilenet_v2", mobilenet_keys()),
    ],
)
def test_float_weights_of_torchvision_fit(name: str, keys: Iterator[str]):
    own = drawn_on_meta(name, (3, 224, 224), 1000, order="torchvision").state_dict()
    expected = set(keys)
    assert set(own) == expected
    ternary = set(drawn_on_meta(name, (3, 224, 224), 1000).state_dict())
    assert ternary - expected == set(norm_keys("norm"))
    assert expected <= ternary


def test_torchvisions_order_computes_what_torchvision_computes():
    """By functions of torch alone: convolution, norm, activation, then the shortcut."""
    config = MODELS["resnet18"](order="torchvision")
    model = build(config, (3, 32, 32), 10, None, relu).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    state = model.state_dict()

    def unit(x: torch.Tensor, conv: str, norm: str, stride: int = 1) -> torch.Tensor:
        filters = state[f"{conv}.weight"]
        x = F.conv2d(x, filters, stride=stride, padding=filters.shape[-1] // 2)
        mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        return F.batch_norm(x, mean, variance, state[f"{norm}.weight"], state[f"{norm}.bias"])

    y = F.max_pool2d(F.relu(unit(x, "conv1", "bn1", 2)), 3, 2, 1)
    for stage in range(1, 5):
        for number in range(2):
            block, stride = f"layer{stage}.{number}", 2 if stage > 1 and number == 0 else 1
            inner = F.relu(unit(y, f"{block}.conv1", f"{block}.bn1", stride))
            outer = unit(inner, f"{block}.conv2", f"{block}.bn2")
            if stride == 2:
                y = unit(y, f"{block}.downsample.0", f"{block}.downsample.1", 2)
            y = F.relu(y + outer)
    expected = F.linear(y.mean((2, 3)), state["fc.weight"], state["fc.bias"])
    assert torch.equal(model(x), expected)


def loss_after(order: str, steps: int) -> float:
    """Of ResNet-20 with every layer ternary on 16 random images, by DST on Adam's increments."""
    config = MODELS["resnet20"](order=order, first="quantised", last="quantised")
    model = build(config, (3, 32, 32), 10, on_lattice(TERNARY))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (16,), generator=generator)
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=Adam(0.005), seed=0)
    loss = torch.tensor(math.nan)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    return loss.item()


def test_the_ternary_order_learns_where_torchvisions_does_not():
    assert loss_after("ternary", 14) < 1.0
    assert loss_after("torchvision", 14) > 1.8


@pytest.mark.parametrize(
    ("name", "order", "alone"),
    [  # stairs behind an addition or before a pool, or in another module than their norm
        ("resnet18", "ternary", 0),
        ("resnet18", "torchvision", 9),
        ("resnet50", "ternary", 0),
        ("mobilenet_v2", "ternary", 17),
        ("mobilenet_v2", "torchvision", 0),
    ],
)
def test_a_stair_behind_a_norm_can_be_fused_with_it(name: str, order: str, alone: int):
    model = build(config_of(name, order=order), (3, 32, 32), 10, on_lattice(TERNARY))
    keys = list(model.state_dict())
    fuse_(model)
    stairs, fused = (
        sum(isinstance(m, kind) for m in model.modules()) for kind in (NoisyStair, BatchStair)
    )
    assert stairs - fused == alone
    assert list(model.state_dict()) == keys
    assert model(examples(name)).shape == (2, 10)


def test_shortcuts_without_weights():
    x = torch.arange(2.0 * 6 * 4 * 4).reshape(2, 6, 4, 4)
    assert fitted(x, 6, 1) is x
    halved = x.reshape(2, 3, 2, 2, 2, 2, 2).mean((2, 4, 6))
    assert torch.equal(fitted(x, 3, 2), halved)
    assert torch.equal(fitted(x, 8, 1), F.pad(x, (0, 0, 0, 0, 0, 2)))
    assert torch.equal(fitted(x, 4, 1)[:, :3], x.reshape(2, 3, 2, 4, 4).mean(2))
    published = Fitted(8, 2, mean=False)(x)  # option A of [he2016]: every second pixel
    assert torch.equal(published, F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 2)))
    assert torch.equal(Fitted(3, 2, mean=True)(x), halved)
    assert fitted(torch.ones(1, 1, 5, 5), 1, 2).tolist() == torch.ones(1, 1, 3, 3).tolist()


def test_scaled_layers_keep_the_size_of_their_inputs():
    """sqrt(2 / fan in) to the nearest power of two, so within a factor of sqrt(2)."""
    assert [scale_of((5, n)) for n in (2, 8, 128, 144)] == [1.0, 0.5, 0.125, 0.125]
    for weight in (on_lattice(TERNARY), on_lattice(**hidden(8)), STE):
        layer = weight((4, 288), scaled=True, bias=True)
        assert isinstance(layer.bias, nn.Parameter)
        inputs = torch.eye(288)
        with torch.no_grad():
            layer.draw_levels(0, 0) if hasattr(layer, "draw_levels") else layer.draw(0, 0)
            assert set(layer(inputs).abs().unique().tolist()) == {0.0, 2.0**-4}


@pytest.mark.parametrize("method", ["lattice", "ste", "full"])
def test_one_door_makes_every_convolution(method: str):
    """Stride, groups, no padding and single pixels, against torch's function."""
    weight = {"lattice": on_lattice(TERNARY), "ste": STE, "full": real(None)}[method]
    x = torch.randn(2, 6, 7, 9, generator=torch.Generator().manual_seed(0))
    for shape, window in (
        ((4, 6, 1, 1), {"stride": 2}),
        ((6, 1, 3, 3), {"groups": 6, "stride": 2}),
        ((8, 3, 5, 5), {"groups": 2, "padding": 0}),
    ):
        layer = weight(shape, **window)
        visible = layer.visible if method == "ste" else layer.weight
        padding = window.get("padding", shape[-1] // 2)
        groups, stride = window.get("groups", 1), window.get("stride", 1)
        expected = F.conv2d(x, visible, None, stride, padding, groups=groups)
        assert torch.equal(layer(x), expected)


@pytest.mark.parametrize(
    ("name", "shape", "rule"),
    [
        ("vgg7", (40,), "takes images, got examples of the shape \\(40,\\)"),
        ("vgg7", (3, 4, 4), "leave a pixel of each image"),
        ("alexnet", (3, 32, 32), "63 x 63 or more"),
        ("resnet20", (9, 3), "takes images, got examples of the shape \\(9, 3\\)"),
        ("mobilenet_v2", (9,), "takes images"),
        ("pointnet", (3, 32, 32), "takes clouds, points by coordinates, got"),
        ("gpt", (1, 8, 8), "takes rows of tokens, got examples of the shape \\(1, 8, 8\\)"),
        ("vgg", (3, 32, 32), "a model is one of cnn, mlp"),
    ],
)
def test_other_examples_are_refused(name: str, shape: tuple[int, ...], rule: str):
    with pytest.raises(InputError, match=rule):
        build(name, shape, 10)


def test_a_gpt_refuses_numbers_that_are_no_tokens():
    model = build(config_of("gpt", width=8, heads=2), (8,), 10)
    with pytest.raises(InputError, match=r"rows of tokens, whole numbers, got torch.float32 in 2"):
        model(torch.zeros(2, 8))


@pytest.mark.parametrize(
    ("name", "values", "rule"),
    [
        ("resnet20", {"order": "keras"}, "order is one of ternary, torchvision, got 'keras'"),
        ("vgg7", {"first": "binary"}, "first is one of quantised, real, got 'binary'"),
        ("vgg7", {"channels": 0}, "channels is at least 1, got 0"),
        ("mlp", {"hidden": 0}, "hidden is at least 1, got 0"),
        ("gpt", {"width": 10, "heads": 4}, "heads divide width, got 4 and 10"),
    ],
)
def test_configs_have_rules(name: str, values: dict[str, Any], rule: str):
    with pytest.raises(InputError, match=rule):
        MODELS[name](**values)


def test_a_gpt_sees_no_later_token():
    """The score at a place changes with tokens up to it, and with none after it."""
    model = build(config_of("gpt", width=16, heads=2, blocks=2), (8,), 10, on_lattice(TERNARY))
    tokens = examples("gpt")[:1]
    changed = tokens.clone()
    changed[0, 5] = (changed[0, 5] + 1) % 10
    before, after = model(tokens), model(changed)
    assert torch.equal(before[0, :5], after[0, :5])
    assert (before[0, 5:] != after[0, 5:]).any(1).all()


def test_a_cloud_has_no_order():
    """PointNet's scores are those of the set; its turns begin as the identity."""
    model = build("pointnet", (9, 3), 10, on_lattice(TERNARY)).eval()
    cloud = examples("pointnet")
    assert torch.equal(model(cloud), model(cloud.flip(1)))
    columns = cloud.transpose(1, 2)[..., None]
    assert torch.equal(model.get_submodule("turn1")(columns), columns)


def test_a_float_network_becomes_a_ternary_one():
    model = build("resnet20", (3, 32, 32), 10)
    twin = qcuda.quantize_(model, qcuda.LatticeConfig(**hidden(8)), lambda _, name: name != "fc")
    assert len(lattice_layers(twin)) == 19
    assert twin(examples("resnet20")).shape == (2, 10)
