"""A table of the memory that a step of training takes, layer by layer, beside a float network.

Bytes of weights, moments and gradients are those of their tensors; *saved* are the tensors that
stand in the graph after a forward pass in training, parameters apart. Each is counted once, for the
layer that made the graph hold it, or the last module of a unit. *Transient* is arithmetic: a
layer's input and output, their gradients, and the weight as it is read and its gradient, which
stand beside each other while the layer goes back; only the largest of a network counts. A float
network has the same layers and ReLU, four bytes a weight, as many for its gradient and eight for
Adam; as bfloat16 AMP it keeps less of its activations, and a copy of its weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from qcuda.errors import require
from qcuda.nn.dequantize import HardBatchStair, HardStair, dequantize
from qcuda.nn.layers import LatticeLayer
from qcuda.nn.slot import is_slot

MIB = 2**20
COLUMNS = ("weights", "optimizer", "gradients", "saved", "transient")


@dataclass(frozen=True, slots=True)
class Row:
    """Bytes of one module, or of a whole network."""

    name: str
    weights: int
    optimizer: int
    gradients: int
    saved: int
    transient: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, column) for column in COLUMNS)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of modules, their sum (of transients the largest), and float networks beside it."""

    rows: tuple[Row, ...]
    whole: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, fit for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        names = "".join(f"{column:>12}" for column in COLUMNS)
        lines = [f"{'MiB':<32}{names}{'in all':>12}"]
        for row in (*self.rows, *self.whole):
            numbers = "".join(f"{getattr(row, column) / MIB:>12.3f}" for column in COLUMNS)
            lines.append(f"{row.name:<32}{numbers}{row.total / MIB:>12.3f}")
        return "\n".join(lines)


def memory_table(
    model: nn.Module, inputs: Tensor, optimizer: torch.optim.Optimizer | None = None
) -> Table:
    """The table of a model and a batch. The model is not changed: copies of it run.

    optimizer: whose moments are counted, as far as it has made them.
    """
    saved, made = _one_pass(model, inputs)
    rows = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        stored = [p for p in own if not is_slot(p)] + list(module.buffers(recurse=False))
        kept = optimizer.state if optimizer is not None else {}
        moments = [t for p in own for t in kept.get(p, {}).values() if isinstance(t, Tensor)]
        row = Row(
            name or "(itself)", _bytes(stored), _bytes(moments),
            sum(p.numel() * p.element_size() for p in own),
            saved.get(name, 0), _transient(module, made.get(name, 0)),
        )  # fmt: skip
        if row.total:
            rows.append(row)
    twin = _float_twin(model)
    floats = [_float_row("float32, Adam", twin, inputs, made, False)]
    floats.append(_float_row("bfloat16 AMP, Adam", twin, inputs, made, True))
    return Table(tuple(rows), (_sum("this network", rows), *floats))


def _transient(module: nn.Module, through: int) -> int:
    weight = module.slot if isinstance(module, LatticeLayer) else getattr(module, "weight", None)
    if not through or not isinstance(weight, Tensor) or weight.dim() < 2:
        return 2 * through
    read = module.dtype.itemsize if isinstance(module, LatticeLayer) else 0
    return 2 * through + weight.numel() * (read + weight.element_size())


def _sum(name: str, rows: list[Row]) -> Row:
    totals = {column: sum(getattr(row, column) for row in rows) for column in COLUMNS}
    totals["transient"] = max((row.transient for row in rows), default=0)
    return Row(name, **totals)


def _float_row(name: str, twin: nn.Module, inputs: Tensor, made: dict[str, int], half: bool) -> Row:
    saved, _ = _one_pass(twin, inputs, half)
    weights = _bytes(list(twin.parameters()))
    through = max(made.values(), default=0) // (2 if half else 1)
    return Row(name, weights, 2 * weights, weights, sum(saved.values()), 2 * through)


def _float_twin(model: nn.Module) -> nn.Module:
    """The model with real weights and ReLU; in training, as it would be from the first on."""
    twin = dequantize(model).train()
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            if isinstance(child, HardStair):
                setattr(parent, name, nn.ReLU())
            if isinstance(child, HardBatchStair):
                setattr(parent, name, nn.Sequential(child.norm, nn.ReLU()))
    return twin


def _bytes(tensors: list[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _one_pass(
    model: nn.Module, inputs: Tensor, half: bool = False
) -> tuple[dict[str, int], dict[str, int]]:
    """By module: bytes that a forward pass leaves in the graph, and those of input and output."""
    model = copy.deepcopy(model).train()
    require(inputs.device.type == "cpu", f"a table is made on the CPU, got {inputs.device}")
    names = {id(m): name for name, m in model.named_modules()}
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    saved, made, seen, alive = dict[str, int](), dict[str, int](), set[int](), list[Tensor]()
    with _followed(names, made) as here:

        def note(t: Tensor) -> Tensor:
            storage = t.untyped_storage()
            if storage.data_ptr() not in own | seen:
                seen.add(storage.data_ptr())
                saved[here[-1]] = saved.get(here[-1], 0) + storage.nbytes()
            alive.append(t.detach())  # or its memory would be another's
            return alive[-1]

        with (
            torch.enable_grad(),
            torch.autocast("cpu", torch.bfloat16, half),
            torch.autograd.graph.saved_tensors_hooks(note, lambda t: t),
        ):
            out = model(inputs)
    del out
    return saved, made


@contextmanager
def _followed(names: dict[int, str], made: dict[str, int]) -> Iterator[list[str]]:
    """Within this context modules are followed: a list whose entry is the last that was called.

    Of modules without modules of their own. So what a unit keeps is told beside its last module.
    """
    here = [""]

    def enter(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if not list(module.children()):
            here[-1] = names.get(id(module), "")

    def leave(module: nn.Module, arguments: tuple[Any, ...], out: Any) -> None:
        tensors = [t for t in (*arguments, out) if isinstance(t, Tensor)]
        if not list(module.children()):
            made.setdefault(names.get(id(module), ""), _bytes(tensors))

    handles = [
        hooks.register_module_forward_pre_hook(enter), hooks.register_module_forward_hook(leave)
    ]  # fmt: skip
    try:
        yield here
    finally:
        for handle in handles:
            handle.remove()
