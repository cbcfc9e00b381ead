"""One run: which claims, at which cost, in which order; and the report."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from json import dumps
from pathlib import Path
from secrets import randbits
from time import perf_counter

from qcuda.errors import BackendUnavailable
from qcuda.files import write_atomically
from qcuda.kernels import native
from qcuda.validate import (
    aim,
    cells,
    reference_law,
    same_words,
    statistics,
    tomography,
    whole_steps,
)
from qcuda.validate.cells import Group
from qcuda.validate.kernels import Kernel, cpu_libraries, key, one_thread, torch_kernel
from qtheory.algorithms import walkers
from qtheory.evidence import Claim, Suite
from qtheory.streams import MAX_SEED

FALSE_ALARM = 1e-6
RECIPE = Path(__file__).resolve().parents[2] / "csrc" / "gpu" / "build.py"
NO_GPU = "GPU: did NOT run, because torch sees none; nothing was compared on one"


def validate(
    device: str = "auto",
    draws: int = 4_000_000,
    json: str | None = None,
    *,
    stems: Sequence[str] = (),
    deep: bool = False,
    op: str | None = None,
    claims: str | None = None,
    seed: int | None = None,
) -> int:
    """Judge the installed kernels, or somebody's function, and print the table.

    device: "cpu", "cuda", or "auto" for the CPU and, where there is one, the GPU; without one the
    report says that nothing ran on it. draws: decisions compared word for word, for each rule and
    library. stems: algorithms to judge, default all. deep: statistics for a bias of 1e-4 in place
    of 1e-3. op: "module:function", see `third_party`, which claims to be the stem `claims`,
    by default the first without a bias.
    seed: 64 bits; default fresh ones, which the report names.
    Returns 0 if every claim holds, else 1. Raises BackendUnavailable if no CPU library can be had,
    ValueError for an unknown device or stem, for "cuda" without a GPU, for draws < 1, and for an
    op that cannot be imported or does not keep the protocol.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"a device is auto, cpu or cuda, got {device!r}")
    if draws < 1:
        raise ValueError(f"draws is at least 1, got {draws}")
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise ValueError("the device cuda needs a GPU that torch sees, got none")
    wanted = list(stems) or list(walkers())
    claimed = aim.unbiased_stems()[0] if claims is None else claims
    for name in (*wanted, claimed):
        if name not in walkers():
            raise ValueError(f"a stem is one of {sorted(walkers())}, got {name!r}")
    if seed is not None and not 0 <= seed <= MAX_SEED:
        raise ValueError(f"a seed is in 0..{MAX_SEED}, got {seed}")
    began, run_seed = perf_counter(), randbits(64) if seed is None else seed
    plan = statistics.DEEP if deep else statistics.DEFAULT
    devices = [d for d in ("cpu", "cuda") if device in (d, "auto") and (d == "cpu" or gpu)]
    with one_thread():
        if op is not None:
            suite = judge_op(op, claimed, "cuda" if device == "cuda" else "cpu", plan, run_seed)
        else:
            suite = judge_installed(devices, wanted, draws, plan, run_seed)
    status = int(not suite.holds)
    print(suite.table())
    print(f"seed {run_seed}; {perf_counter() - began:.0f} s")
    if op is None and "cuda" in devices:
        status = max(status, _acceptance())
    elif op is None and device == "auto":
        print(NO_GPU)
    if json is not None:
        report = {**suite.to_dict(), "seed": run_seed, "gpu": gpu, "op": op, "status": status}
        write_atomically(Path(json), (dumps(report, indent=1) + "\n").encode())
    return status


def manifest(names: Sequence[str], false_alarm: float = FALSE_ALARM) -> Suite:
    """A suite whose statistical claims share its false-alarm rate equally."""
    return Suite(false_alarm, dict.fromkeys(names, false_alarm / max(1, len(names))))


def judge_installed(
    devices: Sequence[str], stems: Sequence[str], draws: int, plan: statistics.Plan, seed: int
) -> Suite:
    """The three ladders, for every stem, of the kernels on these devices."""
    titles = {(d, s): f"{d}: {s}" for d in devices for s in stems if cells.is_random(s)}
    suite = manifest([name for t in titles.values() for name in statistics.names(t, plan)])
    for stem in stems:
        _enter(suite, reference_law.every_word(stem))
        _enter(suite, reference_law.edge_words(stem))
    if "cpu" in devices:
        for level, library in cpu_libraries().items():
            words = same_words.claims(level, library, list(stems), draws)
            steps = whole_steps.claims(level, library, stems, min(draws, whole_steps.ENOUGH))
            for claim in chain(words, steps):
                _enter(suite, claim)
    for device in devices:
        kernel = torch_kernel(device)
        own = tomography.library_room(native.library()) if device == "cpu" else None
        for stem in stems:
            groups = cells.table(stem)
            if not cells.is_random(stem):
                _enter(suite, _certain(f"{device}: {stem}: impossible moves", kernel, groups, plan))
                continue
            title = titles[device, stem]
            for spec in tomography.specs(stem):
                name = f"{title}: hidden words = the generator's, {spec.lattice.size} levels"
                hidden = key(seed, name)
                _enter(suite, tomography.claim(name, kernel, spec, seed=hidden, own=own))
            _judge(suite, title, kernel, groups, plan, seed)
    return suite


