"""Float weights of a file, and networks of any method that begin with them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import safetensors
import safetensors.torch as files
import torch
from torch import Tensor, nn

from qcuda.errors import InputError, require
from qcuda.models.baselines import RealLayer
from qcuda.models.weights import weight_layers
from qcuda.nn.convert import LatticeConfig, quantize_, shown
from qcuda.nn.layers import LatticeLayer
from qcuda.nn.model_file import fits
from qcuda.nn.scales import best_scales


def load_floats(model: nn.Module, path: str | Path) -> nn.Module:
    """Read the `state_dict` of a float network into one of the same layers; returns the model.

    path: safetensors, such as the model of a run that trained `full`, or what `torch.save` wrote,
    such as torchvision's files. Raises InputError, naming the file, if it is neither, or if a name,
    a shape or a type is another; then nothing is changed.
    """
    path = Path(path)
    tensors = _read(path)
    good = isinstance(tensors, dict) and all(isinstance(one, Tensor) for one in tensors.values())
    require(good, f"{path}: float weights are a state_dict, got {type(tensors).__name__}")
    fits(path, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return model


def _read(path: Path) -> dict[str, Tensor]:
    require(path.is_file(), f"float weights are loaded from a file, got {path}, not there")
    try:
        if path.suffix == ".safetensors":
            return files.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: float weights are safetensors, or tensors that torch.save wrote, got: {text}"
        ) from None


@torch.no_grad()
def begin_as_(model: nn.Module, floats: nn.Module) -> nn.Module:
    """Give a network the values of the same one with real weights, in place; returns the model.

    A weight on a lattice goes to the level nearest to it over its layer's scale, the power of two
    with the smallest squared error, which becomes the layer's; a weight that a reader reads is kept
    over the same scale. All else is copied. Raises InputError if levels are not equally spaced.
    """
    real = weight_layers(floats)
    for name, layer in weight_layers(model).items():
        own = real[name]
        assert isinstance(own, nn.Linear | nn.Conv2d)
        if isinstance(layer, LatticeLayer):
            config = LatticeConfig(layer.lattice, readout=layer.readout)
            layer.load_state_dict(quantize_(copy.deepcopy(own), config).state_dict())
        elif isinstance(layer, RealLayer):
            levels = shown(layer.reader.reading.stair)
            layer.begin_at(own.weight, float(best_scales(own.weight.reshape(1, -1), levels)))
            if layer.bias is not None and own.bias is not None:
                layer.bias.copy_(own.bias)
        else:
            layer.load_state_dict(own.state_dict())
    rest = {
        name: value
        for name, value in floats.state_dict().items()
        if name.rpartition(".")[0] not in real
    }
    model.load_state_dict(rest, strict=False)
    return model
