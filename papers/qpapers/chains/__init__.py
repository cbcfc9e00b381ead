"""Claims and experiments of chains."""

from qpapers.chains import bounds, identities, limits, orders, rounding
from qpapers.ledger import Paper

PAPER = Paper(
    "chains",
    chapters=(
        identities,
        bounds,
        limits,
        rounding,
        orders,
    ),
)
