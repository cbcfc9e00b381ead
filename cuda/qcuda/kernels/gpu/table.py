"""What a launch is made of, checked: its kernel, and the table of tensors in device memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ctypes import Array, c_uint32
from itertools import accumulate
from typing import NamedTuple

from qcuda.kernels import abi, source

# As in cuda/csrc/gpu/group.h, squares.h and kernels.cu.
GROUP, THREADS, CHUNK, WARPS, PART = 8, 256, 8192, 8, 4096
MAX_BLOCKS = 2**31 - 1


class Memory(NamedTuple):
    """Device memory: its address, divisible by 16, and whatever keeps it from being freed."""

    address: int
    owner: object


class Layout(NamedTuple):
    """A table in whole uint64, how many things of each kind it counts, and bytes of work memory
    behind it."""

    data: bytes
    totals: tuple[int, ...]
    work: int = 0

    @property
    def bytes(self) -> int:
        """What table and work memory take."""
        return len(self.data) + self.work


class Table(NamedTuple):
    """The rows of a launch in device memory, as they were written there."""

    rows: bytes
    layout: Layout
    memory: Memory

    @property
    def work(self) -> int:
        """The address of the work memory."""
        return self.memory.address + len(self.layout.data)


def of_steps(launch: abi.Launch, tensors: Array[abi.Tensor]) -> Layout:
    """The rows of a step, then for each the chunks before it; the total is that of blocks.

    Raises ValueError if a tensor lacks memory that its kernel would touch, or is out of range.
    """
    check(launch, tensors)
    return table_of(bytes(tensors), [[-(-tensor.count // CHUNK) for tensor in tensors]])


def of_squares(tensors: Array[abi.Rows], gradient_type: int) -> Layout:
    """The rows of mean squares, then for each the parts before it, then the rows; both totals.

    The work memory has a float64 for each part. Raises ValueError as `of_steps` does.
    """
    size = abi.Real(gradient_type).bytes
    for place, tensor in enumerate(tensors):
        _check_rows(tensor.count, tensor.row, place)
        if tensor.count:
            addresses = (tensor.gradient or 0, tensor.square or 0, tensor.gain or 0)
            for name, address, by in zip(
                ("gradient", "mean square", "gain"), addresses, (size, 4, 4), strict=True
            ):
                _check_address(name, address, by, place)
    rows = [tensor.count // tensor.row if tensor.count else 0 for tensor in tensors]
    parts = [n * -(-tensor.row // PART) for n, tensor in zip(rows, tensors, strict=True)]
    data, totals, _ = table_of(bytes(tensors), [parts, rows])
    return Layout(data, totals, 8 * totals[0])


def table_of(rows: bytes, counts: Sequence[Sequence[int]]) -> Layout:
    """The rows, then for each kind of thing how many are before each row (uint32)."""
    before = [[0, *accumulate(kind)] for kind in counts]
    for kind in before:
        if kind[-1] > MAX_BLOCKS:
            raise ValueError(f"a launch has at most 2**31 - 1 blocks, got {kind[-1]}")
    table = rows + b"".join(bytes((c_uint32 * (len(kind) - 1))(*kind[:-1])) for kind in before)
    data = table.ljust(-(-len(table) // 8) * 8, b"\0")
    return Layout(data, tuple(kind[-1] for kind in before))


def step_kernel(launch: abi.Launch) -> str:
    """The name of a launch's step kernel; ValueError if the launch breaks a rule."""
    for what, number, names in (
        ("rule", launch.rule, source.stems()),
        ("optimiser", launch.optimiser, abi.OPTIMISERS),
    ):
        if not 0 <= number < len(names):
            raise ValueError(f"a {what}'s number is in [0, {len(names)}), got {number}")
    gradient, moment = abi.Real(launch.gradient_type), abi.Real(launch.moment_type)
    one = abi.MOMENTS[abi.OPTIMISERS[launch.optimiser]] == 1
    known_moments = abi.MOMENT_TYPES if one else abi.GRADIENTS
    kinds = ("gradient", gradient, abi.GRADIENTS), ("moment", moment, known_moments)
    for what, kind, types in kinds:
        if kind not in types:
            known = ", ".join(each.name.lower() for each in types)
            raise ValueError(f"a {what} is one of {known}, got {kind.name.lower()}")
    check_lattice(launch.spec.size, launch.storage)
    rule, optimiser = source.stems()[launch.rule], abi.OPTIMISERS[launch.optimiser]
    storage = abi.Storage(launch.storage)
    reals = (gradient, moment)[: 2 if abi.MOMENTS[optimiser] else 1]
    return source.step(rule, optimiser, *(kind.name.lower() for kind in (storage, *reals)))


def check_lattice(size: int, storage: int) -> None:
    """ValueError if that many levels do not fit the storage."""
    kind = abi.Storage(storage)
    if kind not in abi.ON_GPU:
        raise ValueError(f"a GPU does not read {kind.name.lower()} yet, use int8")
    if not 2 <= size <= kind.levels:
        raise ValueError(f"{kind.name} holds 2 to {kind.levels} levels, got {size}")


def check(launch: abi.Launch, tensors: Iterable[abi.Tensor]) -> None:
    """ValueError if a tensor lacks memory that its kernel would touch, or is out of range."""
    moments = abi.MOMENTS[abi.OPTIMISERS[launch.optimiser]]
    needed = ("state", "gradient", "first", "second")[: 2 + moments]
    sizes = (1, abi.Real(launch.gradient_type).bytes, *(abi.Real(launch.moment_type).bytes,) * 2)
    for place, tensor in enumerate(tensors):
        if tensor.count < 0 or not 0 <= tensor.offset <= abi.MAX_ELEMENT - tensor.count:
            raise ValueError(
                f"a tensor's elements are in 0..{abi.MAX_ELEMENT}, got {tensor.count} from "
                f"{tensor.offset} on in tensor {place}"
            )
        if not tensor.count:
            continue
        for name, size in zip(needed, sizes, strict=False):
            _check_address(name, getattr(tensor, name) or 0, size, place)
        if tensor.gain:
            _check_address("gain", tensor.gain, 4, place)
            _check_rows(tensor.count, tensor.row, place)


def _check_address(name: str, address: int, size: int, place: int) -> None:
    if address == 0 or address % size:
        raise ValueError(
            f"a tensor's {name} is an address divisible by {size}, "
            f"got {address:#x} in tensor {place}"
        )


def _check_rows(count: int, row: int, place: int) -> None:
    if count < 0 or (count and (row < 1 or count % row)):
        raise ValueError(
            f"a tensor has whole rows of at least one weight, got {count} in rows of {row} "
            f"in tensor {place}"
        )
