# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training quantised nets, on paper
#
# Li et al. 2017 compare weights that live on a lattice and move by stochastic rounding (SR) with
# BinaryConnect (BC), which keeps a real weight and rounds it for use. Their theorems are about
# convex losses, their explanation is a toy problem. Both are small enough to be done exactly.
#
# The paper was not at hand: what is called "quoted" is from memory and not verified against the
# print. Every number is in the ledger, `papers/li2017.md`; `qtheory reproduce li2017` makes it.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

from qpapers.li2017 import toy_problem
from qpapers.li2017.convex_bounds import (
    Setting,
    constant_gradient_means,
    convex_rates,
    strongly_convex_rates,
    theorem_1,
    theorem_2,
)
from qpapers.li2017.simulate import BC_NEAREST, BC_STOCHASTIC, SR, simulate
from qtheory import Lattice, StochasticRounding
from qtheory.chain import mixing_time, spectral_gap, stationary_distribution, total_variation
from qtheory.increments import ContinuousIncrements, FiniteIncrements
from qtheory.limits.generator import generator, limit_law
from qtheory.limits.temperature import rounding_temperature, temperature_floor
from qtheory.limits.timescales import time_to_mix
from qtheory.noise import Gaussian, StudentT
from qtheory.transition import weight_chain

plt.rcParams["figure.constrained_layout.use"] = True

# %% [markdown]
# ## Bound and simulation on the same axes
#
# SR on two strongly convex functions with the learning rates of Theorem 1: a noisy quadratic, and
# |e| + e²/200 with exact gradients, whose minimiser is just above a level. The floor √d s G / 2 is
# attained by the second: the constant can not be improved. The first has half of it, at most.

# %%
lengths = np.array([10, 30, 100, 300, 1000, 3000, 10_000])


def averages(gradient, loss, rule, lattice, start, rates, replicas, seed):
    """Mean over replicas of F(average over iterations) - F*, by running each length."""
    found = []
    for length in lengths:
        begin, draws = np.full((replicas, 1), start), np.random.default_rng(seed)
        run = simulate(rule, gradient, lattice, begin, rates(int(length)), draws)
        found.append(float(loss(run.latent_mean).mean()))
    return np.array(found)


unit = Lattice(size=9, spacing=1.0, low=-4.0)
hops = Lattice(size=2, spacing=1.0, low=0.0)
mu, offset = 0.01, 0.01

quadratic = averages(
    lambda w, draws: w - 0.3 + draws.standard_normal(w.shape),
    lambda w: 0.5 * (w - 0.3) ** 2,
    SR,
    unit,
    0.0,
    lambda length: strongly_convex_rates(1.0, length),
    200,
    1,
)
tight = averages(
    lambda w, draws: np.sign(w - offset) + mu * (w - offset),
    lambda w: np.abs(w - offset) + 0.5 * mu * (w - offset) ** 2,
    SR,
    hops,
    0.0,
    lambda length: strongly_convex_rates(mu, length),
    200,
    2,
)


def bounds(steepest, strong):
    settings = (Setting(int(t), 1.0, steepest, strong_convexity=strong) for t in lengths)
    return [theorem_1(each) for each in settings]


figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
for ax, found, steepest, strong, title in (
    (axes[0], quadratic, math.sqrt(4.3**2 + 1), 1.0, "noisy quadratic"),
    (axes[1], tight, 1.0 + mu, mu, "|e| + e²/200"),
):
    bound = bounds(steepest, strong)
    ax.loglog(lengths, [b.total for b in bound], "k-", label="Theorem 1")
    ax.loglog(lengths, [b.floor for b in bound], "k:", label="its floor")
    ax.loglog(lengths, found, "o-", label="SR, 200 runs")
    ax.set(xlabel="iterations", title=title)
    assert all(f <= b.total for f, b in zip(found, bound, strict=True))
axes[0].set_ylabel("E F(average) - F*")
axes[0].legend()
plt.show()
print(f"last point over floor: {tight[-1] / bounds(1 + mu, mu)[-1].floor:.2f}")

