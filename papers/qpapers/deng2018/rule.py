"""The rule of [deng2018], and what its published settings imply before any training."""

from __future__ import annotations

import math

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory import DST, Lattice
from qtheory.algorithms import dst
from qtheory.algorithms.base import law
from qtheory.algorithms.walker import walker_law
from qtheory.noise import Gaussian
from qtheory.optimisers import Adam

TEST = "tests/theory/algorithms/test_dst.py"
CHAIN = "tests/theory/algorithms/test_dst_chain.py"
CLAIMS_TEST = "tests/papers/test_deng2018.py"
SIX = "half a unit of the sixth decimal"
TERNARY = DST(Lattice.ternary(), 3.0)


def move_probabilities(fractions: tuple[float, ...]) -> Values:
    """P(one level up) from the middle of the ternary lattice, m = 3."""
    return tuple(float(law(TERNARY, 1, f)[2]) for f in fractions)


def largest_boundary_difference() -> Values:
    """Laws of stopping the increment before the move and the weight after it, N = 0..3, 81
    increments that are multiples of 1/64: the largest difference."""
    worst = 0.0
    for order in range(4):
        spec = DST(Lattice.z(order), 3.0)
        for index, level in enumerate(spec.lattice.levels.tolist()):
            d = np.arange(-200.0, 201.0, 5.0) / 64
            rho = np.clip(d, spec.lattice.low - level, spec.lattice.high - level)
            apart = [law(spec, index, x) - law(spec, index, y) for x, y in zip(d, rho, strict=True)]
            worst = largest((worst, float(np.abs(apart).max())))
    return (worst,)


def resting(widths: tuple[float, ...]) -> Values:
    """P(product 0) for a uniform ternary weight and a standard normal pre-activation, zero zone
    of half width r: 1 - (2/3) P(abs(a) > r)."""
    tail = Gaussian(1.0).tail(np.array(widths))
    return tuple((1.0 - (2.0 / 3.0) * 2.0 * tail).tolist())


def largest_adam_step() -> Values:
    """The step, in learning rates, after 20,000 zero gradients and one of one."""
    rate = Adam(1.0)
    m, v = 1.0 - 0.9, 1.0 - 0.999
    s = rate.scalars(20_001)
    return (float(s.learning_rate) * m / (math.sqrt(v) * float(s.second_scale)),)


def adam_rms_on_noise() -> Values:
    """Root mean square of m / sqrt(v) under independent normal gradients, in the limit of a long
    second average: the std of the first average, from its geometric weights."""
    weights = (1 - 0.9) * 0.9 ** np.arange(400.0)
    return (float(np.sqrt((weights**2).sum())),)


def mnist_moves(epoch: float) -> float:
    """Most moves of a weight in an epoch: 5 steps of tanh(3 lr), lr = 0.1 * 1e-6**(e / 4000)."""
    return 5 * math.tanh(3 * 0.1 * 1e-6 ** (epoch / 4000))


def cifar_moves(epoch: float) -> float:
    """45 steps, lr = 0.01 * 0.9971**e, a tenth of it from epochs 1000 and 1600 on."""
    drops = (epoch >= 1000) + (epoch >= 1600)
    return 45 * math.tanh(3 * 0.01 * 0.9971**epoch * 0.1**drops)


def quiet_epochs() -> Values:
    """First epoch with fewer than 1e-3 moves of a weight: MNIST, CIFAR-10."""
    return tuple(
        float(next(e for e in range(4001) if moves(e) < 1e-3))
        for moves in (mnist_moves, cifar_moves)
    )


