"""Kernels on trial: callables from indices and increments to the next indices."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np

from qcuda.errors import BackendUnavailable
from qcuda.kernels import abi, native
from qtheory.algorithms import Spec, parameters, stem


class Draw(NamedTuple):
    """A launch: by which spec weights move, and what keys its random words."""

    spec: Spec
    seed: int
    iteration: int
    tensor: int


class Kernel(Protocol):
    """Moves every weight once, with words of its own that the draw determines."""

    def __call__(self, index: np.ndarray, increments: np.ndarray, draw: Draw) -> np.ndarray:
        """index: int64 (n,); increments: float32 (n,), in weight units. Returns int64 (n,)."""
        ...


def cpu_libraries() -> dict[str, ctypes.CDLL]:
    """The libraries that were built and that this processor runs, by level."""
    base = native.find("libqtheory_v1.so") or native.find("libqtheory_generic.so")
    if base is None:
        native.library()  # says what was looked for
        raise BackendUnavailable("the baseline CPU library is there, got none")
    highest = native.open_library(base).qt_processor_level()
    names = [name for number, name in sorted(native.LEVELS.items()) if number <= highest]
    found = {name: native.find(f"libqtheory_{name}.so") for name in names}
    return {name: native.open_library(path) for name, path in found.items() if path is not None}


def launch(
    spec: Spec,
    seed: int,
    storage: abi.Storage = abi.Storage.INT8,
    *,
    optimiser: str = "given",
    gradient_type: abi.Real = abi.Real.FLOAT32,
    moment_type: abi.Real = abi.Real.FLOAT32,
) -> abi.Launch:
    """A launch, by default one that takes increments as they are given."""
    lattice = spec.lattice
    numbers = abi.spec(lattice.spacing, lattice.zero, lattice.size, parameters(spec))
    return abi.launch(
        numbers, seed=seed, rule=stem(spec), optimiser=optimiser, storage=storage,
        gradient_type=gradient_type, moment_type=moment_type,
    )  # fmt: skip


def library_kernel(library: ctypes.CDLL, storage: abi.Storage = abi.Storage.INT8) -> Kernel:
    """A CPU library by itself, without torch."""

    def kernel(index: np.ndarray, increments: np.ndarray, draw: Draw) -> np.ndarray:
        state = _state(library, index - draw.spec.lattice.centre, storage)
        row = abi.Tensor(
            state.ctypes.data, increments.ctypes.data, 0, 0, 0, index.size, 0, draw.tensor, 0
        )  # fmt: skip
        scalars, counters = np.zeros(7, np.float32), np.zeros(2, np.int64)
        now = np.array([draw.iteration], np.int64)
        numbers = launch(draw.spec, draw.seed, storage)
        error = library.qt_step_all(
            ctypes.byref(numbers), ctypes.byref(row), 1, scalars.ctypes.data,
            now.ctypes.data, counters.ctypes.data, 1,
        )  # fmt: skip
        if error:
            raise ValueError(f"the kernel takes this launch, got {abi.Error(error).words}")
        return _codes(library, state, index.size, storage) + draw.spec.lattice.centre

    return kernel


def torch_kernel(device: str = "cpu") -> Kernel:
    """The installed `torch.ops.qtheory.step_` on a device; two and three levels are packed."""
    import torch

    from qcuda.kernels import ops
    from qcuda.kernels.storage import storage_for
    from qcuda.kernels.words import as_signed

    assert ops.LIBRARY is not None  # the import registers the operator
    library = native.library()
    scalars = torch.zeros(7, device=device)
    counters = torch.zeros((1, 2), dtype=torch.int64, device=device)

    def kernel(index: np.ndarray, increments: np.ndarray, draw: Draw) -> np.ndarray:
        spec, seed, iteration, tensor = draw
        lattice = spec.lattice
        storage = storage_for(lattice)
        state = torch.from_numpy(_state(library, index - lattice.centre, storage)).to(device)
        torch.ops.qtheory.step_(
            [state], [torch.from_numpy(increments).to(device)], [], [], [], [], counters, scalars,
            torch.tensor([iteration], device=device), [tensor], [0],
            as_signed(seed), stem(spec), "given", int(storage),
            lattice.spacing, lattice.zero, lattice.size, list(parameters(spec)),
        )  # fmt: skip
        return _codes(library, state.cpu().numpy(), index.size, storage) + lattice.centre

    return kernel


def _state(library: ctypes.CDLL, codes: np.ndarray, storage: abi.Storage) -> np.ndarray:
    codes = codes.astype(np.int8)
    if storage is abi.Storage.INT8:
        return codes
    state = np.zeros(storage.bytes(codes.size), np.uint8)
    library.qt_pack(int(storage), codes.ctypes.data, codes.size, state.ctypes.data)
    return state


def _codes(library: ctypes.CDLL, state: np.ndarray, count: int, storage: abi.Storage) -> np.ndarray:
    """Codes as they are written, those off the lattice among them: judging them is for others."""
    if storage is not abi.Storage.INT8:
        codes = np.empty(count, np.int8)
        library.qt_unpack(int(storage), state.ctypes.data, count, codes.ctypes.data)
        state = codes
    return state.astype(np.int64)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch. Launches are small, and NumPy works between them: a second thread
    gains little, and on a busy machine every launch waits for it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def key(seed: int, purpose: str) -> int:
    """An independent 64-bit seed for each purpose of a run."""
    entropy = [seed, *purpose.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
