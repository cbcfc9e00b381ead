"""The kernels as torch operators: `torch.ops.qtheory.step_` and `torch.ops.qtheory.decode`.

They are pure functions of their arguments, random numbers included (the iteration is a tensor,
so that it can change without recompilation), and therefore safe under torch.compile, activation
checkpointing and graph replay. Importing this module registers them; libraries are loaded by the
first call that computes.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import torch
from torch import Tensor

from qcuda.errors import require
from qcuda.kernels import abi, native, source
from qcuda.kernels.gpu import Memory, launcher
from qcuda.kernels.words import as_unsigned
from qtheory.algorithms import contract
from qtheory.streams import MAX_ELEMENT, MAX_TENSOR

REALS = {torch.float32: abi.Real.FLOAT32, torch.bfloat16: abi.Real.BFLOAT16}
STATES = {abi.Storage.INT8: torch.int8, abi.Storage.TRITS: torch.uint8}

LIBRARY = torch.library.Library("qtheory", "DEF")
LIBRARY.define(
    "step_(Tensor(a!)[] states, Tensor[] gradients, Tensor(b!)[] first, Tensor(c!)[] second, "
    "Tensor(d!)[] increments, Tensor(e!) counters, Tensor scalars, Tensor iteration, "
    "int[] tensors, int[] offsets, int seed, str rule, str optimiser, int storage, float spacing, "
    "float zero, int size, float[] parameters) -> ()"
)
LIBRARY.define(
    "decode(Tensor state, Tensor slot, Tensor levels, int storage, ScalarType dtype) -> Tensor"
)


def check_state(state: Tensor, storage: abi.Storage, count: int) -> None:
    """A state tensor is contiguous, of its storage's dtype, and holds `count` weights."""
    dtype, size = STATES[storage], storage.bytes(count)
    require(
        state.dtype == dtype,
        f"{storage.name.lower()} state has dtype {dtype}, got {state.dtype}",
    )
    require(state.is_contiguous(), f"a state is contiguous, got strides {state.stride()}")
    require(state.numel() == size, f"{count} weights take {size} bytes, got {state.numel()}")


def _check_reals(name: str, tensors: list[Tensor], like: list[Tensor], n: int) -> torch.dtype:
    require(len(tensors) == n, f"there is one {name} for each state, got {len(tensors)} for {n}")
    dtype = tensors[0].dtype
    for tensor, other in zip(tensors, like, strict=True):
        require(
            tensor.dtype in REALS and tensor.dtype == dtype,
            f"each {name} of a launch has the same dtype, float32 or bfloat16, got {tensor.dtype}",
        )
        require(tensor.is_contiguous(), f"a {name} is contiguous, got strides {tensor.stride()}")
        require(
            tensor.numel() == other.numel(),
            f"a {name} has as many elements as its gradient, {other.numel()}, got {tensor.numel()}",
        )
        require(
            tensor.device == other.device,
            f"a {name} is on its gradient's device, {other.device}, got {tensor.device}",
        )
    return dtype


def _describe(
    states: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    increments: list[Tensor],
    counters: Tensor,
    scalars: Tensor,
    iteration: Tensor,
    tensors: list[int],
    offsets: list[int],
    seed: int,
    rule: str,
    optimiser: str,
    storage_number: int,
    spacing: float,
    zero: float,
    size: int,
    parameters: list[float],
) -> tuple[abi.Launch, Any]:
    """Check every argument of a step and write them as the C ABI wants them."""
    n, storage = len(states), abi.Storage(storage_number)
    gradient_type = _check_reals("gradient", gradients, gradients, n)
    limit = 3 if storage is abi.Storage.TRITS else 256
    require(2 <= size <= limit, f"{storage.name.lower()} holds 2 to {limit} levels, got {size}")
    require(rule in source.stems(), f"a rule is one of {source.stems()}, got {rule!r}")
    native.check_rule(rule)
    wanted = len(contract(rule).knobs)
    require(len(parameters) == wanted, f"{rule} has {wanted} parameters, got {len(parameters)}")
    single = ctypes.c_float(spacing).value
    require(
        math.isfinite(single) and single > 0,
        f"a lattice spacing is positive and finite in float32, got {spacing}",
    )
    for number in (zero, *parameters):
        single = ctypes.c_float(number).value
        require(math.isfinite(single), f"a spec's numbers are finite in float32, got {number}")
    require(
        optimiser in abi.OPTIMISERS, f"an optimiser is one of {abi.OPTIMISERS}, got {optimiser!r}"
    )
    moments = [first, second][: abi.MOMENTS[optimiser]]
    moment_type = torch.float32
    for place, moment in enumerate(moments):
        found = _check_reals("moment", moment, gradients, n)
        require(
            place == 0 or found == moment_type,
            f"both moments have the same dtype, got {moment_type} and {found}",
        )
        moment_type = found
    if increments:
        told = _check_reals("increment", increments, gradients, n)
        require(told == torch.float32, f"increments are told in float32, got {told}")
    for state, gradient in zip(states, gradients, strict=True):
        check_state(state, storage, gradient.numel())
        require(
            state.device == gradient.device,
            f"a state is on its gradient's device, {gradient.device}, got {state.device}",
        )
    require(
        counters.dtype == torch.int64 and counters.shape == (n, 2) and counters.is_contiguous(),
        f"counters are int64 of shape ({n}, 2), got {counters.dtype} {tuple(counters.shape)}",
    )
    require(
        scalars.dtype == torch.float32 and scalars.shape == (7,) and scalars.is_contiguous(),
        f"scalars are 7 float32, got {scalars.dtype} {tuple(scalars.shape)}",
    )
    require(
        iteration.dtype == torch.int64 and iteration.numel() == 1,
        f"the iteration is one int64, got {iteration.dtype} {tuple(iteration.shape)}",
    )
    for name, small in (("counters", counters), ("scalars", scalars), ("iteration", iteration)):
        require(
            small.device == gradients[0].device,
            f"{name} are on the gradients' device, {gradients[0].device}, got {small.device}",
        )
    require(
        len(tensors) == len(offsets) == n,
        f"there is one number and one offset for each state, got {len(tensors)} and {len(offsets)}",
    )
    for number, offset, gradient in zip(tensors, offsets, gradients, strict=True):
        require(0 <= number <= MAX_TENSOR, f"a tensor number is in 0..{MAX_TENSOR}, got {number}")
        require(
            0 <= offset <= MAX_ELEMENT - gradient.numel(),
            f"elements are in 0..{MAX_ELEMENT}, got {gradient.numel()} from {offset}",
        )
    launch = abi.launch(
        abi.spec(spacing, zero, size, parameters),
        seed=as_unsigned(seed),
        rule=rule,
        optimiser=optimiser,
        storage=storage,
        gradient_type=REALS[gradient_type],
        moment_type=REALS[moment_type],
    )
    rows = abi.tensors(
        [
            abi.Tensor(
                states[i].data_ptr(),
                gradients[i].data_ptr(),
                first[i].data_ptr() if moments else 0,
                second[i].data_ptr() if len(moments) > 1 else 0,
                increments[i].data_ptr() if increments else 0,
                gradients[i].numel(),
                offsets[i],
                tensors[i],
                0,
            )
            for i in range(n)
        ]
    )
    return launch, rows


