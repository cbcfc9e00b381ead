"""The order of a weight's elements in memory and in the random counter.

Weights of four and five dimensions (O, I, H, W) lie as torch's channels_last has them,
(O, H, W, I): convolutions read them so, and gradients arrive so. Other weights lie as they are
written. A state, a gradient slot, moments and increments have the *stored shape*; an index and a
visible weight have the weight's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from qcuda.kernels import native

DIMENSIONS = (4, 5)  # of weights whose channels are stored last


def stored_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The stored shape of a weight's shape.

    >>> stored_shape((8, 3, 5, 5)), stored_shape((8, 3))
    ((8, 5, 5, 3), (8, 3))
    """
    return (shape[0], *shape[2:], shape[1]) if len(shape) in DIMENSIONS else tuple(shape)


def as_stored(weight: Tensor) -> Tensor:
    """A view of a tensor of the weight's shape in the stored one."""
    return weight.movedim(1, -1) if weight.dim() in DIMENSIONS else weight


def as_weight(stored: Tensor) -> Tensor:
    """A view of a tensor of the stored shape in the weight's."""
    return stored.movedim(-1, 1) if stored.dim() in DIMENSIONS else stored


def places_and_channels(shape: Sequence[int]) -> tuple[int, int]:
    """H W and I of a weight's shape, 1 and 1 where nothing is moved."""
    return (math.prod(shape[2:]), shape[1]) if len(shape) in DIMENSIONS else (1, 1)


def in_stored_order(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A contiguous tensor of the stored shape and a dtype with a weight's elements.

    On the CPU our own kernel turns plain numbers without history, three times faster than torch.
    """
    places, channels = places_and_channels(weight.shape)
    ours = (
        places > 1
        and channels > 1
        and type(weight) is Tensor
        and weight.device.type == "cpu"
        and weight.is_contiguous()
        and weight.dtype.is_floating_point
        and dtype.itemsize > 1
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch._C._len_torch_dispatch_stack()
        and torch._C._has_storage(weight)  # a batch of torch.func has none
    )
    if not ours:
        return as_stored(weight).to(dtype).contiguous()
    weight = weight.to(dtype)
    out = torch.empty(stored_shape(weight.shape), dtype=dtype, device="cpu")
    native.library().qt_stored(
        weight.data_ptr(),
        weight.numel(),
        weight.element_size(),
        places,
        channels,
        out.data_ptr(),
        torch.get_num_threads(),
    )
    return out
