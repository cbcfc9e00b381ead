"""The knee: what each bit is worth, from the temperature, from an exact chain, and as measured."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np

from qpapers.hidden_levels.neuron import Neuron, from_temperature, trained
from qpapers.ledger import Claim, Values

TEST = "tests/papers/test_hidden_levels.py"
NEURON = Neuron()
RATE = 0.08
BITS = (2, 3, 4, 5, 6, 8)
MEASURED = (19.5, 14.7, 8.7, 5.6, 2.9, 1.5)
"""Points of accuracy below the float copy with increments of gradient over rms, each b of BITS."""
SPREADS = (0.9, 0.6, 0.2, 1.0, 0.4, 0.5)
FLOAT_SPREAD, SEEDS = 1.2, 5
"""Standard deviations over seeds, of each and of the float copy."""


def errors() -> np.ndarray:
    """Standard errors of MEASURED, the float copy's included."""
    return np.sqrt((np.array(SPREADS) ** 2 + FLOAT_SPREAD**2) / SEEDS)


def predicted(label_noise: float, momentum: float = 0.0) -> np.ndarray:
    """e from the temperature at each b of BITS. momentum: that divides the noise's variance by
    (1 + momentum) / (1 - momentum), as a larger batch."""
    larger = (1 + momentum) / (1 - momentum)
    batch = round(NEURON.batch * larger)
    neuron = dataclasses.replace(NEURON, label_noise=label_noise, batch=batch)
    return np.array([from_temperature(neuron, b) for b in BITS])


def of_temperature() -> Values:
    """e at 2 ... 8 bits, nu = 1."""
    return tuple(from_temperature(NEURON, b) for b in range(2, 9))


@cache
def exact(bits: int, rate: float = RATE) -> float:
    """e of the exact chain."""
    return trained(NEURON, bits, rate)


def of_chain() -> Values:
    """e of the exact chain at 2 ... 8 bits, over the prediction."""
    return tuple(exact(b) / from_temperature(NEURON, b) for b in range(2, 9))


def rates() -> Values:
    """e of 4 and of 8 bits at learning rates of 0.04 and 0.16 over that at 0.08."""
    return tuple(exact(b, rate) / exact(b) for b in (4, 8) for rate in (0.04, 0.16))


def float_copy() -> Values:
    """e of 10 bits over that of 8: what stands for the float copy."""
    return (exact(10) / exact(8),)


def factors() -> Values:
    """Measured factors, a bit each (of two bits the root), less the predicted ones at nu = 1, in
    units of the prediction's bar to the same side."""
    found: list[float] = []
    bars = [per_bit(predicted(nu)) for nu in (1.0, 0.25, 4.0)]
    for got, middle, high, low in zip(per_bit(np.array(MEASURED)), *bars, strict=True):
        found.append((got - middle) / (high - middle if got > middle else middle - low))
    return tuple(found)


def per_bit(gaps: np.ndarray) -> np.ndarray:
    """Factors from one number of bits to the next, a bit each."""
    return (gaps[:-1] / gaps[1:]) ** (1 / np.diff(BITS))


def distance(label_noise: float, momentum: float = 0.0) -> tuple[float, float]:
    """chi**2 of MEASURED with the best unit, points a unit of e, and that unit."""
    e, weight = predicted(label_noise, momentum), errors() ** -2
    unit = float((weight * e * MEASURED).sum() / (weight * e * e).sum())
    return float((weight * (MEASURED - unit * e) ** 2).sum()), unit


def fits() -> Values:
    """chi**2 at nu = 1/4, 1, 4: five degrees of freedom, the unit being fitted."""
    return tuple(distance(nu)[0] for nu in (0.25, 1.0, 4.0))


@cache
def best() -> Values:
    """nu of the least chi**2 among powers of sqrt 2, chi**2 there, and the gaps it gives."""
    noises = 2.0 ** np.arange(-2.0, 12.1, 0.5)
    nu = float(noises[np.argmin([distance(each)[0] for each in noises.tolist()])])
    chi, unit = distance(nu)
    return nu, chi, *(unit * predicted(nu)).tolist()


def with_momentum() -> Values:
    """Points below the float copy by the fitted constants at momentum 0.97, 4 and 6 bits."""
    nu = best()[0]
    gaps = distance(nu)[1] * predicted(nu, 0.97)
    return float(gaps[BITS.index(4)]), float(gaps[BITS.index(6)])


def noisy_chain() -> Values:
    """e of the exact chain over the prediction at the fitted nu, 3, 4 and 6 bits."""
    neuron = dataclasses.replace(NEURON, label_noise=best()[0])
    return tuple(trained(neuron, b, RATE) / from_temperature(neuron, b) for b in (3, 4, 6))


