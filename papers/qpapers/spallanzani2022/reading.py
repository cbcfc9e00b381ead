"""ANA's weights as readers [spallanzani2022]: the clipped identity, and draws by any word."""

from __future__ import annotations

import numpy as np

from qpapers.ledger import Claim, Values
from qreference import reader
from qtheory.algorithms.ana import FAMILIES, NoiseAnnealing, first_scale
from qtheory.lattice import Lattice

TEST = "tests/theory/algorithms/test_ana.py"


def clipped() -> Values:
    """Of uniform noise of half a spacing: the largest difference from clip(x, -1, 1), and slopes
    at -1.5, -1, 0, 1/2 and 1."""
    x, at = np.linspace(-3, 3, 1201), np.array([-1.5, -1.0, 0.0, 0.5, 1.0])
    off = np.abs(reader.read(NoiseAnnealing(), x) - np.clip(x, -1, 1)).max()
    found = reader.slope(NoiseAnnealing(), at, None, np.ones(5))["latent"]
    return float(off), *map(float, found)


def drawn() -> Values:
    """Lowest and highest position of 16 levels that the words 0 and 2**32 - 1 find, 4001 latents,
    four families at their first scales."""
    lattice, x = Lattice(16, 1.0, -8.0), np.linspace(-12, 12, 4001)
    found = [
        reader.index(
            NoiseAnnealing(lattice, f, first_scale(f), "random"), x, np.full(4001, w, "u4")
        )
        for f in FAMILIES
        for w in (0, 2**32 - 1)
    ]
    return float(np.min(found)), float(np.max(found))


CLAIMS = (
    Claim(
        id="read-clip",
        statement="A ternary weight under uniform noise of half width 1/2 is seen as clip(x, -1, "
        "1): largest difference, and slopes at -1.5, -1, 0, .5, 1, each level counted once",
        code=reader.slope,
        test=f"{TEST}::test_mistakes_of_the_public_implementation_are_not_made",
        printed="0; 0, 1, 1, 1, 0",
        number="noted",
        expected=(0.0, 0.0, 1.0, 1.0, 1.0, 0.0),
        tolerance=1e-15,
        why="sums of two probabilities, each rounded to 2^-53",
        run=clipped,
    ),
    Claim(
        id="read-words",
        statement="Whatever the word, a drawn weight is on a level: lowest and highest position of "
        "16, by the extreme words, 4001 latents within and beyond the ends, four families",
        code=reader.index,
        test=f"{TEST}::test_mistakes_of_the_public_implementation_are_not_made",
        printed="0, 15",
        number="noted",
        expected=(0.0, 15.0),
        tolerance=0.0,
        why="whole numbers",
        run=drawn,
    ),
)
