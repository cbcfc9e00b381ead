"""Gradients that are not finite: found on their device, told on the host, or both."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qcuda.errors import require

if TYPE_CHECKING:
    from qcuda.step.plan import Plan

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


def found_inf(
    plans: Sequence[Plan], mode: str, scale: Tensor | None, found: Tensor | None
) -> Tensor | None:
    """One float32, not 0 if the step is to change nothing; None if nobody asks.

    scale, found: what torch's GradScaler notes before a step on a GPU: a scale that gradients
    still have, which is taken from them, and whether it has found an infinity.
    Raises InputError, with names of parameters, where the mode is "raise".
    """
    if mode == "raise":
        gradients = [g for plan in plans for g in plan.gradients()]
        check_finite(gradients, [name for plan in plans for name in plan.names()])
    gradients = [g for plan in plans for g in plan.used()]
    if scale is not None and gradients:
        scale = scale.double().reciprocal().float()
        torch._foreach_mul_(gradients, scale)  # pyright: ignore[reportPrivateImportUsage]
    if mode == "skip":
        own = any_not_finite(gradients)
        found = own if found is None or own is None else torch.maximum(own, found.to(own))
    return None if found is None else (found != 0).float().reshape(())


def warn(count: int) -> None:
    """Once for an optimiser, when increments were first found not to be numbers."""
    warnings.warn(
        f"{count} increments of lattice weights were not numbers: their gradients or moments were "
        "not finite, and these weights and moments stay as they were; `optimizer.nan` counts them, "
        "and nonfinite='raise' or 'skip' acts on them",
        RuntimeWarning,
        stacklevel=2,
    )
