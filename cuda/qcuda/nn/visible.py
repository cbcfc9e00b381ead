"""A visible weight: made anew from a stored one, differentiable towards its gradient slot.

The derivative is an `autograd.Function` around an operator that has none, which costs less than
torch's own way of attaching one (`torch.library.register_autograd`).

On a GPU each layer is decoded by a launch of its own: in a captured step (a CUDA graph) launches
cost the host nothing, and elsewhere it is one beside the four or more of the layer's two passes.
One launch for all layers would have to know which of them a forward pass will reach and whether
their codes changed since, and would hold every visible weight at once, in evaluation too.
"""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from qcuda.errors import InputError
from qcuda.kernels.decoding import decode
from qcuda.kernels.order import as_stored, in_stored_order

WRITTEN = (
    "a visible weight is read from its layer's indices, got a write: "
    "set_index, draw_levels or load_state_dict change the layer"
)


class Reading(NamedTuple):
    """How a weight is read: its shape, storage, dtype, layout, and the dtype of its gradient."""

    shape: tuple[int, ...]
    storage: int
    dtype: torch.dtype
    channels_last: bool
    gradient: torch.dtype


def _refuse(self: Tensor, *arguments: Any, **options: Any) -> NoReturn:
    raise InputError(WRITTEN)


def _writers() -> list[str]:
    """The names of methods of a tensor that write into it."""
    kept = {"requires_grad_", "detach_", "share_memory_", "rename_"}
    names = [name for name in dir(Tensor) if name.endswith("_") and name not in kept]
    inside = [f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")]
    inside += [f"__i{name}__" for name in ("and", "or", "xor", "lshift", "rshift")]
    return [name for name in names if not name.startswith("_")] + ["__setitem__", *inside]


class VisibleWeight(Tensor):
    """A tensor that was read and is no place to write to: the layer would never know.

    Methods that write raise InputError; whatever is computed from it is an ordinary tensor.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    @property
    def data(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The values, without history, and no more a place to write to."""
        return Tensor._make_subclass(VisibleWeight, self)

    @data.setter
    def data(self, value: Tensor) -> None:
        raise InputError(WRITTEN)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.detach().__reduce_ex__(protocol)


for _name in _writers():
    setattr(VisibleWeight, _name, _refuse)


class _Visible(torch.autograd.Function):
    """d visible / d weight is the scale; the gradient is handed on in stored order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        slot: Tensor,
        state: Tensor,
        levels: Tensor,
        scale: Tensor,
        scaled: bool,
        shape: tuple[int, ...],
        storage: int,
        dtype: torch.dtype,
        channels_last: bool,
        gradient: torch.dtype,
        guarded: bool,
    ) -> Tensor:
        if not guarded:
            return torch.ops.qtheory.decode(
                state, levels, scale, shape, storage, dtype, channels_last
            )
        weight = decode(state, levels, scale, shape, storage, dtype, channels_last)
        return Tensor._make_subclass(VisibleWeight, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        scale, ctx.scaled, ctx.gradient = inputs[3], inputs[4], inputs[9]
        if ctx.scaled:
            ctx.save_for_backward(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        stored = in_stored_order(gradient, ctx.gradient)
        if ctx.scaled:
            (scale,) = ctx.saved_tensors
            stored = (stored * as_stored(scale)).to(ctx.gradient)
        return stored, *(None,) * 10


# torch's `apply` binds default arguments by inspection, which takes longer than all the rest.
_apply = super(torch.autograd.Function, _Visible).apply  # pyright: ignore[reportAttributeAccessIssue]


def visible(
    slot: Tensor,
    state: Tensor,
    levels: Tensor,
    scale: Tensor,
    scaled: bool,
    reading: Reading,
) -> Tensor:
    """The visible weight, a VisibleWeight in eager programs.

    scale: see `torch.ops.qtheory.decode`. scaled: whether the gradient is multiplied by it.
    """
    arguments = (slot, state, levels, scale, scaled, *reading)
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return _Visible.apply(*arguments, False)
    return _apply(*arguments, type(state) is Tensor)
