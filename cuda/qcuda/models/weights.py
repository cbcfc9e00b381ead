"""Weights and activations of a network, made in the way that a method holds them.

A network is the same for every method: it is handed two functions, one that makes a layer for a
weight's shape, and one that makes an activation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol

from torch import nn

import qcuda.nn as lattice_nn
from qcuda.models.baselines import RealLayer
from qcuda.models.config import Activation
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair

WeightLayer = lattice_nn.LatticeLayer | RealLayer


class MakeWeight(Protocol):
    """A layer for a weight's shape: linear, or a convolution.

    padding: of a convolution, in pixels at each end; by default its image keeps its size.
    """

    def __call__(self, shape: tuple[int, ...], *, padding: int | None = None) -> WeightLayer: ...


MakeActivation = Callable[[], nn.Module]


def on_lattice(lattice: Lattice, readout: Stair | None = None) -> MakeWeight:
    """Linear layers and convolutions on a lattice.

    readout: the stair through which its levels are seen, None if they are seen themselves.
    """

    def make(shape: tuple[int, ...], *, padding: int | None = None) -> lattice_nn.LatticeLayer:
        outputs, inputs, *size = shape
        if not size:
            return lattice_nn.Linear(inputs, outputs, lattice, readout=readout)
        padding = size[0] // 2 if padding is None else padding
        return lattice_nn.Conv2d(
            inputs, outputs, size[0], lattice, padding=padding, readout=readout
        )

    return make


def real(levels: Literal[2, 3] | None, threshold: float = 0.5) -> MakeWeight:
    """The same layers with real weights, which the forward pass sees rounded to `levels`."""
    return partial(RealLayer, levels=levels, threshold=threshold)


def stepped(config: Activation) -> MakeActivation:
    """Ternary activations."""
    return partial(
        lattice_nn.MultiStep,
        1,
        threshold=config.threshold,
        half_width=config.half_width,
        window=config.window,
    )


relu: MakeActivation = nn.ReLU
"""Real activations."""


def weight_layers(model: nn.Module) -> dict[str, WeightLayer]:
    """The layers with weights by name, in order."""
    layers = model.named_modules()
    return {name: m for name, m in layers if isinstance(m, lattice_nn.LatticeLayer | RealLayer)}


def draw(model: nn.Module, seed: int) -> None:
    """Draw the first weights; layers are numbered 0, 1, ... in module order."""
    for tensor, layer in enumerate(weight_layers(model).values()):
        if isinstance(layer, RealLayer):
            layer.draw(seed, tensor)
        else:
            layer.draw_levels(seed, tensor)
