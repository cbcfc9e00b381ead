"""Claims and experiments of yin2019."""

from qpapers.ledger import Paper
from qpapers.yin2019 import dynamics, formulas, landscape, noise

PAPER = Paper(
    "yin2019",
    verified=False,
    chapters=(
        formulas,
        noise,
        landscape,
        dynamics,
    ),
)
