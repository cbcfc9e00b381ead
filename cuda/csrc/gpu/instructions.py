"""Count the machine instructions that a step kernel executes for a weight, without a GPU.

    python3 cuda/csrc/gpu/instructions.py [--machine 90] [--write cuda/benchmarks/instructions.json]

Needs nvcc, and nvdisasm on PATH or from the wheel nvidia-cuda-nvdisasm. Counted is the way round
the kernel's loop that has exactly the loads and stores of eight tame weights, and the fewest
instructions: what is rare (wild increments, odd addresses, slow divisions) lies aside of it.
"""

from __future__ import annotations

import argparse
import heapq
import json
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
WEIGHTS = 8  # of a thread at a time

KERNELS = {
    "dst_sgd_trits_bfloat16": (1, 0, "U16", 1),
    "dst_momentum_trits_bfloat16_bfloat16": (2, 1, "U16", 1),
    "dst_momentum_trits_float32_bfloat16": (3, 1, "U16", 1),
    "dst_momentum_int8_bfloat16_bfloat16": (2, 1, "64", 1),
    "dst_momentum_trits_float32_float32": (4, 2, "U8", 2),
    "dst_momentum_trits_bfloat16_int8": (1, 0, "U16", 1),
    "dst_adam_trits_bfloat16_bfloat16": (3, 2, "U16", 1),
    "dst_adam_trits_float32_float32": (6, 4, "U8", 2),
    "dst_adam_int8_float32_float32": (6, 4, "", 2),
    "stochastic_rounding_momentum_trits_bfloat16_bfloat16": (2, 1, "U16", 1),
    "stochastic_rounding_adam_trits_bfloat16_bfloat16": (3, 2, "U16", 1),
    "deterministic_rounding_momentum_trits_bfloat16_bfloat16": (2, 1, "U16", 1),
    "metropolis_momentum_trits_bfloat16_bfloat16": (2, 1, "U16", 1),
}  # 16-byte loads and stores; then of what kind those of states are, and how many of each
GAINS = " with gains"  # behind a kernel's name: gradients are multiplied by those of their rows
for _kernel in (
    "dst_sgd_trits_bfloat16",
    *(k for k in KERNELS if k.startswith("dst_momentum_trits")),
):
    KERNELS[_kernel + GAINS] = KERNELS[_kernel]


def find_nvdisasm() -> str | None:
    """Path of nvdisasm: on PATH, or in a wheel; None if there is none."""
    wheels = [Path(entry) / "nvidia" for entry in sys.path if entry]
    found = [str(path) for wheel in wheels for path in sorted(wheel.glob("*/bin/nvdisasm"))]
    return shutil.which("nvdisasm") or (found[-1] if found else None)


def shortest_way(listing: str, kernel: str) -> int | None:
    """Instructions of the shortest way round a loop with the kernel's loads and stores."""
    wide_loads, wide_stores, kind, narrow = KERNELS[kernel]
    state = f".{kind}" if kind else ""
    wanted = Counter({"LDG.E.128": wide_loads, "STG.E.128": wide_stores})
    wanted += Counter({f"LDG.E{state}": narrow, f"STG.E{state}": narrow})
    kernel, gains, _ = kernel.partition(GAINS)
    if gains:
        wanted += Counter({"LDG.E": 2})
    if kernel.endswith("_int8"):  # moments
        wanted += Counter({"LDG.E.64": 1, "STG.E.64": 1})
    section = re.split(rf"^\s*\.section\s+\.text\.qt_step_{kernel}\b", listing, flags=re.MULTILINE)[
        1
    ]
    labels: dict[str, int] = {}
    code: list[str] = []
    for line in re.split(r"^\s*\.section\s", section, maxsplit=1, flags=re.MULTILINE)[
        0
    ].splitlines():
        if label := re.match(r"\s*(\.L_\w+):", line):
            labels[label.group(1)] = len(code)
        elif instruction := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;", line):
            code.append(instruction.group(1))
    jumps = {
        place: labels[found.group(1)]
        for place, text in enumerate(code)
        if (found := re.search(r"\bBRA\b.*`\((\.L_\w+)\)", text)) and found.group(1) in labels
    }
    ways = (_way(code, jumps, head, wanted) for head in {t for p, t in jumps.items() if t <= p})
    return min((way for way in ways if way), default=None)


