"""The stages by name, each run in a process of its own: an error of a GPU ends more than a call.

    python3 -m qcuda.validate.device.stages NAME --device cuda

runs one and prints its row as JSON. `qcuda.validate.acceptance --torch` runs all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

import torch

from qcuda.validate.device import graphs, layers, memory, processes, speed
from qcuda.validate.device.card import Card
from qcuda.validate.device.nets import NotRun

LIMIT = 900  # seconds of a stage, compiling networks included
Stage = Callable[[Card], dict[str, Any]]
ALL: tuple[Stage, ...] = (
    graphs.cold_capture,
    layers.updates,
    layers.normalised,
    layers.visible_weights,
    layers.activations,
    layers.batch_norms,
    layers.save_and_load,
    layers.autocast,
    layers.gradient_scaler,
    layers.compiled,
    layers.compiled_with_graphs,
    graphs.nothing_waits,
    graphs.captured_step,
    graphs.new_noise,
    graphs.streams,
    graphs.threads,
    memory.full_memory,
    memory.large,
    processes.caches,
    processes.second_device,
    processes.data_parallel,
    speed.host_time,
    speed.step_time,
    speed.throughput,
)
STAGES = {stage.__name__: stage for stage in ALL}


class Row(TypedDict):
    """What became of a stage: "holds", "FAILED" or "not run", with numbers or the reason."""

    stage: str
    result: str
    seconds: float
    facts: dict[str, Any]
    reason: str


def run_here(name: str, card: Card) -> Row:
    """A stage in this process. Raises Difference, and whatever else an error may be."""
    began, facts, result, reason = time.perf_counter(), {}, "holds", ""
    try:
        facts = STAGES[name](card)
    except NotRun as error:
        result, reason = "not run", str(error)
    seconds = time.perf_counter() - began
    return Row(stage=name, result=result, seconds=seconds, facts=facts, reason=reason)


def run_apart(name: str, device: str, limit: float = LIMIT) -> Row:
    """A stage in a process of its own, which may crash or hang; limit: in seconds."""
    command = [sys.executable, "-m", "qcuda.validate.device.stages", name, "--device", device]
    environment = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # for equal bits as well
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        reason = f"it took more than {limit:.0f} seconds"
        return Row(stage=name, result="FAILED", seconds=limit, facts={}, reason=reason)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    reason = f"the process ended with {done.returncode}:\n{done.stderr[-4000:]}"
    seconds = time.perf_counter() - began
    return Row(stage=name, result="FAILED", seconds=seconds, facts={}, reason=reason)


def run_all(names: Iterable[str], device: str) -> list[Row]:
    """The stages, one after the other; each row is printed when it is known."""
    rows = []
    for name in names:
        rows.append(run_apart(name, device))
        print(line(rows[-1]), flush=True)
    failed = [row["stage"] for row in rows if row["result"] == "FAILED"]
    print(f"{len(rows)} stages, {len(failed)} failed", *failed)
    return rows


def line(row: Row) -> str:
    """A row of the table."""
    words = [f"{name} {_short(value)}" for name, value in row["facts"].items()]
    told = row["reason"].strip().splitlines()[-1:] or ["; ".join(words)]
    return f"{row['stage']:<22} {row['result']:<8} {row['seconds']:7.1f} s  {told[0]}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_short(v)}" for name, v in value.items()) + ")"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="one stage, in this process")
    parser.add_argument("stage", choices=sorted(STAGES))
    parser.add_argument("--device", default="cuda", help="torch's name of it")
    options = parser.parse_args(arguments)
    # Stages compare bits, and those of a convolution depend on the algorithm that is chosen.
    torch.backends.cudnn.deterministic = STAGES[options.stage].__module__ != speed.__name__
    print(json.dumps(run_here(options.stage, Card(options.device))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
