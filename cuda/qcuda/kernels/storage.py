"""How weights are stored, as codes or trits, and how those from outside are checked."""

from __future__ import annotations

import torch
from torch import Tensor

from qcuda.errors import require
from qcuda.kernels import abi, native
from qcuda.kernels.ops import STATES, check_state
from qtheory.lattice import Lattice


def storage_for(lattice: Lattice, *, hidden: bool = False) -> abi.Storage:
    """Trits for two or three levels, int8 codes for up to 256.

    hidden: whether levels are hidden; then 4 bits for up to 16 levels, and 6 for up to 64.
    Raises ValueError if the lattice has more levels than a byte tells apart.
    """
    require(lattice.size <= 256, f"a stored lattice has at most 256 levels, got {lattice.size}")
    packed = (abi.Storage.NIBBLES, abi.Storage.SIXES) if hidden else ()
    some = (abi.Storage.TRITS, *packed, abi.Storage.INT8)
    return next(one for one in some if lattice.size <= one.levels)


def _check_fits(lattice: Lattice, storage: abi.Storage) -> None:
    require(
        lattice.size <= storage.levels,
        f"{storage.name.lower()} holds {storage.levels} levels, got {lattice.size}",
    )


def central(count: int, lattice: Lattice, storage: abi.Storage, device: torch.device) -> Tensor:
    """The state of `count` weights on the central level, whose code is 0.

    Raises ValueError if the storage can not hold the lattice.
    """
    _check_fits(lattice, storage)
    return torch.zeros(storage.bytes(count), dtype=STATES[storage], device=device)


def encode(index: Tensor, lattice: Lattice, storage: abi.Storage) -> Tensor:
    """Store indices: flat int8 codes, or uint8 of packed ones.

    index: any integer dtype and shape, 0 .. size - 1, on the CPU. Raises ValueError if one is off
    the lattice, or the storage can not hold it.
    """
    _check_fits(lattice, storage)
    require(not index.is_floating_point(), f"indices are integers, got {index.dtype}")
    if index.numel():
        low, high = int(index.min()), int(index.max())
        require(
            0 <= low and high < lattice.size,
            f"an index is in 0..{lattice.size - 1}, got {low if low < 0 else high}",
        )
    codes = (index.detach().reshape(-1).to(torch.int64) - lattice.centre).to(torch.int8)
    if storage is abi.Storage.INT8:
        return codes
    state = torch.zeros(storage.bytes(codes.numel()), dtype=torch.uint8, device="cpu")
    native.library().qt_pack(int(storage), codes.data_ptr(), codes.numel(), state.data_ptr())
    return state


def decode(state: Tensor, count: int, lattice: Lattice, storage: abi.Storage) -> Tensor:
    """The indices of a stored state, int64 of shape (count,), on the CPU."""
    check_legal(state, count, lattice, storage)
    return codes_of(state.cpu(), count, storage).to(torch.int64) + lattice.centre


def codes_of(state: Tensor, count: int, storage: abi.Storage) -> Tensor:
    """The codes of a state on the CPU, int8 of shape (count,), not checked."""
    if storage is abi.Storage.INT8:
        return state
    codes = torch.empty(count, dtype=torch.int8, device="cpu")
    native.library().qt_unpack(int(storage), state.data_ptr(), count, codes.data_ptr())
    return codes


def check_legal(state: Tensor, count: int, lattice: Lattice, storage: abi.Storage) -> None:
    """Raise ValueError unless every weight of a state from outside is on its lattice."""
    check_state(state, storage, count)
    state = state.cpu()
    if storage is abi.Storage.TRITS:
        illegal = native.library().qt_illegal(state.data_ptr(), count)
        require(illegal == 0, f"a trit is 00, 01 or 11, got {illegal} of {count} with the code 10")
    used = count % 4 * storage.bits % 8  # bits of the last byte
    if used and int(state[-1]) >> used:
        raise ValueError(f"padding bits of packed codes are 0, got byte {int(state[-1]):#04x}")
    codes = codes_of(state, count, storage)
    low, high = -lattice.centre, lattice.size - 1 - lattice.centre
    if count:
        least, most = int(codes.min()), int(codes.max())
        require(
            low <= least and most <= high,
            f"codes of {lattice.size} levels are in {low}..{high}, got {least} to {most}",
        )


def dtype_of(storage: abi.Storage) -> torch.dtype:
    """The dtype of a stored state."""
    return STATES[storage]
