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
# # Straight through randomness
#
# A unit is $y = \pm 1$ with $P(y = 1) = F(a)$. The gradient of $E\,L(y)$ in $a$ exists, and on a
# small network it is a sum over all states, so every estimator of it has an exact bias and an exact
# variance. Claims and numbers: `papers/shekhovtsov2021.md`, `papers/louizos2019.md`.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from qpapers.louizos2019 import laws as relaxed
from qpapers.shekhovtsov2021 import networks as networks
from qpapers.shekhovtsov2021 import units as units
from qtheory.gradients.stochastic import networks as deep
from qtheory.gradients.stochastic.mirror import dual_step, project
from qtheory.gradients.stochastic.relaxed_limits import (
    two_point_bias,
    two_point_mean,
    two_point_slope_square,
)
from qtheory.gradients.stochastic.relaxed_quantization import mean
from qtheory.gradients.stochastic.units import Objective, gradient, law, straight_through
from qtheory.noise import Gaussian, Logistic, Uniform
from qtheory.stairs import smoothing

# %% [markdown]
# ## One unit: exact when the loss is affine, biased by the curvature between its two values
#
# $L(y) = y + d\,y^2$ is the same function of $y = \pm 1$ for every $d$, but its slope is not:
# straight-through, $E\,L'(y)\,2f(a)$, has the bias $2 d\,E[y]\,2 f(a)$. Right: a wrong proxy $g$
# in place of $f$ scales the gradient by $g(a) / f(a)$, which is not one number for all units.

# %%
a = np.linspace(-3, 3, 121)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
noise = Logistic(0.5)
for d in (0.0, 0.5, 1.0):
    loss = Objective(np.array([0.0, 1.0]), np.array([d]), np.zeros(1))
    means = [float((law(noise, x) @ straight_through(loss, noise, x))[0]) for x in a[:, None]]
    left.plot(a, means, label=f"straight-through, d = {d:g}")
left.plot(a, [float(gradient(loss, noise, x)[0]) for x in a[:, None]], "k:", label="gradient")
left.set(xlabel="activation a", ylabel="mean estimate of dE L/da")
left.legend(fontsize=8)
for name, proxy in (("uniform", Uniform(1.0)), ("normal", Gaussian(0.9))):
    right.plot(a, proxy.density(a) / noise.density(a), label=f"{name} proxy, logistic noise")
right.axhline(1, color="k", ls=":")
right.set(xlabel="activation a", ylabel="g(a) / f(a)", ylim=(0, 3))
right.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## Three layers of five units
#
# In the last layer straight-through is unbiased (the loss here is multi-affine); below, the score
# function (REINFORCE) is the only unbiased one and pays with its variance. The sample-analytic form
# takes differences where straight-through takes derivatives. The mean field has no variance at all.

# %% tags=["cover"]
net, loss, run = networks.deep()
baseline = float(run.probability @ loss.value(run.layers[-1]))
tables = {
    "straight-through": deep.straight_through(net, loss, run),
    "sample-analytic": deep.sample_analytic(net, loss, run),
    "score": deep.score(net, loss, run, baseline),
}
rows = {name: networks.compared(table) for name, table in tables.items()}
field = np.array(networks.field())
fig, axes = plt.subplots(1, 3, figsize=(12, 3.4))
layers = np.arange(3)
for shift, (name, row) in zip((-0.3, -0.1, 0.1), rows.items(), strict=True):
    for ax, values in zip(axes, np.array(row).T, strict=True):
        ax.bar(layers + shift, values, 0.2, label=name)
axes[0].bar(layers + 0.3, field[:3], 0.2, label="mean field")
axes[1].bar(layers + 0.3, field[3:], 0.2, label="mean field")
axes[2].set_yscale("log")
for ax, label in zip(axes, ("relative bias", "cosine with the gradient", "variance"), strict=True):
    ax.set(xlabel="layer", ylabel=label, xticks=layers, xticklabels=(1, 2, 3))
axes[1].set_ylim(0.9, 1.005)
axes[0].legend(fontsize=8)
fig.tight_layout()
plt.show()

# %% [markdown]
# With smaller weights the units below become nearly linear, and the bias of straight-through falls
# with their square.