# %% [markdown]
# ## Theorem 2's middle term
#
# As quoted it is √(T+1) c G² / (2T). On F = 0.15 w over [0, 1] with gradients 0.15 ± 0.989, exactly
# propagated, the loss is above that bound; with c G² / √T in its place the bound can be proved.

# %%
drift = 0.15
spread = math.sqrt(1 - drift**2)
coin = FiniteIncrements(np.array([drift - spread, drift + spread]), np.array([0.5, 0.5]))
line = Lattice.uniform(0.0, 1.0, 1001)
constant = 5.0
means = constant_gradient_means(line, 0, coin, convex_rates(constant, 20_000))
at_length = np.arange(1, means.size + 1)
losses = drift * np.cumsum(means) / at_length
shown = np.unique(np.geomspace(100, means.size, 40).astype(int))


def second(length, *, quoted):
    at = Setting(int(length), line.spacing, 1.0, diameter=1.0, rate_constant=constant)
    return theorem_2(at, quoted=quoted).total


plt.figure(figsize=(6, 3.4))
plt.loglog(shown, losses[shown - 1], label="E F(average) - F*, exact")
plt.loglog(shown, [second(t, quoted=True) for t in shown], "r--", label="bound as quoted")
plt.loglog(shown, [second(t, quoted=False) for t in shown], "k-", label="bound corrected")
plt.xlabel("iterations")
plt.legend()
plt.show()
assert losses[-1] > second(means.size, quoted=True)
assert (losses[shown - 1] <= [second(t, quoted=False) for t in shown]).all()

# %% [markdown]
# ## BinaryConnect on a quadratic: which rounding?
#
# Corollary 1 says that BC has no floor on quadratics. With Q_s it has none; with Q_d the real
# weight goes to the boundary of the cell and stays there.

# %%
plt.figure(figsize=(6, 3.4))
for rule, label in (
    (BC_NEAREST, "BC, nearest (Q_d)"),
    (BC_STOCHASTIC, "BC, random (Q_s)"),
    (SR, "SR"),
):
    found = averages(
        lambda w, draws: w - 0.1,
        lambda w: 0.5 * (w - 0.1) ** 2,
        rule,
        unit,
        0.0,
        lambda length: strongly_convex_rates(1.0, length),
        50,
        3,
    )
    plt.loglog(lengths, found, "o-", label=label)
plt.axhline(0.08, color="k", linestyle=":", label="s² (1/2 - 0.1)² / 2")
plt.xlabel("iterations")
plt.ylabel("E F(average of r) - F*")
plt.legend()
plt.show()

# %% [markdown]
# ## Figure 1: smaller steps, the same decisions
#
# Once jumps of more than a level are rare, the probability of leaving is proportional to the
# learning rate, and where a weight goes does not depend on it.

# %%
wide = Lattice(size=41, spacing=0.5, low=-10.0)
rates = np.geomspace(1e-3, 2.0, 30)
up, leave = [], []
for rate in rates:
    laws = [ContinuousIncrements(-0.4 * rate, Gaussian(rate))] * wide.size
    move = weight_chain(StochasticRounding(wide), laws).off_diagonal[20]
    leave.append(move.sum())
    up.append(move[21:].sum() / move.sum())
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
left.loglog(rates, leave)
left.set(xlabel="learning rate", ylabel="P(move)")
right.semilogx(rates, up)
right.set(xlabel="learning rate", ylabel="P(up | move)", ylim=(0.2, 0.5))
plt.show()
assert abs(up[0] - 0.267679) < 1e-6

# %% [markdown]
# ## Figure 2: the toy problem
#
# Three parabolas, noise of standard deviation 3. Above BC after a simulation, below the exact
# stationary law of SR. BC narrows onto 4.75; SR narrows a little, and then stops.

