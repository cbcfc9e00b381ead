"""Claims of li2016."""

from qpapers.ledger import Paper
from qpapers.li2016 import learned, threshold

PAPER = Paper("li2016", verified=False, chapters=(threshold, learned))
