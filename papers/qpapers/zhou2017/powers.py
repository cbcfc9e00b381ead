"""Powers of two as levels [zhou2017]: which they are, the nearest one, and mistakes of codes."""

from __future__ import annotations

import numpy as np

from qpapers import extremes
from qpapers.ledger import Claim, Values
from qreference import reader
from qtheory.algorithms.inq import IncrementalQuantization, codes, partition, powers, reading
from qtheory.algorithms.reader import unit_of

TEST = "tests/theory/algorithms/test_inq.py"
IMAGES, BATCH = 1_281_167, 256
BITS = (5, 4, 3, 2)


def exponents() -> Values:
    """n_2 and the number of values for n_1 = -1, of 5, 4, 3 and 2 bits."""
    found: list[float] = []
    for bits in BITS:
        levels = 0.5 * np.array(powers(codes(bits)).levels)
        found += [np.log2(levels[levels > 0].min()), levels.size]
    return tuple(found)


def largest() -> Values:
    """The least and the largest of s / 2**n_1 for 2001 largest weights s, from 1/8 to 8."""
    sizes = 2.0 ** np.linspace(-3, 3, 2001)
    row = reading(IncrementalQuantization())
    over = [s / unit_of(row, np.array([s, -s / 7]), {}).item() for s in sizes.tolist()]
    return extremes.least(over), extremes.largest(over)


def quantised(w: np.ndarray, bits: int) -> np.ndarray:
    """What is seen where all is frozen."""
    spec, frozen = IncrementalQuantization(codes(bits)), np.ones(w.shape, bool)
    return reader.read(spec, w, None, {"frozen": frozen})


def nearest() -> Values:
    """Of 4001 weights, those that are not seen as the nearest of 17 levels; levels that are seen;
    and levels that are not seen as themselves."""
    w = np.linspace(-1.4, 1.4, 4001)
    levels = np.array(powers(codes(5)).levels)
    error = np.abs(w[:, None] - levels).min(axis=1)
    off = np.abs(quantised(w, 5) - w) != error
    return float(off.sum()), float(np.unique(quantised(w, 5)).size), float(
        (quantised(levels, 5) != levels).sum()
    )  # fmt: skip


def smallest() -> Values:
    """The least |W| that is not 0, over 2**n_1, of 2, 3, 4 and 5 bits, of multiples of 2**-12."""
    w = np.arange(1, 2**12 + 1) / 2**12
    return tuple(float(w[quantised(w, bits) > 0].min()) for bits in sorted(BITS))


