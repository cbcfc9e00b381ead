"""Claims of ramanujan2020."""

from qpapers.ledger import Paper
from qpapers.ramanujan2020 import masks

PAPER = Paper("ramanujan2020", verified=False, chapters=(masks,))
