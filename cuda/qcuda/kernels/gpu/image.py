"""Kernel images for a device: a fatbin that came with the package, else a cached or fresh cubin.

Looked for in this order, and each that fails leaves a sentence that says why:
1. the file that $QTHEORY_CUDA_IMAGE names, and then nothing else;
2. qtheory.fatbin beside the CPU libraries, if it was made from the sources that are here;
3. a cubin that NVRTC made before, in the user's cache ($QTHEORY_CACHE, else
   $XDG_CACHE_HOME/qtheory, else ~/.cache/qtheory), named by source, compiler and device;
4. NVRTC, whose cubin goes to the cache.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qcuda.files import write_atomically
from qcuda.kernels import source
from qcuda.kernels.gpu import nvrtc
from qtheory import native

VARIABLE = "QTHEORY_CUDA_IMAGE"
CACHE = "QTHEORY_CACHE"
FATBIN = "qtheory.fatbin"


@dataclass(frozen=True, slots=True)
class Image:
    """Kernels in a form that the driver loads, and where they came from."""

    origin: str
    data: bytes


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    if named := os.environ.get(CACHE):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "qtheory"


def fatbin_places() -> list[Path]:
    """Where the package's fatbin may be: beside the CPU libraries."""
    return [folder / FATBIN for folder in native.folders("qcuda")]


def find(capability: tuple[int, int], driver: tuple[int, int], tried: list[str]) -> Iterator[Image]:
    """Images that may suit the device, best first. What was looked for in vain goes to `tried`."""
    if named := os.environ.get(VARIABLE):
        yield from _read(Path(named), tried, f"${VARIABLE}")
        return
    text = _source(tried)
    for path in fatbin_places():
        yield from _fatbin(path, text, tried)
    if text is not None:
        yield from _compiled(text, capability, driver, tried)


def _source(tried: list[str]) -> str | None:
    try:
        return source.one_text(source.kernels())
    except FileNotFoundError as error:
        tried.append(str(error))
        return None


def _read(path: Path, tried: list[str], why: str) -> Iterator[Image]:
    try:
        yield Image(str(path), path.read_bytes())
    except OSError as error:
        tried.append(f"{why}: {error}")


def _fatbin(path: Path, text: str | None, tried: list[str]) -> Iterator[Image]:
    if not path.is_file():
        tried.append(f"{path}: no such file")
        return
    note = path.with_suffix(".json")
    made_from = json.loads(note.read_text()).get("source") if note.is_file() else None
    if text is not None and made_from != source.digest(text):
        tried.append(f"{path}: was made from other sources than {source.kernels()}")
        return
    yield from _read(path, tried, "the package's image")


def _compiled(
    text: str, capability: tuple[int, int], driver: tuple[int, int], tried: list[str]
) -> Iterator[Image]:
    for candidate in nvrtc.candidates():
        try:
            compiler = nvrtc.Compiler(candidate)
            if compiler.version[0] > driver[0]:
                tried.append(
                    f"{candidate}: makes code for CUDA {compiler.version[0]}, "
                    f"the driver supports {driver[0]}.{driver[1]}"
                )
                continue
            yield _cached(compiler, text, capability, tried)
        except nvrtc.CompilerError as error:
            tried.append(str(error))


def _cached(
    compiler: nvrtc.Compiler, text: str, capability: tuple[int, int], tried: list[str]
) -> Image:
    version = "{}.{}".format(*compiler.version)
    name = f"{source.digest(text)[:32]}-nvrtc{version}-sm{capability[0]}{capability[1]}.cubin"
    path = cache_folder() / name
    for image in _read(path, [], "cache"):
        return image
    data = compiler.compile(text, capability)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        tried.append(f"the image could not be kept in the cache: {error}")
    return Image(f"{compiler.path} (NVRTC {version})", data)
