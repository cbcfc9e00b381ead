"""Benchmark of activations: bytes that operators move, and times beside torch's ReLU.

Bytes are counted, not timed: a log of every operator that an eager pass dispatches adds up the
tensors that it reads and writes, each once; of a compiled pass, the graph is counted, as if all
that can be fused were. A kernel that reads an input twice (torch's batch norm does) is counted
once. Times are medians of interleaved rounds, so that ratios
hold on a machine that others use.
"""

from __future__ import annotations

import json as json_module
import operator
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from tqdm import tqdm

from qcuda.kernels import native
from qcuda.nn import BatchStair, MultiStep

CHANNELS = 64
# The eager count before stairs were one kernel each way.
BEFORE = {"MultiStep": 54.0, "MultiStep(2)": 86.0}
NOTE = (
    "before: bytes an element, eager, bfloat16, counted by this program on the form of MultiStep "
    "that was made of torch's elementwise operators"
)
FRESH = ("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty")


class Moved(TorchDispatchMode):
    """Adds up the bytes that operators read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        schema = func._schema
        if func.is_view or schema.name in FRESH:
            return out
        inputs = {t.data_ptr(): t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        outputs = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        self.bytes += sum(map(_bytes, inputs.values())) + sum(map(_bytes, outputs))
        return out


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def bytes_moved(module: nn.Module, x: Tensor) -> dict[str, float]:
    """Bytes an element of x that the forward and the backward pass move."""
    x = x.detach().requires_grad_()
    with Moved() as forward:
        out = module(x)
    gradient = torch.ones_like(out)
    with Moved() as backward:
        torch.autograd.grad(out, (x, *module.parameters()), gradient)
    size = x.numel()
    return {"forward": forward.bytes / size, "backward": backward.bytes / size}


def modules() -> dict[str, nn.Module]:
    """What is counted and timed."""
    return {
        "ReLU": nn.ReLU(),
        "MultiStep": MultiStep(),
        "MultiStep(2)": MultiStep(2),
        "BatchNorm, ReLU": nn.Sequential(nn.BatchNorm2d(CHANNELS), nn.ReLU()),
        "BatchNorm, MultiStep": nn.Sequential(nn.BatchNorm2d(CHANNELS), MultiStep()),
        "BatchStair": BatchStair(nn.BatchNorm2d(CHANNELS), MultiStep()),
    }


def _is_ours(node: fx.Node) -> bool:
    if node.target is operator.getitem:
        return _is_ours(node.all_input_nodes[0])
    return node.op == "call_function" and str(node.target).startswith("qtheory.")


def bytes_of_graph(graph: fx.Graph) -> int:
    """What a graph moves if all of torch's operators that touch are fused, and ours are not.

    A number is written if it leaves the graph, or goes from torch's operators to ours or back, and
    read once by each operator of ours and once by all that are fused.
    """
    readers: dict[fx.Node, list[fx.Node]] = {}
    for node in graph.nodes:
        for source in node.all_input_nodes if not _is_view(node) else ():
            readers.setdefault(_without_views(source), []).append(node)
    total = 0
    for node, users in readers.items():
        value = node.meta.get("val")
        if not isinstance(value, Tensor):
            continue
        ours = sum(_is_ours(user) for user in users)
        leaves = any(user.op == "output" for user in users)
        fused = any(user.op == "call_function" and not _is_ours(user) for user in users)
        given = node.op == "placeholder"
        written = not given and (_is_ours(node) or leaves or ours > 0)
        total += _bytes(value) * (written + ours + (fused and (given or _is_ours(node))))
    return total


def _is_view(node: fx.Node) -> bool:
    return getattr(node.target, "is_view", False)


def _without_views(node: fx.Node) -> fx.Node:
    return _without_views(node.all_input_nodes[0]) if _is_view(node) else node


def bytes_compiled(module: nn.Module, x: Tensor) -> dict[str, float]:
    """Bytes an element of x that the compiled passes move, each one graph, at least."""
    found: list[int] = []

    def compiler(graph: fx.GraphModule, _: Any) -> Any:
        found.append(bytes_of_graph(graph.graph))
        return make_boxed_func(graph.forward)

    torch.compiler.reset()
    backend = aot_autograd(fw_compiler=compiler, bw_compiler=compiler)
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    x = x.detach().requires_grad_()
    out = compiled(x)
    torch.autograd.grad(out, (x, *module.parameters()), torch.ones_like(out))
    forward, backward = found
    return {"forward": forward / x.numel(), "backward": backward / x.numel()}


def count() -> dict[str, dict[str, dict[str, float]]]:
    """Bytes an element in bfloat16, eager and compiled."""
    x = torch.randn(8, CHANNELS, 28, 28).bfloat16()
    return {
        name: {"eager": bytes_moved(module, x), "compiled": bytes_compiled(module, x)}
        for name, module in modules().items()
    }


def step(module: nn.Module, x: Tensor, gradient: Tensor) -> None:
    """A pass in both directions."""
    x.grad = None
    module.zero_grad()
    module(x).backward(gradient)


def measure(
    shape: tuple[int, ...], memory: torch.memory_format, kind: torch.dtype, repeats: int
) -> dict[str, float]:
    """Median nanoseconds an element of a pass in both directions; norms are float32."""
    generator = torch.Generator().manual_seed(0)
    x, gradient = (
        torch.randn(shape, generator=generator).to(kind, memory_format=memory) for _ in range(2)
    )
    x.requires_grad_()
    entries = modules()
    times: dict[str, list[float]] = {name: [] for name in entries}
    for number in range(repeats + 2):
        for name, module in entries.items():
            start = time.perf_counter()
            step(module, x, gradient)
            if number >= 2:
                times[name].append(1e9 * (time.perf_counter() - start) / x.numel())
    return {name: statistics.median(values) for name, values in times.items()}


CASES = tuple(
    (f"{'x'.join(map(str, shape))} {str(kind).removeprefix('torch.')} {name}", shape, memory, kind)
    for kind in (torch.float32, torch.bfloat16, torch.float16)
    for shape in ((16, CHANNELS, 56, 56), (128, CHANNELS, 28, 28))
    for name, memory in (
        ("contiguous", torch.contiguous_format),
        ("channels_last", torch.channels_last),
    )
)
RATIOS: tuple[tuple[str, str, str], ...] = (
    ("BatchStair / BatchNorm, ReLU", "BatchStair", "BatchNorm, ReLU"),
    ("BatchNorm, MultiStep / BatchNorm, ReLU", "BatchNorm, MultiStep", "BatchNorm, ReLU"),
    ("MultiStep / ReLU", "MultiStep", "ReLU"),
)


def activation(
    repeats: int = 15, threads: int | None = None, json: str | None = None
) -> dict[str, Any]:
    """Count the bytes that activations move, time them beside ReLU, and print tables.

    Args:
        repeats: timed rounds; each runs every contestant once.
        threads: CPU threads; by default torch's own choice.
        json: file for the tables.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    moved = count()
    medians = {
        name: measure(shape, memory, kind, repeats)
        for name, shape, memory, kind in tqdm(CASES, desc="shapes", disable=None)
    }
    ratios = {
        name: {label: row[a] / row[b] for label, a, b in RATIOS} for name, row in medians.items()
    }
    result = {
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "torch_level": torch.backends.cpu.get_cpu_capability(),
        "library": Path(native.library()._name).name,
        "bytes_per_element": moved,
        "before": BEFORE,
        "note": NOTE,
        "median_ns_per_element": medians,
        "ratios": ratios,
    }
    _print(result, _row)
    if json is not None:
        Path(json).write_text(json_module.dumps(result, indent=2) + "\n")
    return result


def _row(numbers: dict[str, float]) -> str:
    return f"{numbers['forward']:>9.3f}{numbers['backward']:>10.3f}{sum(numbers.values()):>8.2f}"


def _print(result: dict[str, Any], row: Callable[[dict[str, float]], str]) -> None:
    head = f"{'forward':>9}{'backward':>10}{'both':>8}"
    print(f"bytes an element, bfloat16\n{'':<24}{'eager':^27}{'compiled':^27}{'before':>8}")
    print(f"{'':<24}{head}{head}")
    for name, forms in result["bytes_per_element"].items():
        before = f"{BEFORE[name]:>8.0f}" if name in BEFORE else ""
        print(f"{name:<24}{row(forms['eager'])}{row(forms['compiled'])}{before}")
    print(
        f"\nforward and backward, ns an element; {result['threads']} threads, "
        f"{result['repeats']} rounds, {result['library']}, torch {result['torch_level']}"
    )
    for name, medians in result["median_ns_per_element"].items():
        print(f"\n{name}")
        for entry, value in medians.items():
            print(f"  {entry:<40}{value:>8.2f}")
        for label, ratio in result["ratios"][name].items():
            print(f"  {label:<40}{ratio:>8.2f}")
