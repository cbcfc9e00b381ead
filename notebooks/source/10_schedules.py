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
# # Schedules of noise, and learning them
#
# Additive noise annealing smooths every stair of a network by noise and lets the scale of the noise
# fall to zero, layer by layer. *When* each layer hardens is the schedule. Three questions: what do
# published schedules do, does their order matter, and can a schedule be learnt?
#
# The paper was not at hand; settings are those of its authors' public code. Every number is in the
# ledger, `papers/spallanzani2022.md`; `qtheory reproduce spallanzani2022` makes it.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import qtheory
from qpapers.spallanzani2022 import hypergradient_network as network
from qtheory.gradients.levels.hypergradient import (
    Phi,
    forward_mode,
    learn,
    regression,
    reverse_mode,
    scale_slopes,
    scales,
    train,
    validation,
)
from qtheory.schedules import (
    INTERVALS,
    POWERS,
    Policy,
    gradient_reach,
    input_first,
    linear_2019,
)

plt.rcParams["figure.constrained_layout.use"] = True
layers, period = 7, 50.0
epochs = np.arange(0.0, 351.0)
colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, layers))

# %% [markdown]
# ## Eight policies
#
# Within its window $[b_l, e_l]$ the scale of layer $l$ falls as
# $s_0 \left(\frac{e_l - t}{e_l - b_l}\right)^{\alpha_l}$, with $\alpha_l = 2$ (homogeneous) or
# $2 (L - l)$ (progressive, earlier layers faster). The mean of the noise, where it moves, takes
# half the power, so mean over scale grows.

# %% tags=["cover"]
figure, axes = plt.subplots(2, 4, figsize=(12, 5), sharex=True, sharey=True)
for row, powers in zip(axes, POWERS, strict=True):
    for ax, intervals in zip(row, INTERVALS, strict=True):
        for k, window in enumerate(Policy(intervals, powers).windows(layers, period, 0.5)):
            ax.plot(epochs, window(epochs), color=colours[k], label=f"layer {k}")
        ax.set_title(f"{intervals}, {powers}", fontsize=9)
for ax in axes[-1]:
    ax.set_xlabel("epoch")
for ax in axes[:, 0]:
    ax.set_ylabel("scale, in spacings")
axes[0, 0].legend(fontsize=6)
plt.show()

# %% [markdown]
# The rule of 2019, for nine layers, and a rule of ours: all layers begin together, the first ends
# first, and backward scales (dashed) stop at a floor so that gradients stay alive.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3), sharey=True)
t = np.arange(0.0, 601.0)
for window in linear_2019()[0]:
    left.plot(t, window(t))
left.plot(t, linear_2019()[1][0](t), "k--", label="backward, all layers")
left.set(xlabel="epoch", ylabel="scale, in spacings", title="2019: linear, disjoint windows")
left.legend()
forward, backward = input_first(4, 100.0)
t = np.arange(0.0, 101.0)
for k in range(4):
    right.plot(t, forward[k](t), color=colours[2 * k], label=f"layer {k}")
    right.plot(t, backward[k](t), "--", color=colours[2 * k])
right.set(xlabel="epoch", title="input first")
right.legend()
plt.show()

# %% [markdown]
# ## A hard layer passes no gradient
#
# If the backward scale is the forward one, layer $l$ learns only while all layers from $l$ upwards
# are soft. Hardening the last layer first stops all others.

# %%
policies = {
    "partition": Policy("partition"),
    "partition reversed": Policy("partition", reverse=True),
    "overlapped, progressive": Policy("overlapped", "progressive"),
    "overlapped, powers reversed": Policy("overlapped", "progressive", reverse=True),
}
plt.figure(figsize=(8, 3.4))
for k, (name, policy) in enumerate(policies.items()):
    reach = gradient_reach(policy.windows(layers, period, 0.5), 350, share=0.02)
    print(f"{name:28s} {reach}")
    plt.bar(np.arange(layers) + 0.2 * (k - 1.5), reach, width=0.2, label=name)
plt.xlabel("layer, from the input")
plt.ylabel("epochs with a gradient\n(hard: below 2 % of the first scale)")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## Does the order matter? A toy
#
# Four ternary layers, 8 seeds, the hard network counted. Bars are differences in points of accuracy
# with standard errors over seeds, as the ledger keeps them. Most of what the order is worth is gone
# once backward noise is constant, and no schedule beats the straight-through estimator (STE).

