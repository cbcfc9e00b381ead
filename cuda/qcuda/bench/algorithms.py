"""Benchmark of every algorithm: its kernel beside the torch form that a user would write.

A walker's update is a plain gradient step of `LatticeOptimizer`; one more has 8 bits and the base
`Normalized`. A reader's row is read and differentiated, forward and backward, in its latent and in
what it learns; rows that have no kernel are named. Torch forms are those of `qcuda.bench.eager`, as
they are and compiled; a compiled form is compiled before its time counts. Rounds of the three are
interleaved, and medians taken. With them runs a copy that reads and writes as many bytes as the
kernel must (`MUST_MOVE`), the limit that memory sets: "over streaming" is the kernel's time over
the copy's, both in caches if the tensors fit there. Where others use the machine, the processor's
time of one thread is steadier than the clock on the wall.
"""

from __future__ import annotations

import json as json_module
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from qcuda.bench.eager import MOVES, READINGS, moved
from qcuda.bench.update import lattice_step, measure, streaming
from qcuda.errors import BackendUnavailable, require
from qcuda.kernels import native
from qcuda.nn.fused_reading import covered
from qcuda.nn.reader import Reader
from qcuda.train.methods import METHODS, spec_of
from qtheory.algorithms import Spec, rows, stem, usual, walkers
from qtheory.algorithms.reader import reading_of
from qtheory.optimisers import SGD, Normalized

COLUMNS, LEARNING_RATE = 1024, 0.05
HIDDEN_BITS = 8
FORMS = ("kernel", "eager", "compiled")
ASKED = {"walkers": 8.0, "readers": 3.0, "each": 1.5}
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
# Bytes a weight that a kernel must read or write: a float32 gradient, and an int8 code both ways;
# for a mean square the gradient once more. Of readers forward a latent and what is seen of it, and
# backward latent, upstream gradient and the latent's.
MUST_MOVE = {"plain": 4 + 2, "normalised": 4 + 4 + 2, "reading": 2 * 4 + 3 * 4}
Actions = dict[str, Callable[[], Any]]


class Case(NamedTuple):
    """What is timed: its family, the forms from a number of weights, and bytes moved a weight."""

    family: str
    make: Callable[[int], Actions]
    moved: int

    def actions(self, weights: int) -> Actions:
        """The forms, and beside them a copy that moves the kernel's bytes."""
        return {**self.make(weights), "streaming": streaming(self.moved * weights)}