# %%
gains = 2.0 ** -np.arange(0, 6)
bias = []
for gain in gains:
    net = networks.network((3, 4, 5), gain=gain)
    loss = networks.loss_of(5, 1)
    run = deep.enumerate_states(net, networks.inputs(3))
    found = deep.weight_moments(deep.straight_through(net, loss, run), run)[0].mean
    bias.append(deep.distance(found, deep.gradients(net, loss, run)[0]).bias)
fig, ax = plt.subplots(figsize=(5, 3.4))
ax.loglog(gains, bias, ".-", label="straight-through, layer 1 of 2")
ax.loglog(gains, bias[-1] * (gains / gains[-1]) ** 2, "k:", label="slope 2")
ax.set(xlabel="gain of weights and biases", ylabel="relative bias")
ax.legend()
plt.show()

# %% [markdown]
# ## Latent weights are mirror descent
#
# A step $u \leftarrow u - \eta\,\partial L/\partial w$ of the latent weight, with
# $w = 2F(u) - 1 = \tanh u$ for logistic noise of scale 1/2, is the mirror step of $w$ with the
# relative entropy as distance,
# $w \leftarrow \tanh(\mathrm{artanh}\,w - \eta\,\partial L/\partial w)$; another noise has another
# distance. Towards a minimum at 2, outside of $(-1, 1)$, w settles at the end while u goes on.

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
for goal in (0.5, 0.95, 2.0):
    u, path = np.zeros(1), []
    for _ in range(60):
        path.append((float(u[0]), float(project(noise, u)[0])))
        u = dual_step(u, project(noise, u) - goal, 0.2)
    latent, visible = np.array(path).T
    left.plot(latent, label=f"minimum at {goal:g}")
    right.plot(visible, label=f"minimum at {goal:g}")
left.set(xlabel="iteration", ylabel="latent weight u")
right.set(xlabel="iteration", ylabel="w = tanh u")
left.legend()
plt.show()

# %% [markdown]
# ## Relaxed quantisation is not a stair under noise
#
# Same levels, same logistic noise. The stair gives the tails to its end levels; relaxed
# quantisation cuts them off and renormalises. Far outside, its law tends to
# $e^{g_i/s} / \sum_j e^{g_j/s}$, and with any fuzz to the uniform law.

# %%
x = np.linspace(-12, 12, 481)
spec = relaxed.TWO_BITS
fig, ax = plt.subplots(figsize=(8, 3.4))
ax.plot(x, smoothing.expectation(spec.stair(), spec.noise, x), label="stair under noise")
ax.plot(x, mean(spec, x), label="relaxed quantisation")
ax.plot(x, mean(replace(spec, fuzz=1e-6), x), "--", label="relaxed quantisation, fuzz 1e-6")
ax.step(x, spec.stair()(x), "k:", lw=1, label="stair")
ax.set(xlabel="x, in spacings", ylabel="mean of the level")
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# The temperature of the relaxed draw trades bias for variance: two levels, the first with
# probability $p = 0.9$. To leading order the bias is $\tfrac{\pi^2}{6} t^2 p(1-p)(1-2p)$ and the
# second moment of the slope $p(1-p)/(6t)$.

# %%
t = 10.0 ** np.linspace(-1.3, 0.7, 41)
p = np.array([0.9])
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
left.loglog(t, [float(p[0] - two_point_mean(p, s)[0]) for s in t], label="p - E z")
left.loglog(t, [-float(two_point_bias(p, s)[0]) for s in t], "k:", label="leading order")
right.loglog(t, [float(two_point_slope_square(p, s)[0]) for s in t], label="E (dz/dd)²")
right.loglog(t, 0.09 / (6 * t), "k:", label="leading order")
left.set(xlabel="temperature t", ylabel="bias, in spacings")
right.set(xlabel="temperature t", ylabel="second moment of the slope")
left.legend()
right.legend()
plt.show()

# %% [markdown]
# ## Variances of one layer
#
# Five units, multi-affine loss: straight-through and flips are the same estimator; the score varies
# three times as much, with or without the mean as baseline.

# %%
names = ("straight-through", "flips", "score, baseline E L", "score")
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.barh(names, units.variances())
ax.set(xlabel="sum of variances over units")
plt.show()
