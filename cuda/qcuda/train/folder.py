"""The run folder: what is written, so that a run killed at any moment can go on.

    config.yaml      every key of the config: what a folder is for, written once
    versions.json    what the run was begun with
    checkpoints/     one file for each method and seed, replaced as it advances
    models/          the best model of each method and seed, safetensors, see `qcuda.load`
    log.jsonl        a line for each method, seed and epoch
    results.json     written when all is done;  *.png, the figures

Files are replaced atomically: a temporary file, fsync, rename, fsync of the folder. The log is
appended to, and written anew from the checkpoints when a run goes on, so it has every line once.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import yaml

from qcuda.errors import InputError, require
from qcuda.files import TEMPORARY, write_atomically
from qcuda.train.config import Config, make
from qcuda.train.tree import difference

MAGIC = b"QTHEORY2"  # 2: models are saved as tensors only
HEADER = len(MAGIC) + hashlib.sha256().digest_size
CONFIG, VERSIONS, LOG, RESULTS = "config.yaml", "versions.json", "log.jsonl", "results.json"
CHECKPOINTS, MODELS, LOCK = "checkpoints", "models", ".lock"


def write_json(path: Path, values: Any) -> None:
    """Replace a file by values as JSON. Raises ValueError for NaN, which JSON does not have."""
    write_atomically(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


def log_line(record: dict[str, Any]) -> bytes:
    """A record as one line of the log."""
    return (json.dumps(record, allow_nan=False) + "\n").encode()


def append(path: Path, line: bytes) -> None:
    """Add a line to the log in one write."""
    with open(path, "ab", buffering=0) as file:
        file.write(line)


def save_checkpoint(path: Path, values: dict[str, Any]) -> None:
    """Magic, SHA-256 of the rest, and the rest as torch.save writes it."""
    import torch

    buffer = io.BytesIO()
    torch.save(values, buffer)
    payload = buffer.getvalue()
    write_atomically(path, MAGIC + hashlib.sha256(payload).digest() + payload)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` was given; only tensors and plain values are ever built.

    Raises InputError, naming the file and the rule, if the file is not a whole checkpoint.
    """
    import torch

    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: a checkpoint is a readable file, got {error.strerror}") from None
    require(
        data[: len(MAGIC)] == MAGIC,
        f"{path}: a checkpoint begins with {MAGIC!r}, got {data[: len(MAGIC)]!r}",
    )
    payload, digest = data[HEADER:], hashlib.sha256(data[HEADER:]).hexdigest()
    kept = data[len(MAGIC) : HEADER].hex()
    require(
        digest == kept,
        f"{path}: a checkpoint has the SHA-256 it was written with, {kept[:16]}..., "
        f"got {digest[:16]}... over {len(payload)} bytes: it is cut short or altered",
    )
    try:
        values = torch.load(io.BytesIO(payload), weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(
            f"{path}: a checkpoint holds tensors and plain values, got {type(error).__name__}"
        ) from None
    require(
        isinstance(values, dict) and {"config", "method", "seed"} <= set(values),
        f"{path}: a checkpoint holds a config, a method and a seed, got {type(values).__name__}",
    )
    return values


def checkpoint_path(folder: Path, method: str, seed: int) -> Path:
    """Where a method and seed are kept."""
    return folder / CHECKPOINTS / f"{method}-{seed}.ckpt"


def read_config(folder: Path) -> Config:
    """The config of a run folder. Raises InputError if there is none, or it breaks a rule."""
    path = folder / CONFIG
    require(path.is_file(), f"a run folder has a {CONFIG}, got {folder}")
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path}: a config is a YAML table, got: {text}") from None
    return make(values, source=str(path))


def check(folder: Path, tree: Mapping[str, Any]) -> bool:
    """Whether the folder holds a run of this config already; nothing is touched.

    Raises InputError if it holds anything else.
    """
    require(
        folder.is_dir() or not folder.exists(), f"a run folder is a folder, got the file {folder}"
    )
    if not (folder / CONFIG).is_file():
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        left = [VERSIONS, LOCK]
        foreign = [n for n in names if n not in left and not n.endswith(TEMPORARY)]
        require(
            not foreign, f"a new run folder is empty, got {folder} with {', '.join(foreign[:3])}"
        )
        return False
    differs = difference(read_config(folder).to_dict(), tree)
    require(
        differs is None,
        f"a run folder keeps its config: in {folder}, {differs} (name another folder with --run)",
    )
    return True


@contextmanager
def opened(folder: Path, tree: Mapping[str, Any], versions: dict[str, Any]) -> Iterator[None]:
    """Hold a run folder for one process, made if it is new, without temporary files."""
    begun = check(folder, tree)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "ab")  # noqa: SIM115 (held for the whole run)
    except OSError as error:
        raise InputError(
            f"a run folder can be written to, got {folder}: {error.strerror}"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"one process at a time works in a run folder, got {folder}") from None
        if not begun:
            write_json(folder / VERSIONS, versions)
            text = yaml.safe_dump(dict(tree), sort_keys=False)
            write_atomically(folder / CONFIG, text.encode())
        (folder / CHECKPOINTS).mkdir(exist_ok=True)
        for leftover in [*folder.glob(f"*{TEMPORARY}"), *folder.glob(f"*/*{TEMPORARY}")]:
            leftover.unlink()
        yield
