"""Claims and experiments of straight_through."""

from qpapers.ledger import Paper
from qpapers.straight_through import descent, dictionary, dynamics, equivalence, kernel, laboratory

PAPER = Paper(
    "straight_through",
    verified=False,
    chapters=(
        dictionary,
        kernel,
        dynamics,
        descent,
        equivalence,
        laboratory,
    ),
)
