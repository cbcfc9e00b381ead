"""The kernels of the optimiser as a torch operator: `torch.ops.qtheory.step_`.

It is a pure function of its arguments, random numbers included (the iteration is a tensor,
so that it can change without recompilation), and therefore safe under torch.compile, activation
checkpointing and graph replay. Importing this module registers it; libraries are loaded by the
first call that computes.
"""

from __future__ import annotations

import ctypes
import math
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from qcuda.errors import InputError, require
from qcuda.kernels import abi, native, source
from qcuda.kernels.gpu import Memory, launcher
from qcuda.kernels.words import as_unsigned
from qtheory.algorithms import contract
from qtheory.streams import MAX_ELEMENT, MAX_TENSOR

REALS = {torch.float32: abi.Real.FLOAT32, torch.bfloat16: abi.Real.BFLOAT16}  # of gradients
MOMENTS = {**REALS, torch.int8: abi.Real.INT8}
STATES = {kind: torch.int8 if kind.bits == 8 else torch.uint8 for kind in abi.Storage}

LIBRARY = torch.library.Library("qtheory", "DEF")
LIBRARY.define(
    "step_(Tensor(a!)[] states, Tensor[] gradients, Tensor(b!)[] first, Tensor(c!)[] second, "
    "Tensor(d!)[] increments, Tensor[] gains, Tensor(e!) counters, Tensor scalars, "
    "Tensor iteration, int[] tensors, int[] offsets, int seed, str rule, str optimiser, "
    "int storage, float spacing, float zero, int size, float[] parameters) -> ()"
)


def check_state(state: Tensor, storage: abi.Storage, count: int) -> None:
    """A state tensor is contiguous, of its storage's dtype, and holds `count` weights."""
    dtype, size = STATES[storage], storage.bytes(count)
    if state.dtype != dtype:
        raise InputError(f"{storage.name.lower()} state has dtype {dtype}, got {state.dtype}")
    if not state.is_contiguous():
        raise InputError(f"a state is contiguous, got strides {state.stride()}")
    if state.numel() != size:
        raise InputError(f"{count} weights take {size} bytes, got {state.numel()}")


def check_backend(
    rule: str,
    optimiser: str,
    storage: abi.Storage,
    state: Tensor,
    gradient_type: torch.dtype,
    moment_type: torch.dtype,
) -> None:
    """Raise BackendUnavailable unless the kernels of a step can run where a state is.

    On a GPU they are compiled and loaded, if need be. A compiler's pretended tensor has none.
    """
    if type(state) in (Tensor, torch.nn.Buffer):
        types = REALS[gradient_type], MOMENTS[moment_type]
        _prepare(state.device, rule, optimiser, storage, *types)


@cache
def _prepare(
    device: torch.device,
    rule: str,
    optimiser: str,
    storage: abi.Storage,
    gradient_type: abi.Real,
    moment_type: abi.Real,
) -> None:
    native.check_rule(rule)
    if device.type == "cuda":
        launch = abi.launch(
            abi.spec(1.0, 0.0, 2),
            seed=0,
            rule=rule,
            optimiser=optimiser,
            storage=storage,
            gradient_type=gradient_type,
            moment_type=moment_type,
        )
        launcher(device.index).prepare([launch])
    elif device.type == "cpu":
        native.library()


def check_reals(
    name: str,
    tensors: list[Tensor],
    like: list[Tensor],
    n: int,
    types: dict[torch.dtype, abi.Real] = REALS,
) -> torch.dtype:
    """Raise InputError unless there are n of them, of one type, as their gradients are.

    Messages are made where a rule is broken: this runs for every tensor of every step.
    """
    if len(tensors) != n:
        raise InputError(f"there is one {name} for each state, got {len(tensors)} for {n}")
    dtype = tensors[0].dtype
    for tensor, other in zip(tensors, like, strict=True):
        if tensor.dtype != dtype or dtype not in types:
            raise InputError(
                f"each {name} of a launch has the same dtype, "
                f"{' or '.join(real.name.lower() for real in types.values())}, got {tensor.dtype}"
            )
        if not tensor.is_contiguous():
            raise InputError(f"a {name} is contiguous, got strides {tensor.stride()}")
        if tensor.numel() != other.numel():
            raise InputError(
                f"a {name} has as many elements as its gradient, {other.numel()}, "
                f"got {tensor.numel()}"
            )
        if tensor.device != other.device:
            raise InputError(
                f"a {name} is on its gradient's device, {other.device}, got {tensor.device}"
            )
    return dtype


