"""The audit of a training run: which weights are looked at, when, and what is kept of them.

Every weight is audited in iterations 1, 2 and 4, for it is at the beginning that most of them move;
later, in two successive iterations of every 64, a window of each tensor that goes round, so that
in time every element is seen, and seen twice in a row. The choice depends on element and iteration
numbers alone. `qtheory bench audit` measures what it costs.

With the default network the law expects 55,000 audited moves in the first epoch, so a relative
bias of all p of 4.2 % is noticed in it with probability 0.999 (conditional.smallest_bias), at a
false-alarm rate of 1e-9 for the whole run. Words that lack the iteration, the tensor or the place
in a group of four are noticed in iteration 1 or 2.

The audit starts from the levels before the step and the increments that the kernel says it used,
and reads the levels after it. It says nothing of gradients, of how increments come from them, of
the resolution of words, and of what is stored as moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcuda.kernels import abi
from qcuda.nn.slot import GradientSlot, Owner
from qcuda.optimizer import LatticeOptimizer
from qcuda.watch import conditional
from qcuda.watch.conditional import Expected
from qtheory.algorithms import Spec
from qtheory.evidence import EProcess
from qtheory.lattice import Lattice

FALSE_ALARMS = 1e-9  # of one run, however long
FULL = (1, 2, 4)
PERIOD, WINDOW = 64, 4096
CHUNK = 4096  # weights at a time: what they need stays in the cache


def due(iteration: int) -> bool:
    """Whether anything is audited in an iteration 1, 2, ..."""
    return iteration in FULL or (iteration >= PERIOD and iteration % PERIOD < 2)


def window(iteration: int, weights: int) -> tuple[int, int]:
    """First element of a tensor that an iteration 1, 2, ... audits, and the one after the last.

    >>> [window(t, 10_000) for t in (1, 2, 3, 64, 65, 128)]
    [(0, 10000), (0, 10000), (0, 0), (4096, 8192), (4096, 8192), (8192, 10000)]
    """
    if iteration in FULL:
        return 0, weights
    if not due(iteration):
        return 0, 0
    start = iteration // PERIOD % -(-weights // WINDOW) * WINDOW
    return start, min(start + WINDOW, weights)


@dataclass
class LawAudit:
    """Evidence of one run against its kernel, and all that a checkpoint must hold of it.

    A correct kernel is ever called wrong with probability FALSE_ALARMS at most.
    """

    process: EProcess = field(default_factory=EProcess)
    decisions: int = 0  # audited weights that had a choice
    went: int = 0  # of these, those that went one level beyond the whole part
    expected: float = 0.0  # how many the law expects
    variance: float = 0.0  # sum of p / (1 - p), see conditional.smallest_bias
    impossible: int = 0  # weights that landed where the law has no mass
    noticed: int = 0  # the iteration that settled it, 0 if none
    last: dict[int, np.ndarray] = field(default_factory=dict)  # by slot, if looked at next
    trace: list[list[float]] = field(default_factory=list)  # [iteration, log_e], this epoch

    def step(self, optimizer: LatticeOptimizer) -> None:
        """A step of the optimiser, audited if it is its iteration's turn."""
        watched = list(_watched(optimizer))
        if not watched:
            optimizer.step()
            return
        with optimizer.recorded([one.slot for one in watched]) as increments:
            optimizer.step()
        tallies = np.zeros((len(optimizer.slots), 3, *conditional.SHAPE))
        last, self.last, tensor = self.last, {}, None
        for one in watched:
            one.expect(increments[one.slot])
            done = one.outcomes()
            tallies[one.place] = one.tally(done, last.get(one.place), tensor)
            tensor = done if one.window[0] == 0 else None
            self.impossible += one.lost
            if one.again:
                self.last[one.place] = done
        slack = max(part.slack for one in watched for _, part in one.parts)
        self._learn(tallies, max(one.iteration for one in watched), slack)

    def _learn(self, tallies: np.ndarray, iteration: int, slack: float = conditional.WORD) -> None:
        decisions, expected, went = tallies.reshape(len(tallies), 3, -1).sum((0, 2))
        self.decisions, self.went = self.decisions + int(decisions), self.went + int(went)
        self.expected += float(expected)
        self.variance += conditional.information(tallies)
        self.process.multiply(conditional.log_terms(tallies, slack))
        self.trace.append([iteration, self.process.log_e])
        if self.failing and not self.noticed:
            self.noticed = iteration

    @property
    def failing(self) -> bool:
        """Whether the kernel has been found wrong."""
        return self.impossible > 0 or self.process.rejects(FALSE_ALARMS)

    def report(self) -> dict[str, Any]:
        """Plain numbers, fit for JSON."""
        strata = max(len(np.atleast_1d(self.process.terms)), 1)
        bias = conditional.smallest_bias(self.variance, strata, FALSE_ALARMS, 1e-3)
        return {
            "log_e": self.process.log_e,
            "peak": self.process.peak,
            "decisions": self.decisions,
            "went": self.went,
            "expected": self.expected,
            "smallest_bias": bias if np.isfinite(bias) else None,
            "impossible": self.impossible,
            "noticed": self.noticed,
            "failing": self.failing,
        }

    def epoch_record(self) -> dict[str, Any]:
        """What the log says of an epoch that ends now."""
        trace, self.trace = self.trace, []
        report = self.report()
        return {"log_e": report.pop("log_e"), "law_audit": {**report, "trace": trace}}

    def __str__(self) -> str:
        return describe(self.report())

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, between steps."""
        plain = ("decisions", "went", "expected", "variance", "impossible", "noticed")
        return {
            "terms": torch.from_numpy(np.array(self.process.terms)),
            "peak": self.process.peak,
            "last": {place: torch.from_numpy(done) for place, done in self.last.items()},
            "trace": self.trace,
            **{name: getattr(self, name) for name in plain},
        }


def describe(report: dict[str, Any]) -> str:
    """A report as a sentence."""
    bias = report["smallest_bias"]
    seen = "" if bias is None else f"; probabilities off by {100 * bias:.2g} % would show"
    found = (
        f"log e-value {report['log_e']:.1f} (largest {report['peak']:.1f}); {report['went']} of "
        f"{report['decisions']} weights went one level further, expected {report['expected']:.0f}"
        f"{seen}"
    )
    if not report["failing"]:
        return f"holds. {found}"
    rate = f"false-alarm rate {FALSE_ALARMS:g}, {report['impossible']} impossible moves"
    return f"FAILS in iteration {report['noticed']} ({rate}). {found}"


def restored(values: dict[str, Any]) -> LawAudit:
    """The audit that `state_dict` wrote. Raises KeyError or TypeError if it is none."""
    rest = dict(values)
    process = EProcess(rest.pop("terms").numpy(), rest.pop("peak"))
    last = {place: done.numpy() for place, done in rest.pop("last").items()}
    return LawAudit(process=process, last=last, **rest)


@dataclass
class _Watched:
    """A window of one tensor: its levels before a step, and what is expected of it, in chunks."""

    place: int
    slot: GradientSlot
    layer: Owner
    spec: Spec  # with the knobs of this step
    iteration: int
    window: tuple[int, int]
    again: bool  # whether the next iteration looks at the same window
    index: np.ndarray
    lost: int  # weights that are off the lattice or land where none may
    parts: list[tuple[int, Expected]] = field(default_factory=list)  # first element in the window

    def expect(self, increments: Tensor) -> None:
        """Take the increments that the kernel used, of the whole tensor."""
        start, stop = self.window
        used = increments.reshape(-1)[start:stop].cpu().numpy()
        for first in range(0, stop - start, CHUNK):
            part = slice(first, first + CHUNK)
            self.parts.append((first, conditional.expect(self.spec, self.index[part], used[part])))

    def outcomes(self) -> np.ndarray:
        """What each weight of the window did, after the step."""
        after = levels(self.layer, *self.window)
        found: list[np.ndarray] = []
        for start, part in self.parts:
            done, lost = conditional.outcomes(part, after[start : start + len(part.near)])
            found.append(done)
            self.lost += lost
        return np.concatenate(found)

    def tally(
        self, done: np.ndarray, last: np.ndarray | None, tensor: np.ndarray | None
    ) -> np.ndarray:
        """The tally of the window; tensor: what the first elements of the tensor before did."""
        if tensor is not None and self.window[0] == 0:
            beside = np.zeros(len(done), np.int8)
            beside[: len(tensor)] = tensor[: len(done)]
        else:
            beside = None
        total = np.zeros((3, *conditional.SHAPE))
        for start, part in self.parts:
            here = slice(start, start + len(part.near))
            total += conditional.tally(
                part,
                done[here],
                None if last is None else last[here],
                None if beside is None else beside[here],
            )
        return total


def _watched(optimizer: LatticeOptimizer) -> Iterator[_Watched]:
    """All that is to be audited of the coming step."""
    places = {id(slot): place for place, slot in enumerate(optimizer.slots)}
    for group in optimizer.param_groups:
        iteration = int(group["iteration"]) + 1
        for slot in group["params"] if due(iteration) else ():
            if not isinstance(slot, GradientSlot) or slot.grad is None or not slot.numel():
                continue
            start, stop = window(iteration, slot.numel())
            if start == stop:
                continue
            layer = slot.owner()
            assert layer is not None
            found = levels(layer, start, stop)
            index = np.clip(found, 0, layer.lattice.size - 1)
            yield _Watched(
                place=places[id(slot)],
                slot=slot,
                layer=layer,
                spec=optimizer.next_numbers(group).spec,
                iteration=iteration,
                window=(start, stop),
                again=window(iteration + 1, slot.numel()) == (start, stop),
                index=index,
                lost=int(np.count_nonzero(found != index)),
            )


def levels(layer: Owner, start: int, stop: int) -> np.ndarray:
    """Indices of elements start..stop - 1, start a multiple of 4; -1 for an illegal code.

    Read from the bytes here and not by the kernels' own decoder, which is on trial too.
    """
    lattice = layer.lattice
    if layer.storage is abi.Storage.INT8:
        return layer.state[start:stop].cpu().numpy().astype(np.int32) + lattice.centre
    bits, quads = layer.storage.bits, slice(start // 4, -(-stop // 4))
    bytes_ = layer.state[quads.start * bits // 2 : quads.stop * bits // 2].cpu().numpy()
    if layer.storage is not abi.Storage.TRITS:
        lanes = np.unpackbits(bytes_, bitorder="little")[: (stop - start) * bits]
        lanes = lanes.reshape(-1, bits).astype(np.int32)
        return lanes @ (1 << np.arange(bits)) - (lanes[:, -1] << bits) + lattice.centre
    return _trits(lattice)[bytes_].reshape(-1)[: stop - start]


@cache
def _trits(lattice: Lattice) -> np.ndarray:
    """The four indices of every byte."""
    codes = np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 0b11
    index = np.array([0, 1, 0, -1])[codes] + lattice.centre
    return np.where(codes == 0b10, -1, index).astype(np.int32)
