"""Benchmark of memory: how much a step of training takes, beside float networks.

Each row trains one network in a process of its own, which first trains a small one, so that what
torch needs anyway is not counted. The peak is the high-water mark of the resident memory within two
steps, less what was resident before the network was built; the batch is not counted. glibc is told
to give pages back at once. Linux alone tells such numbers. One thread.

    float      float32, ReLU, torch's order of blocks, Adam
    amp        the same under bfloat16 autocast, where the processor has bfloat16 products
    ternary    ternary weights and activations, DST on Adam, as built
    least      the same by `qcuda.least_memory_`, stepped in the backward pass, bfloat16 momentum
    hidden8    8-bit weights that are read as ternary, likewise, without moments; bfloat16 gradients

On a GPU the memory is what torch has allocated there, and every row but float is autocast.
"""

from __future__ import annotations

import gc
import json as json_module
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

import qcuda
from qcuda.errors import require
from qcuda.models.config import MODELS, Residual
from qcuda.models.registry import build
from qcuda.models.weights import on_lattice, relu
from qcuda.train.gradients import has_bfloat16
from qcuda.validate.device.card import Card
from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms import hidden
from qtheory.optimisers import SGD, Adam, Momentum, Normalized

SIDES = {"resnet18": 224, "resnet34": 224, "resnet50": 224, "alexnet": 224}  # others: 32
CLASSES = 1000
SIDE = 4096  # inputs and outputs of a layer in a chain
PAGES_BACK = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
MIB = 2**20
NO_BFLOAT16 = "this processor has no bfloat16 products"

Made = tuple[nn.Module, torch.optim.Optimizer, AbstractContextManager[Any]]


def _placed(model: nn.Module, device: str) -> nn.Module:
    return model.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _float(name: str, shape: tuple[int, ...], device: str) -> Made:
    kind = MODELS[name]
    config = kind(order="torchvision") if issubclass(kind, Residual) else kind()
    model = _placed(build(config, shape, CLASSES, activation=relu), device)
    return model, torch.optim.Adam(model.parameters(), lr=1e-3), nullcontext()


def _ternary(name: str, shape: tuple[int, ...], device: str) -> Made:
    model = _placed(build(name, shape, CLASSES, on_lattice(Lattice.ternary())), device)
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(Lattice.ternary()), base=Adam(1e-3))
    return model, optimizer, nullcontext()


def _least(name: str, shape: tuple[int, ...], device: str) -> Made:
    model = build(name, shape, CLASSES, on_lattice(Lattice.ternary()))
    model = _placed(qcuda.least_memory_(model), device)
    optimizer = qcuda.LatticeOptimizer(
        model.parameters(), DST(Lattice.ternary()), base=Momentum(1e-3, 0.9), moments="bfloat16"
    )
    return model, optimizer, qcuda.StepInBackward(optimizer)


def _walker(name: str, shape: tuple[int, ...], device: str) -> Made:
    eight = hidden(8)
    model = build(name, shape, CLASSES, on_lattice(eight["lattice"], eight["readout"]))
    model = _placed(qcuda.least_memory_(model, gradients=torch.bfloat16), device)
    optimizer = qcuda.LatticeOptimizer(
        model.parameters(), StochasticRounding(**eight), base=Normalized(0.1),
        others=Momentum(1e-3, 0.9),
    )  # fmt: skip
    return model, optimizer, qcuda.StepInBackward(optimizer)


ROWS: dict[str, Callable[[str, tuple[int, ...], str], Made]] = {
    "float": _float, "amp": _float, "ternary": _ternary, "least": _least, "hidden8": _walker,
}  # fmt: skip


class Peak(NamedTuple):
    """Bytes in use, less those before the network was built, and medians over the timed steps."""

    peak: int
    kept: int  # after the forward pass of the last step
    seconds: float  # of the processor, for a step
    wall: float  # seconds of a clock on the wall, for a step


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def _in_use(device: str) -> int:
    return torch.cuda.memory_allocated() if device == "cuda" else _resident("VmRSS")


