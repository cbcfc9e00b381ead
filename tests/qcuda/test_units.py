"""Units keep two bits of an input, and change no bit of what their modules make in turn."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import qcuda
from qcuda.memory.chunks import MOST, images_of
from qcuda.memory.table import memory_table
from qcuda.memory.units import Unit, Units, units_
from qcuda.models.registry import build
from qcuda.models.weights import on_lattice
from qcuda.nn import BatchStair, MultiStep, fuse_
from qcuda.nn.kept import as_trits
from qtheory import DST, Lattice
from qtheory.optimisers import Adam


def lattice(model):
    """The model with lattice weights on levels drawn anew."""
    return qcuda.quantize_(model, qcuda.LatticeConfig(levels="uniform"))


def norm(channels, kind=nn.BatchNorm2d, **options):
    """A batch norm with weights of both signs."""
    made = kind(channels, **options)
    if made.affine:
        with torch.no_grad():
            made.weight.copy_(torch.linspace(-1.5, 1.25, channels))
            made.bias.copy_(torch.linspace(0.5, -0.5, channels))
    return made


def network(*, order=1, window="rectangular", **options):
    """Real and ternary inputs, strides, groups, a bias, pools on both sides, a linear layer."""
    torch.manual_seed(1)

    def stair():
        return MultiStep(order, threshold=0.4, half_width=0.6, window=window)

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), norm(8), stair(),
        nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.MaxPool2d(2), norm(8, **options), stair(),
        nn.Conv2d(8, 12, (3, 1), padding="same", bias=False), norm(12), stair(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(12, 20), norm(20, nn.BatchNorm1d), stair(), nn.Linear(20, 10),
    )  # fmt: skip


def united(model):
    """The model, whose sequences have units."""
    assert units_(model)
    return model


class Block(nn.Module):
    """A block in the order of ternary networks: norm, stair, convolution, and a real shortcut."""

    def __init__(self, channels, stride=1):
        super().__init__()
        self.bn1, self.bn2 = norm(channels), norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.active, self.shrink = MultiStep(), nn.AvgPool2d(stride)

    def forward(self, x):
        x = self.conv1(self.active(self.bn1(x))) + self.shrink(x)
        return self.conv2(self.active(self.bn2(x))) + x


def inputs(channels_last=False):
    """A batch of real images."""
    x = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return x.to(memory_format=torch.channels_last) if channels_last else x


def results(model, x, *, half=False):
    """Loss, all gradients and all buffers after one pass forwards and backwards."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, half):
        loss = model(x).float().square().mean()
    loss.backward()
    gradients = [x.grad, *(p.grad for p in model.parameters())]
    found = [loss.detach(), *gradients, *model.state_dict().values()]
    return [t.clone() for t in found]


def same(a, b):
    """Whether all tensors are equal, bit for bit but for the sign of a zero."""
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def kept(model, x):
    """Bytes of the numbers that stand in the graph of a pass, parameters apart."""
    found = {}
    own = {p.data_ptr() for p in (*model.parameters(), *model.buffers())}

    def note(t):
        if t.data_ptr() not in own:
            found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t.detach()

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        out = model(x)
    del out
    return sum(found.values())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "kind",
    [{}, {"order": 0}, {"order": 2, "window": "triangular"}, {"affine": False},
     {"momentum": None}, {"track_running_stats": False}],
)  # fmt: skip
def test_units_have_the_bits_of_their_modules(kind, channels_last, half):
    plain = lattice(network(**kind))
    if channels_last:
        plain = plain.to(memory_format=torch.channels_last)
    x = inputs(channels_last)
    fused = fuse_(copy.deepcopy(plain))
    for model in (plain, fused):
        units, least = united(copy.deepcopy(model)), qcuda.least_memory_(copy.deepcopy(model))
        before = results(model, x, half=half)
        assert same(results(units, x, half=half), before)
        assert model is plain or same(results(least, x, half=half), before)
        model.eval(), units.eval()
        assert same(results(units, x), results(model, x))


def test_a_unit_of_a_layer_that_is_not_on_a_lattice():
    torch.manual_seed(2)
    plain = nn.Sequential(nn.Conv2d(3, 8, 5, bias=True), norm(8), MultiStep())
    units = united(copy.deepcopy(plain))
    assert same(results(units, inputs()), results(plain, inputs()))


def test_a_unit_keeps_a_quarter_of_a_byte_an_element():
    layers = nn.Conv2d(16, 16, 3, padding=1, bias=False), norm(16), MultiStep()
    body = lattice(nn.Sequential(*layers))
    x = torch.randint(-1, 2, (2, 16, 12, 12)).float()
    assert kept(fuse_(copy.deepcopy(body)), x) >= 8 * x.numel()
    assert kept(united(body), x) == x.numel() // 4


def test_blocks_with_shortcuts_keep_their_inputs_and_have_the_same_bits():
    torch.manual_seed(4)
    plain = lattice(nn.Sequential(Block(16), Block(16, 2)))
    least = qcuda.least_memory_(copy.deepcopy(plain))
    x = torch.randn(2, 16, 12, 12)
    assert kept(least, x) == 8 * x.numel() < 0.3 * kept(plain, x)
    assert same(results(least, x), results(plain, x))


