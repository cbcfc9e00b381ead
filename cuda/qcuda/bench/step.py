"""Benchmark of the host: what a step costs beside its kernels, and one reading of a weight.

A step is timed on as many tensors as ResNet-50 has, of its shapes with 1/64 of their channels:
54 lattice weights and 107 ordinary parameters, some 7000 numbers, for which the kernels need
some microseconds. All else is time of the host, which no larger tensor changes. Beside it,
torch's optimisers train float parameters of the same shapes. Everything runs on one thread, in
interleaved rounds. The median of a round is told and the lowest, which a busy machine spoils less.
"""

from __future__ import annotations

import json as json_module
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from qcuda.kernels import native
from qcuda.nn import Conv2d, LatticeLayer, Linear
from qcuda.nn.convert import LatticeConfig, quantize_
from qcuda.optimizer import LatticeOptimizer
from qtheory import DST, Lattice

NARROW = 64  # channels of ResNet-50 for one of ours
BLOCKS = ((64, 3), (128, 4), (256, 6), (512, 3))  # widths of ResNet-50's stages, and their blocks
LEARNING_RATE = 0.01
BASES = ("adam", "momentum", "sgd")
CALLS = 100_000  # numbers that are read between two looks at the clock, or one weight

Action = Callable[[], Any]
Times = dict[str, dict[str, float]]


def resnet50() -> nn.Sequential:
    """ResNet-50's layers with weights, narrow, one after the other; they are not connected."""

    def pair(inputs: int, outputs: int, side: int) -> list[nn.Module]:
        channels, outputs = max(1, inputs // NARROW), outputs // NARROW
        return [nn.Conv2d(channels, outputs, side, bias=False), nn.BatchNorm2d(outputs)]

    layers, inputs = pair(3, 64, 7), 64
    for width, blocks in BLOCKS:
        for block in range(blocks):
            outputs = 4 * width
            for part in ((inputs, width, 1), (width, width, 3), (width, outputs, 1)):
                layers += pair(*part)
            if block == 0:
                layers += pair(inputs, outputs, 1)
            inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs // NARROW, 1000 // NARROW))


def _with_gradients(model: nn.Module) -> nn.Module:
    for p in model.parameters():
        p.grad = torch.full(p.shape, 1e-3)
    return model


def lattice_step(base: str) -> Action:
    """A step of LatticeOptimizer, as it is by default."""
    spec = DST(Lattice.ternary())
    model = _with_gradients(quantize_(resnet50(), LatticeConfig(spec.lattice)))
    step = LatticeOptimizer(model.parameters(), spec, base=base, lr=LEARNING_RATE, seed=0).step
    return lambda: (step(), model)  # slots have their layers as long as the model is there


def torch_step(base: str, *, fused: bool) -> Action:
    """A step of torch's optimiser on float parameters of the same shapes."""
    parameters = _with_gradients(resnet50()).parameters()
    if base == "adam":
        return torch.optim.Adam(parameters, LEARNING_RATE, foreach=not fused, fused=fused).step
    heavy = 0.9 if base == "momentum" else 0.0
    return torch.optim.SGD(
        parameters, LEARNING_RATE, momentum=heavy, foreach=not fused, fused=fused
    ).step


def steps() -> dict[str, Action]:
    """What is timed: for each base optimiser, our step and both of torch's."""
    found: dict[str, Action] = {}
    for base in BASES:
        found[f"{base}: LatticeOptimizer"] = lattice_step(base)
        found[f"{base}: torch, foreach"] = torch_step(base, fused=False)
        found[f"{base}: torch, fused"] = torch_step(base, fused=True)
    return found


def layers() -> dict[str, LatticeLayer]:
    """Whose weights are read: one so small that the host takes all the time, and a large one."""
    lattice = Lattice.ternary()
    large = [Conv2d(512, 512, 3, lattice) for _ in range(2)]
    found: dict[str, LatticeLayer] = {
        "8x8": Linear(8, 8, lattice),
        "512x512x3x3 contiguous": large[0],
        "512x512x3x3 channels_last": large[1].to(memory_format=torch.channels_last),  # pyright: ignore[reportCallIssue]
    }
    for number, layer in enumerate(found.values()):
        layer.draw_levels(0, number)
    return found


def read(layer: LatticeLayer) -> Tensor:
    """The weight."""
    return layer.weight


def read_and_back(layer: LatticeLayer, gradient: Tensor) -> None:
    """The weight, and a gradient that goes back to the slot, in the weight's layout."""
    layer.slot.grad = None
    layer.weight.backward(gradient)


def readings() -> dict[str, tuple[Action, int]]:
    """What is timed of weights, and how often between two looks at the clock."""
    found: dict[str, tuple[Action, int]] = {}
    for name, layer in layers().items():
        calls = max(1, CALLS // layer.slot.numel())
        gradient = torch.ones_like(layer.weight.detach())
        found[name] = (lambda layer=layer: read(layer)), calls
        found[f"{name}, forward and backward"] = (
            (lambda layer=layer, gradient=gradient: read_and_back(layer, gradient)),
            calls,
        )
    return found


def measure(actions: dict[str, tuple[Action, int]], repeats: int, title: str) -> Times:
    """Microseconds of an action, each run once in a round; the first three rounds do not count."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in tqdm(range(repeats + 3), desc=title, disable=None):
        for name, (action, calls) in actions.items():
            start = time.perf_counter()
            for _ in range(calls):
                action()
            if number >= 3:
                times[name].append(1e6 * (time.perf_counter() - start) / calls)
    return {k: {"median": statistics.median(v), "lowest": min(v)} for k, v in times.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def step(repeats: int = 100, json: str | None = None) -> dict[str, Any]:
    """Time steps on small tensors and readings of weights on one thread, and print tables.

    Args:
        repeats: timed rounds; each runs every contestant once.
        json: file for the tables.
    """
    with _one_thread():
        of_steps = measure({k: (action, 1) for k, action in steps().items()}, repeats, "steps")
        of_weights = measure(readings(), repeats, "weights")
    parameters = list(resnet50().parameters())
    result = {
        "repeats": repeats,
        "threads": 1,
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "library": Path(native.library()._name).name,
        "tensors": len(parameters),
        "numbers": sum(p.numel() for p in parameters),
        "step_us": of_steps,
        "weight_us": of_weights,
    }
    _print(result)
    if json is not None:
        Path(json).write_text(json_module.dumps(result, indent=2) + "\n")
    return result


def _print(result: dict[str, Any]) -> None:
    titles = {
        "step_us": f"a step on {result['tensors']} tensors with {result['numbers']} numbers",
        "weight_us": "layer.weight, ternary weights in float32",
    }
    print(f"us, one thread, {result['repeats']} rounds, {result['library']}")
    for key, title in titles.items():
        print(f"\n{title:<48}{'median':>10}{'lowest':>10}")
        for name, value in result[key].items():
            print(f"  {name:<46}{value['median']:>10.1f}{value['lowest']:>10.1f}")
