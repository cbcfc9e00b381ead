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
# # Smoothing a network layer by layer
#
# Noise $\nu$ before an activation makes it smooth: $s^\nu(x) = E\,s(x - \nu)$. For continuous
# activations every order of vanishing noises is as good as any other. For stairs it is not: a layer
# must be hard enough before the next one is, or the network tends to another network.
#
# The papers (Leonardi and Spallanzani 2020; Spallanzani, Leonardi, Benini 2022) were not at hand.
# Constants and numbers are derived here; `qtheory reproduce leonardi2020` and `spallanzani2022`
# make them.

# %%
import itertools
import math

import matplotlib.pyplot as plt
import numpy as np

from qtheory.gradients.networks.composition import (
    copies,
    deviation,
    on_thresholds,
    output,
    power_noises,
)
from qtheory.gradients.networks.convergence import LayerPlan, judge, tail_class
from qtheory.gradients.networks.random import random_levels, ternary_network
from qtheory.gradients.networks.smoothed_network import (
    RELU,
    bound,
    expectation,
    forward,
    random_relu_network,
    sharper_bound,
    smoothed,
)
from qtheory.gradients.networks.stair_network import LayerNoise, StairNetwork
from qtheory.gradients.networks.synchronisation import NoisePlan, mean_error
from qtheory.noise import Cauchy, Gaussian, Logistic, StudentT, Triangular, Uniform, mean_size
from qtheory.schedules import Policy
from qtheory.stairs.stair import Stair

plt.rcParams["figure.constrained_layout.use"] = True

# %% [markdown]
# ## Continuous activations
#
# $E(x - \nu)^+$ is the excess of the noise at $-x$; its distance from $x^+$ is largest at the kink,
# $E|\nu|/2$. Errors of layers add up, each through the Lipschitz constants above it:
#
# $$\sup|\Phi^\nu - \Phi| \le \sum_l \Lambda_l E|\nu_l| \prod_{k>l} \|W_k\| \Lambda_k .$$

# %%
x = np.linspace(-1.2, 1.2, 241)
scales = np.geomspace(0.003, 1.0, 10)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for noise in (Uniform(0.5), Triangular(0.5), Logistic(0.2), StudentT(3.0, 0.3)):
    found = expectation(RELU, noise, x)
    axes[0].plot(
        x, found - RELU(x), label=f"{type(noise).__name__}, E|ν|/2 = {mean_size(noise) / 2:.3f}"
    )
    assert abs((found - RELU(x)).max() - mean_size(noise) / 2) < 1e-12
axes[0].set(xlabel="x", ylabel="smoothed ReLU - ReLU")
axes[0].legend(fontsize=8)
for seed in range(3):
    net = random_relu_network((3, 16, 16, 16, 1), seed)
    points = np.random.default_rng(seed).uniform(-1, 1, (2000, 3))
    sizes = [
        np.abs(smoothed(net, (Uniform(s),) * 4, points) - forward(net, points)).max()
        for s in scales
    ]
    axes[1].loglog(scales, sizes, "o-", color=f"C{seed}", label=f"net {seed}, error")
    limits = [sharper_bound(net, (Uniform(s),) * 4) for s in scales]
    axes[1].loglog(scales, limits, ":", color=f"C{seed}", label="bounds" if seed == 2 else None)
    assert all(
        e <= b <= bound(net, (Uniform(s),) * 4)
        for e, b, s in zip(sizes, limits, scales, strict=True)
    )
axes[1].set(xlabel="half width of the noise", ylabel="largest error of the output")
axes[1].legend(fontsize=8)
plt.show()

# %% [markdown]
# ## Two steps: right and reversed order
#
# $K$ copies of a step at its threshold, then a step at $K a_1 - K$, at its threshold as well if
# $a_1 = 1$. Means $-m_l$, $m_l = \lambda^{p_l}$, and scales $\lambda^{2 p_l}$. The target is 1. The
# second step sees 1 if the error $e_1$ of the first, $K$ times, is smaller than $m_2$.

