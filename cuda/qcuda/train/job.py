"""The job: every method from every seed, then the test set once, the table and the figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from qcuda.data.digits import Examples, load, split
from qcuda.errors import InputError
from qcuda.files import write_atomically
from qcuda.train import folder as kept
from qcuda.train.checkpoint import pack, unpack
from qcuda.train.config import TrainConfig
from qcuda.train.loop import Trainee, start, train_epoch
from qcuda.train.progress import Progress, progress
from qcuda.train.results import summary
from qcuda.train.versions import versions


def plan(config: TrainConfig) -> list[tuple[str, int]]:
    """Every method with every seed, in the order in which they are trained."""
    return [(m, config.seed + k) for m in config.methods for k in range(config.seeds)]


def run(config: TrainConfig, run_folder: Path) -> dict[str, Any]:
    """Train what is not trained yet, test, draw; returns the results.

    A folder that holds an unfinished run of the same config goes on where its checkpoints end,
    with the bits of a run that was never interrupted. A finished one returns its results.
    Raises InputError if the folder holds anything else; then nothing is touched.
    """
    kept.check(run_folder, config)
    examples = load()
    parts = split(examples.labels, config)
    with kept.opened(run_folder, config, versions()), _threads(config.threads):
        if (run_folder / kept.RESULTS).is_file():
            return stored_results(run_folder)
        current = _resume(config, run_folder)
        with progress(len(plan(config)) * config.epochs, _epochs_done(config, current)) as show:
            if current is not None:
                show.line(f"{run_folder}: going on with {current.method} seed {current.seed}")
            train, validation = examples.take(parts.train), examples.take(parts.validation)
            for method, seed in _remaining(config, current):
                if current is None:
                    current = start(config, method, seed)
                    _log(run_folder, show, current)
                _advance(config, run_folder, current, train, validation, show)
                current = None
        results = summary(config, run_folder, examples.take(parts.test), versions())
        from qcuda.train.figures import draw

        results["figures"] = draw(results, read_log(run_folder), run_folder)
        kept.write_json(run_folder / kept.RESULTS, results)
        return results


def stored_results(run_folder: Path) -> dict[str, Any]:
    """The results of a finished run."""
    path = run_folder / kept.RESULTS
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise InputError(
            f"{path}: results are JSON; delete the file to have it made again"
        ) from None


def read_log(run_folder: Path) -> list[dict[str, Any]]:
    """Every line of a log."""
    return [json.loads(line) for line in (run_folder / kept.LOG).read_text().splitlines()]


def _advance(
    config: TrainConfig,
    run_folder: Path,
    trainee: Trainee,
    train: Examples,
    validation: Examples,
    show: Progress,
) -> None:
    if trainee.epoch == config.epochs:
        return
    path = kept.checkpoint_path(run_folder, trainee.method, trainee.seed)
    while trainee.epoch < config.epochs:
        suspected = _failing(trainee)
        train_epoch(config, trainee, train, validation)
        if _failing(trainee) and not suspected:
            show.line(_alarm(trainee))
        _log(run_folder, show, trainee)
        if trainee.epoch % config.checkpoint_every == 0 or trainee.epoch == config.epochs:
            kept.save_checkpoint(path, pack(config, trainee))
    best = trainee.best
    show.line(
        f"{trainee.method} seed {trainee.seed}: {config.epochs} epochs in {trainee.seconds:.1f} s, "
        f"best validation accuracy {best['accuracy']:.4f} in epoch {best['epoch']}"
    )


def _failing(trainee: Trainee) -> bool:
    return trainee.evidence is not None and trainee.evidence.failing


def _alarm(trainee: Trainee) -> str:
    assert trainee.evidence is not None
    return (
        f"{trainee.method} seed {trainee.seed}, epoch {trainee.epoch}: THE KERNEL IS WRONG, moves "
        f"do not have their exact law. The audit {trainee.evidence}"
    )


def _log(run_folder: Path, show: Progress, trainee: Trainee) -> None:
    record = trainee.records[-1]
    kept.append(run_folder / kept.LOG, kept.log_line(record))
    show.record(record)


def _resume(config: TrainConfig, run_folder: Path) -> Trainee | None:
    """The last trainee that has a checkpoint; the log is written anew from all of them."""
    last: Trainee | None = None
    lines: list[bytes] = []
    for method, seed in plan(config):
        path = kept.checkpoint_path(run_folder, method, seed)
        if not path.is_file():
            break
        last = unpack(path, kept.load_checkpoint(path), config)
        lines += [kept.log_line(record) for record in last.records]
    write_atomically(run_folder / kept.LOG, b"".join(lines))
    return last


def _remaining(config: TrainConfig, current: Trainee | None) -> list[tuple[str, int]]:
    """What is left of the plan, from the current trainee on."""
    whole = plan(config)
    return whole if current is None else whole[whole.index((current.method, current.seed)) :]


def _epochs_done(config: TrainConfig, current: Trainee | None) -> int:
    if current is None:
        return 0
    before = len(plan(config)) - len(_remaining(config, current))
    return before * config.epochs + current.epoch


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch and the kernels with so many threads; the caller's number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
