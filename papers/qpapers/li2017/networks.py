"""The experiments of [li2017] on networks, in small: errors, and how many signs change.

Digits, two convolutions of 8 and 16 channels, 24 epochs, four seeds; see `binary_networks`.
Methods compare in pairs of one seed: t is the mean difference over its standard error. Without a
difference it has Student's law with three degrees of freedom: above 2.35, or outside +-3.18, with
probability 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from qpapers.ledger import Claim, Values
from qpapers.li2017.training import METHODS, Outcome, Setting, optimiser, run, signs

SEEDS = 4
ONE_SIDED, TWO_SIDED = 2.353, 3.182  # quantiles 0.95 and 0.975 of Student's law, three degrees
TEST = "tests/papers/test_binary_networks.py"
NETWORK = "Network of binary convolutions on digits, Adam at 0.01, batch 16"
ONE_SIDED_WHY = "differences above 0; without one, t is above 2.353 with probability 0.05"
TWO_SIDED_WHY = "without a difference, t is outside ±3.182 with probability 0.05"


@cache
def outcomes() -> dict[str, tuple[Outcome, ...]]:
    """Every method from every seed, the control from the first alone.

    With one thread, so that bits do not depend on their number.
    """
    seeds = {name: range(1 if name == "frozen" else SEEDS) for name in METHODS}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {name: tuple(run(name, Setting(), s) for s in seeds[name]) for name in METHODS}
    finally:
        torch.set_num_threads(threads)


def paired(larger: Sequence[float], smaller: Sequence[float]) -> tuple[float, float]:
    """Mean difference of pairs, and t, it over its standard error.

    >>> paired([3.0, 5.0], [1.0, 1.0])
    (3.0, 3.0)
    """
    differences = np.subtract(larger, smaller)
    mean = float(differences.mean())
    return mean, mean / (float(differences.std(ddof=1)) / math.sqrt(len(differences)))


def errors(name: str) -> list[float]:
    """Per cent of the test images misread, by seed."""
    return [100 * outcome.error for outcome in outcomes()[name]]


def changed(name: str) -> list[float]:
    """Per cent of convolution weights whose sign is not the first, at the end, by seed."""
    return [100 * outcome.changed[-1] for outcome in outcomes()[name]]


def mean_errors() -> Values:
    """Means of adam, bc, big_sr, sr, r, long_sr, and their standard errors."""
    table = np.array([errors(name) for name in ("adam", "bc", "big_sr", "sr", "r", "long_sr")])
    spread = table.std(1, ddof=1) / math.sqrt(SEEDS)
    return *table.mean(1).tolist(), *spread.tolist()


def below(low: Sequence[float], others: Sequence[Sequence[float]]) -> Values:
    """Mean differences by which each of the others is larger, then each t."""
    pairs = [paired(other, low) for other in others]
    return *(mean for mean, _ in pairs), *(t for _, t in pairs)


def above(high: Sequence[float], others: Sequence[Sequence[float]]) -> Values:
    """Mean differences by which each of the others is smaller, then each t."""
    return tuple(-value for value in below(high, others))


def frozen_differences() -> Values:
    """Sum over seeds and epochs of R's share of changed signs; logits unlike the control's."""
    moved = sum(sum(outcome.changed) for outcome in outcomes()["r"])
    one, other = outcomes()["r"][0], outcomes()["frozen"][0]
    return moved, float((one.logits != other.logits).sum())


def bc_stops() -> Values:
    """Share of signs of BC that differ from the first, after half of the epochs and at the end."""
    halves = [100 * float(np.mean([o.changed[k] for o in outcomes()["bc"]])) for k in (11, 23)]
    return halves[0], halves[1]


def least_rises() -> Values:
    """Least rise over the seeds of the share of SR, epochs 0-3, 3-6, 6-9, 9-12, per cent."""
    shares = np.array([(0.0, *o.changed)[0:13:3] for o in outcomes()["sr"]])
    return tuple((100 * np.diff(shares, axis=1).min(0)).tolist())


def over_noise() -> Values:
    """Share of changed signs over that of noise alone, sr, long_sr, big_sr."""

    def ratio(outcome: Outcome) -> float:
        return outcome.changed[-1] / (0.5 * (1 - math.exp(-outcome.asked[-1] / 2)))

    names = ("sr", "long_sr", "big_sr")
    return tuple(float(np.mean([ratio(o) for o in outcomes()[name]])) for name in names)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="net-errors",
        statement=f"{NETWORK}: misread images in per cent, means of four seeds, ADAM, BC, Big SR "
        "(batch 128, as many epochs), SR, R, Big SR with as many iterations as SR; then their "
        "standard errors",
        code=run,
        test=f"{TEST}::test_a_run_has_the_same_bits_again",
        printed="rising from ADAM to R on CIFAR-10, 7.97, 10.36, 16.95, 23.33, 23.99 "
        "(quoted); another task, so ours; seen: 2.7, 12, 23.8, 21.9, 19.6, 15.5, "
        "0.1, 1.5, 2, 1.5, 1, 0.8",
        number="ours",
        expected=(2.7, 12.0, 23.8, 21.9, 19.6, 15.5, 0.1, 1.5, 2.0, 1.5, 1.0, 0.8),
        tolerance=6.0,
        why="three of the largest standard error: another machine adds in another order, and a "
        "run then goes another way",
        run=mean_errors,
        verdict="not reproduced",
        slow=True,
    ),
    Claim(
        id="net-adam-bc",
        statement="ADAM < BC: mean difference of the errors in per cent, and t",
        code=paired,
        test=f"{TEST}::test_pairs_are_compared",
        printed="ADAM < BC; asked for: 0, 2.353",
        number="ours",
        expected=(0.0, ONE_SIDED),
        tolerance=0.0,
        why=ONE_SIDED_WHY,
        run=lambda: below(errors("adam"), [errors("bc")]),
        guard=True,
        slow=True,
        relation=">=",
    ),
    Claim(
        id="net-bc-lattice",
        statement="BC < Big SR, SR, R: mean differences of the errors in per cent, then each t",
        code=paired,
        test=f"{TEST}::test_pairs_are_compared",
        printed="BC < Big SR, SR, R; asked for: 0, 0, 0, 2.353, 2.353, 2.353",
        number="ours",
        expected=(0.0, 0.0, 0.0, ONE_SIDED, ONE_SIDED, ONE_SIDED),
        tolerance=0.0,
        why=ONE_SIDED_WHY,
        run=lambda: below(errors("bc"), [errors(name) for name in ("big_sr", "sr", "r")]),
        guard=True,
        slow=True,
        relation=">=",
    ),
    Claim(
        id="net-big-sr",
        statement="Big SR < SR is not seen after as many epochs, an eighth of the iterations: t of "
        "the error of SR less that of Big SR",
        code=paired,
        test=f"{TEST}::test_pairs_are_compared",
        printed="Big SR < SR quoted; 0 (no difference)",
        number="noted",
        expected=(0.0,),
        tolerance=TWO_SIDED,
        why=TWO_SIDED_WHY,
        run=lambda: paired(errors("sr"), errors("big_sr"))[1:],
        guard=True,
        verdict="not reproduced",
        slow=True,
    ),
    Claim(
        id="net-sr-r",
        statement="SR < R is not seen, at batch 16: t of the error of R less that of SR",
        code=paired,
        test=f"{TEST}::test_pairs_are_compared",
        printed="SR < R quoted; 0 (no difference)",
        number="noted",
        expected=(0.0,),
        tolerance=TWO_SIDED,
        why=TWO_SIDED_WHY,
        run=lambda: paired(errors("r"), errors("sr"))[1:],
        guard=True,
        verdict="not reproduced",
        slow=True,
    ),
    Claim(
        id="net-batch",
        statement="What holds: after as many iterations, Big SR < SR and Big SR < R; mean "
        "differences of the errors in per cent, then each t",
        code=paired,
        test=f"{TEST}::test_pairs_are_compared",
        printed="Big SR < SR < R after as many epochs, quoted; asked for: 0, 0, 2.353, 2.353",
        number="ours",
        expected=(0.0, 0.0, ONE_SIDED, ONE_SIDED),
        tolerance=0.0,
        why=ONE_SIDED_WHY,
        run=lambda: below(errors("long_sr"), [errors("sr"), errors("r")]),
        guard=True,
        verdict="holds corrected",
        slow=True,
        relation=">=",
    ),
    Claim(
        id="net-r-frozen",
        statement="R is a frozen random network: share of signs it changed, summed over epochs and "
        "seeds, and how many of the first seed's 40,410 logits of shifted test images differ from "
        "those of a network whose convolutions are not trained",
        code=optimiser,
        test=f"{TEST}::test_nearest_rounding_is_a_frozen_network_bit_for_bit",
        printed="0, 0",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=0.0,
        why="bits are equal or not",
        run=frozen_differences,
        slow=True,
    ),
    Claim(
        id="net-changed",
        statement="Signs that changed, in per cent of the convolution weights: BC, Big SR, SR, R",
        code=signs,
        test=f"{TEST}::test_nearest_rounding_is_a_frozen_network_bit_for_bit",
        printed="below 20, fewer than SR, near 40, 0 (quoted, after many more iterations); "
        "ours; seen: 22.4, 11.2, 32.1, 0",
        number="ours",
        expected=(22.4, 11.2, 32.1, 0.0),
        tolerance=4.0,
        why="three standard errors of BC, 3.4; the others have 0.5",
        run=lambda: tuple(float(np.mean(changed(n))) for n in ("bc", "big_sr", "sr", "r")),
        verdict="holds corrected",
        slow=True,
    ),
    Claim(
        id="net-changed-order",
        statement="BC and Big SR change fewer signs than SR: mean differences in per cent, then "
        "each t",
        code=paired,
        test=f"{TEST}::test_pairs_are_compared",
        printed="BC < SR, Big SR < SR; asked for: 0, 0, 2.353, 2.353",
        number="ours",
        expected=(0.0, 0.0, ONE_SIDED, ONE_SIDED),
        tolerance=0.0,
        why=ONE_SIDED_WHY,
        run=lambda: above(changed("sr"), [changed("bc"), changed("big_sr")]),
        guard=True,
        slow=True,
        relation=">=",
    ),
    Claim(
        id="net-changed-bc",
        statement="BC comes to rest: per cent of its signs that differ from the first after half "
        "of the epochs, and at the end; more than a fifth, as its first latent weights are uniform "
        "on (-1, 1)",
        code=signs,
        test=f"{TEST}::test_binary_connect_is_its_definition",
        printed="never above 20 quoted; below 30, and the same twice (ours); seen: 22.3, 22.4",
        number="ours",
        expected=(22.3, 22.4),
        tolerance=4.0,
        why="three standard errors, 3.4",
        run=bc_stops,
        guard=True,
        verdict="holds corrected",
        slow=True,
    ),
    Claim(
        id="net-changed-rising",
        statement="SR goes on to change signs while η = 0.01: rise of the share in per cent over "
        "epochs 1-3, 4-6, 7-9, 10-12, the least of the seeds",
        code=signs,
        test=f"{TEST}::test_nearest_rounding_is_a_frozen_network_bit_for_bit",
        printed="rising; asked for: 0, 0, 0, 0",
        number="ours",
        expected=(0.0, 0.0, 0.0, 0.0),
        tolerance=0.0,
        why="a rise is above 0",
        run=least_rises,
        guard=True,
        slow=True,
        relation=">=",
    ),
    Claim(
        id="net-changed-noise",
        statement="Signs of SR change as noise alone would change them: share over 1/2 (1 - "
        "exp(-(sum over iterations of the mean abs(increment)) / 2)) of the increments that Adam "
        "asked for; SR, Big SR with as many iterations, Big SR, which changes fewer as it takes "
        "fewer steps",
        code=over_noise,
        test=f"{TEST}::test_larger_batches_take_fewer_iterations",
        printed="1 without gradients (formula; ours)",
        number="ours",
        expected=(1.0, 1.0, 1.0),
        tolerance=0.12,
        why="three standard errors of the rarest, 4 x 1,224 coins of probability 0.11",
        run=over_noise,
        slow=True,
    ),
)
