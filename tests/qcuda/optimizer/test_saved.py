"""What is saved, who may load it, and what copies of an optimiser do."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import qcuda
from qtheory import DST, Lattice, StochasticRounding
from qtheory.optimisers import SGD, Adam, Momentum

TERNARY = Lattice.ternary()
BASES = [SGD(0.4), Momentum(0.4), Adam(0.4)]
by_base = pytest.mark.parametrize("base", BASES, ids=lambda b: type(b).__name__)


class Net(nn.Module):
    """Two lattice layers of one shape, a norm, and an optimiser in one object."""

    def __init__(self, base, named: bool = False, spec=None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one = qcuda.nn.Linear(6, 6, TERNARY, bias=False)
        self.two = qcuda.nn.Linear(6, 6, TERNARY, bias=True)
        self.norm = nn.BatchNorm1d(6)
        qcuda.nn.draw_levels(self, 1)
        params = self.named_parameters() if named else self.parameters()
        self.optimizer = qcuda.LatticeOptimizer(params, spec or DST(TERNARY), base=base, seed=3)

    def train_step(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for p in self.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        self.optimizer.step()

    def bytes(self) -> list:
        tensors = [self.one.state, self.two.state, self.two.bias, self.norm.weight, self.norm.bias]
        state = self.optimizer.state_dict()["state"]
        kept = [(n, k, v.tolist()) for n, s in sorted(state.items()) for k, v in sorted(s.items())]
        return [[t.tolist() for t in tensors], kept]


def saved(net: Net) -> dict:
    buffer = io.BytesIO()
    torch.save(net.optimizer.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@by_base
@pytest.mark.parametrize("names", [(False, False), (True, True), (True, False), (False, True)])
def test_counts_and_moments_come_back_with_or_without_names(base, names):
    first, second = (Net(base, named) for named in names)
    for seed in range(3):
        first.train_step(seed)
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(saved(first))
    assert second.optimizer.moved.tolist() == first.optimizer.moved.tolist() != [0, 0]
    for net in (first, second):
        net.train_step(7)
    assert first.bytes() == second.bytes()


def test_a_saved_state_is_plain():
    """Numbers and words in groups, tensors in states: what torch.load takes without pickles."""
    net = Net(Adam(0.4))
    net.train_step(1)
    state = saved(net)
    assert state["param_groups"][0]["iteration"] == 1
    assert state["param_groups"][0]["spec"].startswith("dst on Lattice(")
    assert sorted(state["state"][0]) == ["first", "moved", "nan", "second"]
    assert sorted(state["state"][2]) == ["first", "second", "step"]
    for group in state["param_groups"]:
        for key, value in group.items():
            assert isinstance(value, int | float | str | tuple | list), key


def test_a_state_of_parameters_in_another_order_is_refused():
    net = Net(Adam(0.4), named=True)
    net.train_step(1)
    other = Net(Adam(0.4), named=True)
    turned = list(other.named_parameters())
    turned[0], turned[1] = turned[1], turned[0]  # two lattice weights of one shape
    optimizer = qcuda.LatticeOptimizer(turned, DST(TERNARY), base=Adam(0.4), seed=3)
    with pytest.raises(ValueError, match=r"names in the same order, got 'one.slot' where .*'two"):
        optimizer.load_state_dict(saved(net))
    assert optimizer.state == {}


def test_a_state_of_another_algorithm_is_refused():
    net, other = Net(SGD(0.4)), Net(SGD(0.4), spec=StochasticRounding(TERNARY))
    with pytest.raises(ValueError, match=r"a group has the keys|a state is of the group's spec"):
        net.optimizer.load_state_dict(saved(other))
    with pytest.raises(ValueError, match=r"group's spec, stochastic_rounding on .*, got dst on"):
        other.optimizer.load_state_dict(saved(net))


@by_base
@pytest.mark.parametrize("how", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_with_its_model_trains_alone(base, how):
    net, twin = Net(base), Net(base)
    for each in (net, twin):
        each.train_step(1)
    other = how(net)
    before = net.bytes()
    for each in (other, twin):
        each.train_step(2)
    assert other.bytes() == twin.bytes()
    assert net.bytes() == before
    assert other.optimizer.slots[0] is other.one.slot


def test_a_shallow_copy_is_the_same_optimiser():
    """As with torch's: it shares groups, states and counts."""
    net, twin = Net(Adam(0.4)), Net(Adam(0.4))
    for each in (net, twin):
        each.train_step(1)
    net.optimizer = copy.copy(net.optimizer)
    for each in (net, twin):
        each.train_step(2)
    assert net.bytes() == twin.bytes()


@pytest.mark.parametrize("how", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_without_its_model_says_so_when_it_steps(how):
    net = Net(Adam(0.4))
    net.train_step(1)
    alone = how(net.optimizer)
    for p in alone.slots:
        p.grad = torch.ones(6, 6)
    with pytest.raises(ReferenceError, match="is copied and pickled in one object with it"):
        alone.step()


def test_zeroed_gradients_move_what_moments_still_ask():
    """`set_to_none=False` keeps the tensors: the step is that of gradients that are zero."""
    net, twin = Net(Momentum(0.4)), Net(Momentum(0.4))
    for each in (net, twin):
        each.train_step(1)
    net.optimizer.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())
    for p in twin.parameters():
        p.grad = torch.zeros(p.shape)
    for each in (net, twin):
        each.optimizer.step()
    assert net.bytes() == twin.bytes()


def test_hooks_are_called():
    net, calls = Net(SGD(0.4)), []
    net.optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    net.optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    net.optimizer.register_state_dict_post_hook(lambda o, s: calls.append("saved"))
    net.optimizer.register_load_state_dict_pre_hook(lambda o, s: calls.append("loading"))
    net.optimizer.register_load_state_dict_post_hook(lambda o: calls.append("loaded"))
    net.train_step(1)
    net.optimizer.load_state_dict(net.optimizer.state_dict())
    assert calls == ["before", "after", "saved", "loading", "loaded"]
