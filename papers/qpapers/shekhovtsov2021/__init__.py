"""Claims and experiments of shekhovtsov2021."""

from qpapers.ledger import Paper
from qpapers.shekhovtsov2021 import mirror, networks, units

PAPER = Paper(
    "shekhovtsov2021",
    verified=False,
    chapters=(
        units,
        networks,
        mirror,
    ),
)
