"""Laws of increments: what a base optimiser proposes at each level, in weight units."""

from qtheory.increments.laws import ContinuousIncrements as ContinuousIncrements
from qtheory.increments.laws import FiniteIncrements as FiniteIncrements
from qtheory.increments.laws import Increments as Increments
from qtheory.increments.laws import certain as certain
from qtheory.increments.laws import minibatch_increments as minibatch_increments
from qtheory.increments.laws import (
    minibatch_increments_at_levels as minibatch_increments_at_levels,
)
from qtheory.increments.laws import noisy_increments as noisy_increments
from qtheory.increments.laws import noisy_increments_at_levels as noisy_increments_at_levels
