"""Networks to train, and the layers of the baselines.

    from qcuda.models import MODELS, build, on_lattice

    model = build("resnet20", (3, 32, 32), 10, on_lattice(**hidden(8)))

Names are imported when they are first used, so that configs need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qcuda.models.config import MODELS as MODELS
    from qcuda.models.registry import build as build
    from qcuda.models.weights import on_lattice as on_lattice
    from qcuda.models.weights import real as real
    from qcuda.models.weights import relu as relu
    from qcuda.models.weights import stepped as stepped

_HOMES = {
    "MODELS": "config",
    "build": "registry",
    "on_lattice": "weights",
    "real": "weights",
    "relu": "weights",
    "stepped": "weights",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"qcuda.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'qcuda.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