def memory_saved() -> Values:
    """1 - (2 + 64 + g) / (32 + 64 + g) for g = 32 bits of gradient, and for none."""
    return tuple(1 - (2 + 64 + g) / (32 + 64 + g) for g in (32, 0))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="rule-levels",
        statement="Z_N has 2^N + 1 levels on [-H, H], two for N = 0",
        code=Lattice.z,
        test="tests/theory/test_lattice.py::test_z_has_the_levels_of_the_paper",
        printed="2, 3, 5, 9, 17, 33, 65 for N = 0..6",
        number="noted",
        expected=(2.0, 3.0, 5.0, 9.0, 17.0, 33.0, 65.0),
        tolerance=0.0,
        why="whole numbers",
        run=lambda: tuple(float(Lattice.z(order).size) for order in range(7)),
    ),
    Claim(
        id="rule-tanh",
        statement="One level more with probability tanh(m f), m = 3, f = .01, .05, .1, .3, .5",
        code=dst.law,
        test=f"{TEST}::test_published_values_of_tanh",
        printed="our arithmetic, not a table of the paper",
        number="ours",
        expected=(0.029991, 0.148885, 0.291313, 0.716298, 0.905148),
        tolerance=0.5e-6,
        why=SIX,
        run=lambda: move_probabilities((0.01, 0.05, 0.1, 0.3, 0.5)),
        printed_of="tanh(0.03), tanh(0.15), tanh(0.3), tanh(0.9), tanh(1.5)",
    ),
    Claim(
        id="rule-table",
        statement="The ternary table, row w = -1, d = 1.5: to 0 for certain, to +1 w.p. tanh(m/2)",
        code=dst.law,
        test=f"{TEST}::test_the_ternary_table",
        printed="0, 1 - tanh 1.5, tanh 1.5",
        number="noted",
        expected=(0.0, 0.094852, 0.905148),
        tolerance=0.5e-6,
        why=SIX,
        run=lambda: tuple(law(TERNARY, 0, 1.5).tolist()),
        printed_of="0, 1 - tanh(1.5), tanh(1.5)",
    ),
    Claim(
        id="rule-binary",
        statement="Binary weights flip with probability tanh(m abs(d) / 2); d = 0.1, 1, m = 3",
        code=dst.law,
        test=f"{TEST}::test_binary_weights_flip",
        printed="derived: tanh .15, tanh 1.5",
        number="ours",
        expected=(math.tanh(0.15), math.tanh(1.5)),
        tolerance=2.0**-51,
        why="two tanh of at most 2 units in the last place each",
        run=lambda: tuple(float(law(DST(Lattice.binary(), 3.0), 0, d)[1]) for d in (0.1, 1.0)),
        printed_of="tanh(0.15), tanh(1.5)",
    ),
    Claim(
        id="rule-boundary",
        statement="Stopping the increment at the bound before the move (paper) has the law of "
        "stopping the weight after it (code): largest difference",
        code=walker_law,
        test=f"{TEST}::test_the_boundary_before_the_move_is_the_boundary_after",
        printed="0",
        number="noted",
        expected=(0.0,),
        tolerance=0.0,
        why="increments and levels are multiples of 1/64, so nothing is rounded",
        run=largest_boundary_difference,
    ),
    Claim(
        id="rule-jump",
        statement="Just below a whole spacing the probability is tanh m < 1, at it the move is "
        "certain: the rule jumps there",
        code=dst.law,
        test=f"{CHAIN}::test_whole_spacings_are_moved_for_certain_and_just_below_only_with_tanh_m",
        printed="0.995055 and 1",
        number="ours",
        expected=(0.995055, 1.0),
        tolerance=0.5e-6,
        why=SIX,
        run=lambda: (float(law(TERNARY, 0, 1 - 2.0**-40)[1]), float(law(TERNARY, 0, 1.0)[1])),
    ),
    Claim(
        id="setting-adam-step",
        statement="Adam asks for at most sqrt(10) learning rates, so no whole spacing is ever "
        "moved at the published rates (0.1, spacing 1)",
        code=Adam,
        test=f"{CHAIN}::test_adam_never_asks_for_more_than_sqrt_ten_rates",
        printed="3.162",
        number="noted",
        expected=(3.1623,),
        tolerance=0.5e-4,
        why="four decimals",
        run=largest_adam_step,
    ),
    Claim(
        id="setting-adam-noise",
        statement="Under pure noise Adam's increment has root mean square "
        "sqrt((1 - b1) / (1 + b1)) learning rates",
        code=adam_rms_on_noise,
        test=f"{CLAIMS_TEST}::test_adam_on_pure_noise",
        printed="0.23",
        number="noted",
        expected=(0.2294,),
        tolerance=0.5e-4,
        why="four decimals; b2 = 1 in the limit",
        run=adam_rms_on_noise,
    ),
    Claim(
        id="setting-first-moves",
        statement="Most moves of a weight in the first epoch with a learning rate, steps * "
        "tanh(3 lr): MNIST (5 steps, .1), CIFAR-10 (45 steps, .01)",
        code=mnist_moves,
        test=f"{CLAIMS_TEST}::test_moves_fall_with_the_epochs",
        printed="near 1.5 and 1.35",
        number="noted",
        expected=(1.457, 1.350),
        tolerance=0.001,
        why="three decimals; the first factor of the decay is 0.3 % for CIFAR-10",
        run=lambda: (mnist_moves(0), cifar_moves(0)),
    ),
    Claim(
        id="setting-quiet",
        statement="Epoch from which a weight moves less than once in a thousand epochs at the "
        "published schedules: MNIST of 4000, CIFAR-10 of 2000",
        code=quiet_epochs,
        test=f"{CLAIMS_TEST}::test_moves_fall_with_the_epochs",
        printed="around 2100 and 1600",
        number="noted",
        expected=(2100.0, 1600.0),
        tolerance=50.0,
        why="two digits are given",
        run=quiet_epochs,
    ),
    Claim(
        id="setting-resting",
        statement="Share of products that are 0 for uniform ternary weights and activations: "
        "5/9; with a standard normal pre-activation and zero zone r = .25, .5, .6745, 1",
        code=resting,
        test=f"{CLAIMS_TEST}::test_resting_by_enumeration",
        printed="0.556 (paper's 55.6 %), then .465, .589, .667, .788 (derived)",
        number="ours",
        expected=(0.556, 0.465, 0.589, 0.667, 0.788),
        tolerance=0.0005,
        why="three decimals; r = .4307 makes the activation uniform",
        run=lambda: resting((0.430727, 0.25, 0.5, 0.6745, 1.0)),
    ),
    Claim(
        id="setting-memory",
        statement="Bits saved in training by 2-bit weights when Adam's moments stay in float32, "
        "with and without the gradient counted: not a factor 16",
        code=memory_saved,
        test=f"{CLAIMS_TEST}::test_memory_saved",
        printed="23 % and 31 %",
        number="noted",
        expected=(0.23, 0.31),
        tolerance=0.005,
        why="whole per cent are given",
        run=memory_saved,
        verdict="holds corrected",
    ),
)
