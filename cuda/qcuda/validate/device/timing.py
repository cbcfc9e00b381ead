"""Times of the update kernels beside a copy of the same machine, with clocks up.

Ten launches are captured and replayed between two events, so that no time of the host is in them.
Gradients come in three kinds, because some kernels treat numbers near zero apart: normal ones;
the same with a tenth of them exactly zero, as dead channels have them; and numbers near 1e-33.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from qcuda.kernels import abi, source
from qcuda.kernels.gpu import Memory
from qcuda.kernels.gpu.launch import Launcher
from qcuda.validate.device.card import Card

# Of every rule: (optimiser, storage, gradient type, moment type).
TIMED = (
    ("momentum", abi.Storage.TRITS, abi.Real.BFLOAT16, abi.Real.BFLOAT16),
    ("momentum", abi.Storage.INT8, abi.Real.BFLOAT16, abi.Real.BFLOAT16),
    ("adam", abi.Storage.TRITS, abi.Real.BFLOAT16, abi.Real.BFLOAT16),
    ("adam", abi.Storage.INT8, abi.Real.FLOAT32, abi.Real.FLOAT32),
    ("sgd", abi.Storage.TRITS, abi.Real.BFLOAT16, abi.Real.FLOAT32),
)
SIZES = ((2**28, 1), (25_600_000, 161))  # (weights, tensors)
COPIED = 2**30  # bytes
REALS = {abi.Real.FLOAT32: torch.float32, abi.Real.BFLOAT16: torch.bfloat16}
Kernel = tuple[str, str, abi.Storage, abi.Real, abi.Real]


def time_all(card: Card, launcher: Launcher) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The copy, and the main kernels at both SIZES."""
    copy, rows = time_copy(card), []
    print(f"copy: {copy['bytes_per_second'] / 1e12:.2f} TB/s")
    for kernel, weights, tensors, kind in cases():
        row = time_step(card, launcher, kernel, weights, tensors, kind)
        row["share_of_copy"] = row["bytes_per_second"] / copy["bytes_per_second"]
        rows.append(row)
        slots = row["issue_slots"]
        print(
            f"{row['kernel']} {row['gradient_type']} {row['moment_type']}, {kind} gradients: "
            f"{tensors} tensors, {row['weights']:.2e} weights, {row['seconds'] * 1e3:.3f} ms, "
            f"{100 * row['share_of_copy']:.0f} % of the copy's bytes per second"
            + ("" if slots is None else f", {slots:.0f} issue slots a weight")
        )
    return copy, rows


def cases() -> Iterator[tuple[Kernel, int, int, str]]:
    """Kernels, weights, tensors and kinds of gradients."""
    for rule in source.stems():
        for rest in TIMED:
            for weights, tensors in SIZES:
                yield (rule, *rest), weights, tensors, "normal"
            for kind in ("a tenth zero", "tiny"):
                yield (rule, *rest), *SIZES[0], kind


def time_copy(card: Card) -> dict[str, float]:
    """Bytes a second of a device-to-device copy, read and written bytes both counted."""
    source_, target = (torch.empty(COPIED, dtype=torch.uint8, device=card.device) for _ in "12")
    source_.random_()
    found = card.seconds(lambda: target.copy_(source_))
    return {**found, "bytes_per_second": 2 * COPIED / found["seconds"]}


def named(kernel: Kernel) -> str:
    """The name of its function."""
    rule, optimiser, storage, gradient, moment = kernel
    reals = (gradient, moment)[: 2 if abi.MOMENTS[optimiser] else 1]
    return source.step(rule, optimiser, storage.name.lower(), *(r.name.lower() for r in reals))


def bytes_of(kernel: Kernel) -> float:
    """What a weight moves: its gradient, and its state and moments there and back."""
    _, optimiser, storage, gradient, moment = kernel
    return gradient.bytes + 2 * (storage.bits / 8 + abi.MOMENTS[optimiser] * moment.bytes)


def gradients(count: int, kind: str, card: Card) -> Tensor:
    """float32 gradients of a kind."""
    made = torch.randn(count, device=card.device).mul_(1e-33 if kind == "tiny" else 0.3)
    if kind == "a tenth zero":
        made[torch.rand(count, device=card.device) < 0.1] = 0
    return made


def time_step(
    card: Card, launcher: Launcher, kernel: Kernel, weights: int, tensors: int, kind: str
) -> dict[str, Any]:
    """A step of `tensors` equal tensors with `weights` weights together."""
    rule, optimiser, storage, gradient, moment = kernel
    count, moments = weights // tensors // 8 * 8, abi.MOMENTS[optimiser]
    rows, kept = [], []
    for number in range(tensors):
        state = torch.zeros(storage.bytes(count), dtype=torch.uint8, device=card.device)
        reals = [gradients(count, kind, card).to(REALS[gradient])]
        for _ in range(moments):
            reals.append(gradients(count, kind, card).square_().to(REALS[moment]))
        kept += [state, *reals]
        pointers = [array.data_ptr() for array in (state, *reals)] + [0] * (3 - moments)
        rows.append(abi.Tensor(*pointers, count, 0, number, 0))
    launch = abi.launch(
        abi.spec(1.0, 1.0, 3, [3.0, 1.0]),
        seed=1,
        rule=rule,
        optimiser=optimiser,
        storage=storage,
        gradient_type=gradient,
        moment_type=moment,
    )
    scalars = torch.tensor([0.1, 0.9, 0.1, 0.999, 0.001, 1.0, 1e-8], device=card.device)
    iteration = torch.ones(1, dtype=torch.int64, device=card.device)
    counters = torch.zeros((tensors, 2), dtype=torch.int64, device=card.device)
    pointers = (scalars.data_ptr(), iteration.data_ptr(), counters.data_ptr())
    table = abi.tensors(rows)
    buffers: list[Tensor] = []

    def allocate(size: int) -> Memory:
        buffers.append(torch.empty(size, dtype=torch.uint8, device=card.device))
        return Memory(buffers[-1].data_ptr(), buffers[-1])

    found = card.seconds(
        lambda: launcher.step_all(launch, table, *pointers, card.handle(), allocate)
    )
    size = int(bytes_of(kernel) * count * tensors)  # whole: counts are of eights
    return {
        "kernel": named(kernel),
        "gradient_type": gradient.name.lower(),
        "moment_type": moment.name.lower() if moments else None,
        "gradients": kind,
        "tensors": tensors,
        "weights": count * tensors,
        **found,
        "bytes": size,
        "bytes_per_second": size / found["seconds"],
        "issue_slots": _slots(card, found["seconds"] / (count * tensors)),
    }


def _slots(card: Card, seconds: float) -> float | None:
    """Instructions that the device could have issued in this time, at its top clock."""
    rate = card.issue_rate()
    return None if rate is None else seconds * rate