CLAIMS = (
    Claim(
        id="knee-temperature",
        statement="From the temperature alone: e = 2/3 (q / (n + 2 q) + q / (m + q)), q = T / "
        "(s g) and n, m levels seen as 0 and as 1; nu = 1, b = 2 ... 8",
        code=from_temperature,
        test=f"{TEST}::test_the_temperature_gives_the_error_of_a_neuron",
        printed="0.36949, 0.18759, 0.09400, 0.04607, 0.02318, 0.01151, 0.00577",
        number="ours",
        expected=(0.36949, 0.18759, 0.09400, 0.04607, 0.02318, 0.01151, 0.00577),
        tolerance=5e-6,
        why="half a unit of the fifth decimal",
        run=of_temperature,
    ),
    Claim(
        id="knee-chain",
        statement="The exact chain of the neuron after a cosine schedule from 0.08, over the "
        "prediction, b = 2 ... 8: 5 % at 2 bits, where no levels are left beyond a threshold, and "
        "0.1 to 1.5 % beyond, where the last iterations of the schedule are too few",
        code=trained,
        test=f"{TEST}::test_the_temperature_gives_the_error_of_a_neuron",
        printed="1.053, 0.998, 1.000, 1.000, 0.994, 0.987, 0.985",
        number="ours",
        expected=(1.053, 0.998, 1.000, 1.000, 0.994, 0.987, 0.985),
        tolerance=6e-4,
        why="half a unit of the third decimal, and the noise beyond 9 stds that is left out",
        run=of_chain,
        slow=True,
    ),
    Claim(
        id="knee-rate",
        statement="The learning rate does not matter: e at 0.04 and 0.16 over that at 0.08, 4 bits "
        "and then 8",
        code=trained,
        test=f"{TEST}::test_the_temperature_gives_the_error_of_a_neuron",
        printed="1, four times",
        number="ours",
        expected=(1.0,) * 4,
        tolerance=0.005,
        why="the last iterations, in which a weight no longer reaches its law, are those below "
        "some rate and grow fewer with the first rate: 1.5 % of e at 0.08, a third of it at 0.02",
        run=rates,
        slow=True,
    ),
    Claim(
        id="knee-factors",
        statement="PREDICTED before it was compared: a bit divides the gap by 1.97, 2.00, 2.04, "
        "1.99, and 2.00 a bit from 6 to 8 (nu = 1/4 ... 4: bars in the note). MEASURED: 1.33, "
        "1.69, 1.55, 1.93, 1.39. Here the differences in units of the bar: four of five "
        "are beyond it",
        code=from_temperature,
        test=f"{TEST}::test_the_prediction_is_compared_as_it_was_made",
        printed="-2.2, -1.7, -3.9, -0.9, -24",
        number="noted",
        expected=(-2.2, -1.7, -3.9, -0.9, -24.0),
        tolerance=0.5,
        why="half a unit of the last bar, which is 0.025 wide and says nothing of what is measured",
        run=factors,
        verdict="not reproduced",
    ),
    Claim(
        id="knee-distance",
        statement="chi^2 of the six measured gaps 19.5, 14.7, 8.7, 5.6, 2.9, 1.5, the unit fitted, "
        "five degrees of freedom, at nu = 1/4, 1 and 4: the prediction does not hold, the knee of "
        "the network is at more bits",
        code=from_temperature,
        test=f"{TEST}::test_the_prediction_is_compared_as_it_was_made",
        printed="202.5, 105.8, 40.1",
        number="noted",
        expected=(202.5, 105.8, 40.1),
        tolerance=0.1,
        why="twice half a unit of the last decimal",
        run=fits,
        verdict="not reproduced",
    ),
    Claim(
        id="knee-noise",
        statement="AFTER the comparison: with the noise fitted too the formula has the shape of "
        "the knee. nu of the least chi^2 among powers of sqrt 2, chi^2 with four degrees of "
        "freedom, and the gaps, measured as 19.5, 14.7, 8.7, 5.6, 2.9, 1.5. So a weight of the "
        "network sees 23 times the variance of noise that was assumed, and q is 1.8",
        code=from_temperature,
        test=f"{TEST}::test_the_prediction_is_compared_as_it_was_made",
        printed="22.6, 3.0; 19.8, 14.3, 9.0, 5.2, 2.9, 0.8",
        number="noted",
        expected=(22.6, 3.0, 19.8, 14.3, 9.0, 5.2, 2.9, 0.8),
        tolerance=0.05,
        why="half a unit of the first decimal",
        run=best,
        verdict="holds corrected",
    ),
    Claim(
        id="knee-noise-chain",
        statement="There the exact chain over the formula, 3, 4 and 6 bits: with 3 bits what leaks "
        "beyond a threshold reaches the end of the lattice, or the next threshold",
        code=trained,
        test=f"{TEST}::test_the_temperature_gives_the_error_of_a_neuron",
        printed="1.065, 1.022, 1.019",
        number="ours",
        expected=(1.065, 1.022, 1.019),
        tolerance=6e-4,
        why="half a unit of the third decimal, and the noise beyond 9 stds that is left out",
        run=noisy_chain,
        slow=True,
    ),
    Claim(
        id="knee-momentum",
        statement="The same constants are no law: for momentum 0.97, which divides the noise's "
        "variance by 66, they give these points below the float copy at 4 and 6 bits; measured 4.6 "
        "and 3.4 with int8 momentum",
        code=from_temperature,
        test=f"{TEST}::test_the_prediction_is_compared_as_it_was_made",
        printed="1.56, 0.39",
        number="noted",
        expected=(1.56, 0.39),
        tolerance=0.005,
        why="half a unit of the second decimal",
        run=with_momentum,
        verdict="not reproduced",
    ),
)
