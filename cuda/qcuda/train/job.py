"""The job: every method from every seed, then the test set once, the table and the figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from qcuda.data import source
from qcuda.errors import InputError
from qcuda.files import write_atomically
from qcuda.nn.model_file import save
from qcuda.train import folder as kept
from qcuda.train.alarms import alarms, failing
from qcuda.train.board import board
from qcuda.train.checkpoint import pack
from qcuda.train.config import Config, Run
from qcuda.train.door import begin, reopen
from qcuda.train.loop import Trainee, train_epoch
from qcuda.train.progress import Progress, progress
from qcuda.train.ranks import leads, place, wait
from qcuda.train.results import summary
from qcuda.train.versions import versions

Plan = list[tuple[str, int]]
Record = dict[str, Any]


def run(config: Config, run_folder: Path) -> dict[str, Any]:
    """Train what is not trained yet, test, draw; returns the results.

    A folder that holds an unfinished run of the same config goes on where its checkpoints end,
    with the bits of a run that was never interrupted. A finished one returns its results. Of
    several processes (`qcuda.train.ranks`) all train and the first writes; they share every batch.
    Raises InputError if the folder holds anything else; then nothing is touched.
    """
    tree, plan, epochs = config.to_dict(), config.run.plan, config.run.epochs
    kept.check(run_folder, tree)
    data = source.opened(config.data)
    with _held(run_folder, tree), _threads(config.run.threads):
        if (run_folder / kept.RESULTS).is_file():
            return stored_results(run_folder)
        current = _resume(plan, tree, run_folder)
        left = _remaining(plan, current)
        done = (len(plan) - len(left)) * epochs + (current.epoch if current else 0)
        with progress(len(plan) * epochs, done, shown=leads()) as show:
            if current is not None:
                show.line(f"{run_folder}: going on with {current.method} seed {current.seed}")
            for method, seed in left:
                if current is None:
                    current = begin(config, method, seed)
                    _log(run_folder, show, current)
                keep = partial(_keep, tree, run_folder)
                _advance(current, config.run, data, run_folder, keep, show)
                current = None
        seeds = {method: [seed for one, seed in plan if one == method] for method, _ in plan}
        wait()  # for the checkpoints
        trained, model = partial(_trained, tree, run_folder), partial(_keep_model, run_folder)
        results = summary(tree, seeds, trained, data.test, versions(), model)
        if not leads():
            return results
        from qcuda.train.figures import draw

        results["figures"] = draw(results, read_log(run_folder), run_folder, config.data.TITLE)
        kept.write_json(run_folder / kept.RESULTS, results)
        return results


@contextmanager
def _held(run_folder: Path, tree: Mapping[str, Any]) -> Iterator[None]:
    """Hold the run folder, the first process for all; leave together."""
    with kept.opened(run_folder, tree, versions()) if leads() else nullcontext():
        wait()
        yield
        wait()


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
    trainee: Trainee,
    run: Run,
    data: source.Source,
    run_folder: Path,
    keep: Callable[[Trainee], None],
    show: Progress,
) -> None:
    """Train to the last epoch; keep: called when it is time for a checkpoint."""
    name = f"{trainee.method}-{trainee.seed}"
    events = run_folder / "tensorboard" / name if run.tensorboard and leads() else None
    with board(events, trainee.epoch + 1) as write:
        log = partial(_log, run_folder, show, write=write)
        _epochs(trainee, run, data, keep, show, log)


def _epochs(
    trainee: Trainee,
    run: Run,
    data: source.Source,
    keep: Callable[[Trainee], None],
    show: Progress,
    log: Callable[[Trainee], None],
) -> None:
    epochs = run.epochs
    if trainee.epoch == epochs:
        return
    while trainee.epoch < epochs:
        suspected, number = failing(trainee), trainee.epoch + 1
        done = trainee.begun.get("examples", 0)
        train_epoch(
            trainee,
            data.epoch(trainee.seed, number, place(), done),
            data.validation,
            last=number == epochs,
            anew=data.epoch(trainee.seed, number, place()),
            keep=partial(keep, trainee),
            every=run.checkpoint_steps,
        )
        for text in alarms(trainee, suspected):
            show.line(text)
        if (reached := trainee.records[-1].get("went_back_to")) is not None:
            show.line(
                f"{trainee.method} seed {trainee.seed}, epoch {trainee.epoch}: nothing better for "
                f"{trainee.patience} epochs, went back to epoch {reached}"
            )
        log(trainee)
        if trainee.epoch % run.checkpoint_every == 0 or trainee.epoch == epochs:
            keep(trainee)
    best = trainee.best
    show.line(
        f"{trainee.method} seed {trainee.seed}: {epochs} epochs in {trainee.seconds:.1f} s, "
        f"best validation accuracy {best['accuracy']:.4f} in epoch {best['epoch']}"
    )


def _keep(tree: Mapping[str, Any], run_folder: Path, trainee: Trainee) -> None:
    """Write a checkpoint, the first process for all."""
    if leads():
        path = kept.checkpoint_path(run_folder, trainee.method, trainee.seed)
        kept.save_checkpoint(path, pack(tree, trainee))


def _keep_model(run_folder: Path, trainee: Trainee) -> None:
    """Write the best model, as safetensors."""
    if leads():
        path = run_folder / kept.MODELS / f"{trainee.method}-{trainee.seed}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save(trainee.model, path)


def _trained(tree: Mapping[str, Any], run_folder: Path, method: str, seed: int) -> Trainee:
    return reopen(kept.checkpoint_path(run_folder, method, seed), tree)


def _log(
    run_folder: Path,
    show: Progress,
    trainee: Trainee,
    write: Callable[[Record], None] | None = None,
) -> None:
    """A line of the log for the last epoch; write: called with its record as well."""
    record = trainee.records[-1]
    if leads():
        kept.append(run_folder / kept.LOG, kept.log_line(record))
    if write is not None:
        write(record)
    show.record(record)


def _resume(plan: Plan, tree: Mapping[str, Any], run_folder: Path) -> Trainee | None:
    """The last trainee that has a checkpoint; the log is written anew from all of them."""
    last: Trainee | None = None
    lines: list[bytes] = []
    for method, seed in plan:
        if not kept.checkpoint_path(run_folder, method, seed).is_file():
            break
        last = _trained(tree, run_folder, method, seed)
        lines += [kept.log_line(record) for record in last.records]
    if leads():
        write_atomically(run_folder / kept.LOG, b"".join(lines))
    return last


def _remaining(plan: Plan, current: Trainee | None) -> Plan:
    """What is left of the plan, from the current trainee on."""
    return plan if current is None else plan[plan.index((current.method, current.seed)) :]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch and the kernels with so many threads; the caller's number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
