"""Exceptions for everything that can be missing between Python and a GPU kernel."""

from __future__ import annotations

from qcuda.errors import BackendUnavailable


class GPUError(BackendUnavailable):
    """A GPU operation cannot be done. The message says what was looked for."""


class DriverMissing(GPUError):
    """No CUDA driver library could be loaded."""


class DeviceMissing(GPUError):
    """The driver has no such device."""


class ImageMissing(GPUError):
    """No kernel image was found, could be made, or was accepted by the device."""


class DriverError(GPUError):
    """A driver function returned an error."""

    def __init__(self, function: str, code: int, name: str) -> None:
        super().__init__(f"{function} returned {name} ({code})")
        self.code = code
