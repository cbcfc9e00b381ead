"""Claims of courbariaux2015."""

from qpapers.courbariaux2015 import reading
from qpapers.ledger import Paper

PAPER = Paper("courbariaux2015", verified=False, chapters=(reading,))
