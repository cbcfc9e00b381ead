"""The first thing to run on a machine with a GPU: are its results the CPU's, and how fast?

    PYTHONPATH=.:reference:cuda python3 -m qcuda.validate.acceptance [--json FILE] [--require-gpu]

Needs python3 with numpy and torch, g++, and nvcc or NVRTC; no installation. Builds the CPU library
and a kernel image in a temporary folder, compares every kernel bit for bit (compare.py says
with what), replays a captured graph, then times the main kernels beside a copy of the same
machine. Takes about two minutes. Exit: 0 all equal, or no GPU; 1 something differs; 3 no GPU but
one was required. cuda/benchmarks/README.md documents the JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from qcuda.kernels import abi, source
from qcuda.kernels.gpu import GPUError, Memory, cache, image, launch
from qcuda.kernels.gpu.driver import Driver
from qcuda.validate import compare

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SCHEMA = 1

# Of every rule: (optimiser, storage, gradient type, moment type).
TIMED = (
    ("momentum", abi.Storage.TRITS, abi.Real.BFLOAT16, abi.Real.BFLOAT16),
    ("momentum", abi.Storage.INT8, abi.Real.BFLOAT16, abi.Real.BFLOAT16),
    ("adam", abi.Storage.TRITS, abi.Real.BFLOAT16, abi.Real.BFLOAT16),
    ("adam", abi.Storage.INT8, abi.Real.FLOAT32, abi.Real.FLOAT32),
    ("sgd", abi.Storage.TRITS, abi.Real.BFLOAT16, abi.Real.FLOAT32),
)
SIZES = ((2**28, 1), (25_600_000, 161))  # (weights, tensors)
COPIED = 2**30  # bytes


class TorchMachine:
    """A GPU with torch's memory, streams and graphs."""

    def __init__(self, torch: Any) -> None:
        self.torch, self.kept = torch, []

    def upload(self, data: np.ndarray) -> Any:
        memory = self.torch.from_numpy(data.copy()).to("cuda")
        self.torch.cuda.synchronize()
        return memory

    def address(self, memory: Any) -> int:
        return memory.data_ptr()

    def download(self, memory: Any) -> np.ndarray:
        self.torch.cuda.synchronize()
        return memory.cpu().numpy()

    def stream(self) -> int:
        self.kept.append(self.torch.cuda.Stream())
        return self.kept[-1].cuda_stream

    def capture(self, work: Callable[[int], None]) -> Callable[[], None]:
        graph, stream = self.torch.cuda.CUDAGraph(), self.torch.cuda.Stream()
        with self.torch.cuda.graph(graph, stream=stream):
            work(stream.cuda_stream)
        self.kept += [graph, stream]

        def replay() -> None:
            graph.replay()
            self.torch.cuda.synchronize()

        return replay


def build_cpu_library(folder: Path) -> ctypes.CDLL:
    """The CPU library for this processor's baseline, from the sources beside this file."""
    path = folder / "libqtheory.so"
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-pthread"]
    (folder / "registry.h").write_text(source.registry(source.stems()))
    flags = (*flags, f"-I{CSRC}", f"-I{folder}")
    command = ["g++", *flags, str(CSRC / "cpu" / "library.cpp"), "-o", str(path)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(path))


def build_image(folder: Path) -> Path | None:
    """A fatbin by nvcc, or None if there is no nvcc."""
    recipe = CSRC / "gpu" / "build.py"
    spec = importlib.util.spec_from_file_location("qtheory_gpu_build", recipe)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"the image needs {recipe}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    nvcc = module.find_nvcc()
    return module.build(folder, nvcc) if nvcc else None


def launchers(folder: Path, driver: str | None = None) -> dict[str, launch.Launcher]:
    """A launcher for each image that can be had: by nvcc, and by NVRTC. GPUError if none."""
    found: dict[str, launch.Launcher] = {}
    device = Driver(driver).device(0)
    os.environ[cache.VARIABLE] = str(folder / "cache")
    if fatbin := build_image(folder):
        os.environ[image.VARIABLE] = str(fatbin)
        found["nvcc"] = launch.Launcher(device)
        del os.environ[image.VARIABLE]
    places, image.fatbin_places = image.fatbin_places, list
    try:
        found["nvrtc"] = launch.Launcher(device)
    except GPUError as error:
        print(f"NVRTC image: none ({error})")
        if not found:
            raise
    finally:
        image.fatbin_places = places
    return found


def check_all(
    name: str, machine: compare.Machine, launcher: launch.Launcher, library: Any
) -> list[dict[str, Any]]:
    """Every comparison, as rows of the JSON file."""
    arguments = (machine, launcher, library)
    cases = list(compare.cases())
    found = compare.check_steps(cases, *arguments)
    for case in cases[::7]:
        found[f"graph {case.name}"] = compare.check_graph(case, *arguments)
    found["scalars"] = compare.check_scalars(*arguments)
    found["words"] = compare.check_words(*arguments)
    found["decode"] = compare.check_decode(*arguments)
    found["outcomes"] = compare.check_outcomes(*arguments)
    rows = [{"image": name, "name": n, "differences": wrong} for n, wrong in found.items()]
    different = [row for row in rows if row["differences"]]
    for row in different:
        print(f"  DIFFERS {row['name']}: {', '.join(row['differences'][:4])}")
    print(f"{name} image: {len(rows)} comparisons, {len(different)} differ")
    return rows


