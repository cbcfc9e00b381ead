"""Bit for bit: the GPU kernels against the CPU library, on everything that is awkward.

Five tensors of a launch differ in size, offset and alignment, and their gradients and moments hold
ties, infinities, NaN, denormals and signed zeros. Memory before and after every array is compared
too, so a kernel that writes outside is seen. Equal means equal bits; a NaN is equal to any NaN,
because processors differ in which one they make.

The machine is an argument: a GPU with torch's memory, or the emulated one of the tests.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from qcuda.kernels import abi, source
from qcuda.kernels.gpu.launch import Launcher
from qcuda.kernels.gpu.table import CHUNK, Memory

Bytes = np.ndarray  # uint8, one-dimensional

# (weights, global element number of the first, elements between a 16-byte boundary and the data)
SHAPES = (
    (1, 0, 0),
    (7, 3, 1),
    (1021, 4 * 2**34 + 2, 0),
    (CHUNK + 5, 8, 3),
    (3 * CHUNK, 4, 0),
)
ITERATIONS = (1, 2, 2**32 - 1)
GUARD = 32  # bytes before and after an array that no kernel may touch
WORK = 1024  # bytes of a launcher's table for SHAPES, or more


class Machine(Protocol):
    """Where kernels run: memory, streams and graphs."""

    def upload(self, data: Bytes) -> Any:
        """Device memory, at an address divisible by 16, with a copy of the data."""
        ...

    def address(self, memory: Any) -> int:
        """Its address."""
        ...

    def download(self, memory: Any) -> Bytes:
        """What is in it, after all work is done."""
        ...

    def stream(self) -> int:
        """Handle of a fresh stream."""
        ...

    def capture(self, work: Callable[[int], None]) -> Callable[[], None]:
        """Capture a graph from a stream, given to `work`; the result replays it and waits."""
        ...


@dataclass(slots=True)
class Array:
    """Numbers with guards around them, on the host; kind says how NaN is recognised."""

    data: Bytes
    lead: int
    kind: str

    @staticmethod
    def of(values: np.ndarray, shift: int, kind: str = "") -> Array:
        """Place values `shift` items past a 16-byte boundary."""
        lead = GUARD + shift * values.itemsize
        body = values.view(np.uint8).reshape(-1)
        data = np.full(lead + body.size + GUARD, 0xA5, np.uint8)
        data[lead : lead + body.size] = body
        return Array(data, lead, kind)

    @property
    def items(self) -> int:
        """How many float32 it has."""
        return (self.data.size - self.lead - GUARD) // 4

    def same(self, other: Bytes) -> bool:
        """Equal bits, guards included, NaN for NaN."""
        return np.array_equal(self._canonical(self.data), self._canonical(other))

    def _canonical(self, data: Bytes) -> Bytes:
        if self.kind not in ("float32", "bfloat16"):
            return data
        data = data.copy()
        unsigned = np.uint32 if self.kind == "float32" else np.uint16
        infinity = 0x7F800000 if self.kind == "float32" else 0x7F80
        body = data[self.lead : data.size - GUARD].copy().view(unsigned)
        magnitude = body & unsigned((1 << (8 * body.itemsize - 1)) - 1)
        body[magnitude > infinity] = infinity + 1
        data[self.lead : data.size - GUARD] = body.view(np.uint8)
        return data


@dataclass(slots=True)
class Case:
    """A launch and its arrays: for each tensor, by name."""

    name: str
    launch: abi.Launch
    scalars: np.ndarray
    tensors: list[dict[str, Array]] = field(default_factory=list)

    def table(self, address: Callable[[int, str], int]) -> ctypes.Array[abi.Tensor]:
        """The tensors, with addresses from (place, array's name)."""
        rows = []
        for place, (count, offset, _) in enumerate(SHAPES):
            names = ("state", "gradient", "first", "second", "increment")
            pointers = [address(place, n) if n in self.tensors[place] else 0 for n in names]
            gain = self.tensors[place].get("gain")
            row = count // gain.items if gain else 0
            gains = address(place, "gain") if gain else 0
            rows.append(abi.Tensor(*pointers, count, offset, 11 + place, 0, gains, row))
        return abi.tensors(rows)


def reals(rng: np.random.Generator, count: int, kind: abi.Real, spread: float) -> np.ndarray:
    """Normal numbers, a third of them replaced by everything that is special."""
    if kind is abi.Real.INT8:
        return rng.integers(-127, 128, count).astype(np.int8)
    x = (rng.standard_normal(count) * spread).astype(np.float32)
    special = [0.0, -0.0, 0.5, -0.5, 1.5, -2.5, np.inf, -np.inf, np.nan]
    special += [1e-40, -1e-45, 3.4e38, -1e30, 1e-20]
    places = rng.random(count) < 0.3
    x[places] = rng.choice(np.array(special, np.float32), int(places.sum()))
    if kind is abi.Real.FLOAT32:
        return x
    half = (x.view(np.uint32) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), half)


