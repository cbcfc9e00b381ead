"""The command line: `qtheory train | audit | bench | data | ...`, a file each.

Only light modules are imported here; a command imports what it needs when it runs. Input that
breaks a rule, a backend that is missing and a disk or folder that refuses are one line on standard
error and exit status 2; anything else that goes wrong is a bug and keeps its trace.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from jsonargparse import ArgumentError, Namespace

import qtheory
from qcuda.cli import audit, bench, data, reproduce, study, train, validate
from qcuda.cli.common import new_parser
from qcuda.cli.output import any_encoding
from qcuda.cli.words import explained, flags, plain, spelled, without_empty_configs
from qcuda.errors import BackendUnavailable, InputError

COMMANDS = {
    "train": train,
    "audit": audit,
    "bench": bench,
    "data": data,
    "reproduce": reproduce,
    "study": study,
    "validate": validate,
}
REFUSALS = {  # of the system, about which a person can do something
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENAMETOOLONG, errno.ENOSPC,
    errno.EPERM, errno.EROFS,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = " ".join(["qtheory", *(word for word in given[:1] if word in COMMANDS)])
    try:
        with any_encoding(sys.stdout, sys.stderr):
            return _run(given, command)
    except BrokenPipeError:  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # as a program that SIGPIPE ended


def _run(given: list[str], command: str) -> int:
    try:
        parsed = _parse(given)
        return COMMANDS[parsed.subcommand].run(parsed[parsed.subcommand])
    except (InputError, BackendUnavailable) as error:
        text = str(error)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        text = ": ".join(filter(None, [error.strerror, error.filename and str(error.filename)]))
    except KeyboardInterrupt:
        print(f"{command}: interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(f"{command}: {' '.join(text.split())}", file=sys.stderr)
    return 2


def _parse(given: list[str]) -> Namespace:
    parser = new_parser("Train networks whose weights are discrete, and prove what they do.")
    parser.prog = "qtheory"
    version = getattr(qtheory, "__version__", "of a checkout that is not installed")
    parser.add_argument("--version", action="version", version=f"qtheory {version}")
    added = parser.add_subcommands()
    made = {name: command.parser() for name, command in COMMANDS.items()}
    for name, command in COMMANDS.items():
        added.add_subcommand(name, made[name], help=command.SUMMARY)
    bench.subcommands(made["bench"])
    data.subcommands(made["data"])
    study.subcommands(made["study"])
    known = flags(made[given[0]]) if given[:1] and given[0] in made else flags(parser)
    words = spelled(given, known)
    if words[:1] == ["train"]:
        words = ["train", *train.prepared(words[1:])]
    try:
        return parser.parse_args(without_empty_configs(words))
    except ArgumentError as error:
        raise InputError(explained(plain(" ".join(str(error).split())), known)) from None
