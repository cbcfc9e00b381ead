"""Averages of a model whose weights are discrete.

An average of levels is no level, so that an average of discrete weights is a float model: the plain
twin (`qcuda.dequantize`), with the mean of the visible weights. It is evaluated as it stands, and
at the end `read_into` puts the nearest level of each mean into a lattice model. For two levels that
is the one that was seen more often; for more it is the one nearest to the mean, which need not be
the most frequent one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import swa_utils

from qcuda.errors import require
from qcuda.nn.dequantize import dequantize
from qcuda.nn.layers import lattice_layers
from qcuda.nn.rules import channel_groups
from qcuda.nn.scales import on_lattice


class AveragedModel(swa_utils.AveragedModel):
    """torch.optim.swa_utils.AveragedModel of a lattice model's plain float twin.

    Arguments, `update_parameters` and `update_bn` are torch's: without more it is the mean of all
    updates, with `multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999)` an exponential
    one. Its module is a float model, which takes the memory of one.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device | str | int | None = None,
        avg_fn: Callable[..., Tensor] | None = None,
        multi_avg_fn: Callable[..., None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        where = None if device is None else torch.device(device)
        super().__init__(dequantize(model), where, avg_fn, multi_avg_fn, use_buffers)

    def update_parameters(self, model: nn.Module) -> None:
        """Take the visible weights and the other parameters of a lattice model into the average."""
        super().update_parameters(dequantize(model))

    @torch.no_grad()
    def read_into(self, model: nn.Module) -> None:
        """Put a lattice model on the levels nearest to the average, in place.

        Scales stay; other parameters and buffers become those of the average. Raises ValueError if
        a layer has hidden levels, or the models differ; then nothing has changed.
        """
        layers = lattice_layers(model)
        for name, layer in layers.items():
            require(
                layer.readout is None,
                f"an average is read into layers without hidden levels, got {name!r}",
            )
        means = dict(self.module.named_parameters(remove_duplicate=False))
        index = {
            name: on_lattice(
                _mean_of(name, means),
                torch.as_tensor(layer.scale, dtype=torch.float64),
                layer.lattice,
                channel_groups(layer),
            )
            for name, layer in layers.items()
        }
        means_and_buffers: dict[str, Tensor] = {**means, **dict(self.module.named_buffers())}
        stored = {id(t) for x in layers.values() for t in (x.slot, *x.buffers())}
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if id(tensor) not in stored and name in means_and_buffers:
                tensor.copy_(means_and_buffers[name])
        for name, layer in layers.items():
            layer.set_index(index[name])


def _mean_of(name: str, found: dict[str, nn.Parameter]) -> Tensor:
    """The averaged weight of a layer, by the name that torch has for it."""
    own = f"{name}.weight" if name else "weight"
    key = own if own in found else f"{name}_weight"
    require(key in found, f"an average is of the same model, got no {own!r}")
    return found[key]
