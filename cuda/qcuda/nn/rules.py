"""Which layers have a form on a lattice, as a table, and why others stay as they are."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Set
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import is_parametrized

from qcuda.nn.attention import WEIGHTS
from qcuda.nn.convolution import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from qcuda.nn.embedding import Embedding
from qcuda.nn.layers import LatticeLayer
from qcuda.nn.linear import Linear

STRAIGHT = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
    "padding_mode",
)  # fmt: skip
TRANSPOSED = (*STRAIGHT, "output_padding")


@dataclass(frozen=True, slots=True)
class Rule:
    """A layer's form on a lattice, and the arguments that the constructors of both share."""

    layer: Callable[..., LatticeLayer]
    arguments: tuple[str, ...]


RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: Rule(Linear, ("in_features", "out_features")),
    nn.Conv1d: Rule(Conv1d, STRAIGHT),
    nn.Conv2d: Rule(Conv2d, STRAIGHT),
    nn.Conv3d: Rule(Conv3d, STRAIGHT),
    nn.ConvTranspose1d: Rule(ConvTranspose1d, TRANSPOSED),
    nn.ConvTranspose2d: Rule(ConvTranspose2d, TRANSPOSED),
    nn.ConvTranspose3d: Rule(ConvTranspose3d, TRANSPOSED),
    nn.Embedding: Rule(
        Embedding, ("num_embeddings", "embedding_dim", "padding_idx", "scale_grad_by_freq")
    ),
}  # attention has a class of its own: its projections are Linear

LEFT: dict[type[nn.Module], str] = {
    nn.RNNBase: "torch computes all its steps in one call, with real weights",
    nn.RNNCellBase: "it has no form on a lattice",
    nn.Bilinear: "it has no form on a lattice",
    nn.EmbeddingBag: "it has no form on a lattice",
}
VECTORS = "its parameters are no matrix"
# What a subclass may define and still compute what its parent does.
HARMLESS = {
    "__module__", "__doc__", "__init__", "__qualname__", "__annotations__", "__constants__",
    "__firstlineno__", "__static_attributes__", "__orig_bases__", "__parameters__",
    "extra_repr", "reset_parameters",
}  # fmt: skip


HOOKS = [name for name in vars(nn.Module()) if "hook" in name]
DERIVED = frozenset({"_reversed_padding_repeated_twice"})  # of torch's convolutions


def become(module: nn.Module, made: nn.Module, forget: Set[str] = DERIVED) -> None:
    """Turn a module into another one, which is used up; its hooks, mode and attributes stay.

    It is the same object as before, so that whoever refers to it need not be found.
    forget: attributes that are its kind's, not a user's.
    """
    own, new = vars(module), vars(made)
    kept = {
        name: value
        for name, value in own.items()
        if name in HOOKS or not (name in new or name in forget or hasattr(type(made), name))
    }
    state = {**new, **kept, "training": module.training}
    module.__class__ = type(made)
    own.clear()
    own.update(state)
    if isinstance(module, LatticeLayer):
        module.slot.owner = weakref.ref(module)


def parent(module: nn.Module) -> type[nn.Module] | None:
    """The torch layer that a module is, or is derived from, if it has a form on a lattice."""
    kinds = (*RULES, nn.MultiheadAttention)
    return next((kind for kind in kinds if isinstance(module, kind)), None)


def channel_groups(module: nn.Module) -> int:
    """Groups of a transposed convolution, 0 of every other layer: see `qcuda.nn.scales`."""
    return int(getattr(module, "groups", 1)) if getattr(module, "transposed", False) else 0


def weights(module: nn.Module) -> dict[str, str]:
    """By attribute, the weights to convert, and the projection of each in attention ('' else)."""
    if not isinstance(module, nn.MultiheadAttention):
        return {"weight": ""}
    return {
        name: part for name, part in WEIGHTS.items() if module._parameters.get(name) is not None
    }


def reason_to_leave(module: nn.Module) -> str | None:
    """Why a module that holds parameters can not be converted; None if it can."""
    if isinstance(module, LatticeLayer):
        return "it is on a lattice already"
    kind = parent(module)
    if kind is None:
        known = next((why for kind, why in LEFT.items() if isinstance(module, kind)), None)
        matrix = any(p.dim() > 1 for p in _real(module)) and not _normalises(module)
        return known or ("it has no form on a lattice" if matrix else VECTORS)
    return _computed(module) or _uninitialised(module) or _more(module, kind) or _rows(module)


def _real(module: nn.Module) -> list[nn.Parameter]:
    own = module.parameters(recurse=False)
    return [p for p in own if not isinstance(p, UninitializedParameter) and p.is_floating_point()]


def _normalises(module: nn.Module) -> bool:
    return isinstance(module, nn.LayerNorm | nn.RMSNorm)  # whatever dimensions they span


def _computed(module: nn.Module) -> str | None:
    """Weights that another tensor is turned into, by a hook or a parametrization."""
    if is_parametrized(module):
        return "a parametrization computes its weight: remove_parametrizations first"
    if "weight" in weights(module) and module._parameters.get("weight") is None:
        hooks = [type(hook).__name__ for hook in module._forward_pre_hooks.values()]
        return f"a hook computes its weight ({', '.join(hooks)}): remove it first"
    if not weights(module):
        return "its weights are no parameters"
    return None


def _uninitialised(module: nn.Module) -> str | None:
    given = [module._parameters[name] for name in weights(module)]
    if any(isinstance(p, UninitializedParameter) for p in given):
        return "its weight has no shape yet: run a batch first"
    foreign = [type(p).__name__ for p in given if type(p) is not nn.Parameter]
    return f"its weight is a {foreign[0]}" if foreign else None


def _more(module: nn.Module, kind: type[nn.Module]) -> str | None:
    """What a subclass or this instance adds to its kind."""
    between = type(module).__mro__[: type(module).__mro__.index(kind)]
    if type(module) is not NonDynamicallyQuantizableLinear:
        added = sorted({name for cls in between for name in vars(cls)} - HARMLESS)
        if added:
            return f"a subclass of {kind.__name__} with its own {', '.join(added)}"
    if "forward" in vars(module):
        return "its forward was replaced"
    own = {*weights(module), "bias", *WEIGHTS, "in_proj_bias", "bias_k", "bias_v"}
    extra = [
        *(module._parameters.keys() - own),
        *module._buffers,
        *(module._modules.keys() - {"out_proj"}),
    ]
    return f"it has more than its weight and bias: {', '.join(sorted(extra))}" if extra else None


def _rows(module: nn.Module) -> str | None:
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        return "max_norm scales its rows"
    if isinstance(module, nn.Embedding) and module.sparse:
        return "its gradient is sparse"
    return None
