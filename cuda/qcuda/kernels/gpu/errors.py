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

    def __init__(self, function: str, code: int, name: str, log: str = "") -> None:
        super().__init__(f"{function} returned {name} ({code})" + (f": {log}" if log else ""))
        self.function, self.code, self.name = function, code, name

    def saying(self, log: str) -> DriverError:
        """The same error with what the driver wrote about it."""
        return DriverError(self.function, self.code, self.name, log)


class Forked(GPUError):
    """The process was forked from one that had initialised CUDA."""

    def __init__(self) -> None:
        super().__init__(
            "a process uses a GPU if it initialised CUDA itself, got one that was forked from a "
            "process that had: start workers with multiprocessing's spawn or forkserver"
        )
