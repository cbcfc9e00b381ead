"""Claims and experiments of straight_through."""

from qpapers.ledger import Paper
from qpapers.straight_through import dictionary, dynamics, kernel, laboratory, levels

PAPER = Paper(
    "straight_through",
    chapters=(
        dictionary,
        kernel,
        dynamics,
        levels,
        laboratory,
    ),
)
