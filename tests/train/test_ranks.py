"""Runs of two processes under torchrun, beside one process that sees the same batches."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qcuda
from qcuda.data.reading import Judged, Loading
from qcuda.data.source import Examples, Held
from qcuda.nn import synchronised
from qcuda.train import folder as kept
from qcuda.train import gradients, ranks

SMALL = [
    "--quick", "--methods", "dst", "walker8", "--channels", "4", "--hidden", "16",
    "--examples", "120", "--batch", "20",
]  # fmt: skip

# The first process dies, without a word, when it has written two checkpoints of walker8.
DYING = """
import os, sys
from qcuda.cli import main
from qcuda.train import job

save, done = job.kept.save_checkpoint, []

def dying(path, values):
    save(path, values)
    done.append(path)
    if len(done) == 6:
        os._exit(9)

job.kept.save_checkpoint = dying
sys.exit(main())
"""


def start(ranks: int, folder: Path, program: list[str]) -> subprocess.Popen[str]:
    module = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    options = ["train", *SMALL, "--run.folder", str(folder)]
    return subprocess.Popen(
        [sys.executable, *module, *program, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By name: of one process, of two; of two that died and went on as two, and as one."""
    root = tmp_path_factory.mktemp("ranks")
    script, found = root / "dying.py", {n: root / n for n in ("one", "two", "again", "fewer")}
    script.write_text(DYING)
    program = ["-m", "qtheory"]
    first = [
        start(1, found["one"], program),
        start(2, found["two"], program),
        start(2, found["again"], [str(script)]),
    ]
    said = [process.communicate(timeout=600)[0] for process in first]
    assert [process.returncode for process in first] == [0, 0, 1], "\n".join(said)
    for text in said[:2]:
        assert text.count("test accuracy, %") == 1  # the table, from one process
    shutil.copytree(found["again"], found["fewer"])
    for process in (start(2, found["again"], program), start(1, found["fewer"], program)):
        text, _ = process.communicate(timeout=600)
        assert process.returncode == 0, text
    return found


def levels(folder: Path) -> dict[str, Any]:
    """By checkpoint, whatever is a whole number: states, levels, counts of batches and moves."""
    found: dict[str, Any] = {}
    for file in sorted((folder / kept.CHECKPOINTS).iterdir()):
        values = kept.load_checkpoint(file)
        whole = {k: t.tolist() for k, t in values["model"].items() if not t.is_floating_point()}
        assert sum(key.endswith(".state") for key in whole) == 4
        found[file.name] = whole, [record.get("moved") for record in values["records"]]
    assert found.keys() == {"dst-0.ckpt", "walker8-0.ckpt"}
    return found


def test_two_processes_move_weights_to_the_levels_of_one(runs: dict[str, Path]):
    """Sums over a batch have another order, and round otherwise: about one word in 2**20 is near
    enough to its threshold to notice, of the thousand that matter here."""
    assert levels(runs["two"]) == levels(runs["one"])


def test_two_that_died_go_on_with_the_bits_of_two_that_did_not(
    runs: dict[str, Path], contents_of: Callable[[Path], dict[str, Any]]
):
    assert contents_of(runs["again"]) == contents_of(runs["two"])


def test_one_goes_on_where_two_died(runs: dict[str, Path]):
    assert levels(runs["fewer"]) == levels(runs["one"])


