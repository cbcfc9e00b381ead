"""Any torch model with latent weights: `read_` makes its layers see them as a reader does.

The latent stays the layer's parameter, under `parametrizations.<weight>.original`, and any torch
optimiser trains it; the layer's `weight` is what is seen. A state dict holds tensors only.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, register_parametrization

from qcuda.errors import require
from qcuda.nn.plan import Filter, plan
from qcuda.nn.reader import Reader
from qcuda.nn.rules import weights
from qtheory.algorithms import Spec
from qtheory.algorithms.reader import reading_of
from qtheory.streams import MAX_SEED


def read_(
    model: nn.Module, spec: Spec, filter_fn: Filter | None = None, *, seed: int = 0
) -> nn.Module:
    """Let the layers of a model see their weights as a reader does, in place; returns the model.

    The layers are those that `qcuda.quantize_` converts; filter_fn: called with (module, name), and
    only modules for which it is true are converted. Weights stay parameters with the numbers they
    have, so that any optimiser made afterwards trains them; call `stop_latents(model)` after each
    of its steps, or register it as a hook of the optimiser, for readers that stop latents. Layers
    that share a weight share its reader. seed: of the words of random readings.

    Raises TypeError if the spec is no reader's; ValueError, and changes nothing, if nothing can be
    converted, a weight is shared with a module that is not, an optimiser or a hook holds a weight,
    the seed is no seed, or a transposed convolution has gains by filters.
    """
    reading = reading_of(spec)
    require(0 <= seed <= MAX_SEED, f"a seed is in 0..{MAX_SEED}, got {seed}")
    chosen = plan(model, filter_fn).chosen
    for name, module in chosen.items():
        require(
            reading.group == "layer" or not getattr(module, "transposed", False),
            f"filters of a transposed convolution are not on its first axis, got {name!r}: "
            "leave it by a filter_fn, or take a spec whose group is the layer",
        )
    made: dict[int, Reader] = {}
    for module in chosen.values():
        for attribute in weights(module):
            weight = module._parameters[attribute]
            assert weight is not None
            own = Reader(reading, weight, seed=seed, tensor=len(made))
            reader = made.setdefault(id(weight), own.train(module.training))
            register_parametrization(module, attribute, reader)
    return model


def latents(model: nn.Module) -> Iterator[tuple[Tensor, Reader]]:
    """The latents of a model and their readers, in module order."""
    for module in model.modules():
        if isinstance(module, ParametrizationList):
            for reader in module:
                if isinstance(reader, Reader):
                    yield module.original, reader
        elif isinstance(reader := getattr(module, "reader", None), Reader):
            yield module.get_parameter("latent"), reader


@torch.no_grad()
def stop_latents(model: nn.Module) -> None:
    """Stop latents at the bounds of their readers, after a step of an optimiser."""
    for latent, reader in latents(model):
        if reader.reading.bound < float("inf"):
            latent.clamp_(-reader.reading.bound, reader.reading.bound)
