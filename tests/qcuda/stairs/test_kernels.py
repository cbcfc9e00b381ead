"""The kernels of odd stairs: half precision, what is kept, strides, torch.func, compilation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from activation_cases import both, kept_bytes
from torch import nn
from torch.func import grad, hessian, jacrev, vmap

from qcuda.kernels.stairs import count_bits
from qcuda.nn import MultiStep, NoisyStair
from qreference import stairs as reference
from qtheory.stairs.stair import Stair

WINDOWS = ("rectangular", "triangular")
orders = pytest.mark.parametrize("order", [0, 1, 2, 3, 5])
windows = pytest.mark.parametrize("window", WINDOWS)
UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.25, 0.5), "up")


def same(a, b):
    return torch.equal(a.nan_to_num(nan=7.0), b.nan_to_num(nan=7.0)) and torch.equal(
        a.isnan(), b.isnan()
    )


@orders
@windows
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_float32_rounded_once(order, window, dtype):
    """Every number of 16 bits, NaN and infinities among them, and gradients of all sizes."""
    x = torch.from_numpy(np.arange(2**16, dtype=np.uint16)).view(dtype)
    module = MultiStep(order, threshold=0.3, half_width=0.7, window=window)
    upstream = x[torch.randperm(2**16, generator=torch.Generator().manual_seed(order))]
    out, slope = both(module, x, upstream)
    wide, wide_slope = both(module, x.float(), upstream.float())
    assert same(out, wide.to(dtype)) and same(slope, wide_slope.to(dtype))
    signs = [torch.signbit(t) & ~t.isnan() for t in (out, wide, slope, wide_slope)]
    assert torch.equal(signs[0], signs[1]) and torch.equal(signs[2], signs[3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@windows
def test_a_stair_given_whole_is_the_references(window, dtype):
    """Multiples of 1/16, half width 1/2, jumps of few bits: no rounding anywhere."""
    x = torch.arange(-48, 49).to(dtype) / 16
    family = {"rectangular": "uniform", "triangular": "triangular"}[window]
    module = NoisyStair(UNEVEN, family=family, scale=0.5, forward="hard", odd=True)
    spec = reference.NoisyStair(UNEVEN, family, 0.5, odd=True)
    out, slope = both(module, x)
    at = x.double().numpy()
    assert out.tolist() == reference.activate(spec, at, "hard").tolist()
    assert slope.tolist() == reference.derivative(spec, at).tolist()


@pytest.mark.parametrize(
    ("order", "bits"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8)]
)
def test_windows_are_counted_in_few_bits(order, bits):
    """As the operator packs them, the first element in the lowest bits, and nothing after the
    last; counts are those of the formula. 1021 elements end within a byte for every size."""
    module = MultiStep(order, half_width=0.7)
    assert count_bits(module.stair.levels, False) == bits
    x = torch.from_numpy(np.random.default_rng(order).normal(0, 1, 1021).astype(np.float32))
    stair = module.stair
    _, kept = torch.ops.qtheory.stair(
        x, module.scale, stair.thresholds, stair.levels, order > 0, order == 0, bits
    )
    u = (x.abs() if order else x).numpy()
    counts = sum((np.abs(u - np.float32(t)) <= np.float32(0.7)) for t in stair.thresholds) + 0
    lanes = counts.astype(np.uint8)[:, None] >> np.arange(bits, dtype=np.uint8) & 1
    assert kept.tolist() == np.packbits(lanes.ravel(), bitorder="little").tolist()
    assert counts.max() > 0
    assert kept_bytes(module, x) == -(-1021 * bits // 8)


def test_what_has_no_count_keeps_its_input():
    x = torch.randn(1000)
    assert kept_bytes(MultiStep(1, window="triangular"), x) == 4000
    uneven = NoisyStair(UNEVEN, family="uniform", scale=0.5, forward="hard", odd=True)
    assert kept_bytes(uneven, x.bfloat16()) == 2000


@pytest.mark.parametrize("order", [1, 2, 3])
@windows
def test_strides_are_kept_and_change_no_bit(order, window):
    """channels_last, transposed, strided, expanded and empty inputs, and gradients of others."""
    module, images = MultiStep(order, window=window), torch.randn(3, 5, 4, 7)
    wide = images.to(memory_format=torch.channels_last)
    assert module(wide).is_contiguous(memory_format=torch.channels_last)
    for x in (
        wide,
        images.transpose(1, 3),
        images[:, ::2],
        images[:1].expand(4, 5, 4, 7),
        images[:0],
    ):
        upstream = torch.randn(x.shape)
        expected = both(module, x.contiguous(), upstream)
        for gradient in (upstream, upstream.transpose(0, 1).contiguous().transpose(0, 1)):
            assert all(map(torch.equal, both(module, x, gradient), expected))
    number = torch.ones((), dtype=torch.float32).expand(wide.shape)
    assert torch.equal(both(module, wide, number)[1], both(module, images)[1])


def test_bits_do_not_depend_on_threads():
    module, x, threads = MultiStep(2), torch.randn(200_003), torch.get_num_threads()
    found = []
    for number in (1, 3):
        torch.set_num_threads(number)
        found.append(both(module, x))
    torch.set_num_threads(threads)
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("order", [1, 2, 3])
@windows
def test_torch_func(order, window):
    """Gradients of examples, mapped over any axis and twice, and a Jacobian, which maps the
    gradient alone; rows of 15 elements do not end with a byte."""
    module, x = MultiStep(order, window=window), torch.randn(5, 3, 7)
    slope = both(module, x)[1]
    assert torch.equal(grad(lambda v: module(v).sum())(x), slope)
    for axis in (0, 1, 2):
        each = vmap(grad(lambda v: (module(v) * v.detach()).sum()), in_dims=axis, out_dims=axis)
        assert torch.equal(each(x), slope * x)
        assert torch.equal(vmap(module, in_dims=axis, out_dims=axis)(x), module(x))
    assert torch.equal(vmap(vmap(grad(lambda v: module(v).sum())))(x), slope)
    assert vmap(module)(x[:0]).shape == (0, 3, 7)
    wide = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    diagonal = jacrev(module)(wide).reshape(120, 120).diagonal()
    assert torch.equal(diagonal.reshape(2, 3, 4, 5), both(module, wide)[1])


@windows
def test_second_derivatives_are_refused(window):
    """By every route: a number would lack the slope's own derivative."""
    module, x = MultiStep(1, window=window), torch.randn(3)

    def loss(v):
        return (module(v) * v * v).sum()

    with pytest.raises(RuntimeError, match="differentiated once, got a second derivative"):
        grad(lambda v: grad(loss)(v).sum())(x)
    leaf = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once, got a second derivative"):
        first.sum().backward()
    with pytest.raises(NotImplementedError, match="jvp"):
        hessian(loss)(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("order", [1, 3])
def test_opcheck(order, dtype):
    module, x = MultiStep(order), torch.randn(3, 5, 2, 2, dtype=dtype)
    stair, bits = module.stair, count_bits(module.stair.levels, False)
    for like in (x, x.to(memory_format=torch.channels_last)):
        arguments = (like, module.scale, stair.thresholds, stair.levels, True, False, bits)
        checked = torch.library.opcheck(torch.ops.qtheory.stair.default, arguments)
        assert set(checked.values()) == {"SUCCESS"}
        _, kept = torch.ops.qtheory.stair(*arguments)
        slope = (like, kept, *arguments[1:5], False, bits, like.stride())
        checked = torch.library.opcheck(torch.ops.qtheory.stair_slope.default, slope)
        assert set(checked.values()) == {"SUCCESS"}


def test_a_compiled_model_is_one_graph_and_keeps_bits():
    """The window is made in the forward pass: bits, and no input of a stair, are saved."""
    torch._dynamo.reset()
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), MultiStep(), nn.Conv2d(8, 4, 3), MultiStep(2))
    model, x = nn.Sequential(*layers), torch.randn(2, 3, 8, 8)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (model, compiled):
        model.zero_grad()
        function(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(map(torch.equal, *gradients))
    alone = torch.compile(MultiStep(), fullgraph=True, backend="aot_eager")
    assert kept_bytes(alone, torch.randn(8000)) == 1000


def test_a_moving_window_compiles_nothing_again():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    module, x = MultiStep(), torch.randn(64)
    compiled = torch.compile(module, fullgraph=True, backend=counter)
    both(compiled, x)
    frames = counter.frame_count
    for half_width in (0.3, 0.9):
        module.set_noise(half_width)
        assert all(map(torch.equal, both(compiled, x), both(module, x)))
    assert counter.frame_count == frames > 0


STAIR = torch.ops.qtheory.stair


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiStep(9)(torch.ones(2)), "1 to 128 thresholds .*, got 256"),
        (
            lambda: STAIR(torch.ones(2), torch.ones(1), [0.5], [0.0, 1.0], True, False, 1),
            "a half width is one float64, got torch.float32",
        ),
        (
            lambda: STAIR(torch.ones(2), torch.ones(1).double(), [0.5], [0.0, 1.0], True, False, 3),
            "1, 2, 4 or 8 bits that suffice, got 3",
        ),
        (
            lambda: STAIR(
                torch.ones(2), torch.ones(1).double(), [0.5, 0.6], [0.0, 1.0, 2.0], True, False, 1
            ),
            "open windows of 2 .* got 1",
        ),
        (
            lambda: torch.ops.qtheory.stair_slope(
                torch.ones(9), torch.zeros(1, dtype=torch.uint8), torch.ones(1).double(), [0.5],
                [0.0, 1.0], True, False, 1, [1],
            ),
            "1 bits an element of 9 take 2 bytes, got 1 of torch.uint8",
        ),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