def codes_of(rng: np.random.Generator, count: int, size: int, storage: abi.Storage) -> np.ndarray:
    codes = rng.integers(0, size, count) - size // 2
    if storage is abi.Storage.INT8:
        return codes.astype(np.int8)
    lanes = np.zeros(storage.bytes(count) * 4, np.uint8)
    lanes[:count] = codes & 3
    lanes = lanes.reshape(-1, 4)
    return (lanes << np.array([0, 2, 4, 6], np.uint8)).sum(axis=1).astype(np.uint8)


def case_of(seed: int, rule: str, optimiser: str, *types: int) -> Case:
    rng = np.random.default_rng(seed)
    storage, gradient, moment = abi.Storage(types[0]), abi.Real(types[1]), abi.Real(types[2])
    size = int(rng.choice([2, 3] if storage is abi.Storage.TRITS else [2, 3, 16, 255, 256]))
    spacing = float(np.float32(rng.choice([1.0, 0.3, 2.0 / 255])))
    zero = float(rng.choice([0.0, (size - 1) / 2, size // 2]))
    launch = abi.launch(
        abi.spec(spacing, zero, size, [float(rng.choice([0.0, 1.0, 3.0, 50.0])), 0.5, seed % 2]),
        seed=int(rng.integers(2**64, dtype=np.uint64)),
        rule=rule,
        optimiser=optimiser,
        storage=storage,
        gradient_type=gradient,
        moment_type=moment,
    )
    scalars = np.array([spacing, 0.9, 0.1, 0.999, 0.001, 31.6, 1e-8], np.float32)
    name = " ".join((rule, optimiser, storage.name, gradient.name, moment.name)).lower()
    case = Case(f"{name} size {size}", launch, scalars)
    for count, _, shift in SHAPES:
        arrays = {
            "state": Array.of(codes_of(rng, count, size, storage), shift),
            "gradient": Array.of(reals(rng, count, gradient, 1.0), shift),
        }
        for which in ("first", "second")[: abi.MOMENTS[optimiser]]:
            values = reals(rng, count, moment, 1.0)
            arrays[which] = Array.of(values, shift, moment.name.lower())
        if seed % 2 == 0 or moment is abi.Real.INT8:
            rows = int(rng.choice([n for n in range(1, count + 1) if count % n == 0]))
            gain = np.abs(reals(rng, rows, abi.Real.FLOAT32, 1.0))
            arrays["gain"] = Array.of(np.where(gain > 0, gain, 1), shift, "float32")
        if seed % 3 == 0:  # a launch may also tell the increments it used
            arrays["increment"] = Array.of(np.zeros(count, np.float32), shift, "float32")
        case.tensors.append(arrays)
    return case


def cases() -> Iterator[Case]:
    """Every kernel, with every type of gradient and moment."""
    seed = 0
    for rule in source.stems():
        for optimiser in abi.OPTIMISERS:
            for storage in abi.ON_GPU:
                for gradient in abi.GRADIENTS:
                    for moment in abi.MOMENT_TYPES[: (1, 3, 2)[abi.MOMENTS[optimiser]]]:
                        seed += 1
                        yield case_of(seed, rule, optimiser, storage, gradient, moment)


def expected(case: Case, library: Any) -> tuple[Case, np.ndarray]:
    """The case after ITERATIONS by the CPU library, and its counters."""
    after = Case(case.name, case.launch, case.scalars)
    after.tensors = [
        {name: Array(a.data.copy(), a.lead, a.kind) for name, a in arrays.items()}
        for arrays in case.tensors
    ]

    def address(place: int, name: str) -> int:
        array = after.tensors[place][name]
        return array.data.ctypes.data + array.lead

    table = case.table(address)
    counters = np.zeros((len(SHAPES), 2), np.int64)
    for iteration in ITERATIONS:
        number = np.array([iteration], np.int64)
        error = library.qt_step_all(
            ctypes.byref(case.launch),
            table,
            ctypes.c_int64(len(SHAPES)),
            ctypes.c_void_p(case.scalars.ctypes.data),
            ctypes.c_void_p(number.ctypes.data),
            ctypes.c_void_p(counters.ctypes.data),
            1,
        )
        if error:
            raise RuntimeError(f"the CPU library takes {case.name}, got {abi.Error(error).words}")
    return after, counters


class Steps:
    """A case in a machine's memory."""

    def __init__(self, case: Case, machine: Machine, launcher: Launcher) -> None:
        self.case, self.machine, self.launcher = case, machine, launcher
        self.memory = [
            {name: machine.upload(array.data) for name, array in arrays.items()}
            for arrays in case.tensors
        ]
        self.scalars = machine.upload(case.scalars.view(np.uint8))
        numbers = [np.array([i], np.int64).view(np.uint8) for i in ITERATIONS]
        self.iterations = [machine.upload(number) for number in numbers]
        self.counters = machine.upload(np.zeros(16 * len(SHAPES), np.uint8))
        self.room = machine.upload(np.zeros(WORK, np.uint8))  # nothing is allocated in a capture
        self.table = case.table(
            lambda place, name: (
                machine.address(self.memory[place][name]) + case.tensors[place][name].lead
            )
        )

    def step(self, place: int, stream: int) -> None:
        """The launch of ITERATIONS[place]."""
        self.launcher.step_all(
            self.case.launch,
            self.table,
            self.machine.address(self.scalars),
            self.machine.address(self.iterations[place]),
            self.machine.address(self.counters),
            stream,
            self.work,
        )

    def work(self, size: int) -> Memory:
        """Memory for the launcher: the same for each step, which come one after another."""
        if size > WORK:
            raise ValueError(f"a case needs at most {WORK} bytes of work memory, got {size}")
        return Memory(self.machine.address(self.room), self.room)

    def differences(self, after: Case, counters: np.ndarray) -> list[str]:
        """Names of arrays that are not what they should be."""
        wrong = [
            f"{name} of tensor {place}"
            for place, arrays in enumerate(after.tensors)
            for name, array in arrays.items()
            if not array.same(self.machine.download(self.memory[place][name]))
        ]
        got = self.machine.download(self.counters).view(np.int64).reshape(-1, 2)
        if not np.array_equal(got, counters):
            wrong.append(f"counters ({got.tolist()} for {counters.tolist()})")
        return wrong


def check_steps(
    chosen: list[Case], machine: Machine, launcher: Launcher, library: Any
) -> dict[str, list[str]]:
    """Every case for three iterations; two cases at a time on two streams, interleaved."""
    found: dict[str, list[str]] = {}
    streams = (machine.stream(), machine.stream())
    for first in range(0, len(chosen), 2):
        pair = [Steps(case, machine, launcher) for case in chosen[first : first + 2]]
        for place in range(len(ITERATIONS)):
            for steps, stream in zip(pair, streams, strict=False):
                steps.step(place, stream)
        for steps in pair:
            found[steps.case.name] = steps.differences(*expected(steps.case, library))
    return found


def check_graph(case: Case, machine: Machine, launcher: Launcher, library: Any) -> list[str]:
    """A captured step, replayed with another iteration in device memory each time."""
    steps = Steps(case, machine, launcher)

    def work(stream: int) -> None:
        for place in range(len(ITERATIONS)):
            steps.step(place, stream)

    machine.capture(work)()
    return steps.differences(*expected(case, library))
