"""Reading each lattice weight once for several passes over a network between two steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from qcuda.nn.layers import lattice_layers


@contextmanager
def read_once(model: nn.Module) -> Iterator[None]:
    """Within the context a lattice layer that learns makes its visible weight once, and holds it.

    Gradients of each pass go to the slot as ever, with the same bits. No weight may be stepped,
    set or loaded within. Frugal layers, which hold no weight, and those with a scale are read as
    often as they are used.
    """
    layers = list(lattice_layers(model).values())
    for layer in layers:
        layer.held = {}
    try:
        yield
    finally:
        for layer in layers:
            layer.held = None
