"""A run is what a plain loop does: the same weights, records, choices and results, bit for bit.

The loop is written here once more, from torch's own parts, and shares the door and the data alone.
"""

from __future__ import annotations

import json
import math
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from matplotlib.figure import Figure
from stopping import stopped_after
from torch import Tensor, nn

from qcuda.data.source import Examples, opened
from qcuda.models.baselines import RealLayer
from qcuda.nn import census
from qcuda.optimizer import LatticeOptimizer
from qcuda.train import folder as kept
from qcuda.train import job, progress
from qcuda.train.config import Config, make
from qcuda.train.door import begin, reopen
from qcuda.train.gradients import evaluate
from qcuda.train.loop import train_epoch
from qcuda.train.results import table

EPOCHS, FINAL = 4, 0.25
METHODS = ["dst", "full", "ste"]
RATES = {"dst": 0.2, "full": 0.02, "ste": 0.3}


def config(*methods: str, learning: dict[str, Any] | None = None, **run: Any) -> Config:
    """A run of moments: two batches an epoch, and weights that reach the ends of [-1, 1]."""
    return make(
        {
            "run": {"epochs": EPOCHS, "methods": list(methods), "seeds": 2, "seed": 5, **run},
            "data": {"examples": 50, "batch": 20},
            "model": {"name": "mlp", "hidden": 6},
            "learning": learning or {},
            "base": {"learning_rate": {method: RATES[method] for method in methods}},
            "schedules": {"learning_rate": {"name": "exponential", "final": FINAL}},
        }
    )


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    target = 2.0 * nn.functional.one_hot(labels, 10) - 1.0
    return (1 - target * logits).clamp_min(0).square().mean()


def judged(model: nn.Module, examples: Examples) -> tuple[float, float]:
    """Accuracy and loss in evaluation, of a copy of the model's values."""
    model.eval()
    with torch.no_grad():
        logits = model(examples.images)
    model.train()
    right = (logits.argmax(1) == examples.labels).sum().item()
    return right / len(examples.labels), loss_of(logits, examples.labels).item()


def values_of(model: nn.Module) -> dict[str, Any]:
    """A copy of all that a model keeps."""
    state = model.state_dict().items()
    return {name: v.clone() if isinstance(v, Tensor) else v for name, v in state}


