"""Benchmark of a GPU in one call: what was predicted of it beside what is measured.

Kernels are compared with the CPU's and timed, each stage of the torch layer runs in a process of
its own, and networks train on synthetic images, ternary and float. What no time is left for is
named. Predictions are those of `cuda/benchmarks/predictions.json`; those of kernels follow from the
instructions in `instructions.json` beside it: a weight takes as long as its instructions need at
the device's clock, or as its bytes need at the speed of a copy, whichever is longer.
"""

from __future__ import annotations

import json as json_module
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial, reduce
from pathlib import Path
from typing import Any, NamedTuple

import torch

from qcuda.bench.memory import in_process
from qcuda.errors import require
from qcuda.validate.device import stages, timing
from qcuda.validate.device.card import ISSUED

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
TRAINED = (  # network, row of `qcuda.bench.memory`, form
    ("resnet18", "amp", "eager"),
    ("resnet18", "ternary", "eager"),
    ("resnet18", "least", "eager"),
    ("resnet18", "amp", "compiled"),
    ("resnet18", "ternary", "compiled"),
    ("resnet50", "amp", "eager"),
    ("resnet50", "ternary", "eager"),
)
BATCH, STEPS = 256, 20
SMALL = ("resnet20", "least", "eager")  # of a dry run, with two images
TIMED = ("step_time", "host_time")  # stages with a prediction: first
Parts = dict[str, Any]  # what ran, by name
Measure = Callable[[Parts], float | None]


class Prediction(NamedTuple):
    """What is expected of a number, and what it was; None if it was not measured."""

    name: str
    unit: str
    low: float
    high: float
    measured: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the number is as expected, or on which side of it."""
        if self.measured is None:
            return "not measured"
        if self.low <= self.measured <= self.high:
            return "as predicted"
        return "BELOW" if self.measured < self.low else "ABOVE"


def _at(*keys: str) -> Measure:
    """What stands there in the parts, if it does."""
    nothing: Any = {}

    def measured(parts: Parts) -> float | None:
        found = reduce(lambda here, key: here.get(key, nothing), keys, parts)
        return None if found is nothing else found  # pyright: ignore[reportReturnType]

    return measured


def _over(key: str, one: tuple[str, ...], other: tuple[str, ...]) -> Measure:
    """A number of a training over another's."""
    both = [_at(" ".join(("train", *which)), key) for which in (one, other)]

    def measured(parts: Parts) -> float | None:
        above, below = (find(parts) for find in both)
        return None if above is None or below is None else above / below

    return measured


def _differing(parts: Parts) -> float | None:
    checks = parts.get("acceptance", {}).get("checks")
    return None if checks is None else sum(bool(row["differences"]) for row in checks)


def _failed(parts: Parts) -> float | None:
    rows = [part for name, part in parts.items() if name.startswith("stage ")]
    return sum(row["result"] == "FAILED" for row in rows) if rows else None


MEASURES: dict[str, Measure] = {
    "checks that differ": _differing,
    "stages that fail": _failed,
    "copy": _at("acceptance", "copy", "bytes_per_second"),
    "step of ResNet-50, device": _at("stage step_time", "facts", "seconds"),
    "step of ResNet-50, host": _at("stage host_time", "facts", "step"),
    "ResNet-18, AMP": _at("train resnet18 amp eager", "images_per_second"),
    "ResNet-18, ternary over AMP": _over("images_per_second", TRAINED[1], TRAINED[0]),
    "ResNet-18, ternary over AMP, compiled": _over("images_per_second", TRAINED[4], TRAINED[3]),
    "ResNet-18, peak of least over AMP's": _over("peak", TRAINED[2], TRAINED[0]),
    "ResNet-50, AMP": _at("train resnet50 amp eager", "images_per_second"),
    "ResNet-50, ternary over AMP": _over("images_per_second", TRAINED[6], TRAINED[5]),
}
"""How the numbers of `predictions.json` are found in what a run measured."""


def predictions(parts: Parts) -> list[Prediction]:
    """Every prediction, with what a run measured: the file's, then those of kernels."""
    said, counted = (
        json_module.loads((FOLDER / f"{name}.json").read_text())
        for name in ("predictions", "instructions")
    )
    found: list[Prediction] = []
    for name, row in said["rows"].items():
        low, high = row["range"]
        found.append(Prediction(name, row["unit"], low, high, MEASURES[name](parts)))
    largest = timing.SIZES[0][0]
    times = {
        row["kernel"]: 1e12 * row["seconds"] / row["weights"]
        for row in parts.get("acceptance", {}).get("timings", [])
        if row["gradients"] == "normal" and row["tensors"] == 1
    }
    rate = said["multiprocessors"] * ISSUED
    for kernel, weights, _, kind in timing.cases():
        name = timing.named(kernel)
        count = counted["instructions_a_weight"].get(name.removeprefix("qt_step_"))
        if count is None or weights != largest or kind != "normal":
            continue
        high, low = (
            1e12 * max(count / (rate * clock), timing.bytes_of(kernel) / speed)
            for clock, speed in zip(said["clocks"], said["rows"]["copy"]["range"], strict=True)
        )
        found.append(Prediction(name, "ms/1e9", low, high, times.get(name)))
    return found


