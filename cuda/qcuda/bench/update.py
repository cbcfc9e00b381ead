"""Benchmark of the weight update: medians and ratios from one run of all contestants in turn."""

from __future__ import annotations

import json as json_module
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

import qcuda.nn
from qcuda.kernels import native
from qcuda.kernels.abi import Storage
from qcuda.optimizer import LatticeOptimizer
from qtheory.algorithms import DST, Spec, StochasticRounding
from qtheory.lattice import Lattice
from qtheory.optimisers import SGD, Adam, Optimiser

LEARNING_RATE, NONLINEARITY = 0.05, 3.0


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of the updates that are timed."""

    name: str
    run: Callable[[], Any]
    moved: float  # bytes read and written per weight
    resident: float  # bytes kept per weight between iterations, gradient apart


def eager_dst(code: Tensor, gradient: Tensor) -> None:
    """DST as a torch user would write it, with torch's own random numbers."""
    x = -LEARNING_RATE * gradient
    magnitude = x.abs()
    whole = magnitude.floor()
    p = torch.tanh(NONLINEARITY * (magnitude - whole))
    moves = whole + (torch.rand_like(x) < p)
    code.copy_((code + torch.sign(x) * moves).clamp(-1, 1))


def eager_adam_dst(
    code: Tensor, gradient: Tensor, first: Tensor, second: Tensor, iteration: Tensor
) -> None:
    """Adam followed by DST as a torch user would write them."""
    first.mul_(0.9).add_(gradient, alpha=0.1)
    second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    corrected = (second / (1 - 0.999**iteration)).sqrt() + 1e-8
    eager_dst(code, first / (1 - 0.9**iteration) / corrected)