# %% tags=["cover"]
lams = np.geomspace(0.001, 0.5, 60)
rows = (
    (Cauchy(1.0), 4, 0.0, (2, 1)),
    (Cauchy(1.0), 1, 0.0, (1, 1)),
    (Cauchy(1.0), 4, 0.0, (1, 1)),
    (Cauchy(1.0), 4, 0.0, (1, 2)),
    (StudentT(2.0, 1.0), 4, 0.0, (1, 1)),
    (StudentT(2.0, 1.0), 4, 0.0, (1, 2)),
    (StudentT(2.0, 1.0), 4, 0.5, (1, 4)),
    (Logistic(1.0), 4, 0.0, (1, 3)),
)
figure, axes = plt.subplots(1, 2, figsize=(12, 4), sharex=True)
for place, (noise, count, at, exponents) in enumerate(rows):
    net, point = copies(count, at)
    noises = [power_noises(noise, exponents, lam) for lam in lams]
    values = [output(net, each, point).item() for each in noises]
    missing = [-deviation(net, each, point).item() for each in noises]
    label = f"{type(noise).__name__}, K = {count}, z₁ = {at:g}, p = {exponents}"
    axes[0].loglog(lams, values, color=f"C{place}", label=label)
    axes[1].loglog(lams, missing, color=f"C{place}")
axes[0].set(xlabel="λ", ylabel="output", ylim=(1e-30, 3), title="failure of reversed orders")
axes[1].set(xlabel="λ", ylabel="1 - output", ylim=(1e-20, 3), title="convergence of right orders")
figure.legend(fontsize=7, loc="outside right center")
plt.show()

for noise, count, at, exponents in rows:
    net, point = copies(count, at)
    values = [
        output(net, power_noises(noise, exponents, lam), point).item() for lam in (0.1, 0.01, 0.001)
    ]
    print(
        f"{type(noise).__name__:9} K = {count} z1 = {at:<3g} p = {exponents}",
        *(f"{v:10.4g}" for v in values),
    )

# %% [markdown]
# The logistic row converges, but late: at λ = 0.3 the output is 1e-66.
#
# ## The condition, and what is measured
#
# With tails $G(u) \sim C u^{-a}$ the error of a layer is
# $e_l \sim D C (1 - c)^{-a} \lambda^{a(\kappa - 1) p_l}$ on a threshold, with
# $c = \lim K_l e_{l-1}/m_l$, and the condition is $c < 1$ for every layer. `judge` compares
# exponents and constants.

# %%
for noise, exponents in itertools.product(
    (Cauchy(1.0), StudentT(2.0, 1.0), StudentT(3.0, 1.0), Gaussian(1.0), Uniform(1.0)),
    ((2.0, 1.0), (1.0, 1.0), (1.0, 2.0), (1.0, 3.0), (1.0, 4.0)),
):
    tail = tail_class(noise)
    verdict = judge((LayerPlan(tail, exponents[0], 1.0), LayerPlan(tail, exponents[1], 4.0)))
    net, point = copies(4, 0.0)
    seen = output(net, power_noises(noise, exponents, 1e-6), point).item()
    name = "Student-t " + f"{noise.df:g}" if isinstance(noise, StudentT) else type(noise).__name__
    p = ",".join(f"{e:g}" for e in exponents)
    why = verdict.layers[-1].reason
    print(f"{name:12} p = {p}  {verdict.verdict:10} output at 1e-6: {seen:8.2g}   {why}")
    assert (seen > 0.99) is (verdict.verdict == "converges")

# %% [markdown]
# ## Three layers on a lattice
#
# Weights and biases in $\{-1, 0, 1\}$, inputs in $\{0, 1\}$: one unit in eight is on its threshold.
# Where thresholds are at 1/2 no unit is, and every order converges, the reversed one fastest.

