"""Training one method from one seed, an epoch at a time."""

from __future__ import annotations

import copy
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qcuda.data.source import Examples, Held
from qcuda.distributed import data_parallel
from qcuda.errors import require
from qcuda.models.weights import level_counts, visible_indices
from qcuda.nn.activations import set_iteration
from qcuda.nn.census import audit
from qcuda.nn.latent import freeze_, stop_latents, turn_
from qcuda.nn.slot import GradientSlot
from qcuda.nn.synchronised import synchronise_norms_
from qcuda.optimizer import LatticeOptimizer
from qcuda.schedules.adaptive import Seen
from qcuda.schedules.table import Schedule, adaptive, apply, see
from qcuda.step.backward import StepInBackward
from qcuda.step.saved import COUNTS
from qcuda.train.average import Average
from qcuda.train.gradients import evaluate, gradients, objective, restate
from qcuda.train.learning import Learning
from qcuda.train.ranks import place, total, total_of
from qcuda.watch.law_audit import LawAudit, levels
from qcuda.watch.odds import predicted_moves
from qcuda.watch.replay import Replay
from qtheory.algorithms import Spec, contract
from qtheory.schedules import Shares

PROBED = 2**22  # transitions of a layer that a probe follows


@dataclass
class Trainee:
    """A model in training, and all that a checkpoint must hold to go on with the same bits."""

    method: str
    seed: int
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedules: Mapping[str, Schedule]  # by knob; those that see how training goes have a state
    records: list[dict[str, Any]] = field(default_factory=list)  # one an epoch, 0 the beginning
    best: dict[str, Any] = field(default_factory=dict)  # epoch, accuracy, loss, model, optimizer
    begun: dict[str, Any] = field(default_factory=dict)  # what has been done of the next epoch
    audit: dict[str, Any] = field(default_factory=dict)  # of the last step, gradients included
    table: str = ""  # the same audit as text
    evidence: LawAudit | None = None  # against the kernel, if moves are held to their law
    replay: Replay | None = None  # of first steps by the reference, if asked for
    seconds: float = 0.0
    learning: Learning = field(default_factory=Learning)
    teacher: nn.Module | None = None  # whose outputs are learned too
    network: nn.Module | None = None  # what training runs: of several ranks, a wrapper of the model
    patience: int = 0  # epochs without a better one before it goes back to the best; 0: never
    average: Average | None = None  # of what is real in the model, which is judged with it
    reads: Spec | None = None  # the reader through which real weights are seen
    shares: Shares | None = None  # of its weights that are frozen in an epoch

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.records) - 1

    @property
    def iterations(self) -> int:
        """Iterations of the epochs done."""
        return sum(record["iterations"] for record in self.records[1:])


def start(
    method: str,
    seed: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedules: Mapping[str, Schedule],
    *,
    audited: bool = False,
    learning: Learning | None = None,
    patience: int = 0,
    replay: int = 0,
    teacher: nn.Module | None = None,
    reads: Spec | None = None,
    shares: Shares | None = None,
) -> Trainee:
    """A trainee before its first epoch. audited: hold its moves to their exact law.

    reads, shares: see Trainee.
    replay: first steps that the reference repeats, of weights on a lattice.
    patience: epochs without a better one before it goes back to the best; 0: never.
    """
    trainee = Trainee(method, seed, model, optimizer, schedules, patience=patience)
    trainee.learning, trainee.teacher = learning or Learning(), teacher
    trainee.average = Average(trainee.learning.average) if trainee.learning.average else None
    trainee.reads, trainee.shares = reads, shares
    if place().ranks > 1:
        trainee.network = data_parallel(synchronise_norms_(model))
    trainee.evidence = LawAudit() if audited else None
    trainee.replay = Replay(replay) if replay and isinstance(optimizer, LatticeOptimizer) else None
    trainee.records.append(
        {"method": method, "seed": seed, "epoch": 0, "levels": _level_counts(model)}
    )
    return trainee