def _step_cpu(states: list[Tensor], *arguments: Any) -> None:
    if not states:
        return
    launch, rows = _describe(states, *arguments)
    counters, scalars, iteration = arguments[4:7]
    error = native.library().qt_step_all(
        ctypes.byref(launch),
        rows,
        len(states),
        scalars.data_ptr(),
        iteration.data_ptr(),
        counters.data_ptr(),
        torch.get_num_threads(),
    )
    require(error == 0, f"the kernel takes this launch, got {abi.Error(error).name}")


def _step_cuda(states: list[Tensor], *arguments: Any) -> None:
    if not states:
        return
    launch, rows = _describe(states, *arguments)
    counters, scalars, iteration = arguments[4:7]
    device = states[0].device
    launcher(device.index).step_all(
        launch,
        rows,
        scalars.data_ptr(),
        iteration.data_ptr(),
        counters.data_ptr(),
        torch.cuda.current_stream(device).cuda_stream,
        lambda size: _memory(size, device),
    )


def _memory(size: int, device: torch.device) -> Memory:
    """Work memory from torch's allocator, which has the rest of the card, and pools for graphs."""
    buffer = torch.empty(size, dtype=torch.uint8, device=device)
    return Memory(buffer.data_ptr(), buffer)


def _check_decode(
    state: Tensor, slot: Tensor, levels: Tensor, storage: int, dtype: torch.dtype
) -> None:
    require(dtype in REALS, f"visible weights are float32 or bfloat16, got {dtype}")
    check_state(state, abi.Storage(storage), slot.numel())
    require(
        levels.dtype == torch.float32 and levels.is_contiguous() and levels.device == state.device,
        f"levels are contiguous float32 on {state.device}, got {levels.dtype} on {levels.device}",
    )


def _decode_cpu(
    state: Tensor, slot: Tensor, levels: Tensor, storage: int, dtype: torch.dtype
) -> Tensor:
    _check_decode(state, slot, levels, storage, dtype)
    weights = torch.empty(slot.shape, dtype=dtype)
    error = native.library().qt_decode(
        storage,
        levels.data_ptr(),
        levels.numel(),
        state.data_ptr(),
        slot.numel(),
        weights.data_ptr(),
        REALS[dtype],
        torch.get_num_threads(),
    )
    require(error == 0, f"the kernel takes this state, got {abi.Error(error).name}")
    return weights


def _decode_cuda(
    state: Tensor, slot: Tensor, levels: Tensor, storage: int, dtype: torch.dtype
) -> Tensor:
    _check_decode(state, slot, levels, storage, dtype)
    weights = torch.empty(slot.shape, dtype=dtype, device=state.device)
    launcher(state.device.index).decode(
        storage,
        levels.data_ptr(),
        levels.numel(),
        state.data_ptr(),
        slot.numel(),
        weights.data_ptr(),
        REALS[dtype],
        torch.cuda.current_stream(state.device).cuda_stream,
    )
    return weights


def _decode_fake(
    state: Tensor, slot: Tensor, levels: Tensor, storage: int, dtype: torch.dtype
) -> Tensor:
    return torch.empty(slot.shape, dtype=dtype, device=state.device)


def _step_fake(
    states: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    increments: list[Tensor],
    counters: Tensor,
    scalars: Tensor,
    iteration: Tensor,
    *rest: Any,
) -> None:
    tensors = (*states, *gradients, *first, *second, *increments, counters, scalars, iteration)
    devices = {tensor.device for tensor in tensors}
    require(len(devices) <= 1, f"the tensors of a step are on one device, got {devices}")


def _decode_backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, None, None]:
    return None, gradient, None, None, None


LIBRARY.impl("step_", _step_cpu, "CPU")
LIBRARY.impl("step_", _step_cuda, "CUDA")
LIBRARY.impl("decode", _decode_cpu, "CPU")
LIBRARY.impl("decode", _decode_cuda, "CUDA")
torch.library.register_fake("qtheory::step_", _step_fake, lib=LIBRARY)
torch.library.register_fake("qtheory::decode", _decode_fake, lib=LIBRARY)
torch.library.register_autograd(
    "qtheory::decode", _decode_backward, setup_context=lambda ctx, inputs, output: None, lib=LIBRARY
)
