"""Launching kernels: addresses and numbers in, nothing else. The torch layer is elsewhere.

Arguments named *_pointer are device addresses, `stream` is a stream's handle (0: the legacy
default stream); the caller keeps the memory alive and on the launcher's device. Calls return at
once and work in the order of the stream. They may be captured into CUDA graphs, even by a process
that has loaded nothing yet: scalars and iteration are read from device memory when a graph is
replayed, and work memory is the caller's.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from ctypes import c_int32, c_int64, c_uint32, c_uint64, c_void_p
from functools import partial

from qcuda.kernels import abi, source
from qcuda.kernels.gpu import image
from qcuda.kernels.gpu.driver import VARIABLE, Device, Driver
from qcuda.kernels.gpu.errors import DriverError, GPUError, ImageMissing
from qcuda.kernels.gpu.table import (
    CHUNK,
    GROUP,
    MAX_BLOCKS,
    THREADS,
    WARPS,
    Layout,
    Memory,
    Table,
    check,
    check_lattice,
    of_squares,
    of_steps,
    step_kernel,
)

_HELPERS = tuple(
    f"qt_{name}" for name in ("scalars", "words", "decode", "outcomes", "squares", "gains", "put")
)
_STEP, _SQUARES = 0, 1  # kinds of tables
_NOT_FOUND = 500  # what a driver returns for a kernel that a module has not got
TABLES = 32  # that a launcher keeps


class Payload(ctypes.Structure):
    """Bytes of a table that travel with a launch."""

    _fields_ = (("part", c_uint64 * 448),)


class Launcher:
    """The kernels of one device. Made by `launcher`, once for each."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._lock = threading.Lock()
        self._functions: dict[str, c_void_p] = {}
        self._whole: c_void_p | None = None  # the module of an image that holds every kernel
        self._modules: dict[str, c_void_p | ImageMissing] = {}  # of others, by unit
        self._tables: OrderedDict[tuple[int, int, int, int], Table] = OrderedDict()
        self.images: list[str] = []  # where kernels came from
        with device.current():
            self._module(source.HELPERS)

    def prepare(self, launches: Iterable[abi.Launch] = ()) -> None:
        """Load the helpers and the step kernels of launches, compiling them if need be.

        Whatever is left out is loaded by its first call. ImageMissing if a kernel is nowhere.
        """
        steps = [step_kernel(launch) for launch in launches]
        with self._lock, self.device.current():
            for name in (*_HELPERS, *steps):
                self._function(name)

    def _module(self, unit: str) -> c_void_p:
        """The module that has the kernels of a unit; found once, or missing once and for all."""
        found = self._modules.get(unit)
        if found is None:
            whole = self._whole
            found = whole if whole and self._has(whole, unit) else self._load(unit)
        if isinstance(found, ImageMissing):
            raise found.with_traceback(None)
        return found

    def _load(self, unit: str) -> c_void_p | ImageMissing:
        tried: list[str] = []
        for found in image.find(unit, self.device.capability, self.device.driver.version(), tried):
            try:
                module = self.device.load(found.data)
            except DriverError as error:
                tried.append(f"{found.origin}: {error}")
                continue
            if found.whole and not self._has(module, unit):
                tried.append(f"{found.origin}: has no kernels with moments in int8")
                continue
            self.images.append(found.origin)
            if found.whole:
                self._whole = module
            else:
                self._modules[unit] = module
            return module
        major, minor = self.device.capability
        missing = ImageMissing(
            f"no kernel image for {self.device.name} (compute capability {major}.{minor}) has "
            f"{unit}; looked for:\n  " + "\n  ".join(tried)
        )
        self._modules[unit] = missing
        return missing

    def _has(self, whole: c_void_p, unit: str) -> bool:
        """Whether the module of an image of many kernels has a unit's: it may lack rare ones."""
        if source.is_shipped(unit):
            return True
        try:
            self.device.function(whole, unit)
        except DriverError as error:
            if error.code != _NOT_FOUND:
                raise
            return False
        return True

    def step_all(
        self,
        launch: abi.Launch,
        tensors: ctypes.Array[abi.Tensor],
        scalars_pointer: int,
        iteration_pointer: int,
        counters_pointer: int,
        stream: int,
        allocate: Callable[[int], Memory],
    ) -> None:
        """Optimiser and move for every weight of every tensor, in place, in one launch.

        scalars: 7 float32. iteration: one int64. counters: one abi.Counters for each tensor,
        added to; 0 to count nothing. allocate: makes work memory of that many bytes, for `stream`:
        a few for each tensor, kept and used again unless a graph is being captured, whose pool
        owns it then.
        """
        name = step_kernel(launch)
        if not any(tensor.count for tensor in tensors):
            check(launch, tensors)
            return
        with self._lock, self.device.current():
            key, data = (_STEP, len(tensors), tensors[0].state or 0), bytes(tensors)
            table = self._table(key, data, partial(of_steps, launch, tensors), stream, allocate)
            self._launch(
                name,
                table.layout.totals[0],
                stream,
                launch,
                c_void_p(table.memory.address),
                c_int32(len(tensors)),
                c_void_p(scalars_pointer),
                c_void_p(iteration_pointer),
                c_void_p(counters_pointer),
            )

    def squares(
        self,
        tensors: ctypes.Array[abi.Rows],
        gradient_type: int,
        scalars_pointer: int,
        stream: int,
        allocate: Callable[[int], Memory],
    ) -> None:
        """The running mean squares, in place, and the gains of the rows of every tensor.

        gradient_type: of all of them. scalars: 7 float32 of "normalized". allocate: as for
        `step_all`; beside the table, 8 bytes for every 4096 weights and for every row's rest.
        """
        kind = abi.Real(gradient_type)
        if kind not in abi.GRADIENTS:
            raise ValueError(f"a gradient is float32 or bfloat16, got {kind.name.lower()}")
        if not any(tensor.count for tensor in tensors):
            of_squares(tensors, kind)
            return
        with self._lock, self.device.current():
            key, data = (_SQUARES, len(tensors), tensors[0].gradient or 0), bytes(tensors)
            table = self._table(key, data, partial(of_squares, tensors, kind), stream, allocate)
            parts, rows = table.layout.totals
            where = (c_void_p(table.memory.address), c_int32(len(tensors)))
            sums, numbers = c_void_p(table.work), c_void_p(scalars_pointer)
            blocks = (-(-parts // WARPS), -(-rows // WARPS))
            told = (*where, c_uint32(parts), c_int32(kind), sums)
            self._launch("qt_squares", blocks[0], stream, *told)
            told = (*where, c_uint32(rows), numbers, sums)
            self._launch("qt_gains", blocks[1], stream, *told)

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
        number = c_int32(abi.SCALARS.index(optimiser))
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
        self.elementwise("qt_words", count, GROUP, stream, *numbers, *rest)

    def decode(
        self,
        storage: int,
        levels_pointer: int,
        scale_pointer: int,
        size: int,
        state_pointer: int,
        count: int,
        out_pointer: int,
        real_type: int,
        stream: int,
    ) -> None:
        """Visible weights: the table of `size` float32 levels, looked up, times one float32."""
        check_lattice(size, storage)
        self.elementwise(
            "qt_decode",
            count,
            GROUP,
            stream,
            c_int32(storage),
            c_void_p(levels_pointer),
            c_void_p(scale_pointer),
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
        step_kernel(launch)
        addresses = (c_void_p(codes_pointer), c_void_p(increments_pointer))
        rest = (c_int64(count), c_void_p(thresholds_pointer), c_void_p(destinations_pointer))
        self.elementwise("qt_outcomes", count, 1, stream, launch, *addresses, *rest)

    def stair(
        self,
        kernel: str,
        stair: abi.Stair,
        number: int,
        bits: int,
        count: int,
        pointers: Iterable[int],
        stream: int,
    ) -> None:
        """`stair`: levels and counts of open windows, of `bits` each or none. Or `stair_slope`:
        gradients times slopes, made from the counts, or from the input if bits is 0.

        pointers: the half width, then input, levels and counts, or gradient, counts and result.
        """
        name = f"qt_{kernel}_{abi.NUMBERS[number]}"
        numbers = (stair, c_int32(bits), c_int64(count))
        self.elementwise(name, count, CHUNK // THREADS, stream, *numbers, *map(c_void_p, pointers))

    def elementwise(
        self, name: str, count: int, each: int, stream: int, *arguments: ctypes._CData
    ) -> None:
        """A kernel whose threads take `each` of `count` elements, arguments as it declares them."""
        if count < 0:
            raise ValueError(f"a count is at least 0, got {count}")
        if count == 0:
            return
        with self._lock, self.device.current():
            self._launch(name, -(-count // (each * THREADS)), stream, *arguments)

    def _launch(self, name: str, blocks: int, stream: int, *arguments: ctypes._CData) -> None:
        if blocks > MAX_BLOCKS:
            raise ValueError(f"a launch has at most 2**31 - 1 blocks, got {blocks}")
        pointers = (c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
        shape = (blocks, 1, 1, THREADS, 1, 1, 0)
        function = self._function(name)
        self.device.driver.call("cuLaunchKernel", function, *shape, stream, pointers, None)

    def _function(self, name: str) -> c_void_p:
        if name not in self._functions:
            module = self._module(source.unit(name))
            self._functions[name] = self.device.function(module, name)
        return self._functions[name]

    def _table(
        self,
        key: tuple[int, int, int],
        rows: bytes,
        make: Callable[[], Layout],
        stream: int,
        allocate: Callable[[int], Memory],
    ) -> Table:
        """A launch's table on the device, where a stream finds it when the launch runs.

        The tables of eager launches are kept, each rewritten in stream order when an address
        changes, and the one that was not used for longest goes. The table of a captured launch is
        written by the graph itself, at each replay.
        """
        place, capturing = (stream, *key), self.device.is_capturing(stream)
        kept = None if capturing else self._tables.pop(place, None)
        if kept is None or kept.rows != rows:
            layout = make()
            fits = kept is not None and kept.layout.bytes == layout.bytes
            memory = kept.memory if kept is not None and fits else allocate(layout.bytes)
            self._put(layout.data, memory.address, stream)
            kept = Table(rows, layout, memory)
        if not capturing:
            self._tables[place] = kept
            if len(self._tables) > TABLES:
                self._tables.popitem(last=False)
        return kept

    def _put(self, data: bytes, address: int, stream: int) -> None:
        size = ctypes.sizeof(Payload)
        for start in range(0, len(data), size):
            part = data[start : start + size]
            payload = Payload.from_buffer_copy(part.ljust(size, b"\0"))
            words = c_int32(len(part) // 8)
            self._launch("qt_put", 1, stream, payload, words, c_void_p(address + start))


_LAUNCHERS: dict[tuple[int, str | None], Launcher | GPUError] = {}
_MAKING = threading.Lock()


def launcher(device: int = 0, driver: str | None = None) -> Launcher:
    """The launcher of a device, as torch counts them; made at the first call.

    Raises DriverMissing, DeviceMissing or ImageMissing, which say what was looked for: at the first
    call, and the same at every other of the process. Forked in a child of the process that made it.
    driver: path of the driver library, instead of libcuda.so.1.
    """
    key = device, driver or os.environ.get(VARIABLE)
    found = _LAUNCHERS.get(key)
    if found is None:
        with _MAKING:
            found = _LAUNCHERS.get(key) or _make(*key)
            _LAUNCHERS[key] = found
    if isinstance(found, GPUError):
        raise found.with_traceback(None)
    return found


def _make(device: int, driver: str | None) -> Launcher | GPUError:
    try:
        return Launcher(Driver(driver).device(device))
    except GPUError as error:
        return error


def prepare(device: int = 0, launches: Iterable[abi.Launch] = ()) -> None:
    """Load the kernels of a device now, so that neither compiling nor loading delays a first step.

    launches: those whose step kernels are wanted besides; their other numbers do not matter. Raises
    what `launcher` raises, and ImageMissing if a kernel is nowhere.
    """
    launcher(device).prepare(launches)
