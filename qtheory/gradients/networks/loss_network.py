"""Networks of stairs with a real output and a loss, so small that all their levels are enumerated.

    z_l = W_l x_(l-1) + b_l,   x_l = q_l(z_l),   l = 1 .. L;   y = W x_L + b

Losses of the output y against a target t, of the same shape:

    "squared"    sum (y - t)**2 / 2
    "logistic"   sum log(1 + exp(-t y)), targets -1 and +1
    "linear"     -sum t y, which is affine in each level of the last layer
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from qtheory.gradients.networks.affine import Affine, Features, check_widths
from qtheory.gradients.networks.stair_network import StairLayer, StairNetwork
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

Losses = Float[ndarray, "rows"]

LOSSES = ("squared", "logistic", "linear")


@dataclass(frozen=True, slots=True, eq=False)
class LossNetwork:
    """hidden: layers of stairs. output: W, b of the output. loss: see the module.

    Raises ValueError if the output does not take the units of the last layer, or a loss is not
    known.
    """

    hidden: StairNetwork
    output: Affine
    loss: str = "squared"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        check_widths(self.maps)
        if self.loss not in LOSSES:
            raise ValueError(f"a loss is one of {', '.join(LOSSES)}, got {self.loss!r}")

    @classmethod
    def of(cls, maps: tuple[Affine, ...], stair: Stair, loss: str = "squared") -> LossNetwork:
        """The same stair after each map but the last, which is the output."""
        check_widths(maps)
        hidden = StairNetwork(tuple(StairLayer(each, stair) for each in maps[:-1]))
        return cls(hidden, maps[-1], loss)

    @property
    def maps(self) -> tuple[Affine, ...]:
        """Affine maps of the hidden layers, then of the output."""
        return (*(layer.affine for layer in self.hidden.layers), self.output)

    def with_map(self, number: int, affine: Affine) -> LossNetwork:
        """Another affine map in place of a layer's; the output is the last."""
        maps = [*self.maps]
        maps[number] = affine
        stairs = (layer.stair for layer in self.hidden.layers)
        layers = tuple(map(StairLayer, maps[:-1], stairs))
        return LossNetwork(StairNetwork(layers), maps[-1], self.loss)

    def __call__(self, x: Features) -> Features:
        """The output without noise.

        >>> line = Affine(np.ones((1, 1)), np.zeros(1))
        >>> LossNetwork.of((line, line), Stair.step())(np.array([[-0.1], [0.0]])).tolist()
        [[0.0], [1.0]]
        """
        return self.output(self.hidden(x))

    def losses(self, y: Features, targets: Features) -> Losses:
        """The loss of each row."""
        match self.loss:
            case "squared":
                each = 0.5 * (y - targets) ** 2
            case "logistic":
                each = np.logaddexp(0.0, -targets * y)
            case _:
                each = -targets * y
        return each.sum(axis=-1)

    def loss_slope(self, y: Features, targets: Features) -> Features:
        """d loss / d y of each row."""
        match self.loss:
            case "squared":
                return y - targets
            case "logistic":
                return -targets * special.expit(-targets * y)
            case _:
                return -targets + 0.0 * y


def random_network(
    widths: tuple[int, ...], stair: Stair, seed: int, loss: str = "squared"
) -> LossNetwork:
    """Weights N(0, 1 / inputs), biases N(0, 1/16); widths from inputs to outputs.

    >>> [a.weights.shape for a in random_network((2, 3, 1), Stair.step(), 0).maps]
    [(3, 2), (1, 3)]
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    maps = tuple(
        Affine(rng.normal(size=(n, m)) / np.sqrt(m), 0.25 * rng.normal(size=n))
        for m, n in pairwise(widths)
    )
    return LossNetwork.of(maps, stair, loss)


def configurations(units: int, levels: int) -> Int64[ndarray, "configurations units"]:
    """All positions that so many units of so many levels can have.

    >>> configurations(2, 2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    return np.indices((levels,) * units).reshape(units, -1).T.astype(np.int64)
