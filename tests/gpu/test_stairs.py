"""Words as an operator: the launcher's, on the emulated machine, are those of the CPU library."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from qcuda.kernels import words
from qtheory.streams import Stream


def test_words_of_the_launcher_are_those_of_the_cpu(launcher, monkeypatch):
    """Seed, iteration, tensor, stream and offset in their places; a seed of 64 bits as well."""
    monkeypatch.setattr(words, "launcher", lambda _: launcher)
    stream = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    for like in (torch.zeros(3, 701), torch.zeros(0, 4)):
        for numbers in ((4, 5, 2, 9), (2**32 - 1, -5, 0, 2**40 + 1)):
            iteration, *rest = numbers
            arguments = (like, torch.tensor(iteration), *rest, int(Stream.ACTIVATE))
            ours, theirs = words._words_cuda(*arguments), words._words_cpu(*arguments)
            assert ours.shape == like.shape and torch.equal(ours, theirs)
