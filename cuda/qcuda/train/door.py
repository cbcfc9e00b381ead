"""Where a config is taken apart: each part goes to the one function that needs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from qcuda.data import source
from qcuda.errors import require
from qcuda.memory.least import least_memory_
from qcuda.models.baselines import read_as
from qcuda.models.floats import begin_as_, load_floats
from qcuda.models.registry import build
from qcuda.models.weights import on_lattice, real, relu, stepped
from qcuda.schedules.table import OTHERS, begun, stretched
from qcuda.train import folder, optimisers
from qcuda.train.checkpoint import restore
from qcuda.train.config import RATE, Config, Run, make
from qcuda.train.loop import Trainee, start
from qcuda.train.methods import METHODS, TEACHER, knobs, values_of
from qcuda.train.tree import difference
from qtheory.algorithms.reader import reading_of
from qtheory.schedules import Shares


def begin(config: Config, method: str, seed: int) -> Trainee:
    """A trainee before its first epoch."""
    row, spec = METHODS[method], config.algorithm.get(method)
    model = _network(config, method, seed)
    if config.learning.weights:
        begin_as_(model, _floats(config, config.learning.weights))
    if config.learning.memory == "least":
        least_memory_(model)
    rate = config.base.learning_rate[method]
    base, others, moments = config.base.of(rate), None, config.base.moments
    if row.normalized:
        base = config.normalized.of(rate, row.momentum)
        moments = "int8" if row.momentum else moments
        others = config.base.of(config.normalized.others_learning_rate)
    if spec is not None and row.walks:
        optimizer = optimisers.on_lattice(
            base, spec, model, others=others, seed=seed, moments=moments
        )
    else:
        optimizer = optimisers.plain(base, model)
    own = {} if spec is None else values_of(spec)
    first = {RATE: rate, **{name: value for name, value in own.items() if type(value) is float}}
    highest = {} if row.stem is None else {n: knob.high for n, knob in knobs(row.stem).items()}
    schedules = stretched(config.schedules, first, config.run.epochs, highest)
    if others is not None:
        apart = config.normalized.others_learning_rate
        schedules[OTHERS] = begun(config.schedules[RATE], apart, config.run.epochs)
    audited = config.run.law_audit and row.walks
    teacher = None
    if config.learning.teacher:
        teacher = _floats(config, config.learning.teacher).eval().requires_grad_(False)
    return start(
        method, seed, model, optimizer, schedules,
        audited=audited, learning=config.learning, patience=config.run.patience,
        replay=config.run.replay, teacher=teacher,
        reads=None if row.walks else spec,
        shares=_shares(config.run) if row.freezes else None,
    )  # fmt: skip


def _shares(run: Run) -> Shares:
    """Of the weights that are frozen in an epoch: as many epochs with each share, and before."""
    steps = len(run.shares) + 1
    return Shares(tuple(run.epochs * k / steps for k in range(1, steps)), run.shares)


def _network(config: Config, method: str, seed: int) -> nn.Module:
    row, task, spec = METHODS[method], source.task(config.data), config.algorithm.get(method)
    if spec is None:
        weight = real(None if row.levels is None else read_as(row.levels))
    elif row.walks:
        weight = on_lattice(spec.lattice, getattr(spec, "readout", None))
    else:
        weight = real(reading_of(spec))
    activation = stepped(config.model.activation) if row.stepped else relu
    return build(config.model, task.shape, task.classes, weight, activation, seed)


def _floats(config: Config, path: str) -> nn.Module:
    """The network of the config with real weights and activations, of a file.

    Raises InputError, naming the file, if it is not of that network.
    """
    return load_floats(_network(config, TEACHER, 0), path)


def reopen(path: Path, tree: Mapping[str, Any] | None = None) -> Trainee:
    """The trainee of a checkpoint. tree: the config that it is expected to have.

    Raises InputError, naming the file, if it is damaged, or has another config.
    """
    values = folder.load_checkpoint(path)
    own = make(values["config"], source=str(path))
    differs = None if tree is None else difference(tree, own.to_dict())
    require(differs is None, f"{path}: a checkpoint has its folder's config: {differs}")
    method, seed = values["method"], values["seed"]
    require(
        (method, seed) in own.run.plan,
        f"{path}: a checkpoint is of a method and seed of its config, got {method!r}, {seed!r}",
    )
    trainee = begin(own, method, seed)
    restore(path, values, trainee)
    return trainee