def _judge(
    suite: Suite,
    title: str,
    kernel: Kernel,
    groups: Sequence[Group],
    plan: statistics.Plan,
    seed: int,
) -> None:
    began = perf_counter()
    statistics.judge(suite, title, kernel, groups, plan, seed)
    spent = perf_counter() - began
    drawn = sum(c.draws for c in suite.claims if c.name.startswith(title) and "moves" in c.name)
    _say(f"{title}: {drawn:.3g} random decisions in {spent:.0f} s, {drawn / spent:.2g} a second")


def judge_op(op: str, stem: str, device: str, plan: statistics.Plan, seed: int) -> Suite:
    """Statistics of somebody's function, and how fine its random numbers are.

    What is obviously wrong is seen in a first look of a second, and nothing else is then drawn.
    """
    from qcuda.validate import third_party

    if not cells.is_random(stem):
        raise ValueError(f"an op claims to be random, got {stem!r}")
    trial, groups = third_party.load(op), third_party.table(stem)
    _say(f"{op}: judged as {stem} of {trial.kind.__name__}s on {device}")
    kernel = third_party.op_kernel(trial, device, repeatable=False)
    plan = replace(plan, rare=plan.rare // 2)
    first, fine = f"{op}: first look", f"{op}: hidden numbers of 32 bits"
    grained = aim.is_unbiased(groups[0].spec)
    suite = manifest([first, *([fine] if grained else []), *statistics.names(op, plan)])
    began = perf_counter()
    look = statistics.first_look(first, kernel, groups, key(seed, first), suite.share(first))
    _enter(suite, look)
    if not suite.holds:
        _say(f"{op}: that is enough; the other claims are not judged")
        return suite
    if grained:
        _grain(suite, fine, third_party.op_kernel(trial, device, repeatable=True), groups, seed)
    speed = look.draws / (perf_counter() - began)
    drawn = statistics.decisions(groups, plan, suite.share(first))
    _say(f"{op}: {drawn:.2g} more random decisions, about {drawn / speed:.0f} s at this speed")
    _judge(suite, op, kernel, groups, plan, seed)
    return suite


def _grain(suite: Suite, name: str, kernel: Kernel, groups: Sequence[Group], seed: int) -> None:
    """How fine the hidden numbers of an op are; without evidence where they can not be asked."""
    from qcuda.validate import third_party

    grain = third_party.grain(kernel, groups[0].spec, seed=key(seed, "grain"))
    if grain is None:
        seen = "not judged: seeds of torch, NumPy and Python do not repeat its launches"
        _enter(suite, Claim(name, "e-value", 0, 0.0, suite.share(name), None, detail=seen))
        return
    seen = "finer than float32 shows" if grain.bits is None else f"multiples of 2**-{grain.bits}"
    draws = aim.launches(1.0) * tomography.COUNT
    _enter(suite, Claim(name, "e-value", draws, grain.log_e, suite.share(name), None, detail=seen))


def _certain(name: str, kernel: Kernel, groups: Sequence[Group], plan: statistics.Plan) -> Claim:
    """A rule without randomness: its moves are the law's."""
    draws = cells.plan(groups, plan.bias, FALSE_ALARM, statistics.MISS)
    found = [
        cells.count(kernel, group, n, seed=1, tensor=place)
        for place, (group, n) in enumerate(zip(groups, draws, strict=True))
    ]
    total, wrong = sum(int(c.draws.sum()) for c in found), sum(c.impossible for c in found)
    return Claim(name, "exact", total, wrong, 0.0)


def _enter(suite: Suite, claim: Claim) -> None:
    _say(f"{claim.name}: {claim.verdict}")
    suite.add(claim)


def _say(line: str) -> None:
    """Progress, beside the report."""
    print(line, file=sys.stderr, flush=True)


def _acceptance() -> int:
    """The GPU's own script, which compares every kernel with the CPU's and times them."""
    if not RECIPE.is_file():
        raise BackendUnavailable(f"GPU acceptance runs from a checkout: {RECIPE} is not there")
    command = [sys.executable, "-m", "qcuda.validate.acceptance", "--require-gpu"]
    return subprocess.run(command, check=False).returncode