def train_epoch(
    trainee: Trainee,
    batches: Iterable[Examples],
    validation: Held,
    *,
    last: bool = False,
    anew: Iterable[Examples] = (),
    keep: Callable[[], None] | None = None,
    every: int = 0,
) -> None:
    """One epoch, its record, and the best model so far by validation.

    batches: of the epoch, without those that `trainee.begun` has done. last: whether it is the last
    epoch, after which the bits of lattice weights are counted. anew: the batches of the epoch from
    its beginning, of which norms take new statistics if they are to. keep: called after each of
    `every` steps, in which the trainee can be put into a checkpoint.
    Raises InputError if the loss is not finite.
    """
    began, model, optimizer = time.perf_counter(), trainee.model, trainee.optimizer
    epoch = trainee.epoch + 1
    scheduled = apply(trainee.schedules, optimizer, trainee.epoch)
    turn(trainee, scheduled)
    if not trainee.begun:
        if trainee.shares is not None and (share := float(trainee.shares(trainee.epoch))):
            set_iteration(model, trainee.iterations)
            freeze_(model, share)
        shown = {name: i.to(torch.uint8) for name, i in visible_indices(model).items()}
        counts = {"moved": _moved(optimizer), "lost": _lost(optimizer), "visible": shown}
        trainee.begun = {"examples": 0, "losses": [], "seconds": 0.0, **counts}

    def pause(losses: list[float], examples: int) -> None:
        assert keep is not None
        done = {"losses": losses, "examples": examples, "seconds": time.perf_counter() - began}
        trainee.begun.update(done)
        keep()

    begun = trainee.begun
    began -= begun["seconds"]
    losses, probe = _pass(trainee, batches, every if keep else 0, pause)
    mean = sum(losses) / len(losses)
    require(
        math.isfinite(mean),
        f"a training loss is finite, got {mean} in epoch {epoch} of {trainee.method} "
        f"seed {trainee.seed}: lower base.learning_rate.{trainee.method}",
    )
    if last and isinstance(optimizer, LatticeOptimizer):
        gc.collect()  # the audit counts every live tensor, also those of a model before this one
        found = audit(model, optimizer)
        trainee.audit, trainee.table = found.to_dict(), str(found)
    with trainee.average.put_into(model) if trainee.average else nullcontext():
        if trainee.learning.restate:
            restate(model, _first_images(anew, trainee.learning.restate))
        accuracy, validation_loss = evaluate(model, validation, objective(trainee.learning))
        if trainee.shares is None or trainee.shares(trainee.epoch) == trainee.shares.shares[-1]:
            _keep_best(trainee, epoch, accuracy, validation_loss)
    record: dict[str, Any] = {
        "method": trainee.method,
        "seed": trainee.seed,
        "epoch": epoch,
        **scheduled,
        "iterations": len(losses),
        "loss": mean,
        "validation_accuracy": accuracy,
        "validation_loss": validation_loss,
        "levels": _level_counts(model),
        "changed": _changed(begun["visible"], visible_indices(model)),
        "moved": [now - then for now, then in zip(_moved(optimizer), begun["moved"], strict=True)],
        "not_finite": _lost(optimizer) - begun["lost"],
        "probe": probe,
    }
    if trainee.evidence is not None:
        record.update(trainee.evidence.epoch_record())
    if adaptive(trainee.schedules):
        seen = Seen(statistics.pstdev(losses), _share(optimizer, record["moved"], len(losses)))
        see(trainee.schedules, trainee.epoch, seen)
        record.update(loss_spread=seen.spread, moved_share=seen.moved)
    if (reached := _went_back(trainee, epoch)) is not None:
        record["went_back_to"] = reached
    record["seconds"] = time.perf_counter() - began
    trainee.seconds += record["seconds"]
    trainee.records.append(record)
    trainee.begun = {}


def turn(trainee: Trainee, values: Mapping[str, Any]) -> None:
    """Have the readers of a model read with these values of their knobs, where there are any."""
    spec = trainee.reads
    if spec is not None:
        own = {knob.name: values[knob.name] for knob in contract(spec).knobs if knob.name in values}
        if own:
            turn_(trainee.model, replace(spec, **own))


def _pass(
    trainee: Trainee,
    batches: Iterable[Examples],
    every: int,
    pause: Callable[[list[float], int], None],
) -> tuple[list[float], dict[str, Any] | None]:
    """Train on every batch; the losses, and of a lattice method the probe of the last step.

    Weights that move in the backward pass are not probed, which needs gradients of all of them.

    pause: called between steps, after each of `every`, with the losses and examples so far.
    """
    model, optimizer = trainee.model, trainee.optimizer
    model.train()
    known, examples, seen = list(trainee.begun["losses"]), trainee.begun["examples"], 0
    losses: list[Tensor] = []  # read late: each reading waits for a device
    probe: dict[str, Any] | None = None

    def read() -> list[float]:
        return known + (total(torch.stack(losses)) / place().ranks).tolist()

    for batch, ends in _marked(batches):
        if trainee.reads is not None:
            set_iteration(model, trainee.iterations + len(known) + len(losses))
        optimizer.zero_grad(set_to_none=True)
        with _stepping(trainee):
            loss = gradients(trainee.network or model, batch, trainee.learning, trainee.teacher)
            probed = ends and not trainee.learning.step_in_backward
            if probed and isinstance(optimizer, LatticeOptimizer):
                probe = _probed_step(trainee, optimizer)
            else:
                _step(trainee)
        stop_latents(model)
        if trainee.average:
            trainee.average.follow(model)
        losses.append(loss)
        seen += len(batch.labels)
        if every and not ends and (len(known) + len(losses)) % every == 0:
            known, losses, examples, seen = read(), [], examples + int(total_of(seen)), 0
            pause(known, examples)
    return read(), probe


def _first_images(batches: Iterable[Examples], count: int) -> Iterator[Tensor]:
    """Images of the first batches, as few as have `count` examples together."""
    for batch in batches:
        yield batch.images
        count -= int(total_of(len(batch.labels)))
        if count <= 0:
            return


