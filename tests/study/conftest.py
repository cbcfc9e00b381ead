"""A small data set for studies, so that their tests need no other package than the job does."""

from __future__ import annotations

import pytest
import torch

from qcuda.data.config import MNIST1D
from qcuda.data.mnist1d import Opened
from qcuda.data.source import Examples
from qcuda.study import training


def examples(count: int, seed: int) -> Examples:
    """Signals that differ by class in where they are large."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 10
    signals = 0.5 * torch.randn(count, 40, generator=generator)
    signals[torch.arange(count), 4 * labels] += 3
    return Examples(signals, labels)


@pytest.fixture(scope="session")
def small() -> Opened:
    return Opened(MNIST1D(batch=20), examples(200, 0), examples(100, 1), examples(100, 2))


@pytest.fixture
def on_small(small: Opened, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Every study of the test is on the small data set."""
    monkeypatch.setattr(training, "opened", lambda: small)
    return small
