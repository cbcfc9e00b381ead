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
# # A laboratory for coarse gradients
#
# A stair has no slope, so a network of stairs is trained with a slope that is not its own. How
# wrong is that, in which layer, and how noisy? Here every level of a small network is enumerated,
# so the answers are exact:
#
# $$ a_l = W_l x_{l-1} + b_l, \quad x_l = q_l(a_l - \mu_l - \varepsilon_l), \quad y = W x_L + b. $$
#
# The coarse gradient $G$ of one example is compared with three true ones: of the *smoothed* loss
# $\mathbb E_\varepsilon \ell$, of the *mean-field* loss, where each layer hands on its expectation,
# and of the *discrete* loss, where there is no noise.

# %%
import matplotlib.pyplot as plt
import numpy as np

from qtheory.gradients.laboratory.estimators import Identity, Window, annealed, straight_through
from qtheory.gradients.laboratory.measure import FiniteData, GaussianData, measure
from qtheory.gradients.laboratory.plots import plot_report, plot_sweep
from qtheory.gradients.networks.loss_network import random_network
from qtheory.gradients.networks.stair_network import LayerNoise, noises_at
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian, Logistic, Triangular, Uniform, roughness, std_of
from qtheory.stairs.stair import Stair

TERNARY = Stair.nearest(Lattice.ternary())
FAMILIES = {
    "uniform": Uniform(1.0), "triangular": Triangular(1.0),
    "normal": Gaussian(1.0), "logistic": Logistic(1.0),
}  # fmt: skip
network = random_network((2, 3, 3, 1), TERNARY, seed=1)
teacher = random_network((2, 4, 1), Stair.step(-1.0), seed=2)
points = np.random.default_rng(0).normal(size=(24, 2))
data = FiniteData.equal(points, teacher(points))

# %% [markdown]
# ## One scale
#
# Logistic noise in both layers, levels drawn, the noise's own density going back. The output layer
# has no bias. The last hidden layer has one, because the loss is squared; the first has more,
# because the probabilities of layer 2 are not affine in the levels of layer 1. Over finite data the
# discrete loss is a stair in every hidden weight: its gradient is 0 almost everywhere, which is no
# direction.

# %%
noises = (LayerNoise(Logistic(0.2)),) * 2
report = measure(network, data, annealed("random", noises))
print(report.table())
plot_report(report)
plt.tight_layout()
plt.show()
assert report.exact and report.layers[2].against["smoothed"].bias < 1e-12

# %% [markdown]
# ## Against the scale
#
# Each column is a layer; the target is the smoothed loss under that same logistic noise. Levels
# drawn have no bias in the output at any scale, and expectations a large one where the noise is
# wide: there they are not what the stairs say. Stairs handed on lose the direction of layer 2 in
# wide noise. In the first layer all of them go wrong where the noise is *narrow*: the probabilities
# of layer 2 are then steep in the levels of layer 1, and the slope at a level says little about the
# difference between two. The variance has its peak there too; below it, few of the 24 points are in
# a window at all.

# %% tags=["cover"]
stds = np.geomspace(0.05, 2.0, 13)
sweep = [(LayerNoise.of(Logistic(1.0), s / std_of(Logistic(1.0))),) * 2 for s in stds]
fig, axes = plt.subplots(3, 3, figsize=(11, 8), sharex=True)
for forward in ("random", "expectation", "hard"):
    reports = [
        measure(network, data, annealed(forward, noises), targets=("smoothed",))
        for noises in sweep
    ]  # fmt: skip
    for layer in range(3):
        for row, name in enumerate(("relative", "cosine", "std")):
            plot_sweep(reports, stds, name, layer, "smoothed", label=forward, ax=axes[row, layer])
for layer, title in enumerate(("hidden 1", "hidden 2", "output")):
    axes[0, layer].set(title=title, xscale="log", ylim=(0, 10))
    axes[0, layer].set_yscale("symlog", linthresh=0.01)
    axes[2, layer].set_xlabel("std of the noise, in units of the input")
axes[0, 0].legend()
plt.tight_layout()
plt.show()

# %% [markdown]
# ## Another slope than the noise's own
#
# Stairs forward; the surrogate is the identity, the clipped identity, or a noise of std 0.4 of each
# family. The target is the loss smoothed by logistic noise of std 0.4.

# %%
reference = (LayerNoise.of(Logistic(1.0), 0.4 / std_of(Logistic(1.0))),) * 2
surrogates = {"identity": Identity(), "clipped": Window(-1.0, 1.0)}
for name, family in FAMILIES.items():
    surrogates[name] = LayerNoise.of(family, 0.4 / std_of(family))
