"""Every stem under the torch optimiser: the reference's training step, resumed anywhere.

D5: what keys the random words - seed, iteration, tensor, elements - never occurs twice in a run,
however groups are made, gradients are missing, and runs are resumed.
"""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from conformance.rooms import unexplained
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    examples,
    gradients,
    lattices,
    optimisers,
    schedules,
    seed_of,
    shapes,
    specs,
    streams,
    weights,
)
from torch.utils._python_dispatch import TorchDispatchMode

import qcuda
from qcuda.kernels.storage import decode, encode, storage_for
from qreference import optimisers as plain
from qreference import philox
from qreference import storage as plain_storage
from qreference.storage import widen
from qtheory.algorithms import contract, parameters, spec_class, walkers
from qtheory.lattice import Lattice
from qtheory.optimisers import Momentum
from qtheory.streams import Stream

stems = pytest.mark.parametrize("stem", walkers())
few = examples(15)
stored = lattices(sizes=[2, 3, 5, 17, 255])


def layer_of(lattice: Lattice, shape: tuple[int, int], seed: int) -> qcuda.nn.Linear:
    layer = qcuda.nn.Linear(shape[1], shape[0], lattice)
    layer.draw_levels(seed, 0)
    return layer


def bits(moments: plain.Moments) -> list[Any]:
    """NaN has no bits of its own: its payload is nobody's promise."""
    wide = [None if m is None else m if m.dtype == np.float32 else widen(m) for m in moments]
    return [None if m is None else np.where(np.isnan(m), np.float32(9), m).tobytes() for m in wide]


def moments_of(optimizer: qcuda.LatticeOptimizer, slot) -> plain.Moments:
    state = optimizer.state[slot]
    found = [state.get(name) for name in ("first", "second")]
    return plain.Moments(
        *(
            None if t is None
            else t.numpy() if t.dtype == torch.float32
            else t.view(torch.int16).numpy().view(np.uint16)
            for t in found
        )
    )  # fmt: skip


@stems
@few
@given(data=st.data())
def test_the_optimiser_takes_the_plain_training_step(stem, data):
    """A schedule of learning rates and knobs, float32 and bfloat16, one slot of several weights."""
    base, factors = data.draw(optimisers), data.draw(schedules)
    spec, shape = data.draw(specs(stem, stored)), data.draw(shapes())
    moment_type = data.draw(st.sampled_from(["float32", "bfloat16"]))
    half = data.draw(st.booleans())
    seed = seed_of(stem, base, factors, spec, shape)
    layer = layer_of(spec.lattice, shape, seed)
    optimizer = qcuda.LatticeOptimizer(
        [layer.slot], spec, base=base, seed=seed, moments=moment_type
    )
    state = plain.init(base, shape, moment_type)
    group, lost = optimizer.param_groups[0], 0
    for iteration, factor in enumerate(factors, start=1):
        now = type(base)(base.learning_rate * factor, *fields_after_rate(base))
        current = data.draw(specs(stem, st.just(spec.lattice)))
        turned = {knob.name: getattr(current, knob.name) for knob in contract(stem).knobs}
        group.update(lr=now.learning_rate, **turned)
        gradient = torch.from_numpy(data.draw(gradients(shape)))
        layer.to(torch.bfloat16 if half else torch.float32)
        layer.slot.grad = gradient.to(layer.slot.dtype)
        before, value = layer.index.numpy(), layer.slot.grad.float().numpy()
        optimizer.step()
        wide = state if moment_type == "float32" else plain._widen(state)
        proposed, _ = plain.increment(now, wide, value, iteration)
        _, state, _, nan = plain.train_step(
            current, now, before, state, value, seed=seed, iteration=iteration, tensor=0,
            moment_type=moment_type,
        )  # fmt: skip
        words = philox.words(seed, iteration, 0, Stream.MOVE, before.size).reshape(shape)
        assert not unexplained(current, before, proposed, words, layer.index.numpy()).any()
        assert bits(moments_of(optimizer, layer.slot)) == bits(state)
        lost += nan
        assert optimizer.nan.item() == lost


def fields_after_rate(base) -> tuple:
    return tuple(getattr(base, name) for name in base.__dataclass_fields__)[1:]


