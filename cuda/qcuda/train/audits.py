"""The audit of stored lattice models, behind `qtheory audit`."""

from __future__ import annotations

import gc
from pathlib import Path

import torch
from torch import nn

from qcuda.data import source
from qcuda.errors import require
from qcuda.memory.table import Table, memory_table
from qcuda.nn.census import Audit, audit
from qcuda.nn.embedding import Embedding
from qcuda.train import folder as kept
from qcuda.train.config import make
from qcuda.train.door import reopen
from qcuda.train.methods import METHODS


def audits(path: Path) -> dict[str, Audit]:
    """By file, the audit of the model as its last checkpoint has it.

    path: a run folder, or one checkpoint. There is no gradient in a checkpoint: its bits are 0.
    Raises InputError if there is no checkpoint of a method with weights on a lattice.
    """
    return {str(file): _audit(file) for file in _files_at(path)}


def memory_tables(path: Path, batch: int) -> dict[str, Table]:
    """By file, what a step of training with a batch takes; see `audits`."""
    return {str(file): _table(file, batch) for file in _files_at(path)}


def _files_at(path: Path) -> list[Path]:
    require(path.exists(), f"an audit is of a run folder or a checkpoint, got {path}, not there")
    files = _files(path) if path.is_dir() else [path]
    require(bool(files), f"a run folder to audit has lattice checkpoints, got none in {path}")
    return files


def _table(file: Path, batch: int) -> Table:
    config = make(kept.load_checkpoint(file)["config"], source=str(file))
    trainee, shape = reopen(file), source.task(config.data).shape
    words = any(isinstance(m, nn.Embedding | Embedding) for m in trainee.model.modules())
    inputs = torch.zeros((batch, *shape), dtype=torch.int64 if words else torch.float32)
    return memory_table(trainee.model, inputs, trainee.optimizer)


def _files(folder: Path) -> list[Path]:
    found = sorted((folder / kept.CHECKPOINTS).glob("*.ckpt"))
    return [file for file in found if _on_lattice(file.stem.rpartition("-")[0])]


def _on_lattice(method: str) -> bool:
    return method in METHODS and METHODS[method].walks


def _audit(file: Path) -> Audit:
    trainee = reopen(file)
    require(
        _on_lattice(trainee.method),
        f"{file}: an audit is of weights on a lattice, got method {trainee.method}",
    )
    gc.collect()  # tensors of the file, or of a model before this one, are not copies of weights
    return audit(trainee.model, trainee.optimizer)
