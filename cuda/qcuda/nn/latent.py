"""Any torch model with latent weights: `read_` makes its layers see them as a reader does.

The latent stays the layer's parameter, under `parametrizations.<weight>.original`, and any torch
optimiser trains it; the layer's `weight` is what is seen. A state dict holds tensors only. Of a
reader by scores the latent is the score of each weight, at first the weight itself.
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
from qtheory.algorithms.reader import LEAST, POSITIVE, reading_of
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
    """Stop latents at the bounds of their readers, after a step of an optimiser.

    Learned steps, thresholds and scales of noise are stopped at 2**-24, so that they stay positive.
    Frozen weights are put back on their levels, from which momentum and decay have moved their
    latents; they are seen there in any case.
    """
    for latent, reader in latents(model):
        if reader.reading.bound < float("inf"):
            latent.clamp_(-reader.reading.bound, reader.reading.bound)
        if reader.reading.order != "none":
            latent.copy_(reader.held(latent))
        for name in POSITIVE:
            if name in reader._parameters:
                reader.get_parameter(name).clamp_(min=LEAST)


def freeze_(model: nn.Module, share: float) -> nn.Module:
    """Freeze a share of each layer's weights on their levels, in place; returns the model.

    In the order of their readers, at the iteration of `set_iteration` where it is random. Raises
    ValueError, and changes nothing, if no reader has an order or the share is not in [0, 1].
    """
    found = [pair for pair in _once(model) if pair[1].reading.order != "none"]
    require(bool(found), "a model to freeze has readers with an order, got none")
    require(0 <= share <= 1, f"a share of weights is in [0, 1], got {share}")
    for latent, reader in found:
        reader.freeze_(latent, share)
    return model


def turn_(model: nn.Module, spec: Spec) -> nn.Module:
    """Let all readers of a model read as another spec, in place: a schedule turned a knob.

    Raises TypeError if the spec is no reader's; ValueError, and changes nothing, if a reader learns
    or keeps something else, or has other levels.
    """
    reading, found = reading_of(spec), [reader for _, reader in _once(model)]
    require(bool(found), "a model whose knobs turn has readers, got none")
    for reader in found:
        reader.check(reading)
    for reader in found:
        reader.turn(reading)
    return model


def _once(model: nn.Module) -> list[tuple[Tensor, Reader]]:
    """Latents and readers; one that layers share is named once."""
    return list({id(reader): (latent, reader) for latent, reader in latents(model)}.values())