@stems
@few
@given(data=st.data())
def test_a_resumed_run_is_the_uninterrupted_one(stem, data):
    base, spec, shape = data.draw(optimisers), data.draw(specs(stem, stored)), data.draw(shapes())
    moments = data.draw(st.sampled_from(["float32", "bfloat16"]))
    seed = seed_of(stem, base, spec, shape)
    given_gradients = [torch.from_numpy(data.draw(gradients(shape))) for _ in range(4)]
    saved_after = data.draw(st.integers(0, 3))

    def run(interrupted: bool) -> tuple[list, list]:
        layer = layer_of(spec.lattice, shape, seed)
        optimizer = qcuda.LatticeOptimizer(
            [layer.slot], spec, base=base, seed=seed, moments=moments
        )
        for k, gradient in enumerate(given_gradients):
            if interrupted and k == saved_after:
                states = copy.deepcopy((layer.state_dict(), optimizer.state_dict()))
                layer = layer_of(spec.lattice, shape, seed + 1 if seed < 2**64 - 1 else 0)
                optimizer = qcuda.LatticeOptimizer([layer.slot], spec, base=base, moments=moments)
                layer.load_state_dict(states[0])
                optimizer.load_state_dict(states[1])
            layer.slot.grad = gradient.clone()
            optimizer.step()
        return layer.index.tolist(), bits(moments_of(optimizer, layer.slot))

    assert run(interrupted=True) == run(interrupted=False)


@stems
@few
@given(data=st.data())
def test_a_shard_draws_what_the_whole_would(stem, data):
    """Tensors of a launch of the operator, cut anywhere: element numbers are global."""
    spec = data.draw(specs(stem, stored))
    count, cut = 70, data.draw(st.integers(0, 70))
    index, increment = data.draw(weights(spec.lattice, count))
    start = data.draw(st.sampled_from([0, 1, 2**34 - 5]))

    def launch(places: list[tuple[int, int, int]]) -> list[int]:
        """Pieces (from, to, tensor number) of the weights, moved in one launch."""
        parts = [torch.from_numpy(increment[a:b].copy()) for a, b, _ in places]
        codes = [torch.from_numpy(plain_storage.to_codes(spec.lattice, index[a:b]))
                 for a, b, _ in places]  # fmt: skip
        counters = torch.zeros(len(places), 2, dtype=torch.int64)
        torch.ops.qtheory.step_(
            codes, parts, [], [], [], [], counters, torch.zeros(7), torch.tensor([3]),
            [number for _, _, number in places], [start + a for a, _, _ in places], -5, stem,
            "given", 0, spec.lattice.spacing, spec.lattice.zero, spec.lattice.size,
            list(parameters(spec)),
        )  # fmt: skip
        return [code for piece in codes for code in piece.tolist()]

    whole = launch([(0, count, 7)])
    assert launch([(0, cut, 7), (cut, count, 7)]) == whole
    assert launch([(0, count, 6), (0, count, 7)])[count:] == whole


@stems
@few
@given(data=st.data())
def test_slots_that_rest_and_groups_that_come_later_keep_their_own_numbers(stem, data):
    """Tensor number, iteration and counters are a slot's own, whoever else is in the launch."""
    spec, base = data.draw(specs(stem, stored)), Momentum(1.0, 0.5)
    seed, shape, late = seed_of(stem, spec), (3, 7), data.draw(st.integers(1, 3))
    layers = [layer_of(spec.lattice, shape, seed) for _ in range(3)]
    slots = [layer.slot for layer in layers]
    optimizer = qcuda.LatticeOptimizer(slots[:2], spec, base=base, seed=seed)
    states, iterations = [plain.init(base, shape)] * 3, [0, 0, 0]
    moved, nan = [0, 0, 0], [0, 0, 0]
    for t in range(4):
        if t == late:
            optimizer.add_param_group({"params": [slots[2]]})
        rest = data.draw(st.frozensets(st.integers(0, 2)))
        before = [layer.index.numpy() for layer in layers]
        for k, slot in enumerate(slots):
            slot.grad = None if k in rest else torch.from_numpy(data.draw(gradients(shape)))
            iterations[k] += k < 2 or t >= late
        optimizer.step()
        for k, layer in enumerate(layers):
            after = layer.index.numpy()
            if slots[k].grad is None or (k == 2 and t < late):
                assert (after == before[k]).all()
                continue
            asked, state = plain.increment(base, states[k], slots[k].grad.numpy(), iterations[k])
            states[k] = plain.forget(spec, state, after != before[k])
            words = philox.words(seed, iterations[k], k, Stream.MOVE, after.size).reshape(shape)
            assert not unexplained(spec, before[k], asked, words, after).any()
            moved[k] += int((after != before[k]).sum())
            nan[k] += int(np.isnan(asked).sum())
        known = 2 + (t >= late)
        assert optimizer.moved.tolist() == moved[:known]
        assert optimizer.nan.tolist() == nan[:known]


