"""Claims and experiments of spallanzani2022."""

from qpapers.ledger import Paper
from qpapers.spallanzani2022 import (
    hypergradients,
    noise,
    order,
    reading,
    schedules,
    synchronisation,
)

PAPER = Paper(
    "spallanzani2022",
    verified=False,
    chapters=(
        noise,
        reading,
        schedules,
        synchronisation,
        order,
        hypergradients,
    ),
)
