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
"""

from __future__ import annotations

import gc
import json as json_module
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qcuda
from qcuda.errors import require
from qcuda.models.config import MODELS, Residual
from qcuda.models.registry import build
from qcuda.models.weights import on_lattice, relu
from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms import hidden
from qtheory.optimisers import Adam, Momentum, Normalized

SIDES = {"resnet18": 224, "resnet34": 224, "resnet50": 224, "alexnet": 224}  # others: 32
CLASSES = 1000
PAGES_BACK = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
MIB = 2**20

Made = tuple[nn.Module, torch.optim.Optimizer, AbstractContextManager[Any]]


def _float(name: str, shape: tuple[int, ...]) -> Made:
    kind = MODELS[name]
    config = kind(order="torchvision") if issubclass(kind, Residual) else kind()
    model = build(config, shape, CLASSES, activation=relu)
    return model, torch.optim.Adam(model.parameters(), lr=1e-3), nullcontext()


def _ternary(name: str, shape: tuple[int, ...]) -> Made:
    model = build(name, shape, CLASSES, on_lattice(Lattice.ternary()))
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(Lattice.ternary()), base=Adam(1e-3))
    return model, optimizer, nullcontext()


def _least(name: str, shape: tuple[int, ...]) -> Made:
    model = qcuda.least_memory_(build(name, shape, CLASSES, on_lattice(Lattice.ternary())))
    optimizer = qcuda.LatticeOptimizer(
        model.parameters(), DST(Lattice.ternary()), base=Momentum(1e-3, 0.9), moments="bfloat16"
    )
    return model, optimizer, qcuda.StepInBackward(optimizer)


def _walker(name: str, shape: tuple[int, ...]) -> Made:
    eight = hidden(8)
    model = build(name, shape, CLASSES, on_lattice(eight["lattice"], eight["readout"]))
    model = qcuda.least_memory_(model, gradients=torch.bfloat16)
    optimizer = qcuda.LatticeOptimizer(
        model.parameters(), StochasticRounding(**eight), base=Normalized(0.1),
        others=Momentum(1e-3, 0.9),
    )  # fmt: skip
    return model, optimizer, qcuda.StepInBackward(optimizer)


ROWS: dict[str, Callable[[str, tuple[int, ...]], Made]] = {
    "float": _float, "amp": _float, "ternary": _ternary, "least": _least, "hidden8": _walker,
}  # fmt: skip


class Peak(NamedTuple):
    """Bytes that were resident, less those before the network was built."""

    peak: int
    kept: int  # after the forward pass of the second step
    seconds: float  # of the processor, for the second step


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def _step(made: Made, row: str, x: Tensor, y: Tensor) -> int:
    """One step; what is resident after its forward pass."""
    model, optimizer, _ = made
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, row == "amp"):
        out = model(x)
    loss = F.cross_entropy(out.float(), y)
    del out
    kept = _resident("VmRSS")
    loss.backward()
    optimizer.step()
    return kept


def measure(name: str, row: str, batch: int) -> Peak:
    """A row's numbers; of use in a process that does nothing else."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = (3, SIDES.get(name, 32), SIDES.get(name, 32))

    def train(name: str, shape: tuple[int, ...], batch: int) -> Peak:
        x = torch.randn(batch, *shape).to(memory_format=torch.channels_last)
        y = torch.randint(0, CLASSES, (batch,))
        before = _resident("VmRSS")
        model, optimizer, context = ROWS[row](name, shape)
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        made = model, optimizer, context
        Path("/proc/self/clear_refs").write_text("5")  # the mark begins anew
        kept, seconds = 0, 0.0
        with context:
            for _ in range(2):
                begin = time.process_time()
                kept = _step(made, row, x, y)
                seconds = time.process_time() - begin
        return Peak(_resident("VmHWM") - before, kept - before, seconds)

    train("resnet20", (3, 32, 32), 2)
    gc.collect()
    return train(name, shape, batch)


def memory(
    models: str = "vgg7,resnet20,resnet18", batch: int = 16, json: str | None = None
) -> None:
    """Measure all rows of some models, and print them."""
    require(sys.platform == "linux", f"memory is measured where Linux tells it, got {sys.platform}")
    names = models.split(",")
    unknown = [name for name in names if name not in MODELS]
    require(not unknown, f"models are some of {', '.join(MODELS)}, got {', '.join(unknown)}")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        print(f"{name}, batch {batch}\n{'':<10}{'peak, MiB':>12}{'kept, MiB':>12}{'CPU, s':>10}")
        for row in ROWS:
            if row == "amp" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
                print(f"{row:<10}this processor has no bfloat16 products")
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


def in_process(name: str, row: str, batch: int) -> Peak:
    """`measure` in a process of its own."""
    program = (
        "import json; from qcuda.bench.memory import measure; "
        f"print(json.dumps(measure({name!r}, {row!r}, {batch})))"
    )
    environment = {**os.environ, **PAGES_BACK}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE
    )
    return Peak(*json_module.loads(done.stdout.splitlines()[-1]))
