"""Floating-point copies of lattice weights, searched for in the memory of this process.

A *copy* of n weights is a run of n numbers that equals c times the visible weights, or c times
their levels before a scale of each channel, with the axes in any order and for any one number c
but 0. Equal means as equal as numbers that were rounded to their type can be.

What is searched: the memory of every dense tensor and NumPy array of float64, float32, float16 or
bfloat16 that an object of the garbage collector or a running function refers to. Where its
elements do not lie together, they are searched in its own order too. Not searched are lists of
Python numbers, what a graph keeps for a backward pass, and scripted modules.

Chance: n numbers on the same levels, each as often, can stand in A = n! / (n_0! n_1! ...) orders.
If all are as likely, a place that is no copy looks like one with probability 1 / A. Weights with
A < 2**64 (those that are all equal, or fewer than 46 on three levels), or of 33 numbers or less,
are therefore not searched for. At 2**34 places the others meet one by chance once in 10^9 times.

How: from each order of a weight's axes a window of 33 neighbours is chosen in which a rounding can
not change which of two is larger. Its 32 bits say where a number is larger than the one before,
and are the same for any c > 0. Every place of the memory has such bits; where they are those of a
window, all n numbers are compared.
"""

from __future__ import annotations

import gc
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Set
from itertools import compress, filterfalse, permutations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from qcuda.nn.slot import GradientSlot

WINDOW = 33
LEAST_ORDERS = 2.0**64
CHUNK = 2**20  # places looked at together
TRIED = 256  # windows of a weight to choose from
BUCKETS = 2**16  # of codes, so that most places need one look
REALS = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
COARSENESS = [torch.finfo(dtype).eps for dtype in REALS]

Place = tuple[torch.device, int]  # device and address of a first number


class Pattern(NamedTuple):
    """A weight with its axes in one order, and a window by which it is found."""

    name: str
    values: Tensor  # float64, a view with the axes in this order
    start: int  # of the window
    code: int
    coarseness: float  # of the coarsest type in which the window is sure


class Memory(NamedTuple):
    """Numbers that lie together, and the device and address of the first."""

    numbers: Tensor  # of one dimension
    place: Place


def enough(counts: Iterable[int]) -> bool:
    """Whether so many weights on each level are too many to look alike by chance."""
    c = torch.tensor(list(counts), dtype=torch.float64)
    orders = torch.lgamma(c.sum() + 1) - torch.lgamma(c + 1).sum()
    return bool(c.sum() > WINDOW and orders >= math.log(LEAST_ORDERS))


def find_copies(
    weights: Iterable[tuple[str, Tensor]], held: Iterable[Memory], known: Set[Place]
) -> dict[str, set[Place]]:
    """By name, where the copies of weights begin.

    weights: name and float64 values on the CPU, in the weight's shape; a name may come twice.
    known: memory that is not searched, by where it begins.
    """
    patterns: dict[int, list[Pattern]] = {}
    for name, values in weights:
        for pattern in _patterns(name, values):
            patterns.setdefault(pattern.code, []).append(pattern)
    table = torch.zeros(BUCKETS, dtype=torch.bool)
    table[[code % BUCKETS for code in patterns]] = True
    found: dict[str, set[Place]] = {}
    for memory in held:
        if memory.place not in known and patterns:
            for name, start in _copies_in(memory.numbers, patterns, table):
                device, address = memory.place
                first = address + start * memory.numbers.element_size()
                found.setdefault(name, set()).add((device, first))
    return found


def _patterns(name: str, values: Tensor) -> Iterator[Pattern]:
    """One for each order of axes that differs, for c > 0 and for c < 0."""
    values = values.squeeze() if values.dim() > 1 else values
    for axes in permutations(range(values.dim())):
        turned = values.permute(axes)
        for signed in (turned, -turned):
            window = _window(signed)
            if window is not None:
                yield Pattern(name, turned, *window)


def _window(values: Tensor) -> tuple[int, int, float] | None:
    """Start, code and coarseness of the window with the most balanced code; None if there is none.

    Two numbers a and b that are rounded at most twice keep their order if |a - b| is above
    2 eps max(|a|, |b|), or 0.
    """
    last = values.numel() - WINDOW
    starts = torch.linspace(0, last, min(TRIED, last + 1), dtype=torch.float64).long()
    place = starts[:, None] + torch.arange(WINDOW)
    index = torch.unravel_index(place, values.shape)
    near = values[index]
    a, b = near[:, :-1], near[:, 1:]
    codes = _codes(b > a)[:, 0]
    ones = (b > a).sum(1)
    balance = torch.minimum(ones, WINDOW - 1 - ones)
    gap, larger = (a - b).abs(), torch.maximum(a.abs(), b.abs())
    for eps in COARSENESS:
        sure = ((gap == 0) | (gap > 2 * eps * larger)).all(1)
        best = int(torch.where(sure, balance, -1).argmax())
        if sure[best] and balance[best] > 0:
            return int(starts[best]), int(codes[best]), eps
    return None


def _codes(larger: Tensor) -> Tensor:
    """Of every 32 neighbours along the last axis their bits, the first one highest."""
    codes, width = larger.to(torch.int64), 1
    while width < WINDOW - 1:
        codes = (codes[..., :-width] << width) | codes[..., width:]
        width *= 2
    return codes


