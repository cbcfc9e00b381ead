"""The first thing to run on a machine with a GPU: are its results the CPU's, and how fast?

    PYTHONPATH=.:reference:cuda python3 -m qcuda.validate.acceptance --torch --json FILE

Needs python3 with numpy and torch, g++, and nvcc or NVRTC; no installation. Builds the CPU library
and a kernel image in a temporary folder, compares every kernel bit for bit (compare.py says
with what), replays a captured graph, then times the main kernels beside a copy of the same
machine. With --torch, which needs an installed package, the torch layer follows: layers, optimiser,
graphs, streams, memory, processes and speed, a row for each stage of qcuda/validate/device, each
in a process of its own. No run on a GPU is recorded yet, so how long it takes is not known; only
the stage `throughput` compiles networks. Exit: 0 all equal, or no GPU; 1 something differs; 3 no
GPU but one was required. cuda/benchmarks/README.md documents the JSON.
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
from qcuda.kernels.gpu import GPUError, cache, image, launch
from qcuda.kernels.gpu.driver import Driver
from qcuda.validate import compare, helpers

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SCHEMA = 2


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
    """A fatbin by nvcc of all kernels, those with moments in int8 too; None if there is no nvcc."""
    recipe = CSRC / "gpu" / "build.py"
    spec = importlib.util.spec_from_file_location("qtheory_gpu_build", recipe)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"the image needs {recipe}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    nvcc = module.find_nvcc()
    return module.build(folder, nvcc, "-DQT_INT8_MOMENTS") if nvcc else None


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
        made = launch.Launcher(device)
        made.prepare(every_step())  # now: later it would take them from an installed image
        found["nvrtc"] = made
    except GPUError as error:
        print(f"NVRTC image: none ({error})")
        if not found:
            raise
    finally:
        image.fatbin_places = places
    return found


def every_step() -> list[abi.Launch]:
    """A launch of each step kernel."""
    return [case.launch for case in compare.cases()]


def check_all(
    name: str, machine: compare.Machine, launcher: launch.Launcher, library: Any
) -> list[dict[str, Any]]:
    """Every comparison, as rows of the JSON file."""
    arguments = (machine, launcher, library)
    cases = list(compare.cases())
    found = compare.check_steps(cases, *arguments)
    for case in cases[::7]:
        found[f"graph {case.name}"] = compare.check_graph(case, *arguments)
    found["scalars"] = helpers.check_scalars(*arguments)
    found["words"] = helpers.check_words(*arguments)
    found["decode"] = helpers.check_decode(*arguments)
    found["squares"] = helpers.check_squares(*arguments)
    found["outcomes"] = helpers.check_outcomes(*arguments)
    rows = [{"image": name, "name": n, "differences": wrong} for n, wrong in found.items()]
    different = [row for row in rows if row["differences"]]
    for row in different:
        print(f"  DIFFERS {row['name']}: {', '.join(row['differences'][:4])}")
    print(f"{name} image: {len(rows)} comparisons, {len(different)} differ")
    return rows


def describe(torch: Any, launcher: launch.Launcher, device: str) -> dict[str, Any]:
    """Device and versions."""
    about: dict[str, Any] = {
        "name": launcher.device.name,
        "capability": list(launcher.device.capability),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        about["memory_bytes"] = properties.total_memory
        about["multiprocessors"] = properties.multi_processor_count
    return {
        "schema": SCHEMA,
        "device": about,
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
    parser.add_argument("--no-timings", action="store_true", help="do not time the kernels")
    parser.add_argument(
        "--torch", action="store_true", help="run the stages of the torch layer too"
    )
    parser.add_argument("--stage", action="append", help="only this one of them; may be repeated")
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)  # cpu: a dry run
    options = parser.parse_args(arguments)
    try:
        import torch
    except ImportError as error:
        return no_gpu(str(error), options.require_gpu)
    if options.device == "cuda" and not torch.cuda.is_available():
        return no_gpu("torch.cuda.is_available() is false", options.require_gpu)
    torch.zeros(1, device=options.device)  # makes the primary context
    with tempfile.TemporaryDirectory() as scratch:
        library = build_cpu_library(Path(scratch))
        try:
            found = launchers(Path(scratch))
        except GPUError as error:
            print(f"FAILED: {error}")
            return 1
        results = describe(torch, next(iter(found.values())), options.device)
        results["versions"]["images"] = {name: made.images for name, made in found.items()}
        results["checks"] = []
        for name, launcher in found.items():
            results["checks"] += check_all(name, TorchMachine(torch), launcher, library)
        if not options.no_timings:
            from qcuda.validate.device import timing
            from qcuda.validate.device.card import Card

            card, launcher = Card(options.device), next(iter(found.values()))
            results["copy"], results["timings"] = timing.time_all(card, launcher)
        results["stages"] = run_stages(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    failed = [row for row in results["stages"] if row["result"] == "FAILED"]
    return int(bool(failed) or any(row["differences"] for row in results["checks"]))


def run_stages(options: argparse.Namespace) -> list[Any]:
    """Rows of the torch layer's stages, none unless they are asked for."""
    if not options.torch and not options.stage:
        return []
    from qcuda.validate.device import stages

    return stages.run_all(options.stage or stages.STAGES, options.device)


if __name__ == "__main__":
    sys.exit(main())
