"""Proof that the fast room does what the exact room says. Other rooms are imported inside."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from json import dumps
from pathlib import Path

import numpy as np

from qcuda import _native, abi
from qcuda.errors import BackendUnavailable
from qcuda.files import write_atomically
from qtheory.algorithms import DST, SPECS, Spec, parameters, stem
from qtheory.lattice import Lattice
from qtheory.streams import Stream

SEED, TENSOR, ITERATION = 20180401, 3, 17


def predicted_moves(spec: Spec, index: np.ndarray, increments: np.ndarray) -> tuple[float, float]:
    """Mean and variance of how many weights change level in one step, by the exact law.

    Weight i moves with probability p_i = 1 - law(spec, index_i, increment_i)[index_i],
    independently of the others, so the mean is sum p_i and the variance sum p_i (1 - p_i).

    >>> from qtheory import DST, Lattice
    >>> mean, variance = predicted_moves(DST(Lattice.ternary()), np.array([1, 2]), np.full(2, 0.1))
    >>> round(mean, 6), round(variance, 6)  # the second weight is at the end of its lattice
    (0.291313, 0.20645)
    """
    law = import_module(f"qtheory.algorithms.{stem(spec)}").law
    place = np.asarray(index).reshape(-1)
    pmf = law(spec, place, np.asarray(increments, dtype=np.float64).reshape(-1))
    stay = np.take_along_axis(pmf, place[:, None], -1)[:, 0]
    moves = 1.0 - stay
    return float(moves.sum()), float((moves * stay).sum())


@dataclass(frozen=True, slots=True)
class Claim:
    """One line of the report."""

    name: str
    draws: int
    differences: int  # decisions or words that are not the reference's
    unexplained: int  # of these, those outside the knife edge
    detail: str = ""


def knife_edge(probability: np.ndarray) -> np.ndarray:
    """How far DST's threshold in a kernel may lie from floor(2**32 p) of the plain reference.

    The kernel's tanh is a ratio of polynomials with positive coefficients, within 5e-8 of tanh,
    evaluated in float32 with at most 28 roundings; tests/agreement/test_knife_edge.py derives it.
    """
    rounding = 28 * 2.0**-24 / (1 - 28 * 2.0**-24)
    relative = (1 + rounding) * (1 + 5e-8) - 1
    return np.ceil(2.0**32 * probability * relative + 2.0**-17).astype(np.int64) + 1


def validate(device: str = "auto", draws: int = 4_000_000, json: str | None = None) -> int:
    """Compare the kernels with the plain reference, word for word, and print the table.

    device: "cpu", "cuda", or "auto" for the CPU and, where there is one, the GPU; without one the
    report says that nothing ran on it. draws: random decisions for each rule and library.
    Returns 0 if every claim holds, else 1. Raises BackendUnavailable if no CPU library can be had,
    ValueError for an unknown device, for "cuda" without a GPU, and for draws < 1.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"a device is auto, cpu or cuda, got {device!r}")
    if draws < 1:
        raise ValueError(f"draws is at least 1, got {draws}")
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise ValueError("the device cuda needs a GPU that torch sees, got none")
    claims = [] if device == "cuda" else [*_cpu_claims(draws)]
    status = int(any(claim.unexplained for claim in claims))
    if gpu and device != "cpu":
        status = max(status, _acceptance())
    elif device == "auto":
        print("GPU: did NOT run, because torch sees none; nothing was compared on one")
    if json is not None:
        report = {"claims": [asdict(claim) for claim in claims], "gpu": gpu, "status": status}
        write_atomically(Path(json), (dumps(report, indent=1) + "\n").encode())
    return status


