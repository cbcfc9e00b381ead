"""A residual stream of rows: a batch norm, a stair and a convolution, beside a shortcut.

    q = stair(norm(x)),  y = convolution(q) + shortcut(x)

A row keeps mean and 1 / std of its norm. What came in, of which all else is made again, is kept for
the first row of a few; for the others it is made from that, by one convolution for each row in
between.

No tensor but x, y and their gradients is whole at any time: forwards and when x is made again,
images are taken in chunks; backwards, input channels are. To a channel belong one sum of the
norm's, and a slice of the weight whose gradient no other channel changes. Chunks of images and of
16 channels have the bits of the whole wherever torch's kernels sum a number in an order of its own,
as those of oneDNN do: tests compare them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import get_gradient_edge

from qcuda.errors import InputError
from qcuda.kernels import batch_norm
from qcuda.memory.chunks import MOST
from qcuda.memory.units import Unit
from qcuda.nn.convolution import STRAIGHT
from qcuda.nn.fused import NORMS, BatchStair, hooked
from qcuda.nn.kept import MOVED
from qcuda.nn.stairs import is_half

LARGE = 2**24  # bytes of an input that is kept every fourth row, and not on the way; others third
VECTOR = 16  # channels that kernels take together


class Row(NamedTuple):
    """A row of a residual stream. shortcut: None if x goes by as it is."""

    norm: BatchStair
    layer: Any  # a convolution on a lattice, not transposed
    shortcut: nn.Module | None

    def __call__(self, x: Tensor) -> Tensor:
        """What the row hands on."""
        if not torch.is_grad_enabled() or x.dtype != torch.float32:
            return self.plainly(x)
        norm: Any = self.norm.norm
        beside = [] if self.shortcut is None else list(self.shortcut.parameters())
        return _Row.apply(self, x, self.layer.weight, norm.weight, norm.bias, *beside)

    def plainly(self, x: Tensor) -> Tensor:
        """The same, by the modules."""
        beside = x if self.shortcut is None else self.shortcut(x)
        return self.layer(self.norm(x)) + beside

    def unit(self) -> Unit:
        """Its modules."""
        beside = () if self.shortcut is None else (self.shortcut,)
        return Unit((self.norm, self.layer, *beside))

    @property
    def whole(self) -> bool:
        """Whether the row's modules are of kinds that this module knows, and nobody listens."""
        norm, layer = self.norm, self.layer
        return (
            isinstance(norm, BatchStair)
            and type(norm.norm) in NORMS
            and type(layer).__name__ in ("Conv1d", "Conv2d", "Conv3d")
            and layer.dtype == torch.float32
            and layer.bias is None
            and layer.padding_mode == "zeros"
            and not isinstance(layer.padding, str)
            and not any(hooked(m) for m in self.unit().all())
        )


