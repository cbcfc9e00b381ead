"""The command line: `qtheory train | audit | bench | reproduce | validate`, one file a command.

Only light modules are imported here; a command imports what it needs when it runs. Input that
breaks a rule is one line on standard error and exit status 2; anything else that goes wrong is a
bug and keeps its trace.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from jsonargparse import ArgumentError, Namespace

from qcuda.cli import audit, bench, reproduce, train, validate
from qcuda.cli.common import new_parser
from qcuda.errors import InputError

COMMANDS = {
    "train": train,
    "audit": audit,
    "bench": bench,
    "reproduce": reproduce,
    "validate": validate,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = "qtheory"
    try:
        parsed = _parse(given)
        command = f"qtheory {parsed.subcommand}"
        return COMMANDS[parsed.subcommand].run(parsed[parsed.subcommand])
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
    parser = new_parser("Train networks whose weights are discrete, and prove what they do.")
    parser.prog = "qtheory"
    added = parser.add_subcommands()
    made = {name: command.parser() for name, command in COMMANDS.items()}
    for name, command in COMMANDS.items():
        added.add_subcommand(name, made[name], help=command.SUMMARY)
    bench.subcommands(made["bench"])
    return parser.parse_args(train.prepared(given) if given[:1] == ["train"] else given)


if __name__ == "__main__":
    sys.exit(main())
