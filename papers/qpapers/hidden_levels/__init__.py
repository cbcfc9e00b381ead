"""Claims of our own about walkers with hidden levels."""

from qpapers.hidden_levels import knee, limit, masters, parallel, seen, temperature
from qpapers.ledger import Paper

PAPER = Paper(
    "hidden_levels", verified=False, chapters=(seen, limit, temperature, knee, parallel, masters)
)
