"""Rows of a residual stream have the bits of the modules they are made of, and keep few inputs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import qcuda
from qcuda.memory import rows
from qcuda.models.resnet import Block, Convolution
from qcuda.models.weights import on_lattice
from qcuda.nn import MultiStep, fuse_
from qtheory import DST, Lattice


def stream(strides=(1, 2, 1), channels=16, small=False):
    """Blocks of two convolutions, of 3 x 3 pixels; a stride has twice the channels."""
    torch.manual_seed(0)
    blocks, inputs = nn.Sequential(), channels
    for stride in strides:
        sizes = Convolution(inputs * stride, 3, stride), Convolution(inputs * stride, 3)
        weight = on_lattice(Lattice.ternary())
        blocks.append(
            Block(sizes, inputs, 0, weight, lambda: MultiStep(1), ternary=True, small=small)
        )
        inputs *= stride
    for seed, module in enumerate(blocks.modules()):
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.copy_(torch.linspace(-1.5, 1.25, module.num_features))
                module.bias.copy_(torch.linspace(0.5, -0.5, module.num_features))
        elif hasattr(module, "draw_levels"):
            module.draw_levels(seed, 0)
    return blocks


def images(channels=16, channels_last=False):
    """A batch of what enters a block."""
    x = torch.randn(5, channels, 12, 12, generator=torch.Generator().manual_seed(1))
    return x.to(memory_format=torch.channels_last) if channels_last else x


def results(model, x, passes=1):
    """What the model makes, its buffers, and gradients after some backward passes."""
    x = x.clone().requires_grad_()
    out = model(x)
    loss = (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum()
    for _ in range(passes):
        loss.backward(retain_graph=passes > 1)
    gradients = [x.grad, *(p.grad for p in model.parameters())]
    return [t.clone() for t in (out.detach(), *gradients, *model.state_dict().values())]


def same(a, b):
    """Whether all tensors are equal, bit for bit but for the sign of a zero."""
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("channels_last", "small"), [(False, True), (True, False)])
@pytest.mark.parametrize(
    ("channels", "most", "large"), [(16, 2**23, 2**24), (32, 2**12, 2**24), (64, 2**12, 2**12)]
)
def test_rows_have_the_bits_of_their_modules(
    channels, most, large, channels_last, small, monkeypatch
):
    """Whole, and in chunks of an image and of 16 channels; chains of three rows and of four."""
    monkeypatch.setattr(rows, "MOST", most)
    monkeypatch.setattr(rows, "LARGE", large)
    plain = stream(channels=channels, small=small)
    if channels_last:
        plain = plain.to(memory_format=torch.channels_last)
    least = qcuda.least_memory_(copy.deepcopy(plain))
    assert all(block.keeps_little for block in least)
    x = images(channels, channels_last)
    plain = fuse_(plain)
    for training in (True, False):
        plain.train(training), least.train(training)
        assert same(results(least, x), results(plain, x))
    assert same(results(least, x, passes=2), results(plain, x, passes=2))


@pytest.mark.parametrize("large", [2**24, 1])
def test_one_input_of_three_rows_is_kept_and_of_four_if_it_is_large(large, monkeypatch):
    monkeypatch.setattr(rows, "LARGE", large)
    x, found = images(), {}
    model = qcuda.least_memory_(stream((1, 1, 1)))
    own = {p.data_ptr() for p in model.parameters()}

    def note(t):
        if t.data_ptr() not in own:
            found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t.detach()

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        out = model(x)
    assert out.grad_fn is not None
    assert sum(found.values()) == 2 * 4 * x.numel() + 6 * (2 * 16 + 1) * 4  # and a gain


def test_rows_can_be_stepped_in_the_backward_pass():
    models = []
    for make in (fuse_, qcuda.least_memory_):
        model = make(stream())
        optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(Lattice.ternary()), seed=3)
        with qcuda.StepInBackward(optimizer):
            for _ in range(2):
                model(images()).square().mean().backward()
                optimizer.step()
        models.append(list(model.state_dict().values()))
    assert same(*models)


def test_a_weight_that_moved_before_the_backward_pass_is_refused():
    model = qcuda.least_memory_(stream((1,)))
    out = model(images()).sum()
    model[0].conv1.draw_levels(7, 0)
    with pytest.raises(ValueError, match="has not moved since the forward pass"):
        out.backward()


def test_blocks_are_called_as_they_are_where_rows_do_not_go():
    model, calls = qcuda.least_memory_(stream((1,))), []
    with torch.autocast("cpu", torch.bfloat16):
        assert not model[0].keeps_little
    handle = model[0].conv2.register_forward_hook(lambda *_: calls.append("layer"))
    assert not model[0].keeps_little
    model(images()).sum().backward()
    assert calls == ["layer"]
    handle.remove()
    assert model[0].keeps_little
    assert not stream((1,))[0].keeps_little