def by_hand(method: str, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The records and the model's values after epochs 1, 2, ..., by a plain loop."""
    made = config(method)
    trainee, data = begin(made, method, seed), opened(made.data)
    model, optimizer, records, values = trainee.model, trainee.optimizer, [], []
    for epoch in range(1, EPOCHS + 1):
        rate = RATES[method] * FINAL ** ((epoch - 1) / (EPOCHS - 1))
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        losses = []
        for images, labels in data.epoch(seed, epoch):
            model.zero_grad(set_to_none=True)
            loss = loss_of(model(images), labels)
            loss.backward()
            optimizer.step()
            for layer in model.modules():
                if isinstance(layer, RealLayer):
                    layer.latent.data.clamp_(-1, 1)
            losses.append(loss.item())
        accuracy, validation_loss = judged(model, data.validation)
        records.append(
            {
                "epoch": epoch, "learning_rate": pytest.approx(rate),
                "loss": sum(losses) / len(losses), "validation_accuracy": accuracy,
                "validation_loss": validation_loss,
            }
        )  # fmt: skip
        values.append(values_of(model))
    return records, values


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two models keep the same values."""
    pairs = [(a[name], b[name]) for name in a]
    tensors = all(torch.equal(x, y) for x, y in pairs if isinstance(x, Tensor))
    return a.keys() == b.keys() and tensors


def best_of(records: list[dict[str, Any]]) -> int:
    """The epoch with the highest validation accuracy, then the lowest loss."""
    ranks = [(r["validation_accuracy"], -r["validation_loss"]) for r in records]
    return ranks.index(max(ranks)) + 1


@contextmanager
def plain_surroundings():
    """One thread, nothing drawn, nothing shown, and no search for copies in all memory."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    quiet = mock.patch.object(progress.Lines, "line")
    blank = mock.patch.object(Figure, "savefig", lambda self, path, **o: path.touch())
    with quiet, blank, mock.patch.object(census, "in_use", list):
        yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", METHODS)
def test_epochs_are_those_of_a_plain_loop(method: str):
    with plain_surroundings():
        records, values = by_hand(method, 5)
        made = config(method)
        trainee, data = begin(made, method, 5), opened(made.data)
        for epoch in range(1, EPOCHS + 1):
            train_epoch(trainee, data.epoch(5, epoch), data.validation, last=epoch == EPOCHS)
            record = trainee.records[epoch]
            assert {key: record[key] for key in records[0]} == records[epoch - 1]
            assert same(values_of(trainee.model), values[epoch - 1])
            best = best_of(records[:epoch])
            assert trainee.best["epoch"] == best
            assert same(trainee.best["model"], values[best - 1])
        if method == "ste":  # clipping has something to do
            latents = [v for name, v in values[-1].items() if name.endswith("latent")]
            assert max(float(latent.abs().max()) for latent in latents) == 1


def test_levels_and_moves_of_a_record_are_counted_on_every_layer():
    with plain_surroundings():
        made = config("dst")
        trainee, data = begin(made, "dst", 5), opened(made.data)
        layers = {n: m for n, m in trainee.model.named_modules() if hasattr(m, "slot")}
        before = {name: layer.index for name, layer in layers.items()}
        train_epoch(trainee, data.epoch(5, 1), data.validation)
        record = trainee.records[1]
        for place, (name, layer) in enumerate(layers.items()):
            after = layer.index
            assert record["levels"][name] == torch.bincount(after.reshape(-1), minlength=3).tolist()
            assert record["changed"][name] == int((after != before[name]).sum()) > 0
            assert record["moved"][place] >= record["changed"][name]
            assert record["probe"]["weights"][place] == layer.slot.numel()


def test_evaluation_changes_nothing_and_judges_with_running_statistics():
    with plain_surroundings():
        made = config("dst")
        trainee, data = begin(made, "dst", 5), opened(made.data)
        train_epoch(trainee, data.epoch(5, 1), data.validation)
        before = values_of(trainee.model)
        whole = evaluate(trainee.model, data.validation)
        assert same(values_of(trainee.model), before)
        assert not any(parameter.requires_grad and parameter.grad is not None
                       and not parameter.grad.isfinite().all()
                       for parameter in trainee.model.parameters())  # fmt: skip
        halves = [data.validation.take(part) for part in torch.arange(201).tensor_split(3)]
        each = [evaluate(trainee.model, half) for half in halves]
        # Of examples one by one: a batch's own statistics would show.
        assert sum(a for a, _ in each) / 3 == pytest.approx(whole[0])
        assert sum(b for _, b in each) / 3 == pytest.approx(whole[1], rel=1e-5)


def fake_best(*epochs: tuple[float, float]) -> tuple[int, float]:
    """The epoch that is kept, and the value of the model then."""
    from qcuda.train import loop

    model = nn.Linear(1, 1)
    trainee = loop.Trainee("full", 0, model, torch.optim.SGD(model.parameters()), {})
    for number, (accuracy, loss) in enumerate(epochs, start=1):
        model.weight.data.fill_(number)
        loop._keep_best(trainee, number, accuracy, loss)
    model.weight.data.fill_(-1)
    return trainee.best["epoch"], float(trainee.best["model"]["weight"])


def test_the_best_epoch_is_by_accuracy_then_by_loss_then_the_first():
    assert fake_best((0.5, 1.0), (0.7, 2.0), (0.6, 0.1)) == (2, 2.0)
    assert fake_best((0.7, 2.0), (0.7, 1.0), (0.7, 1.5)) == (2, 2.0)
    assert fake_best((0.7, 1.0), (0.7, 1.0)) == (1, 1.0)


def job_of(made: Config, folder: Path, stop_after: int = 0) -> dict[str, Any]:
    """A run, killed after so many checkpoints and begun again if that is not 0."""
    if stop_after:
        with stopped_after(stop_after):
            job.run(made, folder)
    return job.run(made, folder)


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / kept.LOG).read_text().splitlines()
    timed = ("seconds",)
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


def test_a_job_has_the_results_of_the_plain_loop_for_each_seed():
    made = config("dst", "ste")
    data = opened(made.data)
    with plain_surroundings(), tempfile.TemporaryDirectory() as name:
        results = job_of(made, Path(name) / "run")
        log = log_of(Path(name) / "run")
        assert [(r["method"], r["seed"], r["epoch"]) for r in log] == [
            (m, s, e) for m in ("dst", "ste") for s in (5, 6) for e in range(EPOCHS + 1)
        ]
        assert results["seeds"] == [5, 6]
        for method in ("dst", "ste"):
            found = results["methods"][method]
            for place, seed in enumerate((5, 6)):
                records, values = by_hand(method, seed)
                ours = [r for r in log if (r["method"], r["seed"]) == (method, seed)][1:]
                assert [{k: r[k] for k in records[0]} for r in ours] == records
                path = kept.checkpoint_path(Path(name) / "run", method, seed)
                trainee = reopen(path)
                assert same(values_of(trainee.model), values[-1])
                best = best_of(records)
                assert found["best_epoch"][place] == best
                assert (
                    found["validation_accuracy"][place] == records[best - 1]["validation_accuracy"]
                )
                trainee.model.load_state_dict(values[best - 1])
                assert found["test_accuracy"][place] == judged(trainee.model, data.test)[0]
                if method == "dst":
                    zeros = sum(
                        int((m.index == 1).sum()) for m in trainee.model if hasattr(m, "slot")
                    )
                    assert found["zeros"][place] == zeros / found["weights"]
                    levels = ours[-1]["levels"]
                    changed = sum(ours[-1]["changed"].values()) / sum(map(sum, levels.values()))
                    assert found["changed_last"][place] == changed
        assert f"{100 * results['methods']['dst']['test_mean']:.2f}" in table(results)
        assert "Bits a byte" not in table(results)
        said = {"data": {"name": "text"}, "learning": {"loss": "cross_entropy", "smoothing": 0.0}}
        results["methods"]["dst"]["test_loss"] = [2 * math.log(2), math.log(2)]
        assert "Bits a byte of dst: 1.500 (2.000 1.000)" in table({**results, "config": said})
        said["learning"]["smoothing"] = 0.1
        assert "Bits a byte" not in table({**results, "config": said})


