"""Kernel images for a device: a fatbin that came with the package, else what NVRTC makes.

Looked for in this order, and each that fails leaves a sentence that says why:
1. the file that $QTHEORY_CUDA_IMAGE names, and then nothing else;
2. qtheory.fatbin beside the CPU libraries, if it was made from the sources that are here;
3. an image that NVRTC made before, from the cache (cache.py);
4. NVRTC, which compiles only the kernels that are asked for, and says so on stderr.
The first two hold every kernel, but the second those with moments in int8 not (source.is_shipped);
the others a unit of source.py: helpers, stairs, batch norm, or one step kernel.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qcuda.kernels import source
from qcuda.kernels.gpu import cache, nvrtc
from qtheory import native

VARIABLE = "QTHEORY_CUDA_IMAGE"
FATBIN = "qtheory.fatbin"


@dataclass(frozen=True, slots=True)
class Image:
    """Kernels in a form that the driver loads, and where they came from."""

    origin: str
    data: bytes
    whole: bool  # it holds every kernel, not one unit


def fatbin_places() -> list[Path]:
    """Where the package's fatbin may be: beside the CPU libraries."""
    return [folder / FATBIN for folder in native.folders("qcuda")]


def find(
    unit: str, capability: tuple[int, int], driver: tuple[int, int], tried: list[str]
) -> Iterator[Image]:
    """Images of a unit that may suit the device, best first; asking on means: that was refused.

    What was looked for in vain goes to `tried`. A kept image that the device refused is made anew.
    """
    if named := os.environ.get(VARIABLE):
        yield from _read(Path(named), tried, f"${VARIABLE}")
        return
    text = _source(tried)
    for path in fatbin_places() if source.is_shipped(unit) else ():
        yield from _fatbin(path, text, tried)
    if text is not None:
        yield from _compiled(text, unit, capability, driver, tried)


def _source(tried: list[str]) -> str | None:
    try:
        return source.one_text(source.kernels())
    except FileNotFoundError as error:
        tried.append(str(error))
        return None


def _read(path: Path, tried: list[str], why: str) -> Iterator[Image]:
    try:
        yield Image(str(path), path.read_bytes(), whole=True)
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
    text: str, unit: str, capability: tuple[int, int], driver: tuple[int, int], tried: list[str]
) -> Iterator[Image]:
    for candidate in nvrtc.candidates():
        try:
            compiler = nvrtc.Compiler(candidate)
            target = compiler.target(capability)
            if why := unsuitable(compiler, target, driver):
                tried.append(f"{candidate}: {why}")
                continue
            yield from _kept(compiler, target, text, unit, tried)
        except nvrtc.CompilerError as error:
            tried.append(str(error))


def unsuitable(
    compiler: nvrtc.Compiler, target: nvrtc.Target, driver: tuple[int, int]
) -> str | None:
    """Why a driver would refuse what a compiler makes, None if it should take it.

    Machine code runs under every driver of the same major version; PTX is translated by the
    driver, which knows the PTX of its own CUDA version and of earlier ones.
    """
    newest = "{}.{}".format(*driver)
    if compiler.version[0] > driver[0]:
        return f"makes code for CUDA {compiler.version[0]}, the driver supports {newest}"
    if not target.machine_code and compiler.version > driver:
        version = "{}.{}".format(*compiler.version)
        return (
            f"is older than the device and would make PTX of CUDA {version}, the driver "
            f"translates PTX up to CUDA {newest}"
        )
    return None


def _kept(
    compiler: nvrtc.Compiler, target: nvrtc.Target, text: str, unit: str, tried: list[str]
) -> Iterator[Image]:
    """The unit's image from the cache, then (if it is missing or was refused) a fresh one."""
    version = "{}.{}".format(*compiler.version)
    name = f"{source.digest(text)[:32]}-{unit}-nvrtc{version}-{target.name}"
    where = cache.Entry(name)
    refused = where.read()
    if refused is not None:
        yield Image(str(where.path), refused, whole=False)
    with where.locked():
        now = where.read()  # another process may have made it while this one waited
        if now is None or now == refused:
            now = _compile(compiler, target, text, unit, where)
    yield Image(f"{compiler.path} (NVRTC {version})", now, whole=False)


def _compile(
    compiler: nvrtc.Compiler, target: nvrtc.Target, text: str, unit: str, where: cache.Entry
) -> bytes:
    began = time.perf_counter()
    data = compiler.compile(text, target, source.only(unit))
    seconds = time.perf_counter() - began
    what = f"the kernels {unit}" if unit in source.UNITS else unit
    print(
        f"qtheory: compiled {what} for {target.name} in {seconds:.1f} s by NVRTC "
        f"{'{}.{}'.format(*compiler.version)}; {where.write(data)}",
        file=sys.stderr,
        flush=True,
    )
    return data
