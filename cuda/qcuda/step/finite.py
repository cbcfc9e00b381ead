"""Gradients that are not finite: found on their device, told on the host, or both."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from qcuda.errors import require

MODES = ("count", "skip", "raise")


def any_not_finite(gradients: list[Tensor]) -> Tensor | None:
    """One float32, 1 if a number of any gradient is not finite, else 0; None without gradients.

    It stays in the memory of the first gradient's device, and nothing waits for it.
    """
    norms = [g.detach() for g in gradients if g.numel()]
    if not norms:
        return None
    largest = torch._foreach_norm(norms, float("inf"))  # pyright: ignore[reportPrivateImportUsage]
    device = largest[0].device
    found = torch.stack([x.float().to(device) for x in largest]).isfinite().all()
    return 1.0 - found.float()


def check_finite(gradients: list[Tensor], names: list[str]) -> None:
    """Raise InputError, with names of parameters, unless all gradients are finite. Waits."""
    found = any_not_finite(gradients)
    if found is None or not bool(found):
        return
    wrong = [n for n, g in zip(names, gradients, strict=True) if not bool(g.isfinite().all())]
    require(
        False,
        f"gradients are finite where nonfinite='raise', got others in {', '.join(wrong)}",
    )


def warn(count: int) -> None:
    """Once for an optimiser, when increments were first found not to be numbers."""
    warnings.warn(
        f"{count} increments of lattice weights were not numbers: their gradients or moments were "
        "not finite, and these weights and moments stay as they were; `optimizer.nan` counts them, "
        "and nonfinite='raise' or 'skip' acts on them",
        RuntimeWarning,
        stacklevel=2,
    )
