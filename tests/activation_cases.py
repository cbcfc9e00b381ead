"""What tests of activations share: a pass in both directions, and what it keeps."""

from __future__ import annotations

import torch


def both(function, x, upstream=None):
    """What is handed on, and the gradient that comes back."""
    x = x.detach().clone().requires_grad_()
    out = function(x)
    (slope,) = torch.autograd.grad(out, x, torch.ones_like(out) if upstream is None else upstream)
    return out.detach(), slope


def kept_bytes(function, x) -> int:
    """Bytes that are saved for the backward pass, numbers of one element left out."""
    saved = []

    def keep(tensor):
        saved.append(tensor.numel() * tensor.element_size() if tensor.numel() > 1 else 0)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function(x.clone().requires_grad_())
    return sum(saved)