def lattice_step(
    spec: Spec,
    base: Optimiser,
    gradient: Tensor,
    storage: Storage = Storage.INT8,
    moments: str = "float32",
    columns: int = 100,
) -> Callable[[], Any]:
    """A whole LatticeOptimizer step on one linear layer with as many weights as a gradient."""
    shape, readout = (gradient.numel() // columns, columns), getattr(spec, "readout", None)
    layer = qcuda.nn.Linear(*shape, spec.lattice, storage=storage, readout=readout)
    layer.slot.grad = gradient.view(layer.slot.shape)
    optimizer = LatticeOptimizer(layer.parameters(), spec, base=base, moments=moments)

    def step(keep: nn.Module = layer) -> None:  # the optimiser knows its layer only weakly
        optimizer.step()

    return step


def _fused_adam(weights: Tensor, gradient: Tensor) -> Callable[[], Any]:
    weights.grad = gradient
    return torch.optim.Adam([weights], lr=LEARNING_RATE, fused=True).step


def streaming(bytes_moved: int) -> Callable[[], Any]:
    """A plain copy that reads and writes as many bytes in all."""
    source = torch.zeros(bytes_moved // 2, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def contestants(weights: int) -> list[Contestant]:
    """The update of `weights` ternary weights: ours, what a user would otherwise take, a copy."""
    torch.manual_seed(0)
    gradient = torch.randn(weights)
    ternary = Lattice.ternary()
    dst, rounding = DST(ternary, NONLINEARITY), StochasticRounding(ternary)
    sgd, adam = SGD(LEARNING_RATE), Adam(LEARNING_RATE)
    code = torch.randint(-1, 2, (weights,), dtype=torch.int8)
    first, second, iteration = torch.zeros(weights), torch.zeros(weights), torch.tensor(10.0)
    compiled, compiled_adam = torch.compile(eager_dst), torch.compile(eager_adam_dst)
    real = torch.zeros(weights, requires_grad=True)

    def ours(
        name: str, spec: Spec, base: Optimiser, storage: Storage, moments: str = "float32"
    ) -> Contestant:
        kept = (2 if base is adam else 0) * (4 if moments == "float32" else 2)
        state = 1 if storage is Storage.INT8 else 0.25
        step = lattice_step(spec, base, gradient, storage, moments)
        return Contestant(name, step, 4 + 2 * (state + kept), state + kept)

    adam_arguments = (code, gradient, first, second, iteration)
    return [
        ours("DST, int8", dst, sgd, Storage.INT8),
        ours("DST, 2 bits", dst, sgd, Storage.TRITS),
        ours("SR, int8", rounding, sgd, Storage.INT8),
        Contestant("DST, torch eager", lambda: eager_dst(code, gradient), 6, 1),
        Contestant("DST, torch.compile", lambda: compiled(code, gradient), 6, 1),
        Contestant("copy of 6 bytes/weight", streaming(6 * weights), 6, 0),
        ours("Adam+DST, int8", dst, adam, Storage.INT8),
        ours("Adam+DST, 2 bits", dst, adam, Storage.TRITS),
        ours("Adam+DST, 2 bits, bf16 moments", dst, adam, Storage.TRITS, "bfloat16"),
        Contestant("Adam+DST, torch eager", lambda: eager_adam_dst(*adam_arguments), 22, 9),
        Contestant("Adam+DST, torch.compile", lambda: compiled_adam(*adam_arguments), 22, 9),
        Contestant("torch.optim.Adam(fused)", _fused_adam(real, gradient), 28, 12),
        Contestant("copy of 22 bytes/weight", streaming(22 * weights), 22, 0),
    ]


def measure(
    actions: Mapping[str, Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median milliseconds of each, from interleaved rounds after two that do not count."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in tqdm(range(repeats + 2), desc="rounds", disable=None, leave=False):
        for name, action in actions.items():
            start = clock()
            action()
            if number >= 2:
                times[name].append(1e3 * (clock() - start))
    return {name: statistics.median(values) for name, values in times.items()}


# (label, numerator, denominator): how many times longer the numerator takes.
RATIOS = [
    ("torch eager / DST int8", "DST, torch eager", "DST, int8"),
    ("torch.compile / DST int8", "DST, torch.compile", "DST, int8"),
    ("copy of the same bytes / DST int8", "copy of 6 bytes/weight", "DST, int8"),
    ("torch eager / Adam+DST int8", "Adam+DST, torch eager", "Adam+DST, int8"),
    ("torch.compile / Adam+DST int8", "Adam+DST, torch.compile", "Adam+DST, int8"),
    ("Adam+DST int8 / torch.optim.Adam(fused)", "Adam+DST, int8", "torch.optim.Adam(fused)"),
    ("copy of the same bytes / Adam+DST int8", "copy of 22 bytes/weight", "Adam+DST, int8"),
]


def update(
    weights: int = 10_000_000,
    repeats: int = 15,
    threads: int | None = None,
    json: str | None = None,
) -> dict[str, Any]:
    """Time one iteration of the weight update and print medians and ratios.

    Args:
        weights: number of ternary weights, a multiple of 100.
        repeats: timed rounds; each round runs every contestant once.
        threads: CPU threads; by default torch's own choice.
        json: file for the table.
    """
    if weights < 100 or weights % 100:
        raise ValueError(f"weights is a positive multiple of 100, got {weights}")
    if repeats < 1:
        raise ValueError(f"repeats is at least 1, got {repeats}")
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads is at least 1, got {threads}")
        torch.set_num_threads(threads)
    entries = contestants(weights)
    medians = measure({entry.name: entry.run for entry in entries}, repeats)
    ratios = {label: medians[a] / medians[b] for label, a, b in RATIOS}
    result = {
        "weights": weights,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "library": Path(native.library()._name).name,
        "median_ms": medians,
        "bytes_moved_per_weight": {entry.name: entry.moved for entry in entries},
        "bytes_resident_per_weight": {entry.name: entry.resident for entry in entries},
        "ratios": ratios,
    }
    print(
        f"{weights} weights, {result['threads']} threads, {repeats} rounds, {result['library']}\n"
    )
    print(f"{'update':<34}{'median ms':>10}{'GB/s':>8}{'moved B/weight':>16}{'kept B/weight':>15}")
    for entry in entries:
        speed = entry.moved * weights / medians[entry.name] / 1e6
        print(
            f"{entry.name:<34}{medians[entry.name]:>10.2f}{speed:>8.1f}"
            f"{entry.moved:>16.2f}{entry.resident:>15.2f}"
        )
    print()
    for label, ratio in ratios.items():
        print(f"{label:<44}{ratio:>8.2f}")
    if json is not None:
        Path(json).write_text(json_module.dumps(result, indent=2) + "\n")
    return result
