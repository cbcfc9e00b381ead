"""Torch models whose layers see their latents as a reader does."""

# Layers that are parametrized have attributes that torch's types do not know.
# pyright: reportIndexIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from latent_cases import batch, network, step
from torch import Tensor, nn

import qcuda
from qcuda.kernels.words import words
from qcuda.nn import set_iteration
from qcuda.nn.latent import latents
from qreference import reader
from qtheory.algorithms import rows, usual, walkers
from qtheory.algorithms.reader import planes, reading_of
from qtheory.streams import Stream

published = pytest.mark.parametrize("row", rows().values(), ids=list(rows()))


@published
def test_layers_show_what_the_reference_reads(row):
    model = qcuda.read_(network(), row.spec, seed=11)
    set_iteration(model, 7)
    for tensor, (latent, own) in enumerate(latents(model)):
        seen = own(latent).detach()
        state = {name: p.detach().double().numpy() for name, p in own.named_parameters()}
        state |= {name: getattr(own, name).numpy() for name in planes(own.reading)}
        drawn = None
        if reading_of(row.spec).shown == "random":
            count = latent.numel()
            drawn = words(11, 7, tensor, count, stream=Stream.READ).reshape(latent.shape)
            drawn = drawn.numpy().astype(np.uint32)
        x = latent.detach().double().numpy()
        expected = reader.read(row.spec, x, drawn, state)
        # Gains are rounded twice; of random latents none is on a threshold.
        most = reader.seen(row.spec, x, drawn, state).gain.max() * row.spec.lattice.high
        assert np.abs(seen.double().numpy() - expected).max() <= 2.0**-22 * most
        first = reader.start(row.spec, x)
        assert set(first) == set(state)
        first = {name: value for name, value in first.items() if name != "frozen"}
        for name, value in first.items():
            assert np.abs(value - state[name]).max() <= 2.0**-22 * np.abs(value).max()


@published
def test_any_optimiser_trains_and_saves_tensors_only(row):
    model = qcuda.read_(network(), row.spec)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    before = [latent.detach().clone() for latent, _ in latents(model)]
    losses = [step(model, optimizer, k) for k in range(1, 16)]
    pairs = zip(before, latents(model), strict=True)
    assert all((old != new).any(-1).all() for old, (new, _) in pairs)
    # Where readings are drawn, losses of 16 examples are noise.
    assert reading_of(row.spec).shown == "random" or sum(losses[-4:]) < sum(losses[:4])
    saved = model.state_dict()
    assert all(isinstance(value, Tensor) for value in saved.values())
    other = qcuda.read_(network(), row.spec)
    other.load_state_dict(saved)
    model.eval()
    other.eval()
    images, _ = batch()
    assert torch.equal(model(images), other(images))
    twin = copy.deepcopy(model)
    assert torch.equal(twin(images), model(images))
    with torch.no_grad():
        latent = next(latents(twin))[0]
        latent.copy_(2 * torch.linspace(-3, 5, latent.numel()).sin().reshape(latent.shape))
    assert not torch.equal(twin[0].weight, model[0].weight)
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    buffer.seek(0)
    assert set(torch.load(buffer, weights_only=True)) == set(saved)


def test_latents_are_stopped_at_the_bound_of_their_reader_after_a_step():
    for name, bound in (("BinaryConnect", 1.0), ("BWN, released", 1.0), ("TWN", np.inf)):
        model = qcuda.read_(network(), rows()[name].spec)
        optimizer = torch.optim.SGD(model.parameters(), 100.0)
        optimizer.register_step_post_hook(lambda *_, m=model: qcuda.stop_latents(m))
        images, labels = batch()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        largest = max(latent.abs().max().item() for latent, _ in latents(model))
        assert largest == bound if bound < np.inf else largest > 1.0


