"""What an iteration does with a batch: loss, parts, clipping, bfloat16, new statistics."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qcuda.data.source import Examples, Place
from qcuda.errors import InputError
from qcuda.nn import LatticeLayer, lattice_layers, visible
from qcuda.nn.model_file import save
from qcuda.optimizer import LatticeOptimizer
from qcuda.train import gradients as ways
from qcuda.train.average import real_values
from qcuda.train.config import make
from qcuda.train.door import begin
from qcuda.train.gradients import distilled, evaluate, gradients, hinge_loss, objective
from qcuda.train.learning import Learning
from qcuda.train.loop import train_epoch
from qcuda.watch.replay import Replay


def batch(count: int, inputs: int = 6, classes: int = 4) -> Examples:
    """Small whole numbers: products and sums of them are exact."""
    draw = torch.Generator().manual_seed(count)
    images = torch.randint(-3, 4, (count, inputs), generator=draw).float()
    return Examples(images, torch.randint(0, classes, (count,), generator=draw))


def linear(inputs: int = 6, classes: int = 4) -> nn.Linear:
    layer = nn.Linear(inputs, classes)
    with torch.no_grad():
        for place, parameter in enumerate(layer.parameters()):
            draw = torch.Generator().manual_seed(place)
            parameter.copy_(torch.randint(-2, 3, parameter.shape, generator=draw) / 4)
    return layer


def found(how: Learning, examples: Examples) -> tuple[Tensor, list[Tensor]]:
    model = linear()
    loss = gradients(model, examples, how)
    return loss, [p.grad for p in model.parameters() if p.grad is not None]


def test_cross_entropy_with_smoothed_labels():
    logits, labels = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.25, -3.0]]), torch.tensor([0, 2])
    for share in (0.0, 0.3):
        want = 0.0
        for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
            total = math.log(sum(map(math.exp, row)))
            weights = [(1 - share) * (k == label) + share / 3 for k in range(3)]
            want -= sum(w * (y - total) for w, y in zip(weights, row, strict=True)) / 2
        how = Learning(loss="cross_entropy", smoothing=share)
        # float32 terms of size 4 at most, a dozen roundings of 2**-24 each
        assert objective(how)(logits, labels).item() == pytest.approx(want, abs=12 * 4 * 2**-24)


@pytest.mark.parametrize("loss", ["hinge", "cross_entropy"])
def test_every_position_of_a_sequence_is_an_example(loss: str):
    how = make({"learning": {"loss": loss}}).learning
    logits, labels = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    flat = objective(how)(logits.reshape(10, 7), labels.reshape(10))
    assert torch.equal(objective(how)(logits, labels), flat)
    right = (logits.argmax(-1) == labels).float().mean().item()
    accuracy, _ = evaluate(nn.Identity(), Examples(logits, labels), objective(how))
    assert accuracy == pytest.approx(right)


def test_parts_of_a_batch_have_the_gradient_of_the_whole():
    """Sixteen examples in equal parts: every operation is exact, so that bits are equal."""
    whole = found(Learning(), batch(16))
    for parts in (2, 4, 16):
        loss, slopes = found(Learning(parts=parts), batch(16))
        assert torch.equal(loss, whole[0])
        assert all(map(torch.equal, slopes, whole[1]))


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_weights_are_read_once_for_all_parts(compute: str, monkeypatch: pytest.MonkeyPatch):
    """With the gradients, bit for bit, of parts that read them; and anew after a step."""
    monkeypatch.setattr(ways, "has_bfloat16", lambda: True)
    tree = {"run": {"methods": ["dst"]}, "model": {"name": "mlp", "hidden": 5}}
    draw = torch.Generator().manual_seed(1)
    one = Examples(torch.rand(9, 1, 8, 8, generator=draw), torch.arange(9))
    how, reads, found = Learning(parts=4, compute=compute), [], []  # pyright: ignore
    decode = visible.decode
    monkeypatch.setattr(visible, "decode", lambda *a: reads.append(1) or decode(*a))
    for context in (ways.read_once, lambda model: nullcontext()):
        trainee = begin(make(tree), "dst", 0)
        monkeypatch.setattr(ways, "read_once", context)
        for _ in range(2):
            trainee.optimizer.zero_grad()
            gradients(trainee.model, one, how)
            trainee.optimizer.step()
        slots = [p.grad for p in trainee.model.parameters() if p.grad is not None]
        many = len(reads)
        for layer in lattice_layers(trainee.model).values():
            assert torch.equal(layer.weight, layer.levels[layer.index])
        found.append((many, trainee.model.state_dict(), slots))
        reads.clear()
    layers = 3
    assert [many for many, _, _ in found] == [2 * layers, 2 * layers * 4]
    assert all(map(torch.equal, found[0][2], found[1][2]))
    assert all(torch.equal(found[0][1][name], value) for name, value in found[1][1].items())


def test_unequal_parts_count_by_their_examples():
    """Ten examples in four parts, 3, 3, 2 and 2: each example has a tenth."""
    loss, slopes = found(Learning(parts=4), batch(10))
    whole, wanted = found(Learning(), batch(10))
    assert loss.item() == pytest.approx(whole.item(), rel=16 * 2**-24)
    for slope, want in zip(slopes, wanted, strict=True):
        # thirty products of numbers below 32, of which each sum rounds by 2**-24 of 30 * 32 / 10
        assert (slope - want).abs().max() <= 30 * 2**-24 * 96
    with pytest.raises(InputError, match="an example for each part, got 3"):
        found(Learning(parts=4), batch(3))


def test_shares_of_ranks_count_by_their_examples():
    """Two of ten examples here, of two ranks whose gradients are averaged: 2 * 2 / 10 of them."""
    whole, slopes = found(Learning(), batch(2))
    two = mock.patch.object(ways, "place", return_value=Place(0, 2))
    with two, mock.patch.object(ways, "total_of", return_value=10.0):
        loss, ours = found(Learning(), batch(2))
    assert loss.item() == pytest.approx(0.4 * whole.item(), rel=2**-22)
    for slope, want in zip(ours, slopes, strict=True):
        torch.testing.assert_close(slope, want * 0.4, rtol=2**-22, atol=0)


def test_a_replay_counts_what_went_elsewhere():
    """After the step, one weight is put on a level that its word does not lead to."""
    trainee = begin(make({"run": {"methods": ["dst"]}}), "dst", 0)
    images, labels = torch.rand(4, 1, 8, 8), torch.arange(4)
    gradients(trainee.model, Examples(images, labels), Learning())
    optimizer = trainee.optimizer
    assert isinstance(optimizer, LatticeOptimizer)
    layer = trainee.model.get_submodule("linear3")
    assert isinstance(layer, LatticeLayer)

    def step() -> None:
        optimizer.step()
        index = layer.index
        index[3, 5] = (index[3, 5] + 1) % 3
        layer.set_index(index)

    replay = Replay(2)
    replay.step(optimizer, step)
    weights = sum(slot.numel() for slot in optimizer.slots)
    assert replay.to_dict() == {"left": 1, "steps": 1, "weights": weights, "different": 1}
    replay.step(optimizer, optimizer.step)
    replay.step(optimizer, optimizer.step)
    assert replay.to_dict() == {"left": 0, "steps": 2, "weights": 2 * weights, "different": 1}
    assert str(replay) == f"1 of {2 * weights} weights in 2 steps went elsewhere"


def test_what_a_teacher_says_is_learned_by_its_probabilities():
    logits, taught = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]]), torch.randn(2, 3)
    want, hot = 0.0, 2.5
    for row, other in zip(logits.double().tolist(), taught.double().tolist(), strict=True):
        p, q = ([math.exp(y / hot) for y in values] for values in (other, row))
        p, q = ([value / sum(values) for value in values] for values in (p, q))
        want += hot**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2
    # sums of a dozen float32 numbers below 8, each rounded by 2**-24
    assert distilled(logits, taught, hot).item() == pytest.approx(want, abs=12 * 8 * 2**-24)
    assert distilled(taught, taught, hot).item() == 0


@pytest.mark.parametrize("trust", [0.0, 0.25, 1.0])
def test_a_teacher_has_its_share_of_the_loss(trust: float, tmp_path: Path):
    tree = {"model": {"name": "mlp", "hidden": 5}, "run": {"methods": ["dst"]}}
    taught = begin(make({**tree, "run": {"methods": ["full"]}}), "full", 3).model
    path = tmp_path / "full.safetensors"
    save(taught, path)
    learning = {"teacher": str(path), "trust": trust, "temperature": 2.0}
    trainee, twin = (begin(make({**tree, "learning": learning}), "dst", 0) for _ in range(2))
    one = Examples(torch.rand(8, 1, 8, 8), torch.arange(8))
    train_epoch(trainee, [one], one)
    logits = twin.model(one.images)
    with torch.no_grad():
        parts = hinge_loss(logits, one.labels), distilled(logits, taught.eval()(one.images), 2.0)
    want = (1 - trust) * parts[0].item() + trust * parts[1].item()
    assert trainee.records[-1]["loss"] == pytest.approx(want, rel=2**-20)
    before = taught.state_dict()
    assert trainee.teacher is not None
    assert all(torch.equal(before[k], v) for k, v in trainee.teacher.state_dict().items())
    wide = make({**tree, "model": {"name": "mlp", "hidden": 6}, "learning": learning})
    with pytest.raises(InputError, match=r"full\.safetensors"):
        begin(wide, "dst", 0)


def test_gradients_are_clipped_together():
    _, free = found(Learning(parts=2), batch(16))
    norm = torch.cat([slope.flatten() for slope in free]).norm().item()
    _, clipped = found(Learning(parts=2, clip=norm / 2), batch(16))
    for slope, whole in zip(clipped, free, strict=True):
        # torch divides by the norm plus 1e-6, of a norm above 1
        torch.testing.assert_close(slope, whole / 2, rtol=2e-6, atol=0)
    assert norm > 1
    _, loose = found(Learning(parts=2, clip=2 * norm), batch(16))
    assert all(map(torch.equal, loose, free))


def test_matrices_are_multiplied_in_bfloat16_where_that_is_fast(monkeypatch: pytest.MonkeyPatch):
    seen: list[torch.dtype] = []
    model = linear()
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    for able in (True, False):
        monkeypatch.setattr(ways, "has_bfloat16", lambda able=able: able)
        gradients(model, batch(4), Learning(compute="auto"))
    gradients(model, batch(4), Learning())
    assert seen == [torch.bfloat16, torch.float32, torch.float32]
    with pytest.raises(InputError, match=r"got learning\.compute bfloat16 on one without: auto"):
        gradients(model, batch(4), Learning(compute="bfloat16"))


@pytest.mark.parametrize(("restate", "batches"), [(0, 0), (4, 1), (5, 2), (8, 2)])
def test_statistics_are_taken_anew_from_the_first_examples_of_an_epoch(restate: int, batches: int):
    """Of batches of 4 examples."""
    config = make({
        "model": {"name": "mlp", "hidden": 5}, "learning": {"restate": restate},
        "run": {"methods": ["full"]},
    })  # fmt: skip
    trainee = begin(config, "full", 0)
    norm = trainee.model.get_submodule("norm1")
    seen: list[Tensor] = []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    draw = torch.Generator().manual_seed(1)
    epoch = [Examples(torch.rand(4, 1, 8, 8, generator=draw), torch.arange(4)) for _ in range(4)]
    train_epoch(trainee, epoch, epoch[0], anew=epoch)
    assert len(seen) == 4 + batches + 1
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.momentum == 0.1
    assert norm.running_mean is not None
    assert int(norm.num_batches_tracked or 0) == (batches or 4)
    if batches:
        means = torch.stack([one.mean(0) for one in seen[4:-1]]).mean(0)
        torch.testing.assert_close(norm.running_mean, means, rtol=0, atol=8 * 2**-24)
        first = epoch[0].images.flatten(1) @ trainee.model.get_parameter("linear1.weight").T
        torch.testing.assert_close(seen[4], first, rtol=0, atol=64 * 2**-24)
    assert trainee.records[-1]["validation_loss"] == evaluate(trainee.model, epoch[0])[1]


@pytest.mark.parametrize("restate", [0, 4])
@pytest.mark.parametrize("method", ["dst", "full"])
def test_a_model_is_judged_with_averages_and_trained_without(method: str, restate: int):
    """Four steps with a share of .7: the mean of three, then .7 of it and .3 of the fourth.

    What a run without averages does is done here too, with the same bits after it."""
    tree = {
        "model": {"name": "mlp", "hidden": 5}, "run": {"methods": [method]},
        "schedules": {"learning_rate": {"name": "constant"}},
    }  # fmt: skip
    learning = {"average": 0.7, "restate": restate}
    ours, twin = (begin(make({**tree, "learning": how}), method, 0) for how in (learning, {}))
    draw = torch.Generator().manual_seed(1)
    steps = [Examples(torch.rand(4, 1, 8, 8, generator=draw), torch.arange(4)) for _ in range(4)]
    seen: list[dict[str, Tensor]] = []
    for number, epoch in enumerate((steps[:2], steps[2:]), start=1):
        for one in epoch:
            twin.optimizer.zero_grad()
            gradients(twin.model.train(), one, Learning())
            twin.optimizer.step()
            seen.append({k: v.detach().clone() for k, v in real_values(twin.model).items()})
        train_epoch(ours, epoch, steps[0], anew=epoch)
        now = ours.model.state_dict()
        same = {k: torch.equal(now[k], v) for k, v in twin.model.state_dict().items()}
        assert all(equal for name, equal in same.items() if "num_batches" not in name)
        judged, model = copy.deepcopy(twin.model), ours.best["model"]
        assert ours.records[-1]["validation_loss"] != evaluate(twin.model, steps[0])[1]
        if number == ours.best["epoch"]:
            judged.load_state_dict(model)
            loss = evaluate(judged, steps[0])[1]
            assert ours.records[-1]["validation_loss"] == ours.best["loss"] == loss
    assert any("norm1.running_mean" in one for one in seen)
    assert ours.average is not None
    for name, value in ours.average.values.items():
        one, two, three, last = (s[name].double() for s in seen)
        want = 0.7 * (one + two + three) / 3 + 0.3 * last
        # seven roundings of float32, of numbers below the largest of those that are averaged
        room = 7 * 2**-24 * max(float(s[name].abs().max()) for s in seen)
        torch.testing.assert_close(value.double(), want, rtol=0, atol=room)


@pytest.mark.parametrize("loss", ["hinge", "cross_entropy"])
def test_the_loss_of_a_config_is_the_one_that_is_trained_and_judged(loss: str):
    config = make({"learning": {"loss": loss}, "model": {"name": "mlp", "hidden": 5}})
    trainee, twin = begin(config, "full", 0), begin(config, "full", 0)
    one = Examples(torch.rand(4, 1, 8, 8), torch.arange(4))
    train_epoch(trainee, [one], one)
    plain = hinge_loss if loss == "hinge" else F.cross_entropy
    record = trainee.records[-1]
    assert record["loss"] == plain(twin.model(one.images), one.labels).item()
    assert record["validation_loss"] == plain(trainee.model.eval()(one.images), one.labels).item()


BAD = {
    "loss": ("mse", "loss is one of hinge, cross_entropy, got 'mse'"),
    "smoothing": (0.1, "smoothing is for cross_entropy, got 0.1 for hinge"),
    "parts": (0, "parts is at least 1, got 0"),
    "clip": (-1.0, "clip is finite and at least 0, got -1.0"),
    "trust": (1.5, r"trust is in \[0, 1\], got 1.5"),
    "temperature": (0.0, "temperature is finite and positive, got 0.0"),
    "compute": ("float16", "compute is one of float32, bfloat16, auto, got 'float16'"),
    "average": (1.0, r"average is in \[0, 1\), got 1.0"),
    "restate": (-5, "restate is at least 0, got -5"),
}


@pytest.mark.parametrize(
    ("tree", "rule"),
    [
        ({"learning": {"parts": 2}}, "parts is 1 and clip is 0, got 2 and 0.0"),
        ({"learning": {"clip": 1.0}}, "parts is 1 and clip is 0, got 1 and 1.0"),
        ({"run": {"methods": ["dst", "ste"]}}, r"weights on a lattice, got \['ste'\]"),
        ({"run": {"methods": ["dst"], "replay": 3}}, "got run.replay"),
        ({"run": {"methods": ["dst"], "law_audit": True}}, "got run.law_audit"),
    ],
)
def test_what_asks_for_all_gradients_at_once_is_refused(tree: dict[str, Any], rule: str):
    learning = {"step_in_backward": True, **tree.get("learning", {})}
    with pytest.raises(InputError, match=rule):
        make({"run": {"methods": ["dst"]}, **tree, "learning": learning})


@pytest.mark.parametrize("name", BAD)
def test_bad_values(name: str):
    value, text = BAD[name]
    with pytest.raises(InputError, match=f"learning: {text}"):
        make({"learning": {name: value}})
