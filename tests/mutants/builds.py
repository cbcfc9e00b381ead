"""From a mutant to a library: copy the sources, replace, compile."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from generated import include
from mutants.catalogue import Mutant

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "cuda" / "csrc"
FLAGS = "-std=c++17 -O1 -ffp-contract=off -fno-math-errno -fno-trapping-math -pthread -fPIC"
FLAGS += " -fvisibility=hidden -fvisibility-inlines-hidden"
MARCH = {"v1": "x86-64", "v3": "x86-64-v3"}
SYSTEM = (
    "pthread.h",
    "unistd.h",
    "stdint.h",
    "string.h",
    "atomic",
    "condition_variable",
    "mutex",
    "thread",
    "vector",
    "immintrin.h",
)  # compiled once: parsing them is half of a build


def out_of_date(mutants: list[Mutant], folder: Path = SOURCES) -> list[str]:
    """Mutants whose text is not in its file as often as they say."""
    found = [
        (m, (folder / m.file).read_text().count(m.text) if m.file else m.count) for m in mutants
    ]
    return [
        f"{m.name!r} expects {m.text!r} {m.count} times in {m.file}, got {count}"
        for m, count in found
        if count != m.count
    ]


def mutate(mutant: Mutant, folder: Path) -> None:
    """Copy the sources and replace."""
    for source in SOURCES.rglob("*"):
        if source.suffix in (".h", ".cpp") and "gpu" not in source.relative_to(SOURCES).parts:
            target = folder / source.relative_to(SOURCES)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text())
    if mutant.file:
        path = folder / mutant.file
        path.write_text(path.read_text().replace(mutant.text, mutant.replacement))


def compile_(level: str, flags: tuple[str, ...], *files: str) -> None:
    """Run the compiler. Raises ValueError with its message if it refuses."""
    compiler = os.environ.get("CXX", "g++")
    command = [compiler, *FLAGS.split(), f"-march={MARCH[level]}", *flags, *files]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{' '.join(files)} does not compile:\n{done.stderr}")


def precompile(folder: Path) -> None:
    """A header of all system headers for each level, compiled."""
    for level in MARCH:
        header = folder / f"{level}.h"
        header.write_text("".join(f"#include <{name}>\n" for name in SYSTEM))
        compile_(level, ("-x", "c++-header"), "-o", f"{header}.gch", str(header))


def build(mutant: Mutant, folder: Path) -> Path:
    """The library of a mutant. Raises ValueError if it does not compile: that catches nothing."""
    mutate(mutant, folder / "csrc")
    library = folder / f"libqtheory_{mutant.level}.so"
    # A compiled header fits only the flags it was compiled with.
    header = () if mutant.flags else ("-include", str(folder.parent / f"{mutant.level}.h"))
    source = str(folder / "csrc" / "cpu" / "library.cpp")
    flags = ("-shared", *mutant.flags, *header, *include(folder / "csrc"))
    compile_(mutant.level, flags, "-o", str(library), source)
    return library
