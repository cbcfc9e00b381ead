"""The benchmark of training: what it runs, and what it makes of times."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from qcuda.bench import memory, train
from qcuda.cli import main
from qcuda.errors import InputError


def test_rates_are_a_batch_over_the_time_of_its_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    asked: list[tuple[Any, ...]] = []

    def measured(*what: Any, **how: Any) -> memory.Peak:
        asked.append((*what, how))
        return memory.Peak(3 * 2**20, 2**20, 0.25, 0.5 if how["compiled"] else 2.0)

    monkeypatch.setattr(train, "in_process", measured)
    monkeypatch.setattr(train, "linux", lambda: None)
    file = tmp_path / "train.json"
    words = ["--model", "vgg7", "--batch", "8", "--rows", "float,least", "--steps", "3"]
    assert main(["bench", "train", *words, "--json", str(file)]) == 0
    assert asked == [
        ("vgg7", row, 8, "cpu", {"compiled": compiled, "steps": 3})
        for row in ("float", "least")
        for compiled in (False, True)
    ]
    found = json.loads(file.read_text())["rows"]
    assert [(r["row"], r["form"], r["images_per_second"]) for r in found] == [
        ("float", "eager", 4.0), ("float", "compiled", 16.0),
        ("least", "eager", 4.0), ("least", "compiled", 16.0),
    ]  # fmt: skip
    assert {r["images_per_processor_second"] for r in found} == {32.0}
    assert capsys.readouterr().out.splitlines()[-1].split() == (
        ["least", "compiled", "16.0", "32.0", "3.0"]
    )


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what is resident")
def test_every_step_is_the_compiled_networks(monkeypatch: pytest.MonkeyPatch):
    """A first step and two that are timed, of a small network and of the one that is measured."""
    runs: list[int] = []

    def compiled(model: torch.nn.Module) -> Any:
        return lambda x: runs.append(len(x)) or model(x)

    monkeypatch.setattr(torch, "compile", compiled)
    threads = torch.get_num_threads()
    peak = memory.measure("resnet20", "least", 3, compiled=True, steps=2)
    torch.set_num_threads(threads)
    assert runs == [2, 2, 2, 3, 3, 3]
    assert peak.seconds > 0 and peak.wall > 0 and peak.peak > 0


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ({"rows": "float,bytes"}, "rows are some of float, amp, ternary, least, hidden8, got byt"),
        ({"forms": "fast"}, "forms are some of eager, compiled, got fast"),
        ({"model": "resnet9"}, "a model is one of .*, got resnet9"),
        ({"device": "tpu"}, "a device is one of cpu, cuda, got tpu"),
        ({"device": "cuda"}, "a device is there, got cuda"),
    ],
)
def test_bad_values(words: dict[str, Any], rule: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=rule):
        train.train(**words)
