"""Two processes under DistributedDataParallel, and one on the whole batch.

Inputs are multiples of 1/4 and weights ternary, losses are means over powers of two: every sum
of the gradients is exact in float32, so averaging over ranks rounds nothing, and all three runs
have equal indices without a tolerance. (With rounding, they would agree up to the flips that
test_against_reference.py bounds.)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import qcuda
from qtheory import DST, Lattice
from qtheory.optimisers import Adam

ITERATIONS, EXAMPLES = 6, 16


def network(seed: int) -> nn.Sequential:
    model = nn.Sequential(
        qcuda.nn.Linear(8, 8, Lattice.ternary()),
        qcuda.nn.MultiStep(2),
        qcuda.nn.Linear(8, 4, Lattice.ternary()),
    )
    qcuda.nn.draw_levels(model, seed)
    return model


def user_network(seed: int) -> nn.Sequential:
    """As a user's script makes it: every rank from a seed of its own, with real parameters."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 4))
    return qcuda.quantize_(model)


def batch(t: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(t)
    return torch.randint(-8, 9, (EXAMPLES, 8), generator=g) / 4


def train(model: nn.Module, inner: nn.Sequential, part: slice) -> list:
    optimizer = qcuda.LatticeOptimizer(
        inner.parameters(), DST(Lattice.ternary()), base=Adam(0.2), seed=8
    )
    record = []
    for t in range(1, ITERATIONS + 1):
        optimizer.zero_grad()
        model(batch(t)[part]).square().mean().backward()
        optimizer.step()
        layers = qcuda.nn.lattice_layers(inner).values()
        record.append([layer.index.reshape(-1).tolist() for layer in layers])
    return [record, optimizer.moved.tolist()]


def worker(rank: int, folder: Path) -> None:
    """One of two ranks; rank 1 starts from other levels, and is given those of rank 0."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    inner = network(seed=rank)
    model = qcuda.data_parallel(inner)
    half = EXAMPLES // 2
    part = slice(rank * half, (rank + 1) * half)
    result = train(model, inner, part)
    (folder / f"{rank}.json").write_text(json.dumps(result))
    converted = user_network(seed=rank)
    train(qcuda.data_parallel(converted), converted, part)
    values = {k: v for k, v in converted.state_dict().items() if isinstance(v, torch.Tensor)}
    torch.save(values, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no torch.distributed"
)
def test_two_ranks_are_one_process(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(tmp_path)]
    ranks = [
        subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    inner = network(seed=0)
    alone = train(inner, inner, slice(None))
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors[0] + errors[1]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first == alone
    assert min(alone[1]) > 0
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert one["0.bias"].abs().min() > 0
    statistics = {"2.running_mean", "2.running_var"}  # of a rank's own part of the batch
    assert {name for name in one if not one[name].equal(other[name])} <= statistics


def fsdp1(model: nn.Module) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    FullyShardedDataParallel(model, device_id=torch.device("cpu"))


def fsdp2(model: nn.Module) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))


def zero(model: nn.Module, **options) -> None:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    spec = DST(Lattice.ternary())
    ZeroRedundancyOptimizer(model.parameters(), qcuda.LatticeOptimizer, spec=spec, **options)


@pytest.fixture
def alone(tmp_path):
    """A group of one process."""
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    meeting = f"file://{tmp_path}/meeting"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


SHARDERS = {
    "FSDP1": fsdp1,
    "FSDP2": fsdp2,
    "ZeroRedundancyOptimizer": zero,
    "ZeroRedundancyOptimizer with options": lambda m: zero(m, base="adam", nonfinite="skip"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", SHARDERS)
def test_sharding_is_refused_at_once_and_names_the_way(name, alone):
    model = network(seed=0)
    before = [layer.state.tolist() for layer in qcuda.nn.lattice_layers(model).values()]
    with pytest.raises(
        ValueError, match=r"by qcuda\.data_parallel, as a model without values to shard \(FSDP, "
    ):
        SHARDERS[name](model)
    assert [layer.state.tolist() for layer in qcuda.nn.lattice_layers(model).values()] == before
    assert list(model.state_dict()) == list(network(seed=0).state_dict())


if __name__ == "__main__":
    worker(int(sys.argv[2]), Path(sys.argv[1]))
