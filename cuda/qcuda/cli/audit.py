"""`qtheory audit`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from qcuda.cli.common import check_writable, common, write_json

SUMMARY = "count levels and bits of trained networks"


def parser() -> ArgumentParser:
    """Its options."""
    made = common("Count levels, bits and floating-point leftovers.")
    made.add_argument("path", type=str, help="run folder, or a checkpoint of one")
    return made


def run(options: Namespace) -> int:
    """Run it; returns the exit status."""
    check_writable(options.json)
    from qcuda.train.audits import audits

    found = audits(Path(options.path))
    write_json(options.json, {name: one.to_dict() for name, one in found.items()})
    for name, one in found.items():
        print(f"{name}\n{one}\n")
    return 0
