"""Claims of our own about networks that cool."""

from qpapers.annealing import block, curve, met, parallel
from qpapers.ledger import Paper

PAPER = Paper("annealing", verified=False, chapters=(curve, met, parallel, block))
