"""Kernels of readers: their bits, torch's own checks, and which rows they take.

What they see and their slopes are compared with the reference in test_reading.py, and in
agreement/test_readings.py on every library.
"""

from __future__ import annotations

import dataclasses
from math import prod

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from qcuda.kernels import abi, native, readings
from qcuda.nn import fused_reading
from qcuda.nn.fused_reading import Draw
from qcuda.nn.reader import Reader
from qcuda.nn.reading import _Read, seen
from qtheory.algorithms import rows
from qtheory.algorithms.reader import Clip, Reading, group_shape, reading_of, taken
from qtheory.noise import StudentT, Uniform
from qtheory.stairs.stair import Stair

ROWS = {name: reading_of(row.spec) for name, row in rows().items()}
COVERED = {name: reading for name, reading in ROWS.items() if fused_reading.covered(reading)}
each_row = pytest.mark.parametrize("name", COVERED)
LEVELS = [name for k, name in native.LEVELS.items() if native.find(f"libqtheory_{name}.so")]


def latents(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5)).to(dtype)


def both_ways(reading: Reading, latent: torch.Tensor) -> list[torch.Tensor]:
    """What is seen, and gradients, with words that are drawn, and learned numbers of 0.7."""
    reader = Reader(reading, latent, seed=9, tensor=2)
    for one in reader.parameters():
        one.data.fill_(0.7)
    x = latent.clone(memory_format=torch.preserve_format).requires_grad_()
    visible = reader(x)
    upstream = torch.linspace(-1, 2, x.numel()).reshape(x.shape).to(x.dtype)
    return [visible, *torch.autograd.grad(visible, (x, *reader.parameters()), upstream)]


def test_the_published_rows_are_covered_but_for_named_ones():
    plain = {
        n for n, r in ROWS.items() if all(getattr(r, f) == u for f, u in fused_reading._OTHERS)
    }
    assert {"BinaryConnect", "BWN", "TWN", "TTQ", "LSQ, 4 bits", "ANA, mode"} <= set(COVERED)
    assert {"pruned by size", "pruned by a threshold"} <= set(COVERED)
    assert len(set(COVERED) & plain) >= 20


@each_row
@pytest.mark.parametrize("shape", [(3, 4609), (2, 70_001), (1500, 27)], ids=str)
def test_threads_and_levels_change_no_bit(name, shape, monkeypatch):
    """Short groups, of which a thread takes many; groups of parts; and groups beyond a cache."""
    x, first, before = latents(shape), None, torch.get_num_threads()
    try:
        for level in LEVELS:
            monkeypatch.setenv("QTHEORY_LEVEL", level)
            native.library.cache_clear()
            for threads in (1, 3):
                torch.set_num_threads(threads)
                found = [one.detach() for one in both_ways(COVERED[name], x)]
                first = found if first is None else first
                assert all(torch.equal(a, b) for a, b in zip(first, found, strict=True))
    finally:
        torch.set_num_threads(before)
        native.library.cache_clear()


@each_row
@pytest.mark.parametrize("dtype", readings.TYPES)
def test_it_is_the_form_of_torchs_operators(name, dtype):
    """The same operations in the same order, but for sums, exponentials and the error function.

    Half precision rounds once more; sums of 192 numbers are of a few roundings each.
    """
    reading, x = COVERED[name], latents((4, 3, 4, 4), dtype)
    reader = Reader(reading, x, seed=9, tensor=2)
    learned = tuple(reader.parameters())
    words = Draw(reader.iteration, 9, 2).words(x) if reading.shown == "random" else None
    upstream = torch.linspace(-1, 2, x.numel()).reshape(x.shape).to(dtype)
    x.requires_grad_()
    rank = taken(reading.zeros, x.numel() // prod(group_shape(reading, tuple(x.shape))))
    composed = _Read.apply(x, words, None, None, rank, reading, *learned)
    fused = seen(reading, x, words, learned)
    step = {torch.float32: 2.0**-21, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-9}[dtype]
    assert torch.allclose(fused, composed, rtol=step, atol=step)
    wanted = (x, *learned)
    for one, other in zip(
        torch.autograd.grad(fused, wanted, upstream),
        torch.autograd.grad(composed, wanted, upstream),
        strict=True,
    ):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert torch.allclose(one, other, rtol=step, atol=max(step, 192 * 2.0**-20))


@pytest.mark.parametrize("dtype", readings.TYPES)
@pytest.mark.parametrize("shape", [(3, 40_000), (1500, 27), (4, 3, 5, 5)], ids=str)
def test_frozen_latents_are_held_on_their_levels(shape, dtype):
    """Powers of two times powers of two are exact in every type: torch's form has float64."""
    x = latents(shape, dtype)
    x[0, 1] = torch.nan
    place = (latents(shape).mul(9).int() % 6 - 1).to(torch.int8)
    levels = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    for groups in {1, shape[0]}:
        unit = 2.0 ** (torch.arange(groups) % 7 - 3.0).reshape(-1, *(1,) * (len(shape) - 1))
        wanted = fused_reading.held(x.double(), place, unit.double(), levels.double()).to(dtype)
        found = fused_reading.held(x, place, unit.to(dtype), levels.to(dtype))
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)
        turned = x.transpose(0, -1).contiguous().transpose(0, -1)
        other = fused_reading.held(turned, place, unit.to(dtype), levels.to(dtype))
        torch.testing.assert_close(other, wanted, rtol=0, atol=0, equal_nan=True)
        assert other.stride() == turned.stride()


