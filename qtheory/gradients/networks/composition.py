"""Stair networks smoothed layer by layer: what the output is, and how far off [leonardi2020].

Layer l is x_l = q_l(z_l), z_l = W_l x_(l-1) + b_l, with a stair q_l of levels q_0 < ... < q_T,
thresholds t_i and jumps d_i that takes the upper level at a threshold (H+). Under noise e of mean
-m_l, scale s_l and tail G(u) = P((e + m_l) / s_l > u) it becomes

    q_l^nu(z) = q_0 + sum_i d_i (1 - G((z - t_i + m_l) / s_l)).

The smoothed network converges at an input if, as noises vanish, its output tends to that of the
stair network there: compositional convergence [spallanzani2022]. Let D_l be the total jump of
q_l, K_l the largest row sum of abs(W_l), e_l the largest error of a unit of layer l, and gam_l the
least distance of a pre-activation of the stair network from a threshold strictly above it. Then

    e_l <= D_l max(G((m_l - K_l e_(l-1)) / s_l), G((gam_l - m_l - K_l e_(l-1)) / s_l)),

for symmetric noise, G(-u) = 1 - G(u), because thresholds not above z lower the output and those
above raise it: the two errors have opposite signs, so that the larger bounds their sum.

Errors are carried as such, never as 1 - (1 - e), so that float64 has tails of 1e-300 and a mean of
1e-21 is not lost beside a level. Theorems of this kind are stated by the papers; constants are
ours, not verified against the print.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.gradients.networks.affine import Affine, Features
from qtheory.gradients.networks.stair_network import LayerNoise, StairLayer, StairNetwork, noises_at
from qtheory.noise import Smoothing, with_scale
from qtheory.stairs.stair import Stair


def check_ties_up(network: StairNetwork) -> None:
    """Raise ValueError unless all stairs go up at ties: errors are measured from H+."""
    for layer in network.layers:
        if layer.stair.tie != "up":
            raise ValueError(f"stairs to be reached have the tie rule up, got {layer.stair.tie!r}")


def power_noises(
    family: Smoothing, exponents: tuple[float, ...], lam: float, kappa: float = 2.0
) -> tuple[LayerNoise, ...]:
    """m_l = lam**p_l and s_l = lam**(kappa p_l) for the exponents p_l.

    family: only its kind counts. Raises ValueError unless 0 < lam < 1.

    >>> from qtheory.noise import Cauchy
    >>> power_noises(Cauchy(1.0), (1.0, 2.0), 0.5)[1]
    LayerNoise(noise=Cauchy(scale=0.0625), mean=-0.25)
    """
    if not 0 < lam < 1:
        raise ValueError(f"lam is inside (0, 1), got {lam}")
    scales, means = [lam ** (kappa * p) for p in exponents], [-(lam**p) for p in exponents]
    return noises_at(with_scale(family, 1.0), scales, means)


class Smoothed(NamedTuple):
    """One layer under noise, at every point: the smoothed features are base + residual.

    base: levels, each jump taken if it is more probable than not. residual: the rest, at most half
    the total jump. value: the sum, worked out on its own so that it has its digits near 0.
    """

    base: Features
    residual: Features
    value: Features


def smoothed(
    network: StairNetwork, noises: tuple[LayerNoise, ...], x: Features
) -> tuple[Smoothed, ...]:
    """Features of every layer when each has its noise.

    With u = z - t_i + m at the base of the layer before, and delta its residual, jump i is taken
    with probability 1 - G(u + W delta), which counts as 1 less G(u + W delta) or as 0 and the rest.
    Raises ValueError unless there is a noise for each layer and all ties go up.

    >>> from qtheory.noise import Logistic
    >>> unit = StairLayer(Affine(np.ones((1, 1)), np.zeros(1)), Stair.step())
    >>> at = smoothed(StairNetwork((unit,)), (LayerNoise(Logistic(1.0), -40.0),), np.zeros((1, 1)))
    >>> at[0].value.item(), f"{at[0].residual.item():.4e}"
    (1.0, '-4.2484e-18')
    """
    check_ties_up(network)
    found = list[Smoothed]()
    base, residual = x, np.zeros_like(x)
    for layer, noise in network.each_with(noises):
        moved = layer.gaps(base) + (residual @ layer.affine.weights.T - noise.mean)[..., None]
        left = noise.tail(moved)
        taken = np.where(moved >= 0, 1.0 - left, noise.tail(-moved))
        low, jumps = layer.stair.levels[0], layer.stair.jumps
        base = low + (moved >= 0) @ jumps
        residual = np.where(moved >= 0, -left, taken) @ jumps
        found.append(Smoothed(base, residual, low + taken @ jumps))
    return tuple(found)


def deviation(network: StairNetwork, noises: tuple[LayerNoise, ...], x: Features) -> Features:
    """Smoothed output less that of the stair network, to full relative precision if it is small."""
    last = smoothed(network, noises, x)[-1]
    return (last.base - network(x)) + last.residual


def output(network: StairNetwork, noises: tuple[LayerNoise, ...], x: Features) -> Features:
    """Smoothed output at points, to full relative precision if the lowest level is 0."""
    return smoothed(network, noises, x)[-1].value


def one_step_bound(height: float, noise: LayerNoise, gap: float, moved: float) -> float:
    """D max(G(m - K e), G(gam - m - K e)), the error of a layer whose input is off by e.

    height: D. gap: gam, infinite if no threshold is above. moved: K e, in the unit of the
    pre-activations, as gam and the noise are.

    Without noise a threshold above is taken once it is reached, one below is lost once it is left.

    >>> from qtheory.noise import Uniform
    >>> one_step_bound(1.0, LayerNoise(Uniform(0.25), -0.5), 1.0, 0.25)
    0.0
    >>> one_step_bound(1.0, LayerNoise(None, -0.5), 0.5, 0.0)
    1.0
    """
    lead = -noise.mean
    if noise.noise is None:
        return height * float(lead < moved or gap - lead <= moved)
    nearest = np.array([lead - moved, gap - lead - moved])
    return height * float(noise.tail(nearest).max())


def gap_above(layer: StairLayer, features: Features) -> float:
    """gam: the least distance of a pre-activation at these points from a threshold strictly above
    it; infinite if there is none."""
    gaps = layer.gaps(features)
    return float(np.min(-gaps, initial=np.inf, where=gaps < 0))


def on_thresholds(network: StairNetwork, x: Features) -> Float[ndarray, "rows _layers"]:
    """Share of units of each layer whose pre-activation is equal to a threshold, at each point."""
    shares = list[ndarray]()
    for layer in network.layers:
        shares.append((layer.gaps(x) == 0).any(axis=-1).mean(axis=-1))
        x = layer(x)
    return np.stack(shares, axis=-1)


def error_bounds(
    network: StairNetwork, noises: tuple[LayerNoise, ...], x: Features
) -> tuple[float, ...]:
    """The bound on e_l for every layer, from the one-step bound at these points.

    Raises ValueError unless there is a noise for each layer and all ties go up.
    """
    check_ties_up(network)
    found = list[float]()
    error = 0.0
    for layer, noise in network.each_with(noises):
        gap = gap_above(layer, x)
        error = one_step_bound(layer.stair.height, noise, gap, layer.affine.norm * error)
        found.append(error)
        x = layer(x)
    return tuple(found)


def copies(count: int, at: float) -> tuple[StairNetwork, Features]:
    """K copies of one step unit at the pre-activation z_1, then a step at K a_1 - K.

    If z_1 >= 0 its output is 1 and the second pre-activation is 0, at the threshold: every copy
    errs to the same side, which is the worst that K_2 = K allows.
    """
    first = StairLayer(Affine(np.ones((count, 1)), np.zeros(count)), Stair.step())
    second = StairLayer(Affine(np.ones((1, count)), np.full(1, -float(count))), Stair.step())
    return StairNetwork((first, second)), np.full((1, 1), at)