def left(levels: int) -> int:
    """Values that quantlib's n_2 = n_1 + 2 - floor(L / 2) leaves of L levels, 0 among them."""
    return 1 + 2 * extremes.largest((levels // 2 - 1, 0))


def off_by_one() -> Values:
    """Values of quantlib, and ours, for 3 and for 17 levels."""
    ours = [len(set(quantised(np.array(powers(codes(b)).levels), b).tolist())) for b in (2, 5)]
    return left(3), left(17), *map(float, ours)


def thawed() -> Values:
    """Shares of the frozen half that thaw when 60 % are to be frozen, by the paper's rule and by
    sorting all anew: 10,000 normal weights, of which the free ones take normal steps of size 1."""
    rng = np.random.default_rng(17)
    w, step = rng.normal(size=10_000), rng.normal(size=10_000)
    frozen = partition(IncrementalQuantization(), w, 0.5)
    moved = np.where(frozen, w, w + step)
    after = [
        partition(IncrementalQuantization(order=order), moved, 0.6, frozen)
        for order in ("largest", "resorted")
    ]
    return tuple(float((frozen & ~one).sum() / frozen.sum()) for one in after)


def epochs() -> Values:
    """Epochs of 63,000 iterations of the released code."""
    return (63_000 * BATCH / IMAGES,)


CLAIMS = (
    Claim(
        id="inq-levels",
        statement="n_1 = -1: the exponent n_2 = n_1 + 1 - 2^(b - 1) / 2 of the smallest level, and "
        "the number of values 2^(b - 1) + 1, of b = 5, 4, 3 and 2 bits",
        code=powers,
        test=f"{TEST}::test_the_rule_is_the_published_one",
        printed="-8, 17, -4, 9, -2, 5, -1, 3",
        number="noted",
        expected=(-8.0, 17.0, -4.0, 9.0, -2.0, 5.0, -1.0, 3.0),
        tolerance=0.0,
        why="whole numbers",
        run=exponents,
    ),
    Claim(
        id="inq-largest",
        statement="n_1 = floor(log2(4 s / 3)) of the largest weight s: s / 2^n_1 is at least 3/4 "
        "and below 3/2, up to which a weight is seen as 2^n_1",
        code=unit_of,
        test=f"{TEST}::test_the_largest_level_is_that_of_the_largest_weight",
        printed="3/4, 1.5",
        number="noted",
        expected=(0.75, 1.5),
        tolerance=0.0032,
        why="neighbours of 2001 sizes are 2^.003 apart, .0021 of 1.5",
        run=largest,
    ),
    Claim(
        id="inq-nearest",
        statement="The rule beta sign(W) for (alpha + beta) / 2 <= abs W < 3 beta / 2 is the "
        "nearest level: weights of 4001 that have another one, levels that are seen of 5 bits, "
        "and levels that are not fixed points",
        code=reader.read,
        test=f"{TEST}::test_the_rule_is_the_nearest_level_and_levels_are_fixed_points",
        printed="0, 17, 0",
        number="noted",
        expected=(0.0, 17.0, 0.0),
        tolerance=0.0,
        why="counts",
        run=nearest,
    ),
    Claim(
        id="inq-zero",
        statement="Weights below 2^(n_2 - 1) are 0, as the formula says, not those below 2^n_2, as "
        "the prose does: the least size that is not, over 2^n_1, of 2, 3, 4 and 5 bits",
        code=reader.read,
        test=f"{TEST}::test_the_rule_is_the_published_one",
        printed="1/2, 1/4, 1/16, 1/256",
        number="noted",
        expected=(0.5, 0.25, 0.0625, 0.00390625),
        tolerance=0.0,
        why="powers of two",
        run=smallest,
        verdict="holds corrected",
    ),
    Claim(
        id="inq-off-by-one",
        statement="quantlib has n_2 = n_1 + 2 - floor(L / 2) for L levels: values that are left of "
        "L = 3 and 17, and ours",
        code=left,
        test=f"{TEST}::test_mistakes_of_public_code_are_not_made",
        printed="1 (only 0), 15; 3, 17",
        number="noted",
        expected=(1.0, 15.0, 3.0, 17.0),
        tolerance=0.0,
        why="counts",
        run=off_by_one,
    ),
    Claim(
        id="inq-thaw",
        statement="The released code sorts all weights anew for each share, so that frozen ones "
        "thaw: shares of a frozen half of 10,000 normal weights that do at the share 60 %, by the "
        "paper's rule and by the code's, after normal steps of size 1 of the free ones",
        code=partition,
        test=f"{TEST}::test_shares_are_met_and_nothing_thaws_where_it_must_not",
        printed="0; seen: 0.222",
        number="ours",
        expected=(0.0, 0.222),
        tolerance=0.0,
        why="counts, with a seed fixed",
        run=thawed,
    ),
    Claim(
        id="inq-epochs",
        statement="63,000 iterations of 256 images for a share, the schedule of the released code, "
        "are so many epochs of ImageNet",
        code=epochs,
        test="tests/papers/test_reader_claims.py::test_epochs_of_the_released_schedule",
        printed="12.6",
        number="noted",
        expected=(12.6,),
        tolerance=0.05,
        why="half a unit of the first decimal",
        run=epochs,
    ),
)
