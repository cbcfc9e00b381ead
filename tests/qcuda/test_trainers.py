"""Digits under Accelerate and under Lightning: trained, saved, loaded and resumed, bit for bit.

Each run has a twin that is stopped in the middle, saved by the trainer's own means, made anew from
another seed, loaded and carried on: every tensor of the model must end the same.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import qcuda
from qcuda.data import digits
from qcuda.train.gradients import hinge_loss
from qtheory import DST, Lattice
from qtheory.optimisers import Adam

EPOCHS, STOP = 8, 3


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        qcuda.nn.MultiStep(),
        nn.Conv2d(8, 16, 3, stride=2, bias=False),
        nn.BatchNorm2d(16),
        qcuda.nn.MultiStep(),
        nn.Flatten(),
        nn.Linear(16 * 9, 10),
        nn.BatchNorm1d(10),
    )
    return qcuda.quantize_(model, qcuda.LatticeConfig(levels="uniform", seed=seed))


def optimizer_of(
    model: nn.Module,
) -> tuple[qcuda.LatticeOptimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = qcuda.LatticeOptimizer(
        model.parameters(), DST(Lattice.ternary()), base=Adam(0.02), seed=5
    )
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.03, total_steps=EPOCHS * 14)


def batches() -> DataLoader:
    """The same 1344 digits in the same order in every epoch, 96 at a time."""
    examples = digits.load()
    return DataLoader(TensorDataset(examples.images[:1344], examples.labels[:1344]), batch_size=96)


def accuracy(model: nn.Module) -> float:
    """On the digits that are not trained on."""
    examples = digits.load()
    model.eval()
    with torch.no_grad():
        found = model(examples.images[1344:]).argmax(1)
    return (found == examples.labels[1344:]).float().mean().item()


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(first[k].equal(second[k]) for k in first)


def accelerate_run(folder: Path, seed: int, epochs: range) -> nn.Module:
    """Epochs of a run; it is loaded from the folder unless it begins, and saved to it."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = network(seed)
    optimizer, scheduler = optimizer_of(model)
    model, optimizer, scheduler, loader = accelerator.prepare(
        model, optimizer, scheduler, batches()
    )
    if epochs.start:
        accelerator.load_state(str(folder))
    for _ in epochs:
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            accelerator.backward(hinge_loss(model(images), labels))
            accelerator.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            scheduler.step()
    accelerator.save_state(str(folder), safe_serialization=True)
    return accelerator.unwrap_model(model)


@pytest.mark.filterwarnings("ignore")
def test_accelerate_trains_saves_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="Accelerate is in the extra compare")
    whole = accelerate_run(tmp_path / "whole", 1, range(EPOCHS))
    accelerate_run(tmp_path / "parts", 1, range(STOP))
    parts = accelerate_run(tmp_path / "parts", 2, range(STOP, EPOCHS))
    assert list((tmp_path / "whole").glob("*.safetensors"))
    assert same(whole, parts)
    assert accuracy(whole) > 0.85


def lightning_module(seed: int) -> nn.Module:
    import pytorch_lightning as lightning

    class Digits(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network(seed)

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return hinge_loss(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> dict:
            optimizer, scheduler = optimizer_of(self)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
            }

    return Digits()


def lightning_run(folder: Path, seed: int, last: int, resumed: Path | None = None) -> nn.Module:
    import pytorch_lightning as lightning

    module = lightning_module(seed)
    trainer = lightning.Trainer(
        max_epochs=last, accelerator="cpu", devices=1, logger=False, gradient_clip_val=10.0,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, batches(), ckpt_path=resumed, weights_only=True)
    trainer.save_checkpoint(folder / f"{last}.ckpt")
    return module


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_saves_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_lightning", reason="Lightning is in the extra compare")
    whole = lightning_run(tmp_path, 1, EPOCHS)
    lightning_run(tmp_path, 1, STOP)
    parts = lightning_run(tmp_path, 2, EPOCHS, tmp_path / f"{STOP}.ckpt")
    assert same(whole, parts)
    assert accuracy(whole.network) > 0.85
