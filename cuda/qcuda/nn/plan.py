"""What a conversion would do to each module of a model, as a table; and what it may not do."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrize import ParametrizationList

from qcuda.errors import require
from qcuda.nn.rules import VECTORS, parent, reason_to_leave, weights

Filter = Callable[[nn.Module, str], bool]
FILTERED = "filter_fn leaves it"


@dataclass(frozen=True, slots=True)
class Row:
    """One module: its name, or all names it has, joined by " = "; its type; its weights."""

    name: str
    type: str
    weights: int
    left: str | None  # why it stays as it is; None: it is converted

    @property
    def unasked(self) -> bool:
        """Whether it keeps real weights, and nobody asked for that."""
        return self.left not in (None, FILTERED, VECTORS)


@dataclass(frozen=True, slots=True)
class Conversions:
    """Every module of a model that holds parameters, and what a conversion does to it."""

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        wide = max([5, *(len(row.name) for row in self.rows)]) + 2
        kind = max([4, *(len(row.type) for row in self.rows)]) + 2
        said = [f"{'layer':<{wide}}{'type':<{kind}}{'parameters':>12}  "]
        said += [
            f"{row.name:<{wide}}{row.type:<{kind}}{row.weights:>12}  "
            + ("on the lattice" if row.left is None else f"left: {row.left}")
            for row in self.rows
        ]
        return "\n".join(line.rstrip() for line in said)


@dataclass(frozen=True, slots=True)
class Plan:
    """Modules to convert by name, those that share a weight beside each other, and the table."""

    chosen: dict[str, nn.Module]
    table: Conversions


def plan(model: nn.Module, filter_fn: Filter | None) -> Plan:
    """What a conversion of a model does.

    Raises ValueError if it can not be done: nothing to convert, a weight that is shared with what
    is not converted, an optimiser that holds one already, or a hook on one.
    """
    names: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(id(module), []).append(name)
    rows, chosen = list[Row](), dict[str, nn.Module]()
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, ParametrizationList) or not (own or parent(module)):
            continue
        left = reason_to_leave(module)
        if left != VECTORS and not (filter_fn is None or filter_fn(module, name)):
            left = FILTERED
        count = sum(p.numel() for p in own if not nn.parameter.is_lazy(p))
        said = " = ".join(filter(None, names[id(module)])) or "(the model)"
        rows.append(Row(said, type(module).__name__, count, left))
        if left is None:
            chosen[name] = module
    table = Conversions(tuple(rows))
    wrapped = any(isinstance(m, DistributedDataParallel) for m in model.modules())
    require(not wrapped, "a model is converted before it is wrapped, got DistributedDataParallel")
    require(bool(chosen), f"a model to convert has layers with a lattice form, got none:\n{table}")
    _check_shared(model, chosen)
    _check_held(chosen)
    return Plan(chosen, table)


def chosen_weights(chosen: dict[str, nn.Module]) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Name, module and tensor of every weight that is converted; a shared one comes each time."""
    for name, module in chosen.items():
        for attribute in weights(module):
            weight = module._parameters[attribute]
            assert weight is not None
            yield f"{name}.{attribute}" if name else attribute, module, weight


def _check_shared(model: nn.Module, chosen: dict[str, nn.Module]) -> None:
    """A weight that is shared is converted everywhere, and is shared as one parameter."""
    converted = {name: weight for name, _, weight in chosen_weights(chosen)}
    everywhere = dict(model.named_parameters(remove_duplicate=False))
    ids = {id(weight) for weight in converted.values()}
    modules = {id(module) for module in chosen.values()}
    for name, parameter in everywhere.items():
        owner = model.get_submodule(name.rpartition(".")[0])
        require(
            id(parameter) not in ids or id(owner) in modules,
            f"a shared weight is converted with all layers that share it, got {name!r}, "
            f"which stays in {type(owner).__name__}",
        )
    spans = sorted({(*_span(p), id(p)) for p in everywhere.values() if _has_memory(p)})
    named = {id(p): name for name, p in everywhere.items()}
    for (_, end, first), (begin, _, second) in pairwise(spans):
        both = " and ".join(sorted((named[first], named[second])))
        require(
            begin >= end or not {first, second} & ids,
            f"layers share a weight as one parameter, got {both}, two in the same memory",
        )


def _has_memory(parameter: Tensor) -> bool:
    lazy = nn.parameter.is_lazy(parameter)
    return not lazy and not parameter.is_meta and parameter.untyped_storage().nbytes() > 0


def _span(parameter: Tensor) -> tuple[int, int]:
    begin = parameter.data_ptr()
    return begin, begin + parameter.numel() * parameter.element_size()


def _check_held(chosen: dict[str, nn.Module]) -> None:
    """No optimiser holds a weight that will be gone, and no hook waits for its gradient."""
    named = {id(weight): name for name, _, weight in chosen_weights(chosen)}
    for name, _, weight in chosen_weights(chosen):
        hooks = weight._backward_hooks or weight._post_accumulate_grad_hooks
        require(not hooks, f"a weight to convert has no hook of its own, got one on {name!r}")
    if any(_held(optimizer, named) for optimizer in _optimizers()):
        gc.collect()  # one that nobody refers to holds nothing
    for optimizer in _optimizers():
        held = _held(optimizer, named)
        require(
            not held,
            "a model is converted before its optimiser is made, "
            f"got {type(optimizer).__name__}, which holds {', '.join(held[:1])}",
        )


def _held(optimizer: torch.optim.Optimizer, named: dict[int, str]) -> list[str]:
    groups = optimizer.param_groups
    return [named[id(p)] for group in groups for p in group["params"] if id(p) in named]


def _optimizers() -> list[torch.optim.Optimizer]:
    found = [x for x in gc.get_objects() if issubclass(type(x), torch.optim.Optimizer)]
    return [x for x in found if "param_groups" in vars(x)]
