"""The stages for a card, run on the CPU: each line of them works before a card is there.

Some are broken on purpose, to see that their stage fails.
"""

from __future__ import annotations

import os

import pytest
import torch

from qcuda.kernels.gpu import nvrtc
from qcuda.nn import NoisyStair
from qcuda.validate.device import graphs, layers, nets, stages
from qcuda.validate.device.card import Card

SLOW = {"data_parallel", "throughput"}  # two processes that import torch; four networks
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in stages.STAGES
]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_runs(name, fake_driver, monkeypatch):
    if name == "caches":
        monkeypatch.setenv("QTHEORY_CUDA_DRIVER", str(fake_driver))
        if not any(os.path.exists(path) for path in nvrtc.candidates()):
            pytest.skip("no NVRTC for the processes that compile")
    row = stages.run_here(name, Card("cpu"))
    assert row["result"] == "holds", row["reason"]
    assert name in stages.line(row)


def test_a_stage_in_a_process_of_its_own():
    row = stages.run_apart("visible_weights", "cpu")
    assert row["result"] == "holds" and row["facts"] == {"weights": 36}
    failed = stages.run_apart("visible_weights", "nothing")
    assert failed["result"] == "FAILED" and "nothing" in failed["reason"]


def expect_failure(stage, sentence):
    with pytest.raises(nets.Difference, match=sentence):
        stage(Card("cpu"))


def test_an_update_of_another_seed_is_found(monkeypatch):
    seeds = iter(range(100))
    made = layers.optimizer_of

    def other_seed(*arguments):
        optimizer = made(*arguments)
        optimizer.param_groups[0]["seed"] = next(seeds)
        return optimizer

    monkeypatch.setattr(layers, "optimizer_of", other_seed)
    expect_failure(layers.updates, r"equal (states|moments) after")


def test_a_step_that_forgets_the_infinity_is_found(monkeypatch):
    """As if GradScaler's word did not reach the optimiser."""
    monkeypatch.setattr(
        torch.amp.GradScaler, "_maybe_opt_step", lambda self, optimizer, *_, **__: optimizer.step()
    )
    expect_failure(layers.gradient_scaler, "the second step changes nothing")


def test_noise_that_a_graph_repeats_is_found(monkeypatch):
    kept = {}

    def stale(self, inputs):
        return kept.setdefault("first", real(self, inputs))

    real = NoisyStair.words
    monkeypatch.setattr(NoisyStair, "words", stale)
    expect_failure(graphs.new_noise, "other noise at another iteration")


def test_a_graph_without_the_step_is_found(monkeypatch):
    monkeypatch.setattr(Card, "capture", lambda self, work: lambda: None)
    expect_failure(graphs.captured_step, "equal states after three replays")
    expect_failure(graphs.cold_capture, "the visible weight of a first call that was captured")


def test_a_second_thread_that_takes_other_gradients_is_found(monkeypatch):
    made, real = [], graphs.optimizer_of

    def late(*arguments):
        made.append(real(*arguments))
        if len(made) == 2:
            made[-1].param_groups[0]["lr"] = 0.5
        return made[-1]

    monkeypatch.setattr(graphs, "optimizer_of", late)
    expect_failure(graphs.threads, "equal states of two threads")
