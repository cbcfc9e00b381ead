"""A study: every rule tuned with equal effort, then trained from several seeds, and tested.

The run folder has the config, the versions, one line of `runs.jsonl` for each run that is done, and
in the end table and figure. A study that was stopped goes on where the lines end.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
import yaml

from qcuda.data.mnist1d import Opened
from qcuda.errors import require
from qcuda.files import write_atomically
from qcuda.study import training
from qcuda.study.config import Study
from qcuda.study.rules import RULES, configurations
from qcuda.train.folder import append, log_line, write_json
from qcuda.train.tree import difference, written
from qcuda.train.versions import versions

CONFIG, RUNS, RESULTS = "config.yaml", "runs.jsonl", "results.json"


class Job(NamedTuple):
    """One run. place: of its configuration among those that were tried. tested: on the test set."""

    rule: str
    place: int
    seed: int
    tested: bool


Record: TypeAlias = dict[str, Any]
Each: TypeAlias = Callable[[list[Job]], Iterator[tuple[Job, Record]]]


def run(study: Study, folder: Path, *, workers: int = 1) -> dict[str, Any]:
    """Run what is not done yet; returns the results.

    workers: processes, which change no result. Raises InputError if the folder is of another study.
    """
    _check(study, folder)
    done = _done(folder / RUNS)
    with _workers(study, workers) as each:

        def finish(jobs: Iterable[Job]) -> list[Record]:
            every = list(jobs)
            for job, record in each([job for job in every if job not in done]):
                done[job] = record
                append(folder / RUNS, log_line({**job._asdict(), **record}))
            return [done[job] for job in every]

        found = {rule: _one(study, rule, finish) for rule in study.rules}
    results = {"study": written(study), "versions": versions(), "rules": found}
    write_json(folder / RESULTS, results)
    return results


def _one(study: Study, rule: str, finish: Callable[[Iterable[Job]], list[Record]]) -> Record:
    """A rule: the configuration that is best on the validation set, and what it reaches."""
    places = range(study.configurations)
    tried = finish(Job(rule, place, study.tuning_seed, False) for place in places)
    scores = [record["validation"] for record in tried]
    best = scores.index(max(scores))
    seeds = range(study.seed, study.seed + study.seeds)
    runs = finish(Job(rule, best, seed, True) for seed in seeds)
    tests, discrete = [record["test"] for record in runs], RULES[rule].discrete
    return {
        "label": RULES[rule].label,
        "bits": RULES[rule].state_bits,
        "test": tests,
        "test_mean": statistics.fmean(tests),
        "test_spread": statistics.stdev(tests) if len(tests) > 1 else None,
        "validation": [record["validation"] for record in runs],
        "tried": scores,
        "best": values_of(study, rule, best),
        **{
            key: statistics.fmean(record[key] for record in runs) if discrete else None
            for key in ("moves", "zeros")
        },
        "seconds": statistics.fmean(record["seconds"] for record in runs),
    }


def values_of(study: Study, rule: str, place: int) -> Record:
    """One of the configurations that a study tries."""
    every = configurations(RULES[rule].space, study.configurations, study.tuning_seed)
    return every[place]


def _do(study: Study, data: Opened, job: Job) -> Record:
    return training.train(
        RULES[job.rule],
        values_of(study, job.rule, job.place),
        job.seed,
        data,
        steps=study.steps,
        hidden=study.hidden,
        tested=job.tested,
    )


_HELD: list[tuple[Study, Opened]] = []  # what a process works on


def _hold(study: Study, data: Opened) -> None:
    torch.set_num_threads(1)
    _HELD[:] = [(study, data)]


def _held(job: Job) -> Record:
    return _do(*_HELD[0], job)


@contextmanager
def _workers(study: Study, count: int) -> Iterator[Each]:
    """What does jobs, in processes if there are several, and gives results as they come."""
    require(count >= 1, f"workers is at least 1, got {count}")
    data = training.opened()
    if count == 1:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield lambda jobs: ((job, _do(study, data, job)) for job in jobs)
        finally:
            torch.set_num_threads(before)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, spawn, _hold, (study, data)) as pool:

        def each(jobs: list[Job]) -> Iterator[tuple[Job, Record]]:
            waiting = {pool.submit(_held, job): job for job in jobs}
            for one in as_completed(waiting):
                yield waiting[one], one.result()

        yield each


def _check(study: Study, folder: Path) -> None:
    """Begin a folder, or go on with one of the same study, of these or other rules and seeds."""
    require(
        not folder.exists() or folder.is_dir(), f"a run folder is a folder, got the file {folder}"
    )
    config, tree = folder / CONFIG, written(study)
    if config.is_file():
        free = {key: tree[key] for key in ("rules", "seeds", "seed")}
        kept = {**yaml.safe_load(config.read_text()), **free}
        differs = difference(kept, tree)
        require(differs is None, f"a study goes on with its own config: in {folder}, {differs}")
    else:
        strange = sorted(path.name for path in folder.glob("*"))
        require(
            not strange, f"a run folder is new, empty, or of a study, got {folder} with {strange}"
        )
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(config, yaml.safe_dump(tree, sort_keys=False).encode())


def _done(path: Path) -> dict[Job, Record]:
    """What the lines say. A last line that a crash has cut is taken away."""
    if not path.is_file():
        return {}
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        write_atomically(path, whole)
    records = [json.loads(line) for line in whole.splitlines()]
    return {Job(*(record.pop(key) for key in Job._fields)): record for record in records}