# %% tags=["cover"]
std, noise = 3.0, Gaussian(3.0)
levels = toy_problem.WIDE.levels
figure, axes = plt.subplots(2, 4, figsize=(12, 5), sharex=True, sharey=True)
for column, (rate, iterations) in enumerate(((1.0, 500), (0.1, 1500), (0.01, 4000), (0.001, 8000))):
    run = simulate(
        BC_NEAREST,
        lambda w, draws: toy_problem.gradient(w) + std * draws.standard_normal(w.shape),
        toy_problem.WIDE,
        np.full((4000, 1), toy_problem.START),
        np.full(iterations, rate),
        np.random.default_rng(4),
    )
    latent = (
        np.bincount(toy_problem.WIDE.nearest(run.visible).ravel(), minlength=levels.size) / 4000
    )
    walker = stationary_distribution(toy_problem.chain(rate, noise))
    for ax, law, name in ((axes[0, column], latent, "BC"), (axes[1, column], walker, "SR")):
        ax.bar(levels, law, width=0.45)
        ax.plot(levels, toy_problem.loss(levels) / 20, "k-", linewidth=0.7)
        ax.set(title=f"{name}, learning rate {rate:g}", xlim=(-3, 9), ylim=(0, 0.6))
    print(
        f"rate {rate:g}: E f  BC {latent @ toy_problem.loss(levels):.4f}  "
        f"SR {toy_problem.mean_loss(walker):.4f}"
    )
plt.show()
assert abs(toy_problem.mean_loss(walker) - 0.526892) < 1e-6

# %% [markdown]
# ## Theorem 5: how fast the limit law is reached
#
# In total variation like (learning rate)^(s-1), s the tail index of the gradient: heavy tails are
# slow, Gaussian noise is there at once. No second moment is needed.

# %%
plt.figure(figsize=(6, 3.6))
rates = np.geomspace(1e-5, 0.3, 20)
noises = [(StudentT(df, 1.0), f"Student, {df:g}") for df in (1.3, 1.5, 2.0, 3.0)]
for each, label in [*noises, (Gaussian(1.0), "Gaussian")]:
    limit = limit_law(toy_problem.gradient, each, toy_problem.NARROW)
    laws = [
        stationary_distribution(toy_problem.chain(rate, each, toy_problem.NARROW)) for rate in rates
    ]
    plt.loglog(rates, [max(total_variation(law, limit), 1e-16) for law in laws], label=label)
plt.xlabel("learning rate")
plt.ylabel("distance from the limit law")
plt.ylim(1e-13, 1)
plt.legend()
plt.show()

# %% [markdown]
# ## Theorem 6: only time is lost
#
# The mixing time is a constant over the learning rate, and the constant is that of the limit.

# %%
s = time_to_mix(generator(toy_problem.gradient, noise, toy_problem.NARROW))
rates = [0.1, 0.03, 0.01, 0.003, 0.001]
for rate in rates:
    chain = toy_problem.chain(rate, noise, toy_problem.NARROW)
    scaled = rate * mixing_time(chain)
    print(f"rate {rate:g}: rate * M = {scaled:.3f}, gap / rate = {spectral_gap(chain) / rate:.4f}")
print(f"limit: {s:.4f}")

# %% [markdown]
# ## The temperature that is missing
#
# SR keeps the temperature s E|g| / 2 however small the learning rate; gradient descent and BC have
# rate · E g² / 2. What cools SR is the batch size, like B^(-1/2).

# %%
rates = np.geomspace(1e-3, 3.0, 60)
plt.figure(figsize=(6, 3.4))
plt.loglog(rates, [rounding_temperature(Gaussian(1.0), 0.5, rate) for rate in rates], label="SR")
plt.loglog(rates, rates / 2, "--", label="gradient descent, BC")
for batch in (4, 16):
    cooler = Gaussian(1 / math.sqrt(batch))
    curve = [rounding_temperature(cooler, 0.5, rate) for rate in rates]
    plt.loglog(rates, curve, linewidth=0.8, label=f"SR, batch {batch} times larger")
plt.axhline(temperature_floor(Gaussian(1.0), 0.5), color="k", linestyle=":", label="s E|g| / 2")
plt.xlabel("learning rate")
plt.ylabel("temperature")
plt.legend()
plt.show()