def _highest(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else _resident("VmHWM")


def _mark_anew(device: str) -> None:
    """The highest use so far is forgotten."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def measure(
    name: str, row: str, batch: int, device: str = "cpu", *, compiled: bool = False, steps: int = 1
) -> Peak:
    """A row's numbers; of use in a process that does nothing else.

    compiled: whether torch.compile has the network; what it keeps for itself is counted on a CPU.
    steps: those that are timed, after a first one.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    side, kind, card = SIDES.get(name, 32), torch.device(device).type, Card(device)
    lower = row == "amp" or (kind == "cuda" and row != "float")

    def train(name: str, shape: tuple[int, ...], batch: int) -> Peak:
        x = torch.randn(batch, *shape, device=device).to(memory_format=torch.channels_last)
        y = torch.randint(0, CLASSES, (batch,), device=device)
        before = _in_use(kind)
        model, optimizer, context = ROWS[row](name, shape, device)
        network = torch.compile(model) if compiled else model
        times: list[tuple[float, float]] = []
        kept = 0

        def step() -> None:
            nonlocal kept
            optimizer.zero_grad()
            with torch.autocast(kind, torch.bfloat16, lower):
                out = network(x)
            loss = F.cross_entropy(out.float(), y)
            del out
            kept = _in_use(kind)
            loss.backward()
            optimizer.step()

        _mark_anew(kind)
        with context:
            for _ in range(steps + 1):
                card.synchronize()
                began = time.process_time(), time.perf_counter()
                step()
                card.synchronize()
                now = time.process_time(), time.perf_counter()
                times.append((now[0] - began[0], now[1] - began[1]))
        seconds, wall = (statistics.median(some) for some in zip(*times[1:], strict=True))
        return Peak(_highest(kind) - before, kept - before, seconds, wall)

    train("resnet20", (3, 32, 32), 2)
    gc.collect()
    return train(name, (3, side, side), batch)


def linux() -> None:
    """Raises InputError where nothing tells what is resident."""
    require(sys.platform == "linux", f"memory is measured where Linux tells it, got {sys.platform}")


def chosen(what: str, text: str, known: Iterable[str]) -> list[str]:
    """Names with commas between. Raises InputError if one is not known."""
    names, known = text.split(","), list(known)
    unknown = [name for name in names if name not in known]
    require(not unknown, f"{what} are some of {', '.join(known)}, got {', '.join(unknown)}")
    return names


def memory(
    models: str = "vgg7,resnet20,resnet18",
    batch: int = 16,
    json: str | None = None,
    weights: int | None = None,
) -> None:
    """Measure all rows of some models, or of a chain of so many weights, and print them."""
    names = chosen("models", models, MODELS)
    linux()
    if weights:
        layers = -(-weights // SIDE**2)
        one = _apart(f"measure_chain({layers}, {batch})")
        print(
            f"{layers} linear layers, {layers * SIDE**2:,} ternary weights, a step of {batch}: "
            f"peak {one.peak / MIB:.1f} MiB with the weights, {one.seconds:.1f} s of CPU"
        )
        if json is not None:
            row = {"batch": batch, "weights": layers * SIDE**2, **one._asdict()}
            Path(json).write_text(json_module.dumps(row, indent=1) + "\n")
        return
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        print(f"{name}, batch {batch}\n{'':<10}{'peak, MiB':>12}{'kept, MiB':>12}{'CPU, s':>10}")
        for row in ROWS:
            if row == "amp" and not has_bfloat16():
                print(f"{row:<10}{NO_BFLOAT16}")
                continue
            one = in_process(name, row, batch)
            found.setdefault(name, {})[row] = one._asdict()
            print(f"{row:<10}{one.peak / MIB:>12.1f}{one.kept / MIB:>12.1f}{one.seconds:>10.2f}")
        print(_ratios(found[name]))
    if json is not None:
        Path(json).write_text(json_module.dumps({"batch": batch, "rows": found}, indent=1) + "\n")


def _ratios(rows: dict[str, dict[str, float]]) -> str:
    """Peak and time of each row over those of the float rows."""
    said = []
    for row in ("ternary", "least", "hidden8"):
        beside = [
            f"{rows[row]['peak'] / rows[other]['peak']:.2f} of {other}'s"
            for other in ("float", "amp")
            if other in rows
        ]
        time = rows[row]["seconds"] / rows["float"]["seconds"]
        said.append(f"{row}: {', '.join(beside)} peak, {time:.2f} of float's time")
    return "\n".join(said)


def in_process(
    name: str, row: str, batch: int, device: str = "cpu", *, limit: float | None = None, **how: Any
) -> Peak:
    """`measure` in a process of its own; limit: seconds that it may take."""
    return _apart(f"measure({name!r}, {row!r}, {batch}, {device!r}, **{how!r})", limit)


def _apart(call: str, limit: float | None = None) -> Peak:
    """What a call of this module returns, in a process of its own."""
    program = f"import json; from qcuda.bench.memory import *; print(json.dumps({call}))"
    environment = {**os.environ, **PAGES_BACK}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE,
        timeout=limit,
    )  # fmt: skip
    return Peak(*json_module.loads(done.stdout.splitlines()[-1]))


def measure_chain(layers: int, batch: int) -> Peak:
    """A step of linear layers of SIDE x SIDE ternary weights, batch norms and stairs in between.

    Without moments, stepped in the backward pass; of use in a process that does nothing else.
    """
    torch.set_num_threads(1)
    lattice, x = Lattice.ternary(), torch.randn(batch, SIDE)
    before, parts = _in_use("cpu"), []
    for number in range(layers):
        parts += [qcuda.nn.Linear(SIDE, SIDE, lattice), nn.BatchNorm1d(SIDE), qcuda.nn.MultiStep(1)]
        parts[-3].draw_levels(number, 0)
    model = qcuda.least_memory_(nn.Sequential(*parts))
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(lattice), base=SGD(0.1))
    _mark_anew("cpu")
    began = time.process_time(), time.perf_counter()
    with qcuda.StepInBackward(optimizer):
        loss = model(x).square().mean()
        kept = _in_use("cpu")
        loss.backward()
        optimizer.step()
    now = time.process_time(), time.perf_counter()
    return Peak(_highest("cpu") - before, kept - before, now[0] - began[0], now[1] - began[1])
