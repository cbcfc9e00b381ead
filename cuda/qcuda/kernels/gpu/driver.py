"""The CUDA driver library through ctypes: the dozen functions that are needed to launch kernels.

The driver's C ABI is the one thing that every machine with an NVIDIA GPU has, whatever its
toolkit and its torch; nothing here links to a CUDA runtime.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_uint, c_void_p

from qcuda.kernels.gpu.errors import DeviceMissing, DriverError, DriverMissing, Forked

LIBRARY = "libcuda.so.1"
VARIABLE = "QTHEORY_CUDA_DRIVER"  # names another driver library: tests load a pretended one

_NOT_INITIALIZED = 3
_NO_DEVICE = 100
_INVALID_DEVICE = 101
_RELAXED = 2
_ERROR_LOG = (5, 6)  # options of cuModuleLoadDataEx: a buffer for the log, and its size
_LOG = 4096
_CAPABILITY = (75, 76)  # attributes: major, minor

_SIGNATURES: dict[str, tuple[object, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuCtxPushCurrent_v2": (c_void_p,),
    "cuCtxPopCurrent_v2": (POINTER(c_void_p),),
    "cuModuleLoadDataEx": (POINTER(c_void_p), c_char_p, c_uint, POINTER(c_int), POINTER(c_void_p)),
    "cuModuleGetFunction": (POINTER(c_void_p), c_void_p, c_char_p),
    "cuLaunchKernel": (c_void_p, *(c_uint,) * 7, c_void_p, POINTER(c_void_p), c_void_p),
    "cuStreamIsCapturing": (c_void_p, POINTER(c_int)),
    "cuThreadExchangeStreamCaptureMode": (POINTER(c_int),),
}
_IN_NEW_DRIVERS: dict[str, tuple[object, ...]] = {"cuFuncLoad": (c_void_p,)}


class Driver:
    """A loaded and initialised driver library. path: LIBRARY, unless $QTHEORY_CUDA_DRIVER."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path or os.environ.get(VARIABLE) or LIBRARY
        try:
            self._library = ctypes.CDLL(self.path)
        except OSError as error:
            raise DriverMissing(
                f"GPU kernels need the CUDA driver library, looked for {self.path} "
                f"(${VARIABLE} names another): {error}"
            ) from error
        for name, argtypes in _SIGNATURES.items():
            try:
                function = getattr(self._library, name)
            except AttributeError as error:
                raise DriverMissing(
                    f"a CUDA driver library exports {name}, {self.path} does not"
                ) from error
            function.argtypes, function.restype = argtypes, c_int
        for name, argtypes in _IN_NEW_DRIVERS.items():
            if self.has(name):
                getattr(self._library, name).argtypes = argtypes
        self._process = os.getpid()
        code = self._library.cuInit(0)
        if code == _NOT_INITIALIZED:
            raise Forked
        if code == _NO_DEVICE:
            raise DeviceMissing(f"GPU kernels need a CUDA device, {self.path} found none")
        self._check("cuInit", code)

    def has(self, function: str) -> bool:
        """Whether this driver is new enough for a function that not all have."""
        return hasattr(self._library, function)

    def check_process(self) -> None:
        """Raise Forked in a child of the process that the driver was initialised in."""
        if os.getpid() != self._process:
            raise Forked

    def call(self, function: str, *arguments: object) -> None:
        """Call a driver function; DriverError if it does not return success."""
        self._check(function, getattr(self._library, function)(*arguments))

    def _check(self, function: str, code: int) -> None:
        if code == 0:
            return
        name = c_char_p()
        self._library.cuGetErrorName(code, byref(name))
        raise DriverError(function, code, (name.value or b"an unknown error").decode())

    def version(self) -> tuple[int, int]:
        """The newest CUDA version that the driver supports, as (major, minor)."""
        number = c_int()
        self.call("cuDriverGetVersion", byref(number))
        return number.value // 1000, number.value % 1000 // 10

    def device(self, ordinal: int) -> Device:
        """The device with that number, as torch counts them; DeviceMissing if there is none."""
        handle, count = c_int(), c_int()
        code = self._library.cuDeviceGet(byref(handle), ordinal)
        if code == _INVALID_DEVICE:
            self.call("cuDeviceGetCount", byref(count))
            raise DeviceMissing(
                f"a device number is below the number of devices, {count.value}, got {ordinal}"
            )
        self._check("cuDeviceGet", code)
        return Device(self, ordinal, handle.value)


class Device:
    """A device and its primary context, which is the context that torch uses."""

    def __init__(self, driver: Driver, ordinal: int, handle: int) -> None:
        self.driver, self.ordinal = driver, ordinal
        self.capability = (
            self._attribute(_CAPABILITY[0], handle),
            self._attribute(_CAPABILITY[1], handle),
        )
        name = ctypes.create_string_buffer(256)
        driver.call("cuDeviceGetName", name, 255, handle)
        self.name = name.value.decode()
        self._context = c_void_p()
        driver.call("cuDevicePrimaryCtxRetain", byref(self._context), handle)

    def _attribute(self, attribute: int, handle: int) -> int:
        value = c_int()
        self.driver.call("cuDeviceGetAttribute", byref(value), attribute, handle)
        return value.value

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context this thread's current one, then put the former back."""
        self.driver.check_process()
        self.driver.call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            self.driver.call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def load(self, image: bytes) -> c_void_p:
        """A module from a fatbin, cubin or PTX. The context must be current.

        Raises DriverError, with the words of the driver's compiler where it had to translate PTX.
        """
        module, log = c_void_p(), ctypes.create_string_buffer(_LOG)
        options = (c_int * 2)(*_ERROR_LOG)
        values = (c_void_p * 2)(ctypes.addressof(log), _LOG)
        with self.relaxed():
            try:
                self.driver.call("cuModuleLoadDataEx", byref(module), image, 2, options, values)
            except DriverError as error:
                words = " ".join(log.value.decode(errors="replace").split())
                raise error.saying(words) from None
        return module

    def function(self, module: c_void_p, name: str) -> c_void_p:
        """A kernel of a module, ready to launch: a driver that loads at the first launch may not
        do so while a graph is being captured."""
        function = c_void_p()
        with self.relaxed():
            self.driver.call("cuModuleGetFunction", byref(function), module, name.encode())
            if self.driver.has("cuFuncLoad"):
                self.driver.call("cuFuncLoad", function)
        return function

    def is_capturing(self, stream: int) -> bool:
        """Whether a graph is being captured from the stream."""
        status = c_int()
        self.driver.call("cuStreamIsCapturing", stream, byref(status))
        return status.value != 0

    @contextmanager
    def relaxed(self) -> Iterator[None]:
        """Allow loading on this thread even while a graph is being captured."""
        mode = c_int(_RELAXED)
        self.driver.call("cuThreadExchangeStreamCaptureMode", byref(mode))
        try:
            yield
        finally:
            self.driver.call("cuThreadExchangeStreamCaptureMode", byref(mode))
