"""A trainee as the values of a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcuda.errors import InputError, require
from qcuda.schedules.table import adaptive
from qcuda.train.average import Average
from qcuda.train.loop import Trainee
from qcuda.watch.law_audit import restored
from qcuda.watch.replay import Replay

PARTS = {
    "config", "method", "seed", "model", "optimizer", "records", "best", "audit", "table",
    "seconds", "evidence", "schedules", "begun", "replay", "average",
}  # fmt: skip


def pack(tree: Mapping[str, Any], trainee: Trainee) -> dict[str, Any]:
    """A trainee, and the config it was begun with, as tensors and plain values."""
    return {
        "config": dict(tree),
        "method": trainee.method,
        "seed": trainee.seed,
        "model": trainee.model.state_dict(),
        "optimizer": trainee.optimizer.state_dict(),
        "records": trainee.records,
        "best": trainee.best,
        "audit": trainee.audit,
        "table": trainee.table,
        "seconds": trainee.seconds,
        "schedules": {k: s.state_dict() for k, s in adaptive(trainee.schedules).items()},
        "begun": trainee.begun,
        "replay": None if trainee.replay is None else trainee.replay.to_dict(),
        "average": None if trainee.average is None else vars(trainee.average),
        "evidence": None if trainee.evidence is None else trainee.evidence.state_dict(),
    }


def restore(path: Path, values: Mapping[str, Any], trainee: Trainee) -> None:
    """Put a trainee that has just begun where its checkpoint was.

    Raises InputError, naming the file, if a part is missing or does not fit.
    """
    require(
        set(values) == PARTS,
        f"{path}: a checkpoint has the parts {', '.join(sorted(PARTS))}, "
        f"got {', '.join(sorted(map(str, values)))}",
    )
    try:
        trainee.model.load_state_dict(values["model"])
        trainee.optimizer.load_state_dict(values["optimizer"])
        for knob, schedule in adaptive(trainee.schedules).items():
            schedule.load_state_dict(values["schedules"][knob])
        if trainee.evidence is not None:
            trainee.evidence = restored(values["evidence"])
        if trainee.replay is not None:
            trainee.replay = Replay(**values["replay"])
        if trainee.average is not None:
            trainee.average = Average(**values["average"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path}: a checkpoint fits its own config, got: {text}") from None
    for name in ("records", "best", "begun", "audit", "table", "seconds"):
        setattr(trainee, name, values[name])