reports = {
    name: measure(network, data, straight_through(surrogate, 2), reference)
    for name, surrogate in surrogates.items()
}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.2))
for k, (name, report) in enumerate(reports.items()):
    found = [report.layers[layer].against["smoothed"] for layer in range(2)]
    axes[0].bar(np.arange(2) + 0.13 * (k - 2.5), [f.cosine for f in found], 0.13, label=name)
    stds_found = [report.layers[layer].total_std for layer in range(2)]
    axes[1].bar(np.arange(2) + 0.13 * (k - 2.5), stds_found, 0.13)
axes[0].set_ylabel("cosine with the smoothed gradient")
axes[1].set_ylabel("std of one example's gradient")
for ax in axes:
    ax.set_xticks([0, 1], ["hidden 1", "hidden 2"])
axes[0].set_ylim(0, 1.4)
axes[0].legend(fontsize=8, loc="upper center", ncol=3)
plt.show()

# %% [markdown]
# ## The discrete loss, and what a small scale costs
#
# With inputs $N(0, I)$ the mean discrete loss has a gradient in the first layer: the loss jumps on
# the surfaces $w_j x + b_j = t_i$, and the gradient is an integral over them, sampled here on the
# surfaces themselves. One hidden layer, stairs forward. As the scale $s$ falls, so does the bias,
# and the variance grows like $R / s$, with the roughness $R = \int f^2$.

# %%
shallow = random_network((2, 3, 1), TERNARY, seed=5)
gauss = GaussianData(2, teacher)
scales = np.geomspace(0.03, 1.5, 9)
fig, axes = plt.subplots(1, 3, figsize=(11, 3.2))
for name, family in FAMILIES.items():
    reports = [
        measure(
            shallow, gauss, straight_through(LayerNoise.of(family, s), 1),
            targets=("discrete",), draws=20_000, seed=1,
        )
        for s in scales
    ]  # fmt: skip
    for ax, quantity in zip(axes[:2], ("relative", "cosine"), strict=True):
        plot_sweep(reports, scales, quantity, 0, "discrete", label=name, ax=ax)
    variance = np.array([r.layers[0].total_std ** 2 for r in reports])
    axes[2].loglog(scales, variance * scales / roughness(family), ".-", label=name)
for ax in axes:
    ax.set(xscale="log", xlabel="scale s")
axes[2].set(ylabel="variance times s / R", ylim=(1, 20))
axes[0].legend()
plt.tight_layout()
plt.show()

# %% [markdown]
# The best scale depends on how many examples are averaged: mean squared error of a mean over $N$ is
# bias² + variance / $N$.

# %%
normal = [
    measure(
        shallow, gauss, straight_through(LayerNoise(Gaussian(s)), 1),
        targets=("discrete",), draws=20_000, seed=1,
    ).layers[0]
    for s in scales
]  # fmt: skip
plt.figure(figsize=(6, 3.2))
for n in (16, 256, 4096):
    errors = [r.against["discrete"].bias ** 2 + r.total_std**2 / n for r in normal]
    plt.loglog(scales, errors, ".-", label=f"N = {n}")
plt.xlabel("scale s of normal noise")
plt.ylabel("mean squared error of the gradient")
plt.legend()
plt.show()

# %% [markdown]
# ## A schedule
#
# Scales fall to 0, one layer after the other, over time $u$ from 0 to 1. At scale 0 a layer lets no
# gradient through. First layer first, layer 2 learns almost to the end, when no point of the data
# is left in its windows; last layer first, both are blocked from half time on.

# %%
times = np.linspace(0.0, 0.98, 25)


def scale_at(u, start, end):
    """Falls from 0.5 to 0 between start and end."""
    return 0.5 * float(np.clip((end - u) / (end - start), 0.0, 1.0))


fig, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True)
orders = {
    "first layer first": ((0.0, 0.5), (0.5, 1.0)),
    "last layer first": ((0.5, 1.0), (0.0, 0.5)),
}
for ax, (name, windows) in zip(axes, orders.items(), strict=True):
    norms = []
    for u in times:
        at = noises_at(Triangular(1.0), [scale_at(u, *window) for window in windows])
        layers = measure(network, data, annealed("random", at), targets=()).layers
        norms.append([float(np.linalg.norm(layer.mean)) for layer in layers])
    for layer, label in enumerate(("hidden 1", "hidden 2", "output")):
        ax.plot(times, np.array(norms)[:, layer], ".-", label=label)
    ax.set(title=name, xlabel="time u")
    blocked = np.array(norms)[times >= 0.5, :2]
    assert blocked[:, 1].any() == (name == "first layer first")
axes[0].set_ylabel("size of the mean gradient")
axes[0].legend()
plt.show()
