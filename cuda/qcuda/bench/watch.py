"""Benchmark of the law audit: how much longer a training run on digits takes with it."""

from __future__ import annotations

import json as json_module
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from qcuda.data.source import Source, opened
from qcuda.train.config import make
from qcuda.train.door import begin
from qcuda.train.loop import Trainee, train_epoch

Begin = Callable[[int], Trainee]  # from a seed
Times = dict[bool, list[list[float]]]  # audited or not; round, epoch


def audit(
    rounds: int = 3, epochs: int = 60, model: str = "cnn", json: str | None = None
) -> dict[str, Any]:
    """Train with and without the audit, epoch by epoch in turn, and print the ratio of times.

    Times are the processor's, of one thread: what else runs on the machine changes them least.
    A round has one run of each, and their ratio; the median of the rounds' ratios counts.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    configs = {
        audited: make({"run": {"epochs": epochs, "law_audit": audited}, "model": {"name": model}})
        for audited in (False, True)
    }
    method, data = configs[False].run.methods[0], opened(configs[False].data)
    begins = {audited: partial(begin, config, method) for audited, config in configs.items()}
    times = measure(begins, data, epochs, rounds)
    torch.set_num_threads(threads)
    ratios = [sum(a) / sum(b) for a, b in zip(times[True], times[False], strict=True)]
    first = [a[0] / b[0] for a, b in zip(times[True], times[False], strict=True)]
    result = {
        "model": model,
        "rounds": rounds,
        "epochs": epochs,
        "seconds": statistics.median(map(sum, times[False])),
        "seconds_audited": statistics.median(map(sum, times[True])),
        "ratio": statistics.median(ratios),
        "ratio_first_epoch": statistics.median(first),
        "ratios": ratios,
    }
    print(
        f"{model}, {epochs} epochs, {rounds} rounds: {result['seconds']:.2f} s, audited "
        f"{result['seconds_audited']:.2f} s, ratio {result['ratio']:.4f} "
        f"({min(result['ratios']):.4f} to {max(result['ratios']):.4f}); "
        f"first epoch {result['ratio_first_epoch']:.3f}"
    )
    if json is not None:
        Path(json).write_text(json_module.dumps(result, indent=2) + "\n")
    return result


def measure(begins: Mapping[bool, Begin], data: Source, epochs: int, rounds: int) -> Times:
    """Seconds of every epoch; the first round warms up and does not count."""
    times: Times = {False: [], True: []}
    for number in tqdm(range(rounds + 1), desc="rounds", disable=None):
        trainees = {key: begins[key](number) for key in begins}
        for key in begins:
            times[key].append([])
        for epoch in range(epochs if number else 1):
            for key in (False, True) if epoch % 2 else (True, False):
                times[key][-1].append(_timed(trainees[key], data, last=epoch + 1 == epochs))
    return {key: found[1:] for key, found in times.items()}


def _timed(trainee: Trainee, data: Source, *, last: bool) -> float:
    began = time.process_time()
    batches = data.epoch(trainee.seed, trainee.epoch + 1)
    train_epoch(trainee, batches, data.validation, last=last)
    return time.process_time() - began
