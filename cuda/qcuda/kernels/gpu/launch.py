"""Launching kernels: addresses and numbers in, nothing else. The torch layer is elsewhere.

Arguments named *_pointer are device addresses, `stream` is a stream's handle (0: the legacy
default stream); the caller keeps the memory alive and on the launcher's device. Calls return at
once and work in the order of the stream. They may be captured into CUDA graphs: scalars and
iteration are read from device memory when a graph is replayed.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Iterable, Sequence
from ctypes import c_int32, c_int64, c_uint32, c_uint64, c_void_p
from functools import cache

from qcuda.kernels import abi, source
from qcuda.kernels.gpu import image
from qcuda.kernels.gpu.driver import Device, Driver
from qcuda.kernels.gpu.errors import DriverError, ImageMissing

# As in cuda/csrc/gpu/group.h and kernels.cu.
GROUP, THREADS, CHUNK = 8, 256, 8192
_MAX_BLOCKS = 2**31 - 1
_COUNTS = f"{abi.Tensor.count.offset}xq{ctypes.sizeof(abi.Tensor) - abi.Tensor.count.offset - 8}x"


class Payload(ctypes.Structure):
    """Bytes of a table that travel with a launch."""

    _fields_ = (("part", c_uint64 * 448),)


class Launcher:
    """The kernels of one device. Made by `launcher`, once for each."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._lock = threading.Lock()
        self._functions: dict[str, c_void_p] = {}
        self._chunks: dict[tuple[int, ...], tuple[int, int]] = {}
        self._tables: dict[tuple[int, tuple[int, ...]], tuple[bytes, int]] = {}
        with device.current():
            self.image, self._module = self._load()

    def _load(self) -> tuple[str, c_void_p]:
        tried: list[str] = []
        for found in image.find(self.device.capability, self.device.driver.version(), tried):
            try:
                return found.origin, self.device.load(found.data)
            except DriverError as error:
                tried.append(f"{found.origin}: {error}")
        major, minor = self.device.capability
        raise ImageMissing(
            f"no kernel image for {self.device.name} (compute capability {major}.{minor}); "
            "looked for:\n  " + "\n  ".join(tried)
        )

    def step_all(
        self,
        launch: abi.Launch,
        tensors: ctypes.Array[abi.Tensor],
        scalars_pointer: int,
        iteration_pointer: int,
        counters_pointer: int,
        stream: int,
    ) -> None:
        """Optimiser and move for every weight of every tensor, in place, in one launch.

        scalars: 7 float32. iteration: one int64. counters: one abi.Counters for each tensor,
        added to; 0 to count nothing.
        """
        name = f"qt_step_{step_name(launch)}"
        data = bytes(tensors)
        counts = counts_of(data)
        if not any(counts):
            check(launch, tensors)
            return
        with self._lock, self.device.current():
            chunks, blocks = self._chunk_table(counts)
            table = self._tensor_table(launch, tensors, data, counts, stream)
            self._launch(
                name,
                blocks,
                stream,
                launch,
                c_void_p(table),
                c_void_p(chunks),
                c_void_p(scalars_pointer),
                c_void_p(iteration_pointer),
                c_void_p(counters_pointer),
            )

    def scalars(
        self,
        optimiser: str,
        numbers_pointer: int,
        iteration_pointer: int,
        found_inf_pointer: int,
        scalars_pointer: int,
        stream: int,
    ) -> None:
        """The 7 float32 scalars of the iteration that begins now, which is counted.

        numbers: 4 float64. iteration: one int64. found_inf: one float32, or 0 for none; unless it
        is zero, the iteration is not counted and the scalars are NaN.
        """
        pointers = (numbers_pointer, iteration_pointer, found_inf_pointer, scalars_pointer)
        number = c_int32(abi.OPTIMISERS.index(optimiser))
        with self._lock, self.device.current():
            self._launch("qt_scalars", 1, stream, number, *map(c_void_p, pointers))

    def words(
        self,
        seed: int,
        iteration_pointer: int,
        tensor: int,
        random_stream: int,
        first: int,
        count: int,
        out_pointer: int,
        stream: int,
    ) -> None:
        """The words (uint32) of elements first .. first + count - 1. iteration: one int64."""
        numbers = (c_uint64(seed), c_void_p(iteration_pointer), c_uint32(tensor))
        rest = (c_uint32(random_stream), c_int64(first), c_int64(count), c_void_p(out_pointer))
        self._elementwise("qt_words", count, GROUP, stream, *numbers, *rest)

    def decode(
        self,
        storage: int,
        levels_pointer: int,
        size: int,
        state_pointer: int,
        count: int,
        out_pointer: int,
        real_type: int,
        stream: int,
    ) -> None:
        """Visible weights: the table of `size` float32 levels, looked up."""
        check_lattice(size, storage)
        self._elementwise(
            "qt_decode",
            count,
            GROUP,
            stream,
            c_int32(storage),
            c_void_p(levels_pointer),
            c_int32(size),
            c_void_p(state_pointer),
            c_int64(count),
            c_void_p(out_pointer),
            c_int32(abi.Real(real_type)),
        )

    def outcomes(
        self,
        launch: abi.Launch,
        codes_pointer: int,
        increments_pointer: int,
        count: int,
        thresholds_pointer: int,
        destinations_pointer: int,
        stream: int,
    ) -> None:
        """From int8 codes and increments, the K destinations of each weight (int32) and the K - 1
        thresholds between them (uint64, 0 .. 2**32)."""
        step_name(launch)
        addresses = (c_void_p(codes_pointer), c_void_p(increments_pointer))
        rest = (c_int64(count), c_void_p(thresholds_pointer), c_void_p(destinations_pointer))
        self._elementwise("qt_outcomes", count, 1, stream, launch, *addresses, *rest)

    def _elementwise(
        self, name: str, count: int, each: int, stream: int, *arguments: ctypes._CData
    ) -> None:
        if count < 0:
            raise ValueError(f"a count is at least 0, got {count}")
        if count == 0:
            return
        with self._lock, self.device.current():
            self._launch(name, -(-count // (each * THREADS)), stream, *arguments)

    def _launch(self, name: str, blocks: int, stream: int, *arguments: ctypes._CData) -> None:
        if blocks > _MAX_BLOCKS:
            raise ValueError(f"a launch has at most 2**31 - 1 blocks, got {blocks}")
        pointers = (c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
        shape = (blocks, 1, 1, THREADS, 1, 1, 0)
        function = self._function(name)
        self.device.driver.call("cuLaunchKernel", function, *shape, stream, pointers, None)

    def _function(self, name: str) -> c_void_p:
        if name not in self._functions:
            self._functions[name] = self.device.function(self._module, name)
        return self._functions[name]

    def _chunk_table(self, counts: tuple[int, ...]) -> tuple[int, int]:
        """Address and length of the table of chunks, which never changes for these counts."""
        if counts not in self._chunks:
            table = chunk_table(counts)
            self._chunks[counts] = self.device.upload(table), len(table) // 8
        return self._chunks[counts]

    def _tensor_table(
        self,
        launch: abi.Launch,
        tensors: ctypes.Array[abi.Tensor],
        data: bytes,
        counts: tuple[int, ...],
        stream: int,
    ) -> int:
        """Address of the tensors' table on the device.

        A stream has one for its launches of one shape, rewritten in stream order when an address
        changes. A captured graph keeps one of its own, for as long as the process lives.
        """
        if self.device.is_capturing(stream):
            check(launch, tensors)
            return self.device.upload(data)
        known, address = self._tables.get((stream, counts), (b"", 0))
        if known != data:
            check(launch, tensors)
            address = address or self.device.allocate(len(data))
            self._put(data, address, stream)
            self._tables[stream, counts] = data, address
        return address

    def _put(self, data: bytes, address: int, stream: int) -> None:
        size = ctypes.sizeof(Payload)
        for start in range(0, len(data), size):
            part = data[start : start + size]
            payload = Payload.from_buffer_copy(part.ljust(size, b"\0"))
            words = c_int32(len(part) // 8)
            self._launch("qt_put", 1, stream, payload, words, c_void_p(address + start))


def step_name(launch: abi.Launch) -> str:
    """The end of a step kernel's name; ValueError if the launch breaks a rule."""
    for what, number, names in (
        ("rule", launch.rule, source.stems()),
        ("optimiser", launch.optimiser, abi.OPTIMISERS),
    ):
        if not 0 <= number < len(names):
            raise ValueError(f"a {what}'s number is in [0, {len(names)}), got {number}")
    abi.Real(launch.gradient_type)
    abi.Real(launch.moment_type)
    check_lattice(launch.spec.size, launch.storage)
    storage = abi.Storage(launch.storage).name.lower()
    return f"{source.stems()[launch.rule]}_{abi.OPTIMISERS[launch.optimiser]}_{storage}"


def check_lattice(size: int, storage: int) -> None:
    """ValueError if that many levels do not fit the storage."""
    most = 3 if abi.Storage(storage) is abi.Storage.TRITS else 256
    if not 2 <= size <= most:
        raise ValueError(f"{abi.Storage(storage).name} holds 2 to {most} levels, got {size}")


def check(launch: abi.Launch, tensors: Iterable[abi.Tensor]) -> None:
    """ValueError if a tensor lacks memory that its kernel would touch, or is out of range."""
    moments = abi.MOMENTS[abi.OPTIMISERS[launch.optimiser]]
    needed = ("state", "gradient", "first", "second")[: 2 + moments]
    sizes = (1, abi.Real(launch.gradient_type).bytes, *(abi.Real(launch.moment_type).bytes,) * 2)
    for place, tensor in enumerate(tensors):
        if tensor.count < 0 or not 0 <= tensor.offset <= abi.MAX_ELEMENT - tensor.count:
            raise ValueError(
                f"a tensor's elements are in 0..{abi.MAX_ELEMENT}, got {tensor.count} from "
                f"{tensor.offset} on in tensor {place}"
            )
        for name, size in zip(needed, sizes, strict=False):
            address = getattr(tensor, name) or 0
            if tensor.count and (address == 0 or address % size):
                raise ValueError(
                    f"a tensor's {name} is an address divisible by {size}, "
                    f"got {address:#x} in tensor {place}"
                )


def counts_of(data: bytes) -> tuple[int, ...]:
    """The counts in a table of Tensors."""
    return struct.unpack(_COUNTS * (len(data) // ctypes.sizeof(abi.Tensor)), data)


def chunk_table(counts: Sequence[int]) -> bytes:
    """For each block of a launch: the place of its tensor, and which chunk of it (two uint32)."""
    rows: list[int] = []
    for tensor, count in enumerate(counts):
        for number in range(-(-count // CHUNK)):
            rows += (tensor, number)
    return bytes((c_uint32 * len(rows))(*rows))


@cache
def launcher(device: int = 0, driver: str | None = None) -> Launcher:
    """The launcher of a device, as torch counts them; made at the first call.

    Raises DriverMissing, DeviceMissing or ImageMissing, which say what was looked for.
    driver: path of the driver library, instead of libcuda.so.1.
    """
    return Launcher(Driver(driver).device(device))