def test_blocks_that_draw_are_no_units():
    block = Block(8)
    block.drop = nn.Dropout(0.5)
    assert units_(lattice(nn.Sequential(block))) == []


def test_units_leave_modules_names_and_states_as_they_are():
    model = lattice(network())
    before, names = model.state_dict(), [name for name, _ in model.named_modules()]
    assert units_(model) == [""] and type(model) is Units
    assert [name for name, _ in model.named_modules()] == names
    assert list(model.state_dict()) == list(before)
    assert isinstance(copy.deepcopy(model), Units)
    dequantized = qcuda.dequantize(qcuda.least_memory_(model)).eval()
    assert type(dequantized) is nn.Sequential and not hasattr(dequantized[0], "frugal")
    torch.testing.assert_close(dequantized(inputs()), model.eval()(inputs()))
    assert units_(nn.Sequential(nn.Linear(3, 3), nn.ReLU())) == []


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("active", [nn.Identity, MultiStep])
@pytest.mark.parametrize("training", [True, False])
def test_chunks_of_images_are_the_modules_but_for_roundings(momentum, active, training):
    """In float64, where a sum of n numbers in another order differs by n units of 2^-53 of its
    terms at most: here 7 * 16 * 16 terms, 2^11, and three such sums one after the other."""
    torch.manual_seed(0)
    modules = nn.ModuleList(
        [nn.Conv2d(3, 8, 7, 2, 3, bias=False), norm(8, momentum=momentum), active(),
         nn.MaxPool2d(3, 2, 1)]
    ).double().train(training)  # fmt: skip
    x, found = torch.randn(7, 3, 32, 32).double(), []
    for most in (0, 2 * 8 * 16 * 16 * 8):  # bytes of two images
        unit, x = Unit(tuple(copy.deepcopy(modules)), most), x.detach().requires_grad_()
        x.grad = None
        out = unit(x) if most else unit.plainly(x)
        (out * torch.arange(out.numel()).reshape(out.shape).sin()).sum().backward()
        buffers = [b for m in unit.all() for b in m.buffers(recurse=False)]
        found.append([out.detach(), x.grad, *(p.grad for p in unit.parameters()), *buffers])
    for plain, chunked in zip(*found, strict=True):
        bound = 3 * 2.0**-42 * float(plain.abs().max())
        torch.testing.assert_close(chunked, plain, rtol=0, atol=bound)


def test_a_chunk_has_as_many_images_as_bytes_allow():
    layer = nn.Conv2d(3, 64, 7, 2, 3)
    assert images_of(layer, torch.empty(9, 3, 224, 224, device="meta"), MOST) == 2
    assert images_of(layer, torch.empty(9, 3, 2000, 2000, device="meta"), MOST) == 1


def test_a_residual_network_keeps_what_enters_its_blocks():
    networks = [build("resnet20", (3, 32, 32), 10, on_lattice(Lattice.ternary())) for _ in "abc"]
    plain, fused = networks[0], fuse_(networks[1])
    least = qcuda.least_memory_(networks[2], gradients=torch.bfloat16)
    x = torch.randn(4, 3, 32, 32)
    before, after = results(fused, x), results(least, x)
    assert same(before[:1], after[:1])
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b) or (b.dtype == torch.bfloat16 and torch.equal(a.bfloat16(), b))
    assert kept(least, x) < 0.3 * kept(plain, x)


def test_hooks_of_modules_in_a_unit_are_called():
    model, calls = united(lattice(network())), []
    model[3].register_forward_hook(lambda *_: calls.append("layer"))
    model[13].register_forward_hook(lambda *_: calls.append("norm"))
    model(inputs()).sum().backward()
    assert calls == ["layer", "norm"]


@pytest.mark.parametrize("how", ["units", "frugal"])
def test_a_weight_that_moved_before_the_backward_pass_is_refused(how):
    model = lattice(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), MultiStep()))
    if how == "units":
        units_(model)
    else:
        model[0].frugal = True
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(Lattice.ternary()))
    x = torch.randint(-1, 2, (6, 8)).float().requires_grad_()
    out = model(x).sum()
    out.backward(retain_graph=True)
    out.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(ValueError, match="has not moved since the forward pass"):
        out.backward()


@pytest.mark.parametrize("how", ["units", "frugal"])
def test_what_is_made_again_can_be_stepped_in_the_backward_pass(how):
    models = []
    for little in (False, True):
        model = fuse_(lattice(network()))
        if little and how == "units":
            units_(model)
        for layer in qcuda.nn.lattice_layers(model).values():
            layer.frugal = little
        optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(Lattice.ternary()), seed=3)
        with qcuda.StepInBackward(optimizer):
            for _ in range(2):
                model(inputs()).square().mean().backward()
                optimizer.step()
        models.append(list(model.state_dict().values()))
    assert same(*models)


