"""A census of a discrete network: it counts levels and bits, and names floating-point leftovers."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qcuda.nn import LatticeLayer, lattice_layers
from qcuda.nn.slot import GradientSlot


@dataclass(frozen=True, slots=True)
class LayerAudit:
    """What one lattice weight holds and costs. Bits are per weight and resident while training."""

    name: str
    shape: tuple[int, ...]
    counts: tuple[int, ...]  # weights on each level
    weight_bits: float  # the state
    moment_bits: float  # the base optimiser's moments, 0 without an optimiser
    gradient_bits: float  # the gradient, 0 if there is none now
    float_copies: int  # floating-point tensors of the weight's shape that are none of the above

    @property
    def weights(self) -> int:
        """Number of weights."""
        return sum(self.counts)

    @property
    def zeros(self) -> float:
        """Share of weights on the most central level."""
        return self.counts[len(self.counts) // 2] / max(self.weights, 1)


@dataclass(frozen=True, slots=True)
class Audit:
    """All lattice layers, and the parameters that are not on a lattice."""

    layers: tuple[LayerAudit, ...]
    other_parameters: int  # floating-point parameters beside the lattice weights
    other_bits: int  # bits they take in all

    @property
    def weights(self) -> int:
        """Number of lattice weights."""
        return sum(layer.weights for layer in self.layers)

    @property
    def weight_bits(self) -> float:
        """Mean bits of a lattice weight while training, moments and gradient apart."""
        return sum(x.weight_bits * x.weights for x in self.layers) / max(self.weights, 1)

    @property
    def float_copies(self) -> int:
        """Floating-point copies of lattice weights found alive."""
        return sum(layer.float_copies for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, fit for JSON."""
        layers = [
            {name: getattr(layer, name) for name in LayerAudit.__slots__} for layer in self.layers
        ]
        return {
            "weights": self.weights,
            "weight_bits": self.weight_bits,
            "float_copies": self.float_copies,
            "other_parameters": self.other_parameters,
            "other_bits": self.other_bits,
            "layers": layers,
        }

    def __str__(self) -> str:
        rows = [
            f"{'layer':<24}{'weights':>10}{'bits':>7}{'moments':>9}{'gradient':>10}"
            f"{'zeros':>8}{'copies':>8}  weights on each level"
        ]
        for x in self.layers:
            rows.append(
                f"{x.name:<24}{x.weights:>10}{x.weight_bits:>7.2f}{x.moment_bits:>9.1f}"
                f"{x.gradient_bits:>10.1f}{x.zeros:>8.3f}{x.float_copies:>8}  "
                + " ".join(map(str, x.counts))
            )
        rows.append(
            f"{self.weights} lattice weights at {self.weight_bits:.2f} bits, "
            f"{self.float_copies} floating-point copies; "
            f"{self.other_parameters} other parameters in {self.other_bits} bits"
        )
        return "\n".join(rows)


def audit(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Audit:
    """Count levels, bits and leftovers of a model and, if given, its optimiser.

    Every weight is decoded and checked: ValueError if a code is illegal. A floating-point copy is
    any live tensor of a lattice weight's shape that is not its slot, gradient or moment; the
    garbage collector is asked for all of them, so copies held by a program are found too.
    """
    gc.collect()
    slots = {id(layer.slot) for layer in lattice_layers(model).values()}
    others = [p for p in model.parameters() if id(p) not in slots]
    plain = (Tensor, nn.Parameter)  # what torch traces with is a subclass and holds no numbers
    live = [x for x in gc.get_objects() if type(x) in plain and x.is_floating_point()]
    return Audit(
        layers=tuple(
            _audit_layer(name, layer, optimizer, live)
            for name, layer in lattice_layers(model).items()
        ),
        other_parameters=sum(p.numel() for p in others),
        other_bits=sum(8 * p.numel() * p.element_size() for p in others),
    )


def _audit_layer(
    name: str, layer: LatticeLayer, optimizer: torch.optim.Optimizer | None, live: list[Tensor]
) -> LayerAudit:
    slot, count = layer.slot, layer.slot.numel()
    state = optimizer.state.get(slot, {}) if optimizer is not None else {}
    moments = [t for t in state.values() if isinstance(t, Tensor)]
    known = {t.data_ptr() for t in moments}
    gradient = slot.grad
    if gradient is not None:
        known.add(gradient.data_ptr())
    copies = {
        t.data_ptr()
        for t in live
        if t.shape == slot.shape
        and not isinstance(t, GradientSlot)
        and t.untyped_storage().nbytes() >= t.numel() * t.element_size()
    }
    counts = torch.bincount(layer.index.reshape(-1), minlength=layer.lattice.size)
    return LayerAudit(
        name=name,
        shape=tuple(slot.shape),
        counts=tuple(counts.tolist()),
        weight_bits=8 * layer.state.numel() * layer.state.element_size() / max(count, 1),
        moment_bits=sum(8 * t.numel() * t.element_size() for t in moments) / max(count, 1),
        gradient_bits=0.0 if gradient is None else 8.0 * gradient.element_size(),
        float_copies=len(copies - known),
    )
