"""`qtheory audit`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from qcuda.cli.common import check_writable, common, write_json
from qcuda.errors import require

SUMMARY = "count levels and bits of trained networks"


def parser() -> ArgumentParser:
    """Its options."""
    made = common("Count levels, bits and floating-point leftovers.")
    made.add_argument("path", type=str, help="run folder, or a checkpoint of one")
    made.add_argument(
        "--memory",
        type=int | None,
        default=None,
        metavar="BATCH",
        help="also tell, layer by layer, what a step with so many examples takes",
    )
    return made


def run(options: Namespace) -> int:
    """Run it; returns the exit status."""
    check_writable(options.json)
    from qcuda.train.audits import audits, memory_tables

    batch, path = options.memory, Path(options.path)
    require(batch is None or batch > 1, f"a batch has at least two examples, got {batch}")
    found = audits(path)
    tables = {} if batch is None else memory_tables(path, batch)
    written = {name: one.to_dict() for name, one in found.items()}
    for name, table in tables.items():
        written[name]["memory"] = table.to_dict()
    write_json(options.json, written)
    for name, one in found.items():
        print(f"{name}\n{one}\n")
        if name in tables:
            print(f"{tables[name]}\n")
    return 0
