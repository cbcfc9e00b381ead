"""From a batch to the gradients, and from a model to how good it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import update_bn

from qcuda.data.source import Examples, Held
from qcuda.errors import require
from qcuda.nn.once import read_once
from qcuda.train.learning import Learning
from qcuda.train.ranks import gathered, place, total_of

AT_ONCE = 1000  # labels that are judged together
Objective = Callable[[Tensor, Tensor], Tensor]


def objective(how: Learning) -> Objective:
    """The mean loss of logits, (..., classes), taken as float32, and labels, (...) int64."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        logits, labels = logits.float().flatten(0, -2), labels.flatten()
        if how.loss == "hinge":
            return hinge_loss(logits, labels)
        return F.cross_entropy(logits, labels, label_smoothing=how.smoothing)

    return loss


def hinge_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """L2-SVM: mean over batch and classes of max(0, 1 - t y)^2, t = +1 for the label, else -1."""
    target = torch.full_like(logits, -1.0).scatter_(1, labels[:, None], 1.0)
    return (1 - target * logits).clamp_min(0).square().mean()


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices as fast as float32, or faster."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def computing(kind: str) -> AbstractContextManager[object]:
    """What matrix products are computed in. Raises InputError if that would be slow."""
    if kind == "auto":
        kind = "bfloat16" if has_bfloat16() else "float32"
    if kind == "float32":
        return nullcontext()
    require(
        has_bfloat16(),
        "bfloat16 is for processors with its instructions, elsewhere it is 30 times slower than "
        "float32, got learning.compute bfloat16 on one without: auto chooses",
    )
    return torch.autocast("cpu", torch.bfloat16)


def distilled(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(taught / T) || softmax(logits / T)), mean over examples [hinton2015]."""
    classes = logits.shape[-1]
    ours, theirs = (
        F.log_softmax(x.float().reshape(-1, classes) / temperature, 1) for x in (logits, taught)
    )
    return temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def gradients(
    model: nn.Module, batch: Examples, how: Learning, teacher: nn.Module | None = None
) -> Tensor:
    """Add the gradients of the mean loss of a batch, part by part; returns the loss.

    With a teacher the loss is (1 - trust) of that of the labels and trust of `distilled`. Each part
    has statistics of its own in batch norms. Of several ranks each has a share of the batch, and
    the model averages gradients over ranks: losses are weighted so that this average, and that of
    the losses returned, are those of the whole batch.
    """
    count = len(batch.labels)
    require(how.parts <= count, f"a batch has an example for each part, got {count}")
    even = count * place().ranks / total_of(count)  # 1 if all ranks have as many examples
    losses = []
    shares = zip(*(whole.tensor_split(how.parts) for whole in batch), strict=True)
    with read_once(model) if how.parts > 1 else nullcontext():
        for number, (images, labels) in enumerate(shares, start=1):
            unshared = isinstance(model, DistributedDataParallel) and number < how.parts
            with cast(DistributedDataParallel, model).no_sync() if unshared else nullcontext():
                loss = _loss(model, images, labels, how, teacher) * (even * len(labels) / count)
                loss.backward()
            losses.append(loss.detach())
    if how.clip:
        nn.utils.clip_grad_norm_(model.parameters(), how.clip)
    return torch.stack(losses).sum()


def _loss(
    model: nn.Module, images: Tensor, labels: Tensor, how: Learning, teacher: nn.Module | None
) -> Tensor:
    """The mean loss of a part."""
    with computing(how.compute):
        logits = model(images)
        loss = objective(how)(logits, labels)
        if teacher is None:
            return loss
        with torch.no_grad():
            taught = teacher(images)
        return torch.lerp(loss, distilled(logits, taught, how.temperature), how.trust)


def restate(model: nn.Module, images: Iterable[Tensor]) -> None:
    """Take the running statistics of batch norms anew: the mean of those of these batches."""
    update_bn(images, model)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    examples: Held,
    loss: Objective = objective(Learning()),  # noqa: B008
) -> tuple[float, float]:
    """Accuracy and loss, with the model's running statistics; some examples at a time.

    Ranks share the examples, in the parts that one process has, and each finds what one would.
    """
    model.eval()
    labels = examples.labels
    size = max(1, AT_ONCE * len(labels) // labels.numel())
    found = []
    for part in examples.split(size, place()):
        logits, right = model(part.images).flatten(0, -2), part.labels.flatten()
        hits = (logits.argmax(-1) == right).sum().item()
        found.append([hits, loss(logits, right).item() * len(right)])
    hits, lost = gathered(found).sum(0).tolist()
    return hits / labels.numel(), lost / labels.numel()
