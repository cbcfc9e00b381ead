"""Words as an operator: the launcher's, on the emulated machine, are those of the CPU library."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from qcuda.kernels import words
from qtheory.streams import Stream


@pytest.fixture
def stream(launcher, monkeypatch) -> SimpleNamespace:
    """torch's current stream, for operators that find the emulated device."""
    current = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(words, "launcher", lambda _: launcher)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: current)
    return current


def test_words_of_the_launcher_are_those_of_the_cpu(stream):
    """Seed, iteration, tensor, stream and offset in their places; a seed of 64 bits as well."""
    for like in (torch.zeros(3, 701), torch.zeros(0, 4)):
        for numbers in ((4, 5, 2, 9), (2**32 - 1, -5, 0, 2**40 + 1)):
            iteration, *rest = numbers
            arguments = (like, torch.tensor(iteration), *rest, int(Stream.ACTIVATE))
            ours, theirs = words._words_cuda(*arguments), words._words_cpu(*arguments)
            assert ours.shape == like.shape and torch.equal(ours, theirs)


def test_a_replayed_graph_draws_the_words_of_the_iteration_that_has_come(stream, launcher, machine):
    """The launcher is told where the iteration is, never which it is."""
    iteration, out = torch.tensor(1), torch.zeros(1000, dtype=torch.int32)
    numbers = (7, iteration.data_ptr(), 2, int(Stream.ACTIVATE), 0, out.numel(), out.data_ptr())
    replay = machine.capture(lambda handle: launcher.words(*numbers, handle))
    drawn = []
    for now in (1, 2, 2**32 - 1, 1):
        iteration.fill_(now)
        replay()
        drawn.append(out.to(torch.int64) & 0xFFFFFFFF)
        arguments = (out, torch.tensor(now), 7, 2, 0, int(Stream.ACTIVATE))
        assert torch.equal(drawn[-1], words._words_cpu(*arguments))
    assert torch.equal(drawn[0], drawn[3]) and not torch.equal(drawn[0], drawn[1])


class Reads(TorchDispatchMode):
    """Counts numbers that are read from tensors on the host, each of which waits for the device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_no_number_is_read_on_the_host(stream):
    with Reads() as reads:
        words._words_cuda(torch.zeros(8), torch.tensor(1), 3, 0, 0, int(Stream.ACTIVATE))
    assert reads.count == 0
    with Reads() as reads:
        int(torch.tensor(1))
    assert reads.count == 1