def _acceptance(limit: float) -> dict[str, Any]:
    """The comparison and the times of kernels, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "acceptance.json"
        words = ["--require-gpu", "--json", str(file)]
        command = [sys.executable, "-m", "qcuda.validate.acceptance", *words]
        done = subprocess.run(command, check=False, timeout=limit)
        if not file.is_file():
            raise subprocess.CalledProcessError(done.returncode, command)
        return json_module.loads(file.read_text())


def _stage(name: str, device: str, limit: float) -> stages.Row:
    row = stages.run_apart(name, device, min(limit, stages.LIMIT))
    if limit <= row["seconds"] < stages.LIMIT:  # it had less than it may take, and did not fail
        raise subprocess.TimeoutExpired(name, limit)
    print(stages.line(row), flush=True)
    return row


def _trained(what: tuple[str, str, str], device: str, limit: float) -> dict[str, float]:
    """Numbers of a training, in a process of its own."""
    (model, row, form), real = what, device == "cuda"
    batch, steps = (BATCH, STEPS) if real else (2, 1)
    compiled = form == "compiled"
    peak = in_process(model, row, batch, device, limit=limit, compiled=compiled, steps=steps)
    found = {"images_per_second": batch / peak.wall, **peak._asdict()}
    told = f"{batch / peak.wall:.1f} images/s, {peak.peak / 2**20:.1f} MiB"
    print(f"{' '.join(what):<30} batch {batch}: {told}", flush=True)
    return found


def _plan(device: str) -> Iterator[tuple[str, Callable[[float], Any]]]:
    """What runs, in order, by name: a function of the seconds that are left."""
    real = device == "cuda"
    others = [name for name in stages.STAGES if name not in (*TIMED, "throughput")]
    if real:
        yield "acceptance", _acceptance
    for name in TIMED:
        yield f"stage {name}", partial(_stage, name, device)
    for what in TRAINED if real else (SMALL,):
        yield " ".join(("train", *what)), partial(_trained, what, device)
    for name in others:
        yield f"stage {name}", partial(_stage, name, device)


def measure(device: str, seconds: float) -> tuple[Parts, list[str]]:
    """What ran in so many seconds, by name, and what did not, with the reason."""
    end, parts, missing = time.monotonic() + seconds, Parts(), list[str]()
    for name, run in _plan(device):
        left = end - time.monotonic()
        if left <= 0:
            missing.append(f"{name}: no time was left")
            continue
        try:
            parts[name] = run(left)
        except subprocess.SubprocessError as error:
            missing.append(f"{name}: {error}")
    return parts, missing


def gpu(seconds: int = 600, dry_run: bool = False, json: str | None = None) -> dict[str, Any]:
    """Measure a GPU, and print a table of predictions and measurements.

    dry_run: without a GPU; what can run does so on the CPU, small, and its times are no
    measurement. Raises InputError if there is no GPU and no dry run is asked for.
    """
    require(
        dry_run or torch.cuda.is_available(),
        "a GPU is measured where torch.cuda.is_available(), got false; --dry-run prints what is "
        "predicted, and runs what can run without",
    )
    require(FOLDER.is_dir(), f"predictions are in a checkout, got none in {FOLDER}")
    parts, missing = measure("cpu" if dry_run else "cuda", seconds)
    # Of a dry run it is known whether a stage holds, not how fast it is.
    held = {name: {"result": part["result"]} for name, part in parts.items() if "result" in part}
    rows = predictions(held if dry_run else parts)
    device = "none, a dry run on the CPU" if dry_run else torch.cuda.get_device_name()
    result = {
        "device": device, "torch": torch.__version__, "parts": parts, "not_run": missing,
        "predictions": [{**row._asdict(), "verdict": row.verdict} for row in rows],
    }  # fmt: skip
    print(table(rows, device, missing))
    if json is not None:
        Path(json).write_text(json_module.dumps(result, indent=1) + "\n")
    return result


def table(rows: list[Prediction], device: str, missing: list[str]) -> str:
    """Predictions beside measurements, then what was not run."""
    said = json_module.loads((FOLDER / "predictions.json").read_text())["device"]
    lines = [f"predicted of {said}; measured on: {device}"]
    lines.append(f"{'':<68}{'predicted':>18}{'measured':>10}")
    for row in rows:
        span = f"{row.low:.4g} .. {row.high:.4g}"
        measured = "-" if row.measured is None else f"{row.measured:.4g}"
        lines.append(f"{row.name:<68}{span:>18}{measured:>10} {row.unit:<9} {row.verdict}")
    return "\n".join([*lines, *(f"not run: {reason}" for reason in missing)])
