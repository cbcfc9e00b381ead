"""`qtheory study rules`: the options are the values of `qcuda.study.config.Study`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from qcuda.cli.common import check_writable, choices, common, new_parser, write_json
from qcuda.errors import require
from qcuda.study.config import Study
from qcuda.study.rules import RULES
from qcuda.train.tree import leaves, read

SUMMARY = "compare methods with equal effort"
DEFAULT_RUN = "runs/rules"


def parser() -> ArgumentParser:
    """Its options; `subcommands` adds those below it."""
    return new_parser("Compare methods, each tuned with equal effort.")


def subcommands(parser: ArgumentParser) -> None:
    """The studies, once the parser has its place below `qtheory`."""
    rules = common(
        "Train an MLP on MNIST-1D with every update rule: some configurations on one seed, judged "
        "on the validation set, then the best one from several seeds, and tested. A study that was "
        "stopped goes on with the same command."
    )
    rules.add_argument("--run", type=str, default=DEFAULT_RUN, help="run folder")
    rules.add_argument("--workers", type=int, default=1, help="processes; no result depends on it")
    rules.add_argument("--quick", action="store_true", help="the same study in minutes")
    for leaf in leaves(Study, ""):
        several = get_origin(leaf.kind) is tuple
        shape: dict[str, Any] = {"nargs": "+", "metavar": choices(RULES)} if several else {}
        default = " ".join(leaf.default) if several else leaf.default
        rules.add_argument(
            f"--{leaf.key.strip('.')}",
            type=get_args(leaf.kind)[0] if several else leaf.kind,
            default=argparse.SUPPRESS,
            help=f"{leaf.text} (default: {default})",
            **shape,
        )
    commands = parser.add_subcommands()
    commands.add_subcommand("rules", rules, help="update rules of ternary weights")


def run(options: Namespace) -> int:
    """Run it; returns the exit status."""
    given = options[options.subcommand].as_dict()
    folder, workers, json = (given.pop(key) for key in ("run", "workers", "json"))
    quick = given.pop("quick")
    given.pop("config", None)
    study = read(Study, given, "study", quick=quick)
    check_writable(json)
    require(workers >= 1, f"workers is at least 1, got {workers}")
    from qcuda.study import job, report

    results = job.run(study, Path(folder), workers=workers)
    report.write(results, Path(folder))
    write_json(json, results)
    print(report.table(results))
    print(f"table, figure and results: {folder}")
    return 0
