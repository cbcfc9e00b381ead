"""`qtheory data`: files of data sets."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from qcuda.cli.common import check_writable, choices, common, new_parser, write_json

SUMMARY = "write images as tar shards, index shards, fetch data sets"
SETS = ("mnist", "cifar10", "cifar100")  # of `qcuda.data.fetching`


def parser() -> ArgumentParser:
    """Its options; `subcommands` adds those below it."""
    return new_parser("Prepare data sets for training.")


def subcommands(parser: ArgumentParser) -> None:
    """What can be done, once the parser has its place below `qtheory`."""
    shards = common(
        "Write images as tar shards with an index. The source has the folders train, and val or "
        "test or both, and in them a folder for each class. A call that was stopped goes on."
    )
    shards.add_argument("source", type=str, help="folder of images")
    shards.add_argument("target", type=str, help="new folder of shards")
    shards.add_argument(
        "--size", type=int, default=256, help="of the shorter side, in pixels; none is enlarged"
    )
    shards.add_argument("--per-shard", type=int, default=5000, help="images of a shard")
    shards.add_argument("--quality", type=int, default=90, help="of JPEG, 1 to 100")
    shards.add_argument("--skip", action="store_true", help="leave out damaged images, and count")
    shards.add_argument(
        "--workers", type=int, default=-1, help="threads; 0: none, -1: one for each processor"
    )
    commands = parser.add_subcommands()
    commands.add_subcommand("shards", shards, help="images in folders as tar shards")
    index = common("Write the index of tar shards that another program wrote.")
    index.add_argument("folder", type=str, help="of train-*.tar, and val-*.tar or test-*.tar")
    commands.add_subcommand("index", index, help="the index of shards")
    get = common(
        "Fetch the files of a data set from its usual mirrors, and hold them to their checksums. "
        "Files that are there already stay."
    )
    get.add_argument("name", type=str, metavar=choices(SETS), help="which data set")
    get.add_argument("--to", type=str | None, default=None, help="folder; null: data/NAME")
    get.add_argument(
        "--from", type=str | None, default=None, help="folder that has the files of a mirror"
    )
    commands.add_subcommand("get", get, help="the files of MNIST or CIFAR")


def run(options: Namespace) -> int:
    """Run it; returns the exit status."""
    chosen = options[options.subcommand]
    check_writable(chosen.json)
    made = {"shards": _shards, "index": _index, "get": _get}[options.subcommand](chosen)
    write_json(chosen.json, made)
    return 0


def _shards(chosen: Namespace) -> dict:
    from qcuda.data.writing import write_shards

    options = {key: chosen[key] for key in ("size", "per_shard", "quality", "skip", "workers")}
    return _told(chosen.target, write_shards(Path(chosen.source), Path(chosen.target), **options))


def _index(chosen: Namespace) -> dict:
    from qcuda.data.shards import indexed

    return _told(chosen.folder, indexed(Path(chosen.folder)))


def _get(chosen: Namespace) -> dict:
    from qcuda.data.fetching import fetch

    source, target = chosen["from"], Path(chosen.to or f"data/{chosen.name}")
    paths = fetch(chosen.name, target, None if source is None else Path(source))
    print(f"{target}: {', '.join(path.name for path in paths)}")
    return {"files": [str(path) for path in paths]}


def _told(folder: str, made: dict) -> dict:
    parts = ", ".join(f"{p['samples']} in {name}" for name, p in made["parts"].items())
    skipped = f", {made['skipped']} damaged left out" if made.get("skipped") else ""
    print(f"{folder}: images of {len(made['classes'])} classes, {parts}{skipped}")
    return made
