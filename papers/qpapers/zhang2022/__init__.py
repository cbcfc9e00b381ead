"""Claims of zhang2022."""

from qpapers.ledger import Paper
from qpapers.zhang2022 import rule

PAPER = Paper("zhang2022", verified=False, chapters=(rule,))
