"""A trainee as the values of a checkpoint, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qcuda.errors import InputError, require
from qcuda.train.config import TrainConfig, difference, from_dict
from qcuda.train.loop import Trainee, start
from qcuda.watch.law_audit import restored

PARTS = {
    "config", "method", "seed", "model", "optimizer", "scheduler", "counters", "records", "best",
    "audit", "table", "seconds", "evidence",
}  # fmt: skip


def pack(config: TrainConfig, trainee: Trainee) -> dict[str, Any]:
    """A trainee as tensors and plain values."""
    optimizer = trainee.optimizer
    counters = [getattr(optimizer, name) for name in ("moved", "nan") if hasattr(optimizer, name)]
    return {
        "config": config.to_dict(),
        "method": trainee.method,
        "seed": trainee.seed,
        "model": trainee.model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": trainee.scheduler.state_dict(),
        "counters": counters,
        "records": trainee.records,
        "best": trainee.best,
        "audit": trainee.audit,
        "table": trainee.table,
        "seconds": trainee.seconds,
        "evidence": None if trainee.evidence is None else trainee.evidence.state_dict(),
    }


def unpack(path: Path, values: dict[str, Any], config: TrainConfig | None = None) -> Trainee:
    """The trainee of a checkpoint.

    Raises InputError, naming the file, if a part is missing or does not fit, or the config is
    not the one expected.
    """
    require(
        set(values) == PARTS,
        f"{path}: a checkpoint has the parts {', '.join(sorted(PARTS))}, "
        f"got {', '.join(sorted(map(str, values)))}",
    )
    own = from_dict(values["config"], str(path))
    differs = None if config is None else difference(config, own)
    require(differs is None, f"{path}: a checkpoint has its folder's config: {differs}")
    trainee = start(own, values["method"], values["seed"])
    try:
        trainee.model.load_state_dict(values["model"])
        trainee.optimizer.load_state_dict(values["optimizer"])
        trainee.scheduler.load_state_dict(values["scheduler"])
        if trainee.evidence is not None:
            trainee.evidence = restored(values["evidence"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path}: a checkpoint fits its own config, got: {text}") from None
    for name, counter in zip(("moved", "nan"), values["counters"], strict=False):
        setattr(trainee.optimizer, name, counter)
    for name in ("records", "best", "audit", "table", "seconds"):
        setattr(trainee, name, values[name])
    return trainee