# %%
step, half = Stair.step(), Stair((0.0, 1.0), (0.5,))
lams = np.geomspace(0.003, 0.5, 16)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
for ax, stair, title in ((axes[0], step, "on thresholds"), (axes[1], half, "off thresholds")):
    nets = [ternary_network(24, 3, stair, seed, "lattice") for seed in range(3)]
    inputs = random_levels(stair, 500, 24, 9)
    share = np.mean([on_thresholds(net, inputs).mean() for net in nets])
    for noise, style in ((Cauchy(1.0), "-"), (StudentT(2.0, 1.0), "--"), (Uniform(1.0), ":")):
        for colour, exponents in enumerate(((3, 2, 1), (1, 1, 1), (1, 2, 3))):
            sizes = [
                np.mean(
                    [
                        np.abs(deviation(n, power_noises(noise, exponents, lam), inputs)).mean()
                        for n in nets
                    ]
                )
                for lam in lams
            ]
            label = f"{type(noise).__name__}, p = {exponents}"
            ax.loglog(lams, sizes, style, color=f"C{colour}", label=label)
    ax.set(xlabel="λ", title=f"{title}: {100 * share:.0f} % of units are", ylim=(1e-9, 1))
axes[0].set_ylabel("mean |smoothed - stair network|")
axes[1].legend(fontsize=7)
plt.show()

# %% [markdown]
# Uniform noise has no curve below the golden ratio, $\lambda^p + \lambda^{2p} \le 1$: it is exact.
#
# ## Schedules
#
# Four ternary layers; the noise of each falls within its window, with powers that are the same for
# all layers, larger for the first ones (progressive) or for the last ones (reversed).

# %%
ternary = Stair((-1.0, 0.0, 1.0), (-0.5, 0.5))
times = np.linspace(0.02, 0.999, 40)
policies = {
    "overlapped, progressive": Policy("overlapped", "progressive"),
    "same start": Policy("same start"),
    "overlapped, homogeneous": Policy("overlapped"),
    "overlapped, reversed": Policy("overlapped", "progressive", reverse=True),
    "partition": Policy("partition"),
    "same end": Policy("same end"),
    "partition, last layer first": Policy("partition", reverse=True),
}


def curve(nets: list[StairNetwork], plan: NoisePlan, inputs: np.ndarray) -> list[float]:
    """Mean error over networks at each time."""
    return [float(np.mean([mean_error(net, plan, t, inputs) for net in nets])) for t in times]


figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True)
for ax, biases, mean, title in (
    (axes[0], "none", 0.0, "on thresholds, mean 0"),
    (axes[1], "none", -0.5, "on thresholds, dynamic mean"),
    (axes[2], "generic", 0.0, "real biases, mean 0"),
):
    nets = [ternary_network(24, 4, ternary, seed, biases, spacing=0.25) for seed in range(3)]
    inputs = random_levels(ternary, 150, 24, 9)
    for name, policy in policies.items():
        ax.plot(times, curve(nets, NoisePlan(Uniform(0.5), policy, mean), inputs), label=name)
    ax.set(xlabel="time, share of the whole", title=title)
axes[0].set_ylabel("mean |smoothed - stair network|")
axes[2].legend(fontsize=7)
plt.show()

# %% [markdown]
# With mean 0 a unit on a threshold stays at $F(0) = 1/2$ until there is no noise at all. A negative
# mean ends that, at the price of a bias before. Input first is sooner hard in each setting.
#
# Families matter little: logistic noise with 95 % of its mass within the same 1/2.

# %%
plan = NoisePlan(Logistic(0.5 / math.log(39)), policies["overlapped, progressive"])
uniform = NoisePlan(Uniform(0.5), policies["overlapped, progressive"])
plt.figure(figsize=(5, 3.2))
for each, label in ((plan, "logistic"), (uniform, "uniform")):
    plt.semilogy(times, np.array(curve(nets, each, inputs)) + 1e-9, label=label)
plt.xlabel("time, share of the whole")
plt.ylabel("mean error, progressive")
plt.ylim(1e-5, 1)
plt.legend()
plt.show()

# %% [markdown]
# One noise without a mean: `LayerNoise(None)` is the stair itself, at time 1 for every layer.

# %%
none = (LayerNoise(None),) * 4
assert not deviation(nets[0], none, inputs).any()
