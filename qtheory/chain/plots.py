"""Figures of laws, chains and mixing, drawn by matplotlib on the caller's axes or on new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Levels, Pmf
from qtheory.chain.classes import recurrent_classes
from qtheory.chain.forms import AnyChain, dense
from qtheory.chain.mixing import distances, mixing_time

Axes: TypeAlias = Any
"""Axes of matplotlib, which only functions import: laws need none. None makes new ones."""


Places = Float[ndarray, "places"]
"""Where bars stand, in weight units."""


def plot_law(
    law: Pmf,
    levels: Places | None = None,
    *,
    label: str | None = None,
    log: bool = False,
    ax: Axes = None,
) -> Axes:
    """Bars of a law over the levels, or over the indices if no levels are given.

    log: a logarithmic axis, on which probabilities of 0 are left out.
    Raises ValueError if the law is not one-dimensional or there are not as many levels.
    """
    ax = _axes(ax)
    if law.ndim != 1:
        raise ValueError(f"a law to plot has one axis, got shape {law.shape}")
    places = np.arange(law.size, dtype=np.float64) if levels is None else levels
    if places.shape != law.shape:
        raise ValueError(f"a law of {law.size} levels needs as many, got {places.size}")
    width = 0.8 * float(np.diff(places).min()) if law.size > 1 else 0.8
    if log:
        shown = law > 0
        ax.semilogy(places[shown], law[shown], "o-", markersize=3, label=label)
    else:
        ax.bar(places, law, width=width, alpha=0.6, label=label)
    ax.set_xlabel("index" if levels is None else "weight")
    ax.set_ylabel("probability")
    if label is not None:
        ax.legend()
    return ax


def plot_chain(chain: AnyChain, levels: Levels | None = None, *, ax: Axes = None) -> Axes:
    """Decimal logarithm of the transition matrix as a picture, row = now, column = next.

    The colours reach down to the weakest link; moves of probability 0 stay white. States outside
    the recurrent classes have hatched rows. Labels are the levels if given, at most nine of them.
    """
    chain, ax = dense(chain), _axes(ax)
    full = chain.transition_matrix
    shown = np.full(full.shape, np.nan)
    np.log10(full, out=shown, where=full > 0)
    image = ax.imshow(shown, aspect="equal", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="log10 probability")
    recurrent = {state for states in recurrent_classes(chain) for state in states}
    for state in sorted(set(range(chain.size)) - recurrent):
        ax.axhspan(state - 0.5, state + 0.5, fill=False, hatch="////", linewidth=0.0)
    if levels is not None:
        ticks = np.unique(np.linspace(0, chain.size - 1, min(chain.size, 9)).astype(int))
        names = [f"{levels[tick]:.3g}" for tick in ticks]
        ax.set_xticks(ticks, names)
        ax.set_yticks(ticks, names)
    ax.set_xlabel("next")
    ax.set_ylabel("now")
    return ax


def plot_mixing(
    chain: AnyChain,
    iterations: Sequence[int] | None = None,
    *,
    distance: float = 0.25,
    label: str | None = None,
    ax: Axes = None,
) -> Axes:
    """d(t), the largest total variation to the stationary law, with the mixing time marked.

    iterations: increasing times; by default 40 of them up to eight mixing times.
    Raises ValueError as `mixing_time` does.
    """
    chain, ax = dense(chain), _axes(ax)
    first = mixing_time(chain, distance)
    times = list(iterations) if iterations is not None else _spread(first)
    line = ax.plot([float(t) for t in times], distances(chain, times), label=label)[0]
    ax.plot([float(first)], distances(chain, [first]), "o", color=line.get_color())
    ax.axhline(distance, color="grey", linewidth=0.5, linestyle="--")
    ax.set_yscale("log")
    ax.set_xlabel("iterations")
    ax.set_ylabel("distance from the stationary law")
    if label is not None:
        ax.legend()
    return ax


def _spread(first: int) -> list[int]:
    """0, ..., eight mixing times, 40 numbers or fewer."""
    last = 8 * max(first, 1)
    return sorted({last * k // 39 for k in range(40)})


def _axes(ax: Axes) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    axes: Axes = plt.subplots(figsize=(6, 3.2))[1]  # pyright: ignore[reportUnknownMemberType]
    return axes
