"""`qtheory train`: the options are the values of a run's config, see `qcuda.train.config`.

A value stands under its full key, e.g. `--data.batch`, and where no other key ends alike, under its
last word alone, e.g. `--batch`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from qcuda.cli.common import check_writable, choices, common, write_json
from qcuda.errors import InputError, require
from qcuda.train.config import RATE, SECTIONS, Config, make, options
from qcuda.train.tree import Leaf, merged

SUMMARY = "train a ternary network and its baselines on digits"
DEFAULT_RUN = "runs/digits"

SHORT = {"--run": "--run.folder", "--data": "--data.folder"}

# Flags that are gone, and those that took their place.
GONE = {
    "architecture": "model.name",
    "schedule": f"schedules.{RATE}.name",
    "final": f"schedules.{RATE}.final",
    "law_audit": "audit-law",
}


def parser() -> ArgumentParser:
    """Its options."""
    made = common(
        "Train networks with weights on a lattice, and baselines with real weights, on handwritten "
        "digits, or what a recipe says: the first word may be a file of options, as --config is. A "
        "run that was stopped, however, goes on with the same command."
    )
    made.add_argument(
        "--run.folder", type=str, default=DEFAULT_RUN, help="run folder; --run is the same"
    )
    made.add_argument("--quick", action="store_true", help="the same job in seconds")
    made.add_argument(
        "--resume", action="store_true", help="take the options not given from the run folder"
    )
    every = options()
    for leaf in every:
        made.add_argument(*_flags(leaf.key, every), dest=leaf.key, **_shape(leaf))
    return made


def _flags(key: str, every: list[Leaf]) -> list[str]:
    """Every way to write a key: in full, the section and the last word, the last word alone.

    Tables of schedules are written in full; a learning rate may go by its method.
    """
    section, *_, last = words = key.split(".")
    alike = Counter(leaf.key.split(".")[-1] for leaf in every)[last]
    if key.startswith(f"base.{RATE}."):
        return [f"--{key}", f"--{last}_{RATE}"]
    if alike > 1 or key.startswith("schedules."):
        return [f"--{key}"]
    shorter = [f"--{section}.{last}"] if len(words) > 2 else []
    last = {"law_audit": "audit-law"}.get(last, last)
    return [f"--{key}", *shorter, f"--{last}"]


def _shape(leaf: Leaf) -> dict[str, Any]:
    default = leaf.default
    default = " ".join(map(str, default)) if isinstance(default, tuple) else default
    shape: dict[str, Any] = {
        "help": f"{leaf.text} (default: {default})", "default": argparse.SUPPRESS,
    }  # fmt: skip
    if leaf.kind is bool:
        return {**shape, "action": "store_true"}
    if leaf.choices:
        shape["metavar"] = choices(leaf.choices)
    if get_origin(leaf.kind) is tuple:
        return {**shape, "type": get_args(leaf.kind)[0], "nargs": "+"}
    return {**shape, "type": leaf.kind}


def prepared(given: list[str]) -> list[str]:
    """The words of a command line, `--run`, `--data` and the name of a recipe written in full.

    Raises InputError, naming the flag that took its place, for one that is gone.
    """
    recipe = given and not given[0].startswith("-")
    made: list[str] = ["--config", given[0]] if recipe else []
    for word in given[len(made) // 2 :]:
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and flag[2:] in GONE:
            raise InputError(f"--{GONE[flag[2:]]} is what was {flag}, got {flag}")
        made.append(SHORT.get(flag, flag) + equals + value)
    return made


def configured(options: Namespace) -> Config:
    """The config: what was given, on the config of the run folder, `--quick`, or the defaults."""
    require(
        not (options.quick and options.resume),
        "a run goes on with the config it was begun with, got --quick and --resume",
    )
    given: dict[str, Any] = {
        section: _plain(options[section]) for section in SECTIONS if section in options
    }
    require(isinstance(given["run"], Mapping), f"run is a table of keys, got {given['run']!r}")
    given["run"].pop("folder", None)
    if options.resume:
        from qcuda.train.folder import read_config

        given = merged(read_config(Path(options.run.folder)).to_dict(), given)
    return make(given, quick=options.quick)


def _plain(values: Any) -> Any:
    return values.as_dict() if isinstance(values, Namespace) else values


def run(options: Namespace) -> int:
    """Run it; returns the exit status."""
    config = configured(options)
    check_writable(options.json)
    from qcuda.train.job import run
    from qcuda.train.ranks import joined
    from qcuda.train.results import table, unlawful

    folder = Path(options.run.folder)
    finished = (folder / "results.json").is_file()
    with joined() as here:
        results = run(config, folder)
    if here.rank:
        return 0
    write_json(options.json, results)
    for method, found in results["methods"].items():
        for seed, text in zip(results["seeds"], found["tables"], strict=False):
            print(f"audit of {method}, seed {seed}, in its last iteration\n{text}\n")
    print(table(results))
    print(f"figures and results: {folder}")
    if finished:
        print("this run was finished before; name another folder with --run to train again")
    return int(unlawful(results))
