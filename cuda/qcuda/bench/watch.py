"""Benchmark of the law audit: how much longer a training run on digits takes with it."""

from __future__ import annotations

import json as json_module
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from qcuda.data.digits import Examples, load, split
from qcuda.train.config import TrainConfig
from qcuda.train.loop import Trainee, start, train_epoch

Times = dict[bool, list[list[float]]]  # audited or not; round, epoch


def audit(
    rounds: int = 3, epochs: int = 60, architecture: str = "cnn", json: str | None = None
) -> dict[str, Any]:
    """Train DST with and without the audit, epoch by epoch in turn, and print the ratio of times.

    Times are the processor's, of one thread: what else runs on the machine changes them least.
    A round has one run of each, and their ratio; the median of the rounds' ratios counts.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    configs = {
        audited: TrainConfig(epochs=epochs, architecture=architecture, law_audit=audited)
        for audited in (False, True)
    }
    times = measure(configs, rounds)
    torch.set_num_threads(threads)
    ratios = [sum(a) / sum(b) for a, b in zip(times[True], times[False], strict=True)]
    first = [a[0] / b[0] for a, b in zip(times[True], times[False], strict=True)]
    result = {
        "architecture": architecture,
        "rounds": rounds,
        "epochs": epochs,
        "seconds": statistics.median(map(sum, times[False])),
        "seconds_audited": statistics.median(map(sum, times[True])),
        "ratio": statistics.median(ratios),
        "ratio_first_epoch": statistics.median(first),
        "ratios": ratios,
    }
    print(
        f"{architecture}, {epochs} epochs, {rounds} rounds: {result['seconds']:.2f} s, audited "
        f"{result['seconds_audited']:.2f} s, ratio {result['ratio']:.4f} "
        f"({min(result['ratios']):.4f} to {max(result['ratios']):.4f}); "
        f"first epoch {result['ratio_first_epoch']:.3f}"
    )
    if json is not None:
        Path(json).write_text(json_module.dumps(result, indent=2) + "\n")
    return result


def measure(configs: dict[bool, TrainConfig], rounds: int) -> Times:
    """Seconds of every epoch; the first round warms up and does not count."""
    examples = load()
    parts = split(examples.labels, configs[False])
    train, validation = examples.take(parts.train), examples.take(parts.validation)
    times: Times = {False: [], True: []}
    for number in tqdm(range(rounds + 1), desc="rounds", disable=None):
        trainees = {key: start(config, "dst", number) for key, config in configs.items()}
        for key in configs:
            times[key].append([])
        for epoch in range(configs[False].epochs if number else 1):
            for key in (False, True) if epoch % 2 else (True, False):
                seconds = _timed(configs[key], trainees[key], train, validation)
                times[key][-1].append(seconds)
    return {key: found[1:] for key, found in times.items()}


def _timed(config: TrainConfig, trainee: Trainee, train: Examples, validation: Examples) -> float:
    began = time.process_time()
    train_epoch(config, trainee, train, validation)
    return time.process_time() - began