def test_units_are_differentiated_once_and_compile():
    model = united(lattice(network()))
    x = inputs().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).square().mean(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
    for layer in qcuda.nn.lattice_layers(model).values():
        layer.frugal = True
    part = model[3:7]
    assert type(part) is Units
    x = torch.ones(2, 8, 8, 8)
    compiled = torch.compile(part, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), part(x))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_frugal_layers_have_the_bits_of_others_and_keep_no_weight(channels_last, half):
    torch.manual_seed(1)
    plain = lattice(
        nn.Sequential(
            nn.Conv2d(16, 8, 3, padding="same", padding_mode="reflect"),
            BatchStair(norm(8), MultiStep()),
            nn.ConvTranspose2d(8, 16, 2, stride=2), nn.Flatten(), nn.Linear(16 * 256, 10),
        )
    )  # fmt: skip
    if channels_last:
        plain = plain.to(memory_format=torch.channels_last)
    frugal = copy.deepcopy(plain)
    for layer in qcuda.nn.lattice_layers(frugal).values():
        layer.frugal = True
    x = torch.randint(-1, 2, (4, 16, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    assert same(results(frugal, x, half=half), results(plain, x, half=half))
    assert torch.func.vmap(frugal[4])(torch.ones(2, 3, 16 * 256)).shape == (2, 3, 10)


def test_a_frugal_layer_keeps_two_bits_of_its_input_and_nothing_of_its_weight():
    layer = lattice(nn.Linear(64, 1000, bias=False))
    ternary = torch.randint(-1, 2, (32, 64)).float().requires_grad_()
    assert kept(layer, ternary) == 4 * (32 * 64 + 64 * 1000)
    layer.frugal = True
    assert kept(layer, ternary) == 32 * 64 // 4
    assert kept(layer, torch.randn(32, 64, requires_grad=True)) == 4 * 32 * 64


def test_hooks_of_others_are_handed_what_a_frugal_layer_keeps():
    layer, kinds = lattice(nn.Linear(64, 10, bias=False)), []
    x = torch.randint(-1, 2, (32, 64)).float().requires_grad_()
    layer(x).square().sum().backward()
    plain, layer.slot.grad, layer.frugal = layer.slot.grad, None, True

    def packed(t):
        kinds.append(t.dtype)
        return t.numpy(force=True).tobytes(), t.dtype

    def unpacked(pair):
        return torch.frombuffer(bytearray(pair[0]), dtype=pair[1])

    with torch.autograd.graph.saved_tensors_hooks(packed, unpacked):
        out = layer(x)
    out.square().sum().backward()
    assert kinds == [torch.uint8] and torch.equal(layer.slot.grad, plain)


def test_a_tensor_that_was_written_to_is_refused():
    layer = lattice(nn.Linear(64, 10, bias=False))
    layer.frugal = True
    x = torch.randn(32, 64, requires_grad=True)
    y = x * 1
    out = layer(y)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 577, 100_003])
def test_trits_are_the_numbers_and_nothing_else_is_trits(dtype, count):
    x = torch.randint(-1, 2, (count,), generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(as_trits(x).numbers(), x)
    assert as_trits(x).bytes.numel() == (count + 3) // 4
    for other in (2.0, 0.5, -1.5, float("nan"), float("inf")):
        x[count // 2] = other
        assert as_trits(x) is None


def test_trits_keep_strides_and_refuse_gaps():
    x = torch.randint(-1, 2, (3, 4, 5, 6)).float()
    for lying in (x, x.to(memory_format=torch.channels_last), x.permute(3, 1, 0, 2)):
        made = as_trits(lying).numbers()
        assert torch.equal(made, lying) and made.stride() == lying.stride()
    assert as_trits(x[:, ::2]) is None and as_trits(x[:1].expand(3, 4, 5, 6)) is None


def test_the_table_of_memory_counts_what_is_kept():
    model = lattice(nn.Sequential(nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), MultiStep()))
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(Lattice.ternary()), base=Adam(0.1))
    x = torch.randint(-1, 2, (16, 64)).float()
    model(x).sum().backward()
    optimizer.step()
    before = [t.clone() for t in model.state_dict().values()]
    table = memory_table(model, x, optimizer)
    assert same(list(model.state_dict().values()), before)
    layer, activations = table.rows[0], (16 * 64 + 16 * 32) * 4
    assert (layer.name, layer.optimizer, layer.gradients) == ("0", 8 * 64 * 32, 4 * 64 * 32)
    assert layer.saved == 16 * 64 * 4 and layer.transient == 2 * activations + 8 * 64 * 32
    assert 64 * 32 // 4 < layer.weights < 64 * 32 // 4 + 64
    whole, real, half = table.whole
    assert (
        real.weights == half.weights == real.gradients == real.optimizer // 2 == 4 * (64 * 32 + 64)
    )
    assert half.saved < real.saved + 2 * 64 * 32 and whole.transient == layer.transient
    assert whole.saved == sum(row.saved for row in table.rows) >= activations
    least = memory_table(qcuda.least_memory_(model), x)
    assert least.whole[0].saved == 16 * 64 // 4
    assert least.to_dict()["whole"][1] == table.to_dict()["whole"][1]
    assert "bfloat16 AMP, Adam" in str(table)
