"""Convolutions of one to three dimensions, and their transposed forms, with a lattice weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from qcuda.errors import require
from qcuda.kernels.abi import Storage
from qcuda.nn.layers import LatticeLayer
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair

Sizes = int | Sequence[int]  # one for all dimensions, or one for each

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
STRAIGHT: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d,
}  # fmt: skip


def _sizes(name: str, given: Sizes, dimensions: int, least: int) -> tuple[int, ...]:
    sizes = tuple(given) if isinstance(given, Sequence) else (given,) * dimensions
    require(
        len(sizes) == dimensions and all(isinstance(x, Integral) and x >= least for x in sizes),
        f"{name} is a whole number, or {dimensions} of them, and at least {least}, got {given!r}",
    )
    return tuple(map(int, sizes))


class _Convolution(LatticeLayer):
    """What all of them have in common; how many dimensions there are is a number of the class."""

    dimensions: ClassVar[int]
    transposed: ClassVar[bool]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        lattice: Lattice,
        *,
        stride: Sizes,
        padding: Sizes | str,
        output_padding: Sizes,
        dilation: Sizes,
        groups: int,
        bias: bool,
        padding_mode: str,
        scale: float | Tensor,
        storage: Storage | None,
        readout: Stair | None,
        gradient_dtype: torch.dtype | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        require(
            groups >= 1 and in_channels % groups == 0 and out_channels % groups == 0,
            "groups divide in_channels and out_channels, "
            f"got {groups} for {in_channels} and {out_channels}",
        )
        n = self.dimensions
        kernel = _sizes("kernel_size", kernel_size, n, 1)
        first, second = in_channels, out_channels
        if not self.transposed:
            first, second = second, first
        super().__init__(
            (first, second // groups, *kernel), lattice, outputs=out_channels, bias=bias,
            scale=scale, storage=storage, readout=readout, gradient_dtype=gradient_dtype,
            device=device, dtype=dtype,
        )  # fmt: skip
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = kernel, _sizes("stride", stride, n, 1)
        self.dilation = _sizes("dilation", dilation, n, 1)
        self.output_padding = _sizes("output_padding", output_padding, n, 0)
        self.padding_mode = padding_mode
        self.padding: tuple[int, ...] | str = (
            padding if isinstance(padding, str) else _sizes("padding", padding, n, 0)
        )

    def extra_repr(self) -> str:
        plain = {"padding": 0, "dilation": 1, "output_padding": 0}
        said = [f"{self.in_channels}, {self.out_channels}"]
        said += [f"{name}={getattr(self, name)}" for name in ("kernel_size", "stride")]
        said += [
            f"{name}={getattr(self, name)}"
            for name, size in plain.items()
            if getattr(self, name) != (size,) * self.dimensions
        ]
        said += [f"groups={self.groups}"] if self.groups != 1 else []
        said += ["bias=False"] if self.bias is None else []
        said += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join([*said, super().extra_repr()])


class _Straight(_Convolution):
    """torch.nn.Conv1d, 2d and 3d; the weight has shape (out_channels, in_channels / groups, ...).

    padding: whole numbers, "valid" or "same"; padding_mode: "zeros", "reflect", "replicate" or
    "circular". There is no bias unless it is asked for. The rest is said by LatticeLayer.
    """

    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        lattice: Lattice,
        *,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = False,
        padding_mode: str = "zeros",
        scale: float | Tensor = 1.0,
        storage: Storage | None = None,
        readout: Stair | None = None,
        gradient_dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, lattice, stride=stride, padding=padding,
            output_padding=0, dilation=dilation, groups=groups, bias=bias,
            padding_mode=padding_mode, scale=scale, storage=storage, readout=readout,
            gradient_dtype=gradient_dtype, device=device, dtype=dtype,
        )  # fmt: skip
        require(
            padding_mode in PADDING_MODES,
            f"a padding_mode is one of {', '.join(PADDING_MODES)}, got {padding_mode!r}",
        )
        if isinstance(padding, str):
            require(padding in ("valid", "same"), f"padding is valid or same, got {padding!r}")
            require(
                padding == "valid" or set(self.stride) == {1},
                f"padding 'same' goes with a stride of 1, got {self.stride}",
            )

    @property
    def _around(self) -> list[int]:
        """Pixels to add before and after, the last dimension first, as torch's pad wants them."""
        sizes = zip(self.kernel_size, self.dilation, strict=True)
        if isinstance(self.padding, str):
            totals = [d * (k - 1) if self.padding == "same" else 0 for k, d in sizes]
            sides = [(total // 2, total - total // 2) for total in totals]
        else:
            sides = [(size, size) for size in self.padding]
        return [size for pair in reversed(sides) for size in pair]

    def forward(self, input: Tensor) -> Tensor:
        """(N, in_channels, ...) to (N, out_channels, ...), with or without N."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._around, mode=self.padding_mode), 0
        convolve, weight = STRAIGHT[self.dimensions], self.weight
        with self._keeping(weight):
            return convolve(
                input, weight, self.bias, self.stride, padding, self.dilation, self.groups
            )


class _Transposed(_Convolution):
    """torch.nn.ConvTranspose1d, 2d, 3d; the weight's shape is (in_channels, out_channels / groups,
    ...).

    There is no bias unless it is asked for. The rest is said by LatticeLayer.
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        lattice: Lattice,
        *,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = False,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        scale: float | Tensor = 1.0,
        storage: Storage | None = None,
        readout: Stair | None = None,
        gradient_dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, lattice, stride=stride, padding=padding,
            output_padding=output_padding, dilation=dilation, groups=groups, bias=bias,
            padding_mode=padding_mode, scale=scale, storage=storage, readout=readout,
            gradient_dtype=gradient_dtype, device=device, dtype=dtype,
        )  # fmt: skip
        require(
            padding_mode == "zeros",
            f"a transposed convolution has the padding_mode 'zeros', got {padding_mode!r}",
        )
        require(not isinstance(padding, str), f"padding is whole numbers, got {padding!r}")

    def _spread_scale(self) -> Tensor:
        scale, (first, second) = self.scale, self.shape[:2]
        if not scale.dim():
            return scale
        rows = scale.reshape(self.groups, second).repeat_interleave(first // self.groups, 0)
        return rows.reshape(first, second, *(1,) * self.dimensions)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """(N, in_channels, ...) to (N, out_channels, ...), with or without N.

        output_size: which of the sizes that a stride leaves possible the output has.
        """
        added = self.output_padding if output_size is None else self._added(input, output_size)
        convolve, weight = TRANSPOSED[self.dimensions], self.weight
        with self._keeping(weight):
            return convolve(
                input, weight, self.bias, self.stride, self.padding, added, self.groups,
                self.dilation,
            )  # fmt: skip

    def _added(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives an output of a size."""
        n, padding = self.dimensions, self.padding
        assert not isinstance(padding, str)
        numbers = zip(
            input.shape[-n:], self.stride, padding, self.dilation, self.kernel_size, strict=True
        )
        least = [(x - 1) * s - 2 * p + d * (k - 1) + 1 for x, s, p, d, k in numbers]
        added = tuple(size - low for size, low in zip(output_size[-n:], least, strict=True))
        require(
            all(
                0 <= a < max(s, d)
                for a, s, d in zip(added, self.stride, self.dilation, strict=True)
            ),
            f"an output_size is at least {least} and less than a stride or dilation larger, "
            f"got {list(output_size)}",
        )
        return added


class Conv1d(_Straight):
    __doc__ = _Straight.__doc__
    dimensions = 1


class Conv2d(_Straight):
    __doc__ = _Straight.__doc__
    dimensions = 2


class Conv3d(_Straight):
    __doc__ = _Straight.__doc__
    dimensions = 3


class ConvTranspose1d(_Transposed):
    __doc__ = _Transposed.__doc__
    dimensions = 1


class ConvTranspose2d(_Transposed):
    __doc__ = _Transposed.__doc__
    dimensions = 2


class ConvTranspose3d(_Transposed):
    __doc__ = _Transposed.__doc__
    dimensions = 3
