"""Make qtheory.fatbin: machine code for each generation of GPUs since 2020, and PTX for others.

Standard library only, so that CMake or a bare machine can call it:

    python3 cuda/csrc/gpu/build.py OUTPUT_FOLDER [--nvcc PATH] [--resources]
    python3 cuda/csrc/gpu/build.py OUTPUT_FOLDER --registry

The second writes registry.h, the list of algorithms, from the headers that are there.

Beside the image goes qtheory.json, which names the sources it was made from: the package
refuses an image that its sources did not make. Takes seven seconds of one core for each machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
# Code for a machine runs on later ones of its generation: 80 serves 86 and 89, 100 serves 103, and
# 120 serves 121. A driver translates the PTX for the rest.
MACHINES = (80, 90, 100, 120)
PTX = 90


def load_source() -> ModuleType:
    """qcuda/kernels/source.py by its path: importing the package would need torch."""
    path = HERE.parent.parent / "qcuda" / "kernels" / "source.py"
    spec = importlib.util.spec_from_file_location("qtheory_gpu_source", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"the recipe needs {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find_nvcc(named: str | None = None) -> str | None:
    """Path of nvcc: the named one, on PATH, or the default toolkit's; None if there is none."""
    return named or shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def machines(nvcc: str) -> list[int]:
    """Those that this nvcc knows: 100 and 120 came with CUDA 12.8."""
    command = [nvcc, "--list-gpu-code"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return [number for number in MACHINES if f"sm_{number}" in listed]


def build(folder: Path, nvcc: str, *flags: str) -> Path:
    """Compile, and return the image's path. Raises CalledProcessError if nvcc fails.

    flags: more of them for nvcc.
    """
    source = load_source()
    text = source.one_text(HERE / "kernels.cu")
    known = machines(nvcc)
    targets = [f"-gencode=arch=compute_{m},code=sm_{m}" for m in known]
    targets += [f"-gencode=arch=compute_{PTX},code=compute_{PTX}", "--threads=0"]
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "qtheory.fatbin"
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "kernels.cu"
        file.write_text(text, encoding="utf-8")
        command = [nvcc, "-fatbin", *source.EXACT, *targets, *flags, "-o", str(image), str(file)]
        subprocess.run(command, check=True)
    version = subprocess.run([nvcc, "--version"], check=True, capture_output=True, text=True)
    note = {
        "source": source.digest(text),
        "machines": known,
        "compiler": version.stdout.strip().splitlines()[-1],
    }
    image.with_suffix(".json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return image


def write_registry(folder: Path) -> int:
    """Write registry.h, unless it already says the same: compilers look at its time."""
    source = load_source()
    text = source.registry(source.headers(HERE.parent))
    file = folder / "registry.h"
    folder.mkdir(parents=True, exist_ok=True)
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="make qtheory.fatbin")
    parser.add_argument("folder", type=Path, help="where the image goes")
    parser.add_argument("--resources", action="store_true", help="print registers and spills")
    parser.add_argument("--nvcc", help="the compiler (default: on PATH, else /usr/local/cuda)")
    parser.add_argument("--registry", action="store_true", help="only write registry.h there")
    arguments = parser.parse_args()
    if arguments.registry:
        return write_registry(arguments.folder)
    nvcc = find_nvcc(arguments.nvcc)
    if nvcc is None:
        print(
            "qtheory.fatbin needs nvcc, found none on PATH or in /usr/local/cuda", file=sys.stderr
        )
        return 2
    flags = ("-Xptxas", "-v") if arguments.resources else ()
    print(build(arguments.folder, nvcc, *flags))
    return 0


if __name__ == "__main__":
    sys.exit(main())