class Launches(TorchDispatchMode):
    """Every (seed, iteration, tensor, first element, last element) that a step is keyed by."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[tuple[int, int, int, int, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.qtheory.step_.default:
            (_, grads, _, _, _, _, _, _, iteration, tensors, offsets, seed) = args[:12]
            for grad, tensor, offset in zip(grads, tensors, offsets, strict=True):
                self.keys.append((seed, int(iteration), tensor, offset, offset + grad.numel()))
        return func(*args, **(kwargs or {}))


def overlaps(keys: list[tuple[int, int, int, int, int]]) -> list:
    """Pairs of launches that share a word."""
    ordered = sorted(keys)
    return [(a, b) for a, b in pairwise(ordered) if a[:3] == b[:3] and b[3] < a[4]]


@stems
@few
@given(data=st.data())
def test_no_word_is_used_twice_in_a_run(stem, data):
    """Groups of any division, slots that rest, a mixture of storages' sizes, a resumed half."""
    lattice = data.draw(stored)
    shapes_ = data.draw(st.lists(shapes(), min_size=2, max_size=5))
    cut = data.draw(st.integers(1, len(shapes_) - 1))
    resting = data.draw(st.lists(st.frozensets(st.integers(0, 4)), min_size=3, max_size=3))
    layers = [qcuda.nn.Linear(n, m, lattice) for m, n in shapes_]

    def make() -> qcuda.LatticeOptimizer:
        groups = [layers[:cut], layers[cut:]]
        tables = [{"params": [layer.slot for layer in group]} for group in groups]
        return qcuda.LatticeOptimizer(tables, spec_class(stem)(lattice), seed=11)

    optimizer, steps = make(), 0
    with Launches() as launches:
        for rest in resting:
            for k, layer in enumerate(layers):
                layer.slot.grad = None if k in rest else torch.ones(shapes_[k])
                steps += k not in rest
            optimizer.step()
            resumed = make()
            resumed.load_state_dict(optimizer.state_dict())
            optimizer = resumed
    assert len(launches.keys) == steps
    assert overlaps(launches.keys) == []


def test_an_overlap_is_found():
    keys = [(1, 1, 0, 0, 8), (1, 1, 0, 8, 9), (1, 2, 0, 0, 8), (1, 1, 1, 0, 8)]
    assert overlaps(keys) == []
    assert overlaps([*keys, (1, 1, 0, 7, 8)]) != []


@examples(40)
@given(lattice=stored, shape=shapes(), data=st.data())
def test_both_rooms_store_the_same_bytes(lattice, shape, data):
    count = shape[0] * shape[1]
    index = data.draw(st.lists(st.integers(0, lattice.size - 1), min_size=1, max_size=9))
    flat = np.resize(np.array(index, np.int64), count)
    storage = storage_for(lattice)
    state = encode(torch.from_numpy(flat.reshape(shape)), lattice, storage)
    codes = plain_storage.to_codes(lattice, flat)
    theirs = codes if lattice.size > 3 else plain_storage.pack(codes)
    assert state.numpy().tobytes() == theirs.tobytes()
    assert decode(state, count, lattice, storage).tolist() == flat.tolist()
    assert (plain_storage.from_codes(lattice, codes) == flat).all()


@examples(30)
@given(stream=streams, count=st.integers(1, 70), offset=st.sampled_from([0, 1, 3, 2**34 - 5]))
def test_words_on_request_are_the_references(stream, count, offset):
    seed = seed_of(stream, count, offset)
    ours = qcuda.words(seed, 3, 2, count, stream=stream, offset=offset)
    assert ours.tolist() == philox.words(seed, 3, 2, stream, count, offset).tolist()


def test_seeds_are_spread():
    """Drawn arguments give seeds of both halves: the hash is no small number."""
    seeds = [seed_of(k) for k in range(64)]
    assert len({s >> 32 for s in seeds}) == 64
    assert math.log2(max(seeds)) > 60
