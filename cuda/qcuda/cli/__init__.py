"""The command line: `qtheory train | audit | bench | reproduce | validate`.

Only the standard library and jsonargparse are imported here; a command imports what it needs when
it runs. Input that breaks a rule is one line on standard error and exit status 2; anything else
that goes wrong is a bug and keeps its trace.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module, util
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from qcuda.errors import InputError, require
from qcuda.train.config import QUICK, TrainConfig
from qcuda.train.config import options as config_options

DEFAULT_RUN = "runs/digits"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = "qtheory"
    try:
        parsed = _parse(given)
        command = f"qtheory {parsed.subcommand}"
        return COMMANDS[parsed.subcommand](parsed[parsed.subcommand])
    except InputError as error:
        text = str(error)
    except ArgumentError as error:
        text = _plain(" ".join(str(error).split()))
    except RuntimeError as error:
        if type(error).__name__ != "BackendUnavailable":
            raise
        text = str(error)
    except KeyboardInterrupt:
        print(f"{command}: interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(f"{command}: {' '.join(text.split())}", file=sys.stderr)
    return 2


def _plain(message: str) -> str:
    """A parser's message about a type as one about a rule: the key, the rule, the value."""
    for kind, rule in (("int", "a whole number"), ("float", "a finite number")):
        message = re.sub(
            rf"""Parser key "(\S+)": Expected a <class '{kind}'>\. Got value: (.*)""",
            rf"\1 is {rule}, got \2",
            message,
        )
    return message


def _parse(given: list[str]) -> Namespace:
    """Parse twice where --quick or --resume give options other defaults."""
    parser, commands = _parser()
    parsed = parser.parse_args(given)
    if parsed.subcommand != "train":
        return parsed
    options = parsed["train"]
    require(
        not (options.quick and options.resume),
        "a run goes on with the config it was begun with, got --quick and --resume",
    )
    if options.quick:
        commands["train"].set_defaults(QUICK)
    if options.resume:
        from qcuda.train.folder import read_config

        commands["train"].set_defaults(read_config(Path(options.run)).to_dict())
    return parser.parse_args(given) if options.quick or options.resume else parsed


def _new_parser(description: str) -> ArgumentParser:
    return ArgumentParser(exit_on_error=False, allow_abbrev=False, description=description)


def _parser() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    parser = _new_parser("Train networks whose weights are discrete, and prove what they do.")
    parser.prog = "qtheory"
    added = parser.add_subcommands()
    made = {
        "train": (_train_parser(), "train a ternary network and its baselines on digits"),
        "audit": (_audit_parser(), "count levels and bits of trained networks"),
        "bench": (_new_parser("Time the kernels."), "time the kernels"),
        "reproduce": (_reproduce_parser(), "run the claims of a paper and rewrite its ledger"),
        "validate": (_validate_parser(), "prove kernels against reference and law"),
    }
    for name, (command, summary) in made.items():
        added.add_subcommand(name, command, help=summary)
    _add_bench_commands(made["bench"][0])
    return parser, {name: command for name, (command, _) in made.items()}


def _common(parser: ArgumentParser) -> ArgumentParser:
    parser.add_argument("--config", action="config", help="YAML file of options")
    parser.add_argument(
        "--json", type=str | None, default=None, help="write the table here as JSON"
    )
    return parser


def _train_parser() -> ArgumentParser:
    parser = _common(
        _new_parser(
            "Train DST, full-precision and straight-through networks on handwritten digits. A run "
            "that was stopped, however, goes on with the same command."
        )
    )
    parser.add_argument("--run", type=str, default=DEFAULT_RUN, help="run folder")
    parser.add_argument("--quick", action="store_true", help="the same job in seconds")
    parser.add_argument(
        "--resume", action="store_true", help="take the options not given from the run folder"
    )
    parser.add_argument(
        "--audit-law",
        dest="law_audit",
        action="store_true",
        help="hold the moves of dst to their exact law while training; exit status 1 if they fail",
    )
    for name, kind, default, text in config_options():
        if kind is bool:
            continue
        shape = {"type": str, "nargs": "+"} if kind == list[str] else {"type": kind}
        parser.add_argument(f"--{name}", default=default, help=text, **shape)
    return parser


def _audit_parser() -> ArgumentParser:
    parser = _common(_new_parser("Count levels, bits and floating-point leftovers."))
    parser.add_argument("path", type=str, help="run folder, or a checkpoint of one")
    return parser


def _add_bench_commands(parser: ArgumentParser) -> None:
    update = _common(_new_parser("Time one optimiser step of each kernel."))
    update.add_argument("--weights", type=int, default=10_000_000, help="number of weights")
    update.add_argument("--threads", type=int | None, default=None, help="threads; null for all")
    update.add_argument("--repeats", type=int, default=15, help="timed repeats")
    commands = parser.add_subcommands(required=False)
    commands.add_subcommand("update", update, help="one optimiser step of each kernel")
    law = _common(_new_parser("Time training on digits with and without the audit of the law."))
    law.add_argument("--rounds", type=int, default=3, help="runs of each that count")
    law.add_argument("--epochs", type=int, default=60, help="epochs of a run")
    law.add_argument("--architecture", type=str, default="cnn", help="cnn or mlp")
    commands.add_subcommand("audit", law, help="what train --audit-law costs")
    chain = _common(_new_parser("Time exact chains, and measure their errors, beside others."))
    chain.add_argument(
        "--others",
        type=str | None,
        default=None,
        help="another interpreter, which has some of quantecon, pydtmc, deeptime, scipy",
    )
    chain.add_argument("--repeats", type=int, default=3, help="timed repeats; the median counts")
    chain.add_argument("--states", type=int, default=1_000_000, help="of the long chains")
    chain.add_argument("--longest", type=int, default=100_000_000, help="of the longest chain")
    commands.add_subcommand("chain", chain, help="exact Markov chains")


