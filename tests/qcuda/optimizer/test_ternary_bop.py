"""Ternary Bop under torch, in ten bits: momentum in int8 that is 0 where a weight has moved."""

from __future__ import annotations

import torch

import qcuda
from qreference import optimisers
from qtheory.algorithms import TernaryBop
from qtheory.lattice import Lattice
from qtheory.optimisers import Normalized


def test_moments_in_int8_are_the_references_and_0_where_a_weight_moved():
    spec, base = TernaryBop(Lattice.ternary(), 1.0), Normalized(1.0, momentum=0.9, over="neuron")
    layer = qcuda.nn.Linear(67, 9, spec.lattice)
    layer.draw_levels(3, 0)
    optimizer = qcuda.LatticeOptimizer([layer.slot], spec, base=base, seed=5, moments="int8")
    moments, moved_in_all = optimisers.init(base, (9, 67), "int8"), 0
    for iteration in range(1, 6):
        before = layer.index.numpy()
        gradient = torch.randn(9, 67, generator=torch.Generator().manual_seed(iteration))
        layer.slot.grad = gradient.clone()
        optimizer.step()
        index, moments, changed, _ = optimisers.train_step(
            spec, base, before, moments, gradient.numpy(), seed=5, iteration=iteration, tensor=0,
            moment_type="int8",
        )  # fmt: skip
        after, first = layer.index.numpy(), optimizer.state[layer.slot]["first"]
        assert first.dtype == torch.int8
        kept, moved = first.numpy().reshape(9, 67), after != before
        assert (after == index).all()
        assert (kept == moments.first).all()
        assert (kept[moved] == 0).all()
        assert (kept[~moved] != 0).sum() > 200
        moved_in_all += changed
    assert 100 < moved_in_all == optimizer.moved.item()
