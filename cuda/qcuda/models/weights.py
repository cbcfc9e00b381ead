"""Weights and activations of a network, made in the way that a method holds them.

A network is the same for every method: it is handed two functions, one that makes a layer for a
weight's shape, and one that makes an activation.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from torch import Tensor, nn

import qcuda.nn as lattice_nn
from qcuda.models.baselines import RealLayer, draw_layer
from qcuda.models.config import Activation, Kind
from qtheory.algorithms.reader import Reading
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair

WeightLayer = lattice_nn.LatticeLayer | RealLayer | nn.Linear | nn.Conv2d
KINDS = (lattice_nn.LatticeLayer, RealLayer, nn.Linear, nn.Conv2d)


class MakeWeight(Protocol):
    """A layer for a weight's shape, as torch has it: linear, or a convolution.

    scaled: whether the outputs have about the variance of the inputs, where no batch norm follows:
    levels -1, 0, +1 are multiplied by a power of two, see `scale_of`. bias: a real one, or none.
    stride, groups: of a convolution; padding: in pixels at each end, by default half a filter, so
    that its image keeps its size.
    """

    def __call__(
        self,
        shape: tuple[int, ...],
        *,
        scaled: bool = False,
        bias: bool = False,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
    ) -> WeightLayer: ...


class MakeActivation(Protocol):
    """An activation. most: where one with real values ends, if it does."""

    def __call__(self, most: float | None = None) -> nn.Module: ...


def scale_of(shape: tuple[int, ...]) -> float:
    """The power of two nearest to sqrt(2 / fan in), by its exponent.

    A sum of `fan in` products of uniform ternary weights, whose variance is 2/3, and of inputs
    whose mean square is 3/4, as of ternary activations, has the variance fan in / 2.
    """
    return 2.0 ** -round(math.log2(math.prod(shape[1:]) / 2) / 2)


def on_lattice(lattice: Lattice, readout: Stair | None = None) -> MakeWeight:
    """Linear layers and convolutions on a lattice.

    readout: the stair through which its levels are seen, None if they are seen themselves.
    """

    def make(
        shape: tuple[int, ...], *, scaled: bool = False, bias: bool = False, **window: Any
    ) -> lattice_nn.LatticeLayer:
        scale = scale_of(shape) if scaled else 1.0
        kind = lattice_nn.Conv2d if shape[2:] else lattice_nn.Linear
        sizes = _sizes(shape, **window)
        return kind(**sizes, lattice=lattice, scale=scale, bias=bias, readout=readout)

    return make


def real(reading: Reading | None) -> MakeWeight:
    """Layers with real weights, which the forward pass sees as a reader does.

    None: it sees the weights themselves; then they are torch's own layers, with its names, which
    `qcuda.quantize_` converts.
    """

    def make(
        shape: tuple[int, ...], *, scaled: bool = False, bias: bool = False, **window: Any
    ) -> RealLayer | nn.Linear | nn.Conv2d:
        if reading is None:
            kind = nn.Conv2d if shape[2:] else nn.Linear
            return kind(**_sizes(shape, **window), bias=bias)
        scale, sizes = scale_of(shape) if scaled else 1.0, _sizes(shape, **window)
        kept = {name: sizes[name] for name in ("stride", "padding", "groups") if name in sizes}
        return RealLayer(shape, reading, scale=scale, bias=bias, **kept)

    return make


def of_kind(how: Kind, weight: MakeWeight) -> MakeWeight:
    """How a first or last layer is made: as the others, or with real weights."""
    return weight if how == "quantised" else real(None)


def _sizes(
    shape: tuple[int, ...], stride: int = 1, padding: int | None = None, groups: int = 1
) -> dict[str, Any]:
    """The sizes of a weight and its window as torch's layers are told them."""
    outputs, inputs, *size = shape
    if not size:
        return {"in_features": inputs, "out_features": outputs}
    return {
        "in_channels": inputs * groups,
        "out_channels": outputs,
        "kernel_size": tuple(size),
        "stride": stride,
        "padding": size[0] // 2 if padding is None else padding,
        "groups": groups,
    }


def stepped(config: Activation) -> MakeActivation:
    """Ternary activations."""

    def make(most: float | None = None) -> nn.Module:
        return lattice_nn.MultiStep(
            1, threshold=config.threshold, half_width=config.half_width, window=config.window
        )

    return make


def relu(most: float | None = None) -> nn.Module:
    """A real activation."""
    return nn.ReLU() if most is None else nn.Hardtanh(0.0, most)


def weight_layers(model: nn.Module) -> dict[str, WeightLayer]:
    """The layers with weights by name, in order."""
    return {name: m for name, m in model.named_modules() if isinstance(m, KINDS)}


def visible_indices(model: nn.Module) -> dict[str, Tensor]:
    """By layer, the indices of the visible levels, where weights are not real."""
    layers = weight_layers(model).items()
    return {name: m.visible_index for name, m in layers if not isinstance(m, KINDS[2:])}


def level_counts(model: nn.Module) -> dict[str, int]:
    """By layer, how many levels its visible weights may have, where they are not real."""
    layers = {n: m for n, m in weight_layers(model).items() if not isinstance(m, KINDS[2:])}
    return {
        name: len(m.reader.reading.stair.levels if isinstance(m, RealLayer) else m.levels.unique())
        for name, m in layers.items()
    }


def zeros(model: nn.Module) -> float | None:
    """Share of the visible weights that are 0, where they are not real; None if all are."""
    layers = [m for m in weight_layers(model).values() if not isinstance(m, KINDS[2:])]
    shown = [m.visible if isinstance(m, RealLayer) else m.weight for m in layers]
    total = sum(w.numel() for w in shown)
    return sum(int((w == 0).sum()) for w in shown) / total if total else None


def draw(model: nn.Module, seed: int) -> None:
    """Draw the first weights; layers are numbered 0, 1, ... in module order."""
    for tensor, layer in enumerate(weight_layers(model).values()):
        if isinstance(layer, RealLayer):
            layer.draw(seed, tensor)
        elif isinstance(layer, lattice_nn.LatticeLayer):
            layer.draw_levels(seed, tensor)
        else:
            draw_layer(layer, seed, tensor)