def _marked(batches: Iterable[Examples]) -> Iterator[tuple[Examples, bool]]:
    """Every batch, and whether it is the last."""
    waiting: Examples | None = None
    for batch in batches:
        if waiting is not None:
            yield waiting, False
        waiting = batch
    if waiting is not None:
        yield waiting, True


def _keep_best(trainee: Trainee, epoch: int, accuracy: float, loss: float) -> None:
    """The best epoch has the highest accuracy; among equals the lowest loss, then the first."""
    best = trainee.best
    if best and (best["accuracy"], -best["loss"]) >= (accuracy, -loss):
        return
    trainee.best = {
        "epoch": epoch,
        "accuracy": accuracy,
        "loss": loss,
        "model": copy.deepcopy(trainee.model.state_dict()),
    }
    if trainee.patience:
        trainee.best["optimizer"] = copy.deepcopy(trainee.optimizer.state_dict()["state"])


def _went_back(trainee: Trainee, epoch: int) -> int | None:
    """Go back to the best epoch if the last `patience` brought no better one; returns that epoch.

    Levels, running statistics and moments are what they were. Iterations, counts and schedules go
    on, so that what follows has words, batches and knobs of its own.
    """
    best = trainee.best
    before = [record["epoch"] for record in trainee.records if "went_back_to" in record]
    if not (trainee.patience and best) or epoch - max(best["epoch"], *before, 0) < trainee.patience:
        return None
    trainee.model.load_state_dict(best["model"])
    now = trainee.optimizer.state_dict()
    state = {
        number: {**best["optimizer"].get(number, {}), **{k: found[k] for k in COUNTS if k in found}}
        for number, found in now["state"].items()
    }
    trainee.optimizer.load_state_dict({**now, "state": state})
    if trainee.average:
        trainee.average.begin_at(trainee.model)
    return best["epoch"]


def _step(trainee: Trainee) -> None:
    """One step, audited and repeated if the run is."""
    optimizer, step = trainee.optimizer, trainee.optimizer.step
    if isinstance(optimizer, LatticeOptimizer):
        if trainee.evidence is not None:
            step = partial(trainee.evidence.step, optimizer)
        if trainee.replay is not None:
            step = partial(trainee.replay.step, optimizer, step)
    step()


def _stepping(trainee: Trainee) -> AbstractContextManager[object]:
    """Where weights move in the backward pass, if they are to."""
    if not trainee.learning.step_in_backward:
        return nullcontext()
    assert isinstance(trainee.optimizer, LatticeOptimizer)
    return StepInBackward(trainee.optimizer)


def _probed_step(trainee: Trainee, optimizer: LatticeOptimizer) -> dict[str, Any]:
    """One step, with the moves counted and, from its increments, what the exact law expects.

    Moves are those of the levels that a weight has, hidden ones too. Of a layer, the first weights
    are probed that have PROBED transitions together: all, where there are few levels.
    """
    slots: list[GradientSlot] = optimizer.slots
    spec = optimizer.next_numbers(optimizer.param_groups[0]).spec  # knobs may have a schedule
    many = PROBED // spec.lattice.size
    before = [_first(slot, many) for slot in slots]
    with optimizer.recorded(slots) as increments:
        _step(trainee)
    probe: dict[str, Any] = {"weights": [], "measured": [], "mean": [], "variance": []}
    for slot, then in zip(slots, before, strict=True):
        used = increments[slot].reshape(-1)[:many].cpu().numpy()
        mean, variance = predicted_moves(spec, then, used)
        probe["weights"].append(len(then))
        probe["measured"].append(int((then != _first(slot, many)).sum()))
        probe["mean"].append(mean)
        probe["variance"].append(variance)
    return probe


def _first(slot: GradientSlot, count: int) -> np.ndarray:
    """Indices of the first weights of a layer, in stored order, as increments are."""
    layer = slot.owner()
    assert layer is not None
    return levels(layer, 0, min(count, slot.numel()))


def _level_counts(model: nn.Module) -> dict[str, list[int]]:
    many = level_counts(model)
    return {
        name: torch.bincount(index.reshape(-1), minlength=many[name]).tolist()
        for name, index in visible_indices(model).items()
    }


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, int]:
    """By layer, how many weights are on another visible level than an epoch ago."""
    return {name: int((before[name] != after[name]).sum()) for name in before}


def _lost(optimizer: torch.optim.Optimizer) -> int:
    """Gradients of lattice weights that changed nothing, as they were not finite."""
    return int(optimizer.nan.sum()) if isinstance(optimizer, LatticeOptimizer) else 0


def _share(optimizer: torch.optim.Optimizer, moved: list[int], iterations: int) -> float | None:
    """Of lattice weights that moved in an iteration, on average; None if there are none."""
    if not isinstance(optimizer, LatticeOptimizer):
        return None
    return sum(moved) / (iterations * sum(slot.numel() for slot in optimizer.slots))


def _moved(optimizer: torch.optim.Optimizer) -> list[int]:
    return optimizer.moved.tolist() if isinstance(optimizer, LatticeOptimizer) else []
