"""Claims and experiments of leonardi2020."""

from qpapers.ledger import Paper
from qpapers.leonardi2020 import composition, condition, expressivity, networks, smoothing

PAPER = Paper(
    "leonardi2020",
    verified=False,
    chapters=(
        expressivity,
        smoothing,
        composition,
        networks,
        condition,
    ),
)
