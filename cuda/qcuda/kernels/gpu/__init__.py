"""Kernels on NVIDIA GPUs, through the driver's C ABI alone. Importing this loads nothing.

`launcher(device)` finds driver, device and kernel image at its first call, and its methods
`step_all`, `squares`, `words`, `decode` and `outcomes` mirror the CPU library's functions.
`prepare(device)` does so ahead of the first step.
"""

from __future__ import annotations

from qcuda.kernels.gpu.errors import (
    DeviceMissing,
    DriverError,
    DriverMissing,
    Forked,
    GPUError,
    ImageMissing,
)
from qcuda.kernels.gpu.launch import Launcher, launcher, prepare
from qcuda.kernels.gpu.table import Memory

__all__ = [
    "DeviceMissing",
    "DriverError",
    "DriverMissing",
    "Forked",
    "GPUError",
    "ImageMissing",
    "Launcher",
    "Memory",
    "launcher",
    "prepare",
]