@pytest.mark.parametrize("name", [n for n, r in ROWS.items() if r.order != "none"])
def test_a_reader_shows_and_slopes_what_it_holds(name):
    reading, x = ROWS[name], latents((6, 50)).requires_grad_()
    reader, upstream = Reader(reading, x, seed=9, tensor=2), torch.linspace(-1, 2, 300).view(6, 50)
    reader.freeze_(x.detach(), 0.6)
    x.data.add_(0.01)
    shown = reader(x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_reading, "TYPES", ())
        wanted = seen(reading, reader.held(x), None, (), reader.frozen, reader.unit)
    assert torch.equal(shown, wanted) and 0.5 < reader.frozen.float().mean() < 0.7
    slopes = (torch.autograd.grad(one, x, upstream)[0] for one in (shown, wanted))
    assert torch.equal(*slopes)
    torch.library.opcheck(
        torch.ops.qtheory.held.default, (x.detach(), reader.place, reader.unit, reader.levels)
    )


def test_units_that_are_powers_of_two_at_every_size():
    """Of denormals too; the rule is that of torch's own form, which has frexp."""
    reading = Reading(Stair.step(-1.0), unit="power", gain="power", group="filter")
    tiny = [1e-45, 1e-39, 1.1754942e-38, 1.1754944e-38]
    sizes = torch.tensor([*tiny, 0.7499999, 0.75, 1.0, 1.4999999, 1.5, 3e38, 0.0])
    x = sizes[:, None] * torch.tensor([1.0, -0.5])
    assert torch.equal(seen(reading, x), _Read.apply(x, None, None, None, 0, reading))


@each_row
def test_layouts_are_kept_and_change_no_bit(name):
    x = latents((4, 3, 5, 5))
    plain = both_ways(COVERED[name], x)
    turned = x.transpose(1, 3).contiguous().transpose(1, 3)
    for other in (x.to(memory_format=torch.channels_last), turned):
        found = both_ways(COVERED[name], other)
        assert found[0].stride() == other.stride()
        assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))


@each_row
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), ()], ids=str)
def test_nothing_is_read_of_nothing(name, shape):
    """Gradients of what is learned are 0 then; one number is a group of one."""
    x = latents(shape).requires_grad_()
    reading = COVERED[name]
    groups = group_shape(reading, shape)
    learned = tuple(torch.full(groups, 0.5, requires_grad=True) for _ in reading.parameters)
    words = torch.zeros(shape, dtype=torch.int64) if reading.shown == "random" else None
    visible = seen(reading, x, words, learned)
    assert visible.shape == shape
    found = torch.autograd.grad(visible.sum(), (x, *learned))
    if shape:
        assert all((one == 0).all() for one in found[1:])


@each_row
def test_words_are_drawn_as_the_operator_draws_them(name):
    reading, x = COVERED[name], latents((3, 700))
    draw = Draw(torch.tensor(4), 2**64 - 3, 6)
    if reading.shown != "random":
        with pytest.raises(ValueError, match="words are for a random reading, and it needs them"):
            seen(reading, x, draw)
        return
    assert torch.equal(seen(reading, x, draw), seen(reading, x, draw.words(x)))
    other = Draw(torch.tensor(5), 2**64 - 3, 6)
    assert not torch.equal(seen(reading, x, draw), seen(reading, x, other))