def _way(code: list[str], jumps: dict[int, int], head: int, wanted: Counter[str]) -> int | None:
    names = sorted(wanted)
    goal = tuple(wanted[name] for name in names)
    queue, seen = [(0, head, (0,) * len(names))], set()
    while queue:
        length, place, made = heapq.heappop(queue)
        if (place, made) in seen or place >= len(code):
            continue
        seen.add((place, made))
        text = code[place]
        if re.search(r"\b(CALL|RET)\b", text) or re.match(r"EXIT", text):
            continue
        if access := re.search(r"\b(LDG|STG)[\w.]*", text):
            if access.group(0) not in names:
                continue
            which = names.index(access.group(0))
            made = tuple(n + (i == which) for i, n in enumerate(made))
            if made[which] > goal[which]:
                continue
        following = [jumps[place]] if place in jumps else []
        if place not in jumps or text.startswith("@") or re.search(r"BRA(\.\w+)* !?U?P\d", text):
            following.append(place + 1)
        for after in following:
            if after == head and made == goal and place in jumps:
                return length + 1
            heapq.heappush(queue, (length + 1, after, made))
    return None


def count(kernel: str, machine: int, nvcc: str, nvdisasm: str) -> float:
    """Instructions a weight. Raises ValueError if the loop is not found, and CalledProcessError."""
    source = runpy.run_path(str(HERE / "build.py"))["load_source"]()
    with tempfile.TemporaryDirectory() as scratch:
        file, cubin = Path(scratch) / "kernel.cu", Path(scratch) / "kernel.cubin"
        defines = [
            macro.replace("=", " ", 1)
            for macro in source.only(f"qt_step_{kernel.partition(GAINS)[0]}")
        ]
        lines = [*(f"#define {macro}" for macro in defines), source.one_text(HERE / "kernels.cu")]
        file.write_text("\n".join(lines), encoding="utf-8")  # nvcc's -D splits at commas
        command = [nvcc, "-cubin", f"-arch=sm_{machine}", *source.EXACT]
        subprocess.run([*command, "-o", str(cubin), str(file)], check=True)
        listing = subprocess.run(
            [nvdisasm, "-c", str(cubin)], check=True, capture_output=True, text=True
        )
    found = shortest_way(listing.stdout, kernel)
    if found is None:
        raise ValueError(f"a loop with the loads and stores of eight weights, got none in {kernel}")
    return found / WEIGHTS


def main() -> int:
    parser = argparse.ArgumentParser(description="count instructions a weight")
    parser.add_argument("--machine", type=int, default=90, help="10 major + minor (default: 90)")
    parser.add_argument("--write", type=Path, help="a JSON file for the table")
    arguments = parser.parse_args()
    nvcc = runpy.run_path(str(HERE / "build.py"))["find_nvcc"]()
    nvdisasm = find_nvdisasm()
    if nvcc is None or nvdisasm is None:
        print("counting needs nvcc and nvdisasm (nvidia-cuda-nvdisasm)", file=sys.stderr)
        return 2
    version = subprocess.run([nvcc, "--version"], check=True, capture_output=True, text=True)
    table = {}
    for kernel in KERNELS:
        table[kernel] = count(kernel, arguments.machine, nvcc, nvdisasm)
        print(f"{kernel:<58}{table[kernel]:>7.1f}", flush=True)
    if arguments.write:
        compiler = version.stdout.strip().splitlines()[-1]
        note = {"machine": arguments.machine, "compiler": compiler, "instructions_a_weight": table}
        arguments.write.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
