"""Benchmark of training: images a second and memory of one network, ternary and float.

Rows are those of `qcuda.bench.memory`, each eager and compiled by torch.compile, each in a process
of its own, on images and labels that are drawn once. On a CPU one thread works, and its own time
counts beside that of a clock on the wall, which other programs spoil; medians over the steps.
"""

from __future__ import annotations

import json as json_module
import platform
from pathlib import Path
from typing import Any

import torch

from qcuda.bench.memory import MIB, NO_BFLOAT16, ROWS, chosen, in_process, linux
from qcuda.errors import require
from qcuda.models.config import MODELS
from qcuda.train.gradients import has_bfloat16

FORMS = ("eager", "compiled")
DEVICES = ("cpu", "cuda")


def train(
    model: str = "resnet18",
    batch: int = 16,
    rows: str = ",".join(ROWS),
    forms: str = ",".join(FORMS),
    steps: int = 5,
    device: str = "cpu",
    json: str | None = None,
) -> dict[str, Any]:
    """Time training steps of a network, and print a table.

    Raises InputError for a name that is not known, or a device that is not there.
    """
    wanted = [(r, f) for r in chosen("rows", rows, ROWS) for f in chosen("forms", forms, FORMS)]
    require(model in MODELS, f"a model is one of {', '.join(MODELS)}, got {model}")
    require(device in DEVICES, f"a device is one of {', '.join(DEVICES)}, got {device}")
    there = device == "cpu" or torch.cuda.is_available()
    require(there, "a device is there, got cuda, and torch.cuda.is_available() is false")
    if device == "cpu":
        linux()
    print(f"{model}, batch {batch}, {steps} steps on {device}")
    print(f"{'':<20}{'images/s':>12}{'a CPU second':>14}{'peak, MiB':>12}")
    found: list[dict[str, Any]] = []
    for row, form in wanted:
        name = f"{row} {form}"
        if device == "cpu" and row == "amp" and not has_bfloat16():
            print(f"{name:<20}{NO_BFLOAT16}")
            continue
        one = in_process(model, row, batch, device, compiled=form == "compiled", steps=steps)
        wall, processor = batch / one.wall, batch / one.seconds
        found.append({
            "row": row, "form": form, "images_per_second": wall,
            "images_per_processor_second": processor, **one._asdict(),
        })  # fmt: skip
        print(f"{name:<20}{wall:>12.1f}{processor:>14.1f}{one.peak / MIB:>12.1f}", flush=True)
    result = {
        "model": model, "batch": batch, "steps": steps, "device": _named(device),
        "torch": torch.__version__, "rows": found,
    }  # fmt: skip
    if json is not None:
        Path(json).write_text(json_module.dumps(result, indent=1) + "\n")
    return result


def _named(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return platform.processor() or platform.machine()
