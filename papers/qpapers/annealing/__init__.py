"""Claims of our own about networks that cool."""

from qpapers.annealing import block, budget, curve, met, parallel
from qpapers.ledger import Paper

PAPER = Paper("annealing", verified=False, chapters=(curve, met, budget, parallel, block))
