"""ANA's weights: what the public implementation gets wrong, by the numbers of notes on it.

Each check runs what a reader does in both rooms that read. Of the noisy stairs of activations the
same is asked in tests/qcuda/stairs/test_faults.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import qcuda
from qcuda.kernels.words import words
from qcuda.nn import set_iteration
from qcuda.nn.latent import latents
from qcuda.nn.reading import seen
from qreference import reader
from qtheory.algorithms.ana import FAMILIES, NoiseAnnealing, first_scale, law, reading
from qtheory.lattice import Lattice
from qtheory.stairs import smoothing
from qtheory.streams import Stream

SIXTEEN = Lattice(16, 1.0, -8.0)
LATENTS = np.concatenate([np.linspace(-9, 9, 400), SIXTEEN.levels, SIXTEEN.levels + 0.5])


def both(spec: NoiseAnnealing, x: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
    """What both rooms show, the same to two roundings."""
    plain = reader.read(spec, x, drawn)
    some = None if drawn is None else torch.tensor(drawn.astype(np.int64))
    ours = seen(reading(spec), torch.tensor(x), some).numpy()
    assert np.abs(plain - ours).max() <= 2.0**-20 * spec.lattice.high or drawn is not None
    return ours


def slopes(spec: NoiseAnnealing, x: np.ndarray) -> np.ndarray:
    """The slopes of both rooms, the same to a few roundings."""
    latent = torch.tensor(x, requires_grad=True)
    seen(reading(spec), latent).sum().backward()
    assert latent.grad is not None
    plain = reader.slope(spec, x, None, np.ones(x.shape))["latent"]
    assert np.abs(plain - latent.grad.numpy()).max() <= 1e-12 * (1 + plain.max())
    return plain


def no_word_leaves_the_levels():
    """1: cumulative sums that end below 1 let the largest words find no level."""
    for family in FAMILIES:
        spec = NoiseAnnealing(SIXTEEN, family, first_scale(family), "random")
        for word in (0, 1, 2**32 - 2, 2**32 - 1):
            drawn = np.full(LATENTS.shape, word, np.uint32)
            shown = both(spec, LATENTS.astype(np.float32), drawn)
            assert set(shown.tolist()) <= set(SIXTEEN.levels.tolist())


def the_word_zero_finds_a_possible_level():
    """2: with u = 0 and a law (0, 0, 1) two changes of sign are counted, and a level is left."""
    spec = NoiseAnnealing(Lattice.ternary(), "uniform", 0.25, "random")
    x = np.array([3.0, 0.8, 0.0, -3.0])
    for word in (0, 2**32 - 1):
        assert both(spec, x, np.full(4, word, np.uint32)).tolist() == [1.0, 1.0, 0.0, -1.0]


def equal_probabilities_have_one_rule():
    """3: one device takes the first of equally likely levels, another one the last."""
    spec = NoiseAnnealing(Lattice.ternary(), "uniform", 0.25, "mode")
    assert both(spec, np.array([-0.5, 0.5])).tolist() == [-1.0, 0.0]
    tied = law(dataclasses.replace(spec, shown="random"), np.array([-0.5, 0.5]))
    assert tied.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]


def a_level_has_the_slope_one():
    """4: windows of uniform noise closed at both ends count every level twice."""
    spec = NoiseAnnealing(Lattice(5, 1.0, -2.0))
    assert slopes(spec, np.array([-2.0, -1.0, 0.0, 0.25, 1.0])).tolist() == [1.0] * 5
    assert slopes(spec, np.array([2.0, -2.1])).tolist() == [0.0, 0.0]


def double_latents_are_computed_in_double():
    """5, 6: float literals and casts leave float32's digits in float64, or mix the two."""
    for family in FAMILIES:
        spec = NoiseAnnealing(Lattice.ternary(), family, first_scale(family))
        exact = smoothing.expectation(reading(spec).stair, FAMILIES[family](spec.scale), LATENTS)
        shown = seen(reading(spec), torch.tensor(LATENTS))
        assert shown.dtype == torch.float64
        assert np.abs(shown.numpy() - exact).max() <= 1e-14
        slopes(spec, LATENTS)
    hard = seen(reading(NoiseAnnealing(shown="hard")), torch.tensor([0.5], dtype=torch.float64))
    assert hard.dtype == torch.float64


