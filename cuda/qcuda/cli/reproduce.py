"""`qtheory reproduce`."""

from __future__ import annotations

from importlib import util

from jsonargparse import ArgumentParser, Namespace

from qcuda.cli.common import check_writable, common, function
from qcuda.errors import InputError, require

SUMMARY = "run the claims of a paper and rewrite its ledger"


def parser() -> ArgumentParser:
    """Its options."""
    made = common(
        "Run the claims of papers, print each with the number to match, the number obtained "
        "and the verdict, and rewrite papers/PAPER.md and its numbers. Exit status 1 "
        "if a number is not the one to match."
    )
    made.add_argument(
        "papers", type=str, nargs="+", help="ledgers of papers/: li2017, yin2019, ..."
    )
    made.add_argument("--only", type=str, nargs="+", default=[], help="ids of claims to run")
    made.add_argument("--write", type=bool, default=True, help="false: leave the ledger alone")
    return made


def run(options: Namespace) -> int:
    """Run it; returns the exit status."""
    require(
        util.find_spec("qpapers") is not None,
        "a checkout is needed, whose papers/ are run, got an installation without them",
    )
    check_writable(options.json)
    try:
        return function("qpapers.reproduce", "reproduce")(
            options.papers, only=options.only, write=options.write, json_file=options.json
        )
    except ValueError as error:
        raise InputError(str(error)) from None
