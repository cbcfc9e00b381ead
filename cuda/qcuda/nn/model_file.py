"""One file for a model: safetensors, with what is needed to read it where there is no qcuda.

The tensors are those of `model.state_dict()`, one that layers share only once. The metadata "qcuda"
is JSON: the format; by layer name, what its weight is; and the names of shared tensors. These lines
of NumPy give the visible weights, float32, by layer name:

    import json
    import numpy as np
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        layers, weights = json.loads(file.metadata()["qcuda"])["layers"], {}
        for name, of in layers.items():
            code = file.get_tensor(of["state"])
            bits, count = of["bits"], np.prod(of["stored_shape"])
            if bits < 8:  # packed, in two's complement, the first in the lowest bits
                code = np.unpackbits(code, bitorder="little")[: count * bits].reshape(-1, bits)
                code = code @ (2 ** np.arange(bits)) - code[:, -1] * 2**bits
            index = code.astype(int) + of["index_of_code_0"]
            stored = file.get_tensor(of["levels"])[index].reshape(of["stored_shape"])
            scale = file.get_tensor(of["scale"]).reshape(of["scale_shape"])
            scale = scale.repeat(of["scale_repeats"], axis=0)
            weights[name] = stored.transpose(of["axes"]) * scale
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch as files
import torch
from torch import Tensor, nn

from qcuda.errors import InputError, require
from qcuda.files import write_atomically
from qcuda.kernels.order import as_weight
from qcuda.nn.layers import LatticeLayer, lattice_layers
from qcuda.nn.rules import channel_groups
from qcuda.nn.saved import FORMAT

KEY = "qcuda"


def save(model: nn.Module, path: str | Path) -> None:
    """Write a model into a safetensors file, whole or not at all.

    The module docstring of `qcuda.nn.model_file` reads it without qcuda, in ten lines of NumPy.
    Raises ValueError for a layer whose weight can not be read, such as one on meta.
    """
    state = model.state_dict()
    first: dict[Any, str] = {}
    shared: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        require(
            isinstance(tensor, Tensor) and not tensor.is_meta,
            f"a model file has tensors, got {name!r}, {type(tensor).__name__}"
            + (" on meta" if isinstance(tensor, Tensor) else ""),
        )
        same = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and same in first:
            shared[name] = first[same]
        else:
            first[same] = name
            tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    layers = {name: _about(name, layer, shared) for name, layer in lattice_layers(model).items()}
    about = json.dumps({"format": FORMAT, "layers": layers, "shared": shared})
    write_atomically(Path(path), files.save(tensors, {"format": "pt", KEY: about}))


def load(model: nn.Module, path: str | Path) -> nn.Module:
    """Read a file of `save` into a model of the same layers, in place; returns the model.

    Raises ValueError, naming the file, if it is none or does not fit. The names, shapes and types
    of all tensors are compared before anything is changed.
    """
    path = Path(path)
    require(path.is_file(), f"a model is loaded from a file, got {path}, not there")
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise InputError(f"{path}: a model file is safetensors, got: {error}") from None
    require(about is not None, f"{path}: a model file has the metadata {KEY!r}, got none")
    found = json.loads(str(about))
    require(
        found["format"] == FORMAT,
        f"{path}: a model file has format {FORMAT}, got {found['format']}",
    )
    tensors |= {name: tensors[kept] for name, kept in found["shared"].items()}
    fits(path, tensors, model.state_dict())
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path}: a model file fits its model, got: {text}") from None
    return model


def fits(path: Path, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Raise InputError, naming the file, unless two have tensors of the same names and kinds."""
    missing, foreign = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    require(
        not missing and not foreign,
        f"{path}: a model file has the tensors of its model, got "
        f"{', '.join(missing[:3]) or 'none'} missing and {', '.join(foreign[:3]) or 'none'} more",
    )
    for name, tensor in wanted.items():
        found = given[name]
        require(
            (found.shape, found.dtype) == (tensor.shape, tensor.dtype),
            f"{path}: {name} is {tensor.dtype} of shape {tuple(tensor.shape)}, "
            f"got {found.dtype} of shape {tuple(found.shape)}",
        )


def _about(name: str, layer: LatticeLayer, shared: dict[str, str]) -> dict[str, Any]:
    """What the weight of a layer is, in words and numbers."""
    prefix = f"{name}." if name else ""
    tensors = {part: f"{prefix}{part}" for part in ("state", "levels", "scale")}
    lattice, stored = layer.lattice, torch.empty(layer.slot.shape, device="meta")
    dimensions = range(stored.dim())
    turned = as_weight(torch.empty([2 + axis for axis in dimensions], device="meta"))
    return {
        **{part: shared.get(tensor, tensor) for part, tensor in tensors.items()},
        "layer": type(layer).__name__,
        "shape": list(layer.shape),
        "stored_shape": list(stored.shape),
        "axes": [size - 2 for size in turned.shape],  # of the stored weight, in the weight's order
        "bits": layer.storage.bits,
        "index_of_code_0": lattice.centre,
        **_about_scale(layer),
        "lattice": {"size": lattice.size, "spacing": lattice.spacing, "low": lattice.low},
    }


def _about_scale(layer: LatticeLayer) -> dict[str, Any]:
    """A shape of the scale that multiplies the weight, once its rows are repeated."""
    one, groups, shape = [1] * len(layer.shape), channel_groups(layer), layer.shape
    if not layer.scale.dim():
        return {"scale_shape": one, "scale_repeats": 1}
    if not groups:
        return {"scale_shape": [shape[0], *one[1:]], "scale_repeats": 1}
    return {"scale_shape": [groups, shape[1], *one[2:]], "scale_repeats": shape[0] // groups}