def median_seconds(torch: Any, work: Callable[[], None], repeats: int = 20) -> tuple[float, float]:
    """Median and minimum of a piece of work between two device events, after warming up."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    return float(np.median(times)), float(min(times))


def time_copy(torch: Any) -> dict[str, float]:
    """Bytes a second of a device-to-device copy, read and written bytes both counted."""
    source_, target = (torch.empty(COPIED, dtype=torch.uint8, device="cuda") for _ in range(2))
    source_.random_()
    median, least = median_seconds(torch, lambda: target.copy_(source_))
    return {"seconds": median, "seconds_min": least, "bytes_per_second": 2 * COPIED / median}


def time_step(
    torch: Any, launcher: launch.Launcher, kernel: tuple[Any, ...], weights: int, tensors: int
) -> dict[str, Any]:
    """A step of `tensors` equal tensors with `weights` weights together."""
    rule, optimiser, storage, gradient, moment = kernel
    count = weights // tensors // 8 * 8
    real = {abi.Real.FLOAT32: torch.float32, abi.Real.BFLOAT16: torch.bfloat16}
    moments = abi.MOMENTS[optimiser]
    rows, kept, size = [], [], 0
    for number in range(tensors):
        state = torch.zeros(storage.bytes(count), dtype=torch.uint8, device="cuda")
        reals = [torch.randn(count, device="cuda").to(real[gradient]).mul_(0.3)]
        reals += [torch.rand(count, device="cuda").to(real[moment]) for _ in range(moments)]
        kept += [state, *reals]
        pointers = [array.data_ptr() for array in (state, *reals)] + [0] * (3 - moments)
        rows.append(abi.Tensor(*pointers, count, 0, number, 0))
        size += count * gradient.bytes + 2 * state.numel() + 2 * moments * moment.bytes * count
    launch = abi.launch(
        abi.spec(1.0, 1.0, 3, [3.0, 1.0]),
        seed=1,
        rule=rule,
        optimiser=optimiser,
        storage=storage,
        gradient_type=gradient,
        moment_type=moment,
    )
    scalars = torch.tensor([0.1, 0.9, 0.1, 0.999, 0.001, 1.0, 1e-8], device="cuda")
    iteration = torch.ones(1, dtype=torch.int64, device="cuda")
    counters = torch.zeros((tensors, 2), dtype=torch.int64, device="cuda")
    pointers = (scalars.data_ptr(), iteration.data_ptr(), counters.data_ptr())
    table, stream = abi.tensors(rows), torch.cuda.current_stream().cuda_stream
    buffer = torch.empty(2**20, dtype=torch.uint8, device="cuda")
    room = lambda size: Memory(buffer[:size].data_ptr(), buffer)  # noqa: E731
    work = lambda: launcher.step_all(launch, table, *pointers, stream, room)  # noqa: E731
    median, least = median_seconds(torch, work)
    names = (rule, optimiser, storage.name.lower(), gradient.name.lower(), moment.name.lower())
    return {
        "kernel": "qt_step_" + "_".join(names[:3]),
        "gradient_type": names[3],
        "moment_type": names[4] if moments else None,
        "tensors": tensors,
        "weights": count * tensors,
        "seconds": median,
        "seconds_min": least,
        "bytes": size,
        "bytes_per_second": size / median,
    }


def time_all(torch: Any, launcher: launch.Launcher) -> tuple[dict[str, float], list[Any]]:
    """The copy, and the main kernels at both SIZES."""
    copy, rows = time_copy(torch), []
    print(f"copy: {copy['bytes_per_second'] / 1e12:.2f} TB/s")
    for kernel in ((rule, *rest) for rule in source.stems() for rest in TIMED):
        for weights, tensors in SIZES:
            row = time_step(torch, launcher, kernel, weights, tensors)
            row["share_of_copy"] = row["bytes_per_second"] / copy["bytes_per_second"]
            rows.append(row)
            print(
                f"{row['kernel']} {row['gradient_type']} {row['moment_type']}: {tensors} tensors, "
                f"{row['weights']:.2e} weights, {row['seconds'] * 1e3:.3f} ms, "
                f"{100 * row['share_of_copy']:.0f} % of the copy's bytes per second"
            )
    return copy, rows


def describe(torch: Any, launcher: launch.Launcher) -> dict[str, Any]:
    """Device and versions."""
    properties = torch.cuda.get_device_properties(0)
    return {
        "schema": SCHEMA,
        "device": {
            "name": launcher.device.name,
            "capability": list(launcher.device.capability),
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
        },
        "versions": {
            "driver_cuda": list(launcher.device.driver.version()),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "source": source.digest(source.one_text(source.kernels())),
        },
    }


def no_gpu(reason: str, required: bool) -> int:
    """Say that nothing was run."""
    print(f"acceptance did NOT run, nothing was compared and nothing timed: {reason}")
    return 3 if required else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--require-gpu", action="store_true", help="exit 3 if there is no GPU")
    parser.add_argument("--no-timings", action="store_true", help="only compare")
    options = parser.parse_args(arguments)
    try:
        import torch
    except ImportError as error:
        return no_gpu(str(error), options.require_gpu)
    if not torch.cuda.is_available():
        return no_gpu("torch.cuda.is_available() is false", options.require_gpu)
    torch.zeros(1, device="cuda")  # makes the primary context
    with tempfile.TemporaryDirectory() as scratch:
        library = build_cpu_library(Path(scratch))
        try:
            found = launchers(Path(scratch))
        except GPUError as error:
            print(f"FAILED: {error}")
            return 1
        results = describe(torch, next(iter(found.values())))
        results["versions"]["images"] = {name: made.images for name, made in found.items()}
        results["checks"] = []
        for name, launcher in found.items():
            results["checks"] += check_all(name, TorchMachine(torch), launcher, library)
    if not options.no_timings:
        results["copy"], results["timings"] = time_all(torch, next(iter(found.values())))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return int(any(row["differences"] for row in results["checks"]))


if __name__ == "__main__":
    sys.exit(main())