def _copies_in(
    numbers: Tensor, patterns: dict[int, list[Pattern]], table: Tensor
) -> Iterator[tuple[str, int]]:
    """Names of weights, and where in the memory their copies begin."""
    table = table.to(numbers.device)
    for begin in range(0, numbers.numel() - WINDOW + 1, CHUNK):
        near = numbers[begin : begin + CHUNK + WINDOW - 1]
        codes = _codes(near[1:] > near[:-1])
        places = table[codes % BUCKETS].nonzero()[:, 0]
        codes = codes[places].cpu()
        places = places.cpu() + begin
        for code in codes.unique().tolist():
            for pattern in patterns.get(code, ()):
                starts = places[codes == code] - pattern.start
                for start in _equal(numbers, starts, pattern):
                    yield pattern.name, start


def _equal(numbers: Tensor, starts: Tensor, pattern: Pattern) -> Iterator[int]:
    """Those of the starts at which the whole pattern stands, times a number.

    A number that is rounded three times, and c too, differs from its value by less than 4 eps, or
    in the smallest numbers of its type by two of their steps.
    """
    count, info = pattern.values.numel(), torch.finfo(numbers.dtype)
    starts = starts[(0 <= starts) & (starts + count <= numbers.numel())]
    if info.eps > pattern.coarseness or starts.numel() == 0:
        return
    values = pattern.values.reshape(-1)
    pivot = int(values.abs().argmax())
    spread = torch.linspace(0, count - 1, 64, dtype=torch.float64).long()
    few = torch.cat([spread, values.nonzero()[:64, 0]])

    def agree(start: int, where: Tensor | slice) -> bool:
        run = numbers[start : start + count]
        factor = float(run[pivot]) / float(values[pivot])
        if factor == 0 or not math.isfinite(factor):
            return False
        wanted = factor * values[where]
        slack = 4 * info.eps * wanted.abs() + 2 * info.eps * info.smallest_normal
        return bool(((run[where].double().cpu() - wanted).abs() <= slack).all())

    yield from (s for s in starts.tolist() if agree(s, few) and agree(s, slice(None)))


def in_use() -> list[Memory]:
    """The memory that is searched, each piece once for each type of number in it."""
    found: dict[tuple[Place, int, torch.dtype], Memory] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of arrays that may not be written
        for x in _held():
            for memory in _of_array(x) if isinstance(x, np.ndarray) else _of_tensor(x):
                key = (memory.place, memory.numbers.numel(), memory.numbers.dtype)
                found.setdefault(key, memory)
    return list(found.values())


def _held() -> list[Any]:
    """Tensors and arrays that something refers to.

    The collector does not know arrays, nor tuples and dictionaries of nothing but arrays: they are
    what its objects refer to.
    """
    gc.collect()
    objects = gc.get_objects()
    found: dict[int, Any] = {}
    containers: dict[int, Any] = {}
    outer = [*objects, *gc.get_referents(*objects), *_local_values()]
    while outer:
        kinds = list(map(type, outer))  # of millions of objects, so that each costs a few cycles
        numbers = {kind for kind in set(kinds) if issubclass(kind, Tensor | np.ndarray)}
        fresh = {id(x): x for x in compress(outer, map(numbers.__contains__, kinds))}
        simple = compress(outer, map((tuple, dict).__contains__, kinds))
        simple = {id(x): x for x in filterfalse(gc.is_tracked, simple) if id(x) not in containers}
        containers |= simple
        outer = gc.get_referents(*simple.values())
        outer += [y for x in fresh.values() if x.dtype == object for y in x.ravel().tolist()]
        found |= fresh
    return list(found.values())


def _local_values() -> Iterator[Any]:
    """What the running functions of all threads have in variables."""
    for frame in sys._current_frames().values():
        while frame is not None:
            yield from frame.f_locals.values()
            frame = frame.f_back


def _of_tensor(tensor: Tensor) -> Iterator[Memory]:
    """The memory of a dense tensor. What torch traces with holds no numbers."""
    if (
        isinstance(tensor, GradientSlot)
        or torch._C._dispatch_keys(tensor).has(torch._C.DispatchKey.Python)
        or tensor.dtype not in REALS
        or tensor.layout is not torch.strided
        or tensor.is_meta
    ):
        return
    tensor = tensor.detach()
    storage = tensor.untyped_storage()
    size = storage.nbytes() // tensor.element_size()
    whole = tensor.new_empty(0).set_(storage, 0, (size,))  # pyright: ignore[reportCallIssue]
    yield Memory(whole, (tensor.device, whole.data_ptr()))
    for axis, step in enumerate(tensor.stride()):
        tensor = tensor.narrow(axis, 0, 1) if step == 0 else tensor  # repeated, not stored
    if tensor.numel() >= WINDOW and not _together(tensor.shape, tensor.stride(), 1):
        yield Memory(tensor.reshape(-1), (tensor.device, tensor.data_ptr()))


def _of_array(array: np.ndarray) -> Iterator[Memory]:
    """The memory of an array, and its owner's."""
    if array.dtype.kind != "f" or array.itemsize > 8:
        return
    owner = array
    while isinstance(owner.base, np.ndarray) and owner.base.dtype == array.dtype:
        owner = owner.base
    for one in (array,) if owner is array else (owner, array):
        stored = one.ravel("K") if _together(one.shape, one.strides, one.itemsize) else one.ravel()
        if one is owner or stored.base is None:
            numbers = torch.from_numpy(stored.astype(stored.dtype.newbyteorder("="), copy=False))
            yield Memory(numbers, (torch.device("cpu"), one.ctypes.data))


def _together(shape: tuple[int, ...], steps: tuple[int, ...], item: int) -> bool:
    """Whether elements fill their memory without gaps, in some order of the axes."""
    for step, size in sorted(zip(steps, shape, strict=True)):
        if size != 1:
            if step != item:
                return False
            item *= size
    return True
