"""MNIST-1D: three parts from three seeds, nothing downloaded, and the caller's generators kept."""

from __future__ import annotations

import random
import socket
import sys

import numpy as np
import pytest
import torch

from qcuda.data.config import MNIST1D
from qcuda.data.source import Place, opened, task
from qcuda.errors import InputError, require
from qcuda.train.config import make

CONFIG = MNIST1D()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mnist1d", None)
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(InputError, match=r"qtheory\[study\]"):
        opened(MNIST1D(train_seed=5))


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"batch": 1}, "batch is in 2..4000, got 1"),
        ({"test_seed": 42}, r"three seeds, got \(42, 1042, 42\)"),
        ({"test_seed": 2**32}, "a seed of mnist1d is in 0..4294967295"),
    ],
)
def test_bad_input(values: dict, rule: str):
    with pytest.raises(InputError, match=rule):
        make({"data": {"name": "mnist1d", **values}})


def test_the_parts_are_made_without_a_network(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mnist1d", reason="the extra `study` is not installed")

    def refused(*arguments: object) -> None:
        require(False, f"nothing is downloaded, got {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    np.random.seed(3)
    random.seed(3)
    states = random.getstate(), np.random.get_state()[1].tolist()
    data = opened(CONFIG)
    assert states == (random.getstate(), np.random.get_state()[1].tolist())
    parts = (data.train, data.validation, data.test)
    assert [tuple(part.images.shape) for part in parts] == [(4000, 40), (5000, 40), (5000, 40)]
    assert torch.bincount(data.test.labels).tolist() == [500] * 10
    # As the package makes them of its default seed.
    assert data.train.labels[:8].tolist() == [2, 6, 4, 5, 6, 6, 6, 0]
    seen = list(data.epoch(0, 1))
    assert [len(batch.labels) for batch in seen] == [50] * 80
    rows = torch.cat([batch.images for batch in seen])
    assert {row.numpy().tobytes() for row in rows} == {
        row.numpy().tobytes() for row in data.train.images
    }
    share = next(iter(data.epoch(0, 1, Place(1, 2))))
    assert torch.equal(share.images, seen[0].images[25:])
    assert task(CONFIG).shape == (40,)
