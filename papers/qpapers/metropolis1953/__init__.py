"""Claims of metropolis1953."""

from qpapers.ledger import Paper
from qpapers.metropolis1953 import rule

PAPER = Paper("metropolis1953", verified=False, chapters=(rule,))