def arguments(name: str) -> tuple[list, list]:
    """Of both operators."""
    reading, x = COVERED[name], latents((2, 5))
    learned = [p.detach() for p in Reader(reading, x).parameters()]
    row = fused_reading.row(reading)
    iteration = torch.tensor(1) if reading.shown == "random" else None
    forward = [x, None, iteration, -1, 3, learned, *row]
    kept = torch.ops.qtheory.reading(*forward)[1]
    return forward, [latents((2, 5)), x, kept, learned, *row]


@pytest.mark.parametrize("name", ["BWN, exact gradient", "TTQ", "LSQ, 2 bits", "ANA, random"])
def test_opcheck(name):
    forward, slope = arguments(name)
    for op, given in (("reading", forward), ("reading_slope", slope)):
        results = torch.library.opcheck(getattr(torch.ops.qtheory, op).default, tuple(given))
        assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", ["BWN", "TTQ", "LSQ, 2 bits", "ANA, random", "ANA"])
def test_compiled_whole_it_is_the_eager_one(name):
    x = latents((2, 60)).requires_grad_()
    reader = Reader(COVERED[name], x)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(reader, fullgraph=True, backend=counter)
    wanted = (x, *reader.parameters())
    for _ in range(2):
        found, expected = compiled(x), reader(x)
        assert torch.equal(found, expected)
        for one, other in zip(
            torch.autograd.grad(found.sum(), wanted),
            torch.autograd.grad(expected.sum(), wanted),
            strict=True,
        ):
            assert torch.equal(one, other)
    assert counter.frame_count == 1


def test_the_rule_of_what_kernels_read(monkeypatch):
    reading = COVERED["ANA"]
    assert fused_reading.suits(reading, torch.zeros(2))
    for other in (torch.zeros(2, dtype=torch.float64), torch.zeros(2, device="meta")):
        assert not fused_reading.suits(reading, other)
    steps = tuple(float(k) for k in range(abi.MOST_STEPS + 2))
    wide = Stair(steps, steps[1:])
    refused = [
        dataclasses.replace(reading, stair=wide),
        dataclasses.replace(reading, unit="mean"),
        dataclasses.replace(reading, gain="mean"),
        dataclasses.replace(reading, noise=StudentT(4.0, 1.0)),
        dataclasses.replace(reading, window=StudentT(4.0, 1.0)),
        dataclasses.replace(COVERED["TWN"], window=Uniform(0.5)),
    ]
    assert not any(map(fused_reading.covered, refused))
    assert fused_reading.covered(dataclasses.replace(COVERED["TWN"], window=Clip(-1.0, 1.0)))
    monkeypatch.setattr(fused_reading, "_OTHERS", (("start", 2.0),))
    assert not fused_reading.covered(reading)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({0: torch.zeros(2, 5, dtype=torch.float64)}, "takes float32, bfloat16 or float16, got"),
        ({1: torch.zeros(2, 4, dtype=torch.int64)}, r"for each of \(2, 5\) latents, got \(2, 4\)"),
        ({2: None}, "are for a random pass, and it needs them"),
        ({2: torch.tensor(1.0)}, "an iteration is one int64, got 1 torch.float32"),
        ({8: [0.0] * 200}, "has 1 to 128 thresholds and one level more, got 200"),
    ],
)
def test_bad_operands_of_the_operator_are_refused(change, rule):
    given = arguments("ANA, random")[0]
    for place, value in change.items():
        given[place] = value
    with pytest.raises(ValueError, match=rule):
        torch.ops.qtheory.reading(*given)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({0: torch.zeros(2, 5, dtype=torch.float16)}, "got .* of torch.float16"),
        ({2: torch.zeros(2, 3)}, r"units and gains of 1 groups are kept, got \(2, 3\)"),
        ({3: [torch.ones(2), torch.ones(1)]}, "a learned number for each of 1 groups, got 2"),
    ],
)
def test_bad_operands_of_the_slope_are_refused(change, rule):
    given = arguments("TTQ")[1]
    for place, value in change.items():
        given[place] = value
    with pytest.raises(ValueError, match=rule):
        torch.ops.qtheory.reading_slope(*given)
