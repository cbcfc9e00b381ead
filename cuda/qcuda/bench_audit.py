"""Benchmark: what the audit of the law costs a training run on digits."""

from __future__ import annotations

import json as json_module
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from qcuda.train.config import TrainConfig
from qcuda.train.data import Examples, load, split
from qcuda.train.loop import Trainee, start, train_epoch

Times = dict[bool, list[list[float]]]  # audited or not; round, epoch


def audit(
    rounds: int = 3, epochs: int = 60, architecture: str = "cnn", json: str | None = None
) -> dict[str, Any]:
    """Train DST with and without the audit, epoch by epoch in turn, and print the ratio of times.

    Times are the processor's, of one thread: what else runs on the machine changes them least.
    Of each epoch the median over rounds counts; a run is the sum of its epochs.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    configs = {
        audited: TrainConfig(epochs=epochs, architecture=architecture, law_audit=audited)
        for audited in (False, True)
    }
    times = measure(configs, rounds)
    torch.set_num_threads(threads)
    medians = {
        audited: [statistics.median(epoch) for epoch in zip(*found, strict=True)]
        for audited, found in times.items()
    }
    result = {
        "architecture": architecture,
        "rounds": rounds,
        "epochs": epochs,
        "seconds": sum(medians[False]),
        "seconds_audited": sum(medians[True]),
        "ratio": sum(medians[True]) / sum(medians[False]),
        "ratio_first_epoch": medians[True][0] / medians[False][0],
        "ratios": [sum(a) / sum(b) for a, b in zip(times[True], times[False], strict=True)],
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