def in_rows(rows: Sequence[Row]) -> bool:
    """Whether these rows can run as rows, here and now: in float32, and eagerly."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
    ) and all(row.whole for row in rows)


class _Row(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, row: Row, x: Tensor, weight: Tensor, *_: Tensor | None) -> Tensor:
        before: Any = x.grad_fn
        chained = getattr(type(before), "_forward_cls", None) is _Row
        ctx.large, ctx.made = 4 * x.numel() > LARGE, None
        most = 3 if ctx.large else 2
        ctx.before = before if chained and before.depth < most else None
        ctx.depth = ctx.before.depth + 1 if ctx.before else 0
        ctx.row, ctx.versions = row, row.unit().versions()
        ctx.size = 4 * max(x.numel(), weight.numel())
        ctx.of_batch, statistics = row.norm.statistics(x)
        out = _handed_on(row, statistics, weight, x)
        ctx.save_for_backward(statistics, *(() if ctx.before else (x,)))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x = _entered(ctx)
        _, enters, weighs, *needed = ctx.needs_input_grad
        heavy = x.numel() < ctx.row.layer.slot.numel()  # then its gradient comes last
        made = _of_weight(ctx, x, gradient) if weighs and not heavy else None
        beside, others = _beside(ctx, x, gradient)
        out = _room(beside, beside is gradient, x, bool(ctx.before) and not heavy)
        slopes = _through_norm(ctx, x, gradient, beside, out, any(needed[:2]))
        if weighs and heavy:
            made = _of_weight(ctx, x, gradient)
        of_norm = [s if need else None for s, need in zip(slopes, needed[:2], strict=True)]
        return None, out if enters else None, made, *of_norm, *others


def _room(beside: Tensor, plain: bool, x: Tensor, own: bool) -> Tensor:
    """Where the gradient of x is put: it lies as the first of the two that torch would add.

    plain: `beside` is the row's gradient, which comes first. own: x may be written over.
    """
    if beside.stride() == x.stride():
        return x if plain and own else torch.empty_like(x) if plain else beside
    return torch.empty_like(beside if plain else x)


def _handed_on(
    row: Row, statistics: Tensor, weight: Tensor, x: Tensor, over: bool = False
) -> Tensor:
    """What a row makes of x. over: of which nothing is asked any more, it may be put there."""
    beside = x if row.shortcut is None else row.shortcut(x)
    layer, out, begin = row.layer, None, 0
    for part in x.split(max(1, MOST // (4 * x[0].numel()))):
        y = STRAIGHT[layer.dimensions](
            row.norm.at(part, statistics), weight, None, layer.stride, layer.padding,
            layer.dilation, layer.groups,
        )  # fmt: skip
        if out is None:
            shape = (len(x), *y.shape[1:])
            over = over and row.shortcut is None and _format(x) == _format(y)
            lies = _format(y)
            out = x if over else torch.empty(shape, device=y.device, memory_format=lies)
        end = begin + len(part)
        torch.add(y, beside[begin:end], out=out[begin:end])
        begin = end
    assert out is not None
    return out


def _entered(ctx: Any) -> Tensor:
    """What came into a row."""
    if ctx.row.unit().versions() != ctx.versions:
        raise InputError(MOVED)
    before = ctx.before
    if before is None:
        return ctx.saved_tensors[1].detach()
    if ctx.made is not None:
        x, ctx.made = ctx.made, None
        return x
    x, row = _entered(before), before.row
    own = before.before is not None
    if own and not before.large:
        before.made = x  # its backward pass is the next
    with row.unit().unmoved():
        return _handed_on(
            row, before.saved_tensors[0], row.layer.weight.detach(), x, own and before.large
        )


def _beside(ctx: Any, x: Tensor, gradient: Tensor) -> tuple[Tensor, list[Tensor | None]]:
    """What comes back through the shortcut: the gradient of x, and those of parameters."""
    row: Row = ctx.row
    if row.shortcut is None:
        return gradient, []
    parameters, needed = list(row.shortcut.parameters()), ctx.needs_input_grad[5:]
    with torch.enable_grad(), row.unit().unmoved():
        x = x.detach().requires_grad_()
        end = get_gradient_edge(row.shortcut(x))  # of its output no number is asked
    wanted = [p for p, need in zip(parameters, needed, strict=True) if need]
    of_x, *found = torch.autograd.grad(end, [x, *wanted], gradient)
    made = iter(found)
    return of_x, [next(made) if need else None for need in needed]


def _through_norm(
    ctx: Any, x: Tensor, gradient: Tensor, beside: Tensor, out: Tensor, wanted: bool
) -> tuple[Tensor, Tensor]:
    """Put the gradient of x into `out`, which may be x or `beside`; of weight and bias returned."""
    row: Row = ctx.row
    stair, statistics = row.norm.stair, ctx.saved_tensors[0]
    weight, found, lies = row.layer.weight.detach(), [], _format(x)
    for part in _channels(row.layer, ctx.size):
        some = x[:, part].contiguous(memory_format=lies)
        seen = weight[:, part].contiguous(memory_format=_format(weight))
        back = _back(row.layer, gradient, some, seen, 0)
        gain, bias = row.norm.numbers(part)
        slope, slopes, _ = batch_norm.back(
            some, back, statistics[:, part], gain, bias, stair.scale, stair.stair.thresholds,
            stair.stair.levels, is_half(stair.stair), stair.family == "triangular", ctx.of_batch,
            wanted, over=True,
        )  # fmt: skip
        torch.add(beside[:, part], slope, out=out[:, part])
        found.append(slopes)
        del back, some, slope
    both = torch.cat(found, 1)
    return both[0], both[1]


def _of_weight(ctx: Any, x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the visible weight."""
    layer, norm, statistics = ctx.row.layer, ctx.row.norm, ctx.saved_tensors[0]
    lies = torch.channels_last if layer.channels_last else torch.contiguous_format
    out = torch.empty(layer.shape, device=gradient.device, memory_format=lies)
    for part in _channels(layer, ctx.size):
        some = x[:, part].contiguous(memory_format=_format(x))
        q = norm.at(some, statistics, part)
        seen = torch.empty_like(out[:, part])  # of no value: its shape alone is asked
        out[:, part] = _back(layer, gradient, q, seen, 1)
    return out


def _back(layer: Any, gradient: Tensor, q: Tensor, weight: Tensor, place: int) -> Tensor:
    """Of a convolution, the gradient of its inputs, place 0, or of its weight, 1."""
    n = layer.dimensions
    return torch.ops.aten.convolution_backward(
        gradient, q, weight, None, layer.stride, layer.padding, layer.dilation, False, [0] * n,
        layer.groups, [place == 0, place == 1, False],
    )[place]  # fmt: skip


def _channels(layer: Any, size: int) -> list[slice]:
    """Input channels in slices: all, or so many vectors that MOST bytes of so many are not passed.

    size: bytes of all channels, of the inputs or the weight, whichever are more.
    """
    count, step = layer.in_channels, layer.in_channels
    if layer.groups == 1 and count % VECTOR == 0:
        while step % (2 * VECTOR) == 0 and size * step > MOST * count:
            step //= 2
    return [slice(begin, begin + step) for begin in range(0, count, step)]


def _format(x: Tensor) -> torch.memory_format:
    wide = x.dim() == 4 and not x.is_contiguous()
    wide = wide and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if wide else torch.contiguous_format
