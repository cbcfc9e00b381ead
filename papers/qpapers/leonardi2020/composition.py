"""Two smoothed steps [leonardi2020]: which orders of exponents converge, and what is seen.

K copies of a step at the pre-activation z_1 >= 0, then a step at K a_1 - K: the target is 1.
m = lam**p, s = lam**(2 p); lam = 0.1, 0.01, 0.001.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.gradients.networks.composition import copies, output, power_noises
from qtheory.gradients.networks.stair_network import LayerNoise
from qtheory.noise import Cauchy, Logistic, Smoothing, StudentT, Uniform

TEST = "tests/theory/gradients/networks/test_composition.py::test_two_layers_against_400_digits"
LAMS = (0.1, 0.01, 0.001)
CAUCHY, STUDENT, LOGISTIC, UNIFORM = Cauchy(1.0), StudentT(2.0, 1.0), Logistic(1.0), Uniform(1.0)
DIGITS = "half a unit of the last digit to match; of the output 12 digits are exact"


def outputs(
    noise: Smoothing,
    count: int,
    at: float,
    exponents: tuple[float, ...],
    units: tuple[float, ...] = (1.0, 1.0, 1.0),
    lams: tuple[float, ...] = LAMS,
    *,
    centred: bool = False,
) -> Callable[[], Values]:
    """A run: outputs over units, at each lam; with mean 0 if centred."""

    def run() -> Values:
        network, x = copies(count, at)
        found = list[float]()
        for lam, unit in zip(lams, units, strict=True):
            noises = power_noises(noise, exponents, lam)
            if centred:
                noises = tuple(LayerNoise(each.noise) for each in noises)
            found.append(output(network, noises, x).item() / unit)
        return tuple(found)

    return run


def uniform_errors() -> Values:
    """1 - output for seven pairs of exponents, uniform noise, K = 4, three lam each: the largest
    where it is not exact, and where it is: lam**p + lam**(2p) <= 1 for both."""
    pairs = ((2, 1), (1, 1), (1, 2), (1, 3), (1, 4), (4, 1), (3, 2))
    runs = [outputs(UNIFORM, 4, 0.0, pair) for pair in pairs]
    return (largest(abs(1.0 - value) for run in runs for value in run()),)


def slow_first_layer(exponent: float) -> Callable[[], Values]:
    """A run: s_1 = 1 / (4 log(1 / lam)), m_1 = 0, z_1 = 1/2, K = 1; m_2 = lam**p, s_2 its square;
    logistic noise; the output."""

    def run() -> Values:
        network, x = copies(1, 0.5)
        found = list[float]()
        for lam in LAMS:
            first = LayerNoise(Logistic(0.25 / math.log(1.0 / lam)))
            second = power_noises(LOGISTIC, (exponent,), lam)
            found.append(output(network, (first, *second), x).item())
        return tuple(found)

    return run


def two_layers(
    name: str,
    statement: str,
    printed: str,
    expected: Values,
    run: Callable[[], Values],
    tolerance: float = 0.5e-4,
    why: str = DIGITS,
    *,
    printed_of: str = "",
) -> Claim:
    """A row of the table of two layers."""
    return Claim(
        id=f"compose-{name}",
        statement=statement,
        code=output,
        test=TEST,
        printed=printed,
        number="ours",
        expected=expected,
        tolerance=tolerance,
        why=why,
        run=run,
        printed_of=printed_of,
    )


CLAIMS: tuple[Claim, ...] = (
    two_layers(
        "cauchy-right",
        "Two steps, K copies, m = lam^p, s = lam^(2p), target 1, lam = .1, .01, .001: Cauchy, "
        "K = 4, z_1 = 0, p = (2, 1) converges",
        ".9637 .9968 .9997",
        (0.9637, 0.9968, 0.9997),
        outputs(CAUCHY, 4, 0.0, (2, 1)),
    ),
    two_layers(
        "cauchy-equal",
        "p = (1, 1) fails, K c = 4/π > 1: output in units of .1, .01, .001",
        ".1133 .01165 .001165",
        (1.133, 1.165, 1.165),
        outputs(CAUCHY, 4, 0.0, (1, 1), LAMS),
        0.5e-3,
        printed_of="0.1133/0.1, 0.01165/0.01, 0.001165/0.001",
    ),
    two_layers(
        "cauchy-single",
        "K = 1, p = (1, 1) converges, K c = 1/π < 1",
        ".9537 .9953 .9995",
        (0.9537, 0.9953, 0.9995),
        outputs(CAUCHY, 1, 0.0, (1, 1)),
    ),
    two_layers(
        "cauchy-reversed",
        "K = 4, p = (1, 2) fails, reversed order: output in units of 1e-4, 1e-7, 1e-10",
        "2.7e-4 2.5e-7 2.5e-10",
        (2.7, 2.5, 2.5),
        outputs(CAUCHY, 4, 0.0, (1, 2), (1e-4, 1e-7, 1e-10)),
        0.05,
        printed_of="2.7e-4/1e-4, 2.5e-7/1e-7, 2.5e-10/1e-10",
    ),
    two_layers(
        "cauchy-reversed-1",
        "K = 1, p = (1, 2) fails: output in units of 1e-3, 1e-6, 1e-9; lam^3 to leading order",
        "1.47e-3 1.03e-6 1.00e-9 (derived)",
        (1.47, 1.03, 1.00),
        outputs(CAUCHY, 1, 0.0, (1, 2), (1e-3, 1e-6, 1e-9)),
        0.005,
        printed_of="1.47e-3/1e-3, 1.03e-6/1e-6, 1.00e-9/1e-9",
    ),
    two_layers(
        "student-equal",
        "Student-t with 2 df, K = 4, z_1 = 0, p = (1, 1) converges, 2 p_1 > p_2",
        ".9924 .9999 1.0",
        (0.9924, 0.9999, 1.0),
        outputs(STUDENT, 4, 0.0, (1, 1)),
    ),
    two_layers(
        "student-edge",
        "p = (1, 2) fails, 2 p_1 = p_2 and K c = 2: output in units of 1e-5, 1e-9, 1e-13",
        "5.3e-5 5.0e-9 5.0e-13",
        (5.3, 5.0, 5.0),
        outputs(STUDENT, 4, 0.0, (1, 2), (1e-5, 1e-9, 1e-13)),
        0.05,
        printed_of="5.3e-5/1e-5, 5.0e-9/1e-9, 5.0e-13/1e-13",
    ),
    two_layers(
        "student-off",
        "z_1 = 1/2, off the threshold, p = (1, 3) converges, 4 p_1 > p_2",
        "1.0 1.0 1.0",
        (1.0, 1.0, 1.0),
        outputs(STUDENT, 4, 0.5, (1, 3)),
    ),
    two_layers(
        "student-off-edge",
        "z_1 = 1/2, p = (1, 4) fails, 4 p_1 = p_2 and K c = 8: in units of 1e-10, 1e-18, 1e-26",
        "2.4e-10 1.1e-18 1.0e-26",
        (2.4, 1.1, 1.0),
        outputs(STUDENT, 4, 0.5, (1, 4), (1e-10, 1e-18, 1e-26)),
        0.05,
        printed_of="2.4e-10/1e-10, 1.1e-18/1e-18, 1.0e-26/1e-26",
    ),
    two_layers(
        "logistic",
        "Logistic, K = 4, z_1 = 0, p = (1, 3) converges",
        "1.0 1.0 1.0",
        (1.0, 1.0, 1.0),
        outputs(LOGISTIC, 4, 0.0, (1, 3)),
    ),
    two_layers(
        "logistic-late",
        "but late: at lam = .3 the output is, in units of 1e-66",
        "1e-66",
        (1.0,),
        outputs(LOGISTIC, 4, 0.0, (1, 3), (1e-66,), (0.3,)),
        0.05,
        printed_of="1e-66/1e-66",
    ),
    Claim(
        id="compose-uniform",
        statement="Uniform noise, K = 4, z_1 = 0: exact in any order: largest abs(1 - output), "
        "p = (2, 1), (1, 1), (1, 2), (1, 3), (1, 4), (4, 1), (3, 2)",
        code=output,
        test="tests/theory/gradients/networks/test_composition.py::test_compact_noise_is_exact_from_the_edge_on",
        printed="0",
        number="ours",
        expected=(0.0,),
        tolerance=0.0,
        why="a tail beyond the support is 0",
        run=uniform_errors,
    ),
    two_layers(
        "slow-1",
        "Logistic with a slow first layer, s_1 = 1 / (4 log(1/lam)), m_1 = 0, z_1 = 1/2 (error "
        "lam^2 / (1 + lam^2)), K = 1: p_2 = 1 has the limit 1",
        "1; at lam = .1 sigmoid((lam - lam^2 / (1 + lam^2)) / lam^2) = .9999",
        (0.9999, 1.0, 1.0),
        slow_first_layer(1.0),
    ),
    two_layers(
        "slow-2",
        "p_2 = 2 the limit sigmoid(1)",
        ".7311, to lam^2",
        (0.7311, 0.7311, 0.7311),
        slow_first_layer(2.0),
        2.05e-3,
        "the argument is 1 / (1 + lam^2), so the output is below by lam^2 sigmoid'(1) < .00197; "
        "and .5e-4 for four digits",
    ),
    two_layers(
        "slow-3",
        "p_2 = 3 the limit 0",
        "0",
        (0.0, 0.0, 0.0),
        slow_first_layer(3.0),
        1e-300,
        "exp((lam^3 - lam^2 / (1 + lam^2)) / lam^6), below exp(-8000)",
    ),
    two_layers(
        "centred-logistic",
        "Mean 0, logistic, K = 1, z_1 = 1/2, p = (1, 1): limit 1/2, at lam = .5, .3, .1",
        "1/2 from .383; on the way, seen: .4893",
        (0.3830, 0.4893, 0.5),
        outputs(LOGISTIC, 1, 0.5, (1, 1), lams=(0.5, 0.3, 0.1), centred=True),
    ),
    two_layers(
        "centred-student",
        "Mean 0, Student-t with 2 df, K = 1, z_1 = 1/2, p = (1, 2): limit F(-2) = "
        "1/2 - 1/sqrt 6; last two",
        ".0918",
        (0.0918, 0.0918),
        outputs(STUDENT, 1, 0.5, (1, 2), (1.0, 1.0), (0.01, 0.001), centred=True),
    ),
    two_layers(
        "centred-uniform",
        "Mean 0, uniform: exactly 1/2",
        "1/2",
        (0.5, 0.5, 0.5),
        outputs(UNIFORM, 1, 0.5, (1, 2), centred=True),
        0.0,
    ),
)
