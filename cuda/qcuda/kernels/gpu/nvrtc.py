"""NVRTC, the run-time compiler that every CUDA build of torch brings, by ctypes.

It compiles the kernels in about a second, once: image.py keeps the result in a cache.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path

from qcuda.kernels.gpu.errors import GPUError
from qcuda.kernels.source import EXACT

VARIABLE = "QTHEORY_NVRTC"  # names the library, instead of the search below


class CompilerError(GPUError):
    """NVRTC is missing, or did not compile."""


def folders() -> list[Path]:
    """Where libnvrtc may be: wheels beside torch, then toolkits."""
    wheels = [Path(entry) / "nvidia" for entry in sys.path if entry]
    found = [lib for wheel in wheels for lib in sorted(wheel.glob("*/lib"), reverse=True)]
    toolkits = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    for toolkit in filter(None, toolkits):
        found += [Path(toolkit) / "lib64", Path(toolkit) / "targets/x86_64-linux/lib"]
    return found


def candidates() -> Iterator[str]:
    """Paths and names of the library to try, in order."""
    if named := os.environ.get(VARIABLE):
        yield named
        return
    for folder in folders():
        for path in sorted(folder.glob("libnvrtc.so.*"), reverse=True):
            yield str(path)
    yield from ("libnvrtc.so.13", "libnvrtc.so.12")


class Compiler:
    """A loaded NVRTC."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._load_builtins()
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise CompilerError(f"{path}: {error}") from error
        major, minor = c_int(), c_int()
        self._call("nvrtcVersion", byref(major), byref(minor))
        self.version = (major.value, minor.value)

    def _load_builtins(self) -> None:
        """The library looks for its builtins by bare name and may not find them: load them."""
        for path in sorted(Path(self.path).parent.glob("libnvrtc-builtins.so.*")):
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code != 0:
            describe = self._library.nvrtcGetErrorString
            describe.restype = c_char_p
            raise CompilerError(f"{self.path}: {function} returned {describe(code).decode()}")

    def architectures(self) -> list[int]:
        """Compute capabilities it knows, as 10 major + minor."""
        count = c_int()
        self._call("nvrtcGetNumSupportedArchs", byref(count))
        numbers = (c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", numbers)
        return list(numbers)

    def compile(self, text: str, capability: tuple[int, int]) -> bytes:
        """Machine code for the capability, or PTX if the device is newer than the compiler."""
        wanted = 10 * capability[0] + capability[1]
        known = [number for number in self.architectures() if number <= wanted]
        if not known:
            raise CompilerError(f"{self.path}: compute capability {wanted} is too old for it")
        exact = known[-1] == wanted
        target = f"--gpu-architecture={'sm' if exact else 'compute'}_{known[-1]}"
        program = c_void_p()
        self._call(
            "nvrtcCreateProgram", byref(program), text.encode(), b"kernels.cu", 0, None, None
        )
        try:
            return self._compile(program, (target, *EXACT), "CUBIN" if exact else "PTX")
        finally:
            self._call("nvrtcDestroyProgram", byref(program))

    def _compile(self, program: c_void_p, flags: tuple[str, ...], kind: str) -> bytes:
        array = (c_char_p * len(flags))(*(flag.encode() for flag in flags))
        try:
            self._call("nvrtcCompileProgram", program, len(flags), array)
        except CompilerError as error:
            log = self._result(program, "ProgramLog").decode(errors="replace")
            raise CompilerError(f"{error}\n{log}") from error
        return self._result(program, kind)

    def _result(self, program: c_void_p, what: str) -> bytes:
        size = c_size_t()
        self._call(f"nvrtcGet{what}Size", program, byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw
