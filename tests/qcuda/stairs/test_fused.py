"""Batch norm fused with a stair: which bits are whose, and how far from torch's the others are."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from activation_cases import both, kept_bytes
from torch import nn

from qcuda.kernels import native
from qcuda.nn import BatchStair, MultiStep, fuse_
from qcuda.nn.stairs import odd_stair

EPS = 2.0**-24  # half a unit in the last place of float32, relative
SHAPES = {1: (60, 7), 2: (13, 7, 5, 6), 3: (5, 7, 3, 4, 5)}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


def drawn(*shape, seed=0):
    """Numbers whose channels have means and deviations of their own."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator)
    channel = torch.arange(shape[1]).reshape(1, -1, *(1 for _ in shape[2:]))
    return x * (1 + channel % 3) + channel % 5 - 2


def pair(dimensions=2, order=1, window="rectangular", channels=7, **options):
    """A norm with weights of both signs, and a stair."""
    norm = NORMS[dimensions](channels, **options)
    if norm.affine:
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(-1.5, 1.25, channels))
            norm.bias.copy_(torch.linspace(0.5, -0.5, channels))
    return norm, MultiStep(order, threshold=0.4, half_width=0.6, window=window)


def laid(numbers, x):
    """Numbers of channels, in the shape of x."""
    return numbers.reshape(1, -1, *(1 for _ in x.shape[2:]))


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("window", ["rectangular", "triangular"])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("places", [(9, 8), (4, 2)])
def test_bits_are_those_of_one_operation_after_the_other(order, window, channels_last, places):
    """Given statistics and sums: forwards (x - centre) gain + shift and the stair, backwards the
    formula of the header, each in float32; the sums are exact to their roundings in float64."""
    module = MultiStep(order, half_width=0.6, window=window)
    stair, folded = module.stair, order > 0
    shape = (stair.thresholds, stair.levels, folded)
    x, g = drawn(13, 7, *places), drawn(13, 7, *places, seed=1)
    if channels_last:
        x, g = (t.to(memory_format=torch.channels_last) for t in (x, g))
    table = torch.randn(4, 7, generator=torch.Generator().manual_seed(2))
    statistics, weight, bias = table[:2], table[2], table[3]
    numbers = (statistics, weight, bias)
    z = torch.ops.qtheory.batch_stair(x, *numbers, *shape, order == 0)
    centre, gain, shift = (laid(row, x) for row in (statistics[0], statistics[1] * weight, bias))
    y = ((x - centre) * gain + shift).requires_grad_()
    out = module(y)
    assert torch.equal(z, out)
    (d,) = torch.autograd.grad(out, y, g)
    rest = (module.scale, *shape, window == "triangular")
    back = torch.ops.qtheory.batch_stair_back
    dx, slopes, sums = back(x, g, *numbers, *rest, True, False)
    count, wide = x.numel() // 7, statistics[1].double()
    mean, slant = (sums[0] / count).float(), (sums[1] / count * wide * wide).float()
    deviation = x - centre
    assert torch.equal(dx, ((d - laid(mean, x)) - deviation * laid(slant, x)) * gain)
    assert torch.equal(slopes, torch.stack([sums[1] * wide, sums[0]]).float())
    given, _, same = back(x, g, *numbers, *rest, False, True)
    assert torch.equal(given, d * gain) and torch.equal(same, sums)
    assert back(x, g, *numbers, *rest, False, False)[2].numel() == 0
    found, moments = torch.ops.qtheory.batch_measure(x, None, None, None, 0.1, 0.01)
    variance = (moments[1] / count - (moments[0] / count).square()).clamp_min(0)
    assert torch.equal(found, torch.stack([moments[0] / count, (variance + 0.01).rsqrt()]).float())
    for sum_, terms in zip(
        (*sums, *moments),
        (d.double(), d.double() * deviation, x.double(), x.double() ** 2),
        strict=True,
    ):
        terms = terms.transpose(0, 1).flatten(1)
        error = (sum_ - terms.sum(1)).abs()
        assert (error <= 2 * terms.shape[1] * 2.0**-53 * terms.abs().sum(1)).all()


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("wide", [False, True])
def test_it_is_the_pair(dimensions, momentum, affine, wide):
    """Against the pair in float64. Outputs are equal but where y is within its roundings of a
    threshold or of a window's end: none here. Running numbers have one rounding for each of three
    updates, and so has the gradient for each of a dozen operations on terms below 4 |g|: a window
    is 0.83 high, a gain at most 2, and the three terms are below the first together."""
    norm, stair = pair(dimensions, affine=affine, momentum=momentum, eps=0.01)
    fused, exact = BatchStair(copy.deepcopy(norm), stair), norm.double()
    for step in range(3):
        x, g = drawn(*SHAPES[dimensions], seed=step), drawn(*SHAPES[dimensions], seed=step + 9)
        if wide and dimensions in FORMATS:
            x = x.to(memory_format=FORMATS[dimensions])
        fused.zero_grad()
        exact.zero_grad()
        out, slope = _with_parameters(fused, x, g)
        wanted, wanted_slope = _with_parameters(nn.Sequential(exact, stair), x.double(), g.double())
        assert torch.equal(out.double(), wanted) and out.stride() == x.stride()
        largest = 4 * g.abs().max()
        assert (slope.double() - wanted_slope).abs().max() <= 12 * EPS * largest
    for name, buffer in exact.named_buffers():
        ours = fused.norm.get_buffer(name)
        assert (
            ours.double() - buffer.double()
        ).abs().max() <= 3 * EPS * buffer.double().abs().max()
    for ours, theirs in zip(fused.parameters(), exact.parameters(), strict=True):
        error = (ours.grad.double() - theirs.grad.double()).abs().max()
        assert error <= 12 * EPS * x.numel() / 7 * largest
    fused.eval(), exact.eval()
    out, slope = _with_parameters(fused, x, g)
    wanted, wanted_slope = _with_parameters(nn.Sequential(exact, stair), x.double(), g.double())
    assert torch.equal(out.double(), wanted)
    assert (slope.double() - wanted_slope).abs().max() <= 12 * EPS * largest


def _with_parameters(module, x, upstream):
    """As `both`, and gradients of parameters are left where they belong."""
    x = x.detach().requires_grad_()
    out = module(x)
    out.backward(upstream)
    return out.detach(), x.grad


def test_statistics_are_no_worse_than_torchs():
    """Large means, where squares cancel: at most twice torch's error, both against float64, and a
    unit for the last rounding."""
    x = drawn(32, 7, 9, 9) * torch.linspace(0.1, 3, 7).reshape(1, 7, 1, 1) + 300
    norm, stair = pair(momentum=1.0)
    fused, plain = BatchStair(copy.deepcopy(norm), stair), copy.deepcopy(norm)
    fused(x), plain(x)
    wide = x.double().transpose(0, 1).flatten(1)
    for name, exact in (("running_mean", wide.mean(1)), ("running_var", wide.var(1))):
        ours, theirs = (
            (module.get_buffer(name).double() - exact).abs() / exact.abs()
            for module in (fused.norm, plain)
        )
        assert (ours <= 2 * theirs + 2 * EPS).all()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    "shape",
    [
        (9, 5, 40, 40),
        (700, 33, 2, 3),
        (40, 700, 2, 2),
        (900, 7, 1, 1),
        (3, 5, 70, 97),
        (5, 3, 13, 9),
    ],
)
def test_bits_do_not_depend_on_threads_or_vectors(shape, wide, monkeypatch):
    """Both orders of memory, few channels and many, on every level that this processor runs."""
    x, g = drawn(*shape), drawn(*shape, seed=1)
    if wide:
        x, g = (t.to(memory_format=torch.channels_last) for t in (x, g))
    best = native.library().qt_processor_level()
    levels = [
        native.open_library(path)
        for number, name in native.LEVELS.items()
        if number <= best and (path := native.find(f"libqtheory_{name}.so"))
    ]
    found, threads = [], torch.get_num_threads()
    for library in levels:
        monkeypatch.setattr(native, "library", lambda library=library: library)
        for number in (1, 3):
            torch.set_num_threads(number)
            fused = BatchStair(*pair(channels=shape[1]))
            out = _with_parameters(fused, x, g)
            found.append([*out, *(p.grad for p in fused.parameters()), *fused.buffers()])
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_float32_rounded_once(dtype):
    """Statistics, arithmetic and sums are those of the widened numbers."""
    x, g = drawn(13, 7, 5, 6).to(dtype), drawn(13, 7, 5, 6, seed=1).to(dtype)
    half, single = (BatchStair(*pair()) for _ in range(2))
    got, wanted = both(half, x, g), both(single, x.float(), g.float())
    assert all(torch.equal(a, b.to(dtype)) for a, b in zip(got, wanted, strict=True))
    assert torch.equal(half.norm.running_var, single.norm.running_var)
    lower = BatchStair(*pair()).to(dtype)
    assert both(lower, x, g)[0].dtype == dtype


def test_without_running_numbers_a_batch_is_measured_in_evaluation():
    fused, x = BatchStair(*pair(track_running_stats=False)), drawn(13, 7, 5, 6)
    trained = both(fused, x)
    assert all(map(torch.equal, both(fused.eval(), x), trained))
    assert list(fused.norm.buffers()) == []


def test_nothing_but_the_input_is_kept():
    """And the numbers of a channel: mean, 1 / std, weight and bias, 16 bytes."""
    x = torch.randn(8, 7, 10, 10)
    for order, window in ((1, "rectangular"), (3, "triangular")):
        assert kept_bytes(BatchStair(*pair(order=order, window=window)), x) == 22400 + 16 * 7
    relu = nn.Sequential(nn.BatchNorm2d(7), nn.ReLU())
    assert kept_bytes(relu, x) > 2 * 22400


def test_strides_of_all_kinds():
    fused = BatchStair(*pair())
    x, g = drawn(13, 7, 6, 8), drawn(13, 7, 6, 8, seed=1)
    for cut in ((slice(None), slice(None), slice(None, None, 2)), (slice(1, None),)):
        expected = both(copy.deepcopy(fused), x[cut].contiguous(), g[cut].contiguous())
        for upstream in (g[cut], g[cut].to(memory_format=torch.channels_last)):
            assert all(map(torch.equal, both(copy.deepcopy(fused), x[cut], upstream), expected))
    assert both(fused.eval(), x[:0])[1].shape == (0, 7, 6, 8)


def test_a_model_is_fused_in_place_and_keeps_its_keys():
    """Names of parameters in the state_dict, values after loading either way, bits of a step."""

    def model():
        torch.manual_seed(3)
        inner = nn.Sequential(nn.Conv2d(7, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
        return nn.Sequential(nn.Conv2d(3, 7, 3), *pair(), inner, MultiStep(2))

    plain, fused, x = model(), fuse_(model()), torch.randn(4, 3, 9, 9)
    assert isinstance(fused[1], BatchStair) and isinstance(fused[2], nn.Identity)
    assert type(fused[3][3]) is nn.BatchNorm2d  # what follows it is in another Sequential
    plain(x), fused(x)
    assert list(plain.state_dict()) == list(fused.state_dict())
    plain.load_state_dict(fused.state_dict())
    again = fuse_(model())
    again.load_state_dict(plain.state_dict())
    assert torch.equal(again.eval()(x), fused.eval()(x))
    assert all(map(torch.equal, again.state_dict().values(), fused.state_dict().values()))


def test_a_copy_is_saved_and_loaded_as_the_module():
    fused, x = BatchStair(*pair()), drawn(13, 7, 5, 6)
    for other in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        other(x)
        assert set(other.state_dict()) == set(nn.BatchNorm2d(7).state_dict())
        fused.load_state_dict(other.state_dict())
        assert torch.equal(fused.norm.running_var, other.norm.running_var)
    assert BatchStair(*pair()).to("meta")(x.to("meta")).shape == x.shape


def test_pairs_that_somebody_watches_are_left():
    model = nn.Sequential(*pair(), *pair())
    model[0].register_forward_hook(lambda *_: None)
    fuse_(model)
    assert type(model[0]) is nn.BatchNorm2d and isinstance(model[2], BatchStair)


def test_a_norm_of_ranks_or_another_type_runs_first():
    """Conversion to SyncBatchNorm keeps the stair; float64 is torch's norm and our stair."""
    fused = nn.SyncBatchNorm.convert_sync_batchnorm(BatchStair(*pair()))
    assert type(fused.norm) is nn.SyncBatchNorm
    x = drawn(13, 7, 5, 6)
    assert torch.equal(fused.eval()(x), fused.stair(fused.norm(x)))
    double = BatchStair(*pair()).double()
    assert double(x.double()).dtype == torch.float64


@pytest.mark.parametrize("training", [True, False])
def test_compiled_and_under_torch_func(training):
    """One graph; per-example gradients where statistics are given; no second derivative."""
    torch._dynamo.reset()
    fused, x = BatchStair(*pair()).train(training), drawn(4, 7, 5, 6)
    compiled = torch.compile(copy.deepcopy(fused), fullgraph=True, backend="aot_eager")
    assert all(map(torch.equal, both(compiled, x), both(fused, x)))
    leaf = x.requires_grad_()
    (slope,) = torch.autograd.grad(fused(leaf).square().sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once, got a second derivative"):
        slope.sum().backward()
    if not training:
        grad = torch.func.grad(lambda v: fused(v).sum())
        assert torch.equal(grad(x), both(fused, x)[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(dtype):
    x, g, ops = drawn(3, 5, 4, 2).to(dtype), drawn(3, 5, 4, 2, seed=1).to(dtype), torch.ops.qtheory
    scale, stair = MultiStep(2).scale, ([0.5, 0.75], [0.0, 0.5, 1.0], True)
    channels = torch.randn(2, 5), torch.randn(5), None
    running = torch.zeros(5), torch.ones(5), torch.tensor(3)
    calls = (
        (ops.batch_measure, (x, None, None, None, 0.1, 0.01)),
        (ops.batch_measure, (x, *running, None, 0.01)),
        (ops.batch_stair, (x, *channels, *stair, False)),
        (ops.batch_stair_back, (x, g, *channels, scale, *stair, False, True, True)),
        (ops.batch_stair_back, (x, g, *channels, scale, *stair, True, False, False)),
    )
    for operator, arguments in calls:
        assert set(torch.library.opcheck(operator.default, arguments).values()) == {"SUCCESS"}


MEASURE, STAIR = torch.ops.qtheory.batch_measure, torch.ops.qtheory.batch_stair


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchStair(nn.GroupNorm(1, 7), MultiStep()), "one of torch's three, got GroupN"),
        (lambda: BatchStair(nn.BatchNorm2d(7), nn.ReLU()), "a stair to fuse is .* got ReLU"),
        (lambda: fuse_(nn.Sequential(nn.BatchNorm2d(7), nn.ReLU())), "odd stair, got none"),
        (lambda: BatchStair(*pair())(torch.ones(1, 7, 1, 1)), "more than one value a channel, got"),
        (lambda: BatchStair(*pair())(torch.ones(3, 7)), "expected 4D input"),
        (lambda: BatchStair(*pair())(torch.ones(3, 6, 2, 2)), "of 7 channels takes as many, got 6"),
        (
            lambda: MEASURE(torch.ones(3, 7, dtype=torch.int32), None, None, None, 0.1, 0.0),
            "take float32, bfloat16 or float16 of two axes or more, got torch.int32",
        ),
        (
            lambda: MEASURE(torch.ones(3, 7), torch.ones(6), torch.ones(6), None, 0.1, 0.0),
            r"variance are 7 numbers of one type on cpu, got torch.float32 \(6,\)",
        ),
        (
            lambda: MEASURE(torch.ones(3, 7), torch.ones(7), None, None, 0.1, 0.0),
            "a mean and a variance with a share .* got less",
        ),
        (
            lambda: STAIR(torch.ones(3, 7), torch.ones(7), None, None, [0.5], [0, 1], True, False),
            r"statistics are float32 of shape \(2, 7\) on cpu, got torch.float32 \(7,\)",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_at_a_threshold_are_those_of_the_stair():
    """A channel of known statistics: mean 0, variance 1, so y = x and ties are the stair's."""
    x = torch.tensor([0.5, -0.5, 1.0, -1.0, 0.0, -0.0]).reshape(6, 1)
    norm, stair = nn.BatchNorm1d(1, eps=0.0).eval(), MultiStep()
    out = BatchStair(norm, stair)(x).detach()
    wanted = odd_stair(x, stair.scale, stair.stair, "uniform")
    assert torch.equal(out, wanted)
    assert np.signbit(out.numpy()).tolist() == np.signbit(wanted.numpy()).tolist()
