"""Claims of rastegari2016."""

from qpapers.ledger import Paper
from qpapers.rastegari2016 import gain, layers

PAPER = Paper("rastegari2016", verified=False, chapters=(gain, layers))
