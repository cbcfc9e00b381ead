"""A plain simulation of training: all weights of a model as walkers on one lattice."""

from __future__ import annotations

import numpy as np

from qreference import walker
from qtheory.algorithms import Spec
from qtheory.arrays import Index
from qtheory.increments.losses import Loss


def train(
    loss: Loss,
    spec: Spec,
    index: Index,
    learning_rate: float,
    batch_size: int,
    iterations: int,
    draw: np.random.Generator,
) -> Index:
    """Train all weights of a model by the steps of the reference, and return their indices.

    Minibatches are drawn with replacement, and each weight moves by a word of its own.
    Raises ValueError if there is not one index for each weight.
    """
    if index.shape != (loss.size,):
        raise ValueError(f"{loss.size} weights have as many indices, got {index.shape}")
    levels = spec.lattice.levels
    count = len(loss.losses(levels[index]))
    for _ in range(iterations):
        rows = draw.integers(0, count, batch_size)
        increment = -learning_rate * loss.mean_gradient(levels[index], rows)
        words = (draw.random(index.size) * 2.0**32).astype(np.uint32)
        index = walker.step(spec, index, increment.astype(np.float32), words)
    return index
