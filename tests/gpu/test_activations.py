"""Stairs as activations: the GPU kernels, emulated, against the CPU library, bit for bit."""

from __future__ import annotations

import pytest
import torch

from qcuda.kernels import stairs as kernels
from qcuda.nn import MultiStep

COUNTS = (1, 7, 8, 13, 2051, 8192 + 3, 3 * 8192)
GUARD = 64


def room(count: int, shift: int, dtype: torch.dtype) -> torch.Tensor:
    """`count` numbers that begin `shift` after a 16-byte boundary, with a guard behind them."""
    return torch.full((shift + count + GUARD,), 99, dtype=dtype)[shift:]


def numbers(count: int, shift: int, dtype: torch.dtype) -> torch.Tensor:
    """Normal numbers, thresholds and ends of windows, zeros of both signs, NaN and infinities."""
    special = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, float("nan"), float("inf"), 1e-40, 0.75, 0.25]
    drawn = torch.randn(count, generator=torch.Generator().manual_seed(count))
    drawn[::3] = torch.tensor(special).repeat(count)[: len(drawn[::3])]
    out = room(count, shift, dtype)
    out[:count] = drawn.to(dtype)
    return out


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal bits, and NaN at the same places."""
    raw = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    nan = a.isnan()
    return torch.equal(nan, b.isnan()) and torch.equal(a.view(raw)[~nan], b.view(raw)[~nan])


@pytest.mark.parametrize("dtype", kernels.NUMBERS, ids=str)
@pytest.mark.parametrize(
    ("order", "window"),
    [(0, "rectangular"), (1, "rectangular"), (2, "rectangular"), (3, "rectangular"),
     (5, "rectangular"), (1, "triangular"), (2, "triangular")],
)  # fmt: skip
def test_kernels_agree_with_the_cpu(dtype, order, window, launcher):
    """Every type, every number of bits, lengths that end within a byte, a group and a chunk, and
    addresses that suit no vector; nothing is written behind the end."""
    module = MultiStep(order, threshold=0.5, half_width=0.5, window=window)
    stair, half_width = module.stair, module.scale
    bits = kernels.count_bits(stair.levels, window == "triangular")
    shape = (stair.thresholds, stair.levels, order > 0)
    up, number = stair.tie == "up", kernels.NUMBERS[dtype]
    forward = kernels.described(*shape, up, False)
    backward = kernels.described(*shape, False, window == "triangular")
    for count in COUNTS if order < 3 else COUNTS[:5]:
        for shift in (0, 1):
            x, g = numbers(count, shift, dtype), numbers(count, shift, dtype).flip(0)[GUARD:]
            z, out = room(count, shift, dtype), room(count, shift, dtype)
            kept = torch.full((-(-count * bits // 8) + GUARD,), 77, dtype=torch.uint8)
            where = half_width.data_ptr(), x.data_ptr(), z.data_ptr(), kept.data_ptr()
            launcher.stair("stair", forward, number, bits, count, where, 0)
            wanted, windows = torch.ops.qtheory.stair(x[:count], half_width, *shape, up, bits)
            assert same(z[:count], wanted) and (z[count:] == 99).all()
            used = windows.numel()
            assert torch.equal(kept[:used], windows) and (kept[used:] == 77).all()
            saved = windows if bits else x[:count].clone()
            where = half_width.data_ptr(), g.data_ptr(), saved.data_ptr(), out.data_ptr()
            launcher.stair("stair_slope", backward, number, bits, count, where, 0)
            slope = torch.ops.qtheory.stair_slope(
                g[:count], saved, half_width, *shape, window == "triangular", bits, [1]
            )
            assert same(out[:count], slope) and (out[count:] == 99).all()
