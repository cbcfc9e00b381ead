"""Readers as methods of training: what they show, and what changes from epoch to epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from stopping import stopped_after

from qcuda.data.source import opened
from qcuda.errors import InputError
from qcuda.models.baselines import RealLayer
from qcuda.models.weights import weight_layers, zeros
from qcuda.train.config import make
from qcuda.train.door import begin
from qcuda.train.loop import Trainee, train_epoch
from qcuda.train.methods import METHODS
from qtheory.algorithms import contract, readers

SMALL: dict[str, Any] = {
    "data": {"examples": 60, "batch": 20}, "model": {"channels": 2, "hidden": 8},
}  # fmt: skip


def epochs_of(method: str, epochs: int, **tree: Any) -> Iterator[Trainee]:
    """The trainee after each of its epochs."""
    run = {"epochs": epochs, "methods": [method], **tree.pop("run", {})}
    config = make({**SMALL, **tree, "run": run})
    trainee, data = begin(config, method, 0), opened(config.data)
    for number in range(1, epochs + 1):
        train_epoch(trainee, data.epoch(0, number), data.validation)
        yield trainee


def layers(trainee: Trainee) -> dict[str, RealLayer]:
    return {n: m for n, m in weight_layers(trainee.model).items() if isinstance(m, RealLayer)}


@pytest.mark.parametrize("stem", readers())
def test_every_reader_is_a_method(stem: str):
    """In evaluation each weight is a level that the counts of the log know, times its gain."""
    (*_, trainee) = epochs_of(stem, 5)
    trainee.model.eval()
    assert contract(trainee.reads).spec is contract(stem).spec
    counts = trainee.records[-1]["levels"]
    for name, layer in layers(trainee).items():
        levels, shown = layer.reader.reading.stair.levels, layer.visible.detach()
        place = layer.visible_index
        assert counts[name] == torch.bincount(place.reshape(-1), minlength=len(levels)).tolist()
        unit = torch.tensor(levels)[place]
        assert torch.equal(shown.sign(), unit.sign())
        rows = [shown] if layer.reader.reading.group == "layer" else shown
        for row, own in zip(rows, [unit] if len(rows) == 1 else unit, strict=True):
            gains = (row[own != 0] / own[own != 0]).unique()
            assert len(gains) <= (2 if layer.reader.reading.gain == "sides" else 1)
    assert zeros(trainee.model) == pytest.approx(
        sum(int((layer.visible == 0).sum()) for layer in layers(trainee).values())
        / sum(layer.latent.numel() for layer in layers(trainee).values())
    )


def test_inq_freezes_share_after_share_and_keeps_none_before_the_last():
    """Nine epochs in three parts: free, half, all. Frozen weights stay where they are."""
    found, places = [], []
    for trainee in epochs_of(
        "inq", 9, run={"shares": [0.5, 1.0]}, algorithm={"inq": {"levels": 5}}
    ):
        masks = [layer.reader.frozen for layer in layers(trainee).values()]
        found.append([round(float(mask.float().mean()), 1) for mask in masks])
        places.append([layer.reader.place.clone() for layer in layers(trainee).values()])
        assert bool(trainee.best) == (trainee.epoch > 6)
    assert found == [[0.0] * 4] * 3 + [[0.5] * 4] * 3 + [[1.0] * 4] * 3
    for before, after in zip(places[5], places[8], strict=True):
        assert torch.equal(before[before >= 0], after[before >= 0])
    with pytest.raises(InputError, match=r"more epochs than shares.*: 4, got 4"):
        make({"run": {"methods": ["inq"], "epochs": 4}})


def test_a_schedule_turns_the_knob_of_a_reader():
    """It is the reading that changes, and no group of the optimiser has a knob that is not its."""
    seen = []
    for trainee in epochs_of("ana", 3, schedules={"scale": {"name": "linear", "final": 0.5}}):
        noises = {layer.reader.reading.noise for layer in layers(trainee).values()}
        seen += [noise.half_width for noise in noises]
        assert "scale" not in trainee.optimizer.param_groups[0]
    assert seen == [0.5, 0.375, 0.25]
    assert [record["scale"] for record in trainee.records[1:]] == seen


def test_words_of_a_random_reader_are_those_of_the_iteration():
    trainee = list(epochs_of("relaxed_quantization", 2))[-1]
    assert [record["iterations"] for record in trainee.records[1:]] == [3, 3]
    assert {int(layer.reader.iteration) for layer in layers(trainee).values()} == {5}
    keys = {(layer.reader.seed, layer.reader.tensor) for layer in layers(trainee).values()}
    assert keys == {(0, tensor) for tensor in range(4)}


@pytest.mark.parametrize("writes", [3, 6])
def test_a_stopped_run_of_readers_goes_on_with_the_same_bits(
    writes: int,
    tmp_path: Path,
    run_quickly: Callable[..., int],
    contents_of: Callable[[Path], dict[str, Any]],
):
    """Within an epoch, and after weights were frozen in a random order."""
    options = ["--methods", "inq", "--algorithm.inq.order", "random", "--shares", "0.5", "1"]
    options += ["--checkpoint_steps", "2", "--checkpoint_every", "1"]
    assert run_quickly(tmp_path / "whole", *options) == 0
    with stopped_after(writes):
        run_quickly(tmp_path / "run", *options)
    assert run_quickly(tmp_path / "run", *options) == 0
    assert contents_of(tmp_path / "run") == contents_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"learned_steps": {"levels": 5}}, r"levels is one of \[3, 2, 4, 8, 16\], got 5"),
        ({"ternary_weights": {"levels": 3}}, "has the keys gains, threshold, group, got 'levels'"),
        ({"xnor_net": {"gradient": "any"}}, "xnor_net"),
    ],
)
def test_what_a_reader_can_not_be_is_refused(given: dict[str, Any], says: str):
    with pytest.raises(InputError, match=says):
        make({"algorithm": given, "run": {"methods": list(given)}})


def test_numbers_of_levels_choose_the_lattice():
    for stem, size in (("learned_steps", 4), ("inq", 17), ("binary_connect", 3)):
        values = {"algorithm": {stem: {"levels": size}}, "run": {"methods": [stem]}}
        config = make(values)
        assert config.algorithm[stem].lattice.size == size
        assert config.to_dict()["algorithm"][stem]["levels"] == size
    assert {METHODS[stem].walks for stem in readers()} == {False}