def _check_numbers(
    spacing: float,
    zero: float,
    size: int,
    parameters: tuple[float, ...],
    rule: str,
    storage: abi.Storage,
) -> None:
    require(
        2 <= size <= storage.levels,
        f"{storage.name.lower()} holds 2 to {storage.levels} levels, got {size}",
    )
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


@lru_cache(maxsize=256)
def _launch(
    spec: tuple[float, float, int, tuple[float, ...]],
    seed: int,
    rule: str,
    optimiser: str,
    storage: abi.Storage,
    gradient_type: abi.Real,
    moment_type: abi.Real,
) -> abi.Launch:
    """What all tensors of a step share, checked: it is the same for every iteration."""
    _check_numbers(*spec, rule, storage)
    return abi.launch(
        abi.spec(*spec),
        seed=seed,
        rule=rule,
        optimiser=optimiser,
        storage=storage,
        gradient_type=gradient_type,
        moment_type=moment_type,
    )


def _check_small(
    device: torch.device, n: int, counters: Tensor, scalars: Tensor, iteration: Tensor
) -> None:
    if counters.dtype != torch.int64 or counters.shape != (n, 2) or not counters.is_contiguous():
        raise InputError(
            f"counters are int64 of shape ({n}, 2), got {counters.dtype} {tuple(counters.shape)}"
        )
    if scalars.dtype != torch.float32 or scalars.shape != (7,) or not scalars.is_contiguous():
        raise InputError(f"scalars are 7 float32, got {scalars.dtype} {tuple(scalars.shape)}")
    if iteration.dtype != torch.int64 or iteration.numel() != 1:
        raise InputError(
            f"the iteration is one int64, got {iteration.dtype} {tuple(iteration.shape)}"
        )
    for name, small in (("counters", counters), ("scalars", scalars), ("iteration", iteration)):
        if small.device != device:
            raise InputError(f"{name} are on the gradients' device, {device}, got {small.device}")


