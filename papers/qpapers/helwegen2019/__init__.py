"""Claims of helwegen2019."""

from qpapers.helwegen2019 import rule, ternary
from qpapers.ledger import Paper

PAPER = Paper("helwegen2019", verified=False, chapters=(rule, ternary))
