"""What is kept from the forward pass to the backward pass: two bits of a ternary number.

A tensor whose numbers are all -1, 0 or 1 is kept as trits, in the order of its memory. The sign of
a zero is not kept, which changes no sum that is not zero. A layer whose weight lies on a lattice
keeps nothing for its weight: going back it is read again from its codes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qcuda.errors import InputError
from qcuda.kernels import native
from qcuda.kernels.abi import Storage
from qcuda.kernels.decoding import MADE, decode

SMALL = 256  # a tensor of fewer numbers is kept as it is
MOVED = (
    "a weight that is read again in the backward pass has not moved since the forward pass, "
    "got one that was stepped, set or loaded in between"
)


class Trits(NamedTuple):
    """A ternary tensor in two bits a number. bytes: uint8, in the order of its memory."""

    bytes: Tensor
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def numbers(self) -> Tensor:
        """The tensor, made anew."""
        count = torch.Size(self.shape).numel()
        device = self.bytes.device
        levels = torch.tensor([-1.0, 0.0, 1.0], device=device)
        one = torch.ones((), device=device)
        flat = decode(self.bytes, levels, one, (count,), int(Storage.TRITS), self.dtype, False)
        return flat.as_strided(self.shape, self.stride)


def as_trits(x: Tensor) -> Trits | None:
    """A tensor as trits, None if a number of it is not -1, 0 or 1, or gaps lie between them.

    On a GPU this waits for the card, since the numbers are looked at.
    """
    if x.dtype not in MADE or not _dense(x):
        return None
    size = Storage.TRITS.bytes(x.numel())
    if x.device.type != "cpu":
        return _as_trits_elsewhere(x, size)
    out = torch.empty(size, dtype=torch.uint8)
    threads = torch.get_num_threads()
    other = native.library().qt_trits(
        MADE[x.dtype], x.data_ptr(), x.numel(), out.data_ptr(), threads
    )
    return None if other else Trits(out, tuple(x.shape), x.stride(), x.dtype)


def _as_trits_elsewhere(x: Tensor, size: int) -> Trits | None:
    codes = torch.empty(4 * size, dtype=torch.int8, device=x.device)
    codes[x.numel() :] = 0
    flat = x.as_strided((x.numel(),), (1,))
    codes[: x.numel()] = flat
    if not bool((codes[: x.numel()] == flat).logical_and(flat.abs() <= 1).all()):
        return None
    quads = codes.bitwise_and_(3).view(torch.uint8).reshape(-1, 4)
    out = quads[:, 0] | quads[:, 1] << 2 | quads[:, 2] << 4 | quads[:, 3] << 6
    return Trits(out, tuple(x.shape), x.stride(), x.dtype)


def _dense(x: Tensor) -> bool:
    """Whether the numbers fill a piece of memory, in whatever order."""
    expected = 1
    for stride, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return expected > 0


class Again(NamedTuple):
    """A weight that is read again from its codes, which must not have changed."""

    state: Tensor
    version: int
    read: Callable[[], Tensor]

    def check(self) -> None:
        """Raise InputError if the codes have changed."""
        if self.state._version != self.version:
            raise InputError(MOVED)


class _Handle(NamedTuple):
    """What stands in a graph for a tensor.

    kept: what is held of it, or what hooks that were there before have made of that. lies: shape,
    stride and dtype of trits. outer: those hooks' way back.
    """

    kept: Any
    version: int
    shape: torch.Size
    stride: tuple[int, ...]
    lies: tuple[Any, Any, Any] | None
    outer: Callable[[Any], Tensor] | None


def _restored(handle: _Handle) -> Tensor:
    if isinstance(handle.kept, Again):
        handle.kept.check()
        return handle.kept.read().as_strided(handle.shape, handle.stride)
    kept = handle.kept if handle.outer is None else handle.outer(handle.kept)
    if handle.lies is not None:
        return Trits(kept, *handle.lies).numbers()
    if handle.outer is None and kept._version != handle.version:
        raise RuntimeError(
            "a tensor that is needed in the backward pass was modified by an inplace operation"
        )
    return kept


def keeping_little(weight: Tensor, again: Again) -> AbstractContextManager[Any]:
    """A context in which operators keep `again` for a weight, and trits of ternary tensors.

    Other tensors are kept as they are. Hooks for saved tensors that are there already are handed
    what is kept. torch.func, which has no such hooks, and a compiler, which
    decides itself what is kept, are left alone.
    """
    if (
        not torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
    ):
        return nullcontext()
    place, count, dtype = weight.data_ptr(), weight.numel(), weight.dtype

    outer: Any = getattr(torch._C, "_autograd")._top_saved_tensors_default_hooks(False)  # noqa: B009

    def kept(t: Tensor) -> _Handle:
        about = t._version, t.shape, t.stride()
        if t.data_ptr() == place and t.numel() == count and t.dtype == dtype:
            return _Handle(again, *about, None, None)
        trits = as_trits(t) if t.numel() >= SMALL else None
        # Not t itself, whose graph would hold the handle, and the handle the graph.
        held = t.detach() if trits is None else trits.bytes
        lies = None if trits is None else trits[1:]
        return _Handle(outer[0](held) if outer else held, *about, lies, outer and outer[1])

    return torch.autograd.graph.saved_tensors_hooks(kept, _restored)
