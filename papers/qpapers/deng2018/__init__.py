"""Claims and experiments of deng2018."""

from qpapers.deng2018 import chain, diffusion, digits, latent, rule
from qpapers.ledger import Paper

PAPER = Paper(
    "deng2018",
    verified=False,
    chapters=(
        rule,
        chain,
        diffusion,
        latent,
        digits,
    ),
)
