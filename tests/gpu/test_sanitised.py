"""The kernels, emulated under the address and undefined-behaviour sanitisers; and mutants of them.

A mutant is a kernel with one plausible mistake. Each must be seen, or the proof proves nothing.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from generated import include
from samples import deep, sample

from qcuda.kernels import source
from qtheory.algorithms import contract

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "cuda" / "csrc"
FLAGS = (
    "-include",
    str(HERE / "emulate.h"),
    "-std=c++17",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wextra",
    "-Wno-clobbered",
)
SANITISED = ("-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

FORGETTING = ("-O1", "-DFORGETTING=dst")  # of a rule whose weights forget a moment when they move

# name: (file, what it says, what the mutant says, sanitised, what is reported)
MUTANTS = {
    "a store past the end": (
        "gpu/group.h",
        "if (i < at.count) p[i] = x[i];",
        "if (i <= at.count) p[i] = x[i];",
        True,
        "heap-buffer-overflow",
    ),
    "a byte of trits too many": (
        "gpu/group.h",
        "if (at.count > 4) p[1] = byte[1];",
        "p[1] = byte[1];",
        True,
        "heap-buffer-overflow",
    ),
    "vectors at any address": (
        "gpu/group.h",
        "aligned && count == GROUP",
        "count == GROUP",
        True,
        "misaligned address",
    ),
    "a table read off the lattice": (
        "gpu/kernels.cu",
        "legal = index >= 0 && index < size;",
        "legal = index >= 0;",
        True,
        "heap-buffer-overflow",
    ),
    "the wrong lane of words": (
        "gpu/group.h",
        "lane = uint32_t(first) % QUAD;",
        "lane = uint32_t(first) % 2;",
        False,
        "differ",
    ),
    "words by place in the tensor": (
        "gpu/step.h",
        "block = uint64_t(all.tensor.offset) / QUAD;",
        "block = 0;",
        False,
        "differ",
    ),
    "one stream for two purposes": ("gpu/step.h", "STREAM_MOMENT", "STREAM_MOVE", False, "differ"),
    "moments share random bits": (
        "gpu/step.h",
        "low[i] = words[i] & 0xffffu",
        "low[i] = words[i] >> 16",
        False,
        "differ",
    ),
    "padding counts": (
        "gpu/step.h",
        "      if (i < at.count)\n",
        "",
        True,
        "heap-buffer-overflow",
    ),
    "half a block counts": ("gpu/step.h", "int lane = 16;", "int lane = 8;", False, "differ"),
    "no barrier": ("gpu/step.h", "  __syncthreads();\n", "", False, "differ"),
    "a group past the end": (
        "gpu/step.h",
        "start + gap + QUAD <= count",
        "start < count",
        True,
        "heap-buffer-overflow",
    ),
    "a block number of 33 bits": (
        "gpu/step.h",
        " && first >> 34 == last >> 34",
        "",
        False,
        "differ",
    ),
    "a group that begins inside a block": (
        "gpu/step.h",
        "first % QUAD == 0",
        "true",
        False,
        "differ",
    ),
    "vectors of odd gradients": (
        "gpu/step.h",
        "vectors = divisible(all.tensor.gradient, 16)",
        "vectors = true",
        True,
        "misaligned address",
    ),
    "vectors of odd moments": (
        "gpu/step.h",
        "wide = wide && divisible(t.first, by)",
        "(void)t",
        True,
        "misaligned address",
    ),
    "wild numbers in a group": ("gpu/step.h", "!numbers.within(limit) || ", "", False, "differ"),
    "wild numbers below zero": ("gpu/step.h", " && negative <= bits(-limit)", "", False, "differ"),
    "increments of a group unrecorded": ("gpu/step.h", "!t.increment && ", "", False, "differ"),
    "moves of two levels uncounted": (
        "gpu/wide.h",
        "(change | change >> 1) & 0x5555u",
        "change & 0x5555u",
        False,
        "differ",
    ),
    "both quads of a lane together": (
        "gpu/wide.h",
        "quad[k] = read_at<Eight, uint16_t>(base, start + k * gap)",
        "quad[k] = read_at<Eight, uint16_t>(base, start + k * QUAD)",
        False,
        "differ",
    ),
    "bytes of windows past the end": (
        "gpu/stairs.h",
        "if (b < bytes) p[b] = uint8_t(packed >> 8 * b);",
        "p[b] = uint8_t(packed >> 8 * b);",
        True,
        "heap-buffer-overflow",
    ),
    "windows of what is not there": (
        "gpu/stairs.h",
        "uint32_t(i < at.count && within(u, t, a))",
        "uint32_t(within(u, t, a))",
        False,
        "stairs of float32 differ",
    ),
    "stairs by vectors at any address": (
        "gpu/stairs.h",
        "const bool aligned = divisible(x, 16) && divisible(z, 16);",
        "const bool aligned = true;",
        True,
        "misaligned address",
    ),
    "gains of a tensor's first rows": (
        "gpu/gains.h",
        "uint64_t(before + i) * inverse",
        "uint64_t(i) * inverse",
        False,
        "differ",
    ),
    "one gain of a quad in two rows": (
        "gpu/gains.h",
        "t.row % QUAD == 0 || left >= count",
        "true",
        False,
        "differ",
    ),
    "gains of long rows past the end": (
        "gpu/gains.h",
        "!cut ? inside : left < CHUNK ? CHUNK - left : 0",
        "!cut ? inside : CHUNK - 1",
        True,
        "heap-buffer-overflow",
    ),
    "vectors of int8 moments at any address": (
        "gpu/step.h",
        "== 1 ? 8 : 16",
        "== 1 ? 1 : 16",
        True,
        "misaligned address",
    ),
    "int8 moments as unsigned numbers": (
        "gpu/wide.h",
        "third_bytes(high) ^ 0x80808080u",
        "third_bytes(high)",
        False,
        "differ",
    ),
    "a weight in a group forgets nothing": (
        "gpu/step.h",
        "      if (forgets<Rule> && next != index) m[i] = 0.0f;\n",
        "",
        False,
        "differ",
    ),
    "a weight at an odd address forgets nothing": (
        "gpu/step.h",
        "    if (forgets<Rule> && next != index) m = 0.0f;\n",
        "",
        False,
        "differ",
    ),
    "half a warp's squares": (
        "gpu/squares.h",
        "int half = 16;",
        "int half = 8;",
        False,
        "mean squares differ",
    ),
    "the parts of another row": (
        "gpu/squares.h",
        "row * of_row",
        "row",
        False,
        "mean squares differ",
    ),
    "sums past the last part": (
        "gpu/squares.h",
        "k + i < of_row ? part[k + i] : 0.0",
        "part[k + i]",
        True,
        "heap-buffer-overflow",
    ),
    "slopes of half the counts": (
        "gpu/stairs.h",
        "size && step < stair.steps",
        "size && step < 1",
        False,
        "stairs of float32 differ",
    ),
    "all pieces of a plane in one part": (
        "gpu/batch_norm.h",
        "row / b.channels * pieces + unit % pieces",
        "row / b.channels * pieces",
        False,
        "batch norm of float32",
    ),
    "lanes without a barrier": (
        "gpu/batch_norm.h",
        "lanes[1][t] += lanes[1][t + half];\n      __syncthreads();\n",
        "lanes[1][t] += lanes[1][t + half];\n",
        False,
        "batch norm of float32",
    ),
    "a lane past the end of its piece": (
        "gpu/batch_norm.h",
        "(length - lane + LANES - 1) / LANES",
        "(length + LANES - 1) / LANES",
        True,
        "heap-buffer-overflow",
    ),
    "the channel of a group for all of it": (
        "gpu/batch_norm.h",
        "if (i == 0 || within == 0)",
        "if (i == 0)",
        False,
        "batch norm of float32",
    ),
}


def run(program: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program], capture_output=True, text=True, check=False)


def of_each_family() -> list[str]:
    """Rules enough for each kind of destinations: memory is read and written for all alike."""
    stems = source.stems()
    return list(stems if deep() else sample(stems, lambda stem: [contract(stem).destinations]))


@pytest.mark.parametrize(
    "flags", [("-O1",), SANITISED, FORGETTING], ids=["plain", "sanitised", "forgetting"]
)
def test_kernels_are_the_plain_loop(flags, compile_once):
    rules = {SANITISED: of_each_family(), FORGETTING: ["dst"]}.get(flags, list(source.stems()))
    flags = (*FLAGS, *flags, *include(SOURCES, rules))
    program = compile_once("g++", HERE / "sanitised.cpp", "kernels", flags)
    done = run(program)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{28 * len(rules)} kernels, 0 differ\n"


def tried() -> list[str]:
    """Mutants of each file that are reported in each way; under the profile `deep`, all."""
    return list(MUTANTS) if deep() else sample(list(MUTANTS), lambda name: MUTANTS[name][::4])


def test_mutants_are_of_these_sources():
    for file, says, *_ in MUTANTS.values():
        assert says in (SOURCES / file).read_text()


@pytest.mark.parametrize("name", tried())
def test_a_mutant_is_seen(name, tmp_path, compile_once):
    file, says, mutant_says, sanitised, reported = MUTANTS[name]
    shutil.copytree(SOURCES, tmp_path / "csrc")
    changed = tmp_path / "csrc" / file
    changed.write_text(changed.read_text().replace(says, mutant_says))
    flags = SANITISED if sanitised else ("-O0", *FORGETTING[1:])
    program = tmp_path / "mutant"
    listed = include(tmp_path / "csrc", ["dst"])  # a rule that draws words, quickly compiled
    command = ["g++", *FLAGS, *flags, "-w", *listed, HERE / "sanitised.cpp"]
    if shutil.which("g++") is None:
        pytest.skip("g++ is not on PATH")
    subprocess.run([*command, "-o", program], check=True, timeout=120)
    done = run(program)
    assert done.returncode != 0
    assert reported in done.stdout + done.stderr
