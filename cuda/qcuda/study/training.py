"""One run of a study: a network trained by a rule with given values from a seed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qcuda.data.config import MNIST1D
from qcuda.data.mnist1d import TASK, Opened
from qcuda.data.source import Examples
from qcuda.models.baselines import RealLayer, read_as
from qcuda.models.config import MLP, Activation
from qcuda.models.registry import build
from qcuda.models.weights import on_lattice, real, stepped, weight_layers
from qcuda.nn.latent import stop_latents
from qcuda.nn.slot import is_slot
from qcuda.optimizer import LatticeOptimizer
from qcuda.study.rules import Rule, knobs_of
from qcuda.train.gradients import evaluate, hinge_loss, restate
from qtheory.algorithms import contract
from qtheory.optimisers import Adam, Normalized

ACTIVATION = Activation(threshold=0.5, half_width=0.5)
OTHERS = 0.01  # learning rate of all parameters that are not weights, by Adam, for every rule
RESTATED = 1000  # training examples from which running statistics are taken
KEYS = {"learning_rate": "lr"}
KINDS = {64: "float32", 8: "int8", 0: "float32"}


def train(
    rule: Rule,
    values: Mapping[str, Any],
    seed: int,
    data: Opened,
    *,
    steps: int,
    hidden: int,
    tested: bool,
) -> dict[str, Any]:
    """Train, and judge the last step; what came out, fit for JSON.

    validation, test: accuracies, 0 if the loss was not finite; test only if `tested`, and then
    moves: how often a weight has changed what it shows. zeros: share of weights that show 0.
    seconds: of the processor.
    """
    began = time.process_time()
    values = {**rule.fixed, **values}
    model, optimizer = begin(rule, values, seed, hidden)
    falls = [_falling(rule, group, values) for group in optimizer.param_groups]
    finite, moves = True, 0
    shown = _shown(model) if tested else torch.empty(0)
    for step, batch in enumerate(_batches(data, seed, steps)):
        factor = (1 + math.cos(math.pi * step / steps)) / 2
        for group, first in zip(optimizer.param_groups, falls, strict=True):
            group.update({key: value * factor for key, value in first.items()})
        optimizer.zero_grad(set_to_none=True)
        loss = hinge_loss(model(batch.images), batch.labels)
        loss.backward()
        optimizer.step()
        stop_latents(model)
        if tested:
            before, shown = shown, _shown(model)
            moves += int((before != shown).sum())
        if step % 100 == 0 and not math.isfinite(loss.item()):
            finite = False
            break
    restate(model, [data.train.images[:RESTATED]])
    last = _shown(model)
    judged = {"validation": _accuracy(model, data.validation) if finite else 0.0}
    if tested:
        judged["test"] = _accuracy(model, data.test) if finite else 0.0
        judged["moves"] = moves / len(last)
    zeros = int((last == 0).sum()) / len(last)
    return {**judged, "zeros": zeros, "seconds": time.process_time() - began}


def begin(
    rule: Rule, values: Mapping[str, Any], seed: int, hidden: int
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network before its first step; its optimiser has the weights in its first group."""
    spec = None
    if rule.stem is None:
        weight = real(read_as(rule.levels, values.get("threshold", 0.5)) if rule.levels else None)
    else:
        spec = contract(rule.stem).spec(**rule.where, **knobs_of(rule, values))
        weight = on_lattice(spec.lattice, rule.where.get("readout"))
    config = MLP(hidden=hidden, activation=ACTIVATION)
    model = build(config, TASK.shape, TASK.classes, weight, stepped(ACTIVATION), seed)
    own = [p for p in model.parameters() if is_slot(p) or p.dim() == 2]
    rest = [p for p in model.parameters() if not (is_slot(p) or p.dim() == 2)]
    groups: list[dict[str, Any]] = [{"params": own}, {"params": rest}]
    rate = values["learning_rate"]
    if spec is None:
        groups[0]["lr"] = rate
        return model, torch.optim.Adam(groups, lr=OTHERS, fused=True)
    if rule.base == "normalized":
        base = Normalized(rate, values.get("momentum", 0.0), over=rule.over)
    else:
        base = Adam(rate, (values.get("momentum", 0.9), 0.999))
    kind = KINDS[rule.moments]
    optimizer = LatticeOptimizer(
        groups, spec, base=base, others=Adam(OTHERS), seed=seed, moments=kind
    )
    return model, optimizer


def opened() -> Opened:
    """The data of every study: MNIST-1D in batches of 50."""
    from qcuda.data import mnist1d

    return mnist1d.opened(MNIST1D())


def _falling(rule: Rule, group: dict[str, Any], values: Mapping[str, Any]) -> dict[str, float]:
    """By key of the group, the first value of what falls."""
    lattice = any(map(is_slot, group["params"]))
    if not lattice:
        return {"lr": group["lr"]}
    return {KEYS.get(name, name): values[name] for name in rule.falling}


def _batches(data: Opened, seed: int, steps: int) -> Iterator[Examples]:
    """So many batches, of one epoch after the other."""
    epoch = 0
    while True:
        epoch += 1
        for batch in data.epoch(seed, epoch):
            if not steps:
                return
            steps -= 1
            yield batch


def _shown(model: nn.Module) -> Tensor:
    """Every visible weight, flat."""
    layers = weight_layers(model).values()
    visible = [x.visible if isinstance(x, RealLayer) else x.weight for x in layers]
    return torch.cat([weight.detach().reshape(-1) for weight in visible])


def _accuracy(model: nn.Module, examples: Examples) -> float:
    return evaluate(model, examples)[0]
