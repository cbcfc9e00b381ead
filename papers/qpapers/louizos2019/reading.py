"""Relaxed quantisation as a reader [louizos2019]: levels drawn by one word, slopes of the mean."""

from __future__ import annotations

import numpy as np

from qpapers.ledger import Claim, Values
from qreference import reader
from qtheory.algorithms.relaxed_quantization import RelaxedQuantization, signed
from qtheory.gradients.stochastic import relaxed_quantization as theory
from qtheory.noise import Logistic

TEST = "tests/theory/algorithms/test_relaxed_quantization.py"
LATENTS = np.linspace(-2.0, 2.0, 401)
STEP, SCALE, H = 0.25, 0.1, 1e-5


def exact(bits: int, step: float = STEP, scale: float = SCALE) -> theory.RelaxedQuantizer:
    """Levels, spacing and noise of the paper."""
    return theory.RelaxedQuantizer.of_bits(bits, step, Logistic(scale), signed=True)


def state(step: float = STEP, scale: float = SCALE) -> dict[str, np.ndarray]:
    """What the reader has learned."""
    return {"step": np.array([step]), "scale": np.array([scale])}


def by_words() -> Values:
    """Largest differences of the shares of words from the law, of 2, 3 and 4 bits, 401 latents."""
    found: list[float] = []
    for bits in (2, 3, 4):
        outcomes = reader.outcomes(RelaxedQuantization(signed(bits)), LATENTS, state())
        tails = np.cumsum(theory.law(exact(bits), LATENTS)[:, ::-1], axis=1)[:, :-1]
        found.append(float(np.abs(outcomes.thresholds / 2.0**32 - tails).max()))
    return tuple(found)


def far() -> Values:
    """The law of a latent of 100 by shares of words, 2 bits, spacing 1 and scale 0.6."""
    outcomes = reader.outcomes(RelaxedQuantization(), np.array([100.0]), state(1.0, 0.6))
    tails = outcomes.thresholds[0] / 2.0**32
    return tuple(float(x) for x in np.diff(np.concatenate([[0.0], tails, [1.0]]))[::-1])


def slopes() -> Values:
    """Largest errors of slopes in the latents, the spacing and the scale, against differences of
    the exact mean."""
    spec, g = RelaxedQuantization(shown="expectation"), np.ones(LATENTS.shape)
    found = reader.slope(spec, LATENTS, None, g, state())
    ends = (
        (theory.mean(exact(2), LATENTS + d) for d in (H, -H)),
        (theory.mean(exact(2, STEP + d), LATENTS).sum() for d in (H, -H)),
        (theory.mean(exact(2, STEP, SCALE + d), LATENTS).sum() for d in (H, -H)),
    )
    quotients = [(high - low) / (2 * H) for high, low in ends]
    names = ("latent", "step", "scale")
    pairs = zip(names, quotients, strict=True)
    return tuple(float(np.abs(found[name] - q).max()) for name, q in pairs)


CLAIMS = (
    Claim(
        id="read-law",
        statement="A level drawn by one word has the law of the truncated noise, from a closed "
        "form of its tails: largest differences, 2, 3 and 4 bits, 401 latents inside and outside",
        code=reader.outcomes,
        test=f"{TEST}::test_the_law_is_that_of_bins_cut_off_and_renormalised",
        printed="0",
        number="ours",
        expected=(0.0, 0.0, 0.0),
        tolerance=2.4e-10,
        why="thresholds are rounded down to multiples of 2^-32, 2.33e-10; the law to 1e-13",
        run=by_words,
    ),
    Claim(
        id="read-far",
        statement="so that far outside it does not saturate: levels -2, -1, 0, 1 in spacings, "
        "scale .6, at 100, by shares of words",
        code=reader.outcomes,
        test=f"{TEST}::test_far_outside_it_does_not_saturate",
        printed=".0055, .0290, .1534, .8122 (derived)",
        number="ours",
        expected=(0.0055, 0.029, 0.1534, 0.8122),
        tolerance=5e-5,
        why="half a unit of the fourth decimal",
        run=far,
    ),
    Claim(
        id="read-slopes",
        statement="Slopes of the reader in latents, spacing and scale are those of the mean: "
        "largest errors against central differences, sums over 401 latents for the last two",
        code=reader.slope,
        test=f"{TEST}::test_the_mean_is_shown_and_levels_are_drawn",
        printed="0",
        number="ours",
        expected=(0.0, 0.0, 0.0),
        tolerance=2e-6,
        why="step 1e-5: h^2 / 6 times third derivatives, below 1 / scale^3 = 1000, is 2e-8 for one "
        "latent, of which 100 are near a threshold; rounding is 1e-9 of sums",
        run=slopes,
    ),
)
