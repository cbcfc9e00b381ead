"""Visible weights: what is decoded, how it lies in memory, and where its gradient arrives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from torch import nn
from torch.utils.checkpoint import checkpoint

import qcuda
import qcuda.kernels.decoding
from qcuda.kernels import native
from qcuda.kernels import storage as stored
from qcuda.kernels.abi import VISIBLE, Error, Real, Storage
from qcuda.kernels.order import as_stored, as_weight, stored_shape
from qreference import storage as plain
from qtheory import DST, Lattice
from qtheory.optimisers import SGD
from qtheory.streams import Stream

TERNARY, FINE = Lattice.ternary(0.3), Lattice.uniform(-1.0, 0.7, 200)
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
SHAPES = [
    (5, 7),
    (4, 3, 5),
    (4, 3, 2, 5),
    (4, 1, 3, 3),
    (4, 3, 1, 1),
    (2, 3, 2, 2, 3),
    (0, 3, 3, 3),
]


def index_of(shape: tuple[int, ...], size: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(math.prod(shape))
    return torch.randint(0, size, shape, generator=g)


def decode_arguments(lattice: Lattice, shape, dtype, channels_last=False, scale=0.7) -> list:
    storage = stored.storage_for(lattice)
    state = stored.encode(as_stored(index_of(shape, lattice.size)), lattice, storage)
    levels = torch.tensor(lattice.levels, dtype=torch.float32)
    return [state, levels, torch.tensor(scale), list(shape), int(storage), dtype, channels_last]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lattice", [TERNARY, FINE], ids=["trits", "int8"])
def test_decoding_is_one_product_and_one_rounding(lattice, dtype, channels_last):
    """Every shape, against NumPy: the product in float32, then torch's own conversion."""
    for shape in SHAPES:
        arguments = decode_arguments(lattice, shape, dtype, channels_last)
        weight = torch.ops.qtheory.decode(*arguments)
        table = lattice.levels.astype(np.float32) * np.float32(0.7)
        expected = torch.from_numpy(table[index_of(shape, lattice.size).numpy()]).to(dtype)
        assert torch.equal(weight, expected)
        like = torch.empty(shape, dtype=dtype)
        if channels_last and len(shape) in (4, 5):
            layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
            assert weight.is_contiguous(memory_format=layout)
        else:
            assert weight.is_contiguous() and weight.stride() == like.stride()


def test_a_large_convolution_is_decoded_in_the_same_order():
    """Several runs of a thread, which begin in the middle of a row of channels."""
    shape = (70, 67, 3, 5)
    ours = torch.ops.qtheory.decode(*decode_arguments(FINE, shape, torch.float32))
    last = torch.ops.qtheory.decode(*decode_arguments(FINE, shape, torch.float32, True))
    assert torch.equal(ours, last) and ours.is_contiguous()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_opcheck_of_decoding(dtype, channels_last):
    arguments = decode_arguments(TERNARY, (4, 3, 2, 5), dtype, channels_last)
    results = torch.library.opcheck(torch.ops.qtheory.decode.default, arguments)
    assert set(results.values()) == {"SUCCESS"}


def test_halves_are_rounded_as_numpy_rounds_them():
    """Ties, the ends, numbers below 2**-14, what overflows: 256 levels of one table at a time."""
    edges = np.array([2.0**k for k in range(-26, 17)], np.float32)
    near = [edges * np.float32(1 + s * 2.0**-11) for s in (-1, 0, 1, 1.0001, 3)]
    values = np.concatenate([*near, np.float32([65504, 65519, 65520, 65536, 1e-45, 0])])
    values = np.concatenate([values, -values]).astype(np.float32)
    values = np.resize(values, 256 * 2)
    library, codes = native.library(), np.arange(-128, 128, dtype=np.int8)
    for table in values.reshape(2, 256):
        out = np.zeros(256, np.uint16)
        table = np.ascontiguousarray(table)
        error = library.qt_decode(
            0, table.ctypes.data, None, 256, codes.ctypes.data, 256, out.ctypes.data,
            int(Real.FLOAT16), 1, 1, 1,
        )  # fmt: skip
        assert error == 0
        with np.errstate(over="ignore"):
            assert (out == table.astype(np.float16).view(np.uint16)).all()


