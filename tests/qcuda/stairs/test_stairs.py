"""NoisyStair: the plain reference, derivatives, draws by counter, and known faults."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from torch import nn

from qcuda.nn import NoisyStair, noise_stairs, number_stairs, set_iteration
from qcuda.nn.stairs import FAMILIES, FORWARDS, noisy_stair
from qreference import stairs as reference
from qreference.philox import words as reference_words
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair
from qtheory.streams import Stream

TERNARY = Stair.nearest(Lattice.ternary())
UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.3, 0.5))
families = pytest.mark.parametrize("family", FAMILIES)
forwards = pytest.mark.parametrize("forward", FORWARDS)
scales = pytest.mark.parametrize(("scale", "mean"), [(0.7, 0.0), (0.25, -0.3), (3.0, 0.1)])
X = np.concatenate([np.arange(-256, 257) / 64, np.random.default_rng(1).normal(size=2000)])
# At unit scale: the largest density, and the largest slope of the density.
PEAK = {"uniform": 0.5, "triangular": 1.0, "normal": 0.4, "logistic": 0.25}
STEEPEST = {"uniform": 0.0, "triangular": 1.0, "normal": 0.242, "logistic": 0.097}
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}


def layer(forward="expectation", family="uniform", scale=0.5, mean=0.0, stair=TERNARY, odd=False):
    made = NoisyStair(stair, family=family, scale=scale, mean=mean, forward=forward, odd=odd)
    number_stairs(made, 7)
    return made


def slopes(module, x):
    """Output and slopes in x."""
    x = x.clone().requires_grad_()
    out = module(x)
    out.backward(torch.ones_like(out))
    return out.detach(), x.grad


def argument_error(dtype, scale):
    """Of a = (x - mean - t) / scale: numbers below 4 + 0.3 + 1, five roundings."""
    return 5 * 5.3 * UNIT[dtype] / scale


def far_from_kinks(family, scale, mean, stair=UNEVEN):
    """Uniform slopes jump at the ends of windows: points further from them than any rounding."""
    ends = np.add.outer(stair.thresholds, [-scale, scale]).ravel() + mean
    return (np.abs(X[:, None] - ends).min(axis=1) > 1e-4) | (family != "uniform")


# The reference


@families
@scales
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_expectations_are_the_references(family, scale, mean, dtype):
    """F is off by 8 roundings and by its slope times the argument's error; the sum by 8 more.
    A slope likewise, relative to the peak."""
    module = layer("expectation", family, scale, mean, UNEVEN)
    spec = reference.NoisyStair(UNEVEN, family, scale, mean)
    x = X.astype(dtype)
    out, slope = slopes(module, torch.from_numpy(x))
    unit, off = UNIT[dtype], argument_error(dtype, scale)
    bound = UNEVEN.height * (16 * unit + PEAK[family] * off)
    wanted = reference.activate(spec, x.astype(np.float64), "expectation")
    assert out.dtype == getattr(torch, dtype) and np.abs(out.numpy() - wanted).max() <= bound
    here = far_from_kinks(family, scale, mean)
    assert here.mean() > 0.95
    wanted = reference.derivative(spec, x.astype(np.float64))
    bound = UNEVEN.height / scale * (16 * unit * PEAK[family] + STEEPEST[family] * off)
    assert np.abs(slope.numpy() - wanted)[here].max() <= bound


@families
@scales
def test_derivatives_in_scale_and_mean_are_the_references(family, scale, mean):
    """Sums of 2500 terms below height * peak / scale: an error of a few roundings each."""
    spec = reference.NoisyStair(UNEVEN, family, scale, mean)
    numbers = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (scale, mean)]
    weights = np.random.default_rng(2).normal(size=X.size)
    for forward in ("expectation", "mode"):
        out = noisy_stair(torch.from_numpy(X), *numbers, UNEVEN, family, forward)
        got = torch.autograd.grad(out, numbers, torch.from_numpy(weights))
        wanted = [
            (weights * f(spec, X)).sum()
            for f in (reference.derivative_in_scale, reference.derivative_in_mean)
        ]
        bound = X.size * 5 * UNEVEN.height * PEAK[family] / scale * 40 * UNIT["float64"]
        assert max(abs(g.item() - w) for g, w in zip(got, wanted, strict=True)) <= bound
        assert abs(wanted[0]) > 1e6 * bound


@families
@scales
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_modes_are_the_references_away_from_ties(family, scale, mean, dtype):
    """Two probabilities, each off by the error of F twice, differ by more than that."""
    spec = reference.NoisyStair(UNEVEN, family, scale, mean)
    x = X.astype(dtype)
    out = layer("mode", family, scale, mean, UNEVEN)(torch.from_numpy(x)).numpy()
    reached = reference.cumulative(spec, x)
    ends = np.concatenate([np.ones((len(x), 1)), reached, np.zeros((len(x), 1))], axis=1)
    chances = np.sort(-np.diff(ends, axis=1), axis=1)
    error = 4 * (8 * UNIT[dtype] + PEAK[family] * argument_error(dtype, scale))
    clear = chances[:, -1] - chances[:, -2] > error
    assert clear.mean() > 0.95
    assert np.array_equal(out[clear], reference.activate(spec, x, "mode")[clear])


@families
@scales
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_are_the_references_but_at_the_knife_edge(family, scale, mean, dtype):
    """A threshold floor(F 2**32) is off by the error of F times 2**32, and one. Words are those of
    the counter; some are put on the thresholds."""
    spec = reference.NoisyStair(UNEVEN, family, scale, mean)
    x = X.astype(dtype)
    module = layer("random", family, scale, mean, UNEVEN)
    module.tensor = 3
    set_iteration(module, 11, row=5)
    drawn = reference_words(7, 11, 3, Stream.ACTIVATE, x.size, 5)
    assert module.words(torch.from_numpy(x)).tolist() == drawn.tolist()
    edges = reference.below(spec, x).astype(np.int64)
    error = (8 * UNIT[dtype] + PEAK[family] * argument_error(dtype, scale)) * 2.0**32 + 1

    def differ(words):
        wanted = reference.activate(spec, x, "random", words.astype(np.uint32))
        given = torch.from_numpy(words.astype(np.int64))
        numbers = (torch.tensor(v, dtype=torch.float64) for v in (scale, mean))
        got = noisy_stair(torch.from_numpy(x), *numbers, UNEVEN, family, "random", given)
        edge = (np.abs(words.astype(np.int64)[:, None] - edges) <= error).any(axis=1)
        return got.numpy() != wanted, edge

    wrong, edge = differ(drawn)
    assert not (wrong & ~edge).any() and edge.mean() < 0.05
    assert np.array_equal(
        module(torch.from_numpy(x)).numpy()[~edge],
        reference.activate(spec, x, "random", drawn)[~edge],
    )
    for beside in (-int(error) - 2, -1, 0, int(error) + 2):
        on = np.clip(edges[:, 1] + beside, 0, 2**32 - 1)
        wrong, edge = differ(on)
        assert not (wrong & ~edge).any()
        assert abs(beside) <= error or edge.mean() < 0.7  # the others are at 0 or 2**32


@families
def test_gradcheck_of_the_expectation(family):
    """Differences of step 1e-6 in float64: rounding 2**-52 * 6 / 1e-6 and a third derivative times
    1e-12 are below 1e-8; no point is within 1e-3 of a kink."""
    x = torch.from_numpy(np.linspace(-2.003, 1.997, 21) + 0.0123).requires_grad_()
    scale = torch.tensor(0.45, dtype=torch.float64, requires_grad=True)
    mean = torch.tensor(-0.1, dtype=torch.float64, requires_grad=True)

    def function(*numbers):
        return noisy_stair(*numbers, UNEVEN, family, "expectation")

    assert torch.autograd.gradcheck(function, (x, scale, mean), eps=1e-6, atol=1e-7, rtol=1e-6)


@families
@forwards
@pytest.mark.parametrize("tie", ["up", "down", "away"])
def test_without_noise_it_is_the_stair_and_nothing_flows_back(family, forward, tie):
    """Scale 0 and evaluation, the latter at any scale; the mean still shifts, 64ths hit ties. A
    hard pass is the stair with slopes, in evaluation as well."""
    stair = Stair(UNEVEN.levels, (-1.0, 0.0, 0.5), tie)
    x = torch.from_numpy(X[:513])
    for scale, training in ((0.0, True), (0.7, False)):
        module = layer(forward, family, scale, -0.25, stair).train(training)
        assert module(x).numpy().tolist() == stair(X[:513] + 0.25).tolist()
        flows = module(x.clone().requires_grad_()).requires_grad and slopes(module, x)[1].any()
        assert bool(flows) == (forward == "hard" and scale > 0)
    numbers = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.0, -0.25)]
    words = torch.zeros(x.shape, dtype=torch.int64) if forward == "random" else None
    out = noisy_stair(x, *numbers, stair, family, forward, words)
    assert all(not g.any() for g in torch.autograd.grad(out.sum(), numbers))


# Draws


def test_the_same_numbers_give_the_same_draws():
    """A layer number, an iteration, a seed each give others; rows join shards to the whole."""
    model = nn.Sequential(*(layer("random", "normal", 0.8) for _ in range(2)))
    number_stairs(model, 2**64 - 1)
    first, second = model
    x = torch.zeros(4000)
    whole = first(x)
    assert torch.equal(whole, first(x)) and not torch.equal(whole, second(x))
    shard, images = copy.deepcopy(first), torch.zeros(10, 4, 20, 5)
    shard.row = 1000
    assert torch.equal(shard(x[:3000]), whole[1000:])
    shard.row = 7
    wide = images[7:].to(memory_format=torch.channels_last)
    assert torch.equal(shard(wide), first(images)[7:]) and torch.equal(first(images).ravel(), whole)
    set_iteration(model, 2**32 - 1)
    assert not torch.equal(whole, first(x))
    set_iteration(model, 0)
    assert torch.equal(whole, first(x))
    number_stairs(model, 3)
    assert not torch.equal(whole, first(x))
    assert list(noise_stairs(model)) == ["0", "1"] and [m.tensor for m in model] == [0, 1]


@families
def test_draws_have_the_law_by_every_word(family):
    """All words of 16 bits, float32: counts off by 1 at most, and F by 2**-20, below 2**-16."""
    words = (torch.arange(2**16) << 16) + 2**15
    scale, mean = (torch.tensor(v, dtype=torch.float64) for v in (0.6, 0.05))
    for x in (-1.1, 0.1, 0.45):
        out = noisy_stair(torch.full((2**16,), x), scale, mean, UNEVEN, family, "random", words)
        spec = reference.NoisyStair(UNEVEN, family, 0.6, 0.05)
        past = [1.0, *reference.cumulative(spec, np.array([x], np.float32))[0], 0.0]
        counts = [(out == level).double().mean().item() for level in UNEVEN.levels]
        assert np.abs(np.array(counts) + np.diff(past)).max() <= 2 * 2.0**-16


# Compiled, converted, saved


@forwards
def test_a_moving_schedule_compiles_nothing_again(forward):
    """Scale, mean and iteration are tensors; the compiled layer is the eager one, bit for bit."""
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    module = layer(forward, "logistic", 0.4)
    compiled = torch.compile(module, fullgraph=True, backend=counter)
    x = torch.from_numpy(X).float()
    compiled(x.clone().requires_grad_())
    frames = counter.frame_count
    for iteration, (scale, mean) in enumerate([(0.4, 0.0), (0.3, -0.2), (0.1, 0.1), (0.0, 0.0)]):
        module.set_noise(scale, mean)
        set_iteration(module, iteration)
        assert all(map(torch.equal, slopes(compiled, x), slopes(module, x)))
    assert counter.frame_count == frames > 0


def test_conversions_keep_the_scale_and_checkpoints_carry_it():
    module = layer("expectation", "normal", 0.1, 0.3)
    assert module.bfloat16().scale.dtype == torch.float64
    assert module.half().scale.item() == 0.1 and module.float().mean.item() == 0.3
    other = layer()
    other.load_state_dict(module.state_dict())
    assert float(other.scale) == 0.1 and float(other.mean) == 0.3
    assert set(module.state_dict()) == {"scale", "mean"}
    assert "normal" in repr(module) and "scale=0.1" in repr(module)
    learned = NoisyStair(TERNARY, scale=0.1, learned=True).bfloat16()
    assert learned.scale.dtype == torch.float64 and learned.scale.item() == 0.1
    learned(torch.zeros(2, dtype=torch.bfloat16)).sum().backward()
    assert learned.scale.grad.dtype == torch.float64


def test_a_learned_noise_is_trained():
    """Descent on (E q - 0.3)**2 at x = 0.3 finds a mean or scale that meets it."""
    module = NoisyStair(TERNARY, family="logistic", scale=0.3, mean=0.2, learned=True)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x = torch.full((8,), 0.3)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = (module(x) - 0.3).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0]
    assert len(list(module.parameters())) == 2 and module.scale.item() != 0.3


@families
@forwards
def test_tiny_scales_and_huge_inputs_have_no_nan(family, forward):
    """1e-46 is 0 in float32, 1e-40 overflows slopes at thresholds, which infinity says, not NaN."""
    far = torch.tensor([0.1, 3e38, -3e38, float("inf"), -float("inf")])
    x = torch.cat([far, torch.tensor([-0.5, 0.5])])
    for scale in (1e-46, 1e-40, 1e-3, 3e38):
        module = NoisyStair(TERNARY, family=family, scale=scale, forward=forward, learned=True)
        number_stairs(module, 7)
        out, slope = slopes(module, x)
        numbers = torch.stack([module.scale.grad, module.mean.grad])
        assert not (out.isnan().any() or slope.isnan().any() or numbers.isnan().any())
        if scale == 1e-46:
            assert torch.equal(out, module.hard(x)) and not slope.any() and not numbers.any()
        if scale < 1:
            assert out[:5].tolist() == [0.0, 1.0, -1.0, 1.0, -1.0] and not slope[:5].any()


@forwards
def test_a_copy_is_the_layer(forward):
    module = layer(forward, "normal", 0.3, 0.1)
    set_iteration(module, 5, row=2)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(torch.from_numpy(X)), module(torch.from_numpy(X)))
        other.set_noise(0.0)
        assert module.scale.item() == 0.3


def test_the_iteration_is_where_the_layer_is_and_in_no_checkpoint():
    with torch.device("meta"):
        module = layer("random")
    assert module.iteration.is_meta and "uniform" in repr(module)
    assert "iteration" not in module.state_dict()
    assert module.to_empty(device="cpu").iteration.item() == 0
    set_iteration(module, 2**32 - 1)
    for converted in (module.half(), module.double()):
        assert converted.iteration.dtype == torch.int64
        assert converted.iteration.item() == 2**32 - 1


def test_draws_do_not_depend_on_threads():
    module, x, threads = layer("random", "normal", 0.8), torch.zeros(10**5), torch.get_num_threads()
    draws = []
    for number in (1, 3):
        torch.set_num_threads(number)
        draws.append(module(x))
    torch.set_num_threads(threads)
    assert torch.equal(*draws)


def test_nan_is_handed_on():
    x = torch.tensor([float("nan"), 0.3])
    lost = NoisyStair(TERNARY, learned=True)
    with torch.no_grad():
        lost.scale.fill_(float("nan"))
    assert lost(x).isnan().all()
    for forward in FORWARDS:
        for module in (layer(forward), layer(forward, scale=0.0), layer(forward).eval()):
            assert module(x).isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layer(family="cauchy"), "a noise is one of .*, got 'cauchy'"),
        (lambda: layer("soft"), "a forward pass is one of .*, got 'soft'"),
        (lambda: layer(scale=-0.1), "scale of noise is finite and >= 0, got -0.1"),
        (lambda: layer().set_noise(float("nan")), "finite and >= 0, got nan"),
        (lambda: layer(mean=float("inf")), "mean of a noise is finite, got inf"),
        (
            lambda: layer()(torch.ones(2, dtype=torch.int64)),
            "floating-point numbers, got torch.int",
        ),
        (lambda: number_stairs(layer(), -1), "a seed is in 0.*, got -1"),
        (lambda: set_iteration(layer(), 2**32), "an iteration is in 0..4294967295, got 4294967296"),
        (lambda: set_iteration(layer(), 1, -1), "the first row of a batch is >= 0, got -1"),
        (
            lambda: NoisyStair(TERNARY, forward="random")(torch.ones(2)),
            "its own tensor number, from number_stairs",
        ),
        (
            lambda: noisy_stair(
                torch.ones(2), torch.ones(()), torch.zeros(()), TERNARY, "normal", "random"
            ),
            "it needs them, got 'random'",
        ),
        (lambda: layer(forward="hard", scale=0.0, odd=True), "a scale > 0 and mean 0, got 0.0 and"),
        (lambda: layer(forward="hard", mean=0.1, odd=True), "a scale > 0 and mean 0, got 0.5 and"),
        (lambda: layer(odd=True), "an odd stair has a hard pass .*, got expectation, uniform"),
        (lambda: layer("hard", "normal", odd=True), "an odd stair has .*, got hard, normal"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