def _cpu_claims(draws: int) -> Iterator[Claim]:
    """Print and yield the claims about every library that this processor runs."""
    print(f"{'claim':<58}{'draws':>10}{'differ':>8}{'unexplained':>13}  verdict")
    for level, library in cpu_libraries().items():
        claims = [_words_claim(library, draws)]
        claims += [_rule_claim(library, name, draws) for name in SPECS]
        claims.append(_edge_claim(library, draws // 4 + 1))
        for claim in claims:
            verdict = "FAILS" if claim.unexplained else "holds"
            print(
                f"{level + ': ' + claim.name:<58}{claim.draws:>10}{claim.differences:>8}"
                f"{claim.unexplained:>13}  {verdict}{claim.detail}"
            )
            yield claim


def cpu_libraries() -> dict[str, ctypes.CDLL]:
    """The libraries that were built and that this processor runs, by level."""
    base = _native.find("libqtheory_v1.so") or _native.find("libqtheory_generic.so")
    if base is None:
        _native.library()  # says what was looked for
        raise BackendUnavailable("the baseline CPU library is there, got none")
    highest = _native.open_library(base).qt_processor_level()
    names = [name for number, name in sorted(_native.LEVELS.items()) if number <= highest]
    found = {name: _native.find(f"libqtheory_{name}.so") for name in names}
    return {name: _native.open_library(path) for name, path in found.items() if path is not None}


def _words_claim(library: ctypes.CDLL, draws: int) -> Claim:
    from qreference import philox

    first = 2**34 - draws // 2  # where the block number outgrows 32 bits
    got = np.empty(draws, np.uint32)
    place = (SEED, ITERATION, TENSOR, int(Stream.MOVE), first, draws)
    library.qt_words(*place, got.ctypes.data, 2)
    expected = philox.words(SEED, ITERATION, TENSOR, Stream.MOVE, draws, first)
    differ = int((got != expected).sum())
    return Claim("words = Philox4x32-10 of the reference", draws, differ, differ)


def _launch(spec: Spec) -> abi.Launch:
    lattice = spec.lattice
    numbers = abi.spec(lattice.spacing, lattice.zero, lattice.size, parameters(spec))
    return abi.launch(numbers, seed=SEED, rule=stem(spec), optimiser="given")


def _step(
    library: ctypes.CDLL, spec: Spec, index: np.ndarray, increments: np.ndarray
) -> np.ndarray:
    codes = (index - spec.lattice.centre).astype(np.int8)
    row = abi.Tensor(
        codes.ctypes.data, increments.ctypes.data, 0, 0, codes.size, 0, TENSOR, 0
    )  # fmt: skip
    scalars, counters = np.zeros(7, np.float32), np.zeros(2, np.int64)
    iteration = np.array([ITERATION], np.int64)
    library.qt_step_all(
        ctypes.byref(_launch(spec)), ctypes.byref(row), 1, scalars.ctypes.data,
        iteration.ctypes.data, counters.ctypes.data, 2,
    )  # fmt: skip
    return codes.astype(np.int64) + spec.lattice.centre


def _compare(library: ctypes.CDLL, spec: Spec, increments: np.ndarray, name: str) -> Claim:
    """Differences between a library's moves and the reference's; DST's may lie on the edge."""
    from qreference import algorithm, philox

    plain = algorithm(spec)
    index = np.arange(increments.size) % spec.lattice.size
    words = philox.words(SEED, ITERATION, TENSOR, Stream.MOVE, increments.size)
    expected = plain.step(spec, index, increments, words)
    differ = expected != _step(library, spec, index, increments)
    thresholds = plain.threshold(spec, index, increments)
    away = np.abs(words.astype(np.int64) - thresholds.astype(np.int64))
    width = knife_edge(thresholds / 2.0**32) if isinstance(spec, DST) else np.zeros_like(away)
    on_edge = int((away <= width).sum())
    detail = f" ({on_edge} words on the edge)" if isinstance(spec, DST) else ""
    unexplained = int((differ & (away > width)).sum()) if isinstance(spec, DST) else differ.sum()
    return Claim(name, increments.size, int(differ.sum()), int(unexplained), detail)


def _rule_claim(library: ctypes.CDLL, name: str, draws: int) -> Claim:
    spec = SPECS[name](Lattice.z(2))  # five levels
    increments = np.random.default_rng(SEED).normal(0, 0.6, draws).astype(np.float32)
    increments[::7] = np.round(increments[::7] * 8) / 8  # ties and whole spacings
    return _compare(library, spec, increments, f"{name}: moves = the reference's")


def _edge_claim(library: ctypes.CDLL, draws: int) -> Claim:
    """DST with every increment chosen so that its threshold is its word, as near as floats go."""
    from qreference import philox

    spec = DST(Lattice.ternary())
    words = philox.words(SEED, ITERATION, TENSOR, Stream.MOVE, draws)
    certain = np.tanh(spec.nonlinearity * (1 - 2.0**-24))
    p = np.minimum(words / 2.0**32, certain)
    increments = (np.arctanh(p) / spec.nonlinearity).astype(np.float32)
    return _compare(library, spec, increments, "dst: words placed on the edge")


def _acceptance() -> int:
    """The GPU's own script, which compares every kernel with the CPU's and times them."""
    script = Path(__file__).resolve().parents[1] / "acceptance.py"
    if not script.is_file():
        raise BackendUnavailable(f"GPU acceptance runs from a checkout: {script} is not there")
    return subprocess.run([sys.executable, str(script), "--require-gpu"], check=False).returncode