def _codes(spec: Spec, weights: int) -> Tensor:
    low = -(spec.lattice.size // 2)
    return torch.randint(low, low + spec.lattice.size, (weights,), dtype=torch.int8)


def plain_update(spec: Spec, weights: int) -> Actions:
    """One gradient step of a walker."""
    gradient = torch.randn(weights)
    actions = {"kernel": lattice_step(spec, SGD(LEARNING_RATE), gradient, columns=COLUMNS)}
    move = MOVES.get(stem(spec))
    if move is None:
        return actions

    def update(code: Tensor, gradient: Tensor) -> None:
        code.copy_(moved(code, -LEARNING_RATE * gradient, spec, move, torch.rand_like))

    code = _codes(spec, weights)
    compiled = torch.compile(update, fullgraph=True, dynamic=False)
    actions["eager"] = lambda: update(code, gradient)
    actions["compiled"] = lambda: compiled(code, gradient)
    return actions


def normalised_update(spec: Spec, weights: int) -> Actions:
    """One step along the gradient over its running rms."""
    gradient, base = torch.randn(weights), Normalized(LEARNING_RATE)
    actions = {"kernel": lattice_step(spec, base, gradient, columns=COLUMNS)}
    move = MOVES[stem(spec)]

    def update(code: Tensor, gradient: Tensor, square: Tensor, share: Tensor) -> None:
        square.mul_(base.decay).add_(gradient.square().mean(), alpha=1 - base.decay)
        share.mul_(base.decay)  # rho**t
        increment = gradient * (-LEARNING_RATE * torch.sqrt((1 - share) / square))
        code.copy_(moved(code, increment, spec, move, torch.rand_like))

    kept = (_codes(spec, weights), gradient, torch.zeros(()), torch.ones(()))
    compiled = torch.compile(update, fullgraph=True, dynamic=False)
    actions["eager"] = lambda: update(*kept)
    actions["compiled"] = lambda: compiled(*kept)
    return actions


def both_ways(
    function: Callable[[Tensor], Tensor], wanted: Sequence[Tensor], upstream: Tensor
) -> Callable[[], Any]:
    """What is seen of the first tensor, and gradients in all."""

    def run() -> tuple[Tensor, ...]:
        return torch.autograd.grad(function(wanted[0]), wanted, upstream)

    return run


def reading(spec: Spec, weights: int) -> Actions:
    """A reader's row, read and differentiated; latents have the size of the levels."""
    upstream = torch.randn(weights // COLUMNS, COLUMNS)
    latent = torch.randn(weights // COLUMNS, COLUMNS).mul_(0.5).requires_grad_()
    reader = Reader(reading_of(spec), latent)
    learned = tuple(reader.parameters())
    actions = {"kernel": both_ways(reader, (latent, *learned), upstream)}
    form = READINGS.get(stem(spec))
    if form is None:
        return actions

    def seen(x: Tensor) -> Tensor:
        return form(x, learned, spec, torch.rand_like)

    compiled = torch.compile(seen, fullgraph=True, dynamic=False)
    actions["eager"] = both_ways(seen, (latent, *learned), upstream)
    actions["compiled"] = both_ways(compiled, (latent, *learned), upstream)
    return actions


def cases() -> dict[str, Case]:
    """Every walker's stem, the walker of hidden levels, and readers' rows with a kernel."""
    plain, normalised, read = MUST_MOVE.values()
    found = {name: Case("walkers", partial(plain_update, usual(name)), plain) for name in walkers()}
    trained = next(name for name, method in METHODS.items() if method.bits == HIDDEN_BITS)
    found[f"walker of {HIDDEN_BITS} bits, normalised"] = Case(
        "walkers", partial(normalised_update, spec_of(trained, {})), normalised
    )
    for name, row in rows().items():
        if covered(reading_of(row.spec)):
            found[name] = Case("readers", partial(reading, row.spec), read)
    return found


@contextmanager
def library_of(level: str | None) -> Iterator[Path]:
    """The file of the CPU library of a level while the block runs, None for the usual one.

    Raises BackendUnavailable if there is no such library, or the processor can not run it.
    """
    if level is None:
        yield Path(native.library()._name)
        return
    best, numbers = native.library().qt_processor_level(), {v: k for k, v in native.LEVELS.items()}
    if numbers.get(level, best) > best:
        raise BackendUnavailable(
            f"a library is of this processor's level or below, {native.LEVELS[best]}, got {level}"
        )
    before = os.environ.get("QTHEORY_LEVEL")
    os.environ["QTHEORY_LEVEL"] = level
    native.library.cache_clear()
    try:
        yield Path(native.library()._name)
    finally:
        os.environ.pop("QTHEORY_LEVEL")
        if before is not None:
            os.environ["QTHEORY_LEVEL"] = before
        native.library.cache_clear()


def summary(table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Median and lowest ratio of each family, for each of torch's forms, and the lowest of all."""
    found: dict[str, Any] = {}
    for family in ("walkers", "readers"):
        some = {n: row for n, row in table.items() if row["family"] == family and "eager" in row}
        for form in FORMS[1:]:
            ratios = {name: row[form] / row["kernel"] for name, row in some.items()}
            if ratios:
                lowest = min(ratios, key=lambda name: ratios[name])
                found[f"{family}, {form}"] = {
                    "median": statistics.median(ratios.values()),
                    "lowest": ratios[lowest],
                    "lowest_of": lowest,
                }
    return found


def algorithms(
    weights: int = 2**20,
    repeats: int = 15,
    threads: int | None = None,
    level: str | None = None,
    clock: str = "wall",
    json: str | None = None,
) -> dict[str, Any]:
    """Time every walker's update and every reader's row beside torch, and print medians and ratios.

    Args:
        weights: number of weights, a positive multiple of 1024; filters of readers have 1024.
        repeats: timed rounds; each runs the kernel and both forms once.
        threads: CPU threads; by default torch's own choice.
        level: CPU library, v1, v3 (AVX2) or v4 (AVX-512); by default the processor's best. Torch
            keeps its own level, which the variable ATEN_CPU_CAPABILITY chooses.
        clock: "wall", or "processor" for the time of the processor, of all threads together.
        json: file for the table.
    """
    require(
        weights >= COLUMNS and weights % COLUMNS == 0,
        f"weights is a positive multiple of {COLUMNS}, got {weights}",
    )
    require(clock in CLOCKS, f"a clock is one of {', '.join(CLOCKS)}, got {clock!r}")
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else threads)
    table: dict[str, dict[str, Any]] = {}
    every = cases()
    try:
        with library_of(level) as library:
            for name, case in tqdm(every.items(), desc="algorithms", disable=None):
                torch.manual_seed(0)
                table[name] = {
                    "family": case.family,
                    **measure(case.actions(weights), repeats, CLOCKS[clock]),
                }
                torch.compiler.reset()
            result = {
                "weights": weights,
                "repeats": repeats,
                "clock": clock,
                "threads": torch.get_num_threads(),
                "processor": platform.processor() or platform.machine(),
                "torch": torch.__version__,
                "torch_level": torch.backends.cpu.get_cpu_capability(),
                "library": library.name,
                "median_ms": table,
                "ratios": summary(table),
                "asked": ASKED,
                "without_kernel": [name for name in rows() if name not in every],
            }
    finally:
        torch.set_num_threads(before)
    _print(result)
    if json is not None:
        Path(json).write_text(json_module.dumps(result, indent=2) + "\n")
    return result


def _print(result: dict[str, Any]) -> None:
    print(
        f"{result['weights']} weights, {result['threads']} threads, {result['repeats']} rounds, "
        f"{result['library']}, torch {result['torch_level']}; medians in ms, {result['clock']}\n"
    )
    print(
        f"{'':<30}{'kernel':>9}{'over streaming':>16}{'eager':>9}{'compiled':>10}"
        f"{'ratios: eager':>15}{'compiled':>10}"
    )
    for name, row in result["median_ms"].items():
        line = f"{name:<30}{row['kernel']:>9.3f}{row['kernel'] / row['streaming']:>16.2f}"
        if "eager" in row:
            ratios = (row[form] / row["kernel"] for form in FORMS[1:])
            line += f"{row['eager']:>9.3f}{row['compiled']:>10.3f}"
            line += "{:>15.2f}{:>10.2f}".format(*ratios)
        else:
            line += "   no torch form"
        print(line)
    print(f"\n{'ratios':<22}{'median':>8}{'lowest':>8}")
    for name, row in result["ratios"].items():
        print(f"{name:<22}{row['median']:>8.2f}{row['lowest']:>8.2f}  ({row['lowest_of']})")
    print(
        "asked: medians of {walkers:g} (walkers) and {readers:g} (readers), none below {each:g}, "
        "over the compiled form".format(**result["asked"])
    )
    if result["without_kernel"]:
        print(f"read by torch's operators, without a kernel: {', '.join(result['without_kernel'])}")
