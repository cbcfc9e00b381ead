"""Discrete weights, fast: kernels, layers, optimiser, training and the command line.

Names are imported when they are first used, so that the command line can answer `--help`
without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from qcuda import nn as nn
    from qcuda.distributed import data_parallel as data_parallel
    from qcuda.kernels.words import words as words
    from qcuda.memory.least import least_memory_ as least_memory_
    from qcuda.nn.averages import AveragedModel as AveragedModel
    from qcuda.nn.census import audit as audit
    from qcuda.nn.convert import LatticeConfig as LatticeConfig
    from qcuda.nn.convert import conversions as conversions
    from qcuda.nn.convert import quantize_ as quantize_
    from qcuda.nn.dequantize import dequantize as dequantize
    from qcuda.nn.latent import freeze_ as freeze_
    from qcuda.nn.latent import read_ as read_
    from qcuda.nn.latent import stop_latents as stop_latents
    from qcuda.nn.latent import turn_ as turn_
    from qcuda.nn.model_file import load as load
    from qcuda.nn.model_file import save as save
    from qcuda.nn.synchronised import synchronise_norms_ as synchronise_norms_
    from qcuda.optimizer import LatticeOptimizer as LatticeOptimizer
    from qcuda.step.backward import StepInBackward as StepInBackward
    from qcuda.step.block import BlockMetropolis as BlockMetropolis

_HOMES = {
    "audit": "qcuda.nn.census",
    "AveragedModel": "qcuda.nn.averages",
    "data_parallel": "qcuda.distributed",
    "LatticeConfig": "qcuda.nn.convert",
    "conversions": "qcuda.nn.convert",
    "quantize_": "qcuda.nn.convert",
    "dequantize": "qcuda.nn.dequantize",
    "freeze_": "qcuda.nn.latent",
    "read_": "qcuda.nn.latent",
    "stop_latents": "qcuda.nn.latent",
    "turn_": "qcuda.nn.latent",
    "load": "qcuda.nn.model_file",
    "save": "qcuda.nn.model_file",
    "least_memory_": "qcuda.memory.least",
    "synchronise_norms_": "qcuda.nn.synchronised",
    "LatticeOptimizer": "qcuda.optimizer",
    "StepInBackward": "qcuda.step.backward",
    "BlockMetropolis": "qcuda.step.block",
    "words": "qcuda.kernels.words",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        import qtheory

        return qtheory.__version__
    if name == "nn":
        return import_module("qcuda.nn")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'qcuda' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "nn", *_HOMES])
