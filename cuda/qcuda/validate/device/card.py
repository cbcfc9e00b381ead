"""The device that stages run on. On the CPU they do the same without graphs, streams and events, so
that each line of them has run before a GPU is there."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator

import torch

WARM = 0.3  # seconds of work after which clocks are up
EACH = 10  # launches between two events
ISSUED = 4 * 32  # by four schedulers in a cycle, each an instruction of 32 threads


class Card:
    """A device by torch's name of it."""

    def __init__(self, name: str) -> None:
        self.device = torch.device(name)
        self.real = self.device.type == "cuda"

    def synchronize(self) -> None:
        """Wait for all work."""
        if self.real:
            torch.cuda.synchronize(self.device)

    def handle(self) -> int:
        """The driver's handle of the stream that work goes to now."""
        return torch.cuda.current_stream(self.device).cuda_stream if self.real else 0

    def issue_rate(self) -> float | None:
        """Instructions of threads that the device issues in a second at its top clock, if known."""
        if not self.real:
            return None
        properties = torch.cuda.get_device_properties(self.device)
        clock = getattr(properties, "clock_rate", None)  # kHz, in new versions of torch only
        return clock and 1e3 * clock * properties.multi_processor_count * ISSUED

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Work on a fresh stream, which begins after what was asked before."""
        if not self.real:
            yield
            return
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            yield
        torch.cuda.current_stream(self.device).wait_stream(stream)

    @contextlib.contextmanager
    def without_waiting(self) -> Iterator[None]:
        """Raise where the host waits for the device."""
        if not self.real:
            yield
            return
        self.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """Work as a graph, not done yet; the result does it and waits."""
        if not self.real:
            return work
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()

        def replay() -> None:
            graph.replay()
            self.synchronize()

        return replay

    def seconds(self, work: Callable[[], object], repeats: int = 20) -> dict[str, float]:
        """Median and minimum of a piece of work on the device, with clocks up.

        EACH of them are captured where they can be, and replayed between two events, so that no
        time of the host is in it.
        """
        many = self._repeated(work)
        end = time.perf_counter() + WARM * self.real
        many()
        while time.perf_counter() < end:
            many()
        times = [self._between_events(many) / EACH for _ in range(repeats)]
        return {"seconds": statistics.median(times), "seconds_min": min(times)}

    def _repeated(self, work: Callable[[], object]) -> Callable[[], object]:
        def many() -> None:
            for _ in range(EACH):
                work()

        if not self.real:
            return many
        work()  # whatever is loaded or allocated at first
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            many()
        return graph.replay

    def _between_events(self, work: Callable[[], object]) -> float:
        if not self.real:
            began = time.perf_counter()
            work()
            return time.perf_counter() - began
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3

    def host_seconds(self, work: Callable[[], object], repeats: int = 50) -> float:
        """Median time of the host for a piece of work whose device is idle at first."""
        times = []
        for _ in range(repeats):
            self.synchronize()
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        self.synchronize()
        return statistics.median(times)
