"""Claims and experiments of chains."""

from qpapers.chains import bounds, elimination, identities, limits, orders, rounding
from qpapers.ledger import Paper

PAPER = Paper(
    "chains",
    verified=False,
    chapters=(
        identities,
        bounds,
        elimination,
        limits,
        rounding,
        orders,
    ),
)
