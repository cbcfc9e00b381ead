"""Stochastic rounding in torch, three times: what `qtheory validate --op` is meant to tell apart.

qtheory validate --op qcuda.validate.examples:words_of_32_bits
"""

from __future__ import annotations

import torch
from torch import Tensor


def words_of_32_bits(values: Tensor) -> Tensor:
    """Right: a 32-bit word against an integer threshold."""
    whole, fraction, sign = _parts(values)
    words = torch.randint(0, 2**32, values.shape, device=values.device)
    return sign * (whole + (words < (fraction.double() * 2.0**32).long()))


def uniform_of_24_bits(values: Tensor) -> Tensor:
    """The common form: torch.rand in float32 has 24 bits, so nothing is rarer than 2**-24."""
    whole, fraction, sign = _parts(values)
    return sign * (whole + (torch.rand_like(values) < fraction))


def uniform_of_16_bits(values: Tensor) -> Tensor:
    """Half a word for each element: probabilities are rounded up to multiples of 2**-16."""
    whole, fraction, sign = _parts(values)
    words = torch.randint(0, 2**16, values.shape, device=values.device)
    return sign * (whole + (words < fraction * 2.0**16))


def floor_of_sum(values: Tensor) -> Tensor:
    """One line, and the sum is rounded to nearest: fractions below 2**-25 never move."""
    return torch.floor(values + torch.rand_like(values))


def _parts(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whole part and fraction of the magnitude, both exact, and the sign."""
    whole = torch.floor(values.abs())
    return whole, values.abs() - whole, torch.where(values < 0, -1.0, 1.0)
