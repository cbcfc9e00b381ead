"""Claims of zhou2017."""

from qpapers.ledger import Paper
from qpapers.zhou2017 import powers

PAPER = Paper("zhou2017", verified=False, chapters=(powers,))