@pytest.mark.parametrize("real", VISIBLE)
@pytest.mark.parametrize(("storage", "size"), [(0, 3), (0, 200), (1, 2), (1, 3), (2, 5), (3, 63)])
def test_a_code_off_the_lattice_is_not_a_number(storage, size, real):
    """Every byte there is: legal codes read as their level, all others as NaN, and it is told."""
    levels, state = np.linspace(1, 2, size, dtype=np.float32), np.arange(256).astype(np.uint8)
    bits = Storage(storage).bits
    count = 256 * 8 // bits
    kind = np.float32 if real is Real.FLOAT32 else np.uint16
    out = np.zeros(count, kind)
    error = native.library().qt_decode(
        storage, levels.ctypes.data, None, size, state.ctypes.data, count, out.ctypes.data,
        int(real), 1, 1, 1,
    )  # fmt: skip
    assert error == Error.BAD_CODE
    if storage == 0:
        codes = state.view(np.int8).astype(int)
    else:
        lanes = np.unpackbits(state, bitorder="little")[: count * bits].reshape(count, bits)
        codes = lanes.astype(int) @ (1 << np.arange(bits)) - lanes[:, -1].astype(int) * 2**bits
    index = codes + size // 2
    legal = (0 <= index) & (index < size)
    if real is Real.FLOAT32:
        found = out
    elif real is Real.FLOAT16:
        found = out.view(np.float16)
    else:
        found = plain.widen(out)
    assert (np.isnan(found) == ~legal).all()
    assert legal.any() and not legal.all()


@pytest.mark.parametrize(("storage", "size", "code"), [(0, 3, 2), (0, 3, -2), (1, 2, 1), (1, 3, 2)])
def test_one_code_above_or_below_the_lattice_is_told(storage, size, code):
    """The last of 1001 weights is one level too high or too low, or the trit 10."""
    count = 1001
    state = np.zeros(count if storage == 0 else 251, np.uint8)
    state[-1] = code & (0xFF if storage == 0 else 0b11)
    levels, out = np.ones(size, np.float32), np.zeros(count, np.float32)
    error = native.library().qt_decode(
        storage, levels.ctypes.data, None, size, state.ctypes.data, count, out.ctypes.data,
        int(Real.FLOAT32), 1, 1, 1,
    )  # fmt: skip
    assert error == Error.BAD_CODE
    assert np.isnan(out[-1]) and (out[:-1] == 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: torch.zeros(9, dtype=torch.int8)}, "dtype torch.uint8, got torch.int8"),
        ({0: torch.zeros(8, dtype=torch.uint8)}, "35 weights take 9 bytes, got 8"),
        ({0: torch.full((9,), 0xAA, dtype=torch.uint8)}, "3 levels, got 35 of 35 that are not"),
        ({1: torch.zeros(4)}, "got a lattice that does not fit the storage"),
        ({1: torch.zeros(3, dtype=torch.float64)}, "levels .* float32 there, got torch.float64"),
        ({1: torch.zeros(6)[::2]}, r"levels are contiguous, got strides \(2,\)"),
        ({1: torch.full((3,), math.nan)}, "loaded, drawn or set before it is read"),
        ({2: torch.tensor(1.0, dtype=torch.float64)}, "a scale .* got torch.float64"),
        ({5: torch.int8}, "float32, bfloat16, float16, float64, got torch.int8"),
    ],
)
def test_a_bad_decoding_is_refused(change, message):
    given = decode_arguments(TERNARY, (5, 7), torch.float32)
    for place, value in change.items():
        given[place] = value
    with pytest.raises(ValueError, match=message):
        torch.ops.qtheory.decode(*given)


def conv(channels: int = 3, **options) -> qcuda.nn.Conv2d:
    layer = qcuda.nn.Conv2d(channels, 4, (2, 3), TERNARY, **options)
    layer.draw_levels(2, 0)
    return layer


def test_the_order_of_elements_is_channels_last():
    """State, words and slot in the order (O, H, W, I); index and weight in torch's."""
    layer = conv()
    words = qcuda.words(2, 0, 0, 72, stream=Stream.INITIALISE)
    expected = (words.numpy().astype(np.uint64) * 3 >> 32).reshape(4, 2, 3, 3)
    assert (layer.index.numpy() == np.moveaxis(expected, -1, 1)).all()
    codes = plain.unpack(layer.state.numpy(), 72)
    assert (codes == expected.reshape(-1).astype(int) - 1).all()
    assert layer.slot.shape == (4, 2, 3, 3) == stored_shape((4, 3, 2, 3))
    before = layer.index.clone()
    layer.set_index(before)
    assert torch.equal(layer.index, before)
    three = torch.arange(360).reshape(3, 4, 5, 2, 3)
    assert torch.equal(as_weight(as_stored(three)), three)
    assert stored_shape((3, 4, 5)) == (3, 4, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_channels_last_costs_no_conversion(dtype):
    """The weight is made as convolutions read it, and stays so; a gradient that lies so is handed
    to the slot as it is: the same memory, without a copy."""
    layer = conv().to(dtype=dtype, memory_format=torch.channels_last)
    twin = conv().to(dtype)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer.weight, twin.weight) and twin.weight.is_contiguous()
    x = torch.randn(2, 3, 6, 7, dtype=dtype).to(memory_format=torch.channels_last)
    assert layer(x).is_contiguous(memory_format=torch.channels_last)
    handed = []
    layer.slot.register_hook(lambda g: handed.append(g.data_ptr()))
    upstream = torch.randn(4, 3, 2, 3, dtype=dtype).to(memory_format=torch.channels_last)
    weight = layer.weight
    weight.register_hook(lambda g: handed.append(g.data_ptr()))
    (weight * upstream).sum().backward()
    assert handed[0] == handed[1] == layer.slot.grad.data_ptr()
    assert layer.slot.grad.is_contiguous() and layer.slot.grad.shape == (4, 2, 3, 3)
    assert torch.equal(layer.gradient, upstream)
    layer.to(torch.bfloat16)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    layer.to(memory_format=torch.contiguous_format)
    assert layer.weight.is_contiguous()


