"""Claims and experiments of li2017."""

from qpapers.ledger import Paper
from qpapers.li2017 import convex, latent, limit, networks, rules, temperature, toy

PAPER = Paper(
    "li2017",
    verified=False,
    chapters=(
        rules,
        convex,
        latent,
        limit,
        toy,
        temperature,
        networks,
    ),
)
