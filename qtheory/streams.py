"""Which random word belongs to which weight: the layout of the generator's counter.

Words come from Philox4x32-10 [salmon2011] with a 64-bit key, the seed, and a counter of four
32-bit numbers made from (element, iteration, tensor, stream):

    c0 = low 32 bits of element // 4
    c1 = high 24 bits of element // 4, plus stream * 2**24
    c2 = iteration
    c3 = tensor

The generator returns four words for a counter; an element takes word number element % 4.
The element is the global element number of a tensor, so shards of it draw what the whole would.
Streams separate purposes. Nothing else enters: no thread, no device, no clock.

Tensors are numbered by whoever draws, 0, 1, ..., and there are three such numberings. Moves and
roundings of moments take the order of an optimiser's gradient slots (`qcuda.LatticeOptimizer`);
initial levels take the order of the layers in the model (`qcuda.nn.draw_levels`, and the real
layers of `qcuda.models`); activations take the order of the noisy stairs in it
(`qcuda.nn.number_stairs`). The same number may therefore mean three tensors. That is no clash,
because no stream is drawn by two of the numberings: MOVE and MOMENT belong to the first, INITIALISE
to the second, ACTIVATE to the third.
"""

from __future__ import annotations

from enum import IntEnum

MAX_ELEMENT = 2**58 - 1
MAX_ITERATION = 2**32 - 1
MAX_TENSOR = 2**32 - 1
MAX_SEED = 2**64 - 1


class Stream(IntEnum):
    """What a word is for. Numbers are part of the contract: never reuse one."""

    MOVE = 0  # step: does the weight take one level more?
    MOMENT = 1  # rounding of bf16 moments: high 16 bits for the first, low 16 for the second
    INITIALISE = 2  # initial levels
    READ = 3  # noise of a forward pass
    DATA = 4  # order and augmentation of training examples
    ACTIVATE = 5  # levels of activations that are drawn in a forward pass