@pytest.mark.parametrize("base", ["plain", "channels_last"])
def test_training_moves_the_weights_that_the_gradient_belongs_to(base):
    """Only weights with a gradient move, by name: position (o, i, h, w) for each of them."""
    layer = conv()
    layer.set_index(torch.ones(4, 3, 2, 3, dtype=torch.int64))
    if base == "channels_last":
        layer = layer.to(memory_format=torch.channels_last)
    optimizer = qcuda.LatticeOptimizer([layer.slot], DST(TERNARY), base=SGD(1.0))
    wanted = torch.zeros(4, 3, 2, 3)
    wanted[2, 1, 0, 2], wanted[0, 2, 1, 1] = 5.0, -5.0
    (layer.weight * wanted).sum().backward()
    optimizer.step()
    assert torch.equal(layer.index - 1, -wanted.sign().long())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["Linear", "Conv2d", "ConvTranspose2d", "ConvTranspose1d"])
def test_a_scale_for_each_output_channel(name, dtype):
    """Multiplied in float32 and rounded once; the gradient is of the unscaled weight."""
    sizes = (6, 4) if name == "Linear" else (6, 4, 3)
    scale = torch.tensor([0.3, 1.0, 2.5, 0.01])
    options = {} if name == "Linear" else {"groups": 2}
    layer = getattr(qcuda.nn, name)(*sizes, TERNARY, scale=scale, dtype=dtype, **options)
    layer.draw_levels(1, 0)
    levels = torch.tensor(TERNARY.levels, dtype=torch.float32)[layer.index]
    if name.startswith("ConvT"):  # (in, out / groups): rows of group 0, then of group 1
        spread = torch.stack([scale[:2]] * 3 + [scale[2:]] * 3)
    else:
        spread = scale[:, None]
    spread = spread.reshape(*spread.shape, *(1,) * (levels.dim() - 2))
    assert torch.equal(layer.weight, (levels * spread).to(dtype))
    upstream = torch.randn(levels.shape, dtype=dtype)
    layer.weight.backward(upstream)
    kind = layer.slot.dtype
    assert torch.equal(layer.gradient, (upstream.to(kind) * spread).to(kind))


def test_a_scale_that_is_changed_is_seen_by_both_passes():
    layer = qcuda.nn.Linear(3, 2, TERNARY)
    layer.set_index(torch.full((2, 3), 2))
    layer.scale.fill_(4.0)
    layer.weight.sum().backward()
    assert torch.equal(layer.weight, torch.full((2, 3), np.float32(0.3) * 4))
    assert torch.equal(layer.slot.grad, torch.full((2, 3), 4.0))
    other = torch.func.functional_call(layer, {"scale": torch.tensor(2.0)}, torch.ones(1, 3))
    layer.slot.grad = None
    other.sum().backward()
    assert torch.equal(layer.slot.grad, torch.full((2, 3), 2.0))


