"""Claims of esser2020."""

from qpapers.esser2020 import step
from qpapers.ledger import Paper

PAPER = Paper("esser2020", verified=False, chapters=(step,))
