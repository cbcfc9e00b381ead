"""Stages: several processes, and several devices."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

import qcuda
from qcuda.kernels.gpu import cache
from qcuda.validate.device import layers
from qcuda.validate.device.card import Card
from qcuda.validate.device.nets import (
    NotRun,
    expect,
    loss_of,
    optimizer_of,
    small_net,
    states,
)

# A process that compiles helpers and one step kernel, by NVRTC even where there is a fatbin.
CHILD = """
from qcuda.kernels import abi, gpu, source
from qcuda.kernels.gpu import image
image.fatbin_places = list
spec, rule = abi.spec(1.0, 1.0, 3, [3.0]), source.stems()[0]
gpu.prepare(0, [abi.launch(spec, seed=0, rule=rule, optimiser="momentum")])
"""
RANKS, STEPS = 2, 20


def caches(card: Card, children: int = 8) -> dict[str, Any]:
    """Processes that start together compile once; caches that are read-only or damaged."""
    if not card.real and "QTHEORY_CUDA_DRIVER" not in os.environ:
        raise NotRun("there is no driver, and $QTHEORY_CUDA_DRIVER names none")
    with tempfile.TemporaryDirectory() as folder:
        made = _compiled(folder, children)
        expect(made == 2, f"helpers and one kernel are compiled once, got {made} times")
        expect(_compiled(folder, 1) == 0, "a full cache is used")
        for path in Path(folder).glob("*-qt_step_*[0-9]"):
            path.write_bytes(path.read_bytes()[:1000])
        made = _compiled(folder, 1)
        expect(made == 1, f"the damaged image is compiled anew, got {made}")
        os.chmod(folder, 0o555)
        expect(_compiled(folder, 1) == 0, "a cache that can only be read is used")
        os.chmod(folder, 0o755)
    nowhere = _compiled("/proc/qtheory", 1)
    expect(nowhere == 2, f"without a cache each process compiles, got {nowhere}")
    return {"processes": children}


def _compiled(folder: str, processes: int) -> int:
    """How many images as many processes compile together."""
    environment = {**os.environ, cache.VARIABLE: folder, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD], env=environment, text=True, stderr=subprocess.PIPE
        )
        for _ in range(processes)
    ]
    said = [process.communicate()[1] for process in running]
    failed = [words for process, words in zip(running, said, strict=True) if process.returncode]
    expect(not failed, f"every process ends well, got {failed[:1]}")
    return sum(words.count("qtheory: compiled ") for words in said)


def second_device(card: Card) -> dict[str, Any]:
    """Everything on device 1 while device 0 is the current one."""
    if not card.real:
        return layers.save_and_load(card)
    if torch.cuda.device_count() < 2:
        raise NotRun("there is one GPU")
    with torch.cuda.device(0):
        other = Card("cuda:1")
        return layers.updates(other) | layers.save_and_load(other)


def data_parallel(card: Card) -> dict[str, Any]:
    """Two ranks that were seeded differently have equal weights after twenty steps."""
    if card.real and torch.cuda.device_count() < RANKS:
        raise NotRun("there is one GPU")
    with tempfile.TemporaryDirectory() as folder:
        spawn(_rank, (folder, card.real), nprocs=RANKS)
        hashes = [(Path(folder) / str(rank)).read_text() for rank in range(RANKS)]
    expect(len(set(hashes)) == 1, f"equal weights on every rank, got hashes {hashes}")
    return {"hash": hashes[0]}


def _rank(rank: int, folder: str, real: bool) -> None:
    device = torch.device(f"cuda:{rank}" if real else "cpu")
    where = f"file://{folder}/meeting"
    if real:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    dist.init_process_group("nccl" if real else "gloo", where, world_size=RANKS, rank=rank)
    model = small_net().to(device)
    if rank:
        qcuda.nn.draw_levels(model, seed=rank)
    shared = qcuda.data_parallel(model)
    optimizer = optimizer_of(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (loss_of(shared, device) * (1 + rank)).backward()
        optimizer.step()
    digest = hashlib.sha256(b"".join(states(model))).hexdigest()[:16]
    (Path(folder) / str(rank)).write_text(digest)
    dist.destroy_process_group()