@pytest.mark.parametrize("name", ["LSQ, ternary", "RQ, drawn, 2 bits", "pruned by a threshold"])
def test_learned_steps_and_scales_stay_positive(name):
    """A huge rate takes them below 0, where levels would change their signs: they are stopped."""
    model = qcuda.read_(network(), rows()[name].spec)
    with torch.no_grad():
        for _, own in latents(model):
            for number in own.parameters():
                number.fill_(-3.0)
    qcuda.stop_latents(model)
    assert all((p == 2.0**-24).all() for _, own in latents(model) for p in own.parameters())
    images, labels = batch()
    F.cross_entropy(model(images), labels).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_random_reading_draws_by_iteration_and_is_quiet_in_evaluation():
    model = qcuda.read_(network(), rows()["BinaryConnect, stochastic"].spec, seed=2)
    shown = []
    for iteration in (1, 2, 1):
        set_iteration(model, iteration)
        shown.append(model[3].weight.detach().clone())
    assert torch.equal(shown[0], shown[2]) and not torch.equal(shown[0], shown[1])
    model.eval()
    latent = model[3].parametrizations.weight.original
    assert torch.equal(model[3].weight, torch.where(latent >= 0, 1.0, -1.0))


COMPILED = ["BWN", "TTQ", "LSQ, ternary", "INQ, 3 bits", "edge-popup", "pruned by a threshold"]


@pytest.mark.parametrize("name", [*COMPILED, "RQ, drawn, 2 bits", "RQ, mean"])
def test_compiled_models_have_the_eager_gradients(name):
    """Of latents with four axes and with two; a compiler takes its time for each layer."""
    torch.manual_seed(3)
    layers = nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    model = qcuda.read_(nn.Sequential(*layers), rows()[name].spec)
    if reading_of(rows()[name].spec).order != "none":
        qcuda.freeze_(model, 0.5)
    images, labels = batch()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    found = []
    for run in (model, compiled):
        model.zero_grad()
        F.cross_entropy(run(images), labels).backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(found[0]) == len(list(model.parameters()))
    for one, other in zip(*found, strict=True):
        # The same operators, of which aot_eager may fuse none: roundings of sums are the same.
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def test_layers_that_share_a_weight_share_its_reader():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    qcuda.read_(model, rows()["LSQ, ternary"].spec)
    assert model[0].parametrizations.weight[0] is model[1].parametrizations.weight[0]
    assert torch.equal(model[0].weight, model[1].weight)
    assert sum(p.numel() for p in model.parameters()) == 16 + 1 + 8


def test_attention_sees_its_projections_as_they_are_read():
    torch.manual_seed(1)
    model = qcuda.read_(nn.MultiheadAttention(8, 2, batch_first=True), rows()["BWN"].spec)
    assert len(set(model.in_proj_weight[0].abs().tolist())) == 1
    x = torch.randn(2, 5, 8)
    model(x, x, x)[0].sum().backward()
    assert model.parametrizations.in_proj_weight.original.grad is not None


def test_what_can_not_be_read_is_refused_and_nothing_is_changed():
    walker = usual(walkers()[0])
    model = network()
    with pytest.raises(TypeError, match="a reader has a reading, got"):
        qcuda.read_(model, walker)
    with pytest.raises(ValueError, match=r"a seed is in 0..\d+, got -1"):
        qcuda.read_(model, rows()["TWN"].spec, seed=-1)
    with pytest.raises(ValueError, match="layers with a lattice form, got none"):
        qcuda.read_(model, rows()["TWN"].spec, lambda module, name: False)
    held = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="converted before its optimiser is made, got SGD"):
        qcuda.read_(model, rows()["TWN"].spec)
    del held
    transposed = nn.Sequential(nn.ConvTranspose2d(2, 3, 3))
    with pytest.raises(ValueError, match="filters of a transposed convolution are not on its"):
        qcuda.read_(transposed, rows()["TWN"].spec)
    assert [*model.state_dict()] == [*network().state_dict()]
    assert qcuda.read_(transposed, rows()["TTQ"].spec)[0].weight.shape == (2, 3, 3, 3)
