"""NVRTC, the run-time compiler that every CUDA build of torch brings, by ctypes.

One step kernel takes it one to two seconds, all of them some fifteen; image.py asks for those that
are needed and keeps them.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Iterator
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import NamedTuple

from qcuda.kernels.gpu.errors import GPUError
from qcuda.kernels.source import EXACT

VARIABLE = "QTHEORY_NVRTC"  # names the library, instead of the search below


class CompilerError(GPUError):
    """NVRTC is missing, or did not compile."""


class Target(NamedTuple):
    """What to compile for: an architecture, as 10 major + minor, in machine code or PTX."""

    number: int
    machine_code: bool

    @property
    def name(self) -> str:
        """As the compiler's option has it."""
        return f"{'sm' if self.machine_code else 'compute'}_{self.number}"


def folders() -> list[Path]:
    """Where libnvrtc may be: wheels beside torch, then toolkits."""
    wheels = [Path(entry) / "nvidia" for entry in sys.path if entry]
    found = [lib for wheel in wheels for lib in sorted(wheel.glob("*/lib"), reverse=True)]
    toolkits = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX")]
    for toolkit in filter(None, (*toolkits, "/usr/local/cuda")):
        found += [Path(toolkit) / place for place in ("lib64", "lib")]
        found += sorted(Path(toolkit).glob("targets/*/lib"))
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
        try:
            self._load_builtins()
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise CompilerError(f"{path}: {error}") from error
        major, minor = c_int(), c_int()
        self._call("nvrtcVersion", byref(major), byref(minor))
        self.version = (major.value, minor.value)

    def _load_builtins(self) -> None:
        """The library looks for its builtins by bare name and may not find them: load them.

        Not where the library itself is found by a bare name: its folder is then not known.
        """
        if os.sep not in self.path:
            return
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

    def target(self, capability: tuple[int, int]) -> Target:
        """The newest architecture it knows that the device runs.

        Machine code runs on later devices of the same major capability; any other device that is
        newer than the compiler gets PTX. Raises CompilerError for one that is too old for it.
        """
        wanted = 10 * capability[0] + capability[1]
        known = [number for number in self.architectures() if number <= wanted]
        if not known:
            raise CompilerError(f"{self.path}: compute capability {wanted} is too old for it")
        return Target(known[-1], known[-1] // 10 == capability[0])

    def compile(self, text: str, target: Target, defines: Iterable[str] = ()) -> bytes:
        """Machine code or PTX. defines: macros, as NAME=VALUE. CompilerError with the log."""
        flags = [f"--gpu-architecture={target.name}", *EXACT]
        flags += [f"--define-macro={macro}" for macro in defines]
        program = c_void_p()
        self._call(
            "nvrtcCreateProgram", byref(program), text.encode(), b"kernels.cu", 0, None, None
        )
        try:
            return self._compile(program, flags, "CUBIN" if target.machine_code else "PTX")
        finally:
            self._call("nvrtcDestroyProgram", byref(program))

    def _compile(self, program: c_void_p, flags: list[str], kind: str) -> bytes:
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
