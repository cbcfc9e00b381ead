"""Binary layers [rastegari2016]: the map of scales, products by bits, more bits, and pooling."""

from __future__ import annotations

from itertools import product

import numpy as np

from qpapers import extremes
from qpapers.ledger import Claim, Values

TEST = "tests/papers/test_reader_claims.py"


def scale_map(image: np.ndarray, taps: int) -> np.ndarray:
    """K: the mean of |I| over channels, convolved with 1 / taps^2, 0 beyond the border."""
    a, half = np.pad(np.abs(image).mean(axis=0), taps // 2), taps // 2
    rows, columns = image.shape[1:]
    shifted = (a[i : i + rows, j : j + columns] for i, j in product(range(2 * half + 1), repeat=2))
    return sum(shifted, np.zeros((rows, columns))) / taps**2


def constant_map() -> Values:
    """K of a constant image of 7/10: inside, on an edge, in a corner."""
    k = scale_map(np.full((3, 5, 5), 0.7), 3)
    return float(k[2, 2]), float(k[0, 2]), float(k[0, 0])


def dot(a: int, b: int, n: int) -> int:
    """The product of two vectors of n signs, whose bits are 1 for -1."""
    return n - 2 * (a ^ b).bit_count()


def dots() -> Values:
    """The largest difference from sums of products, of 500 pairs; of a vector and itself, and its
    negative."""
    bits = np.random.default_rng(5).integers(0, 2, (500, 2, 64))
    words = [[int("".join(map(str, row)), 2) for row in pair] for pair in bits.tolist()]
    sums = (1 - 2 * bits).prod(axis=1).sum(axis=1)
    pairs = zip(words, sums.tolist(), strict=True)
    worst = extremes.largest(abs(dot(a, b, 64) - s) for (a, b), s in pairs)
    return float(worst), float(dot(words[0][0], words[0][0], 64)), float(
        dot(words[0][0], words[0][0] ^ (2**64 - 1), 64)
    )  # fmt: skip


def more_bits(x: np.ndarray, bits: int) -> np.ndarray:
    """q_k(x) = 2 (round((2^k - 1) (x + 1) / 2) / (2^k - 1) - 1/2), on [-1, 1]."""
    steps = 2**bits - 1
    return 2 * (np.round(steps * (x + 1) / 2) / steps - 0.5)


def levels_of_bits() -> Values:
    """Levels of 2 bits, and how many 1 and 3 bits have."""
    x = np.linspace(-1, 1, 4001)
    one, two, three = (np.unique(more_bits(x, k)) for k in (1, 2, 3))
    return *map(float, two), float(one.size), float(three.size)


def pooled(taps: int) -> float:
    """The probability that the largest of so many fair signs is +1, by all of them."""
    signs = np.array(list(product((-1, 1), repeat=taps)), np.int8)
    return float((signs.max(axis=1) == 1).mean())


def pools() -> Values:
    """Of 2 x 2 and of 3 x 3 places."""
    return pooled(4), pooled(9)


CLAIMS = (
    Claim(
        id="layer-map",
        statement="The map K of scales of a constant image of .7, 3 x 3 taps: .7 away from the "
        "border, and 6/9 and 4/9 of it on an edge and in a corner",
        code=scale_map,
        test=f"{TEST}::test_the_map_of_scales_is_a_mean_of_sizes",
        printed="0.7 away from the border; .46667, .31111",
        number="noted",
        expected=(0.7, 0.7 * 6 / 9, 0.7 * 4 / 9),
        tolerance=5e-6,
        why="half a unit of the fifth decimal",
        run=constant_map,
    ),
    Claim(
        id="layer-dot",
        statement="The product of two vectors of n = 64 signs is n - 2 popcount(a xor b): largest "
        "difference of 500 pairs, and the products with itself and with the negative",
        code=dot,
        test=f"{TEST}::test_products_of_signs_are_counts_of_bits",
        printed="0; 64, -64",
        number="noted",
        expected=(0.0, 64.0, -64.0),
        tolerance=0.0,
        why="whole numbers",
        run=dots,
    ),
    Claim(
        id="layer-bits",
        statement="More bits: the levels of q_2 on [-1, 1], and the numbers of levels of q_1 and "
        "q_3",
        code=more_bits,
        test=f"{TEST}::test_more_bits_are_levels_of_equal_spacing",
        printed="-1, -1/3, 1/3, 1; 2, 8",
        number="noted",
        expected=(-1.0, -1 / 3, 1 / 3, 1.0, 2.0, 8.0),
        tolerance=1e-15,
        why="a few roundings of numbers of at most 1",
        run=levels_of_bits,
        printed_of="-1, -1/3, 1/3, 1, 2, 8",
    ),
    Claim(
        id="layer-pool",
        statement="Why pooling comes before the sign: the largest of fair signs is almost always "
        "+1, for 2 x 2 and 3 x 3 places 1 - 2^-4 and 1 - 2^-9",
        code=pooled,
        test=f"{TEST}::test_pooled_signs_are_almost_always_plus",
        printed="almost all; .9375, .998046875",
        number="ours",
        expected=(0.9375, 0.998046875),
        tolerance=0.0,
        why="counts over powers of two",
        run=pools,
    ),
)
