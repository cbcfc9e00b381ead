"""What a latent is seen as, as a torch module."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from qcuda.errors import require
from qcuda.nn.freezing import partition, places
from qcuda.nn.fused_reading import Draw, held, shows_what_it_holds
from qcuda.nn.reading import names_learned, place, seen
from qtheory.algorithms.reader import ORDERS, Reading, group_shape, learned, planes

FREE = -1


class Reader(nn.Module):
    """What a latent is seen as; a parametrization, or a function of any latent of its shape.

    latent: its first values, from which learned numbers start; they are
    parameters of this module by their names. In evaluation a reading with noise is the stair
    without it. While it trains, element n draws its word at `iteration`, under `seed` and `tensor`,
    in the stream READ; `set_iteration` moves it, or a weight shows the same level for ever.

    Buffers, if the reading has them: `fixed`, the first values of the latent; `place`, the level at
    which a weight is frozen, counted from the lowest, or -1; `unit`, that of frozen levels, or 0.
    """

    iteration: Tensor
    fixed: Tensor
    place: Tensor
    unit: Tensor
    levels: Tensor

    def __init__(self, reading: Reading, latent: Tensor, *, seed: int = 0, tensor: int = 0) -> None:
        super().__init__()
        self.seed, self.tensor = seed, tensor
        self._read_as(reading)
        shape = group_shape(self.reading, tuple(latent.shape))
        first = latent.detach()
        size = first.abs()
        mean = size.mean() if shape[:1] in ((), (1,)) else size.flatten(1).mean(1).reshape(shape)
        for p in self.reading.parameters:
            value = (p.start * mean if p.of_mean else mean.new_tensor(p.start)).expand(shape)
            self.register_parameter(p.name, nn.Parameter(value.clone()))
        if "fixed" in planes(reading):
            self.register_buffer("fixed", first.clone())
        if "frozen" in planes(reading):
            self.register_buffer("place", torch.full_like(first, FREE, dtype=torch.int8))
            self.register_buffer("unit", first.new_zeros(shape))
            levels = first.new_tensor(reading.stair.levels)
            self.register_buffer("levels", levels, persistent=False)
        drawn = torch.zeros((), dtype=torch.int64, device=latent.device)
        self.register_buffer("iteration", drawn, persistent=False)

    def _read_as(self, reading: Reading) -> None:
        self.reading = reading
        quiet = {"noise": None, "shown": "hard", "ends": "open"}
        self.settled = reading
        if reading.noise is not None:
            self.settled = dataclasses.replace(reading, **quiet)

    def check(self, reading: Reading) -> None:
        """Raise ValueError unless another reading learns, keeps and shows the same."""
        old, new = (
            (learned(r), planes(r), r.group, r.order, r.stair.levels)
            for r in (self.reading, reading)
        )
        require(old == new, f"a knob changes neither what is kept nor levels, {old}, got {new}")

    def turn(self, reading: Reading) -> None:
        """Read as another reading: a schedule turned a knob. Raises as `check` does."""
        self.check(reading)
        self._read_as(reading)

    @property
    def frozen(self) -> Tensor:
        """Where a weight is frozen, of a reading with an order."""
        return self.place >= 0

    @property
    def _draw(self) -> Draw:
        return Draw(self.iteration, self.seed, self.tensor)

    def held(self, latent: Tensor) -> Tensor:
        """The latent with frozen weights on their levels, whatever an optimiser did to them."""
        return held(latent, self.place, self.unit, self.levels)

    def forward(self, latent: Tensor) -> Tensor:
        """The visible weights."""
        reading = self.reading if self.training else self.settled
        numbers = tuple(getattr(self, name) for name in names_learned(reading))
        words = self._draw if reading.shown == "random" else None
        if reading.order != "none":
            kept = self.held(latent)
            if shows_what_it_holds(reading, latent):
                return kept
            return seen(reading, kept, words, numbers, self.frozen, self.unit)
        plane = self.fixed if reading.signs == "fixed" else None
        return seen(reading, latent, words, numbers, plane)

    @torch.no_grad()
    def place_of(self, latent: Tensor) -> Tensor:
        """Places of the levels at which latents are read without noise, from the lowest, int64."""
        settled = self.settled
        numbers = tuple(getattr(self, name) for name in names_learned(settled))
        found = place(settled, latent, numbers, self.fixed if settled.signs == "fixed" else None)
        return found if settled.order == "none" else torch.where(self.frozen, self.place, found)

    @torch.no_grad()
    def freeze_(self, latent: Tensor, share: float) -> None:
        """Freeze a share of the weights of a latent on their levels, in the order of the reading.

        The latent is put on the levels too, so that a weight that thaws begins there. Words of a
        random order are those of `iteration`; the reading draws none. A unit stays once a weight
        is frozen, unless all weights are chosen anew.

        Raises ValueError if the reading has no order or the share is not in [0, 1].
        """
        require(self.reading.order != "none", "weights are frozen in an order, got one of none")
        require(0 <= share <= 1, f"a share of weights is in [0, 1], got {share}")
        order, before = ORDERS[self.reading.order], self.frozen
        latent.copy_(self.held(latent))
        drawn = None if order.by_size else self._draw.words(latent)
        after = partition(order, latent, share, before, drawn)
        place, unit = places(self.reading, latent)
        if order.keeps and bool(before.any()):
            place, unit = places(self.reading, latent, self.unit)
            place = torch.where(before, self.place, place)
        self.place.copy_(torch.where(after, place, FREE))
        self.unit.copy_(unit)
        latent.copy_(self.held(latent))

    def extra_repr(self) -> str:
        return repr(self.reading)
