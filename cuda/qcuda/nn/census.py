"""A census of a discrete network: it counts levels and bits, and names floating-point leftovers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qcuda.nn import LatticeLayer, lattice_layers
from qcuda.nn.copies import Place, enough, find_copies, in_use


@dataclass(frozen=True, slots=True)
class LayerAudit:
    """What one lattice weight holds and costs. Bits are per weight and resident while training."""

    name: str  # of its layer, or of all layers that share the weight, joined by " = "
    shape: tuple[int, ...]
    counts: tuple[int, ...]  # weights on each visible level
    weight_bits: float  # the state
    moment_bits: float  # the base optimiser's moments, 0 without an optimiser
    gradient_bits: float  # the gradient, 0 if there is none now
    float_copies: int | None  # None: too few weights to tell a copy from chance

    @property
    def weights(self) -> int:
        """Number of weights."""
        return sum(self.counts)

    @property
    def total_bits(self) -> float:
        """Bits of a weight in all: state, moments and gradient."""
        return self.weight_bits + self.moment_bits + self.gradient_bits

    @property
    def zeros(self) -> float:
        """Share of weights on the most central visible level."""
        return self.counts[len(self.counts) // 2] / max(self.weights, 1)


@dataclass(frozen=True, slots=True)
class Audit:
    """All lattice layers, and the parameters that are not on a lattice."""

    layers: tuple[LayerAudit, ...]
    float_copies: int  # places in memory where a copy of a lattice weight begins
    searched: int  # live tensors and arrays of which each piece of memory was searched
    other_parameters: int  # floating-point parameters beside the lattice weights
    other_bits: int  # bits they take in all

    @property
    def weights(self) -> int:
        """Number of lattice weights."""
        return sum(layer.weights for layer in self.layers)

    @property
    def weight_bits(self) -> float:
        """Mean bits of a lattice weight while training, moments and gradient apart."""
        return self._mean([x.weight_bits for x in self.layers])

    @property
    def total_bits(self) -> float:
        """Mean bits of a lattice weight in all: state, moments and gradient."""
        return self._mean([x.total_bits for x in self.layers])

    def _mean(self, bits: list[float]) -> float:
        total = sum(b * x.weights for b, x in zip(bits, self.layers, strict=True))
        return total / max(self.weights, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, fit for JSON."""
        own = (*LayerAudit.__slots__, "total_bits")
        layers = [{name: getattr(layer, name) for name in own} for layer in self.layers]
        summed = ("weights", "weight_bits", "total_bits", *Audit.__slots__)
        return {name: getattr(self, name) for name in summed} | {"layers": layers}

    def __str__(self) -> str:
        rows = [
            f"{'layer':<24}{'weights':>10}{'bits':>7}{'moments':>9}{'gradient':>10}{'in all':>8}"
            f"{'zeros':>8}{'copies':>8}  weights on each level"
        ]
        for x in self.layers:
            copies = "-" if x.float_copies is None else x.float_copies
            rows.append(
                f"{x.name:<24}{x.weights:>10}{x.weight_bits:>7.2f}{x.moment_bits:>9.1f}"
                f"{x.gradient_bits:>10.1f}{x.total_bits:>8.1f}{x.zeros:>8.3f}{copies:>8}  "
                + " ".join(map(str, x.counts))
            )
        few = sum(x.float_copies is None for x in self.layers)
        rows += [
            f"{self.weights} lattice weights at {self.weight_bits:.2f} bits, "
            f"{self.total_bits:.2f} bits in all; "
            f"{self.other_parameters} other parameters in {self.other_bits} bits",
            f"{self._finding()} of {self.searched} live tensors and arrays searched"
            + (f"; not searched for {few} weights too small to tell (-)" if few else ""),
        ]
        return "\n".join(rows)

    def _finding(self) -> str:
        if self.float_copies == 0:
            return "no floating-point copy of a lattice weight in the memory"
        copies = "copies" if self.float_copies > 1 else "copy"
        return f"{self.float_copies} floating-point {copies} of a lattice weight in the memory"


def audit(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Audit:
    """Count levels, bits and leftovers of a model and, if given, its optimiser.

    Every weight is decoded and checked: ValueError if a code is illegal. A weight that layers share
    is counted once. Floating-point copies are searched for by their numbers in the memory of every
    live tensor and NumPy array, but not in gradients and moments of lattice weights, which are
    counted apart; `qcuda.nn.copies` says what a copy is, and what is not searched.
    """
    held = in_use()
    sharing: dict[int, list[str]] = {}
    for name, layer in lattice_layers(model).items():
        sharing.setdefault(id(layer.slot), []).append(name)
    layers = {" = ".join(names): model.get_submodule(names[0]) for names in sharing.values()}
    weights = [(n, layer) for n, layer in layers.items() if isinstance(layer, LatticeLayer)]
    counts = {name: _counts(layer) for name, layer in weights}
    moments = {name: _moments(layer, optimizer) for name, layer in weights}
    gradients = {name: [] if x.slot.grad is None else [x.slot.grad] for name, x in weights}
    beside = [t for name in layers for t in (*moments[name], *gradients[name])]
    copies = find_copies(
        [(name, v) for name, layer in weights if enough(counts[name]) for v in _shown(layer)],
        held,
        {(t.device, at) for t in beside for at in (t.data_ptr(), t.untyped_storage().data_ptr())},
    )
    others = [p for p in model.parameters() if id(p) not in sharing]
    return Audit(
        layers=tuple(
            LayerAudit(
                name=name,
                shape=tuple(layer.shape),
                counts=counts[name],
                weight_bits=_bits([layer.state], layer),
                moment_bits=_bits(moments[name], layer),
                gradient_bits=_bits(gradients[name], layer),
                float_copies=len(copies.get(name, ())) if enough(counts[name]) else None,
            )
            for name, layer in weights
        ),
        float_copies=len(set[Place]().union(*copies.values())),
        searched=len(held),
        other_parameters=sum(p.numel() for p in others),
        other_bits=sum(8 * p.numel() * p.element_size() for p in others),
    )


def _counts(layer: LatticeLayer) -> tuple[int, ...]:
    index = layer.visible_index.reshape(-1)
    return tuple(torch.bincount(index, minlength=layer.visible_size).tolist())


def _moments(layer: LatticeLayer, optimizer: torch.optim.Optimizer | None) -> list[Tensor]:
    """What an optimiser keeps for each weight."""
    state = {} if optimizer is None else optimizer.state.get(layer.slot, {})
    kept = [t for t in state.values() if isinstance(t, Tensor)]
    return [t for t in kept if t.numel() == layer.slot.numel()]


def _bits(tensors: list[Tensor], layer: LatticeLayer) -> float:
    bits = sum(8 * t.numel() * t.element_size() for t in tensors)
    return bits / max(layer.slot.numel(), 1)


def _shown(layer: LatticeLayer) -> list[Tensor]:
    """The numbers of which a copy is a multiple, float64: hidden and visible levels, and these
    with a scale by channel."""
    index, found = layer.index, list[Tensor]()
    if layer.readout is not None:
        found.append(torch.from_numpy(layer.lattice.levels)[index])
    found.append(layer.levels.detach().cpu().double()[index])
    if layer.scale.dim():
        found.append(found[-1] * layer._spread_scale().detach().cpu())
    return found
