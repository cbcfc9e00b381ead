"""Readers of torch against the plain reference: levels, what is seen, slopes, in every type.

Units and gains are computed in float32, so a latent may be on the other side of a threshold than
in float64 if it is within EDGE of it: a mean, a product and a quotient each round once, a learned
number and a window's end once, and two more are allowed for the noise's scale. Elsewhere the level
is the same. A distribution function is off by a few roundings of its argument and its own, so that
words within WORD of a threshold are left out too.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reader_cases import Case, clear, some_case
from strategies import examples

from qcuda.nn.reading import seen
from qreference import reader
from qtheory.algorithms import readers, rows
from qtheory.algorithms.reader import Clip, planes, reading_of
from qtheory.noise import scale_of

stems = pytest.mark.parametrize("stem", readers())
EDGE, WORD = 8 * 2.0**-24, 2**12
HALF = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}


def off_the_edges(case: Case, words: np.ndarray | None) -> np.ndarray:
    """Latents that fall to the same side of every threshold and window in both rooms."""
    reading, one = case.reading, reader.seen(*case[:2], words, case.state)
    cuts = [*reading.stair.thresholds]
    if isinstance(reading.window, Clip):
        cuts += [reading.window.low, reading.window.high]
    for noise in (reading.noise, reading.window):
        if noise is not None and not isinstance(noise, Clip):
            cuts += [t + k for t in reading.stair.thresholds for k in noise.breaks().tolist()]
    u = one.position[..., None]
    far = (np.abs(u - np.array(cuts)) > EDGE * (np.abs(u) + np.abs(cuts) + 1)).all(-1)
    far |= case.latent == 0  # on a threshold at 0 exactly, in both
    far &= clear(case, 2.0**-18)
    if words is not None:
        below = reader.outcomes(case.spec, case.latent, case.state).thresholds.astype(np.int64)
        far &= (np.abs(words[..., None].astype(np.int64) - below) > WORD).all(-1)
    if case.reading.unit == "threshold":
        size = np.abs(one.position)
        far &= (np.abs(size - 0.5) > EDGE * (size + 2)) & (np.abs(size - 1.5) > EDGE * (size + 3))
    if case.reading.gain in ("survivors", "fixed") and not far.all():
        far[:] = False  # one weight on the edge is a part of the gain of all
    return far


def window_rounds(case: Case) -> np.ndarray | float:
    """What roundings of a latent, a threshold and their difference do to a window that is a noise.

    With scale s and jumps d, a place in units of s is off by 2**-23 (|x| + |t|) / s; densities of
    scale 1 have slopes of at most 1 and rise and fall once, so their sum over thresholds, times
    d / s, has a slope of at most d / s + 2.
    """
    stair, noise = case.reading.stair, case.reading.window
    if noise is None or isinstance(noise, Clip):
        return 0.0
    s, top = scale_of(noise), max(map(abs, stair.thresholds))
    return 2.0**-23 * (np.abs(case.latent) + top) / s * (float(stair.jumps.max()) / s + 2)


def torch_case(case: Case, words: np.ndarray | None, dtype: torch.dtype):
    latent = torch.tensor(case.latent, dtype=dtype, requires_grad=True)
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    learned = tuple(
        torch.tensor(case.state[p.name], dtype=kind, requires_grad=True)
        for p in case.reading.parameters
    )
    drawn = None if words is None else torch.tensor(words.astype(np.int64))
    kept = [torch.tensor(case.state[name]) for name in planes(case.reading)]
    unit = torch.tensor(case.state["unit"]) if "unit" in case.state else None
    plane = kept[0] if kept else None
    return latent, learned, seen(case.reading, latent, drawn, learned, plane, unit)


@stems
@examples(8)
@given(data=st.data())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_seen_and_its_slopes_are_the_references(stem, dtype, data):
    case = some_case(data.draw, stem)
    rounded = torch.tensor(case.latent).to(dtype).float().numpy()
    largest = max(np.abs(case.reading.stair.levels).max(), np.abs(case.latent).max())
    if dtype == torch.float16 and largest > 2.0**14:
        return  # a gain may be beyond float16
    case = case._replace(latent=rounded)
    words = case.words(data.draw)
    far = off_the_edges(case, words)
    latent, learned, visible = torch_case(case, words, dtype)
    expected = reader.seen(*case[:2], words, case.state).visible
    levels = np.abs(case.reading.stair.levels)
    size = np.abs(expected) + levels.max() * 2.0**-20
    if case.reading.shown == "expectation":  # each sum of T, and a chance, round within the ends
        size += (len(levels) + 3) / 4 * levels.max() * reader.seen(*case[:2], None, case.state).gain
    least = 2.0**-24 if dtype == torch.float16 else 0.0
    assert visible.dtype == dtype and visible.shape == latent.shape
    error = np.abs(visible.detach().double().numpy() - expected)
    assert (error <= HALF[dtype] * 2 * size + least)[far].all()
    upstream = torch.linspace(-2, 3, visible.numel()).reshape(visible.shape).to(dtype)
    found = torch.autograd.grad(visible, [latent, *learned], upstream)
    theirs = reader.slope(*case[:2], words, upstream.float().numpy(), case.state)
    scale = 3.0 * (1.0 + np.abs(theirs["latent"]))
    assert found[0].dtype == dtype
    close = np.abs(found[0].double().numpy() - theirs["latent"]) <= HALF[dtype] * 4 * scale + (
        3.0 * window_rounds(case)
    )
    assert close[far].all() if case.reading.gain_slope != "exact" else not far.all() or close.all()
    for p, gradient in zip(case.reading.parameters, found[1:], strict=True):
        assert gradient.dtype == torch.float32 and gradient.shape == case.state[p.name].shape
        if far.all():  # a sum over all, each of a few roundings
            top = np.abs(reader.seen(*case[:2], words, case.state).position).max() + 255
            room = 3.0 * top * latent.numel() * 2.0**-20
            assert np.abs(gradient.double().numpy() - theirs[p.name]).max() <= room


@pytest.mark.parametrize("row", rows().values(), ids=list(rows()))
def test_published_methods_are_the_references_in_float64(row):
    """Of float64 latents nothing is rounded to float32: levels on thresholds too are the same."""
    generator = np.random.Generator(np.random.PCG64(7))
    latent = generator.normal(size=(4, 3, 2, 2))
    latent[1] = [[[0.75, 1.25], [-0.75, -1.25]]] * 3  # mean 1, so that 0.75 is met exactly
    case = Case(row.spec, latent, starts(row, latent))
    if "frozen" in case.state:
        case.state["frozen"][::2] = True
    if "fixed" in case.state:
        case.state["fixed"][:, 1] *= -0.5
    drawn = reading_of(row.spec).shown == "random"
    words = generator.integers(0, 2**32, latent.shape, dtype=np.uint32) if drawn else None
    x, learned, visible = torch_case(case, words, torch.float64)
    expected = reader.read(row.spec, latent, words, case.state)
    assert np.abs(visible.detach().numpy() - expected).max() <= 1e-13
    upstream = generator.normal(size=latent.shape)
    found = torch.autograd.grad(visible, [x, *learned], torch.tensor(upstream))
    theirs = reader.slope(row.spec, latent, words, upstream, case.state)
    names = ("latent", *(p.name for p in case.reading.parameters))
    assert set(names) == set(theirs)
    for one, name in zip(found, names, strict=True):
        # Sums of 48 terms, each of at most 255 levels a few times rounded.
        room = 1e-12 * max(1.0, float(np.abs(case.reading.stair.levels).max()))
        assert np.abs(one.numpy() - theirs[name]).max() <= room


def starts(row, latent: np.ndarray) -> dict[str, np.ndarray]:
    """First values, in float64 but for truth values."""
    first = reader.start(row.spec, latent)
    return {k: v if v.dtype == bool else v.astype(np.float64) for k, v in first.items()}


@pytest.mark.parametrize("row", rows().values(), ids=list(rows()))
def test_nan_is_handed_on_and_second_derivatives_are_refused(row):
    latent = torch.tensor([[0.5, -2.0, torch.nan], [0.1, 0.3, -0.2]], requires_grad=True)
    reading, first = reading_of(row.spec), starts(row, np.ones((2, 3)))
    learned = tuple(torch.tensor(first[p.name], requires_grad=True) for p in reading.parameters)
    words = torch.zeros(2, 3, dtype=torch.int64) if reading.shown == "random" else None
    kept = [torch.tensor(first[name]) for name in planes(reading)]
    visible = seen(reading, latent, words, learned, *kept)
    assert visible[0, 2].isnan()
    once = torch.autograd.grad(visible[1].square().sum(), latent, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="differentiated once, got a second derivative"):
        once[1].sum().backward()


def test_words_and_learned_numbers_are_asked_for():
    reading = reading_of(rows()["TTQ"].spec)
    with pytest.raises(ValueError, match=r"a reading has its learned numbers, .*, got 0"):
        seen(reading, torch.zeros(2, 2))
    numbers = (torch.ones(1, 1), torch.ones(1, 1))
    for name, plane in (("INQ, 2 bits", None), ("TWN", torch.zeros(2, 2))):
        with pytest.raises(ValueError, match="a plane is of an order or of signs that are"):
            seen(reading_of(rows()[name].spec), torch.zeros(2, 2), plane=plane)
    with pytest.raises(ValueError, match="words are for a random reading, and it needs them, got"):
        seen(reading, torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.int64), numbers)


@pytest.mark.parametrize(
    ("name", "latent", "step", "slopes"),
    [
        ("LSQ, ternary", [0.5, -0.5, 0.25], (0.5,), [0.0, 0.0, 1.0]),
        ("BWN", [1.0, -1.0, 0.0, 0.0], (), [0.75, 0.75, 0.75, 0.75]),
        ("BWN, released", [1.0, -1.0, 0.0, 0.0], (), [0.25, 0.25, 0.75, 0.75]),
    ],
)
def test_ends_of_windows_are_in_or_out_as_the_row_says(name, latent, step, slopes):
    """A step of 1/2 and levels to 1; alpha = 1/2 of four binary weights, and 1 / n = 1/4."""
    x = torch.tensor(latent, requires_grad=True)
    learned = tuple(torch.tensor([number]) for number in step)
    seen(reading_of(rows()[name].spec), x, None, learned).sum().backward()
    assert x.grad is not None and x.grad.tolist() == slopes
