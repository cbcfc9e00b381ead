"""What the GPU-free proofs share: compiled libraries and an emulated machine.

Compiled things are kept in build/gpu-tests under a hash of their sources and command.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from generated import include

from qcuda.kernels.gpu.driver import VARIABLE, Driver
from qcuda.kernels.gpu.launch import Launcher
from qcuda.kernels.gpu.table import Memory

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "cuda" / "csrc"
KEPT = ROOT / "build" / "gpu-tests"
HOST = ("-std=c++17", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-Wall", "-Wextra")
EMULATED = (
    "-include",
    str(Path(__file__).with_name("emulate.h")),
    *include(),
    f"-I{SOURCES / 'gpu'}",
)

Compile = Callable[..., Path]


def _digest(sources: Path, command: list[str]) -> str:
    every = [*sources.rglob("*"), *Path(__file__).parent.rglob("*")]
    files = sorted(path for path in every if path.suffix in (".h", ".cu", ".cpp"))
    parts = [path.read_bytes() for path in files]
    return hashlib.sha256(b"\0".join([*parts, " ".join(command).encode()])).hexdigest()[:20]


def compile_once(compiler: str, source: Path, name: str, flags: tuple[str, ...]) -> Path:
    """The output of a compilation, made if it is not there. Skips without the compiler."""
    found = shutil.which(compiler)
    if found is None:
        pytest.skip(f"{compiler} is not on PATH")
    command = [found, *flags, str(source)]
    output = KEPT / f"{_digest(SOURCES, command)}-{name}"
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes of tests may want it at once
        if not output.exists():
            _compile(command, output)
    return output


def _compile(command: list[str], output: Path) -> None:
    made = output.with_name(f"{os.getpid()}-{output.name}")
    done = subprocess.run([*command, "-o", made], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
    os.replace(made, output)


@pytest.fixture(scope="session", name="compile_once")
def compile_once_fixture() -> Compile:
    return compile_once


@pytest.fixture(scope="session")
def fake_driver() -> Path:
    """libfakecuda.so: the driver's functions over emulated kernels."""
    flags = (*HOST, *EMULATED, "-fvisibility=hidden", "-shared", "-fPIC")
    return compile_once("g++", Path(__file__).with_name("fake_driver.cpp"), "libfakecuda.so", flags)


@pytest.fixture(scope="session")
def cpu_library() -> ctypes.CDLL:
    """The CPU library, built here, so that it is of these sources."""
    flags = ("-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-pthread", *include())
    path = compile_once("g++", SOURCES / "cpu" / "library.cpp", "libcpu.so", flags)
    return ctypes.CDLL(str(path))


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the pretended driver takes for an image."""
    path = tmp_path / "kernels.cubin"
    path.write_bytes(b"\x7fELF and nothing more")
    monkeypatch.setenv("QTHEORY_CUDA_IMAGE", str(path))
    return path


@pytest.fixture
def launcher(fake_driver: Path, image: Path) -> Launcher:
    """The real launcher on the pretended driver."""
    return Launcher(Driver(str(fake_driver)).device(0))


class Emulated:
    """The pretended device, for qcuda.validate.compare."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.fakecuda_end_capture.restype = ctypes.c_int64
        self.library.fakecuda_launches.restype = ctypes.c_int64
        self.library.fakecuda_contexts.restype = ctypes.c_int64
        self.library.fakecuda_kernel.restype = ctypes.c_char_p
        self.streams = 0

    def upload(self, data: np.ndarray) -> np.ndarray:
        room = np.zeros(data.size + 64, np.uint8)
        memory = room[-room.ctypes.data % 64 :][: data.size]
        memory[:] = data
        return memory

    def address(self, memory: np.ndarray) -> int:
        return memory.ctypes.data

    def download(self, memory: np.ndarray) -> np.ndarray:
        return memory.copy()

    def stream(self) -> int:
        self.streams += 1
        return self.streams

    def capture(self, work: Callable[[int], None]) -> Callable[[], None]:
        stream = ctypes.c_void_p(self.stream())
        self.library.fakecuda_begin_capture(stream)
        try:
            work(stream.value or 0)
        finally:
            graph = ctypes.c_int64(self.library.fakecuda_end_capture(stream))
        return lambda: self.library.fakecuda_replay(graph)

    def launches(self) -> int:
        return self.library.fakecuda_launches()


@pytest.fixture
def machine(fake_driver: Path) -> Emulated:
    return Emulated(fake_driver)


class Allocator:
    """Work memory for launchers, as torch's allocator would make it; what was made is kept."""

    def __init__(self, machine: Emulated) -> None:
        self.machine, self.sizes, self.made = machine, [], []

    def __call__(self, size: int) -> Memory:
        self.sizes.append(size)
        self.made.append(self.machine.upload(np.full(size, 0xA5, np.uint8)))
        return Memory(self.made[-1].ctypes.data, self.made[-1])


@pytest.fixture
def allocate(machine: Emulated) -> Allocator:
    return Allocator(machine)


@pytest.fixture(autouse=True)
def _no_driver_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
