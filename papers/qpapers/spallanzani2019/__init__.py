"""Claims and experiments of spallanzani2019."""

from qpapers.ledger import Paper
from qpapers.spallanzani2019 import bounds, smoothing

PAPER = Paper(
    "spallanzani2019",
    verified=False,
    chapters=(
        smoothing,
        bounds,
    ),
)
