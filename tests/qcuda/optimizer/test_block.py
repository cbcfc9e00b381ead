"""Blocks of weights accepted by the loss: word by word against the reference, and their law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from qcuda import BlockMetropolis
from qcuda.errors import InputError
from qcuda.nn import Linear
from qreference import walker
from qreference.philox import words
from qtheory import DST, Lattice
from qtheory.algorithms.metropolis import Metropolis
from qtheory.streams import Stream

TERNARY = Lattice.ternary()
SEED, TEMPERATURE = 11, 0.8
SPEC, EVERY = Metropolis(TERNARY, proposal=0.6), Metropolis(TERNARY, proposal=1.0)


class Pair(torch.nn.Module):
    """Two layers with 6 and 4 weights; the loss has terms of two weights of either layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Linear(3, 2, TERNARY, bias=True), Linear(2, 2, TERNARY)
        for number, layer in enumerate((self.first, self.second)):
            layer.draw_levels(SEED, number)
            torch.nn.init.ones_(layer.bias) if layer.bias is not None else None

    def loss(self) -> torch.Tensor:
        return ((self.second.weight @ self.first.weight - torch.eye(2, 3)) ** 2).sum()

    def indices(self) -> list[np.ndarray]:
        return [layer.index.numpy().copy() for layer in (self.first, self.second)]


def loss_of(indices: list[np.ndarray]) -> float:
    first, second = (TERNARY.levels[index] for index in indices)
    return float(((second @ first - np.eye(2, 3)) ** 2).sum())


def test_steps_are_those_of_the_reference_word_by_word():
    """Proposals by the plain walker, the decision by the word of the tensor after the last. Losses
    are whole numbers; a threshold is the same but for the last bit of exp, 2**-52, of 2**32."""
    model = Pair()
    moving = BlockMetropolis(model.parameters(), SPEC, TEMPERATURE, seed=SEED)
    here, kept = model.indices(), 0
    for k in range(1, 401):
        there = [
            walker.step(
                SPEC,
                index,
                np.zeros(index.shape, np.float32),
                words(SEED, k, number, Stream.MOVE, index.size).reshape(index.shape),
            )
            for number, index in enumerate(here)
        ]
        word = int(words(SEED, k, 2, Stream.MOVE, 1)[0])
        rise = loss_of(there) - loss_of(here)
        if word < math.exp(-max(rise, 0.0) / TEMPERATURE) * 2**32:
            here, kept = there, kept + 1
        assert moving.step(model.loss) == loss_of(here)
        assert all((a == b).all() for a, b in zip(model.indices(), here, strict=True))
    assert (moving.accepted, moving.asked) == (kept, 400)
    assert 40 < kept < 360


def test_proposals_are_as_likely_as_their_way_back():
    """The integers of the law: up from i as often as down from i + 1; the ends refuse."""
    for share in (1.0, 0.6, 1e-3):
        spec = Metropolis(TERNARY, 1.0, share)
        found = walker.outcomes(spec, np.arange(3), np.zeros(3, np.float32))
        down, up = found.thresholds[:, 0], np.uint64(2**32) - found.thresholds[:, 1]
        assert (down == up).all() and (down == down[0]).all()
        assert found.destinations.tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 2]]


def test_a_variance_makes_it_choosier():
    """v = 2 T**2 ln 2 halves what is certain: every second word of a flat loss refuses."""
    variance = 2 * math.log(2) * TEMPERATURE**2
    model = Pair()
    moving = BlockMetropolis(model.parameters(), EVERY, TEMPERATURE, variance=variance, seed=SEED)
    for _ in range(60):
        moving.step(lambda: 3.0)
    accepted = sum(words(SEED, k, 2, Stream.MOVE, 1)[0] < 2**31 for k in range(1, 61))
    assert moving.accepted == accepted and 10 < accepted < 50


def test_a_refused_block_leaves_every_byte_and_a_loss_that_is_no_number_refuses():
    model = Pair()
    moving = BlockMetropolis(model.parameters(), EVERY, TEMPERATURE, seed=SEED)
    before = [p.detach().clone() for p in model.state_dict().values()]
    for bad in (math.nan, math.inf):
        values = iter((0.0, bad))
        assert moving.step(lambda values=values: next(values)) == 0.0
        after = model.state_dict().values()
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    with pytest.raises(InputError, match="finite before a proposal, got nan"):
        moving.step(lambda: math.nan)
    assert all(slot.grad is None for slot in moving.slots)
    assert moving.asked == 2


def test_a_state_goes_on_with_the_same_words():
    model, other = Pair(), Pair()
    moving = BlockMetropolis(model.parameters(), SPEC, TEMPERATURE, seed=SEED)
    for _ in range(7):
        moving.step(model.loss)
    again = BlockMetropolis(other.parameters(), SPEC, 5.0, seed=SEED)
    again.load_state_dict(moving.state_dict())
    other.load_state_dict(model.state_dict())
    for _ in range(20):
        assert moving.step(model.loss) == again.step(other.loss)
    assert (moving.accepted, moving.asked) == (again.accepted, again.asked)
    assert all((a == b).all() for a, b in zip(model.indices(), other.indices(), strict=True))
    with pytest.raises(InputError, match="a state has mover"):
        again.load_state_dict({})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "a temperature is finite and positive, got 0"),
        ({"variance": -1.0}, "a variance is finite and at least 0, got -1"),
        ({"proposal": DST(TERNARY)}, "goes to another level and back alike without a force"),
        ({"proposal": Metropolis(Lattice.binary())}, "lattice"),
        ({"params": [torch.nn.Parameter(torch.zeros(2))]}, "a block has lattice weights, got none"),
    ],
)
def test_a_bad_number_is_named(changes: dict, message: str):
    model = Pair()
    given = {"params": model.parameters(), "proposal": SPEC, "temperature": 1.0, **changes}
    with pytest.raises(ValueError, match=message):
        BlockMetropolis(**given)


def test_a_temperature_may_be_changed_between_steps():
    model = Pair()
    moving = BlockMetropolis(model.parameters(), SPEC, 1.0)
    moving.temperature = -1.0
    with pytest.raises(InputError, match="got -1"):
        moving.step(lambda: 0.0)
