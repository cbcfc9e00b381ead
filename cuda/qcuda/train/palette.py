"""The colours of figures: each means one thing, in every figure of a run.

Methods have the colours of Okabe and Ito, levels two of Tol's muted ones; both stay apart for
colour-blind readers. What is exact, or a bound, is black.
"""

from __future__ import annotations

# Walkers as registered; those with hidden levels.
WALKERS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#661100")
READERS = (
    "#F0E442", "#DDCC77", "#CC6677", "#997700", "#6699CC", "#994455", "#004488", "#B8860B",
)  # fmt: skip
HIDDEN = ("#117733", "#44AA99", "#88CCEE")
BYTE = "#AA4499"  # momentum in a byte
REAL = "#555555"  # full precision
COPIED = "#D55E00"  # straight-through, with a float copy
LEVELS = {"-1": "#882255", "0": "#DDDDDD", "+1": "#999933"}
ON_LEVELS = {"-1": "white", "0": "black", "+1": "black"}  # text
EXACT = "#000000"  # what the law expects, and thresholds
