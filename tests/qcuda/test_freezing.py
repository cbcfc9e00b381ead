"""Weights of torch models that are frozen by shares, and knobs of readers that a schedule turns."""

# Layers that are parametrized have attributes that torch's types do not know.
# pyright: reportIndexIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import numpy as np
import pytest
import torch
from latent_cases import batch, network, step
from torch import nn

import qcuda
from qcuda.kernels.words import words
from qcuda.nn import set_iteration
from qcuda.nn.freezing import partition
from qcuda.nn.latent import latents
from qreference import reader
from qtheory.algorithms import inq, rows, usual
from qtheory.algorithms.ana import NoiseAnnealing
from qtheory.algorithms.inq import IncrementalQuantization, codes
from qtheory.algorithms.prune_quantize import PruneQuantize
from qtheory.algorithms.reader import ORDERS
from qtheory.lattice import Lattice
from qtheory.schedules import Shares
from qtheory.streams import Stream

orders = pytest.mark.parametrize("order", ORDERS)
INQ = IncrementalQuantization(codes(3))


@orders
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_partition_is_the_definition(order, dtype):
    """Few different sizes, so that most of them are equal, zeros of both signs, all shares."""
    rng = np.random.default_rng(5)
    for share in (0.0, 0.1, 0.5, 0.77, 1.0):
        w = rng.integers(-3, 4, (5, 9)) * 0.25
        before = rng.random(w.shape) < 0.3
        drawn = None if ORDERS[order].by_size else rng.integers(0, 4, w.shape, np.uint32)
        spec = IncrementalQuantization(order=order)
        expected = inq.partition(spec, w, share, before, drawn)
        some = None if drawn is None else torch.tensor(drawn.astype(np.int64))
        found = partition(
            ORDERS[order], torch.tensor(w, dtype=dtype), share, torch.tensor(before), some
        )
        assert (found.numpy() == expected).all()


@orders
def test_frozen_weights_are_those_of_the_reference(order):
    spec = IncrementalQuantization(codes(4), order)
    model = qcuda.read_(network(), spec, seed=9)
    before = [latent.detach().clone().double().numpy() for latent, _ in latents(model)]
    set_iteration(model, 21)
    qcuda.freeze_(model, 0.4)
    for tensor, (x, (latent, own)) in enumerate(zip(before, latents(model), strict=True)):
        drawn = None
        if not ORDERS[order].by_size:
            drawn = words(9, 21, tensor, x.size, stream=Stream.READ).reshape(x.shape)
            drawn = drawn.numpy().astype(np.uint32)
        frozen = inq.partition(spec, x, 0.4, None, drawn)
        expected = reader.read(spec, x, None, {"frozen": frozen})
        assert (own.frozen.numpy() == frozen).all()
        assert np.array_equal(own(latent).detach().double().numpy(), expected)
        assert np.array_equal(latent.detach().double().numpy(), expected)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, 0.5, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.05, weight_decay=1.0),
    ],
)
def test_no_optimiser_moves_a_frozen_weight(optimizer):
    """The released code masks updates on a GPU alone: momentum and decay move frozen weights.

    Momentum is there before the weights are frozen, so that it would move them afterwards.
    """
    model = qcuda.read_(network(), INQ)
    trainer = optimizer(model.parameters())
    for k in range(1, 6):
        step(model, trainer, k)
    qcuda.freeze_(model, 0.5)
    seen = [own(latent).detach().clone() for latent, own in latents(model)]
    frozen = [own.frozen.clone() for _, own in latents(model)]
    for _ in range(6):
        images, labels = batch()
        trainer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        for latent, own in latents(model):
            assert not latent.grad[own.frozen].any() and latent.grad[~own.frozen].any()
        trainer.step()
        for was, where, (latent, own) in zip(seen, frozen, latents(model), strict=True):
            assert torch.equal(own(latent)[where], was[where])
            assert not torch.equal(latent[where], was[where])
            assert (own(latent)[~where] != was[~where]).all()
    qcuda.stop_latents(model)
    for was, where, (latent, _) in zip(seen, frozen, latents(model), strict=True):
        assert torch.equal(latent[where], was[where])


def test_levels_stay_when_free_weights_outgrow_them():
    model = qcuda.read_(nn.Linear(8, 4), INQ)
    latent, own = next(latents(model))
    qcuda.freeze_(model, 0.5)
    seen, where, unit = model.weight.detach().clone(), own.frozen.clone(), own.unit.item()
    with torch.no_grad():
        latent[~where] *= 64
    assert torch.equal(model.weight[where], seen[where])
    qcuda.freeze_(model, 1.0)
    assert own.unit.item() == unit and own.frozen.all()
    assert torch.equal(model.weight[where], seen[where])
    assert model.weight.abs().max().item() == unit


