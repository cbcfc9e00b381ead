"""Claims and experiments of louizos2019."""

from qpapers.ledger import Paper
from qpapers.louizos2019 import draws, laws, training

PAPER = Paper(
    "louizos2019",
    chapters=(
        laws,
        draws,
        training,
    ),
)