def _describe(
    states: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    increments: list[Tensor],
    gains: list[Tensor],
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
    gradient_type = check_reals("gradient", gradients, gradients, n)
    if optimiser not in abi.OPTIMISERS:
        raise InputError(f"an optimiser is one of {abi.OPTIMISERS}, got {optimiser!r}")
    moments = [first, second][: abi.MOMENTS[optimiser]]
    types = [check_reals("moment", moment, gradients, n, MOMENTS) for moment in moments]
    if len(set(types)) > 1:
        raise InputError(f"both moments have the same dtype, got {types}")
    require(
        torch.int8 not in types or (len(types) == 1 and len(gains) > 0),
        "moments in int8 are one for each weight, of a normalised gradient, got another launch",
    )
    check_gains(gains, gradients)
    if increments:
        told = check_reals("increment", increments, gradients, n)
        require(told == torch.float32, f"increments are told in float32, got {told}")
    counts = [gradient.numel() for gradient in gradients]
    for state, gradient, count in zip(states, gradients, counts, strict=True):
        check_state(state, storage, count)
        if state.device != gradient.device:
            raise InputError(
                f"a state is on its gradient's device, {gradient.device}, got {state.device}"
            )
    _check_small(gradients[0].device, n, counters, scalars, iteration)
    if not len(tensors) == len(offsets) == n:
        raise InputError(
            "there is one number and one offset for each state, "
            f"got {len(tensors)} and {len(offsets)}"
        )
    for number, offset, count in zip(tensors, offsets, counts, strict=True):
        if not 0 <= number <= MAX_TENSOR:
            raise InputError(f"a tensor number is in 0..{MAX_TENSOR}, got {number}")
        if not 0 <= offset <= MAX_ELEMENT - count:
            raise InputError(f"elements are in 0..{MAX_ELEMENT}, got {count} from {offset}")
    real, moment = REALS[gradient_type], MOMENTS[types[0]] if types else abi.Real.FLOAT32
    spec = spacing, zero, size, tuple(parameters)
    launch = _launch(spec, as_unsigned(seed), rule, optimiser, storage, real, moment)
    columns = [[t.data_ptr() for t in part] for part in (states, gradients, *moments)]
    columns += [[0] * n] * (2 - len(moments))
    columns.append([t.data_ptr() for t in increments] or [0] * n)
    columns += [counts, offsets, tensors]
    columns += of_gains(gains, counts) or [[0] * n] * 2
    return launch, abi.table(columns)


def check_gains(gains: list[Tensor], gradients: list[Tensor]) -> None:
    """Raise InputError unless there are none, or for each gradient those of its rows."""
    if not gains:
        return
    require(
        len(gains) == len(gradients),
        f"there are gains for each gradient or for none, got {len(gains)} for {len(gradients)}",
    )
    for gain, gradient in zip(gains, gradients, strict=True):
        rows, count = gain.numel(), gradient.numel()
        if gain.dtype != torch.float32 or not gain.is_contiguous():
            raise InputError(f"gains are contiguous float32, got {gain.dtype} {gain.stride()}")
        if gain.device != gradient.device:
            raise InputError(f"gains are on {gradient.device}, got {gain.device}")
        if count % rows if rows else count:
            raise InputError(f"a tensor has whole rows, one for each gain, got {count} in {rows}")


def of_gains(gains: list[Tensor], counts: list[int]) -> list[list[int]]:
    """Two columns of a table: addresses, and weights of a row; no columns without gains."""
    if not gains:
        return []
    rows = [count // (gain.numel() or 1) for gain, count in zip(gains, counts, strict=True)]
    return [[gain.data_ptr() for gain in gains], rows]


def _step_cpu(states: list[Tensor], *arguments: Any) -> None:
    if not states:
        return
    launch, rows = _describe(states, *arguments)
    counters, scalars, iteration = arguments[5:8]
    error = native.library().qt_step_all(
        ctypes.byref(launch),
        rows,
        len(states),
        scalars.data_ptr(),
        iteration.data_ptr(),
        counters.data_ptr(),
        torch.get_num_threads(),
    )
    if error:
        raise InputError(f"the kernel takes this launch, got {abi.Error(error).words}")
    increment_version(states)  # torch would, if it had written; `qcuda.nn.kept` asks


def _step_cuda(states: list[Tensor], *arguments: Any) -> None:
    if not states:
        return
    launch, rows = _describe(states, *arguments)
    counters, scalars, iteration = arguments[5:8]
    device = states[0].device
    launcher(device.index).step_all(
        launch,
        rows,
        scalars.data_ptr(),
        iteration.data_ptr(),
        counters.data_ptr(),
        torch.cuda.current_stream(device).cuda_stream,
        lambda size: memory(size, device),
    )
    increment_version(states)


def memory(size: int, device: torch.device) -> Memory:
    """Work memory from torch's allocator, which has the rest of the card, and pools for graphs."""
    buffer = torch.empty(size, dtype=torch.uint8, device=device)
    return Memory(buffer.data_ptr(), buffer)


def _step_fake(
    states: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    increments: list[Tensor],
    gains: list[Tensor],
    counters: Tensor,
    scalars: Tensor,
    iteration: Tensor,
    *rest: Any,
) -> None:
    lists = (states, gradients, first, second, increments, gains, [counters, scalars, iteration])
    devices = {tensor.device for each in lists for tensor in each}
    require(len(devices) <= 1, f"the tensors of a step are on one device, got {devices}")


LIBRARY.impl("step_", _step_cpu, "CPU")
LIBRARY.impl("step_", _step_cuda, "CUDA")
torch.library.register_fake("qtheory::step_", _step_fake, lib=LIBRARY)
