"""The time of a group in the memory of its device: iteration, numbers, scalars.

A step on a GPU reads all of them there. So it waits for nothing, and a CUDA graph that captured it
counts its own iterations when it is replayed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qcuda.errors import InputError, require
from qcuda.step.groups import Remembered, StepNumbers, on_host, whole
from qtheory.optimisers import Adam, Momentum, Normalized
from qtheory.streams import MAX_ITERATION


class Clock:
    """Of one group on one device. iteration: int64, the group's own `iteration` from now on."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.numbers = torch.zeros(4, dtype=torch.float64, device=device)
        self.scalars = torch.zeros(7, dtype=torch.float32, device=device)
        self.remembered = Remembered()
        self.sent: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def send(self, numbers: StepNumbers, learning_rate: Any) -> None:
        """Tell the device the base optimiser's numbers, if they have changed.

        A learning rate in the device's memory is copied there. Raises InputError if a number
        has changed while a CUDA graph is captured: replayed, the graph would set it back.
        """
        base = numbers.base
        match base:
            case Adam():
                first, second = base.betas
            case Normalized():
                first, second = base.momentum, base.decay
            case Momentum():
                first, second = base.momentum, 0.0
            case _:
                first = second = 0.0
        wanted = (base.learning_rate, first, second, getattr(base, "epsilon", 0.0))
        away = isinstance(learning_rate, Tensor) and not on_host(learning_rate.device)
        changed = [k for k in range(4) if wanted[k] != self.sent[k] and not (away and k == 0)]
        if changed:
            require(
                not _capturing(self.device),
                "numbers of a group change before a CUDA graph is captured, or by send_numbers() "
                f"between replays, got {wanted} while capturing",
            )
            for k in changed:
                self.numbers[k].fill_(wanted[k])
            self.sent = tuple(wanted)
        if away:
            self.numbers[0].copy_(learning_rate.reshape(()))


def iteration_of(group: dict[str, Any], device: torch.device) -> Tensor:
    """The iterations that a group has done, one int64 on a device, checked where it can be read.

    Raises InputError if it is out of range.
    """
    found = group["iteration"]
    if isinstance(found, Tensor):
        if found.numel() != 1 or found.dtype != torch.int64:
            raise InputError(
                f"an iteration is one int64, got {found.dtype} of shape {tuple(found.shape)}"
            )
        if on_host(found.device):
            _check_iteration(int(found))
        return found if found.device == device else found.to(device)
    number = _check_iteration(found)
    return torch.full((), number, dtype=torch.int64, device=device)


def _check_iteration(value: Any) -> int:
    return whole("an iteration", value, MAX_ITERATION - 1)


def _capturing(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()