def latents_are_in_units_of_weights():
    """7: with spacing 0.07, first latents of a half are not 7 spacings, beyond the ends."""
    lattice = Lattice(15, 0.07, -0.49)
    for shown in ("expectation", "hard"):
        spec = NoiseAnnealing(lattice, shown=shown)
        x = np.linspace(-0.4, 0.4, 81)
        assert np.abs(both(spec, x) - x).max() <= 0.035 * (1 + 1e-12)
        # The two windows that meet on a level are rounded: there it may be none of them, or both.
        off = np.abs(x / 0.07 - np.round(x / 0.07)) > 1e-9
        assert np.abs(slopes(spec, x[off]) - 1).max() <= 1e-12


def a_convolution_keeps_its_bias():
    """8: the rule that replaces convolutions fails on one with a bias."""
    model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=True))
    bias = model[0].get_parameter("bias").detach().clone()
    qcuda.read_(model, NoiseAnnealing())
    assert torch.equal(model[0].get_parameter("bias"), bias)
    assert model(torch.ones(1, 2, 3, 3)).shape == (1, 3, 1, 1)


def two_models_share_nothing():
    """9: a mutable default hands the second controller the modules of the first."""
    one, other = (qcuda.read_(nn.Linear(3, 2), NoiseAnnealing()) for _ in range(2))
    qcuda.turn_(one, NoiseAnnealing(scale=0.01))
    assert [r.reading.noise for _, r in latents(other)] == [reading(NoiseAnnealing()).noise]
    assert len([*latents(one)]) == len([*latents(other)]) == 1


def validation_leaves_the_noise():
    """10: validation in the midst of an epoch sets the scale to 0, and no gradient flows."""
    model = qcuda.read_(nn.Linear(3, 2), NoiseAnnealing())
    model.eval()
    model(torch.ones(1, 3))
    model.train()
    model(torch.ones(1, 3)).sum().backward()
    latent, _ = next(latents(model))
    assert latent.grad is not None and (latent.grad == 1).all()


def draws_can_be_computed_again():
    """16: one call of a global generator can not be repeated elsewhere; a counter can."""
    spec = NoiseAnnealing(shown="random", scale=1.5)
    model = qcuda.read_(nn.Linear(5, 4), spec, seed=2**63 + 1)
    set_iteration(model, 77)
    latent, own = next(latents(model))
    drawn = words(2**63 + 1, 77, 0, 20, stream=Stream.READ).reshape(4, 5)
    expected = seen(reading(spec), latent, drawn)
    torch.manual_seed(1)
    assert torch.equal(own(latent), expected)
    torch.manual_seed(2)
    assert torch.equal(own(latent), expected)


DEFECTS: dict[str, Callable[[], None]] = {
    "1": no_word_leaves_the_levels,
    "2": the_word_zero_finds_a_possible_level,
    "3": equal_probabilities_have_one_rule,
    "4": a_level_has_the_slope_one,
    "5, 6": double_latents_are_computed_in_double,
    "7": latents_are_in_units_of_weights,
    "8": a_convolution_keeps_its_bias,
    "9": two_models_share_nothing,
    "10": validation_leaves_the_noise,
    "16": draws_can_be_computed_again,
}


@pytest.mark.parametrize("number", DEFECTS)
def test_mistakes_of_the_public_implementation_are_not_made(number):
    DEFECTS[number]()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoiseAnnealing(family="cauchy"), "a noise is one of .*, got 'cauchy'"),
        (lambda: NoiseAnnealing(shown="soft"), "a forward pass is one of .*, got 'soft'"),
        (lambda: NoiseAnnealing(scale=0.0), "the scale of a noise is positive .*, got 0.0"),
    ],
)
def test_other_noises_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