def _reproduce_parser() -> ArgumentParser:
    parser = _common(
        _new_parser(
            "Run the claims of papers, print each with the number to match, the number obtained "
            "and the verdict, and rewrite papers/PAPER.md and its numbers. Exit status 1 "
            "if a number is not the one to match."
        )
    )
    parser.add_argument(
        "papers", type=str, nargs="+", help="ledgers of papers/: li2017, ana, ste, ..."
    )
    parser.add_argument("--only", type=str, nargs="+", default=[], help="ids of claims to run")
    parser.add_argument("--write", type=bool, default=True, help="false: leave the ledger alone")
    return parser


def _validate_parser() -> ArgumentParser:
    parser = _common(_new_parser("Prove the kernels of a device against reference and law."))
    add = parser.add_argument
    add("--device", type=str, default="auto", help="auto, cpu or cuda; auto is all there are")
    add("--stem", type=str, nargs="+", default=[], help="algorithms to judge; default all")
    add("--deep", action="store_true", help="find a bias of 1e-4, not 1e-3; minutes, not seconds")
    add("--op", type=str | None, default=None, help="judge module:function, a torch function")
    add("--claims", type=str | None, default=None, help="the stem that --op claims to be")
    add(
        "--calibrate",
        type=int | None,
        default=None,
        help="measure both error rates, so often",
    )
    add("--seed", type=int | None, default=None, help="64 bits; default fresh ones")
    add("--draws", type=int, default=4_000_000, help="decisions to compare, for each rule")
    return parser


def train(options: Namespace) -> int:
    """`qtheory train`."""
    values = {name: options[name] for name, *_ in config_options()}
    config = TrainConfig(**values)
    check_writable(options.json)
    from qcuda.train.job import run
    from qcuda.train.results import table, unlawful

    folder = Path(options.run)
    finished = (folder / "results.json").is_file()
    results = run(config, folder)
    for method, found in results["methods"].items():
        for seed, text in zip(results["seeds"], found["tables"], strict=False):
            print(f"audit of {method}, seed {seed}, in its last iteration\n{text}\n")
    print(table(results))
    print(f"figures and results: {folder}")
    if finished:
        print("this run was finished before; name another folder with --run to train again")
    write_json(options.json, results)
    return int(unlawful(results))


def audit(options: Namespace) -> int:
    """`qtheory audit`."""
    check_writable(options.json)
    from qcuda.train.audits import audits

    found = audits(Path(options.path))
    for name, one in found.items():
        print(f"{name}\n{one}\n")
    write_json(options.json, {name: one.to_dict() for name, one in found.items()})
    return 0


BENCHMARKS = {
    "update": ("qcuda.bench.update", ("weights", "threads", "repeats")),
    "audit": ("qcuda.bench.watch", ("rounds", "epochs", "architecture")),
    "chain": ("qcuda.bench.chain", ("others", "repeats", "states", "longest")),
}


def bench(options: Namespace) -> int:
    """`qtheory bench`; without a subcommand, `update` with its defaults."""
    name = options.get("subcommand") or "update"
    module, keys = BENCHMARKS[name]
    chosen = options.get(name)
    values = {key: chosen[key] for key in (*keys, "json")} if chosen else {}
    for key, value in values.items():
        require(not isinstance(value, int) or value >= 1, f"{key} is at least 1, got {value}")
    check_writable(values.get("json"))
    try:
        _function(module, name)(**values)
    except ValueError as error:
        raise InputError(str(error)) from None
    return 0


def reproduce(options: Namespace) -> int:
    """`qtheory reproduce`."""
    require(
        util.find_spec("qpapers") is not None,
        "qtheory reproduce needs a checkout, whose papers/ it runs, got an installation without",
    )
    check_writable(options.json)
    try:
        return _function("qpapers.reproduce", "reproduce")(
            options.papers, only=options.only, write=options.write, json_file=options.json
        )
    except ValueError as error:
        raise InputError(str(error)) from None


def validate(options: Namespace) -> int:
    """`qtheory validate`."""
    check_writable(options.json)
    try:
        if options.calibrate is not None:
            return _function("qcuda.validate.calibrate", "calibrate")(
                options.calibrate, json=options.json, seed=options.seed, deep=options.deep
            )
        return _function("qcuda.validate", "validate")(
            device=options.device,
            draws=options.draws,
            json=options.json,
            stems=options.stem,
            deep=options.deep,
            op=options.op,
            claims=options.claims,
            seed=options.seed,
        )
    except ValueError as error:
        raise InputError(str(error)) from None


COMMANDS = {
    "train": train,
    "audit": audit,
    "bench": bench,
    "reproduce": reproduce,
    "validate": validate,
}


def _function(module: str, name: str) -> Any:
    """A function of a module that may not be part of this installation."""
    try:
        return getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != module:
            raise
        raise InputError(
            f"a command needs its module, got an installation without {module}.{name}"
        ) from None


def check_writable(path: str | None) -> None:
    """Raise InputError unless a file can be written there; an existing one is left as it is."""
    if path is None:
        return
    folder = Path(path).absolute().parent
    require(
        folder.is_dir() and os.access(folder, os.W_OK) and not Path(path).is_dir(),
        f"--json names a file in a folder that can be written to, got {path}",
    )


def write_json(path: str | None, values: Any) -> None:
    """Write a final table, if a file was asked for."""
    if path is not None:
        Path(path).write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
