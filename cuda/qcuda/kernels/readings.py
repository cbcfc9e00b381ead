"""Readers as torch operators: `torch.ops.qtheory.reading` and `torch.ops.qtheory.reading_slope`.

`reading` gives what is seen of latents on the CPU, in their type, and two numbers for each group,
its unit and its gain, from which `reading_slope` makes gradients of the latents and of what is
learned without measuring the groups again. Nothing else is kept, and no table of probabilities is
written. Words are given, or drawn on the way. Types are float32, bfloat16 and float16, the last two
computed in float32 and rounded once. The bits are the same for any number of threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from qcuda.errors import InputError, require
from qcuda.kernels import abi, native
from qcuda.kernels.stairs import NUMBERS
from qcuda.kernels.words import as_unsigned

# In the order of the enumerations of cuda/csrc/reading.h.
SHOWN = ("hard", "random", "mode", "expectation")
SCALES = ("one", "mean", "largest", "power", "step", "survivors", "sides", "rank", "threshold")
FACTORS = ("straight", "gain", "sides")
GAIN_SLOPES = ("none", "exact", "printed")
WINDOWS = ("none", "closed", "open", "noise")
NOISES = ("uniform", "triangular", "normal", "logistic")
TYPES = (torch.float32, torch.bfloat16, torch.float16)

_ROW = "int[] kinds, float[] numbers, float[] thresholds, float[] levels, bool[] up"
LIBRARY = torch.library.Library("qtheory", "FRAGMENT")
LIBRARY.define(
    "reading(Tensor latent, Tensor? words, Tensor? iteration, int seed, int tensor, "
    f"Tensor[] learned, {_ROW}) -> (Tensor, Tensor)"
)
LIBRARY.define(
    "reading_slope(Tensor gradient, Tensor latent, Tensor kept, Tensor[] learned, "
    f"{_ROW}) -> (Tensor, Tensor)"
)
LIBRARY.define("held(Tensor latent, Tensor place, Tensor unit, Tensor levels) -> Tensor")


@lru_cache(maxsize=256)
def described(
    kinds: tuple[int, ...],
    numbers: tuple[float, ...],
    thresholds: tuple[float, ...],
    levels: tuple[float, ...],
    up: tuple[bool, ...],
) -> tuple[abi.Reading, bool]:
    """A row as the C ABI has it, and whether its groups are filters.

    Raises ValueError if it has no threshold or too many.
    """
    steps = len(thresholds)
    require(
        1 <= steps <= abi.MOST_STEPS and len(levels) == steps + 1 and len(up) == steps,
        f"a row of the kernels has 1 to {abi.MOST_STEPS} thresholds and one level more, got "
        f"{steps} and {len(levels)}",
    )
    rest = (0.0,) * (abi.MOST_STEPS - steps)
    doubles = ctypes.c_double * abi.MOST_STEPS
    return abi.Reading(
        steps, *kinds[:9], *numbers, doubles(*thresholds, *rest),
        (ctypes.c_double * (abi.MOST_STEPS + 1))(*levels, *rest),
        (ctypes.c_uint8 * abi.MOST_STEPS)(*up),
    ), bool(kinds[9])  # fmt: skip


def _checked(latent: Tensor, learned: Sequence[Tensor], filters: bool) -> tuple[int, int]:
    """Groups, and latents of each."""
    if latent.dtype not in TYPES:
        raise InputError(f"a reader takes float32, bfloat16 or float16, got {latent.dtype}")
    groups = latent.shape[0] if filters and latent.dim() > 1 else 1
    for numbers in learned:
        require(
            numbers.numel() == groups,
            f"there is a learned number for each of {groups} groups, got {numbers.numel()}",
        )
    return groups, latent.numel() // groups if groups else 0


def _pointers(learned: Sequence[Tensor]) -> tuple[list[Tensor], list[int | None]]:
    """Learned numbers as float32, which have to be kept, and where they are."""
    plain = [numbers.detach().float().contiguous() for numbers in learned]
    return plain, [*(numbers.data_ptr() for numbers in plain), None, None][:2]


def _reading(
    latent: Tensor,
    words: Tensor | None,
    iteration: Tensor | None,
    seed: int,
    tensor: int,
    learned: list[Tensor],
    kinds: list[int],
    *rest: list[float],
) -> tuple[Tensor, Tensor]:
    given, filters = described(*map(tuple, (kinds, *rest)))  # pyright: ignore[reportArgumentType]
    groups, length = _checked(latent, learned, filters)
    random = SHOWN[kinds[0]] == "random"
    require(
        random == (words is not None or iteration is not None),
        "words, or an iteration at which they are drawn, are for a random pass, and it needs them",
    )
    if words is not None:
        words = _of_latents(words, latent, torch.int64)
    if iteration is not None and (iteration.dtype != torch.int64 or iteration.numel() != 1):
        raise InputError(f"an iteration is one int64, got {iteration.numel()} {iteration.dtype}")
    x, out = latent.contiguous(), torch.empty_like(latent)
    seen = out if out.is_contiguous() else torch.empty_like(x)
    kept = torch.empty(2, groups)
    plain, places = _pointers(learned)
    error = native.library().qt_reading(
        ctypes.byref(given), NUMBERS[latent.dtype], x.data_ptr(), groups, length, *places,
        None if words is None else words.data_ptr(),
        None if iteration is None else iteration.data_ptr(), as_unsigned(seed), tensor,
        seen.data_ptr(), kept.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    del plain
    require(error == 0, f"the kernel takes this type, got {latent.dtype}")
    return (out if seen is out else out.copy_(seen)), kept


def _of_latents(x: Tensor, latent: Tensor, dtype: torch.dtype) -> Tensor:
    if x.shape != latent.shape or x.dtype != dtype:
        raise InputError(
            f"there is a number of {dtype} for each of {tuple(latent.shape)} latents, got "
            f"{tuple(x.shape)} of {x.dtype}"
        )
    return x.contiguous()


def _reading_fake(
    latent: Tensor,
    words: Tensor | None,
    iteration: Tensor | None,
    seed: int,
    tensor: int,
    learned: list[Tensor],
    kinds: list[int],
    *rest: list[float],
) -> tuple[Tensor, Tensor]:
    groups = latent.shape[0] if kinds[9] and latent.dim() > 1 else 1
    return torch.empty_like(latent), latent.new_empty((2, groups), dtype=torch.float32)


def _slope(
    gradient: Tensor,
    latent: Tensor,
    kept: Tensor,
    learned: list[Tensor],
    kinds: list[int],
    *rest: list[float],
) -> tuple[Tensor, Tensor]:
    given, filters = described(*map(tuple, (kinds, *rest)))  # pyright: ignore[reportArgumentType]
    groups, length = _checked(latent, learned, filters)
    require(
        kept.shape == (2, groups) and kept.dtype == torch.float32 and kept.is_contiguous(),
        f"units and gains of {groups} groups are kept, got {tuple(kept.shape)} of {kept.dtype}",
    )
    x, g = latent.contiguous(), _of_latents(gradient, latent, latent.dtype)
    out = torch.empty_like(latent)
    found = out if out.is_contiguous() else torch.empty_like(x)
    slopes = torch.empty(len(learned), groups)
    plain, places = _pointers(learned)
    error = native.library().qt_reading_slope(
        ctypes.byref(given), NUMBERS[latent.dtype], g.data_ptr(), x.data_ptr(), groups, length,
        *places, kept.data_ptr(), found.data_ptr(), slopes.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    del plain
    require(error == 0, f"the kernel takes this type, got {latent.dtype}")
    return (out if found is out else out.copy_(found)), slopes


def _slope_fake(
    gradient: Tensor,
    latent: Tensor,
    kept: Tensor,
    learned: list[Tensor],
    kinds: list[int],
    *rest: list[float],
) -> tuple[Tensor, Tensor]:
    slopes = latent.new_empty((len(learned), kept.shape[1]), dtype=torch.float32)
    return torch.empty_like(latent), slopes


def _held(latent: Tensor, place: Tensor, unit: Tensor, levels: Tensor) -> Tensor:
    groups = unit.numel()
    require(
        groups in (1, latent.shape[0] if latent.dim() else 1) and levels.numel() <= 128,
        f"a unit is of all latents or of each filter, for at most 128 levels, got {groups} units "
        f"and {levels.numel()} levels",
    )
    place, x = _of_latents(place, latent, torch.int8), latent.contiguous()
    factors, table = unit.float().contiguous(), levels.float().contiguous()
    out = torch.empty_like(x)
    error = native.library().qt_held(
        NUMBERS[latent.dtype], x.data_ptr(), place.data_ptr(), groups, latent.numel() // groups,
        factors.data_ptr(), table.data_ptr(), table.numel(), out.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    require(error == 0, f"the kernel takes this type, got {latent.dtype}")
    return out if x is latent else torch.empty_like(latent).copy_(out)


def _held_fake(latent: Tensor, *rest: Tensor) -> Tensor:
    return torch.empty_like(latent)


LIBRARY.impl("held", _held, "CPU")
LIBRARY.impl("reading", _reading, "CPU")
LIBRARY.impl("reading_slope", _slope, "CPU")
torch.library.register_fake("qtheory::held", _held_fake, lib=LIBRARY)
torch.library.register_fake("qtheory::reading", _reading_fake, lib=LIBRARY)
torch.library.register_fake("qtheory::reading_slope", _slope_fake, lib=LIBRARY)