class Meeting:
    """Two threads as ranks: a sum waits for both."""

    def __init__(self) -> None:
        self.barrier, self.given = threading.Barrier(2, timeout=60), [torch.empty(0)] * 2
        self.rank = threading.local()

    def is_initialized(self) -> bool:
        return True

    def get_world_size(self) -> int:
        return 2

    def get_rank(self) -> int:
        return self.rank.number

    def all_reduce(self, tensor: Tensor) -> None:
        self.given[self.rank.number] = tensor.clone()
        self.barrier.wait()
        both = self.given[0] + self.given[1]
        self.barrier.wait()
        tensor.copy_(both)


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 5), (6, 3, 4, 5), (6, 3, 2, 2, 2)])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_norms_of_two_ranks_are_those_of_the_whole_batch(
    shape: tuple[int, ...], momentum: float | None, monkeypatch: pytest.MonkeyPatch
):
    """In float64, against torch on the whole batch; ranks have two and four examples."""
    meeting = Meeting()
    monkeypatch.setattr(synchronised, "dist", meeting)
    draw = torch.Generator().manual_seed(0)
    x, upstream = (torch.randn(shape, generator=draw, dtype=torch.float64) * 3 + 1 for _ in "xg")
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[x.dim()]

    def norm() -> nn.Module:
        made = kind(3, momentum=momentum).double()
        with torch.no_grad():
            made.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
            made.bias.copy_(torch.tensor([0.0, 1.0, -3.0]))
        return made

    def both_ways(one: nn.Module, images: Tensor, back: Tensor) -> list[Tensor]:
        """What comes out the second time, and gradients of the input and the parameters."""
        one(images)
        given = images.clone().requires_grad_()
        out = one(given)
        return [out.detach(), *torch.autograd.grad(out, [given, *one.parameters()], back)]

    whole = norm()
    wanted = both_ways(whole, x, upstream)
    parts = [slice(0, 2), slice(2, 6)]
    norms = [synchronised.synchronise_norms_(norm()) for _ in parts]
    found: dict[int, list[Tensor]] = {}

    def rank(number: int) -> None:
        meeting.rank.number = number
        part = parts[number]
        found[number] = both_ways(norms[number], x[part], upstream[part])

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(2)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    close = {"rtol": 0, "atol": 1e-12}  # a thousand roundings of numbers below 100
    for place, want in enumerate(wanted):  # outputs and slopes side by side, parameters' add up
        pair = [found[number][place] for number in range(2)]
        got = torch.cat(pair) if place < 2 else pair[0] + pair[1]
        torch.testing.assert_close(got, want, **close)
    for one in norms:
        for name, buffer in whole.named_buffers():
            torch.testing.assert_close(one.get_buffer(name), buffer, **close)
        one.eval()
        torch.testing.assert_close(one(x), whole.eval()(x), **close)


@pytest.mark.parametrize(("count", "seen"), [(11, [6, 5]), (8, [6, 2]), (3, [3, 0])])
@pytest.mark.parametrize("files", [False, True])
def test_ranks_share_what_they_judge(
    count: int, seen: list[int], files: bool, monkeypatch: pytest.MonkeyPatch
):
    """Parts of three or, of a training batch, two; each rank finds what one process would, from
    logits and labels of several positions, as a text has them."""
    draw = torch.Generator().manual_seed(2)
    images = torch.randint(0, 9, (count, 5), generator=draw)
    labels = torch.randint(0, 4, (count, 5), generator=draw)
    examples: Held = Examples(images, labels)
    if files:
        read = SimpleNamespace(labels=labels, read=lambda number, _: images[number].numpy())
        loading = Loading(batch=2, workers=0)
        examples = Judged(read, torch.arange(count), loading)  # pyright: ignore[reportArgumentType]
        seen = {11: [6, 5], 8: [4, 4], 3: [2, 1]}[count]
    model = nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 4))
    monkeypatch.setattr(gradients, "AT_ONCE", 15)
    alone = gradients.evaluate(model, examples)
    meeting = Meeting()
    monkeypatch.setattr(ranks, "dist", meeting)
    found: dict[int, tuple[float, float]] = {}
    judged = [0, 0]

    def count_them(module: nn.Module, inputs: tuple[Tensor]) -> None:
        judged[meeting.rank.number] += len(inputs[0])

    model.register_forward_pre_hook(count_them)

    def rank(number: int) -> None:
        meeting.rank.number = number
        found[number] = gradients.evaluate(model, examples)

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(2)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert found == {0: alone, 1: alone}
    assert judged == seen


def test_a_synchronised_norm_alone_is_torchs():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    twin = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    twin.load_state_dict(model.state_dict())
    own = dict(model.named_parameters())
    assert qcuda.synchronise_norms_(model) is model
    assert all(own[name] is parameter for name, parameter in model.named_parameters())
    x = torch.randn(5, 4)
    assert torch.equal(model(x), twin(x))
    assert type(qcuda.synchronise_norms_(nn.Linear(4, 3))) is nn.Linear
