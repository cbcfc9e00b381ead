"""What `qtheory bench step` times, and how."""

from __future__ import annotations

import json
from itertools import count

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from qcuda.bench import step
from qcuda.cli import main


def test_the_layers_are_those_of_resnet50(monkeypatch):
    """At full width it has the 25 557 032 parameters that are told everywhere."""
    monkeypatch.setattr(step, "NARROW", 1)
    with torch.device("meta"):
        parameters = list(step.resnet50().parameters())
    assert len(parameters) == 161
    assert sum(p.numel() for p in parameters) == 25_557_032
    assert sum(p.dim() > 1 for p in parameters) == 54


def test_every_contestant_steps_on_every_tensor():
    trained = []
    hook = register_optimizer_step_post_hook(
        lambda optimizer, *_: trained.append(
            [p.shape for group in optimizer.param_groups for p in group["params"]
             if p.grad is not None]
        )
    )  # fmt: skip
    for action in step.steps().values():
        action()
    hook.remove()
    assert [len(shapes) for shapes in trained] == [161] * 9
    assert {sum(shape.numel() for shape in shapes) for shapes in trained} == {7098}


def test_rounds_are_interleaved_and_the_first_do_not_count(monkeypatch):
    """A clock that ticks at every call of an action: `slow` ticks by its round's number."""
    seen, clock, rounds = [], [0.0], count(1)

    def fast():
        seen.append("fast")
        clock[0] += 1e-6

    def slow():
        seen.append("slow")
        clock[0] += 1e-6 * next(rounds)

    monkeypatch.setattr(step.time, "perf_counter", lambda: clock[0])
    found = step.measure({"fast": (fast, 2), "slow": (slow, 1)}, 5, "test")
    assert seen == ["fast", "fast", "slow"] * 8
    assert found["fast"] == pytest.approx({"median": 1.0, "lowest": 1.0})
    assert found["slow"] == pytest.approx({"median": 6.0, "lowest": 4.0})  # of 4, 5, 6, 7, 8


def test_a_reading_gives_the_slot_its_gradient():
    for name, layer in step.layers().items():
        gradient = torch.full_like(layer.weight.detach(), 2.0)
        step.read_and_back(layer, gradient)
        assert torch.equal(layer.slot.grad, torch.full(layer.slot.shape, 2.0))
        last = "channels_last" in name
        assert name == "8x8" or layer.weight.is_contiguous() != last


def test_the_tables_are_printed_and_written(tmp_path, capsys):
    threads = torch.get_num_threads()
    assert main(["bench", "step", "--repeats", "1", "--json", str(tmp_path / "a.json")]) == 0
    written = json.loads((tmp_path / "a.json").read_text())
    assert (written["tensors"], written["numbers"], written["threads"]) == (161, 7098, 1)
    assert len(written["step_us"]) == 9 and len(written["weight_us"]) == 6
    printed = capsys.readouterr().out
    for name, value in {**written["step_us"], **written["weight_us"]}.items():
        assert f"  {name:<46}{value['median']:>10.1f}{value['lowest']:>10.1f}" in printed
    assert torch.get_num_threads() == threads
