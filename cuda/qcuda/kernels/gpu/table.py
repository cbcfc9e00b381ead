"""The launches of steps: which kernel one takes, what it may hold, and the table that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ctypes import c_uint32
from itertools import accumulate

from qcuda.kernels import abi, source

CHUNK = 8192  # weights of a block, as in cuda/csrc/gpu/group.h
MAX_BLOCKS = 2**31 - 1


def step_kernel(launch: abi.Launch) -> str:
    """The name of a launch's step kernel; ValueError if the launch breaks a rule."""
    for what, number, names in (
        ("rule", launch.rule, source.stems()),
        ("optimiser", launch.optimiser, abi.OPTIMISERS),
    ):
        if not 0 <= number < len(names):
            raise ValueError(f"a {what}'s number is in [0, {len(names)}), got {number}")
    gradient, moment = abi.Real(launch.gradient_type), abi.Real(launch.moment_type)
    kinds = ("gradient", gradient, abi.GRADIENTS), ("moment", moment, abi.GRADIENTS)
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
        if tensor.gain:
            raise ValueError("a GPU does not normalise gradients yet, got gains")
        if tensor.count < 0 or not 0 <= tensor.offset <= abi.MAX_ELEMENT - tensor.count:
            raise ValueError(
                f"a tensor's elements are in 0..{abi.MAX_ELEMENT}, got {tensor.count} from "
                f"{tensor.offset} on in tensor {place}"
            )
        for name, size in zip(needed, sizes, strict=False):
            address = getattr(tensor, name) or 0
            if tensor.count and (address == 0 or address % size):
                raise ValueError(
                    f"a tensor's {name} is an address divisible by {size}, "
                    f"got {address:#x} in tensor {place}"
                )


def table_of(rows: bytes, counts: Sequence[int]) -> tuple[bytes, int]:
    """What a launch finds its weights by: the rows, then for each the chunks before it (uint32).

    Returns it in whole uint64, and the number of chunks, which is that of blocks.
    """
    before = [0, *accumulate(-(-count // CHUNK) for count in counts)]
    if before[-1] > MAX_BLOCKS:
        raise ValueError(f"a launch has at most 2**31 - 1 blocks, got {before[-1]}")
    table = rows + bytes((c_uint32 * len(counts))(*before[:-1]))
    return table.ljust(-(-len(table) // 8) * 8, b"\0"), before[-1]