def test_a_small_frozen_weight_thaws_where_all_are_sorted_anew():
    for order, thaws in (("largest", False), ("resorted", True)):
        model = qcuda.read_(nn.Linear(4, 1), IncrementalQuantization(codes(3), order))
        latent, own = next(latents(model))
        with torch.no_grad():
            latent.copy_(torch.tensor([[0.5, -0.25, 0.125, 0.0625]]))
        qcuda.freeze_(model, 0.5)
        assert own.frozen.tolist() == [[True, True, False, False]]
        with torch.no_grad():
            latent[0, 2:] = 0.375
        qcuda.freeze_(model, 0.75)
        expected = [True, False, True, True] if thaws else [True, True, True, False]
        assert own.frozen.tolist() == [expected]


def test_random_partitions_are_drawn_by_iteration():
    model = qcuda.read_(network(), rows()["RPR, ternary"].spec)
    found = []
    for iteration in (1, 2, 1):
        set_iteration(model, iteration)
        qcuda.freeze_(model, 0.5)
        found.append(next(latents(model))[1].frozen.clone())
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])


def test_a_network_is_trained_until_all_its_weights_are_powers_of_two():
    """Shares by a schedule, a checkpoint half-way, biases and norms left real: the same bits."""
    shares, ends = Shares((0.0, 4.0, 8.0), (0.5, 0.75, 1.0)), []
    for resumed in (False, True):
        model = qcuda.read_(network(), INQ)
        trainer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        for k in range(12):
            if resumed and k == 6:
                saved, state = model.state_dict(), trainer.state_dict()
                model = qcuda.read_(network(), INQ)
                model.load_state_dict(saved)
                trainer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
                trainer.load_state_dict(state)
            if k in shares.epochs:
                qcuda.freeze_(model, float(shares(np.array([float(k)]))[0]))
            step(model, trainer, k + 1)
        ends.append(model)
    for latent, own in latents(ends[0]):
        sizes = own(latent).abs().unique()
        mantissas = torch.frexp(sizes[sizes > 0])[0]
        assert own.frozen.all() and len(sizes) <= 3 and (mantissas == 0.5).all()
    assert not torch.equal(ends[0][4].weight, network()[4].weight)
    assert ends[0][0].bias.unique().numel() == 4
    states = [end.state_dict().values() for end in ends]
    for one, other in zip(*states, strict=True):
        assert torch.equal(one, other)


def test_a_schedule_turns_the_share_of_zeros():
    model = qcuda.read_(network(), PruneQuantize(zeros=0.1))
    for zeros in (0.3, 0.5, 0.9):
        qcuda.turn_(model, PruneQuantize(zeros=zeros))
        for latent, own in latents(model):
            pruned = int((own(latent) == 0).sum())
            assert pruned == int(np.floor(zeros * latent.numel() + 0.5))


def test_a_noise_is_annealed_and_validation_leaves_it():
    """In evaluation it is the stair; the noise of training is there again afterwards."""
    model = qcuda.read_(nn.Linear(6, 5), NoiseAnnealing(scale=2.0))
    with torch.no_grad():
        next(latents(model))[0].copy_(torch.linspace(-1.5, 1.4, 30).reshape(5, 6))
    seen = []
    for scale in (2.0, 0.5, 0.01):
        qcuda.turn_(model, NoiseAnnealing(scale=scale))
        seen.append(model.weight.detach().clone())
        model.eval()
        hard = model.weight.detach().clone()
        assert set(hard.flatten().tolist()) <= {-1.0, 0.0, 1.0}
        model.train()
        assert torch.equal(model.weight, seen[-1])
    off = [(one - hard).abs().sum().item() for one in seen]
    assert off[0] > off[1] > off[2]


def test_scores_choose_among_weights_that_stay():
    model = qcuda.read_(network(), rows()["edge-popup"].spec)
    fixed = [own.fixed.clone() for _, own in latents(model)]
    trainer = torch.optim.SGD(model.parameters(), 1.0)
    before = [own(latent).detach().clone() for latent, own in latents(model)]
    for k in range(1, 6):
        step(model, trainer, k)
    for w, was, (latent, own) in zip(fixed, before, latents(model), strict=True):
        now = own(latent).detach()
        assert torch.equal(own.fixed, w) and not torch.equal(now, was)
        assert (now * w >= 0).all() and now.abs().unique().numel() == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: qcuda.freeze_(m, 0.5), "has readers with an order, got none"),
        (lambda m: qcuda.freeze_(qcuda.read_(m, INQ), 1.5), "is in .0, 1., got 1.5"),
        (lambda m: qcuda.turn_(m, INQ), "a model whose knobs turn has readers, got none"),
        (
            lambda m: qcuda.turn_(qcuda.read_(m, INQ), IncrementalQuantization(codes(4))),
            "a knob changes neither what is kept nor levels",
        ),
        (
            lambda m: qcuda.turn_(qcuda.read_(m, usual("ana")), NoiseAnnealing(Lattice.binary())),
            "a knob changes neither what is kept nor levels",
        ),
    ],
)
def test_what_can_not_be_frozen_or_turned_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(network())
    model = qcuda.read_(network(), rows()["TWN"].spec)
    with pytest.raises(ValueError, match="weights are frozen in an order, got one of none"):
        next(latents(model))[1].freeze_(next(latents(model))[0], 0.5)
