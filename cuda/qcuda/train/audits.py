"""The audit of stored DST models, behind `qtheory audit`."""

from __future__ import annotations

import gc
from pathlib import Path

from qcuda.errors import require
from qcuda.nn.census import Audit, audit
from qcuda.train import folder as kept
from qcuda.train.checkpoint import unpack
from qcuda.train.loop import Trainee


def audits(path: Path) -> dict[str, Audit]:
    """By file, the audit of the model as its last checkpoint has it.

    path: a run folder, or one checkpoint. There is no gradient in a checkpoint: its bits are 0.
    Raises InputError if there is no DST checkpoint.
    """
    require(path.exists(), f"an audit is of a run folder or a checkpoint, got {path}, not there")
    files = sorted((path / kept.CHECKPOINTS).glob("dst-*.ckpt")) if path.is_dir() else [path]
    require(bool(files), f"a run folder to audit has a dst checkpoint, got none in {path}")
    return {str(file): _audit(file) for file in files}


def _audit(file: Path) -> Audit:
    trainee = _trainee(file)
    gc.collect()  # tensors of the file, or of a model before this one, are not copies of weights
    return audit(trainee.model, trainee.optimizer)


def _trainee(file: Path) -> Trainee:
    values = kept.load_checkpoint(file)
    require(values["method"] == "dst", f"{file}: an audit is of method dst, got {values['method']}")
    return unpack(file, values)
