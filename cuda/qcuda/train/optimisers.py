"""The optimiser of a network: torch's own for real weights, ours for weights on a lattice."""

from __future__ import annotations

import torch
from torch import nn

from qcuda.errors import InputError
from qcuda.nn.slot import GradientSlot
from qcuda.optimizer import LatticeOptimizer
from qtheory.algorithms import Spec
from qtheory.optimisers import SGD, Adam, Momentum, Optimiser


def plain(base: Optimiser, model: nn.Module) -> torch.optim.Optimizer:
    """The base optimiser for every parameter, by torch's own."""
    parameters = model.parameters()
    match base:
        case Adam(rate, betas, epsilon):
            return torch.optim.Adam(parameters, lr=rate, betas=betas, eps=epsilon, foreach=True)
        case Momentum(rate, momentum):
            return torch.optim.SGD(parameters, lr=rate, momentum=momentum, foreach=True)
        case SGD(rate):
            return torch.optim.SGD(parameters, lr=rate, foreach=True)
        case _:
            raise InputError(f"real weights are trained by SGD, Momentum or Adam, got {base}")


def on_lattice(
    base: Optimiser,
    spec: Spec,
    model: nn.Module,
    *,
    others: Optimiser | None = None,
    seed: int,
    moments: str,
) -> LatticeOptimizer:
    """Moves lattice weights by the spec and trains the rest, in one object.

    others: the base of the rest, None if it is that of lattice weights.
    """
    slots = [p for p in model.parameters() if isinstance(p, GradientSlot)]
    rest = [p for p in model.parameters() if not isinstance(p, GradientSlot)]
    groups = [{"params": slots}, {"params": rest}]
    return LatticeOptimizer(groups, spec, base=base, others=others, seed=seed, moments=moments)