# %%
kept = json.loads(
    (Path(qtheory.__file__).parents[1] / "papers/qpapers/spallanzani2022/numbers.json").read_text()
)
names = {
    "order-first": (
        "partition − homogeneous",
        "same start − homogeneous",
        "progressive − homogeneous",
    ),
    "order-second": ("homogeneous − powers reversed", "homogeneous − same end"),
    "order-last": ("powers reversed − partition reversed", "same end − partition reversed"),
    "order-size": ("partition − partition reversed",),
    "order-mode": ("the same, mode",),
    "order-ste": ("STE − partition", "STE − partition, mode"),
}
bars = []
for claim, labels in names.items():
    pairs = np.abs(np.reshape(kept[claim][: 2 * len(labels)], (-1, 2)))  # order-last keeps -points
    for label, (points, ratio) in zip(labels, pairs, strict=True):
        bars.append((label, points, points / ratio))
low, high = kept["order-constant"]  # (mean - 2) / error and (-mean - 2) / error
error = -4 / (low + high)
bars.insert(-2, ("the same, constant backward noise", 2 + low * error, error))
labels, points, errors = zip(*bars[::-1], strict=True)
plt.figure(figsize=(8, 4))
plt.barh(labels, points, xerr=errors, capsize=3)
plt.axvline(0, color="k", linewidth=0.8)
plt.xlabel("points of accuracy, ± standard error over 8 seeds")
plt.show()

# %% [markdown]
# ## Learning a schedule
#
# In expectation, with a noise of smooth density $f$ at scale $s$,
# $\partial_x \partial_s \mathbb{E}\, q = -\sum_i d_i \left(f(u_i) + u_i f'(u_i)\right) / s$, so
# training by gradient descent, $w_{k+1} = w_k - \eta\, g(w_k, s_k)$, can be differentiated in the
# parameters $\varphi = (\beta, \alpha)$ of $s_k = 0.05 + \beta (1 - k/T)^\alpha$:
#
# $$J_{k+1} = J_k - \eta \left(\partial_w g\, J_k + \partial_s g\, \partial_\varphi s_k\right),
# \qquad \mathrm{d} L / \mathrm{d} \varphi = \nabla L \cdot J_T .$$

# %%
toy, start = regression(4), Phi(0.6, 1.5)
found = forward_mode(toy, start).hypergradient
back = reverse_mode(toy, scales(toy, start))
print("forward", found, " reverse", back @ scale_slopes(toy, start))
learnt = learn(toy, start, 8, 0.3)
path = np.array(learnt.phis)

betas, alphas = np.linspace(0.3, 1.0, 25), np.linspace(0.4, 2.0, 25)
losses = [
    [validation(toy, train(toy, scales(toy, Phi(float(b), float(a))))[-1]) for b in betas]
    for a in alphas
]
figure, (first, second, third) = plt.subplots(1, 3, figsize=(13, 3.6))
shown = first.contourf(betas, alphas, np.log10(losses), 20, cmap="cividis")
figure.colorbar(shown, ax=first, label="log10 of validation loss")
first.plot(path[:, 0], path[:, 1], "w.-")
first.set(xlabel="β, in spacings", ylabel="α", title="descent on the schedule")
second.semilogy(learnt.losses, "o-")
second.set(xlabel="change of the schedule", ylabel="validation loss, in expectation")
iterations = np.arange(toy.iterations)
third.plot(iterations, scales(toy, start), label="scale, first")
third.plot(iterations, scales(toy, learnt.phis[-1]), label="scale, learnt")
third.set(xlabel="iteration", ylabel="scale, in spacings")
twin = third.twinx()
twin.plot(iterations, back, "k:")
twin.set_ylabel("dL / ds at each iteration, first schedule (dotted)")
third.legend(loc="lower left", fontsize=8)
plt.show()
assert learnt.losses[-1] < learnt.losses[0]
assert np.allclose(found, back @ scale_slopes(toy, start), rtol=1e-10, atol=0)

# %% [markdown]
# Two layers with a schedule each, eight data sets, from equal schedules. The loss in expectation
# falls; which layer ends with more noise differs from one data set to the next, and the loss of the
# deployed, hard network, which is piecewise constant in the schedule, need not fall with it.

# %%
same = np.array([[0.5, 2.0], [0.5, 2.0]])
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
for seed in range(1, 9):
    net = network.teacher(seed)
    run = network.learn(net, same, 5, 0.4)
    left.plot(np.array(run.losses) / run.losses[0], "o-", label=f"{seed}")
    means = np.array([network.scales(net, phis).mean(axis=0) for phis in run.phis])
    right.plot(means[:, 0], means[:, 1], ".-")
left.set(xlabel="change of the schedules", ylabel="validation loss over the first")
left.legend(title="data set", fontsize=7, ncols=2)
right.axline((0.2, 0.2), slope=1, color="k", linestyle=":")
right.set(xlabel="mean scale of layer 1, in spacings", ylabel="of layer 2")
plt.show()