def test_gradients_may_be_bfloat16_on_their_own():
    """The slot's dtype is the option's, whatever the module becomes; sums are torch's."""
    layer = qcuda.nn.Linear(3, 2, TERNARY, gradient_dtype=torch.bfloat16, bias=True)
    layer(torch.full((1, 3), 1 / 3)).sum().backward()
    assert layer.slot.grad.dtype == torch.bfloat16 and layer.weight.dtype == torch.float32
    assert torch.equal(layer.slot.grad, torch.full((2, 3), 1 / 3).bfloat16())
    assert layer.bias.grad.dtype == torch.float32
    assert layer.half().slot.dtype == torch.bfloat16
    wide = qcuda.nn.Linear(3, 2, TERNARY, gradient_dtype=torch.float32, dtype=torch.bfloat16)
    wide(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
    assert wide.slot.grad.dtype == torch.float32
    optimizer = qcuda.LatticeOptimizer([layer.slot], DST(TERNARY), base=SGD(1.0))
    optimizer.step()
    with pytest.raises(ValueError, match=r"float32 or bfloat16, got torch\.float16"):
        qcuda.nn.Linear(3, 2, TERNARY, gradient_dtype=torch.float16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    """The weight is made in autocast's dtype at once; its gradient arrives in the slot's."""
    layer = qcuda.nn.Linear(6, 4, TERNARY, bias=True)
    layer.draw_levels(0, 0)
    x = torch.randn(3, 6)
    with torch.autocast("cpu", dtype=dtype):
        assert layer.weight.dtype == dtype
        out = layer(x)
    assert out.dtype == dtype
    out.float().sum().backward()
    expected = x.to(dtype).float().sum(0)
    # Sums of three numbers below 4 in size, rounded to halves once: 2 eps of the sum of sizes.
    slack = 2 * torch.finfo(dtype).eps * x.abs().sum(0)
    assert layer.slot.grad.dtype == torch.float32
    assert ((layer.slot.grad - expected).abs() <= slack).all()


def test_a_grad_scaler_skips_what_overflows_in_float16():
    model = nn.Sequential(qcuda.nn.Linear(6, 4, TERNARY), nn.Linear(4, 2))
    qcuda.nn.draw_levels(model, 0)
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=SGD(5.0))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    before, moved = model[0].index, []
    for _ in range(8):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = model(torch.ones(3, 6)).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        moved.append(not torch.equal(model[0].index, before))
    assert not moved[0] and moved[-1]
    assert scaler.get_scale() < 2.0**20


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_gives_the_same_gradient(reentrant):
    layer = conv(scale=0.3)
    x = torch.randn(2, 3, 6, 7, requires_grad=True)
    layer(x).square().sum().backward()
    expected, layer.slot.grad = layer.slot.grad, None
    checkpoint(lambda y: layer(y).square(), x, use_reentrant=reentrant).sum().backward()
    assert torch.equal(layer.slot.grad, expected)


@pytest.mark.parametrize("scale", [1.0, 0.3, [0.3, 1.0, 2.0, 0.7]])
def test_one_graph_of_a_compiled_layer(scale):
    layer = conv(scale=torch.tensor(scale))
    x = torch.randn(2, 3, 6, 7)
    layer(x).square().sum().backward()
    expected, layer.slot.grad = layer.slot.grad, None
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, backend=counter)
    for _ in range(2):
        layer.slot.grad = None
        out = compiled(x)
        out.square().sum().backward()
        assert torch.equal(out, layer(x)) and torch.equal(layer.slot.grad, expected)
    assert counter.frame_count == 1


def test_func_transforms():
    """functional_call, grad and per-sample gradients by vmap agree with backward."""
    layer = conv(bias=True, scale=0.3)
    parameters = dict(layer.named_parameters())
    x = torch.randn(3, 3, 6, 7)

    def loss(p, one):
        return torch.func.functional_call(layer, p, (one,)).square().sum()

    each = []
    for one in x:
        layer.zero_grad()
        layer(one).square().sum().backward()
        each.append(layer.slot.grad)
    assert torch.equal(torch.func.grad(loss)(parameters, x[0])["slot"], each[0])
    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)["slot"]
    # The same sums in another order: 5 x 5 places, each rounded, of numbers that add up in size.
    size = torch.stack(each).abs().max()
    assert (found - torch.stack(each)).abs().max() <= 150 * 2.0**-24 * size


def test_an_ensemble_of_states():
    """vmap over stacked states: one weight after the other."""
    layers = [qcuda.nn.Linear(6, 4, TERNARY) for _ in range(3)]
    for k, layer in enumerate(layers):
        layer.draw_levels(k, 0)
    states, x = torch.stack([layer.state for layer in layers]), torch.randn(2, 6)

    def run(state):
        return torch.func.functional_call(layers[0], {"state": state}, (x,))

    found = torch.func.vmap(run)(states)
    for out, layer in zip(found, layers, strict=True):
        assert (out - layer(x)).abs().max() <= 12 * 2.0**-24 * x.abs().sum(1).max()


def test_an_aligned_address_is_not_asked_for():
    """A state that begins in the middle of memory, as a view of a larger one does."""
    arguments = decode_arguments(FINE, (5, 7), torch.float16)
    held = torch.zeros(40, dtype=torch.int8)
    held[3:38] = arguments[0]
    shifted = [held[3:38], *arguments[1:]]
    assert torch.equal(torch.ops.qtheory.decode(*shifted), torch.ops.qtheory.decode(*arguments))


def test_what_is_wrong_is_said_in_words():
    said = [error.words for error in Error]
    assert len(set(said)) == len(Error)
    assert not any("BAD" in words or "_" in words for words in said)
