"""Claims and experiments of louizos2019."""

from qpapers.ledger import Paper
from qpapers.louizos2019 import draws, laws, reading, training

PAPER = Paper(
    "louizos2019",
    verified=False,
    chapters=(
        laws,
        draws,
        training,
        reading,
    ),
)
