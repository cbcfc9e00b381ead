"""Stages: how fast, with clocks up. Nothing here fails but by an error."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import qcuda
from qcuda.nn import lattice_layers
from qcuda.validate.device.card import Card
from qcuda.validate.device.nets import TERNARY, optimizer_of


class Block(nn.Module):
    """Two 3x3 convolutions, or the bottleneck of three, around a shortcut."""

    def __init__(self, inside: int, width: int, stride: int, deep: bool, act: Callable) -> None:
        super().__init__()
        wide = 4 * width if deep else width
        sizes = [(inside, width, 1), (width, width, 3), (width, wide, 1)]
        sizes = sizes if deep else [(inside, width, 3), (width, width, 3)]
        strided = 1 if deep else 0
        parts: list[nn.Module] = []
        for place, (a, b, kernel) in enumerate(sizes):
            step = stride if place == strided else 1
            parts += [nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False), nn.BatchNorm2d(b)]
            parts += [act()] if place + 1 < len(sizes) else []
        self.body = nn.Sequential(*parts)
        same = stride == 1 and inside == wide
        short = [nn.Conv2d(inside, wide, 1, stride, bias=False), nn.BatchNorm2d(wide)]
        self.short = nn.Identity() if same else nn.Sequential(*short)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.short(x))


def resnet(deep: bool, act: Callable[[], nn.Module], width: int, blocks: int = 6) -> nn.Module:
    """ResNet-50 if deep, else ResNet-18, with any activation. blocks: at most so many a stage."""
    counts = [min(count, blocks) for count in ((3, 4, 6, 3) if deep else (2, 2, 2, 2))]
    parts: list[nn.Module] = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)]
    parts += [act(), nn.MaxPool2d(3, 2, 1)]
    inside = width
    for stage, count in enumerate(counts):
        for number in range(count):
            stride = 2 if stage and not number else 1
            parts.append(Block(inside, width << stage, stride, deep, act))
            inside = (width << stage) * (4 if deep else 1)
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 1000)]
    return nn.Sequential(*parts)


def throughput(card: Card) -> dict[str, Any]:
    """Images a second of ResNet-18 and -50 in bfloat16: ReLU in float, then discrete throughout."""
    found: dict[str, Any] = {}
    for deep in (False, True) if card.real else (True,):
        for compiled in (False, True):
            rates = [_rate(card, deep, compiled, discrete) for discrete in (False, True)]
            name = f"ResNet-{50 if deep else 18} {'compiled' if compiled else 'eager'}"
            found[name] = {"float": rates[0], "discrete": rates[1], "ratio": rates[1] / rates[0]}
    return found


def _rate(card: Card, deep: bool, compiled: bool, discrete: bool) -> float:
    torch._dynamo.reset()
    images, size, width, blocks, steps = (256, 224, 64, 6, 50) if card.real else (2, 32, 4, 1, 1)
    torch.manual_seed(0)
    model = resnet(deep, qcuda.nn.MultiStep if discrete else nn.ReLU, width, blocks)
    if discrete:
        qcuda.quantize_(model, qcuda.LatticeConfig(TERNARY))
    model = model.to(card.device).to(memory_format=torch.channels_last)  # pyright: ignore
    if discrete:
        optimizer = optimizer_of(model, "momentum", "bfloat16")
    else:
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, fused=True)
    backend = "inductor" if card.real else "eager"
    run = torch.compile(model, backend=backend) if compiled else model
    x = torch.randn(images, 3, size, size, device=card.device)
    x = x.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (images,), device=card.device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(card.device.type, dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(run(x), labels)
        loss.backward()
        optimizer.step()

    for _ in range(20 if card.real else 1):
        step()
    times = []
    for _ in range(3):
        card.synchronize()
        began = time.perf_counter()
        for _ in range(steps):
            step()
        card.synchronize()
        times.append(time.perf_counter() - began)
    return images * steps / sorted(times)[1]


def host_time(card: Card) -> dict[str, Any]:
    """Microseconds of the host: a step of ResNet-50's 161 tensors, a visible weight, a launch."""
    torch.manual_seed(0)
    model = resnet(True, nn.ReLU, 64 if card.real else 4)
    qcuda.quantize_(model, qcuda.LatticeConfig(TERNARY))
    model = model.to(card.device)
    optimizer = optimizer_of(model, "momentum", "bfloat16")
    for param in model.parameters():
        param.grad = torch.full(param.shape, 1e-3, dtype=param.dtype, device=param.device)
    optimizer.step()
    layer = next(iter(lattice_layers(model).values()))
    return {
        "tensors": len(list(model.parameters())),
        "step": 1e6 * card.host_seconds(optimizer.step),
        "weight": 1e6 * card.host_seconds(lambda: layer.weight),
    }


def step_time(card: Card) -> dict[str, Any]:
    """Microseconds of the device for the optimiser's step of ResNet-50, by graph replay."""
    model = resnet(True, nn.ReLU, 64 if card.real else 4)
    qcuda.quantize_(model, qcuda.LatticeConfig(TERNARY))
    model = model.to(card.device)
    optimizer = optimizer_of(model, "momentum", "bfloat16")
    for param in model.parameters():
        param.grad = torch.randn(param.shape, device=param.device).mul_(1e-3)
    optimizer.step()
    found = card.seconds(optimizer.step, repeats=10 if card.real else 1)
    return {name: 1e6 * value for name, value in found.items()}