@pytest.mark.parametrize(("stop_after", "steps"), [(1, 0), (2, 0), (3, 0), (1, 1), (4, 1)])
def test_a_job_that_was_killed_goes_on_with_its_bits(stop_after: int, steps: int):
    """Checkpoints after epochs 2 and 4 of two seeds, and if asked after the first of two steps of
    each epoch; the evidence of the audit, the replay by the reference and the average of what is
    real go on as well."""
    made = config(
        "dst", learning={"average": 0.8}, law_audit=True, checkpoint_every=2,
        checkpoint_steps=steps, replay=steps * 5,
    )  # fmt: skip
    with plain_surroundings(), tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        results = [job_of(made, whole), job_of(made, broken, stop_after)]
        assert log_of(whole) == log_of(broken)
        for seed in (5, 6):
            ours, theirs = (reopen(kept.checkpoint_path(f, "dst", seed)) for f in (whole, broken))
            assert same(values_of(ours.model), values_of(theirs.model))
            assert ours.epoch == theirs.epoch == EPOCHS
            assert ours.average is not None and theirs.average is not None
            assert ours.average.steps == theirs.average.steps == 2 * EPOCHS
            assert same(ours.average.values, theirs.average.values)
            assert ours.optimizer.moved.tolist() == theirs.optimizer.moved.tolist()
            assert steps == 0 or str(ours.replay) == "0 of 2400 weights in 5 steps went elsewhere"
        found = [{**r["methods"]["dst"], "seconds": None} for r in results]
        assert found[0] == found[1]


def test_weights_that_move_in_the_backward_pass_make_the_same_run():
    """Killed in mid-epoch, beside a run whose steps are after the backward pass; when a step ends
    no gradient is left."""
    runs, left, step = [], [], LatticeOptimizer.step

    def watched(self: LatticeOptimizer, closure: Any = None) -> Any:
        left.append(sum(p.grad is not None for g in self.param_groups for p in g["params"]))
        return step(self, closure)

    for early in (False, True):
        made = config("dst", learning={"step_in_backward": early}, checkpoint_steps=1, seeds=1)
        watching = mock.patch.object(LatticeOptimizer, "step", watched)
        with plain_surroundings(), tempfile.TemporaryDirectory() as name, watching:
            folder = Path(name) / "run"
            results = job_of(made, folder, stop_after=3 if early else 0)["methods"]["dst"]
            log = [{k: v for k, v in record.items() if k != "probe"} for record in log_of(folder)]
            trainee = reopen(kept.checkpoint_path(folder, "dst", 5))
            runs.append((log, values_of(trainee.model), results))
    many = left[: 2 * EPOCHS], left[2 * EPOCHS :]
    assert min(many[0]) > 4 and len(many[1]) >= 2 * EPOCHS and not any(many[1])
    assert runs[0][0] == runs[1][0]
    assert same(runs[0][1], runs[1][1])
    assert runs[0][2]["bits"]["gradient"] == 32 and runs[1][2]["bits"]["gradient"] == 0
    assert runs[0][2]["test_loss"] == runs[1][2]["test_loss"]


def test_checkpoints_are_written_when_it_is_time():
    """Of epochs 2 and 3 if every second of three epochs is kept, and what they hold is of then."""
    seen: list[tuple[int, int]] = []
    save = kept.save_checkpoint

    def watched(path: Path, values: dict[str, Any]) -> None:
        seen.append((values["seed"], len(values["records"]) - 1))
        save(path, values)

    made = config("full", epochs=3, checkpoint_every=2)
    writing = mock.patch.object(kept, "save_checkpoint", watched)
    with plain_surroundings(), tempfile.TemporaryDirectory() as name, writing:
        job.run(made, Path(name) / "run")
    assert seen == [(5, 2), (5, 3), (6, 2), (6, 3)]
