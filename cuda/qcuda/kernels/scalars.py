"""What a step reads beside gradients: `torch.ops.qtheory.scalars_` and `squares_`.

The scalars of an iteration, which is counted, and the gains of normalised gradients. Both are made
where the step reads them, so that a captured graph replays them. Importing this module registers
the operators.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from qcuda.errors import InputError
from qcuda.kernels import abi, native
from qcuda.kernels.gpu import launcher
from qcuda.kernels.ops import LIBRARY, REALS, check_gains, check_reals, memory, of_gains

LIBRARY.define(
    "squares_(Tensor[] gradients, Tensor(a!)[] squares, Tensor(b!)[] gains, Tensor scalars) -> ()"
)
LIBRARY.define(
    "scalars_(Tensor(a!) iteration, Tensor(b!) scalars, Tensor numbers, str optimiser, "
    "Tensor? found_inf) -> ()"
)


def begin(
    iteration: Tensor, scalars: Tensor, numbers: Tensor, optimiser: str, found_inf: Tensor | None
) -> None:
    """Count an iteration and make its scalars, where the tensors are.

    iteration: one int64, the iterations done. scalars: 7 float32. numbers: 4 float64 of the base.
    found_inf: one float32; unless it is 0, nothing is counted and the scalars are NaN.
    """
    torch.ops.qtheory.scalars_(iteration, scalars, numbers, optimiser, found_inf)


def gains(gradients: list[Tensor], squares: list[Tensor], scalars: Tensor) -> list[Tensor]:
    """Move the running mean squares of gradients' rows; returns the rows' gains, float32.

    squares: float32, one for each row; a gradient's rows follow each other. scalars: those of
    "normalized".
    """
    rows = [square.numel() for square in squares]
    found = list(torch.empty(sum(rows), device=scalars.device).split(rows))
    torch.ops.qtheory.squares_(gradients, squares, found, scalars)
    return found


def _check_squares(
    gradients: list[Tensor], squares: list[Tensor], gains: list[Tensor], scalars: Tensor
) -> None:
    check_reals("gradient", gradients, gradients, len(gradients))
    for numbers in (squares, gains):
        if len(numbers) != len(gradients):
            raise InputError(
                f"there are rows for each gradient, got {len(numbers)} for {len(gradients)}"
            )
        check_gains(numbers, gradients)
    for square, gain in zip(squares, gains, strict=True):
        if square.numel() != gain.numel():
            raise InputError(
                f"each row has a mean square and a gain, got {square.numel()} and {gain.numel()}"
            )
    if scalars.dtype != torch.float32 or scalars.numel() != 7 or not scalars.is_contiguous():
        raise InputError(f"scalars are 7 float32, got {scalars.dtype} {tuple(scalars.shape)}")
    device = gradients[0].device
    if scalars.device != device:
        raise InputError(f"scalars are on {device}, got {scalars.device}")


def _squares_cpu(
    gradients: list[Tensor], squares: list[Tensor], gains: list[Tensor], scalars: Tensor
) -> None:
    if not gradients:
        return
    _check_squares(gradients, squares, gains, scalars)
    error = native.library().qt_squares(
        _rows(gradients, squares, gains),
        len(gradients),
        int(REALS[gradients[0].dtype]),
        scalars.data_ptr(),
        torch.get_num_threads(),
    )
    if error:
        raise InputError(f"the kernel takes these gradients, got {abi.Error(error).words}")


def _squares_cuda(
    gradients: list[Tensor], squares: list[Tensor], gains: list[Tensor], scalars: Tensor
) -> None:
    if not gradients:
        return
    _check_squares(gradients, squares, gains, scalars)
    device = scalars.device
    launcher(device.index).squares(
        _rows(gradients, squares, gains),
        int(REALS[gradients[0].dtype]),
        scalars.data_ptr(),
        torch.cuda.current_stream(device).cuda_stream,
        lambda size: memory(size, device),
    )


def _rows(
    gradients: list[Tensor], squares: list[Tensor], gains: list[Tensor]
) -> ctypes.Array[abi.Rows]:
    counts = [gradient.numel() for gradient in gradients]
    addresses = [[t.data_ptr() for t in part] for part in (gradients, squares)]
    of_gain, row = of_gains(gains, counts)
    return abi.rows([*addresses, of_gain, counts, row])


def _squares_fake(
    gradients: list[Tensor], squares: list[Tensor], gains: list[Tensor], scalars: Tensor
) -> None:
    if gradients:
        _check_squares(gradients, squares, gains, scalars)


def _check_scalars(
    iteration: Tensor, scalars: Tensor, numbers: Tensor, optimiser: str, found_inf: Tensor | None
) -> None:
    if optimiser not in abi.SCALARS:
        raise InputError(f"an optimiser is one of {abi.SCALARS}, got {optimiser!r}")
    given = [("iteration", iteration, torch.int64, 1), ("scalars", scalars, torch.float32, 7)]
    given.append(("numbers", numbers, torch.float64, 4))
    if found_inf is not None:
        given.append(("found_inf", found_inf, torch.float32, 1))
    for name, tensor, dtype, count in given:
        if tensor.dtype != dtype or tensor.numel() != count or not tensor.is_contiguous():
            raise InputError(
                f"{name}: {count} contiguous {dtype}, got {tensor.dtype} {tuple(tensor.shape)}"
            )
        if tensor.device != iteration.device:
            raise InputError(f"{name} is on {iteration.device}, got {tensor.device}")


def _scalars_cpu(
    iteration: Tensor, scalars: Tensor, numbers: Tensor, optimiser: str, found_inf: Tensor | None
) -> None:
    _check_scalars(iteration, scalars, numbers, optimiser, found_inf)
    error = native.library().qt_scalars(
        abi.SCALARS.index(optimiser),
        numbers.data_ptr(),
        iteration.data_ptr(),
        None if found_inf is None else found_inf.data_ptr(),
        scalars.data_ptr(),
    )
    if error:
        raise InputError(f"the kernel takes this optimiser, got {abi.Error(error).words}")


def _scalars_cuda(
    iteration: Tensor, scalars: Tensor, numbers: Tensor, optimiser: str, found_inf: Tensor | None
) -> None:
    _check_scalars(iteration, scalars, numbers, optimiser, found_inf)
    device = iteration.device
    launcher(device.index).scalars(
        optimiser,
        numbers.data_ptr(),
        iteration.data_ptr(),
        0 if found_inf is None else found_inf.data_ptr(),
        scalars.data_ptr(),
        torch.cuda.current_stream(device).cuda_stream,
    )


def _scalars_fake(
    iteration: Tensor, scalars: Tensor, numbers: Tensor, optimiser: str, found_inf: Tensor | None
) -> None:
    _check_scalars(iteration, scalars, numbers, optimiser, found_inf)


LIBRARY.impl("scalars_", _scalars_cpu, "CPU")
LIBRARY.impl("scalars_", _scalars_cuda, "CUDA")
LIBRARY.impl("squares_", _squares_cpu, "CPU")
LIBRARY.impl("squares_", _squares_cuda, "CUDA")
torch.library.register_fake("qtheory::scalars_", _scalars_fake, lib=LIBRARY)
torch.library.register_fake("qtheory::squares_", _squares_fake, lib=LIBRARY)
